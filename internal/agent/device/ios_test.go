package device

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/ios"
	"github.com/qualgent/qgjob/internal/agent/ios/iostest"
)

const (
	simUDID   = "5C8F1E9B-6A0D-4F0B-9D52-3C1B2A7E4D10"
	phoneUDID = "00008110-001A2B3C4D5E801E"
	demoID    = "dev.qgjob.demo"
)

func newMac(t *testing.T) *iostest.Mac {
	return &iostest.Mac{Dir: t.TempDir(), Devices: []ios.Listed{
		{UDID: simUDID, Name: "iPhone 15 Pro", State: "Shutdown", OS: "17.2", Simulator: true, Available: true},
		{UDID: phoneUDID, Name: "iPhone 13", State: "disconnected", OS: "17.4.1", Available: true},
	}}
}

func openIOS(t *testing.T, m *iostest.Mac, simulator bool, dir string) *IOS {
	t.Helper()
	about := m.Devices[1]
	if simulator {
		about = m.Devices[0]
	}
	d, err := OpenIOS(m.Run, about, Demands{Package: demoID}, dir, filepath.Join(t.TempDir(), "ports"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func iosBuild(t *testing.T, version string, simulator bool) Build {
	t.Helper()
	app := iostest.App{BundleID: demoID, Build: version, Version: "1." + version, Simulator: simulator, Binary: !simulator}
	return rawBuild(t, version, "demo.zip", iostest.Zip(iostest.Plist(app), !simulator))
}

func said(t *testing.T, m *iostest.Mac, want ...string) {
	t.Helper()
	if got := m.Calls(); got != strings.Join(want, "\n") {
		t.Errorf("said:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

// TestSimulator drives a simulator through its whole life and looks at each
// command.
func TestSimulator(t *testing.T) {
	m, dir, ctx := newMac(t), t.TempDir(), t.Context()
	d := openIOS(t, m, true, dir)
	const (
		list    = "xcrun simctl list devices -j"
		install = "xcrun simctl install " + simUDID + " Demo.app"
		look    = "xcrun simctl get_app_container " + simUDID + " " + demoID + " app"
		remove  = "xcrun simctl uninstall " + simUDID + " " + demoID
	)
	if err := d.Check(ctx); err != nil {
		t.Fatal(err)
	}
	said(t, m, list, "xcrun simctl bootstatus "+simUDID+" -b")
	v1, v2 := iosBuild(t, "1", true), iosBuild(t, "2", true)
	ensure(t, d, v1, qgjob.InstallDone)
	said(t, m, install, look)
	ensure(t, d, v1, qgjob.InstallAvoided)
	said(t, m, look)
	ensure(t, openIOS(t, m, true, dir), v1, qgjob.InstallAvoided)
	said(t, m, look)
	ensure(t, d, v2, qgjob.InstallDone)
	said(t, m, install, look)
	if err := d.Still(ctx, v2); err != nil {
		t.Error(err)
	}
	said(t, m, list, look)
	if err := errors.Join(d.Reset(ctx, qgjob.ResetKeep), d.Reset(ctx, qgjob.ResetClear)); err != nil {
		t.Error(err)
	}
	said(t, m, look, remove, install, look)
	ensure(t, d, v2, qgjob.InstallAvoided)
	m.Calls()
	out := t.TempDir()
	if err := d.Evidence(ctx, out); err != nil {
		t.Error(err)
	}
	said(t, m, "xcrun simctl io "+simUDID+" screenshot --type=png device-screen.png", "xcrun simctl spawn "+simUDID+" log show --last 2m")
	for _, name := range []string{"device-screen.png", "device-log.txt"} {
		if st, err := os.Stat(filepath.Join(out, name)); err != nil || st.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := d.Canary(ctx); err != nil {
		t.Error(err)
	}
	said(t, m, list, look, "xcrun simctl launch "+simUDID+" "+demoID, "xcrun simctl terminate "+simUDID+" "+demoID)
	m.Forget(simUDID, demoID)
	if err := d.Still(ctx, v2); err == nil || d.Holds(ctx, v2) {
		t.Errorf("an app that was removed is believed in: %v", err)
	}
	ensure(t, d, v2, qgjob.InstallDone)
	m.Calls()
	if err := d.Reset(ctx, qgjob.ResetReinstall); err != nil || d.Installed() != nil {
		t.Errorf("reinstall: %v, %+v", err, d.Installed())
	}
	said(t, m, look, remove)
}

func TestPhone(t *testing.T) {
	m, ctx := newMac(t), t.Context()
	d := openIOS(t, m, false, t.TempDir())
	const (
		list    = "xcrun devicectl list devices --json-output answer.json"
		install = "xcrun devicectl device install app --device " + phoneUDID + " app.ipa"
		look    = "xcrun devicectl device info apps --device " + phoneUDID + " --json-output answer.json"
		remove  = "xcrun devicectl device uninstall app --device " + phoneUDID + " " + demoID
	)
	if err := d.Check(ctx); err != nil {
		t.Fatal(err)
	}
	said(t, m, list)
	b := iosBuild(t, "7", false)
	ensure(t, d, b, qgjob.InstallDone)
	ensure(t, d, b, qgjob.InstallAvoided)
	said(t, m, install, look, look)
	if err := errors.Join(d.Reset(ctx, qgjob.ResetClear), d.Still(ctx, b)); err != nil {
		t.Error(err)
	}
	said(t, m, look, remove, install, look, list, look)
	if err := d.Evidence(ctx, t.TempDir()); err != nil {
		t.Error(err)
	}
	said(t, m)
	env := strings.Join(d.Env(b), "\n")
	for _, want := range []string{`"appium:bundleId":"` + demoID + `"`, `"appium:automationName":"XCUITest"`, "QGJOB_IOS_UDID=" + phoneUDID, "app.ipa"} {
		if !strings.Contains(env, want) {
			t.Errorf("no %s in\n%s", want, env)
		}
	}
	if l := d.Labels(); l["platform"] != "ios" || l["os"] != "17.4.1" || l["model"] != "iphone-13" {
		t.Errorf("labels %v", l)
	}
	other := openIOS(t, m, true, t.TempDir())
	if other.wdaPort() == d.wdaPort() || other.derivedData() == d.derivedData() {
		t.Error("two devices share a port or a folder")
	}
	m.Refuse = map[string]string{"install app": "error 3002: ApplicationVerificationFailed"}
	if _, ok := errors.AsType[*BuildError](d.Install(ctx, iosBuild(t, "8", false))); !ok || d.Installed() != nil {
		t.Errorf("an unsigned app accuses the phone, or is believed in: %+v", d.Installed())
	}
	m.Devices[1].State = "unavailable"
	if err := d.Check(ctx); err == nil || d.Still(ctx, b) == nil {
		t.Error("a phone that is away is healthy")
	}
}

func TestIOSWrongBuilds(t *testing.T) {
	m := newMac(t)
	foreign := iostest.Plist(iostest.App{BundleID: "dev.other", Build: "1", Simulator: true})
	for name, c := range map[string]struct {
		simulator bool
		build     Build
		want      string
	}{
		"for phones":     {true, iosBuild(t, "1", false), "for phones"},
		"for simulators": {false, iosBuild(t, "1", true), "for simulators"},
		"android":        {true, apkBuild(t, "1", demo), "Android"},
		"no archive":     {true, rawBuild(t, "1", "x.ipa", []byte("none")), "no .ipa"},
		"another app":    {true, rawBuild(t, "1", "x.zip", iostest.Zip(foreign, false)), "--app-package"},
	} {
		err := openIOS(t, m, c.simulator, t.TempDir()).Install(t.Context(), c.build)
		if e, ok := errors.AsType[*BuildError](err); !ok || !strings.Contains(e.Error(), c.want) || strings.Contains(e.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	said(t, m)
}

// TestIOSSpoiltCopy has a test change the agent's copy of the app.
func TestIOSSpoiltCopy(t *testing.T) {
	m, dir := newMac(t), t.TempDir()
	d, b := openIOS(t, m, true, dir), iosBuild(t, "1", true)
	ensure(t, d, b, qgjob.InstallDone)
	if err := os.WriteFile(filepath.Join(dir, appFolder, "Demo.app", "Demo"), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Reset(t.Context(), qgjob.ResetClear); err == nil || d.Installed() != nil {
		t.Errorf("the changed copy was installed: %v", err)
	}
	ensure(t, d, b, qgjob.InstallDone)
}

// TestSimulatorThatCannotSay: a simulator that does not answer whether the app
// is there may well have it, with the data of the test before.
func TestSimulatorThatCannotSay(t *testing.T) {
	m, ctx := newMac(t), t.Context()
	d := openIOS(t, m, true, t.TempDir())
	ensure(t, d, iosBuild(t, "1", true), qgjob.InstallDone)
	m.Refuse = map[string]string{"get_app_container": "Unable to lookup in current state: Shutdown"}
	if err := d.Reset(ctx, qgjob.ResetClear); err == nil || !strings.Contains(err.Error(), "current state") {
		t.Errorf("a reset that removed nothing: %v", err)
	}
}
