package doctor

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/appium"
)

// checks are pure: facts in, findings out. Each answers nothing where it has
// nothing to say of this target and runner.
var checks = []func(Facts) []Finding{
	checkNode, checkNPM, checkProject, checkSuite, checkPins, checkAppium, checkDriver, checkOpenPorts, checkStockPort,
	checkADB, checkKeys, checkEmulator, checkListed, checkPhones, checkApp, checkChromium, checkDisk, checkNamespaces,
}

// needsNode is true for the runners that node runs.
func (f Facts) needsNode() bool { return f.Runner == "playwright" || f.Runner == "appwright" }

// phones is true when tests run on Android devices of this machine.
func (f Facts) phones() bool { return f.Device == "adb" }

// minNode is the oldest major version of Node that Playwright and Appium 2 run on.
const minNode = 20

func checkNode(f Facts) []Finding {
	if !f.needsNode() {
		return nil
	}
	if f.Node == "" {
		return fail("node", "node is not in PATH", fmt.Sprintf("install Node.js %d or newer", minNode))
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(f.Node, "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < minNode {
		return fail("node", fmt.Sprintf("node %s is too old", f.Node), fmt.Sprintf("install Node.js %d or newer", minNode))
	}
	return ok("node", "node "+f.Node)
}

// checkNPM: bundles are installed by npm ci, and so is a driver that is not
// there.
func checkNPM(f Facts) []Finding {
	switch {
	case !f.needsNode():
		return nil
	case f.NPM:
		return ok("npm", "npm is in PATH")
	case f.Runner == "appwright" && f.Driver.Package != "" && f.Driver.Dir == "":
		return fail("npm", "npm is not in PATH, and Appium's driver is still to be fetched", "install npm beside Node.js")
	}
	return warn("npm", "npm is not in PATH: jobs with a bundle cannot install their packages", "install npm beside Node.js")
}

func checkProject(f Facts) []Finding {
	if !f.needsNode() {
		return nil
	}
	if f.ProjectErr != nil {
		message, hint := split(f.ProjectErr)
		return fail("project", message, hint)
	}
	return ok("project", fmt.Sprintf("%s: Playwright %s%s", f.Project, f.Playwright, and(" with AppWright ", f.AppWright)))
}

// checkSuite: a configuration that does not load, or an AppWright that the
// hook does not fit, shows in the first job otherwise.
func checkSuite(f Facts) []Finding {
	if f.Runner != "appwright" || f.ProjectErr != nil || f.Node == "" {
		return nil
	}
	if f.SuiteErr != nil {
		message, hint := split(f.SuiteErr)
		return fail("config", message, hint)
	}
	if f.Suite.Hooked {
		return ok("hook", fmt.Sprintf("the hook fits AppWright %s; %s runs the project %s", f.AppWright, f.Suite.Config, f.Suite.Project))
	}
	out := warn("hook", "AppWright runs in stock mode: one run per host, and the app is installed in every test", "run the agent with --appwright-mode=auto")
	if f.Suite.Warning != "" {
		out = warn("hook", f.Suite.Warning, "npm install appwright@0.1.1, which the hook fits")
	}
	if f.StockLacks != "" {
		out = append(out, fail("stock", f.StockLacks+" is not set, which AppWright asks for in stock mode", "set ANDROID_HOME to the Android SDK and JAVA_HOME to a JDK")...)
	}
	return out
}

func and(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// checkPins: a version that is right today and not pinned is wrong after the
// next npm install.
func checkPins(f Facts) []Finding {
	if f.Runner != "appwright" || f.ProjectErr != nil {
		return nil
	}
	const fix = `in package.json write an exact version of "@playwright/test" under devDependencies and under overrides, then npm install`
	switch {
	case f.Pins.Override == "":
		return warn("pins", "package.json does not override @playwright/test: the next npm install may bring one that AppWright cannot use", fix)
	case !exact(f.Pins.Override):
		return warn("pins", fmt.Sprintf("the override %q of @playwright/test is no exact version", f.Pins.Override), fix)
	case !f.Pins.Lock:
		return warn("pins", "the project has no package-lock.json: a bundle of it cannot be installed", "run npm install and commit package-lock.json")
	}
	return ok("pins", "@playwright/test is pinned to "+f.Pins.Override)
}

// exact reports whether an npm version range is one version only.
func exact(version string) bool {
	return version != "" && strings.Trim(version, "0123456789.-abcdefghijklmnopqrstuvwxyz") == "" && version[0] >= '0' && version[0] <= '9' && !strings.Contains(version, "x")
}

func checkAppium(f Facts) []Finding {
	if f.Runner != "appwright" || !f.phones() {
		return nil
	}
	if f.AppiumErr != nil {
		message, hint := split(f.AppiumErr)
		return fail("appium", message, hint)
	}
	return ok("appium", fmt.Sprintf("Appium %s in %s", f.Appium.Version, f.Appium.Dir))
}

// checkDriver: Appium 2 refuses uiautomator2 from 4 on.
func checkDriver(f Facts) []Finding {
	if f.Runner != "appwright" || !f.phones() || f.AppiumErr != nil {
		return nil
	}
	if f.DriverErr != nil {
		message, hint := split(f.DriverErr)
		return fail("driver", message, hint)
	}
	fix := "npm install --save-dev appium-uiautomator2-driver@" + appium.PinnedDriver + " in the test project"
	major, _, _ := strings.Cut(f.Driver.Version, ".")
	n, err := strconv.Atoi(major)
	switch {
	case f.Driver.Name == "uiautomator2" && (err != nil || n >= 4):
		return fail("driver", fmt.Sprintf("uiautomator2 %s does not fit Appium %s", f.Driver.Version, f.Appium.Version), fix)
	case f.Driver.Dir == "" && f.NearDriver != "":
		return warn("driver", fmt.Sprintf("uiautomator2 %s beside Appium is not used: %s is fetched instead", f.NearDriver, f.Driver.Version), fix)
	case f.Driver.Dir == "":
		return warn("driver", fmt.Sprintf("uiautomator2 %s is fetched from npm's registry by the first job", f.Driver.Version), fix)
	}
	return ok("driver", f.Driver.Name+" "+f.Driver.Version)
}

// checkOpenPorts: who reaches an Appium or an adb server commands the devices.
func checkOpenPorts(f Facts) []Finding {
	if !f.phones() {
		return nil
	}
	var out []Finding
	for _, addr := range f.OpenAppium {
		out = append(out, warn("open-appium", "an Appium answers to the whole network at "+addr, "stop it, or start it with --address 127.0.0.1")...)
	}
	for _, addr := range f.OpenADB {
		out = append(out, warn("open-adb", "the adb server answers to the whole network at "+addr, "adb kill-server, then adb start-server without -a")...)
	}
	if out == nil {
		return ok("open-ports", "neither Appium nor adb answers from outside")
	}
	return out
}

// checkStockPort: stock AppWright wants port 4723 for itself.
func checkStockPort(f Facts) []Finding {
	if f.Runner != "appwright" || !f.phones() || !f.StockPortTaken {
		return nil
	}
	const fix = "stop the Appium that was left behind there"
	if f.ProjectErr == nil && f.SuiteErr == nil && !f.Suite.Hooked {
		return fail("port-4723", "port 4723 is taken, which AppWright in stock mode has for its own", fix)
	}
	return warn("port-4723", "port 4723 is taken: should AppWright have to run in stock mode, it cannot", fix)
}

func checkADB(f Facts) []Finding {
	switch {
	case !f.phones():
		return nil
	case f.ADBErr != nil:
		return fail("adb", f.ADBErr.Error(), "install adb (Debian: apt-get install adb) and run adb start-server, or set ANDROID_ADB_SERVER_PORT")
	case f.ADBVersion < 0x29:
		return fail("adb", fmt.Sprintf("the adb server speaks version %d; needed: 41", f.ADBVersion), "install platform-tools 28 or newer")
	case !f.ADBProgram && f.Runner == "appwright":
		return fail("adb", "the adb server answers, but there is no adb program in PATH, which Appium calls", "install adb (Debian: apt-get install adb), or put the SDK's platform-tools into PATH")
	}
	return ok("adb", "the adb server answers at "+f.ADBAddr)
}

func checkKeys(f Facts) []Finding {
	if !f.phones() || f.KeyMode&0o077 == 0 {
		return nil
	}
	return warn("adb-key", fmt.Sprintf("%s can be read by others (mode %o): who has it commands every phone that trusts it", f.Key, f.KeyMode), "chmod 600 "+f.Key)
}

// checkEmulator: emulators that the agent is to start need the SDK's program.
func checkEmulator(f Facts) []Finding {
	if !f.phones() || len(f.AVDs) == 0 {
		return nil
	}
	if f.EmulatorErr != nil {
		message, hint := split(f.EmulatorErr)
		return fail("emulator", message, hint)
	}
	return ok("emulator", "the agent starts "+strings.Join(f.AVDs, ", "))
}

// checkListed: a device that is plugged in and cannot be used is easier to mend
// than to miss.
func checkListed(f Facts) []Finding {
	if !f.phones() || f.ADBErr != nil {
		return nil
	}
	var out []Finding
	ready := 0
	for _, l := range f.Listed {
		switch {
		case l.Ready():
			ready++
		case l.State == "unauthorized":
			out = append(out, warn("device", l.Serial+" is not authorised", "unlock it and allow USB debugging for this computer")...)
		case l.State == "no permissions":
			out = append(out, warn("device", l.Serial+" may not be opened by the adb server's user", "add a udev rule for it (Debian: apt-get install android-sdk-platform-tools-common), then adb kill-server")...)
		default:
			out = append(out, warn("device", fmt.Sprintf("%s is %s", l.Serial, l.State), "plug it in again, or restart it")...)
		}
	}
	if ready == 0 && len(f.AVDs) == 0 { // else the agent brings its own
		fix := "plug a phone in and allow USB debugging; look at adb devices"
		if f.Target == qgjob.TargetEmulator {
			fix = "start one: emulator -avd NAME, or qgjob agent --avd=NAME"
		}
		out = append(out, fail("device", fmt.Sprintf("there is no usable device of target %s", f.Target), fix)...)
	}
	return out
}

func checkPhones(f Facts) []Finding {
	var out []Finding
	broken := 0
	for _, p := range f.Phones {
		switch {
		case p.Err != nil:
			broken++
			out = append(out, warn("health", p.Err.Error(), "mend it; the agent leaves it out until then")...)
		case p.SDK > 0 && p.SDK < 24:
			broken++
			out = append(out, warn("health", fmt.Sprintf("%s has SDK %d; the agent speaks to 24 (Android 7) and newer", p.Serial, p.SDK), "use a newer device")...)
		default:
			out = append(out, ok("health", fmt.Sprintf("%s (%s, Android %s) is well", p.Serial, p.Model, p.Release))...)
		}
	}
	if broken > 0 && broken == len(f.Phones) {
		out = append(out, fail("health", "no device is fit for a job", "see the devices above")...)
	}
	return out
}

// checkApp looks at the build that was given to the doctor.
func checkApp(f Facts) []Finding {
	if f.App == "" {
		return nil
	}
	if f.AppErr != nil {
		return fail("app", fmt.Sprintf("%s: %v", f.App, f.AppErr), "see above")
	}
	switch {
	case f.AppInfo.Split != "":
		return fail("app", fmt.Sprintf("%s is the split %s", f.App, f.AppInfo.Split), "build a universal APK")
	case f.AppPackage != "" && f.AppPackage != f.AppInfo.Package:
		return fail("app", fmt.Sprintf("%s is %s, not %s", f.App, f.AppInfo.Package, f.AppPackage), "give the right APK, or another --app-package")
	case f.AppInfo.Activity == "" && f.Runner == "appwright":
		return fail("app", f.AppInfo.Package+" has no activity that a launcher could start", "give the app's own APK, not its test APK")
	}
	for _, p := range f.Phones {
		if p.AppErr != nil {
			message, hint := split(p.AppErr)
			return fail("app", message, hint)
		}
	}
	return ok("app", fmt.Sprintf("%s: %s, versionCode %d, starts %s", f.App, f.AppInfo.Package, f.AppInfo.VersionCode, f.AppInfo.Activity))
}

func checkChromium(f Facts) []Finding {
	switch {
	case f.Target != qgjob.TargetBrowser || f.Runner != "playwright":
		return nil
	case f.ChromiumErr != nil:
		message, hint := split(f.ChromiumErr)
		return fail("chromium", message, hint)
	case f.Chromium == "" && !f.PlaywrightBrowser:
		return fail("chromium", "there is no Chromium, neither the system's nor Playwright's", "install it (Debian: apt-get install chromium; or npx playwright install chromium), or set QGJOB_CHROMIUM")
	case f.Chromium == "":
		return ok("chromium", "Playwright's own browser")
	}
	return ok("chromium", f.Chromium)
}

// minDisk is what builds, bundles, packages and results want at least.
const minDisk = 2 << 30

func checkDisk(f Facts) []Finding {
	switch {
	case f.DiskErr != nil:
		return fail("disk", "the state-dir cannot be used: "+f.DiskErr.Error(), "give another --state-dir")
	case f.DiskFree < 0:
		return nil
	case f.DiskFree < minDisk/8:
		return fail("disk", fmt.Sprintf("%d MiB are free for %s", f.DiskFree>>20, f.StateDir), "free some space, or give another --state-dir")
	case f.DiskFree < minDisk:
		return warn("disk", fmt.Sprintf("only %d MiB are free for %s", f.DiskFree>>20, f.StateDir), "free some space, or give another --state-dir")
	}
	return ok("disk", fmt.Sprintf("%d MiB are free for %s", f.DiskFree>>20, f.StateDir))
}

func checkNamespaces(f Facts) []Finding {
	if f.Namespaces == "" {
		return ok("isolation", "tests die with their agent")
	}
	return warn("isolation", f.Namespaces, "allow PID namespaces (root with CAP_SYS_ADMIN, or sysctl kernel.unprivileged_userns_clone=1)")
}

// split takes message and hint of an error apart.
func split(err error) (message, hint string) {
	if e, ok := errors.AsType[*qgjob.Error](err); ok {
		return e.Message, e.Hint
	}
	text := err.Error()
	if message, rest, ok := strings.Cut(text, " ("); ok && strings.HasSuffix(rest, ")") {
		return message, strings.TrimSuffix(rest, ")")
	}
	return text, "see the message"
}
