package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/adb"
	"github.com/qualgent/qgjob/internal/agent/apk"
	"github.com/qualgent/qgjob/internal/agent/appium"
	"github.com/qualgent/qgjob/internal/agent/device"
	"github.com/qualgent/qgjob/internal/agent/proc"
	"github.com/qualgent/qgjob/internal/agent/runner"
)

// Question is what an agent would be started with.
type Question struct {
	Target       qgjob.Target
	Runner       string
	Device       string
	Project      string // folder
	Config       string // Playwright's configuration file, relative to the project
	Mode         string // --appwright-mode
	Suite        string // --appwright-project
	PassEnv      []string
	AVDs         []string
	EmulatorErr  error // why the SDK's emulator program is not there; nil without AVDs
	StateDir     string
	Appium       string // folder, or empty
	AppiumDriver string // folder, or empty
	Serials      []string
	Demands      device.Demands
	App          string // a build to look at; empty for none
	ADB          *adb.Client
	Path         string // PATH
	Home         string
	Chromium     string // QGJOB_CHROMIUM
	Warn         func(string)
}

// Facts are what was found on the machine.
type Facts struct {
	Target         qgjob.Target
	Runner, Device string
	Project        string

	Node string // its version; empty when there is none
	NPM  bool

	ProjectErr            error
	AppWright, Playwright string
	Pins                  Pins
	Suite                 runner.Suite // what the project's configuration says when it is loaded as for a job
	SuiteErr              error
	StockLacks            string // the environment variable that stock mode wants and does not find; empty for none

	AVDs        []string // that the agent would start
	EmulatorErr error

	Appium     appium.Program
	AppiumErr  error
	Driver     appium.Driver
	DriverErr  error
	NearDriver string // the version of a driver beside Appium that is not the pinned one

	OpenAppium, OpenADB []string // addresses that answer beyond loopback
	StockPortTaken      bool

	ADBAddr    string
	ADBVersion int
	ADBErr     error
	ADBProgram bool
	Key        string
	KeyMode    fs.FileMode
	Listed     []adb.Listed // devices that the agent would serve, ready or not
	Phones     []Phone      // those that are ready

	App        string
	AppPackage string
	AppInfo    apk.Info
	AppErr     error

	Chromium          string
	ChromiumErr       error
	PlaywrightBrowser bool // Playwright has downloaded one

	StateDir   string
	DiskFree   int64 // bytes; -1 when not known
	DiskErr    error
	Namespaces string // why tests are isolated less than they could be; empty for not at all
}

// Phone is a device that is ready.
type Phone struct {
	Serial, Model, Release string
	SDK                    int
	Err                    error // why no test could run there
	AppErr                 error // why it would not take the build
}

// Pins are the versions that a project's package.json fixes.
type Pins struct {
	Override string // of @playwright/test
	Lock     bool   // there is a package-lock.json
}

// Bounds on gathering.
const (
	programTime = 20 * time.Second
	dialTime    = 300 * time.Millisecond
	maxManifest = 1 << 20
	maxPhones   = 64
)

// Gather looks at the machine. It changes nothing but for starting an adb
// server where none answers.
func Gather(ctx context.Context, q Question) Facts {
	f := Facts{Target: q.Target, Runner: q.Runner, Device: q.Device, Project: q.Project, StateDir: q.StateDir, App: q.App, AppPackage: q.Demands.Package,
		AVDs: q.AVDs, EmulatorErr: q.EmulatorErr}
	f.Node, f.Namespaces = runNode(ctx)
	_, err := exec.LookPath("npm")
	f.NPM = err == nil
	f.gatherProject(q)
	if q.Runner == "appwright" && f.ProjectErr == nil && f.Node != "" {
		f.gatherSuite(ctx, q)
	}
	f.DiskFree, f.DiskErr = diskFree(q.StateDir)
	if q.Runner == "playwright" && q.Target == qgjob.TargetBrowser {
		f.Chromium, f.ChromiumErr = device.FindChromium(q.Chromium)
		f.PlaywrightBrowser = hasBrowser(q.Home)
	}
	if q.App != "" {
		f.AppInfo, f.AppErr = apk.Open(q.App)
	}
	if q.Device == "adb" {
		f.gatherADB(ctx, q)
		f.OpenAppium, f.StockPortTaken = outside(ctx, strconv.Itoa(runner.StockPort)), answers(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(runner.StockPort)))
		f.OpenADB = outside(ctx, q.ADB.Port())
	}
	return f
}

// runNode asks node for its version in the way in which tests are run, which
// shows what isolation there is.
func runNode(ctx context.Context) (version, weaker string) {
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	argv := []string{"node", "--version"}
	if _, err := exec.LookPath("node"); err != nil {
		argv = []string{"true"}
	}
	var out bytes.Buffer
	p, err := proc.Start(proc.Command{Argv: argv, Env: os.Environ(), Dir: os.TempDir(), Stdout: &out, Stderr: &bytes.Buffer{}, Warn: func(text string) { weaker = text }})
	if err != nil {
		return "", ""
	}
	stop := context.AfterFunc(ctx, p.Kill)
	defer stop()
	if result := p.Wait(); result.End == proc.Exited && result.ExitCode == 0 {
		version = strings.TrimSpace(out.String())
	}
	return version, weaker
}

func (f *Facts) gatherProject(q Question) {
	f.Playwright = packageVersion(q.Project, "@playwright/test")
	switch q.Runner {
	case "appwright":
		_, f.ProjectErr = runner.Inspect(q.Project, q.Config)
		f.AppWright = packageVersion(q.Project, "appwright")
		f.Pins = readPins(q.Project)
		if f.Appium, f.AppiumErr = appium.Find(q.Appium, q.Path, q.Project); f.AppiumErr != nil {
			return
		}
		if f.Driver, f.DriverErr = appium.FindDriver(q.AppiumDriver, f.Appium); f.DriverErr == nil && f.Driver.Dir == "" {
			f.NearDriver = packageVersion(filepath.Dir(filepath.Dir(f.Appium.Dir)), f.Driver.Package)
		}
	case "playwright":
		if f.Playwright == "" {
			f.ProjectErr = &qgjob.Error{Kind: qgjob.KindInvalid, Message: q.Project + " has no node_modules/@playwright/test",
				Hint: "run npm ci there, name the project by --project, or submit it as a bundle with its package-lock.json"}
		}
	}
}

// gatherSuite loads the configuration as a job's would be, which shows whether
// the hook fits.
func (f *Facts) gatherSuite(ctx context.Context, q Question) {
	work, err := os.MkdirTemp("", "qgjob-doctor-")
	if err != nil {
		f.SuiteErr = err
		return
	}
	defer os.RemoveAll(work) //nolint:errcheck // a temporary folder
	project, err := filepath.EvalSymlinks(q.Project)
	if err != nil {
		f.SuiteErr = err
		return
	}
	warn := q.Warn
	if warn == nil {
		warn = func(string) {}
	}
	w := runner.Appwright{Config: q.Config, Project: q.Suite, Mode: runner.Mode(q.Mode)}
	f.Suite, f.SuiteErr = w.Probe(ctx, project, "", work, runner.Env(os.Environ(), q.PassEnv), warn)
	for _, name := range []string{"ANDROID_HOME", "JAVA_HOME"} {
		if os.Getenv(name) == "" {
			f.StockLacks = name
			break
		}
	}
}

// packageVersion is that of an installed npm package, "" when it cannot be
// told.
func packageVersion(project, name string) string {
	var m struct {
		Version string `json:"version"`
	}
	readJSON(filepath.Join(project, "node_modules", filepath.FromSlash(name), "package.json"), &m)
	return m.Version
}

func readPins(project string) Pins {
	const name = "@playwright/test"
	var m struct {
		Overrides map[string]json.RawMessage `json:"overrides"`
		Direct    map[string]json.RawMessage `json:"dependencies"`
		Dev       map[string]json.RawMessage `json:"devDependencies"`
	}
	readJSON(filepath.Join(project, "package.json"), &m)
	p := Pins{Override: word(m.Overrides[name])}
	if own, ok := strings.CutPrefix(p.Override, "$"); ok {
		// The range that the project's own dependency has (npm: package.json, "overrides").
		p.Override = word(m.Dev[own])
		if direct := word(m.Direct[own]); direct != "" {
			p.Override = direct
		}
	}
	_, err := os.Stat(filepath.Join(project, "package-lock.json"))
	p.Lock = err == nil
	return p
}

// word is a JSON string, "" for anything else.
func word(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// readJSON leaves to as it is where there is nothing to read.
func readJSON(path string, to any) {
	st, err := os.Stat(path)
	if err != nil || !st.Mode().IsRegular() || st.Size() > maxManifest {
		return
	}
	if text, err := os.ReadFile(path); err == nil {
		_ = json.Unmarshal(text, to)
	}
}

// hasBrowser looks into Playwright's own cache (Playwright: "Browsers",
// managing browser binaries).
func hasBrowser(home string) bool {
	for _, dir := range []string{os.Getenv("PLAYWRIGHT_BROWSERS_PATH"), filepath.Join(home, ".cache", "ms-playwright"), filepath.Join(home, "Library", "Caches", "ms-playwright")} {
		if found, err := filepath.Glob(filepath.Join(dir, "chromium*")); dir != "" && err == nil && len(found) > 0 {
			return true
		}
	}
	return false
}

func (f *Facts) gatherADB(ctx context.Context, q Question) {
	f.ADBAddr = q.ADB.Addr()
	_, err := exec.LookPath("adb")
	f.ADBProgram = err == nil
	f.Key = filepath.Join(q.Home, ".android", "adbkey")
	if st, err := os.Stat(f.Key); err == nil {
		f.KeyMode = st.Mode().Perm()
	}
	if f.ADBErr = q.ADB.Start(ctx, "adb"); f.ADBErr != nil {
		return
	}
	if f.ADBVersion, f.ADBErr = q.ADB.Version(ctx); f.ADBErr != nil {
		return
	}
	all, err := q.ADB.Devices(ctx)
	if f.ADBErr = err; err != nil {
		return
	}
	for _, l := range all {
		if !device.Suits(l, q.Target, q.Serials) {
			continue
		}
		f.Listed = append(f.Listed, l)
		if l.Ready() && len(f.Phones) < maxPhones {
			f.Phones = append(f.Phones, examine(ctx, q, l.Serial, f.AppInfo, f.App != "" && f.AppErr == nil))
		}
	}
}

// examine looks at one device as an agent would before a job.
func examine(ctx context.Context, q Question, serial string, info apk.Info, app bool) Phone {
	p := Phone{Serial: serial}
	demands := q.Demands
	demands.Boot = min(max(demands.Boot, time.Second), programTime) // a doctor does not wait for a device that starts
	phone := q.ADB.Phone(serial)
	props, err := phone.Props(ctx)
	if err != nil {
		p.Err = err
		return p
	}
	p.Model, p.Release = props["ro.product.model"], props["ro.build.version.release"]
	p.SDK, _ = strconv.Atoi(props["ro.build.version.sdk"]) // unknown: 0
	p.Err = device.CheckPhone(ctx, phone, demands)
	if app {
		p.AppErr = device.Accepts(phone.Serial(), props, demands, info)
	}
	return p
}

// outside are the addresses of this machine, loopback apart, at which a port
// answers.
func outside(ctx context.Context, port string) []string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []string
	for _, a := range addrs {
		ip, ok := a.(*net.IPNet)
		if !ok || ip.IP.IsLoopback() || ip.IP.IsLinkLocalUnicast() {
			continue
		}
		if addr := net.JoinHostPort(ip.IP.String(), port); answers(ctx, addr) {
			out = append(out, addr)
		}
	}
	return out
}

func answers(ctx context.Context, addr string) bool {
	dialer := net.Dialer{Timeout: dialTime}
	c, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	return errors.Is(c.Close(), nil)
}
