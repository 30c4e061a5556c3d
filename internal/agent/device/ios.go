package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/disk"
	"github.com/qualgent/qgjob/internal/agent/ios"
)

// IOS is a simulator behind simctl, or a phone behind devicectl.
type IOS struct {
	dir     string
	run     ios.Run
	about   ios.Listed
	demands Demands
	held    *record
	ports   int
	lock    *disk.Lock
}

// OpenIOS opens a listed device. Its files lie in dir, which must exist;
// portDir is shared as for OpenAndroid. Of demands only Package and Boot count:
// Apple's programs tell of no others.
func OpenIOS(run ios.Run, about ios.Listed, demands Demands, dir, portDir string) (*IOS, error) {
	d := &IOS{dir: dir, run: run, about: about, demands: demands, held: readRecord(dir)}
	if d.held != nil && (d.held.Phone == nil || d.held.Phone.Serial != about.UDID) {
		d.held = nil
	}
	var err error
	d.ports, d.lock, err = claimPorts(portDir, about.UDID)
	return d, err
}

// ListIOS lists simulators, or phones. Its answer passes through a file in dir.
func ListIOS(ctx context.Context, run ios.Run, simulators bool, dir string) ([]ios.Listed, error) {
	if simulators {
		text, err := run(ctx, ios.SimList())
		if err != nil {
			return nil, err
		}
		return ios.ParseSimulators(text)
	}
	text, err := answerFile(ctx, run, dir, ios.PhoneList)
	if err != nil {
		return nil, err
	}
	return ios.ParsePhones(text)
}

const maxAnswer = 32 << 20 // bytes

// answerFile runs a program that answers into a file.
func answerFile(ctx context.Context, run ios.Run, dir string, argv func(file string) []string) ([]byte, error) {
	temp, err := os.MkdirTemp(dir, "devicectl-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(temp) }() // what stays is empty or old
	file := filepath.Join(temp, "answer.json")
	if _, err := run(ctx, argv(file)); err != nil {
		return nil, err
	}
	return readBounded(file, maxAnswer)
}

func readBounded(file string, limit int64) ([]byte, error) {
	st, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > limit {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", filepath.Base(file), limit)
	}
	return os.ReadFile(file)
}

// Labels are what jobs may require of the device.
func (d *IOS) Labels() map[string]string {
	out := map[string]string{"platform": "ios"}
	for label, value := range map[string]string{"model": d.about.Name, "os": d.about.OS, "serial": d.about.UDID} {
		if value = labelValue(value); value != "" {
			out[label] = value
		}
	}
	return out
}

// Check starts a simulator that does not run, and refuses a device that is not
// there.
func (d *IOS) Check(ctx context.Context) error {
	list, err := ListIOS(ctx, d.run, d.about.Simulator, d.dir)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(l ios.Listed) bool { return l.UDID == d.about.UDID })
	switch {
	case i < 0 && d.about.Simulator:
		return fmt.Errorf("simulator %s is gone (xcrun simctl list devices shows those there are)", d.about.UDID)
	case i < 0:
		return fmt.Errorf("%s is not connected (look at its cable, and at xcrun devicectl list devices)", d.about.UDID)
	case list[i].Ready():
		return nil
	case !list[i].Available && d.about.Simulator:
		return fmt.Errorf("the runtime of simulator %s is not installed (xcodebuild -downloadPlatform iOS)", d.about.UDID)
	case !list[i].Available:
		return fmt.Errorf("%s is not paired (unlock it, and trust this computer)", d.about.UDID)
	case !d.about.Simulator:
		return fmt.Errorf("%s is %s (unlock it, and look at its cable)", d.about.UDID, list[i].State)
	}
	limit := d.demands.Boot
	if limit <= 0 {
		limit = bootTime
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err = d.run(ctx, ios.SimBoot(d.about.UDID))
	return err
}

// Wants is true for uploaded builds.
func (d *IOS) Wants(b Build) bool { return b.File != "" }

// Holds is true when the newest install was of this content and the device
// still shows exactly that install.
func (d *IOS) Holds(ctx context.Context, b Build) bool {
	if d.held == nil || b.BuildSHA256 == "" || d.held.Installed.BuildSHA256 != b.BuildSHA256 || d.differs(ctx) != nil {
		return false
	}
	r := *d.held
	r.Installed = b.Installed
	if r.write(d.dir) != nil {
		return false
	}
	d.held = &r
	return true
}

// differs says how the device differs from the record, or nil.
func (d *IOS) differs(ctx context.Context) error {
	want := d.held.Phone
	where, version, err := d.look(ctx, want.Package)
	switch {
	case err != nil:
		return err
	case where == "":
		return fmt.Errorf("%s is not installed any more", want.Package)
	case where != want.Path || version != want.Version:
		return fmt.Errorf("%s was installed anew by somebody else (%s in %s, not %s in %s)", want.Package, version, where, want.Version, want.Path)
	}
	return nil
}

// look asks the device for an app: its folder, which every install makes anew,
// and its version; "" when it is not there.
func (d *IOS) look(ctx context.Context, bundle string) (where, version string, err error) {
	if d.about.Simulator {
		out, err := d.run(ctx, ios.SimContainer(d.about.UDID, bundle))
		switch {
		case err != nil && ctx.Err() == nil && strings.Contains(err.Error(), "No such file or directory"):
			return "", "", nil // so simctl says that the app is not there
		case err != nil: // it may be there: a test must not see the data of the one before
			return "", "", fmt.Errorf("ask for %s: %w", bundle, err)
		}
		where = strings.TrimSpace(string(out))
		text, err := readBounded(filepath.Join(where, "Info.plist"), maxAnswer)
		if err != nil {
			return "", "", fmt.Errorf("look at %s in its simulator: %w", bundle, err)
		}
		info, err := ios.ParseInfo(text)
		return where, versionOf(info.Version, info.Build), err
	}
	text, err := answerFile(ctx, d.run, d.dir, func(file string) []string { return ios.PhoneApps(d.about.UDID, file) })
	if err != nil {
		return "", "", err
	}
	apps, err := ios.ParseApps(text)
	if i := slices.IndexFunc(apps, func(a ios.App) bool { return a.BundleID == bundle }); i >= 0 {
		return apps[i].URL, versionOf(apps[i].Version, apps[i].Build), err
	}
	return "", "", err
}

func versionOf(version, build string) string { return version + " (" + build + ")" }

// Install puts the build on the device in place of the one before.
func (d *IOS) Install(ctx context.Context, b Build) error {
	info, err := d.inspect(b)
	if err != nil {
		return err
	}
	before := d.held
	d.held = nil
	if err := forget(d.dir, appFolder); err != nil {
		return err
	}
	if before != nil && before.Phone.Package != info.BundleID {
		if err := d.uninstall(ctx, before.Phone.Package); err != nil {
			return fmt.Errorf("remove the version before: %w", err)
		}
	}
	name, err := d.keep(ctx, b, info)
	if err != nil {
		return err
	}
	r := record{Installed: b.Installed, FileName: name, Phone: &onPhone{
		Serial: d.about.UDID, Package: info.BundleID, Version: versionOf(info.Version, info.Build),
	}}
	if r.Digest, err = d.digest(ctx, name); err != nil {
		return err
	}
	return d.put(ctx, r)
}

// put installs the kept copy of a build and notes what the device says of it.
func (d *IOS) put(ctx context.Context, r record) error {
	argv, phone := ios.PhoneInstall, *r.Phone
	if d.about.Simulator {
		argv = ios.SimInstall
	}
	if _, err := d.run(ctx, argv(d.about.UDID, filepath.Join(d.dir, appFolder, filepath.FromSlash(r.FileName)))); err != nil {
		return blame(err)
	}
	where, version, err := d.look(ctx, phone.Package)
	if err != nil {
		return err
	}
	if where == "" || version != phone.Version {
		return fmt.Errorf("the install succeeded, but the device holds version %q of %s and not %q (restart it)", version, phone.Package, phone.Version)
	}
	phone.Path, r.Phone = where, &phone
	if err := r.write(d.dir); err != nil {
		return err
	}
	d.held = &r
	return nil
}

// blame tells a build that no phone of this team takes from other troubles.
func blame(err error) error {
	for _, sign := range []string{"ApplicationVerificationFailed", "0xe80080", "provisioning profile"} {
		if strings.Contains(err.Error(), sign) {
			return &BuildError{strings.Join(strings.Fields(err.Error()), " "), "sign the app with a profile that lists this phone's UDID"}
		}
	}
	return err
}

// inspect reads the build and refuses what this device cannot take.
func (d *IOS) inspect(b Build) (ios.Info, error) {
	info, err := ios.Open(b.File)
	if e, ok := errors.AsType[*ios.Error](err); ok {
		return info, &BuildError{e.Message, e.Hint}
	}
	switch {
	case err != nil:
		return info, err
	case info.Simulator && !d.about.Simulator:
		return info, &BuildError{"the build is for simulators, and " + d.about.UDID + " is a phone", "archive it for iOS devices, or submit for the target emulator"}
	case !info.Simulator && d.about.Simulator:
		return info, &BuildError{"the build is for phones, and " + d.about.UDID + " is a simulator", "build it with -sdk iphonesimulator, or submit for the target device"}
	case d.demands.Package != "" && info.BundleID != d.demands.Package:
		return info, &BuildError{fmt.Sprintf("the build is %s, and this agent tests %s", info.BundleID, d.demands.Package), "upload the right app, or change the agent's --app-package"}
	}
	return info, nil
}

// keep has the build where the installer wants it, and gives its name there:
// an .ipa as it is for phones, else the unpacked folder.
func (d *IOS) keep(ctx context.Context, b Build, info ios.Info) (string, error) {
	dir := filepath.Join(d.dir, appFolder)
	if d.about.Simulator || !info.IPA() {
		return info.Folder, unpack(ctx, b.File, dir)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	return "app.ipa", copyFile(ctx, b.File, filepath.Join(dir, "app.ipa"))
}

func (d *IOS) digest(ctx context.Context, name string) (string, error) {
	file := filepath.Join(d.dir, appFolder, filepath.FromSlash(name))
	if strings.HasSuffix(name, ".ipa") {
		return fileDigest(ctx, file)
	}
	return treeDigest(ctx, file)
}

// uninstall takes an app away if it is there.
func (d *IOS) uninstall(ctx context.Context, bundle string) error {
	where, _, err := d.look(ctx, bundle)
	if err != nil || where == "" {
		return err
	}
	argv := ios.PhoneUninstall
	if d.about.Simulator {
		argv = ios.SimUninstall
	}
	_, err = d.run(ctx, argv(d.about.UDID, bundle))
	return err
}

// Installed tells the newest install, also one of an earlier process.
func (d *IOS) Installed() *qgjob.Installed {
	if d.held == nil {
		return nil
	}
	held := d.held.Installed
	return &held
}

// Reset has the app uninstalled and, for qgjob.ResetClear, installed again:
// Apple's programs delete an app's data in no other way.
func (d *IOS) Reset(ctx context.Context, how qgjob.Reset) error {
	if d.held == nil || how == qgjob.ResetKeep {
		return nil
	}
	r := *d.held
	d.held = nil
	if err := errors.Join(forget(d.dir), d.uninstall(ctx, r.Phone.Package)); err != nil || how == qgjob.ResetReinstall {
		return err
	}
	if sum, err := d.digest(ctx, r.FileName); err != nil || sum != r.Digest {
		return errors.New("a test has changed the agent's copy of the app; the next try installs the uploaded build")
	}
	return d.put(ctx, r)
}

// Still is nil while the device answers and holds the build as it was
// installed.
func (d *IOS) Still(ctx context.Context, b Build) error {
	if err := d.Check(ctx); err != nil {
		return fmt.Errorf("%s went away during the test: %w", d.about.UDID, err)
	}
	if !d.Wants(b) {
		return nil
	}
	if d.held == nil {
		return errors.New("the device holds no build of this agent")
	}
	return d.differs(ctx)
}

// Evidence leaves a simulator's device-screen.png and device-log.txt. devicectl
// gives neither.
func (d *IOS) Evidence(ctx context.Context, dir string) error {
	if !d.about.Simulator {
		return nil
	}
	_, err := d.run(ctx, ios.SimScreenshot(d.about.UDID, filepath.Join(dir, "device-screen.png")))
	text, logErr := d.run(ctx, ios.SimLog(d.about.UDID))
	if logErr == nil {
		logErr = os.WriteFile(filepath.Join(dir, "device-log.txt"), text, 0o600)
	}
	return errors.Join(err, logErr)
}

// Canary is Check; with a build on a simulator it starts that and stops it.
func (d *IOS) Canary(ctx context.Context) error {
	if err := d.Check(ctx); err != nil || d.held == nil || !d.about.Simulator {
		return err
	}
	if d.differs(ctx) != nil {
		return nil // the next job installs
	}
	if _, err := d.run(ctx, ios.SimLaunch(d.about.UDID, d.held.Phone.Package)); err != nil {
		return err
	}
	_, err := d.run(ctx, ios.SimTerminate(d.about.UDID, d.held.Phone.Package))
	return err
}

// Serves is empty: the app runs on the device.
func (d *IOS) Serves() []string { return nil }

// Close lets go of the device's ports.
func (d *IOS) Close() error {
	if d.lock == nil {
		return nil
	}
	lock := d.lock
	d.lock = nil
	return lock.Unlock()
}
