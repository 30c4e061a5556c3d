//go:build unix

package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/proc"
)

func TestMain(m *testing.M) {
	proc.MaybeInit()
	os.Exit(m.Run())
}

func unmarshal(t *testing.T, text string, to any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), to); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

func needNode(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		if os.Getenv("QGJOB_REQUIRE_BROWSER") != "" {
			t.Fatal(err)
		}
		t.Skip("needs node")
	}
}

// The private names of AppWright's dist that the hook leans on, as 0.1.1 and
// 0.1.46 have them (0.1.46 adds stopAppiumServer and a device for the whole
// worker), small enough to read. The real 0.1.1 is driven by make
// test-appwright.
const (
	distAppium = `const cp = require('child_process');
exports.installDriver = async (n) => { cp.spawn('npx', ['appium', 'driver', 'install', n]); };
exports.startAppiumServer = async () => cp.spawn('npx', ['appium']);
exports.getApkDetails = async (p) => { throw new Error('wants an Android SDK for ' + p); };
exports.isEmulatorInstalled = async () => { throw new Error('wants an emulator'); };
`
	distStop     = "exports.stopAppiumServer = async () => { cp.exec('pkill -f appium'); };\n"
	distProvider = `const appium = require('../appium');
class NAME {
  async globalSetup() { throw new Error('wants ANDROID_HOME'); }
  async getDevice() {
    await appium.installDriver('uiautomator2');
    const server = await appium.startAppiumServer('emulator');
    const config = await this.createConfig();
    if (appium.stopAppiumServer) await appium.stopAppiumServer();
    server.kill();
    return config;
  }
  async createConfig() {
    const d = await appium.getApkDetails('app.apk');
    return { port: 4723, capabilities: { platformName: 'Android', 'appium:app': 'app.apk', 'appium:fullReset': true, 'appium:platformVersion': '14',
      'appium:appPackage': d.packageName, 'appium:appActivity': d.launchableActivity } };
  }
}
exports.NAME = NAME;
`
	distIndex = "exports.EmulatorProvider = require('./providers/emulator').EmulatorProvider;\nexports.LocalDeviceProvider = require('./providers/local').LocalDeviceProvider;\n"
)

// fakeAppwright makes a project with an AppWright of that shape.
func fakeAppwright(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := project(t)
	all := map[string]string{
		"package.json": `{"version":"0.1.1","main":"dist/index.js"}`, "dist/index.js": distIndex, "dist/providers/appium.js": distAppium + distStop,
		"dist/providers/emulator/index.js": strings.ReplaceAll(distProvider, "NAME", "EmulatorProvider"),
		"dist/providers/local/index.js":    strings.ReplaceAll(distProvider, "NAME", "LocalDeviceProvider"),
	}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		put(t, filepath.Join(dir, "node_modules", "appwright", name), text)
	}
	return dir
}

// underHook runs a script in dir under the hook.
func underHook(t *testing.T, dir, script string, d *Drive, args ...string) (string, handshake, error) {
	t.Helper()
	needNode(t)
	env, err := hookEnv(d.Work, []string{"PATH=" + os.Getenv("PATH")}, d.hook(qgjob.ResetClear))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", append(args, "-e", script)...)
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.CombinedOutput()
	return string(out), readHandshake(d.Work), err
}

const session = `const run = async (p) => { const d = new p(); await d.globalSetup(); console.log(JSON.stringify(await d.getDevice())); };
`

// TestHookRedirectsSessions of both shapes, from CommonJS and from ES modules:
// no driver is installed, no Appium started or killed, no SDK asked for.
func TestHookRedirectsSessions(t *testing.T) {
	scripts := map[string][]string{
		"common":    {session + `const { EmulatorProvider, LocalDeviceProvider } = require('appwright'); run(EmulatorProvider).then(() => run(LocalDeviceProvider));`},
		"ES module": {session + `import { EmulatorProvider, LocalDeviceProvider } from 'appwright'; await run(EmulatorProvider); await run(LocalDeviceProvider);`, "--input-type=module"},
	}
	if v, err := exec.CommandContext(context.Background(), "node", "--version").Output(); err == nil {
		t.Logf("node %s", bytes.TrimSpace(v))
	}
	for shape, source := range map[string]string{"0.1.1": distAppium, "0.1.46": distAppium + distStop} {
		for kind, script := range scripts {
			d := drive(t, true)
			// The import of CommonJS names is only seen by Node when they are spelt out.
			dir := fakeAppwright(t, map[string]string{"dist/providers/appium.js": source})
			out, hs, err := underHook(t, dir, script[0], d, script[1:]...)
			if err != nil || hs.misfit(false) != "" {
				t.Errorf("%s, %s: %v %q\n%s", shape, kind, err, hs.misfit(false), out)
				continue
			}
			lines := strings.Split(strings.TrimSpace(out), "\n")
			if len(lines) != 2 || lines[0] != lines[1] {
				t.Errorf("%s, %s: %s", shape, kind, out)
				continue
			}
			var got struct {
				Port         int
				Hostname     string
				Protocol     string
				Path         string
				Capabilities map[string]any
			}
			unmarshal(t, lines[0], &got)
			if got.Port != 26001 || got.Hostname != "127.0.0.1" || got.Protocol != "http" || got.Path != "/" {
				t.Errorf("%s, %s: %+v", shape, kind, got)
			}
			want := `{"appium:adbPort":5555,"appium:appActivity":"dev.qgjob.notes.Main","appium:appPackage":"dev.qgjob.notes","appium:chromedriverPort":26004,` +
				`"appium:fullReset":false,"appium:mjpegServerPort":26003,"appium:noReset":false,"appium:suppressKillServer":true,"appium:systemPort":26002,` +
				`"appium:udid":"emulator-5554","platformName":"Android"}`
			if text, _ := json.Marshal(got.Capabilities); string(text) != want {
				t.Errorf("%s, %s:\n%s\nwant\n%s", shape, kind, text, want)
			}
			sessions := 0
			for _, n := range hs {
				if n.Event == "session" && n.UDID == "emulator-5554" && n.Port == 26001 {
					sessions++
				}
			}
			if sessions != 2 {
				t.Errorf("%s, %s: handshake %+v", shape, kind, hs)
			}
		}
	}
}

// TestHookFailsLoudly where a name is missing, has moved, or is gone round.
func TestHookFailsLoudly(t *testing.T) {
	run := session + `const { EmulatorProvider } = require('appwright'); run(EmulatorProvider).catch((e) => { console.log(e.message); process.exit(1); });`
	for _, c := range []struct {
		name  string
		files map[string]string
		said  string // by the run
		note  string // by the handshake
	}{
		{"no installDriver", map[string]string{"dist/providers/appium.js": strings.ReplaceAll(distAppium, "installDriver", "setUpDriver")}, "has no installDriver in providers/appium.js", "has no installDriver"},
		{"no createConfig", map[string]string{"dist/providers/emulator/index.js": strings.ReplaceAll(strings.ReplaceAll(distProvider, "NAME", "EmulatorProvider"), "createConfig", "makeConfig")},
			"EmulatorProvider.createConfig", "EmulatorProvider.createConfig"},
		{"another class", map[string]string{"dist/providers/local/index.js": strings.ReplaceAll(distProvider, "NAME", "UsbProvider")}, "LocalDeviceProvider", "LocalDeviceProvider"},
		{"a session of another shape", map[string]string{"dist/providers/emulator/index.js": strings.ReplaceAll(strings.ReplaceAll(distProvider, "NAME", "EmulatorProvider"), "capabilities:", "wanted:")},
			"a session without capabilities", ""},
		{"Appium started elsewhere", map[string]string{"dist/providers/emulator/index.js": strings.ReplaceAll(strings.ReplaceAll(distProvider, "NAME", "EmulatorProvider"),
			"await this.createConfig()", "require('child_process').spawn('npx', ['--yes', 'appium', 'server'])")}, "was kept from running", "npx --yes appium server"},
		{"Appium killed through promisify", map[string]string{"dist/providers/emulator/index.js": strings.ReplaceAll(strings.ReplaceAll(distProvider, "NAME", "EmulatorProvider"),
			"await this.createConfig()", "await require('util').promisify(require('child_process').exec)('pkill -f appium')")}, "was kept from running", "pkill -f appium"},
	} {
		out, hs, err := underHook(t, fakeAppwright(t, c.files), run, drive(t, true))
		if err == nil || !strings.Contains(out, c.said) {
			t.Errorf("%s: %v %s", c.name, err, out)
		}
		if c.note != "" && !strings.Contains(hs.misfit(false), c.note) {
			t.Errorf("%s: handshake %q", c.name, hs.misfit(false))
		}
	}
	moved := fakeAppwright(t, map[string]string{"dist/index.js": "exports.EmulatorProvider = class {};"})
	if out, hs, err := underHook(t, moved, `require('appwright')`, drive(t, true)); err != nil || !strings.Contains(hs.misfit(false), "did not find") {
		t.Errorf("moved: %v %s %q", err, out, hs.misfit(false))
	}
}

// TestHookLeavesOthersAlone: programs of the tests' own, and their output.
func TestHookLeavesOthersAlone(t *testing.T) {
	script := `const cp = require('child_process'); const { promisify } = require('util');
promisify(cp.exec)('echo one; echo appium >&2').then(({ stdout, stderr }) => {
  console.log(stdout.trim(), stderr.trim(), cp.execFileSync('echo', ['two']).toString().trim(), cp.spawnSync('echo', ['npx appium']).stdout.toString().trim()); });`
	out, _, err := underHook(t, fakeAppwright(t, nil), script, drive(t, true))
	if err != nil || out != "one appium two npx appium\n" {
		t.Errorf("%v %q", err, out)
	}
}

// TestShims: what AppWright starts in stock mode does nothing or waits; all
// else is the real program's.
func TestShims(t *testing.T) {
	needNode(t)
	real := t.TempDir()
	for _, name := range []string{"npx", "pkill"} {
		put(t, filepath.Join(real, name), "#!/usr/bin/env node\nconsole.log('real', "+fmt.Sprintf("%q", name)+", process.argv.slice(2).join(' ')); process.exit(9);\n")
		if err := os.Chmod(filepath.Join(real, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	work := t.TempDir()
	env, err := stockEnv(work, []string{"PATH=" + real + ":" + os.Getenv("PATH")}, Phone{Package: "dev.qgjob.notes"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		argv []string
		code int
		out  string
	}{
		{[]string{"npx", "appium", "driver", "uninstall", "uiautomator2"}, 0, ""},
		{[]string{"npx", "appium", "driver", "install", "uiautomator2"}, 0, ""},
		{[]string{"pkill", "-f", "appium"}, 0, ""},
		{[]string{"osascript", "-e", `id of app "x"`}, 0, "dev.qgjob.notes\n"},
		{[]string{"npx", "tsc", "appium"}, 9, "real npx tsc appium\n"},
		{[]string{"pkill", "-f", "chrome"}, 9, "real pkill -f chrome\n"},
	} {
		var out bytes.Buffer
		res := proc.Run(t.Context(), proc.Command{Argv: c.argv, Dir: work, Env: env, Stdout: &out})
		if res.ExitCode != c.code || out.String() != c.out {
			t.Errorf("%q: %s, %q", c.argv, res, out.String())
		}
	}
	// npx appium speaks as Appium does and stays until it is ended.
	said := &firstWrite{got: make(chan string, 1)}
	p, err := proc.Start(proc.Command{Argv: []string{"npx", "appium"}, Dir: work, Env: env, Stdout: said, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case line := <-said.got:
		if !strings.Contains(line, "Appium REST http interface listener started") {
			t.Errorf("it said %q", line)
		}
	case <-p.Done():
		t.Errorf("npx appium ended: %s", p.Wait())
	}
	p.Cancel(errors.New("enough"))
	p.Wait()
}

type firstWrite struct{ got chan string }

func (f *firstWrite) Write(p []byte) (int, error) {
	select {
	case f.got <- string(p):
	default:
	}
	return len(p), nil
}

// TestProbeOfBrokenProjects: each in one line, and never a hang.
func TestProbeOfBrokenProjects(t *testing.T) {
	needNode(t)
	base := func() map[string]string {
		return map[string]string{
			"node_modules/@playwright/test/package.json": version("1.56.1"), "appwright.config.ts": "",
			"node_modules/@playwright/test/cli.js": `require('appwright'); require('fs').writeFileSync(process.env.PLAYWRIGHT_JSON_OUTPUT_NAME, '{"config":{"projects":[{"name":"android","timeout":0}]}}');`,
		}
	}
	probe := func(files map[string]string, a Appwright, appwright map[string]string, path string) (Suite, error) {
		dir := fakeAppwright(t, appwright)
		for name, text := range files {
			put(t, filepath.Join(dir, name), text)
		}
		return a.Probe(t.Context(), dir, "tests/a.spec.ts", filepath.Join(t.TempDir(), "w"), []string{"PATH=" + path}, nil)
	}
	path := os.Getenv("PATH")
	s, err := probe(base(), Appwright{}, nil, path)
	if err != nil || !s.Hooked || s.Project != "android" || s.Config != "appwright.config.ts" || s.Warning != "" {
		t.Errorf("good: %+v, %v", s, err)
	}
	if s, err = probe(base(), Appwright{Mode: ModeStock}, nil, path); err != nil || s.Hooked || s.Project != "android" {
		t.Errorf("stock: %+v, %v", s, err)
	}
	misfit := map[string]string{"dist/providers/appium.js": "exports.somethingElse = 1;"}
	if s, err = probe(base(), Appwright{}, misfit, path); err != nil || s.Hooked || !strings.Contains(s.Warning, "stock mode") || !strings.Contains(s.Warning, "installDriver") {
		t.Errorf("a misfit in auto mode: %+v, %v", s, err)
	}
	if _, err = probe(base(), Appwright{Mode: ModeHook}, misfit, path); err == nil || !strings.Contains(err.Error(), "installDriver") {
		t.Errorf("a misfit in hook mode: %v", err)
	}
	broken := base()
	broken["node_modules/@playwright/test/cli.js"] = `console.error('SyntaxError: Unexpected token in appwright.config.ts'); process.exit(1);`
	if _, err = probe(broken, Appwright{}, nil, path); err == nil || !strings.Contains(err.Error(), "cannot be loaded: SyntaxError") {
		t.Errorf("a broken configuration: %v", err)
	}
	if _, err = probe(base(), Appwright{}, nil, "/nowhere"); err == nil || !strings.Contains(err.Error(), "node cannot be run") || !strings.Contains(err.Error(), "PATH") {
		t.Errorf("without node: %v", err)
	}
	old := t.TempDir()
	node, _ := exec.LookPath("node")
	put(t, filepath.Join(old, "node"), "#!"+node+"\nconsole.log('v16.20.0');\n")
	if err := os.Chmod(filepath.Join(old, "node"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err = probe(base(), Appwright{}, nil, old+":"+path); err == nil || !strings.Contains(err.Error(), "v16.20.0 is too old") {
		t.Errorf("an old node: %v", err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, errors.New("no time left"))
	defer cancel()
	hangs := base()
	hangs["node_modules/@playwright/test/cli.js"] = `setInterval(() => {}, 1e6);`
	dir := fakeAppwright(t, nil)
	for name, text := range hangs {
		put(t, filepath.Join(dir, name), text)
	}
	if _, err := (Appwright{}).Probe(ctx, dir, "a.spec.ts", filepath.Join(t.TempDir(), "w"), []string{"PATH=" + path}, nil); err == nil || !strings.Contains(err.Error(), "no time left") {
		t.Errorf("a configuration that hangs: %v", err)
	}
}
