// Package appium is the agent's own Appium: it finds the program, prepares an
// APPIUM_HOME with one pinned driver, and runs one server per device that is
// reused between jobs, checked before each, and dies with the agent.
//
// It imports the root package and the agent's disk and proc.
package appium

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/qualgent/qgjob"
)

// Pinned are the versions that are known to work together: Appium 2.19 refuses
// uiautomator2 from 4 on, and npm's newest is far beyond it.
const (
	PinnedProgram = "2.19.0"
	PinnedDriver  = "3.10.0"
)

// Program is an Appium server as npm installs it.
type Program struct {
	Dir     string // the package's folder: absolute, without symbolic links
	Version string // such as 2.19.0
}

// main is the file that node runs.
func (p Program) main() string { return filepath.Join(p.Dir, "index.js") }

// Driver is an Appium driver: a folder, or a version that npm has.
type Driver struct {
	Name    string // Appium's word for it: uiautomator2
	Package string // npm's: appium-uiautomator2-driver
	Version string // exact
	Dir     string // its package's folder; empty: npm installs it
}

// manifest is what is read of a package.json.
type manifest struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Appium  struct {
		DriverName string `json:"driverName"`
	} `json:"appium"`
}

// maxManifest bounds a package.json, in bytes.
const maxManifest = 1 << 20

func readManifest(dir string) (manifest, error) {
	var m manifest
	f, err := os.Open(filepath.Join(dir, "package.json"))
	if err != nil {
		return m, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return m, nil
}

// Find gives the Appium to run. given, where it is not empty, is the folder of
// the package and the only place looked at. Otherwise the projects (folders
// with a node_modules) are asked in their order, then the PATH. Its error is a
// *qgjob.Error that says what to install.
func Find(given, path string, projects ...string) (Program, error) {
	if given != "" {
		p, err := load(given)
		if err != nil {
			return Program{}, &qgjob.Error{Kind: qgjob.KindInvalid, Field: "appium", Message: given + " is no Appium: " + err.Error(),
				Hint: "name the folder of the npm package, such as node_modules/appium"}
		}
		return p, p.check()
	}
	for _, project := range projects {
		if project == "" {
			continue
		}
		if p, err := load(filepath.Join(project, "node_modules", "appium")); err == nil {
			return p, p.check()
		}
	}
	for _, folder := range filepath.SplitList(path) {
		program, err := exec.LookPath(filepath.Join(folder, "appium"))
		if err != nil || !filepath.IsAbs(folder) {
			continue
		}
		if program, err = filepath.EvalSymlinks(program); err != nil {
			continue
		}
		if p, err := load(filepath.Dir(program)); err == nil {
			return p, p.check()
		}
	}
	return Program{}, &qgjob.Error{Kind: qgjob.KindInvalid, Field: "appium", Message: "there is no Appium in the test project or in PATH",
		Hint: "npm install --save-dev appium@" + PinnedProgram + " in the test project, or give --appium=FOLDER"}
}

var errNotAppium = errors.New("its package.json does not name appium")

func load(dir string) (Program, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return Program{}, err
	}
	m, err := readManifest(dir)
	if err != nil {
		return Program{}, err
	}
	if m.Name != "appium" {
		return Program{}, errNotAppium
	}
	p := Program{Dir: dir, Version: m.Version}
	_, err = os.Stat(p.main())
	return p, err
}

// check refuses generations of Appium that the pinned driver does not fit.
func (p Program) check() error {
	if major, _, _ := strings.Cut(p.Version, "."); major == "2" {
		return nil
	}
	return &qgjob.Error{Kind: qgjob.KindInvalid, Field: "appium", Message: fmt.Sprintf("Appium %s is not supported: AppWright drives Appium 2", p.Version),
		Hint: "npm install --save-dev appium@" + PinnedProgram + " in the test project"}
}

// FindDriver gives the driver to run under p: the folder given, else the
// pinned version where npm has put it beside p, else npm has to fetch it.
func FindDriver(given string, p Program) (Driver, error) {
	pinned := Driver{Name: "uiautomator2", Package: "appium-uiautomator2-driver", Version: PinnedDriver}
	if given == "" {
		beside := filepath.Join(filepath.Dir(p.Dir), pinned.Package)
		if m, err := readManifest(beside); err == nil && m.Version == pinned.Version {
			pinned.Dir = beside
		}
		return pinned, nil
	}
	dir, err := filepath.Abs(given)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	var m manifest
	if err == nil {
		m, err = readManifest(dir)
	}
	if err == nil && (m.Name == "" || m.Appium.DriverName == "") {
		err = errors.New("its package.json does not describe an Appium driver")
	}
	if err != nil {
		return Driver{}, &qgjob.Error{Kind: qgjob.KindInvalid, Field: "appium-driver", Message: fmt.Sprintf("there is no Appium driver in %s: %v", given, plain(err)),
			Hint: "name the folder of the driver's npm package, or leave the flag away for uiautomator2@" + PinnedDriver}
	}
	return Driver{Name: m.Appium.DriverName, Package: m.Name, Version: m.Version, Dir: dir}, nil
}

// plain takes operation and path off an error: its reader has them already.
func plain(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
