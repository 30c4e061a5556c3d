package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/adb"
	"github.com/qualgent/qgjob/internal/agent/adb/adbtest"
	"github.com/qualgent/qgjob/internal/agent/apk"
	"github.com/qualgent/qgjob/internal/agent/apk/apktest"
	"github.com/qualgent/qgjob/internal/agent/appium"
	"github.com/qualgent/qgjob/internal/agent/device"
	"github.com/qualgent/qgjob/internal/agent/proc"
	"github.com/qualgent/qgjob/internal/agent/runner"
)

func TestMain(m *testing.M) {
	proc.MaybeInit()
	os.Exit(m.Run())
}

// well is a machine on which AppWright tests run.
func well() Facts {
	return Facts{
		Target: qgjob.TargetDevice, Runner: "appwright", Device: "adb", Project: "e2e", Node: "v20.11.0", NPM: true,
		AppWright: "0.1.1", Playwright: "1.56.1", Pins: Pins{Override: "1.56.1", Lock: true},
		Suite:  runner.Suite{Config: "appwright.config.ts", Project: "android", Hooked: true},
		Appium: appium.Program{Dir: "a", Version: "2.19.0"}, Driver: appium.Driver{Name: "uiautomator2", Package: "p", Version: "3.10.0", Dir: "d"},
		ADBAddr: "127.0.0.1:5037", ADBVersion: 0x29, ADBProgram: true, Key: "k", KeyMode: 0o600,
		Listed: []adb.Listed{{Serial: "R5CT", State: "device"}}, Phones: []Phone{{Serial: "R5CT", SDK: 34}}, DiskFree: 100 << 30,
	}
}

// TestDiagnose breaks a machine that is well in one way after the other: each
// is named by its check with a fix, and only what keeps tests from running
// makes the machine unready.
func TestDiagnose(t *testing.T) {
	if r := Diagnose(well()); !r.Ready {
		t.Fatalf("a machine that is well: %+v", r)
	}
	no := func(message, hint string) error {
		return &qgjob.Error{Kind: qgjob.KindInvalid, Message: message, Hint: hint}
	}
	for _, test := range []struct {
		name  string
		spoil func(*Facts)
		check string
		level Level
		says  string // in message or fix
	}{
		{"no node", func(f *Facts) { f.Node = "" }, "node", LevelFail, "install Node.js 20"},
		{"old node", func(f *Facts) { f.Node = "v18.19.1" }, "node", LevelFail, "too old"},
		{"strange node", func(f *Facts) { f.Node = "x" }, "node", LevelFail, "too old"},
		{"no npm", func(f *Facts) { f.NPM = false }, "npm", LevelWarn, "bundle"},
		{"no npm, driver to fetch", func(f *Facts) { f.NPM, f.Driver.Dir = false, "" }, "npm", LevelFail, "still to be fetched"},
		{"wrong Playwright", func(f *Facts) { f.ProjectErr = no("Playwright 1.60.0 does not accept AppWright's fixtures", "pin it") }, "project", LevelFail, "pin it"},
		{"configuration that does not load", func(f *Facts) { f.SuiteErr = no("the configuration cannot be loaded", "run --list") }, "config", LevelFail, "run --list"},
		{"hook that does not fit", func(f *Facts) {
			f.Suite = runner.Suite{Project: "android", Warning: "the hook does not fit AppWright 0.1.46"}
		}, "hook", LevelWarn, "0.1.1"},
		{"stock mode", func(f *Facts) { f.Suite.Hooked = false }, "hook", LevelWarn, "one run per host"},
		{"stock mode without an SDK", func(f *Facts) { f.Suite.Hooked, f.StockLacks = false, "JAVA_HOME" }, "stock", LevelFail, "JAVA_HOME is not set"},
		{"stock mode without its port", func(f *Facts) { f.Suite.Hooked, f.StockPortTaken = false, true }, "port-4723", LevelFail, "left behind"},
		{"no emulator program", func(f *Facts) { f.AVDs, f.EmulatorErr = []string{"pixel"}, no("no emulator program", "sdkmanager") }, "emulator", LevelFail, "sdkmanager"},
		{"emulators that start with the agent", func(f *Facts) { f.AVDs, f.Listed, f.Phones = []string{"pixel"}, nil, nil }, "emulator", LevelOK, "pixel"},
		{"no override", func(f *Facts) { f.Pins.Override = "" }, "pins", LevelWarn, "next npm install"},
		{"loose override", func(f *Facts) { f.Pins.Override = "^1.56.1" }, "pins", LevelWarn, "no exact version"},
		{"no lock file", func(f *Facts) { f.Pins.Lock = false }, "pins", LevelWarn, "package-lock.json"},
		{"no Appium", func(f *Facts) { f.AppiumErr = no("there is no Appium", "npm install appium") }, "appium", LevelFail, "npm install appium"},
		{"no driver", func(f *Facts) { f.DriverErr = no("there is no driver", "name it") }, "driver", LevelFail, "name it"},
		{"driver for Appium 3", func(f *Facts) { f.Driver.Version = "8.1.0" }, "driver", LevelFail, "does not fit Appium 2.19.0"},
		{"driver to fetch", func(f *Facts) { f.Driver.Dir = "" }, "driver", LevelWarn, "fetched from npm's registry"},
		{"other driver beside", func(f *Facts) { f.Driver.Dir, f.NearDriver = "", "8.1.0" }, "driver", LevelWarn, "8.1.0 beside Appium is not used"},
		{"open Appium", func(f *Facts) { f.OpenAppium = []string{"10.0.0.2:4723"} }, "open-appium", LevelWarn, "--address 127.0.0.1"},
		{"open adb", func(f *Facts) { f.OpenADB = []string{"10.0.0.2:5037"} }, "open-adb", LevelWarn, "without -a"},
		{"left-behind Appium", func(f *Facts) { f.StockPortTaken = true }, "port-4723", LevelWarn, "left behind"},
		{"no adb server", func(f *Facts) { f.ADBErr = adb.ErrNoServer }, "adb", LevelFail, "apt-get install adb"},
		{"old adb", func(f *Facts) { f.ADBVersion = 32 }, "adb", LevelFail, "needed: 41"},
		{"no adb program", func(f *Facts) { f.ADBProgram = false }, "adb", LevelFail, "which Appium calls"},
		{"key for all", func(f *Facts) { f.KeyMode = 0o644 }, "adb-key", LevelWarn, "chmod 600"},
		{"no device", func(f *Facts) { f.Listed, f.Phones = nil, nil }, "device", LevelFail, "no usable device"},
		{"no emulator", func(f *Facts) { f.Listed, f.Phones, f.Target = nil, nil, qgjob.TargetEmulator }, "device", LevelFail, "emulator -avd"},
		{"unauthorised", func(f *Facts) { f.Listed[0].State, f.Phones = "unauthorized", nil }, "device", LevelFail, "target device"},
		{"unauthorised too", func(f *Facts) { f.Listed = append(f.Listed, adb.Listed{Serial: "X", State: "unauthorized"}) }, "device", LevelWarn, "allow USB debugging"},
		{"no permissions", func(f *Facts) { f.Listed = append(f.Listed, adb.Listed{Serial: "X", State: "no permissions"}) }, "device", LevelWarn, "udev"},
		{"offline", func(f *Facts) { f.Listed = append(f.Listed, adb.Listed{Serial: "X", State: "offline"}) }, "device", LevelWarn, "plug it in again"},
		{"ill device", func(f *Facts) { f.Phones[0].Err = errors.New("R5CT: the battery is at 3 %") }, "health", LevelFail, "no device is fit"},
		{"one ill device of two", func(f *Facts) { f.Phones = append(f.Phones, Phone{Serial: "X", Err: errors.New("X is full")}) }, "health", LevelWarn, "X is full"},
		{"ancient device", func(f *Facts) { f.Phones[0].SDK = 21 }, "health", LevelFail, "no device is fit"},
		{"wrong APK", func(f *Facts) { f.App, f.AppErr = "x.apk", &apk.Error{Message: "no APK", Hint: "h"} }, "app", LevelFail, "no APK"},
		{"split", func(f *Facts) { f.App, f.AppInfo = "x.apk", apk.Info{Package: "a.b", Split: "de"} }, "app", LevelFail, "universal"},
		{"other app", func(f *Facts) { f.App, f.AppInfo, f.AppPackage = "x.apk", apk.Info{Package: "a.b"}, "c.d" }, "app", LevelFail, "not c.d"},
		{"test APK", func(f *Facts) { f.App, f.AppInfo = "x.apk", apk.Info{Package: "a.b"} }, "app", LevelFail, "launcher"},
		{"other processor", func(f *Facts) {
			f.App, f.AppInfo = "x.apk", apk.Info{Package: "a.b", Activity: "a.b.C"}
			f.Phones[0].AppErr = &device.BuildError{Message: "native code for x86", Hint: "add arm64"}
		}, "app", LevelFail, "add arm64"},
		{"right APK", func(f *Facts) { f.App, f.AppInfo = "x.apk", apk.Info{Package: "a.b", Activity: "a.b.C"} }, "app", LevelOK, "a.b.C"},
		{"full disk", func(f *Facts) { f.DiskFree = 1 << 20 }, "disk", LevelFail, "1 MiB"},
		{"nearly full disk", func(f *Facts) { f.DiskFree = 1 << 30 }, "disk", LevelWarn, "only 1024 MiB"},
		{"no state-dir", func(f *Facts) { f.DiskErr = errors.New("read-only") }, "disk", LevelFail, "--state-dir"},
		{"no namespaces", func(f *Facts) { f.Namespaces = "weaker" }, "isolation", LevelWarn, "userns"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := well()
			test.spoil(&f)
			r := Diagnose(f)
			found := false
			for _, x := range r.Findings {
				if x.Level != LevelOK && x.Fix == "" || x.Level == LevelOK && x.Fix != "" {
					t.Errorf("a fix too many or too few: %+v", x)
				}
				found = found || x.Check == test.check && x.Level == test.level && strings.Contains(x.Message+" "+x.Fix, test.says)
			}
			if !found || r.Ready != (test.level != LevelFail) {
				t.Errorf("ready %v, want %s %s with %q in %+v", r.Ready, test.level, test.check, test.says, r.Findings)
			}
		})
	}
}

// TestDiagnoseBrowser: what concerns phones only is not asked of a browser.
func TestDiagnoseBrowser(t *testing.T) {
	f := Facts{Target: qgjob.TargetBrowser, Runner: "playwright", Device: "own", Node: "v22.0.0", NPM: true, Playwright: "1.61.0", Chromium: "/usr/bin/chromium", DiskFree: -1}
	if r := Diagnose(f); !r.Ready || len(r.Findings) != 5 {
		t.Errorf("%+v", r)
	}
	f.Chromium = ""
	if r := Diagnose(f); r.Ready {
		t.Errorf("no browser at all: %+v", r)
	}
	f.PlaywrightBrowser = true
	if r := Diagnose(f); !r.Ready {
		t.Errorf("Playwright's browser: %+v", r)
	}
	f.ChromiumErr = errors.New("QGJOB_CHROMIUM names a folder")
	if r := Diagnose(f); r.Ready {
		t.Errorf("a wrong QGJOB_CHROMIUM: %+v", r)
	}
	f = Facts{Target: qgjob.TargetEmulator, Runner: "exec", Device: "own", DiskFree: 100 << 30}
	if r := Diagnose(f); !r.Ready {
		t.Errorf("exec needs nothing: %+v", r)
	}
}

func TestExact(t *testing.T) {
	for version, want := range map[string]bool{"1.56.1": true, "1.56.1-beta-2": true, "$@playwright/test": false, "": false, "^1.56.1": false, "~1.5": false, "*": false, "latest": false, "1.x": false, ">=1": false} {
		if exact(version) != want {
			t.Errorf("exact(%q) is %v", version, !want)
		}
	}
}

// TestGather looks at a project and devices that are really there.
func TestGather(t *testing.T) {
	lab, err := adbtest.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	lab.Plug(adbtest.Device{Serial: "emulator-5554"})
	lab.Plug(adbtest.Device{Serial: "emulator-5556"})
	lab.SetHealth("emulator-5556", adbtest.Health{Booted: true, Battery: 90, FreeKB: 1})
	lab.Plug(adbtest.Device{Serial: "emulator-5558", State: "unauthorized"})
	lab.Plug(adbtest.Device{Serial: "R5CT"})
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("e2e/package.json", `{"overrides":{"@playwright/test":"1.56.1","x":{"y":"1"}}}`)
	write("e2e/package-lock.json", `{}`)
	write("e2e/appwright.config.ts", "")
	write("e2e/node_modules/appwright/package.json", `{"version":"0.1.1"}`)
	write("e2e/node_modules/@playwright/test/package.json", `{"version":"1.56.1"}`)
	write("e2e/node_modules/appium/package.json", `{"name":"appium","version":"2.19.0"}`)
	write("e2e/node_modules/appium/index.js", "")
	write("e2e/node_modules/appium-uiautomator2-driver/package.json", `{"name":"appium-uiautomator2-driver","version":"8.1.0"}`)
	write("home/.android/adbkey", "key")
	write("demo.apk", string(apktest.APK(apktest.App{Package: "dev.qgjob.demo", VersionCode: 7, Activity: ".Main", ABIs: []string{"x86_64"}})))
	if err := os.Chmod(filepath.Join(dir, "home/.android/adbkey"), 0o644); err != nil {
		t.Fatal(err)
	}
	q := Question{
		Target: qgjob.TargetEmulator, Runner: "appwright", Device: "adb", Project: filepath.Join(dir, "e2e"), StateDir: filepath.Join(dir, "state"),
		Demands: device.DefaultDemands, App: filepath.Join(dir, "demo.apk"), ADB: adb.New(lab.Addr()), Home: filepath.Join(dir, "home"),
	}
	f := Gather(t.Context(), q)
	if f.ProjectErr != nil || f.AppWright != "0.1.1" || f.Playwright != "1.56.1" || f.Pins != (Pins{"1.56.1", true}) || f.Appium.Version != "2.19.0" || f.NearDriver != "8.1.0" {
		t.Errorf("project: %v %s %s %+v %+v near %s", f.ProjectErr, f.AppWright, f.Playwright, f.Pins, f.Appium, f.NearDriver)
	}
	if f.ADBErr != nil || f.ADBVersion != 41 || len(f.Listed) != 3 || len(f.Phones) != 2 || f.KeyMode != 0o644 || len(f.OpenADB) != 0 {
		t.Errorf("adb: %v %d %+v %+v %o %v", f.ADBErr, f.ADBVersion, f.Listed, f.Phones, f.KeyMode, f.OpenADB)
	}
	if f.Phones[0].Err != nil || f.Phones[0].SDK != 34 || f.Phones[1].Err == nil {
		t.Errorf("phones: %+v", f.Phones)
	}
	if f.AppErr != nil || f.AppInfo.Activity != "dev.qgjob.demo.Main" || f.Phones[0].AppErr != nil {
		t.Errorf("app: %v %+v", f.AppErr, f.AppInfo)
	}
	if f.DiskErr != nil || f.DiskFree == 0 {
		t.Errorf("disk: %d, %v", f.DiskFree, f.DiskErr)
	}
	lab.Close()
	q.Path, q.Project, q.App = "", filepath.Join(dir, "nothing"), filepath.Join(dir, "e2e/package.json")
	t.Setenv("PATH", dir)
	f = Gather(t.Context(), q)
	if f.Node != "" || f.NPM || f.ProjectErr == nil || f.AppiumErr == nil || !errors.Is(f.ADBErr, adb.ErrNoServer) || f.AppErr == nil || f.ADBProgram {
		t.Errorf("an empty machine: %+v", f)
	}
	if r := Diagnose(f); r.Ready {
		t.Errorf("an empty machine is ready: %+v", r)
	}
}

// TestGatherSuite loads the configuration as a job would: what only the first
// job would meet is met here.
func TestGatherSuite(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		if os.Getenv("QGJOB_REQUIRE_BROWSER") != "" {
			t.Fatal(err)
		}
		t.Skip("needs node")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"appwright.config.ts":                        "",
		"node_modules/appwright/package.json":        `{"version":"0.1.1"}`,
		"node_modules/@playwright/test/package.json": `{"version":"1.56.1"}`,
		"node_modules/@playwright/test/cli.js": `const projects = process.env.E2E_PROJECTS.split(',').map((name) => ({ name, timeout: 0 }));
if (process.argv.some((a) => a.startsWith('/^'))) throw new Error('asked for one file');
require('fs').writeFileSync(process.env.PLAYWRIGHT_JSON_OUTPUT_NAME, JSON.stringify({ config: { projects } }));`,
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	gather := func(projects, chosen, mode string) Report {
		t.Setenv("E2E_PROJECTS", projects)
		t.Setenv("ANDROID_HOME", "")
		return Diagnose(Gather(t.Context(), Question{Target: qgjob.TargetDevice, Runner: "appwright", Device: "own", Project: dir, StateDir: dir,
			Suite: chosen, Mode: mode, PassEnv: []string{"E2E_PROJECTS"}}))
	}
	for _, c := range []struct {
		projects, chosen, mode, says string
		level                        Level
	}{
		{"ios,android", "", "", `2 projects: "ios", "android"`, LevelFail},
		{"ios,android", "windows", "", `no project "windows"`, LevelFail},
		{"android", "", "hook", "the hook did not find", LevelFail},
		{"android", "", "", "this job runs in stock mode", LevelWarn},
		{"android", "", "", "ANDROID_HOME is not set", LevelFail},
		{"android", "", "stock", "one run per host", LevelWarn},
	} {
		r := gather(c.projects, c.chosen, c.mode)
		if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Level == c.level && strings.Contains(f.Message, c.says) }) || r.Ready {
			t.Errorf("%+v: %+v", c, r)
		}
	}
}

// TestOutside tells a loopback port from one that others reach.
func TestOutside(t *testing.T) {
	here, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	_, port, err := net.SplitHostPort(here.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if !answers(ctx, here.Addr().String()) || len(outside(ctx, port)) != 0 {
		t.Errorf("a loopback port: %v", outside(ctx, port))
	}
	here.Close()
	if answers(ctx, here.Addr().String()) {
		t.Error("a closed port answers")
	}
}

// TestReadPins: an override that repeats the project's own dependency is as
// exact as that is.
func TestReadPins(t *testing.T) {
	for text, want := range map[string]string{
		`{"overrides":{"@playwright/test":"$@playwright/test"},"devDependencies":{"@playwright/test":"1.56.1"}}`:  "1.56.1",
		`{"overrides":{"@playwright/test":"$@playwright/test"},"devDependencies":{"@playwright/test":"^1.56.1"}}`: "^1.56.1",
		`{"overrides":{"@playwright/test":"$@playwright/test"},"dependencies":{"@playwright/test":"~1.56.1"}}`:    "~1.56.1",
		`{"overrides":{"@playwright/test":"$@playwright/test"}}`:                                                  "",
		`{"overrides":{"@playwright/test":"1.58.2"},"devDependencies":{"@playwright/test":"*"}}`:                  "1.58.2",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := readPins(dir).Override; got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func FuzzReadPins(f *testing.F) {
	f.Add(`{"overrides":{"@playwright/test":"1.56.1"}}`, `{"version":"1"}`)
	f.Add(`{"overrides":{"@playwright/test":{"x":"1"}}}`, `[]`)
	f.Add(`{"overrides":[]}`, `{"version":1}`)
	f.Add(`{"overrides":null}`, ``)
	f.Fuzz(func(t *testing.T, project, installed string) {
		dir := t.TempDir()
		at := filepath.Join(dir, "node_modules", "x", "package.json")
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o700), os.WriteFile(at, []byte(installed), 0o600),
			os.WriteFile(filepath.Join(dir, "package.json"), []byte(project), 0o600)); err != nil {
			t.Fatal(err)
		}
		if p := readPins(dir); p.Lock || p.Override != "" && !json.Valid([]byte(project)) {
			t.Errorf("pins out of nothing: %+v of %q", p, project)
		}
		if v := packageVersion(dir, "x"); v != "" && !json.Valid([]byte(installed)) {
			t.Errorf("a version out of nothing: %q of %q", v, installed)
		}
	})
}
