// Package agent is doing: a host process that claims jobs for its device
// slots, installs an app version once, runs tests, streams their logs, reports
// truthfully and drains.
//
// It imports the root package, internal/client, internal/report and
// internal/bundle, and meets the server only through the client.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/adb"
	"github.com/qualgent/qgjob/internal/agent/browserstack"
	"github.com/qualgent/qgjob/internal/agent/device"
	"github.com/qualgent/qgjob/internal/agent/ios"
	"github.com/qualgent/qgjob/internal/agent/proc"
	"github.com/qualgent/qgjob/internal/agent/runner"
	"github.com/qualgent/qgjob/internal/client"
)

// MaxSlots is the most agents that one process serves.
const MaxSlots = 64

// Config is what an agent process needs to know.
type Config struct {
	Server           *client.Client    // the only way to the server; its retry policy is replaced
	JoinToken        string            // exchanged, once, for a token of the agent's own, when Server bears none; that is kept in StateDir
	ServerFound      bool              // Server's addresses were found in a repository, not given: no other address gets a kept token
	Name             string            // the agent's id with one slot; NAME-1, NAME-2, … with more
	Slots            int               // agents served, each one job at a time; 0 is 1, of DeviceBrowserStack what the plan allows
	Target           qgjob.Target      // what the slots are
	Device           string            // what they run on: one of the constants below; empty: DeviceOwn
	ADB              *adb.Client       // the server of DeviceADB; nil: the one that the environment names
	ADBProgram       string            // starts that server when it is away; empty: adb
	Serials          []string          // of DeviceADB: only these devices, whatever they are; empty: all of the target
	AVDs             []string          // emulators of DeviceADB to run for as long as the agent runs
	EmulatorProgram  string            // starts them; empty: the SDK's emulator
	Demands          device.Demands    // what a device of DeviceADB must offer before it gets a job
	Quarantine       int               // of DeviceADB: jobs in a row that a device may break; 0 is 3, below 0 any number
	Runner           string            // "playwright", "appwright" or "exec"
	ExecArgv         []string          // the program of the exec runner with its arguments
	Labels           map[string]string // what the scheduler may match
	StateDir         string            // incarnations, results not delivered yet, caches; several processes may share one
	ProjectDir       string            // the tests of jobs without a bundle; empty: such jobs end errored
	PlaywrightConfig string            // Playwright's --config, relative to the project; empty: its own choice
	AppwrightMode    string            // of the appwright runner: "auto", "hook" or "stock"; empty is auto
	AppwrightProject string            // the Playwright project that it runs; empty: the only one there is
	Appium           string            // the folder of its Appium; empty: the test project's, else the one in PATH
	AppiumDriver     string            // the folder of Appium's driver; empty: uiautomator2, pinned
	BaseURL          string            // BASE_URL of browser jobs whose app version has no uploaded build
	PassEnv          []string          // further environment variables that tests may see
	Host             string            // shown to people; empty: the machine's name
	Version          string            // of the qgjob binary, shown to people
	Grace            time.Duration     // between SIGINT and SIGKILL of a stopped test; 0 is proc.DefaultGrace
	LeaveGrace       time.Duration     // for the last words to the server after Cancel; 0 is 10 s
	Log              *slog.Logger      // nil: nothing is logged
	Drain            <-chan struct{}   // closed: claim no more, finish what runs, then Run returns
	Cancel           <-chan struct{}   // closed: stop what runs and give it back, then Run returns

	Xcrun ios.Run // of DeviceSimctl and DeviceDevicectl; nil: the xcrun of this machine

	Cloud    *browserstack.Client // the account of DeviceBrowserStack; nil: the one that the environment names
	CloudHub string               // where AppWright starts that account's sessions, http://host:port; empty: BrowserStack's own

	unplugGrace time.Duration // before a device that is away counts as unplugged; 0 is 10 s
	canaryPause time.Duration // before the first canary of a quarantine; 0 is 30 s
	avdPause    time.Duration // before an emulator that ended by itself is started again; 0 is 5 s
	fullPause   time.Duration // before a full plan of DeviceBrowserStack is looked at again; 0 is 5 s
	retryPause  time.Duration // between two tries after answers that only time will change; 0 is half of retryCeiling
}

// avdName is what avdmanager takes for the name of an AVD.
var avdName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// The sorts of device.
const (
	DeviceOwn = "own" // the target's own: a browser, or whatever the exec runner drives
	DeviceADB = "adb" // the Android devices of an adb server, one agent each

	DeviceBrowserStack = "browserstack" // sessions of BrowserStack's App Automate, one agent each

	DeviceSimctl    = "simctl"    // the iOS simulators of a Mac, one agent each
	DeviceDevicectl = "devicectl" // the iPhones and iPads at a Mac, one agent each
)

// Check refuses a configuration with a *qgjob.Error of KindInvalid whose Field
// is the flag at fault.
func (c Config) Check() error {
	if c.Server == nil {
		return qgjob.Invalid("server", "server must be given")
	}
	if err := qgjob.CheckName("name", c.Name); err != nil {
		return err
	}
	if c.Slots < 0 || c.Slots > MaxSlots {
		return qgjob.Invalid("slots", fmt.Sprintf("slots %d is out of range; allowed: 1 to %d", c.Slots, MaxSlots))
	}
	if c.Slots > 1 {
		if err := qgjob.CheckName("name", string(c.id(c.Slots-1))); err != nil {
			return err
		}
	}
	if _, err := qgjob.ParseTarget(string(c.Target)); err != nil {
		return err
	}
	if err := qgjob.CheckLabels("labels", c.Labels); err != nil {
		return err
	}
	if c.StateDir == "" {
		return qgjob.Invalid("state-dir", "state-dir must not be empty")
	}
	if err := runner.CheckPassEnv(c.PassEnv); err != nil {
		return err
	}
	if c.PlaywrightConfig != "" && !filepath.IsLocal(c.PlaywrightConfig) {
		return qgjob.Invalid("config", "config must be a path inside the test project")
	}
	if err := c.checkDevice(); err != nil {
		return err
	}
	return c.checkRunner()
}

func (c Config) checkDevice() error {
	if c.ios() {
		return c.checkIOS()
	}
	switch {
	case c.Device != "" && c.Device != DeviceOwn && c.Device != DeviceADB && c.Device != DeviceBrowserStack:
		return qgjob.Invalid("device", fmt.Sprintf("device %q is unknown; allowed: adb, simctl, devicectl, browserstack, own", c.Device))
	case c.Device == DeviceBrowserStack && c.Target != qgjob.TargetBrowserStack:
		return qgjob.Invalid("target", fmt.Sprintf("the sessions of BrowserStack are of target browserstack, not %s", c.Target))
	case c.Device == DeviceADB && c.Target != qgjob.TargetEmulator && c.Target != qgjob.TargetDevice:
		return qgjob.Invalid("target", fmt.Sprintf("the devices of an adb server are of target emulator or device, not %s", c.Target))
	case c.Device == DeviceADB && c.Slots > 1:
		return qgjob.Invalid("slots", "slots must not be given with devices: each device is one agent")
	case c.Device != DeviceADB && len(c.Serials) > 0:
		return qgjob.Invalid("serial", "serial chooses devices of an adb server: add --device=adb")
	case len(c.AVDs) > 0 && (c.Device != DeviceADB || c.Target != qgjob.TargetEmulator):
		return qgjob.Invalid("avd", "avd starts emulators: add --target=emulator --device=adb")
	case slices.ContainsFunc(c.AVDs, func(name string) bool { return !avdName.MatchString(name) }):
		return qgjob.Invalid("avd", fmt.Sprintf("avd wants names as emulator -list-avds gives them, not %q", c.AVDs))
	case c.Demands.Package != "" && !adb.ValidPackage(c.Demands.Package):
		return qgjob.Invalid("app-package", fmt.Sprintf("app-package %q is no application id, such as com.example.app", c.Demands.Package))
	}
	for _, serial := range c.Serials {
		if !adb.ValidSerial(serial) {
			return qgjob.Invalid("serial", fmt.Sprintf("serial %q is no serial number as adb devices lists them", serial))
		}
		if err := qgjob.CheckName("name", string(c.idOf(serial))); err != nil {
			return err
		}
	}
	return nil
}

func (c Config) checkRunner() error {
	switch {
	case c.Runner == "exec" && (len(c.ExecArgv) == 0 || c.ExecArgv[0] == ""):
		return &qgjob.Error{Kind: qgjob.KindInvalid, Field: "runner", Message: "the exec runner needs a program",
			Hint: "give it after --, such as: qgjob agent --runner exec -- ./run-test"}
	case c.Runner == "playwright" && c.Target != qgjob.TargetBrowser && c.Device != DeviceADB:
		return &qgjob.Error{Kind: qgjob.KindInvalid, Field: "target",
			Message: fmt.Sprintf("the playwright runner serves the target browser, not %s", c.Target),
			Hint:    "use --target browser, or --runner exec with a program that drives the device"}
	case c.Runner == "appwright" && c.Target == qgjob.TargetBrowser:
		return &qgjob.Error{Kind: qgjob.KindInvalid, Field: "target",
			Message: fmt.Sprintf("the appwright runner serves the targets emulator, device and browserstack, not %s", c.Target), Hint: "use --target emulator"}
	case c.Runner != "exec" && c.Runner != "playwright" && c.Runner != "appwright":
		return qgjob.Invalid("runner", fmt.Sprintf("runner %q is unknown; allowed: appwright, playwright, exec", c.Runner))
	}
	_, err := runner.ParseMode(c.AppwrightMode)
	return err
}

// id is the agent id of a slot, counted from 0.
func (c Config) id(slot int) qgjob.AgentID {
	if c.Slots <= 1 {
		return qgjob.AgentID(c.Name)
	}
	return qgjob.AgentID(fmt.Sprintf("%s-%d", c.Name, slot+1))
}

// idOf is the agent id of a device. It is the device's own, so that what the
// agent knows of it is still so after others were unplugged.
func (c Config) idOf(serial string) qgjob.AgentID {
	return qgjob.AgentID(c.Name + "-" + serial)
}

// host is one agent process.
type host struct {
	Config
	reigns    *reigns
	runner    runner.Runner
	appwright *appwright   // with that runner
	cloud     *cloud       // of DeviceBrowserStack; nil for others
	apple     []ios.Listed // the devices of simctl or devicectl that were there at the start
	cache     *cache
	env       []string // of tests
	warn      func(string)
	work      context.Context // ends, with errLeaving, when tests must stop
	claims    context.Context // ends when no more work is wanted
	browser   string
	own       bool // Server bears the token that the host got for a join token
}

// Run serves the slots until Drain or Cancel is closed or ctx ends, which
// counts as Cancel. It returns nil when it left as it was told to. A server
// that is away is waited for; a server that refuses the agent (denied, a newer
// incarnation of the same name) ends that slot with its error.
func Run(ctx context.Context, c Config) error {
	if err := c.Check(); err != nil {
		return err
	}
	h, err := newHost(c)
	if err != nil {
		return err
	}
	stop := h.watchSignals(ctx)
	defer stop()
	if err := h.join(h.claims); err != nil {
		return told(err)
	}
	if h.Device == DeviceADB {
		return h.serveFleet()
	}
	if h.ios() {
		return h.serveIOS()
	}
	if h.cloud != nil && h.Slots == 0 {
		if h.Slots, err = h.planSlots(); err != nil {
			return err
		}
	}
	return h.serveSlots(make([]string, max(1, h.Slots)))
}

// serveSlots serves an agent for each serial, "" where the slot has none.
func (h *host) serveSlots(serials []string) error {
	var slots []*slot
	defer func() {
		for _, s := range slots {
			s.close()
		}
	}()
	for i, serial := range serials {
		id := h.id(i)
		if serial != "" {
			id = h.idOf(serial)
		}
		s, err := h.openSlot(id, serial)
		if err != nil {
			return err
		}
		slots = append(slots, s)
	}
	errs := make([]error, len(slots))
	var running sync.WaitGroup
	for i, s := range slots {
		running.Go(func() { errs[i] = s.serve() })
	}
	running.Wait()
	return errors.Join(errs...)
}

func newHost(c Config) (*host, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Grace == 0 {
		c.Grace = proc.DefaultGrace
	}
	if c.retryPause == 0 {
		c.retryPause = retryCeiling / 2
	}
	if c.unplugGrace == 0 {
		c.unplugGrace = unplugGrace
	}
	if c.avdPause == 0 {
		c.avdPause = avdAgain
	}
	if c.fullPause == 0 {
		c.fullPause = fullPause
	}
	if c.canaryPause == 0 {
		c.canaryPause = canaryPause
	}
	if c.LeaveGrace == 0 {
		c.LeaveGrace = 10 * time.Second
	}
	if c.Host == "" {
		// Without a name the server shows none.
		c.Host, _ = os.Hostname()
	}
	state, err := filepath.Abs(c.StateDir)
	if err != nil {
		return nil, fmt.Errorf("state-dir: %w", err)
	}
	c.StateDir = state
	cached, err := openCache(filepath.Join(state, "cache"), c.Server)
	if err != nil {
		return nil, fmt.Errorf("state-dir: %w", err)
	}
	heard := newReigns()
	c.Server = c.Server.WithReign(heard.hear)
	h := &host{Config: c, reigns: heard, cache: cached, env: runner.Env(os.Environ(), c.PassEnv)}
	h.warn = proc.Once(func(text string) { c.Log.Warn(text) })
	if c.Device == DeviceADB && c.ADB == nil {
		if h.ADB, err = adb.FromEnv(os.Getenv); err != nil {
			return nil, qgjob.Invalid("device", err.Error())
		}
	}
	if c.ios() && c.Xcrun == nil {
		if h.Xcrun, err = ios.Xcrun(); err != nil {
			return nil, qgjob.Invalid("device", err.Error())
		}
	}
	if c.Device == DeviceBrowserStack {
		if h.cloud, err = newCloud(c); err != nil {
			return nil, err
		}
	}
	switch c.Runner {
	case "exec":
		h.runner = runner.Exec{Argv: c.ExecArgv}
		return h, nil
	case "appwright":
		h.appwright = newAppwright(h)
		h.runner = h.appwright.Appwright
		return h, nil
	}
	h.runner = runner.Playwright{Config: c.PlaywrightConfig}
	h.browser, err = device.FindChromium(os.Getenv("QGJOB_CHROMIUM"))
	return h, err
}

// openDevice opens the device of a slot, whose files lie in dir: that of an adb
// server when it has a serial.
func (h *host) openDevice(dir, serial string) (device.Device, error) {
	switch {
	case h.ios():
		return h.openIOS(dir, serial)
	case serial != "":
		ctx, cancel := context.WithTimeout(h.claims, openTime)
		defer cancel()
		return device.OpenAndroid(ctx, h.ADB.Phone(serial), h.Demands, dir, filepath.Join(h.StateDir, "ports"))
	case h.cloud != nil:
		return device.NewCloud(dir, h.cloud.client, h.cloud.uploads, h.cloud.gate), nil
	case h.Runner != "playwright":
		return device.NewNone(dir), nil
	}
	return device.NewBrowser(dir, h.browser, h.BaseURL), nil
}

// folderFor is a file name for an agent id, which may hold slashes and dots.
func folderFor(id qgjob.AgentID) string {
	plain := strings.Trim(string(id), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == ""
	if plain && id[0] != '.' && id[0] != '-' && len(id) <= 64 {
		return string(id)
	}
	return "=" + digest(string(id))[:32]
}
