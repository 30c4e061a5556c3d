//go:build unix

package runner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/appium"
)

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func version(v string) string { return `{"version":"` + v + `"}` }

// TestInspectNamesEveryPitfall of a fresh project with its remedy.
func TestInspectNamesEveryPitfall(t *testing.T) {
	const (
		appwright  = "node_modules/appwright/package.json"
		playwright = "node_modules/@playwright/test/package.json"
		nested     = "node_modules/appwright/node_modules/@playwright/test/package.json"
	)
	good := map[string]string{appwright: version("0.1.1"), playwright: version("1.56.1"), "appwright.config.ts": ""}
	tests := []struct {
		name        string
		files       map[string]string // "-" takes one away
		given       string
		want        string // the configuration, or a part of the message
		remedy      string // a part of the hint; empty: no error
		alternative string
	}{
		{name: "all is well", want: "appwright.config.ts"},
		{name: "Playwright's own name", files: map[string]string{"appwright.config.ts": "-", "playwright.config.mjs": ""}, want: "playwright.config.mjs"},
		{name: "a given configuration", files: map[string]string{"ci/pixel.config.js": ""}, given: "ci/pixel.config.js", want: "ci/pixel.config.js"},
		{name: "the newest Playwright that works", files: map[string]string{playwright: version("1.59.1")}, want: "appwright.config.ts"},
		{name: "the same Playwright twice", files: map[string]string{nested: version("1.56.1")}, want: "appwright.config.ts"},
		{name: "no packages", files: map[string]string{appwright: "-", playwright: "-"}, want: "no node_modules/appwright", remedy: "npm ci"},
		{name: "no Playwright", files: map[string]string{playwright: "-"}, want: "no node_modules/@playwright/test", remedy: "npm ci"},
		{name: "too new a Playwright", files: map[string]string{playwright: version("1.60.0")}, want: "Playwright 1.60.0 does not accept", remedy: `"1.56.1" under devDependencies and under overrides`},
		{name: "too old a Playwright", files: map[string]string{playwright: version("1.45.3")}, want: "Playwright 1.45.3", remedy: "overrides"},
		{name: "Playwright 2", files: map[string]string{playwright: version("2.0.0")}, want: "Playwright 2.0.0", remedy: "overrides"},
		{name: "two Playwrights", files: map[string]string{nested: version("1.61.0")}, want: "a second Playwright (1.61.0 beside 1.56.1)", remedy: "overrides"},
		{name: "half a package", files: map[string]string{appwright: `{"vers`}, want: "is damaged", remedy: "npm ci"},
		{name: "no configuration", files: map[string]string{"appwright.config.ts": "-"}, want: "no appwright.config.ts", remedy: "--playwright-config"},
		{name: "a given one that is not there", given: "nothing.ts", want: "no configuration nothing.ts", remedy: "--playwright-config"},
		{name: "a given one outside", given: "../x.ts", want: "no configuration", remedy: "inside the project"},
	}
	for _, c := range tests {
		dir := t.TempDir()
		for _, files := range []map[string]string{good, c.files} {
			for name, text := range files {
				if text == "-" {
					os.Remove(filepath.Join(dir, name))
					continue
				}
				put(t, filepath.Join(dir, name), text)
			}
		}
		config, err := Inspect(dir, c.given)
		if c.remedy == "" {
			if err != nil || config != c.want {
				t.Errorf("%s: %q, %v", c.name, config, err)
			}
			continue
		}
		e, ok := errors.AsType[*qgjob.Error](err)
		if !ok || e.Kind != qgjob.KindInvalid || !strings.Contains(e.Message, c.want) || !strings.Contains(e.Hint, c.remedy) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestParseMode(t *testing.T) {
	for in, want := range map[string]Mode{"": ModeAuto, "auto": ModeAuto, "hook": ModeHook, "stock": ModeStock} {
		if got, err := ParseMode(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	if _, err := ParseMode("both"); qgjob.KindOf(err) != qgjob.KindInvalid {
		t.Error(err)
	}
}

func drive(t *testing.T, hooked bool) *Drive {
	t.Helper()
	return &Drive{
		Suite:  Suite{Config: "appwright.config.ts", Project: "android", Hooked: hooked},
		Phone:  Phone{Serial: "emulator-5554", Package: "dev.qgjob.notes", Activity: "dev.qgjob.notes.Main", ServerPort: "5555"},
		Server: appium.Running{URL: "http://127.0.0.1:26001", Ports: appium.Ports{Server: 26001, System: 26002, MJPEG: 26003, Chrome: 26004}},
		Work:   filepath.Join(t.TempDir(), "with space"),
	}
}

func TestAppwrightCommand(t *testing.T) {
	tk := task(t, project(t), "tests/a.spec.ts")
	tk.Drive = drive(t, true)
	c, err := Appwright{}.Command(tk)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Join(c.Argv, " ")
	for _, want := range []string{"node node_modules/@playwright/test/cli.js test /^", "--config appwright.config.ts", "--workers 1", "--retries 0", "--timeout 60000",
		"--global-timeout 91000", "--output " + tk.Output, "--reporter list,json,junit"} {
		if !strings.Contains(line, want) {
			t.Errorf("no %q in %q", want, line)
		}
	}
	if !strings.HasSuffix(line, " --project android") || strings.Contains(line, "npx") {
		t.Errorf("argv %q", line)
	}
	for _, want := range []string{`NODE_OPTIONS=--require "` + filepath.Join(tk.Drive.Work, hookName) + `"`, "QGJOB_APPWRIGHT_HOOK=" + filepath.Join(tk.Drive.Work, settingsName),
		"PLAYWRIGHT_HTML_OPEN=never", "CI=true", "QGJOB_JOB_ID=job_7"} {
		if !slices.Contains(c.Env, want) {
			t.Errorf("no %s in %v", want, c.Env)
		}
	}
	tk.Drive.Suite.TestTimeoutMS = 30_000
	if c, err = (Appwright{}).Command(tk); err != nil || strings.Contains(strings.Join(c.Argv, " "), "--timeout 60000") {
		t.Errorf("the project's own timeout is overruled: %q, %v", c.Argv, err)
	}
	tk.Drive = nil
	if _, err := (Appwright{}).Command(tk); err == nil {
		t.Error("a command without a device")
	}
}

func TestAppwrightCommandInStockMode(t *testing.T) {
	tk := task(t, project(t), "tests/a.spec.ts")
	tk.Drive = drive(t, false)
	c, err := Appwright{}.Command(tk)
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(tk.Drive.Work, "bin")
	if !slices.Contains(c.Env, "PATH="+bin+":/usr/bin:/bin") || strings.Contains(strings.Join(c.Env, " "), "NODE_OPTIONS") {
		t.Errorf("env %q", c.Env)
	}
	for _, name := range shims {
		if st, err := os.Stat(filepath.Join(bin, name)); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", name, st, err)
		}
	}
}

func TestNodeOptionsAreAddedTo(t *testing.T) {
	got := withNodeOption([]string{"NODE_OPTIONS=--max-old-space-size=64", "A=1"}, nodeRequire(`/a "b"\c.cjs`))
	if got[len(got)-1] != `NODE_OPTIONS=--max-old-space-size=64 --require "/a \"b\"\\c.cjs"` {
		t.Errorf("%q", got)
	}
}

// TestSessionCapabilities: no session installs anything or can meet another
// one's ports, and only keep sees the past.
func TestSessionCapabilities(t *testing.T) {
	d := drive(t, true)
	for reset, noReset := range map[qgjob.Reset]bool{"": false, qgjob.ResetClear: false, qgjob.ResetReinstall: false, qgjob.ResetKeep: true} {
		set, drop := sessionCapabilities(d.Phone, d.Server.Ports, reset)
		want := map[string]any{
			"appium:udid": "emulator-5554", "appium:systemPort": 26002, "appium:mjpegServerPort": 26003, "appium:chromedriverPort": 26004,
			"appium:suppressKillServer": true, "appium:adbPort": 5555, "appium:appPackage": "dev.qgjob.notes", "appium:appActivity": "dev.qgjob.notes.Main",
			"appium:fullReset": false, "appium:noReset": noReset,
		}
		if noReset {
			want["appium:forceAppLaunch"] = true
		}
		if fmt.Sprint(set) != fmt.Sprint(want) {
			t.Errorf("%q:\n%v\nwant\n%v", reset, set, want)
		}
		if !slices.Contains(drop, "appium:app") {
			t.Errorf("%q drops %q", reset, drop)
		}
	}
	d.Phone.ServerPort = ""
	if _, there := StockDefaults(d.Phone)(d.Server.Ports)["appium:adbPort"]; there {
		t.Error("an adb port that nobody named")
	}
}

func TestHandshake(t *testing.T) {
	patched := func(files ...string) string {
		var b strings.Builder
		for _, f := range files {
			fmt.Fprintf(&b, `{"event":"patched","file":%q,"version":"0.1.1"}`+"\n", f)
		}
		return b.String()
	}
	all := patched(hooked...)
	for _, c := range []struct{ name, text, want string }{
		{"whole", all, ""},
		{"whole, from several processes, one of them killed", all + all + `{"event":"session","ud`, ""},
		{"nothing", "", "did not find AppWright's dist/providers/appium.js"},
		{"no lines of ours", "{}\nnull\n[]\nx\n", "did not find"},
		{"a file is missing", patched(hooked[:2]...), "dist/providers/local/index.js"},
		{"a name is missing", all + `{"event":"misfit","file":"providers/appium.js","version":"0.9.0","missing":["installDriver"]}`, "does not fit AppWright 0.9.0: it has no installDriver in providers/appium.js"},
		{"past the hook", all + `{"event":"escaped","command":"npx appium"}`, `tried to run "npx appium" past the hook`},
	} {
		if got := parseHandshake([]byte(c.text)).misfit(false); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	work := t.TempDir()
	if err := os.Symlink(filepath.Join(work, "elsewhere"), filepath.Join(work, handshakeName)); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(work, "elsewhere"), all)
	if readHandshake(work) != nil || readHandshake(filepath.Join(work, "nothing")) != nil {
		t.Error("a link was followed, or a missing folder read")
	}
}

// TestFault_NoVerdictWithoutTheHook: a green report of a run that the hook was
// not in place for may have tested any build on any device.
func TestFault_NoVerdictWithoutTheHook(t *testing.T) {
	report := func(status string) string {
		return `{"config":{"projects":[]},"suites":[{"title":"a.spec.ts","file":"a.spec.ts","specs":[{"title":"t","file":"a.spec.ts","line":1,"column":1,"ok":` +
			fmt.Sprint(status == "passed") + `,"tests":[{"projectName":"android","expectedStatus":"passed","status":"` + map[string]string{"passed": "expected", "failed": "unexpected"}[status] +
			`","results":[{"status":"` + status + `","duration":5,"retry":0,"errors":[],"attachments":[]}]}]}]}],"errors":[],"stats":{"expected":` +
			fmt.Sprint(strings.Count(status, "passed")) + `,"unexpected":` + fmt.Sprint(strings.Count(status, "failed")) + `,"flaky":0,"skipped":0}}`
	}
	var good strings.Builder
	for _, f := range hooked {
		fmt.Fprintf(&good, `{"event":"patched","file":%q}`+"\n", f)
	}
	for _, c := range []struct {
		name, status, handshake string
		hooked                  bool
		outcome                 qgjob.Outcome
	}{
		{"passed, in place", "passed", good.String(), true, qgjob.OutcomePassed},
		{"passed, not in place", "passed", "", true, qgjob.OutcomeErrored},
		{"failed, not in place", "failed", "", true, qgjob.OutcomeErrored},
		{"failed, in place", "failed", good.String(), true, qgjob.OutcomeFailed},
		{"passed in stock mode", "passed", "", false, qgjob.OutcomePassed},
	} {
		tk := task(t, t.TempDir(), "a.spec.ts")
		tk.Drive = drive(t, c.hooked)
		put(t, filepath.Join(tk.Report, resultsJSON), report(c.status))
		put(t, filepath.Join(tk.Drive.Work, handshakeName), c.handshake)
		code := 0
		if c.status == "failed" {
			code = 1
		}
		if got := (Appwright{}).Judge(tk, exited(code)); got.Outcome != c.outcome {
			t.Errorf("%s: %s (%s) %s", c.name, got.Outcome, got.Reason, got.Message)
		}
	}
}

func TestChooseAProject(t *testing.T) {
	list := func(names ...string) listing {
		var l listing
		text := `{"config":{"projects":[`
		for i, n := range names {
			text += strings.Repeat(",", min(i, 1)) + fmt.Sprintf(`{"name":%q,"timeout":%d}`, n, 1000*(i+1))
		}
		unmarshal(t, text+`]}}`, &l)
		return l
	}
	for _, c := range []struct {
		name, asked string
		list        listing
		want        string
		timeout     int64
	}{
		{"the only one", "", list("android"), "android", 1000},
		{"the one asked for", "ios", list("android", "ios"), "ios", 2000},
		{"two and none asked for", "", list("android", "ios"), `2 projects: "android", "ios"`, 0},
		{"one that is not there", "web", list("android"), `no project "web", but "android"`, 0},
		{"one without a name", "", list(""), "has no name", 0},
		{"none at all", "", list(), "has 0 projects", 0},
	} {
		s := Suite{Config: "c.ts"}
		err := (Appwright{Project: c.asked}).choose(&s, c.list)
		if c.timeout > 0 {
			if err != nil || s.Project != c.want || s.TestTimeoutMS != c.timeout {
				t.Errorf("%s: %+v, %v", c.name, s, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func FuzzHandshake(f *testing.F) {
	f.Add([]byte(`{"event":"patched","file":"providers/appium.js"}`))
	f.Add([]byte("{\n\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if parseHandshake(text).misfit(false) == "" {
			for _, file := range hooked {
				if !strings.Contains(strings.ToLower(string(text)), "patched") {
					t.Errorf("%s is taken for patched in %q", file, text)
				}
			}
		}
	})
}
