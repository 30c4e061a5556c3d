//go:build linux

package script_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// installTime is what an install is made to take: a small app on a fast phone.
const installTime = 3 * time.Second

// sdk makes what an unchanged AppWright wants of an Android SDK: a list of
// emulators, and aapt.
func (l *lab) sdk() string {
	l.t.Helper()
	aapt, err := exec.LookPath("aapt")
	if err != nil {
		l.t.Fatal(err)
	}
	home := filepath.Join(l.dir, "sdk")
	l.write("sdk/emulator/emulator", "#!/usr/bin/env node\nconsole.log('Pixel_8');\n")
	l.write("sdk/build-tools/34.0.0/source.properties", "")
	if err := errors.Join(os.Chmod(filepath.Join(home, "emulator", "emulator"), 0o700), os.Symlink(aapt, filepath.Join(home, "build-tools", "34.0.0", "aapt"))); err != nil {
		l.t.Fatal(err)
	}
	return home
}

// alone runs AppWright without qgjob, as favourably as can be: its driver is
// there already and its Appium runs already, so that what is left of stock
// AppWright is what it does with the app.
func (l *lab) alone() time.Duration {
	l.t.Helper()
	stub, err := filepath.Abs("appwright/stub-driver")
	if err != nil {
		l.t.Fatal(err)
	}
	home := filepath.Join(l.dir, "appium-home")
	l.write("appium-home/x", "")
	l.write("bin/npx", "#!/usr/bin/env node\nif (process.argv[3] !== 'driver') { console.log('Appium REST http interface listener started'); setInterval(() => {}, 1e6); }\n")
	if err := os.Chmod(filepath.Join(l.dir, "bin", "npx"), 0o700); err != nil {
		l.t.Fatal(err)
	}
	env := append(os.Environ(), "APPIUM_HOME="+home)
	install := exec.Command("node", "node_modules/appium/index.js", "driver", "install", "--source=local", stub)
	install.Dir, install.Env = l.project, env
	if out, err := install.CombinedOutput(); err != nil {
		l.t.Fatalf("%v\n%s", err, out)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	server := exec.CommandContext(ctx, "node", "node_modules/appium/index.js", "server", "--address", "127.0.0.1", "--port", "4723",
		"--default-capabilities", `{"appium:udid":"`+deviceA+`","appium:adbPort":`+l.adb.Port()+`}`)
	server.Dir, server.Env = l.project, env
	if err := server.Start(); err != nil {
		l.t.Fatal(err)
	}
	defer func() { cancel(); server.Wait() }()
	l.eventually("Appium answers", func() bool {
		res, err := http.Get("http://127.0.0.1:4723/status")
		if err == nil {
			res.Body.Close()
		}
		return err == nil
	})
	begin := time.Now()
	run := exec.Command("node", "node_modules/@playwright/test/cli.js", "test", "--config", "appwright.config.ts", "--workers", "1", "--retries", "0", "--timeout", "120000",
		"--reporter", "line", "--project", "android")
	run.Dir = l.project
	run.Env = append(os.Environ(), "PATH="+filepath.Join(l.dir, "bin")+":"+os.Getenv("PATH"), "QGJOB_APP_PATH="+filepath.Join(l.builds, "notes-1.1.0.apk"), "QGJOB_APP_VERSION_ID=1.1.0")
	if out, err := run.CombinedOutput(); err != nil {
		l.t.Errorf("AppWright alone: %v\n%s", err, out)
	}
	return time.Since(begin)
}

// TestAppwrightBesideStock: the same six tests of one version on one device,
// three ways. The devices' journal counts the installs.
func TestAppwrightBesideStock(t *testing.T) {
	l := newLab(t)
	t.Setenv("ANDROID_HOME", l.sdk())
	t.Setenv("JAVA_HOME", l.dir)
	l.adb.Slow(deviceA, installTime)
	const tests = 6
	count := func() int { return l.adb.Count(deviceA, "install") }
	through := func(mode string) (installs int, took time.Duration) {
		agent := l.agent(mode, 1, "--serial", deviceA, "--appwright-mode", mode)
		defer agent.kill()
		// As AppWright alone finds its driver and its Appium there, so does an agent after its first job.
		if v, err := l.submit("1.0.0", "--test=tests/settings.spec.ts"); err != nil || v.Passed != 1 {
			t.Fatalf("%s, first job: %+v, %v", mode, v, err)
		}
		before := count()
		begin := time.Now()
		v, err := l.submit("1.1.0", "--test=tests/*.spec.ts")
		if err != nil || v.Passed != 4 {
			t.Errorf("%s: %+v, %v", mode, v, err)
		}
		return count() - before, time.Since(begin)
	}
	hookInstalls, hookTook := through("hook")
	before := count()
	aloneTook := l.alone()
	aloneInstalls := count() - before
	stockInstalls, stockTook := through("stock")
	if hookInstalls != 1 || aloneInstalls != tests || stockInstalls != tests {
		t.Errorf("installs: %d by qgjob, %d by AppWright alone, %d in stock mode; want 1, %d, %d", hookInstalls, aloneInstalls, stockInstalls, tests, tests)
	}
	perTest := func(n int) float64 { return float64(n) / tests }
	t.Logf("%d tests, %s an install", tests, installTime)
	t.Logf("AppWright alone:     %.2f installs a test, %5.1f s", perTest(aloneInstalls), aloneTook.Seconds())
	t.Logf("qgjob, install once: %.2f installs a test, %5.1f s", perTest(hookInstalls), hookTook.Seconds())
	t.Logf("qgjob, stock mode:   %.2f installs a test, %5.1f s", perTest(stockInstalls), stockTook.Seconds())
}
