//go:build unix

package runner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// distCloud is AppWright's BrowserStack provider as 0.1.1 and 0.1.46 have it,
// without a network: it uploads, reads the address from the environment, begins
// a session, asks for its details, and only then has a device.
const distCloud = `const key = (n) => 'BROWSERSTACK_APP_URL_' + n.toUpperCase();
const { Device } = require('../../device');
class BrowserStackDeviceProvider {
  constructor(project) { this.project = project; }
  async globalSetup() { throw new Error('uploads ' + this.project.use.buildPath); }
  async getDevice() { return await this.createDriver(this.createConfig()); }
  async createDriver(config) {
    this.sessionId = 'session' + config.port;
    if (this.project.use.dies) throw new Error('no details');
    return Object.assign(new Device(), { webdriverClient: { sessionId: this.sessionId }, config });
  }
  createConfig() {
    if (!process.env[key(this.project.name)]) throw new Error(key(this.project.name) + ' is not set');
    return { port: 443, path: '/wd/hub', protocol: 'https', hostname: 'hub.browserstack.com', user: 'ann', key: 'k',
      capabilities: { 'bstack:options': { deviceName: 'Google Pixel 8', sessionName: 'x test' }, 'appium:app': process.env[key(this.project.name)], 'appium:fullReset': true } };
  }
}
exports.BrowserStackDeviceProvider = BrowserStackDeviceProvider;
`

// cloudProject is fakeAppwright with that provider beside the others.
func cloudProject(t *testing.T, provider string) string {
	t.Helper()
	return fakeAppwright(t, map[string]string{
		"dist/index.js":                        distIndex + "exports.BrowserStackDeviceProvider = require('./providers/browserstack').BrowserStackDeviceProvider;\n",
		"dist/providers/browserstack/index.js": provider,
		"dist/device/index.js":                 "exports.Device = class { async close() {} };\n",
	})
}

func cloudDrive(t *testing.T) *Drive {
	work := filepath.Join(t.TempDir(), "hook")
	return &Drive{Suite: Suite{Config: "appwright.config.ts", Project: "android", Hooked: true}, Work: work, Cloud: &Cloud{
		App: "bs://abc", Journal: filepath.Join(work, "sessions.jsonl"), Name: "job_7 tests/a.spec.ts", Build: "o v1", API: "https://api-cloud.browserstack.com/app-automate",
	}}
}

const cloudScript = `const { BrowserStackDeviceProvider: P, EmulatorProvider: E } = require('appwright');
(async () => {
  const p = new P({ name: 'android', use: { buildPath: 'app.apk' } });
  await p.globalSetup();
  const d = await p.getDevice();
  console.log(JSON.stringify(d.config));
  await d.close();
  try { await new P({ name: 'android', use: { dies: true } }).getDevice(); } catch (e) { console.log(e.message); }
  try { await new E().globalSetup(); } catch (e) { console.log(e.message); }
})();`

// TestHookOnBrowserStack: nothing is uploaded, the session gets the app that is
// there, under the job's name, and its begin and end are noted, also when
// AppWright fails between the two.
func TestHookOnBrowserStack(t *testing.T) {
	d := cloudDrive(t)
	dir := cloudProject(t, distCloud)
	out, hs, err := underHook(t, dir, cloudScript, d)
	if err != nil || hs.misfit(true) != "" {
		t.Fatalf("%v %q\n%s", err, hs.misfit(true), out)
	}
	for _, want := range []string{`"appium:app":"bs://abc"`, `"sessionName":"job_7 tests/a.spec.ts"`, `"buildName":"o v1"`, `"hostname":"hub.browserstack.com"`, `"key":"k"`,
		"no details", "asks for AppWright's EmulatorProvider, but this agent has sessions of BrowserStack"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in %s", want, out)
		}
	}
	journal, err := os.ReadFile(d.Cloud.Journal)
	if err != nil || string(journal) != `{"session":"session443"}`+"\n"+`{"ended":"session443"}`+"\n"+`{"session":"session443"}`+"\n" {
		t.Errorf("journal %q %v", journal, err)
	}
	// Another hub, as a test has one.
	d = cloudDrive(t)
	d.Cloud.Hub = "http://127.0.0.1:4567"
	if out, _, err = underHook(t, dir, cloudScript, d); err != nil || !strings.Contains(out, `"hostname":"127.0.0.1"`) || !strings.Contains(out, `"port":4567`) {
		t.Errorf("%v %s", err, out)
	}
}

// TestHookMisfitOnBrowserStack: an AppWright whose provider looks different is
// no verdict on BrowserStack, and no matter on a phone.
func TestHookMisfitOnBrowserStack(t *testing.T) {
	dir := cloudProject(t, strings.ReplaceAll(distCloud, "createDriver", "makeDriver"))
	d := cloudDrive(t)
	_, hs, err := underHook(t, dir, cloudScript, d)
	if why := hs.misfit(true); err == nil || !strings.Contains(why, "has no BrowserStackDeviceProvider.createDriver") {
		t.Errorf("%v %q", err, why)
	}
	phone := drive(t, true)
	script := session + `const { EmulatorProvider, LocalDeviceProvider, BrowserStackDeviceProvider } = require('appwright');
run(EmulatorProvider).then(() => run(LocalDeviceProvider)).then(() => run(BrowserStackDeviceProvider)).catch((e) => console.log(e.message));`
	out, hs, err := underHook(t, dir, script, phone)
	if err != nil || hs.misfit(false) != "" || !strings.Contains(out, "asks for AppWright's BrowserStackDeviceProvider, but this agent has a device of its own") {
		t.Errorf("%v %q %s", err, hs.misfit(false), out)
	}
	if why := (handshake{}).misfit(true); !strings.Contains(why, "dist/providers/browserstack/index.js") {
		t.Errorf("no handshake: %q", why)
	}
}

func TestAppwrightCommandOnBrowserStack(t *testing.T) {
	for _, hooked := range []bool{true, false} {
		tk := task(t, project(t), "tests/a.spec.ts")
		tk.Drive = cloudDrive(t)
		tk.Drive.Suite.Hooked = hooked
		c, err := Appwright{Cloud: true}.Command(tk)
		env := strings.Join(c.Env, "\n")
		if err != nil || strings.Contains(env, "QGJOB_SHIMS") || strings.Contains(env, "NODE_OPTIONS") != hooked {
			t.Errorf("hooked %v: %v\n%s", hooked, err, env)
		}
	}
	if got := (Appwright{Cloud: true}).Name(); got != "appwright" {
		t.Error(got)
	}
}
