package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/appium"
	"github.com/qualgent/qgjob/internal/agent/proc"
)

// Mode is how the appwright runner takes Appium out of AppWright's hands.
type Mode string

// The modes. Auto takes the hook where it fits the installed AppWright, and
// stock mode, with a warning, where it does not.
const (
	ModeAuto  Mode = "auto"
	ModeHook  Mode = "hook"
	ModeStock Mode = "stock"
)

// ParseMode refuses what is no mode; empty is ModeAuto.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case "":
		return ModeAuto, nil
	case ModeAuto, ModeHook, ModeStock:
		return m, nil
	}
	return "", qgjob.Invalid("appwright-mode", fmt.Sprintf("appwright-mode %q is unknown; allowed: auto, hook, stock", s))
}

// Appwright runs one test file of an AppWright project: with Playwright's own
// command line, never through "npx appwright", against the agent's own Appium.
type Appwright struct {
	Config  string // the configuration file, relative to the project; empty: the one AppWright would take
	Project string // the Playwright project to run; empty: the only one there is
	Mode    Mode   // empty is ModeAuto
	Cloud   bool   // tests run on BrowserStack: no Appium and no phone here
}

// Drive is what an AppWright task needs besides the rest of the Task.
type Drive struct {
	Suite  Suite
	Phone  Phone // with Package and Activity
	Server appium.Running
	Cloud  *Cloud // instead of Phone and Server
	Work   string // an absolute folder for this attempt's hook and shims; nothing of it is an artifact
}

// Cloud is what AppWright must be told to run on BrowserStack with an app that
// is uploaded already.
type Cloud struct {
	App     string // bs://…
	Journal string // the file in which sessions are noted (browserstack.EnvJournal)
	Name    string // of the session, for people on the dashboard
	Build   string // under which the dashboard shows it
	API     string // the REST API's address
	Hub     string // http://host:port of the WebDriver hub; empty: AppWright's own
}

// Name is "appwright".
func (Appwright) Name() string { return "appwright" }

// Command runs exactly the job's file with one worker and without retries of
// its own. AppWright lets a test run for ever; here the job's timeout is every
// test's, unless the project has one of its own.
func (a Appwright) Command(t Task) (proc.Command, error) {
	d := t.Drive
	if d == nil {
		return proc.Command{}, errors.New("the appwright runner was given no device")
	}
	argv := []string{
		"node", filepath.FromSlash(playwrightCLI), "test", fileArgument(t.Project, t.Job.TestPath),
		"--config", d.Suite.Config,
		"--workers", "1", "--retries", "0",
		"--global-timeout", strconv.FormatInt((t.Timeout + t.Grace + backstop).Milliseconds(), 10),
		"--output", t.Output,
		"--reporter", "list,json,junit",
	}
	if d.Suite.TestTimeoutMS == 0 {
		argv = append(argv, "--timeout", strconv.FormatInt(t.Timeout.Milliseconds(), 10))
	}
	// Two words and at the end: AppWright looks for the flag itself, and Playwright takes all that follows for projects.
	argv = append(argv, "--project", d.Suite.Project)
	env := slices.Concat(t.Env, jobEnv(t), []string{
		"PLAYWRIGHT_JSON_OUTPUT_NAME=" + filepath.Join(t.Report, resultsJSON),
		"PLAYWRIGHT_JUNIT_OUTPUT_NAME=" + filepath.Join(t.Report, resultsJUnit),
		"PLAYWRIGHT_HTML_OPEN=never",
		"CI=true",
		"FORCE_COLOR=0",
	})
	var err error
	switch {
	case d.Suite.Hooked:
		env, err = hookEnv(d.Work, env, d.hook(t.Job.Reset))
	case d.Cloud == nil:
		env, err = stockEnv(d.Work, env, d.Phone)
	}
	return proc.Command{Argv: argv, Dir: t.Project, Env: env, Grace: t.Grace}, err
}

// Judge takes Playwright's JSON report, as the playwright runner does. A
// verdict counts only when the hook's own notes say that it was in place.
func (a Appwright) Judge(t Task, e Ending) Result {
	result := Playwright{Config: a.Config}.Judge(t, e)
	if t.Drive == nil {
		return result
	}
	if !t.Drive.Suite.Hooked {
		result.Reinstalled = true // by AppWright itself, in every test
		return result
	}
	switch result.Outcome {
	case qgjob.OutcomePassed, qgjob.OutcomeFailed:
	default:
		return result
	}
	if why := readHandshake(t.Drive.Work).misfit(a.Cloud); why != "" && (!e.TimedOut || result.Outcome == qgjob.OutcomePassed) {
		result.Outcome, result.Reason = qgjob.OutcomeErrored, qgjob.ReasonSetup
		result.Message = why
	}
	return result
}

// hook is what the preloaded file is told.
func (d *Drive) hook(reset qgjob.Reset) hookSettings {
	if c := d.Cloud; c != nil {
		return hookSettings{Handshake: filepath.Join(d.Work, handshakeName), Cloud: &hookCloud{*c, hubServer(c.Hub)}}
	}
	set, drop := sessionCapabilities(d.Phone, d.Server.Ports, reset)
	return hookSettings{
		Handshake: filepath.Join(d.Work, handshakeName),
		Server:    hookServer{Protocol: "http", Hostname: "127.0.0.1", Port: d.Server.Ports.Server, Path: "/"},
		Set:       set, Drop: drop, Package: d.Phone.Package, Activity: d.Phone.Activity,
	}
}

// sessionCapabilities are those that make a session find the installed app on
// its own device in a known state. Without "app" the driver installs nothing:
// noReset false has it stop the app and clear its data, noReset true leaves
// the data (Appium: uiautomator2, "Capabilities"). An "app" with noReset would
// test whatever build is there.
func sessionCapabilities(p Phone, ports appium.Ports, reset qgjob.Reset) (set map[string]any, drop []string) {
	set = deviceCapabilities(p, ports)
	set["appium:appPackage"] = p.Package
	set["appium:appActivity"] = p.Activity
	set["appium:fullReset"] = false
	set["appium:noReset"] = reset == qgjob.ResetKeep
	if reset == qgjob.ResetKeep {
		// What the last test left open is not where this one begins.
		set["appium:forceAppLaunch"] = true
	}
	return set, []string{"appium:app", "appium:otherApps", "appium:platformVersion", "appium:avd", "appium:enforceAppInstall"}
}

// deviceCapabilities keep a session on its device and its host's other ones
// out of its way.
func deviceCapabilities(p Phone, ports appium.Ports) map[string]any {
	set := map[string]any{
		"appium:udid":               p.Serial,
		"appium:systemPort":         ports.System,
		"appium:mjpegServerPort":    ports.MJPEG,
		"appium:chromedriverPort":   ports.Chrome,
		"appium:suppressKillServer": true, // it would end every other device's connection
	}
	if port, err := strconv.Atoi(p.ServerPort); err == nil {
		set["appium:adbPort"] = port
	}
	return set
}

// StockDefaults are what the agent's Appium gives to sessions in stock mode:
// AppWright itself names no device.
func StockDefaults(p Phone) func(appium.Ports) map[string]any {
	return func(ports appium.Ports) map[string]any { return deviceCapabilities(p, ports) }
}

// StockPort is the port that AppWright has in its source.
const StockPort = 4723

// nodeRequire quotes a file for NODE_OPTIONS, whose words are split at spaces
// (Node.js: "NODE_OPTIONS=options...").
func nodeRequire(file string) string {
	return `--require "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(file) + `"`
}

// withNodeOption adds an option to those that are there already.
func withNodeOption(env []string, option string) []string {
	const key = "NODE_OPTIONS="
	for _, kv := range slices.Backward(env) {
		if before, ok := strings.CutPrefix(kv, key); ok && before != "" {
			return append(slices.Clone(env), key+before+" "+option)
		}
	}
	return append(slices.Clone(env), key+option)
}

func writeJSON(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
