package runner

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/qualgent/qgjob"
)

// The Playwright versions whose fixtures AppWright's fit: AppWright wants 1.46
// or newer, and 1.60 began to refuse what AppWright extends (measured with
// 1.56.1, 1.58.2 and 1.59.1).
const (
	minPlaywright = 46
	badPlaywright = 60
)

// goodPlaywright is what messages tell people to install.
const goodPlaywright = "1.56.1"

// configNames are where a configuration is looked for, AppWright's own name
// first.
var configNames = []string{
	"appwright.config.ts", "appwright.config.js", "appwright.config.mts", "appwright.config.mjs", "appwright.config.cts", "appwright.config.cjs",
	"playwright.config.ts", "playwright.config.js", "playwright.config.mts", "playwright.config.mjs", "playwright.config.cts", "playwright.config.cjs",
}

// packages are the versions found in a project; empty for what is not there.
type packages struct {
	Appwright  string
	Playwright string
	Nested     string // a second Playwright, inside AppWright's own node_modules
}

// Inspect refuses a project that AppWright cannot run in, with a *qgjob.Error
// that says what to change. It starts nothing. given is the configuration
// file asked for, or empty; config is the one to use.
func Inspect(project, given string) (config string, err error) {
	p, err := readPackages(project)
	if err != nil {
		return "", err
	}
	if err := p.check(); err != nil {
		return "", err
	}
	return findConfig(project, given)
}

func readPackages(project string) (packages, error) {
	var p packages
	for _, want := range []struct {
		to   *string
		path string
	}{
		{&p.Appwright, "node_modules/appwright"},
		{&p.Playwright, "node_modules/@playwright/test"},
		{&p.Nested, "node_modules/appwright/node_modules/@playwright/test"},
	} {
		version, err := packageVersion(filepath.Join(project, filepath.FromSlash(want.path)))
		if err != nil {
			return p, err
		}
		*want.to = version
	}
	return p, nil
}

// check is the pure half of Inspect.
func (p packages) check() error {
	switch {
	case p.Appwright == "":
		return wrong("the test project has no node_modules/appwright", "run npm ci in the project, or submit it as a bundle with its package-lock.json")
	case p.Playwright == "":
		return wrong("the test project has no node_modules/@playwright/test", "run npm ci in the project, or submit it as a bundle with its package-lock.json")
	case p.Nested != "" && p.Nested != p.Playwright:
		return wrong(fmt.Sprintf("AppWright brings a second Playwright (%s beside %s)", p.Nested, p.Playwright), pinPlaywright)
	}
	minor, ok := playwrightMinor(p.Playwright)
	if !ok || minor >= badPlaywright || minor < minPlaywright {
		return wrong(fmt.Sprintf("Playwright %s does not accept AppWright's fixtures", p.Playwright), pinPlaywright)
	}
	return nil
}

const pinPlaywright = `in package.json set "@playwright/test": "` + goodPlaywright + `" under devDependencies and under overrides, then npm install`

func wrong(message, hint string) error {
	return &qgjob.Error{Kind: qgjob.KindInvalid, Message: message, Hint: hint}
}

// playwrightMinor gives 56 for 1.56.1; another major version is none that is
// known.
func playwrightMinor(version string) (int, bool) {
	major, rest, _ := strings.Cut(version, ".")
	text, _, _ := strings.Cut(rest, ".")
	minor, err := strconv.Atoi(text)
	return minor, err == nil && major == "1"
}

// packageVersion is empty when there is no such package.
func packageVersion(dir string) (string, error) {
	f, err := os.Open(filepath.Join(dir, "package.json"))
	if err != nil {
		return "", nil //nolint:nilerr // not there, or not to be read: npm ci mends both
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return "", err
	}
	var m struct {
		Version string `json:"version"`
	}
	if json.Unmarshal(text, &m) != nil || m.Version == "" {
		return "", wrong(f.Name()+" is damaged", "remove node_modules and run npm ci")
	}
	return m.Version, nil
}

func findConfig(project, given string) (string, error) {
	root, err := os.OpenRoot(project)
	if err != nil {
		return "", err
	}
	defer root.Close()
	if given != "" {
		if st, err := root.Stat(filepath.FromSlash(given)); err != nil || !st.Mode().IsRegular() {
			return "", wrong("the test project has no configuration "+given, "give its path inside the project by --playwright-config")
		}
		return given, nil
	}
	for _, name := range configNames {
		if st, err := root.Stat(name); err == nil && st.Mode().IsRegular() {
			return name, nil
		}
	}
	return "", wrong("the test project has no appwright.config.ts", "create it, or give its path inside the project by --playwright-config")
}
