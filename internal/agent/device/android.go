package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/adb"
	"github.com/qualgent/qgjob/internal/agent/apk"
	"github.com/qualgent/qgjob/internal/agent/disk"
)

// Demands are what an Android device must offer before a job may have it.
type Demands struct {
	FreeBytes int64         // of storage; 0 demands nothing
	Battery   int           // percent, of a device without power; 0 demands nothing
	Network   bool          // a default network
	Boot      time.Duration // how long to wait for a device that starts; 0 is 3 minutes
	Package   string        // the only application id whose builds are taken; "" takes all
}

// DefaultDemands are those of an agent that was told nothing.
var DefaultDemands = Demands{FreeBytes: 512 << 20, Battery: 10}

const (
	bootTime  = 3 * time.Minute
	bootPoll  = time.Second
	awayTime  = 10 * time.Second // for a device that an adb server has lost to come back
	logLines  = 5000
	portBlock = 8
)

// onPhone is the proof of an install: what the device itself said after it.
// The device gives every install a path and a time of its own.
type onPhone struct {
	Serial         string `json:"serial"`
	Package        string `json:"package"`
	Activity       string `json:"activity,omitempty"`
	VersionCode    int64  `json:"version_code"`
	LastUpdateTime string `json:"last_update_time"`
	Path           string `json:"path"`
	Version        string `json:"version,omitempty"` // of an iOS app, which has no versionCode
}

// Android is a phone or an emulator behind an adb server.
type Android struct {
	dir     string
	phone   *adb.Phone
	demands Demands
	props   map[string]string
	held    *record
	since   string // by the device's clock: when the newest test began
	ports   int
	lock    *disk.Lock
}

// OpenAndroid opens a device that the server lists as ready. Its files lie in
// dir, which must exist; portDir is shared by all agents of the machine that
// keep their state together.
func OpenAndroid(ctx context.Context, phone *adb.Phone, demands Demands, dir, portDir string) (*Android, error) {
	props, err := phone.Props(ctx)
	if err != nil {
		return nil, err
	}
	a := &Android{dir: dir, phone: phone, demands: demands, props: props, held: readRecord(dir)}
	if a.held != nil && (a.held.Phone == nil || a.held.Phone.Serial != phone.Serial()) {
		a.held = nil
	}
	a.ports, a.lock, err = claimPorts(portDir, phone.Serial())
	return a, err
}

// Serial is the device's name at its adb server, for -s and ANDROID_SERIAL.
func (a *Android) Serial() string { return a.phone.Serial() }

// ServerPort is the port of the device's adb server, on loopback.
func (a *Android) ServerPort() string { return a.phone.Server().Port() }

// App is the installed build's file, "" when the agent put none there.
func (a *Android) App() string {
	if a.held == nil {
		return ""
	}
	return filepath.Join(a.dir, appFolder, a.held.FileName)
}

// Package is the application id of the installed build, "" when the agent put
// none there.
func (a *Android) Package() string {
	if a.held == nil {
		return ""
	}
	return a.held.Phone.Package
}

// Activity is the class that starts the installed build, "" when it has none.
func (a *Android) Activity() string {
	if a.held == nil {
		return ""
	}
	return a.held.Phone.Activity
}

// PortBase is the first of 8 consecutive ports of this machine that belong to
// this device alone: for Appium and its helpers.
func (a *Android) PortBase() int { return a.ports }

// Picture is what the screen shows, as PNG.
func (a *Android) Picture(ctx context.Context) ([]byte, error) { return a.phone.Picture(ctx) }

// Logcat is the device's log since the newest test began.
func (a *Android) Logcat(ctx context.Context) ([]byte, error) {
	return a.phone.Logcat(ctx, logLines, a.since)
}

// Labels are what jobs may require of the device.
func (a *Android) Labels() map[string]string {
	out := map[string]string{"platform": "android"}
	for label, prop := range map[string]string{
		"model": "ro.product.model", "os": "ro.build.version.release", "sdk": "ro.build.version.sdk", "abi": "ro.product.cpu.abi",
	} {
		if value := labelValue(a.props[prop]); value != "" {
			out[label] = value
		}
	}
	if serial := labelValue(a.Serial()); serial != "" {
		out["serial"] = serial
	}
	return out
}

// labelValue makes a label of what a device says: "Pixel 8" is pixel-8.
func labelValue(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '_', r == ':', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, strings.TrimSpace(s))
	return strings.Trim(s[:min(len(s), 64)], "-")
}

// Suits reports whether a listed device is one that an agent of a target
// serves: one of the serials when there are some, else the target's sort.
func Suits(l adb.Listed, target qgjob.Target, serials []string) bool {
	if len(serials) > 0 {
		return slices.Contains(serials, l.Serial)
	}
	return l.Emulator() == (target == qgjob.TargetEmulator)
}

// Check waits for a device that starts, then holds it against the demands.
func (a *Android) Check(ctx context.Context) error { return CheckPhone(ctx, a.phone, a.demands) }

// CheckPhone is Check for a device that is not opened.
func CheckPhone(ctx context.Context, phone *adb.Phone, demands Demands) error {
	if err := awaitBoot(ctx, phone, demands.Boot); err != nil {
		return err
	}
	var v vitals
	var err error
	if v.free, err = phone.Free(ctx); err != nil {
		return fmt.Errorf("%s: %w", phone.Serial(), err)
	}
	if v.battery, err = phone.Battery(ctx); err != nil {
		return fmt.Errorf("%s: %w", phone.Serial(), err)
	}
	if demands.Network {
		if v.network, err = phone.Network(ctx); err != nil {
			return fmt.Errorf("%s: %w", phone.Serial(), err)
		}
	}
	if why := demands.unmet(v); why != "" {
		return fmt.Errorf("%s: %s", phone.Serial(), why)
	}
	return nil
}

// vitals are what a healthy device is known by.
type vitals struct {
	free    int64
	battery adb.Battery
	network bool
}

// unmet says which demand a device does not meet and what to do, or "".
func (d Demands) unmet(v vitals) string {
	switch {
	case v.free < d.FreeBytes:
		return fmt.Sprintf("%d MiB of storage are free; needed: %d (remove apps or files)", v.free>>20, d.FreeBytes>>20)
	case v.battery.Level >= 0 && v.battery.Level < d.Battery && !v.battery.Powered:
		return fmt.Sprintf("the battery is at %d %%; needed: %d (connect its charger)", v.battery.Level, d.Battery)
	case d.Network && !v.network:
		return "it has no network (switch Wi-Fi on, or drop the demand)"
	}
	return ""
}

func awaitBoot(ctx context.Context, phone *adb.Phone, limit time.Duration) error {
	if limit <= 0 {
		limit = bootTime
	}
	begin := time.Now()
	for {
		up, err := phone.Booted(ctx)
		waited := time.Since(begin)
		switch {
		case err == nil && up:
			return nil
		case err == nil && waited >= limit:
			return fmt.Errorf("%s has not started within %s (sys.boot_completed is not 1, or its package service is away): restart it", phone.Serial(), limit)
		case err != nil && (!adb.Gone(err) || waited >= min(limit, awayTime)):
			return fmt.Errorf("%s does not answer (look at its cable and at adb devices): %w", phone.Serial(), err)
		}
		if err := wait(ctx, bootPoll); err != nil {
			return err
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Wants is true for uploaded builds: what a person put on the device is not
// the agent's to install.
func (a *Android) Wants(b Build) bool { return b.File != "" }

// Holds is true when the newest install was of this content and the device
// still shows exactly that install.
func (a *Android) Holds(ctx context.Context, b Build) bool {
	if a.held == nil || a.held.Staged || b.BuildSHA256 == "" || a.held.Installed.BuildSHA256 != b.BuildSHA256 {
		return false
	}
	if a.differs(ctx) != nil {
		return false
	}
	r := *a.held
	r.Installed = b.Installed
	if r.write(a.dir) != nil {
		return false
	}
	a.held = &r
	return true
}

// differs says how the device differs from the record, or nil.
func (a *Android) differs(ctx context.Context) error {
	want := a.held.Phone
	got, there, err := a.phone.Package(ctx, want.Package)
	switch {
	case err != nil:
		return err
	case !there:
		return fmt.Errorf("%s is not installed any more", want.Package)
	case got.VersionCode != want.VersionCode || got.LastUpdateTime != want.LastUpdateTime || got.Path != want.Path:
		return fmt.Errorf("%s was installed anew by somebody else (versionCode %d at %s, not %d at %s)",
			want.Package, got.VersionCode, got.LastUpdateTime, want.VersionCode, want.LastUpdateTime)
	}
	return nil
}

// Still is nil while the device answers and holds the build as it was
// installed.
func (a *Android) Still(ctx context.Context, b Build) error {
	if up, err := a.phone.Booted(ctx); err != nil || !up {
		return fmt.Errorf("%s went away during the test: %w", a.Serial(), orNotUp(err))
	}
	if !a.Wants(b) {
		return nil
	}
	if a.held == nil {
		return errors.New("the device holds no build of this agent")
	}
	return a.differs(ctx)
}

func orNotUp(err error) error {
	if err == nil {
		return errors.New("it starts anew")
	}
	return err
}

// Install puts the build on the device in place of the one before, whatever
// the device makes of its version and its signature.
func (a *Android) Install(ctx context.Context, b Build) error {
	info, name, err := a.ready(ctx, b)
	if err != nil {
		return err
	}
	if err := a.put(ctx, b.File, info); err != nil {
		return err
	}
	got, there, err := a.phone.Package(ctx, info.Package)
	if err != nil {
		return err
	}
	if !there || got.VersionCode != info.VersionCode {
		return fmt.Errorf("the device says Success, but holds versionCode %d of %s and not %d (restart it)", got.VersionCode, info.Package, info.VersionCode)
	}
	r := record{Installed: b.Installed, FileName: name, Digest: string(b.BuildSHA256), Phone: &onPhone{
		Serial: a.Serial(), Package: info.Package, Activity: info.Activity, VersionCode: got.VersionCode,
		LastUpdateTime: got.LastUpdateTime, Path: got.Path,
	}}
	if err := r.write(a.dir); err != nil {
		return err
	}
	a.held = &r
	return nil
}

// Stage has the build's file ready for a program that installs it by itself,
// and installs nothing: what the device holds is not known from here on.
func (a *Android) Stage(ctx context.Context, b Build) error {
	info, name, err := a.ready(ctx, b)
	if err != nil {
		return err
	}
	a.held = &record{Installed: b.Installed, FileName: name, Digest: string(b.BuildSHA256), Staged: true, Phone: &onPhone{
		Serial: a.Serial(), Package: info.Package, Activity: info.Activity, VersionCode: info.VersionCode,
	}}
	return nil
}

// ready puts another app away and the build's file in its place.
func (a *Android) ready(ctx context.Context, b Build) (info apk.Info, name string, err error) {
	if info, err = a.inspect(b); err != nil {
		return info, "", err
	}
	before := a.Package()
	a.held = nil
	if err := forget(a.dir, appFolder); err != nil {
		return info, "", err
	}
	if before != "" && before != info.Package {
		if err := a.phone.Uninstall(ctx, before); err != nil {
			return info, "", fmt.Errorf("remove the version before: %w", err)
		}
	}
	name, err = a.keep(ctx, b)
	return info, name, err
}

// keep copies the build to where tests and the canary find it, under a name
// that installers take. The copy is the test's to spoil.
func (a *Android) keep(ctx context.Context, b Build) (string, error) {
	name := keepName(b.FileName)
	if !strings.HasSuffix(name, ".apk") {
		name += ".apk"
	}
	if err := os.Mkdir(filepath.Join(a.dir, appFolder), 0o700); err != nil {
		return "", err
	}
	return name, copyFile(ctx, b.File, filepath.Join(a.dir, appFolder, name))
}

// inspect reads the build and refuses what this device cannot take.
func (a *Android) inspect(b Build) (apk.Info, error) {
	info, err := apk.Open(b.File)
	if e, ok := errors.AsType[*apk.Error](err); ok {
		return info, &BuildError{e.Message, e.Hint}
	}
	if err != nil {
		return info, err
	}
	return info, Accepts(a.Serial(), a.props, a.demands, info)
}

// Accepts says why a device with these properties cannot take a build, as a
// *BuildError, or nil.
func Accepts(serial string, props map[string]string, demands Demands, info apk.Info) error {
	sdk, _ := strconv.Atoi(props["ro.build.version.sdk"]) // unknown: 0
	abis := strings.Split(props["ro.product.cpu.abilist"], ",")
	fits := len(info.ABIs) == 0 || abis[0] == "" || slices.ContainsFunc(info.ABIs, func(abi string) bool { return slices.Contains(abis, abi) })
	switch {
	case !adb.ValidPackage(info.Package):
		return &BuildError{fmt.Sprintf("the build's package %q is no application id", info.Package), "build the APK anew"}
	case demands.Package != "" && info.Package != demands.Package:
		return &BuildError{fmt.Sprintf("the build is %s, and this agent tests %s", info.Package, demands.Package), "upload the right APK, or change the agent's --app-package"}
	case info.Split != "":
		return &BuildError{fmt.Sprintf("the build is the split %s of %s", info.Split, info.Package), "upload a universal APK (bundletool build-apks --mode=universal)"}
	case !fits:
		return &BuildError{fmt.Sprintf("the build has native code for %s, and %s runs %s", strings.Join(info.ABIs, ", "), serial, strings.Join(abis, ", ")),
			"add that abi to the build, or submit with --requires abi=" + info.ABIs[0]}
	case sdk > 0 && info.MinSDK > sdk:
		return &BuildError{fmt.Sprintf("the build needs SDK %d, and %s has %d", info.MinSDK, serial, sdk), "lower minSdkVersion, or use a newer device"}
	}
	return nil
}

// put streams the file to the installer. An app that cannot be updated in
// place is removed first.
func (a *Android) put(ctx context.Context, file string, info apk.Info) error {
	err := a.stream(ctx, file)
	refused, _ := errors.AsType[*adb.InstallError](err)
	if refused != nil && inTheWay(refused.Code) {
		if err := a.phone.Uninstall(ctx, info.Package); err != nil {
			return err
		}
		err = a.stream(ctx, file)
		refused, _ = errors.AsType[*adb.InstallError](err)
	}
	if refused != nil && blamesBuild(refused.Code) {
		return &BuildError{refused.Error(), "build the APK for this device"}
	}
	return err
}

func (a *Android) stream(ctx context.Context, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	return a.phone.Install(ctx, ctxReader{ctx, f}, st.Size())
}

// inTheWay are the refusals that end when the old app is gone.
func inTheWay(code string) bool {
	switch code {
	case "INSTALL_FAILED_UPDATE_INCOMPATIBLE", "INSTALL_FAILED_VERSION_DOWNGRADE", "INSTALL_FAILED_ALREADY_EXISTS",
		"INSTALL_FAILED_SHARED_USER_INCOMPATIBLE", "INSTALL_FAILED_PERMISSION_MODEL_DOWNGRADE", "INSTALL_FAILED_UID_CHANGED":
		return true
	}
	return false
}

// blamesBuild are the refusals that every device of this sort would repeat.
func blamesBuild(code string) bool {
	switch code {
	case "INSTALL_FAILED_NO_MATCHING_ABIS", "INSTALL_FAILED_CPU_ABI_INCOMPATIBLE", "INSTALL_FAILED_OLDER_SDK", "INSTALL_FAILED_NEWER_SDK",
		"INSTALL_FAILED_INVALID_APK", "INSTALL_FAILED_MISSING_SPLIT", "INSTALL_FAILED_MISSING_SHARED_LIBRARY", "INSTALL_FAILED_DEXOPT",
		"INSTALL_FAILED_TEST_ONLY", "INSTALL_FAILED_DEPRECATED_SDK_VERSION":
		return true
	}
	return strings.HasPrefix(code, "INSTALL_PARSE_FAILED_")
}

// Installed tells the newest install, also one of an earlier process; nil also
// after Stage.
func (a *Android) Installed() *qgjob.Installed {
	if a.held == nil || a.held.Staged {
		return nil
	}
	held := a.held.Installed
	return &held
}

// Env gives ANDROID_SERIAL and ANDROID_ADB_SERVER_PORT, by which adb and
// Appium find the device, QGJOB_PORT_BASE, and of an uploaded build
// QGJOB_APP_PATH, QGJOB_APP_PACKAGE and QGJOB_APP_ACTIVITY.
func (a *Android) Env(b Build) []string {
	env := []string{
		"ANDROID_SERIAL=" + a.Serial(),
		"ANDROID_ADB_SERVER_PORT=" + a.ServerPort(),
		"QGJOB_PORT_BASE=" + strconv.Itoa(a.ports),
	}
	if a.Wants(b) && a.held != nil {
		env = append(env, "QGJOB_APP_PATH="+a.App(), "QGJOB_APP_PACKAGE="+a.Package(), "QGJOB_APP_ACTIVITY="+a.Activity())
	}
	return env
}

// Serves is empty: the app runs on the device.
func (a *Android) Serves() []string { return nil }

// Reset stops the installed app and deletes its data, keeps it, or uninstalls
// it.
func (a *Android) Reset(ctx context.Context, how qgjob.Reset) error {
	// A device that does not tell its time has its newest lines read instead.
	a.since, _ = a.phone.Clock(ctx)
	name := a.Package()
	switch {
	case name == "" || how == qgjob.ResetKeep:
		return nil
	case how == qgjob.ResetReinstall:
		a.held = nil
		return errors.Join(forget(a.dir), a.phone.Uninstall(ctx, name))
	}
	return errors.Join(a.phone.Stop(ctx, name), a.phone.Clear(ctx, name))
}

// Evidence leaves device-screen.png and device-logcat.txt.
func (a *Android) Evidence(ctx context.Context, dir string) error {
	picture, err := a.Picture(ctx)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "device-screen.png"), picture, 0o600)
	}
	text, logErr := a.Logcat(ctx)
	if logErr == nil {
		logErr = os.WriteFile(filepath.Join(dir, "device-logcat.txt"), text, 0o600)
	}
	return errors.Join(err, logErr)
}

// Canary checks the device's health and takes a picture; with a build at hand
// it installs that, starts it, and looks whether it runs.
func (a *Android) Canary(ctx context.Context) error {
	if err := a.Check(ctx); err != nil {
		return err
	}
	if _, err := a.Picture(ctx); err != nil {
		return err
	}
	if a.held == nil {
		return nil
	}
	if sum, err := fileDigest(ctx, a.App()); err != nil || sum != a.held.Digest {
		return nil // a test has spoilt the copy
	}
	if err := a.again(ctx); err != nil {
		return err
	}
	if a.Activity() == "" {
		return nil
	}
	if err := a.phone.Launch(ctx, a.Package(), a.Activity()); err != nil {
		return err
	}
	runs, err := a.phone.Running(ctx, a.Package())
	if err == nil && !runs {
		err = fmt.Errorf("%s was started and does not run", a.Package())
	}
	return errors.Join(err, a.phone.Stop(ctx, a.Package()))
}

// again installs what the device holds once more.
func (a *Android) again(ctx context.Context) error {
	r, phone := *a.held, *a.held.Phone
	if err := a.stream(ctx, a.App()); err != nil {
		return err
	}
	got, there, err := a.phone.Package(ctx, phone.Package)
	if err == nil && (!there || got.VersionCode != phone.VersionCode) {
		err = fmt.Errorf("the device says Success, but does not hold %s", phone.Package)
	}
	if err != nil {
		return err
	}
	phone.LastUpdateTime, phone.Path, r.Phone, r.Staged = got.LastUpdateTime, got.Path, &phone, false
	a.held = &r
	return r.write(a.dir)
}

// Close lets go of the device's ports.
func (a *Android) Close() error {
	if a.lock == nil {
		return nil
	}
	lock := a.lock
	a.lock = nil
	return lock.Unlock()
}
