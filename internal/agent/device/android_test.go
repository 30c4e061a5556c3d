package device

import (
	"bytes"
	"context"
	"errors"
	"os"
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
)

const serial = "emulator-5554"

var demo = apktest.App{Package: "dev.qgjob.demo", VersionCode: 42, VersionName: "1.4.2", Activity: ".Main"}

func apkBuild(t *testing.T, version string, app apktest.App) Build {
	t.Helper()
	return rawBuild(t, version, "demo.apk", apktest.APK(app))
}

// newLab is a server with one emulator.
func newLab(t *testing.T) *adbtest.Server {
	t.Helper()
	s, err := adbtest.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.Plug(adbtest.Device{Serial: serial})
	return s
}

func openAndroid(t *testing.T, s *adbtest.Server, demands Demands, dir string) *Android {
	t.Helper()
	a, err := OpenAndroid(t.Context(), adb.New(s.Addr()).Phone(serial), demands, dir, filepath.Join(t.TempDir(), "ports"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func TestAndroidInstallsOnce(t *testing.T) {
	lab, dir := newLab(t), t.TempDir()
	a := openAndroid(t, lab, DefaultDemands, dir)
	v1, v2 := apkBuild(t, "v1", demo), apkBuild(t, "v2", apktest.App{Package: demo.Package, VersionCode: 43, Activity: ".Main"})
	ensure(t, a, v1, qgjob.InstallDone)
	ensure(t, a, v1, qgjob.InstallAvoided)
	same := v1
	same.AppVersionID = "v1-again"
	ensure(t, a, same, qgjob.InstallAvoided)
	if a.Installed().AppVersionID != "v1-again" {
		t.Errorf("installed: %+v", a.Installed())
	}
	ensure(t, a, v2, qgjob.InstallDone)
	if code, sum := lab.Holds(serial, demo.Package); code != 43 || sum != string(v2.BuildSHA256) {
		t.Errorf("the device holds %d %s", code, sum)
	}
	ensure(t, a, v1, qgjob.InstallDone) // a lower version goes over a higher one
	again := openAndroid(t, lab, DefaultDemands, dir)
	ensure(t, again, v1, qgjob.InstallAvoided)
	if n := lab.Count(serial, "install"); n != 3 {
		t.Errorf("%d installs, want 3", n)
	}
	if again.Package() != demo.Package || again.Activity() != "dev.qgjob.demo.Main" || again.Serial() != serial {
		t.Errorf("package %s, activity %s, serial %s", again.Package(), again.Activity(), again.Serial())
	}
}

// TestAndroidStage has a build ready without an install, and believes nothing
// of the device from then on: whoever installs may leave anything there.
func TestAndroidStage(t *testing.T) {
	lab, dir := newLab(t), t.TempDir()
	a := openAndroid(t, lab, DefaultDemands, dir)
	v1 := apkBuild(t, "v1", demo)
	ensure(t, a, v1, qgjob.InstallDone)
	if err := a.Stage(t.Context(), v1); err != nil {
		t.Fatal(err)
	}
	if a.Installed() != nil || a.Holds(t.Context(), v1) || lab.Count(serial, "install") != 1 {
		t.Errorf("after Stage: holds %+v, %d installs", a.Installed(), lab.Count(serial, "install"))
	}
	if a.Package() != demo.Package || a.Activity() != "dev.qgjob.demo.Main" {
		t.Errorf("package %s, activity %s", a.Package(), a.Activity())
	}
	if sum, err := fileDigest(t.Context(), a.App()); err != nil || sum != string(v1.BuildSHA256) {
		t.Errorf("staged %s: %v", sum, err)
	}
	if again := openAndroid(t, lab, DefaultDemands, dir); again.Installed() != nil {
		t.Errorf("a new process believes in %+v", again.Installed())
	}
	if err := a.Canary(t.Context()); err != nil || a.Installed() == nil || !a.Holds(t.Context(), v1) {
		t.Errorf("after a canary: %v, holds %+v", err, a.Installed())
	}
	other := apkBuild(t, "o", apktest.App{Package: "dev.qgjob.other", VersionCode: 1, Activity: ".Main"})
	if err := a.Stage(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if code, _ := lab.Holds(serial, demo.Package); code != 0 {
		t.Errorf("the app before is still there: %d", code)
	}
	var wrong *BuildError
	if err := a.Stage(t.Context(), rawBuild(t, "bad", "x.apk", []byte("no APK"))); !errors.As(err, &wrong) {
		t.Errorf("garbage: %v", err)
	}
}

// TestAndroidLooksAtTheDevice changes the device behind the agent's back.
func TestAndroidLooksAtTheDevice(t *testing.T) {
	lab := newLab(t)
	a := openAndroid(t, lab, DefaultDemands, t.TempDir())
	b := apkBuild(t, "v1", demo)
	ensure(t, a, b, qgjob.InstallDone)
	if err := a.Still(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	lab.Replace(serial, demo.Package, 42) // the same version, other content
	if err := a.Still(t.Context(), b); err == nil || !strings.Contains(err.Error(), "installed anew") {
		t.Errorf("still: %v", err)
	}
	ensure(t, a, b, qgjob.InstallDone)
	if err := adb.New(lab.Addr()).Phone(serial).Uninstall(t.Context(), demo.Package); err != nil {
		t.Fatal(err)
	}
	if err := a.Still(t.Context(), b); err == nil || !strings.Contains(err.Error(), "not installed any more") {
		t.Errorf("still: %v", err)
	}
	ensure(t, a, b, qgjob.InstallDone)
	lab.SetState(serial, "offline")
	if err := a.Still(t.Context(), b); err == nil || !strings.Contains(err.Error(), "went away") {
		t.Errorf("still: %v", err)
	}
	lab.SetState(serial, "device")
	ensure(t, a, b, qgjob.InstallAvoided)
}

func TestAndroidRemovesWhatIsInTheWay(t *testing.T) {
	for _, code := range []string{"INSTALL_FAILED_UPDATE_INCOMPATIBLE: signatures do not match", "INSTALL_FAILED_VERSION_DOWNGRADE"} {
		lab := newLab(t)
		a := openAndroid(t, lab, DefaultDemands, t.TempDir())
		lab.Replace(serial, demo.Package, 99)
		lab.FailInstalls(serial, code)
		ensure(t, a, apkBuild(t, "v1", demo), qgjob.InstallDone)
		if n := lab.Count(serial, "uninstall"); n != 1 {
			t.Errorf("%s: %d uninstalls, want 1", code, n)
		}
	}
}

func TestAndroidRemovesTheAppBefore(t *testing.T) {
	lab := newLab(t)
	a := openAndroid(t, lab, DefaultDemands, t.TempDir())
	ensure(t, a, apkBuild(t, "v1", demo), qgjob.InstallDone)
	ensure(t, a, apkBuild(t, "other", apktest.App{Package: "com.other.app", VersionCode: 1}), qgjob.InstallDone)
	if code, _ := lab.Holds(serial, demo.Package); code != 0 {
		t.Errorf("the app before is still there: %d", code)
	}
}

// TestAndroidRefusesBuilds shows that each wrong build is named with its fix
// and never reaches the device.
func TestAndroidRefusesBuilds(t *testing.T) {
	lab := newLab(t)
	demands := DefaultDemands
	demands.Package = demo.Package
	a := openAndroid(t, lab, demands, t.TempDir())
	arm := demo
	arm.ABIs = []string{"arm64-v8a"}
	for _, test := range []struct {
		name, want string
		build      Build
	}{
		{"text", "no APK", rawBuild(t, "v", "demo.apk", []byte("hello"))},
		{"other package", "this agent tests dev.qgjob.demo", apkBuild(t, "v", apktest.App{Package: "com.other.app", VersionCode: 1})},
		{"other processor", "native code for arm64-v8a", apkBuild(t, "v", arm)},
		{"no package", "names no package", apkBuild(t, "v", apktest.App{VersionCode: 1})},
		{"strange package", "no application id", apkBuild(t, "v", apktest.App{Package: "a;reboot", VersionCode: 1})},
	} {
		outcome, err := Ensure(t.Context(), a, test.build, qgjob.ResetClear)
		_, blamed := errors.AsType[*BuildError](err)
		if outcome != qgjob.InstallFailed || !blamed || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %s, %v", test.name, outcome, err)
		}
	}
	if got := lab.Journal(); len(got) != 0 {
		t.Errorf("the device was touched: %+v", got)
	}
}

func TestAccept(t *testing.T) {
	props := map[string]string{"ro.build.version.sdk": "30", "ro.product.cpu.abilist": "arm64-v8a,armeabi-v7a"}
	for _, test := range []struct {
		info apk.Info
		want string
	}{
		{apk.Info{Package: "a.b"}, ""},
		{apk.Info{Package: "a.b", ABIs: []string{"armeabi-v7a", "x86"}, MinSDK: 30}, ""},
		{apk.Info{Package: "a.b", MinSDK: 31}, "needs SDK 31"},
		{apk.Info{Package: "a.b", Split: "config.de"}, "split config.de"},
		{apk.Info{Package: "a.b", ABIs: []string{"x86"}}, "--requires abi=x86"},
	} {
		err := Accepts("R5CT10", props, Demands{}, test.info)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.info, err, test.want)
		}
	}
}

// TestAndroidBlames tells a broken device from a wrong build.
func TestAndroidBlames(t *testing.T) {
	for _, test := range []struct {
		code  string
		build bool
	}{
		{"INSTALL_FAILED_INSUFFICIENT_STORAGE", false},
		{"INSTALL_FAILED_INTERNAL_ERROR: Permission Denied", false},
		{"INSTALL_FAILED_NO_MATCHING_ABIS", true},
		{"INSTALL_PARSE_FAILED_NO_CERTIFICATES: no signature", true},
	} {
		lab := newLab(t)
		a := openAndroid(t, lab, DefaultDemands, t.TempDir())
		lab.FailInstalls(serial, test.code)
		_, err := Ensure(t.Context(), a, apkBuild(t, "v1", demo), qgjob.ResetClear)
		_, blamed := errors.AsType[*BuildError](err)
		if err == nil || blamed != test.build || !strings.Contains(err.Error(), test.code) {
			t.Errorf("%s: %v, blames the build: %v", test.code, err, blamed)
		}
		if a.Installed() != nil {
			t.Error("a failed install is believed in")
		}
	}
}

func TestAndroidResets(t *testing.T) {
	for _, test := range []struct {
		how  qgjob.Reset
		want []string
	}{
		{qgjob.ResetClear, []string{"install", "stop", "clear"}},
		{qgjob.ResetKeep, []string{"install"}},
		{qgjob.ResetReinstall, []string{"install", "uninstall", "install"}},
	} {
		lab := newLab(t)
		a := openAndroid(t, lab, DefaultDemands, t.TempDir())
		b := apkBuild(t, "v1", demo)
		ensure(t, a, b, qgjob.InstallDone)
		outcome, err := Ensure(t.Context(), a, b, test.how)
		if err != nil || (outcome == qgjob.InstallDone) != (test.how == qgjob.ResetReinstall) {
			t.Fatalf("%s: %s, %v", test.how, outcome, err)
		}
		if test.how != qgjob.ResetReinstall {
			if err := a.Reset(t.Context(), test.how); err != nil {
				t.Fatal(err)
			}
		}
		if got := actions(lab); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.how, got, test.want)
		}
	}
}

func actions(lab *adbtest.Server) []string {
	var out []string
	for _, e := range lab.Journal() {
		out = append(out, e.Action)
	}
	return out
}

func TestAndroidHealth(t *testing.T) {
	well := adbtest.Health{Booted: true, Battery: 80, FreeKB: 8 << 20}
	for _, test := range []struct {
		name, want string
		demands    Demands
		health     adbtest.Health
	}{
		{"well", "", DefaultDemands, well},
		{"full", "100 MiB of storage are free; needed: 512", DefaultDemands, adbtest.Health{Booted: true, Battery: 80, FreeKB: 100 << 10}},
		{"starts", "has not started", Demands{Boot: time.Millisecond}, adbtest.Health{Battery: 80, FreeKB: 8 << 20}},
		{"without network", "", DefaultDemands, adbtest.Health{Booted: true, Battery: 80, FreeKB: 8 << 20, Offline: true}},
		{"network demanded", "no network", Demands{Network: true}, adbtest.Health{Booted: true, Battery: 80, FreeKB: 8 << 20, Offline: true}},
		{"empty but powered", "", DefaultDemands, adbtest.Health{Booted: true, Battery: 2, FreeKB: 8 << 20}},
	} {
		lab := newLab(t)
		lab.SetHealth(serial, test.health)
		err := openAndroid(t, lab, test.demands, t.TempDir()).Check(t.Context())
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	low := vitals{free: 1 << 40, battery: adb.Battery{Level: 5}}
	if why := DefaultDemands.unmet(low); !strings.Contains(why, "battery is at 5 %") {
		t.Errorf("an empty battery: %q", why)
	}
}

// TestAndroidWaitsForBoot has the device come up while it is waited for.
func TestAndroidWaitsForBoot(t *testing.T) {
	lab := newLab(t)
	a := openAndroid(t, lab, DefaultDemands, t.TempDir())
	lab.SetHealth(serial, adbtest.Health{Battery: 80, FreeKB: 8 << 20})
	checked := make(chan error, 1)
	go func() { checked <- a.Check(t.Context()) }()
	lab.SetHealth(serial, adbtest.Health{Booted: true, Battery: 80, FreeKB: 8 << 20})
	if err := <-checked; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	lab.SetHealth(serial, adbtest.Health{})
	go func() { checked <- a.Check(ctx) }()
	enough := errors.New("enough")
	cancel(enough)
	if err := <-checked; !errors.Is(err, enough) {
		t.Errorf("a cancelled wait ends with %v", err)
	}
}

func TestAndroidEvidenceAndEnv(t *testing.T) {
	lab := newLab(t)
	a := openAndroid(t, lab, DefaultDemands, t.TempDir())
	b := apkBuild(t, "v1", demo)
	ensure(t, a, b, qgjob.InstallDone)
	dir := t.TempDir()
	if err := a.Evidence(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	picture, err := os.ReadFile(filepath.Join(dir, "device-screen.png"))
	if err != nil || !bytes.HasPrefix(picture, []byte("\x89PNG")) {
		t.Errorf("picture: %v, %d bytes", err, len(picture))
	}
	log, err := os.ReadFile(filepath.Join(dir, "device-logcat.txt"))
	if err != nil || !strings.Contains(string(log), "installed dev.qgjob.demo 42") {
		t.Errorf("logcat: %v, %q", err, log)
	}
	env := a.Env(b)
	for _, want := range []string{"ANDROID_SERIAL=emulator-5554", "ANDROID_ADB_SERVER_PORT=" + lab.Port(), "QGJOB_APP_PACKAGE=dev.qgjob.demo", "QGJOB_APP_ACTIVITY=dev.qgjob.demo.Main"} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is missing in %q", want, env)
		}
	}
	i := slices.IndexFunc(env, func(kv string) bool {
		return strings.HasPrefix(kv, "QGJOB_APP_PATH=") && strings.HasSuffix(kv, "demo.apk")
	})
	if i < 0 || !there(strings.TrimPrefix(env[i], "QGJOB_APP_PATH=")) {
		t.Errorf("no file at QGJOB_APP_PATH: %q", env)
	}
	want := map[string]string{"platform": "android", "model": "pixel-8", "os": "14", "sdk": "34", "abi": "x86_64", "serial": serial}
	for k, v := range want {
		if got := a.Labels()[k]; got != v {
			t.Errorf("label %s=%s, want %s", k, got, v)
		}
	}
	if err := qgjob.CheckLabels("labels", a.Labels()); err != nil {
		t.Error(err)
	}
	if got := a.Env(Build{}); slices.ContainsFunc(got, func(kv string) bool { return strings.HasPrefix(kv, "QGJOB_APP_PACKAGE=") }) {
		t.Errorf("a job without a build is told of the one before: %q", got)
	}
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestAndroidCanary(t *testing.T) {
	lab := newLab(t)
	a := openAndroid(t, lab, DefaultDemands, t.TempDir())
	if err := a.Canary(t.Context()); err != nil {
		t.Errorf("an empty device: %v", err)
	}
	b := apkBuild(t, "v1", demo)
	ensure(t, a, b, qgjob.InstallDone)
	if err := a.Canary(t.Context()); err != nil || lab.Count(serial, "launch") != 1 || lab.Count(serial, "install") != 2 {
		t.Errorf("canary: %v, journal %q", err, actions(lab))
	}
	ensure(t, a, b, qgjob.InstallAvoided) // the canary's install is on record
	lab.FailLaunches(serial, "the system server is dead")
	if err := a.Canary(t.Context()); err == nil || !strings.Contains(err.Error(), "system server is dead") {
		t.Errorf("a device that starts nothing: %v", err)
	}
	lab.FailInstalls(serial, "INSTALL_FAILED_INSUFFICIENT_STORAGE")
	if err := a.Canary(t.Context()); err == nil || !strings.Contains(err.Error(), "INSUFFICIENT_STORAGE") {
		t.Errorf("a device that installs nothing: %v", err)
	}
}

func TestClaimPorts(t *testing.T) {
	dir := t.TempDir()
	one, lock, err := claimPorts(dir, "emulator-5554")
	if err != nil {
		t.Fatal(err)
	}
	two, lock2, err := claimPorts(dir, "emulator-5554") // as if another device had the same number
	if err != nil {
		t.Fatal(err)
	}
	if one == two || (two-one)%portBlock != 0 {
		t.Errorf("blocks at %d and %d", one, two)
	}
	for _, l := range []interface{ Unlock() error }{lock, lock2} {
		if err := l.Unlock(); err != nil {
			t.Error(err)
		}
	}
	seen := map[int]bool{}
	for n := range portBlocks {
		base := portBase("emulator-5554", n)
		if base < firstPort || base+portBlock > firstPort+portBlocks*portBlock || seen[base] {
			t.Fatalf("block %d begins at %d", n, base)
		}
		seen[base] = true
	}
}
