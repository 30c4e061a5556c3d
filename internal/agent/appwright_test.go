//go:build unix

package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/adb/adbtest"
)

// fakeProject is what the appwright runner sees of a project: an AppWright
// with the names that the hook wants, and a Playwright whose tests are plain
// functions of a session. The real ones are driven by make test-appwright.
var fakeProject = map[string]string{
	"appwright.config.ts":                        "",
	"node_modules/appwright/package.json":        `{"version":"0.1.1","main":"dist/index.js"}`,
	"node_modules/appwright/dist/index.js":       `exports.EmulatorProvider = require('./providers/emulator').EmulatorProvider; require('./providers/local');`,
	"node_modules/@playwright/test/package.json": `{"version":"1.56.1"}`,
	"node_modules/appwright/dist/providers/appium.js": `exports.installDriver = async () => { throw new Error('installs'); };
exports.startAppiumServer = async () => { throw new Error('starts'); };`,
	"node_modules/appwright/dist/providers/emulator/index.js": `const appium = require('../appium');
exports.EmulatorProvider = class { async getDevice() { await appium.installDriver(); await appium.startAppiumServer(); return this.createConfig(); }
  async createConfig() { return { port: 4723, capabilities: { 'appium:app': 'x.apk' } }; } };`,
	"node_modules/appwright/dist/providers/local/index.js": `exports.LocalDeviceProvider = class { async createConfig() {} };`,
	"node_modules/@playwright/test/cli.js": `const fs = require('fs'), path = require('path');
const out = process.env.PLAYWRIGHT_JSON_OUTPUT_NAME;
const { EmulatorProvider } = require('appwright');
if (process.argv.includes('--list')) {
  fs.writeFileSync(out, JSON.stringify({ config: { projects: [{ name: 'android', timeout: 0 }] } }));
} else (async () => {
  const s = await new EmulatorProvider().getDevice();
  const file = process.env.QGJOB_TEST_PATH;
  const no = await require(path.resolve(file))({ url: 'http://' + s.hostname + ':' + s.port, caps: s.capabilities });
  const errors = no ? [{ message: 'Error: ' + no }] : [];
  fs.writeFileSync(out, JSON.stringify({ config: {}, errors: [], stats: { expected: no ? 0 : 1, unexpected: no ? 1 : 0, flaky: 0, skipped: 0 },
    suites: [{ title: file, file, specs: [{ title: 't', file, line: 1, column: 1, ok: !no, tests: [{ projectName: 'android', expectedStatus: 'passed',
      status: no ? 'unexpected' : 'expected', results: [{ status: no ? 'failed' : 'passed', duration: 1, retry: 0, errors, attachments: [] }] }] }] }] }));
  process.exit(no ? 1 : 0);
})();`,
}

func newAppwrightRig(t *testing.T) (*rig, *adbtest.Server) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		if os.Getenv("QGJOB_REQUIRE_BROWSER") != "" {
			t.Fatal(err)
		}
		t.Skip("needs node")
	}
	r, lab := newFleet(t)
	lab.Plug(adbtest.Device{Serial: emulator})
	for name, text := range fakeProject {
		path := filepath.Join(r.config.ProjectDir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.config.Runner, r.config.ExecArgv = "appwright", nil
	r.config.Appium, r.config.AppiumDriver = "appium/testdata/appium", "appium/testdata/driver"
	return r, lab
}

// names of the artifacts of a lease, without their folders.
func (r *rig) names(l *fakeLease) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, a := range l.artifacts {
		out = append(out, filepath.Base(a.Name))
	}
	return out
}

// TestAppwrightRunnerReusesItsAppium: one Appium for two jobs, one install,
// and the session's capabilities by the job's reset.
func TestAppwrightRunnerReusesItsAppium(t *testing.T) {
	r, lab := newAppwrightRig(t)
	r.begin(t)
	for _, c := range []struct {
		reset   qgjob.Reset
		noReset string
		install qgjob.InstallOutcome
	}{{qgjob.ResetClear, "false", qgjob.InstallDone}, {qgjob.ResetKeep, "true", qgjob.InstallAvoided}, {qgjob.ResetReinstall, "false", qgjob.InstallDone}} {
		job := r.test(t, string(c.reset)+".js", `module.exports = async ({ url, caps }) => {
  const status = await fetch(url + '/status');
  return status.ok && !('appium:app' in caps) && caps['appium:udid'] === 'emulator-5554' && caps['appium:noReset'] === `+c.noReset+` ? '' : JSON.stringify(caps); };`)
		job.Reset = c.reset
		l := r.submit(job, r.app(42))
		got := r.result(t, l)
		want(t, got, qgjob.OutcomePassed, "")
		if got.Install != c.install || len(got.Tests) != 1 {
			t.Errorf("%s: %+v", c.reset, got)
		}
		r.logHas(t, l, "drives emulator-5554")
	}
	if n := strings.Count(r.logged.String(), "Appium runs"); n != 1 {
		t.Errorf("Appium was started %d times", n)
	}
	if n := lab.Count(emulator, "install"); n != 2 {
		t.Errorf("%d installs", n)
	}
}

// TestAppwrightRunnerOutlivesItsAppium: a crash of Appium is not the test's
// failure, leaves its last words, and the next job has a new one. A failure of
// the test's own stays one.
func TestAppwrightRunnerOutlivesItsAppium(t *testing.T) {
	r, _ := newAppwrightRig(t)
	r.begin(t)
	l := r.submit(r.test(t, "crash.js", `module.exports = async ({ url }) => { await fetch(url + '/crash').catch(() => {}); return 'expect(locator).toBeVisible failed'; };`), r.app(42))
	got := r.result(t, l)
	want(t, got, qgjob.OutcomeErrored, qgjob.ReasonDevice)
	if !strings.Contains(got.Message, "Appium went away during the test") {
		t.Errorf("message %q", got.Message)
	}
	l = r.submit(r.test(t, "no.js", `module.exports = async () => 'expect(locator).toBeVisible failed';`), r.app(42))
	want(t, r.result(t, l), qgjob.OutcomeFailed, qgjob.ReasonAssertion)
	if names := r.names(l); !slices.Contains(names, "appium.log") || !slices.Contains(names, "device-screen.png") || !slices.Contains(names, "device-logcat.txt") {
		t.Errorf("artifacts %q", names)
	}
}

// TestAppwrightStockInstallsOnce: in stock mode AppWright installs the app in
// every test, so the agent does not. Its own install is counted, without a time.
func TestAppwrightStockInstallsOnce(t *testing.T) {
	r, lab := newAppwrightRig(t)
	r.config.AppwrightMode = "stock"
	provider := `exports.EmulatorProvider = class { async getDevice() { return { hostname: '127.0.0.1', port: 4723, capabilities: {} }; } };`
	if err := os.WriteFile(filepath.Join(r.config.ProjectDir, "node_modules/appwright/dist/providers/emulator/index.js"), []byte(provider), 0o600); err != nil {
		t.Fatal(err)
	}
	r.begin(t)
	l := r.submit(r.test(t, "a.js", `const { QGJOB_APP_PATH: app, QGJOB_APP_PACKAGE: name } = process.env;
module.exports = async ({ url }) => (await fetch(url + '/status')).ok && name && require('fs').existsSync(app) ? '' : name + ' at ' + app;`), r.app(42))
	got := r.result(t, l)
	want(t, got, qgjob.OutcomePassed, "")
	if got.Install != qgjob.InstallDone || got.InstallMS != 0 || got.Installed != nil {
		t.Errorf("counted %q in %d ms, holds %+v", got.Install, got.InstallMS, got.Installed)
	}
	r.logHas(t, l, "in stock mode installed")
	// Nothing ran: nobody installed anything.
	l = r.submit(r.test(t, "b.js", `process.exit(1);`), r.app(42))
	if got := r.result(t, l); got.Outcome != qgjob.OutcomeErrored || got.Install != qgjob.InstallNone {
		t.Errorf("without a report: %+v", got)
	}
	if n := lab.Count(emulator, "install"); n != 0 {
		t.Errorf("the agent installed %d times", n)
	}
}

// TestAppwrightRunnerRefuses what cannot be tested, in a line with a remedy.
func TestAppwrightRunnerRefuses(t *testing.T) {
	r, lab := newAppwrightRig(t)
	r.begin(t)
	l := r.submit(r.test(t, "a.js", `module.exports = async () => '';`), nil)
	got := r.result(t, l)
	want(t, got, qgjob.OutcomeErrored, qgjob.ReasonSetup)
	if !strings.Contains(got.Message, "has no uploaded build") || !strings.Contains(got.Message, "--app=FILE.apk") {
		t.Errorf("message %q", got.Message)
	}
	// Without a device nothing is installed, and nothing passes.
	if lab.Count(emulator, "install") != 0 {
		t.Errorf("journal %+v", lab.Journal())
	}
}
