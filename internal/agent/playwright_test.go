//go:build unix

package agent

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/device"
)

// shopExample is a project with npm packages.
const shopExample = "../../examples/shop"

// needPlaywright skips without Playwright, loudly where it must be there.
func needPlaywright(t *testing.T) (modules string) {
	t.Helper()
	modules, err := filepath.Abs(filepath.Join(shopExample, "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(filepath.Join(modules, "@playwright", "test", "cli.js"))
	if err == nil {
		return modules
	}
	if os.Getenv("QGJOB_REQUIRE_BROWSER") == "1" {
		t.Fatalf("NOT TESTED: %v: run npm ci in examples/shop", err)
	}
	t.Skipf("NOT TESTED here: %v: run npm ci in examples/shop", err)
	return ""
}

func needChromium(t *testing.T) {
	t.Helper()
	path, err := device.FindChromium(os.Getenv("QGJOB_CHROMIUM"))
	if err == nil && path != "" {
		return
	}
	if os.Getenv("QGJOB_REQUIRE_BROWSER") == "1" {
		t.Fatalf("NOT TESTED: no Chromium: %v", err)
	}
	t.Skip("NOT TESTED here: no Chromium")
}

const miniConfig = `module.exports = { use: {
	launchOptions: { executablePath: process.env.QGJOB_CHROMIUM, args: ['--no-sandbox', '--disable-gpu'] },
	screenshot: 'only-on-failure', trace: 'retain-on-failure', baseURL: process.env.BASE_URL } };`

// browserRig is a rig with the playwright runner and a project that links to
// the example's packages.
func browserRig(t *testing.T) *rig {
	t.Helper()
	modules := needPlaywright(t)
	r := newRig(t)
	r.config.Target, r.config.Runner, r.config.ExecArgv = qgjob.TargetBrowser, "playwright", nil
	if err := os.Symlink(modules, filepath.Join(r.dir, "project", "node_modules")); err != nil {
		t.Fatal(err)
	}
	r.test(t, "playwright.config.js", miniConfig)
	return r
}

func zipOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, name := range qgjob.SortedKeys(files) {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(files[name]))
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestPlaywrightRunsExactlyOneFile: names that a pattern would also match do
// not run. No browser is needed.
func TestPlaywrightRunsExactlyOneFile(t *testing.T) {
	r := browserRig(t)
	spec := `const { test, expect } = require('@playwright/test');
		test('one', async () => { console.log('ran ' + __filename); });`
	job := r.test(t, "tests/a.spec.js", spec)
	for _, decoy := range []string{"xtests/aXspec.js", "tests/aXspec.js", "tests/A.spec.js", "more/tests/a.spec.js", "tests/a.spec.jsx.spec.js"} {
		r.test(t, decoy, spec)
	}
	l := r.submit(job, nil)
	r.begin(t)
	got := r.result(t, l)
	want(t, got, qgjob.OutcomePassed, "")
	if len(got.Tests) != 1 || got.Tests[0].File != "tests/a.spec.js" || got.Tests[0].Title[0] != "one" {
		t.Errorf("tests %+v", got.Tests)
	}
	if n := strings.Count(string(l.log), "ran /"); n != 1 {
		t.Errorf("%d files ran:\n%s", n, l.log)
	}
	if got.Install != qgjob.InstallNone {
		t.Errorf("install %q of an app version without a build", got.Install)
	}
	if _, ok := l.artifacts["report/results.json"]; !ok {
		t.Errorf("artifacts %v", l.artifacts)
	}
}

// TestPlaywrightVerdicts without a browser: no tests, and a hanging one.
func TestPlaywrightVerdicts(t *testing.T) {
	const head = "const { test } = require('@playwright/test');\n"
	cases := []struct {
		name, spec string
		timeout    int64
		outcome    qgjob.Outcome
		reason     qgjob.Reason
	}{
		{"empty", head, 0, qgjob.OutcomeErrored, qgjob.ReasonNoTests},
		{"hangs", head + "test('for ever', async () => { test.setTimeout(0); await new Promise(() => setInterval(() => {}, 1000)); });", 4, qgjob.OutcomeFailed, qgjob.ReasonTimeout},
	}
	r := browserRig(t)
	leases := make([]*fakeLease, len(cases))
	for i, c := range cases {
		job := r.test(t, "tests/"+c.name+".spec.js", c.spec)
		job.TimeoutS = c.timeout
		leases[i] = r.submit(job, nil)
	}
	r.begin(t)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) { want(t, r.result(t, leases[i]), c.outcome, c.reason) })
	}
}

// TestPlaywrightInARealBrowser: an installed app version is what the tests
// see; a failing one leaves a screenshot and a trace that are its own.
func TestPlaywrightInARealBrowser(t *testing.T) {
	needChromium(t)
	r := browserRig(t)
	build := zipOf(t, map[string]string{"index.html": "<!doctype html><title>shop</title><h1>Version one</h1>"})
	app := &qgjob.App{SHA256: r.upload(build), FileName: "shop.zip"}
	const spec = `const { test, expect } = require('@playwright/test');
		test('sees the app', async ({ page }) => { await page.goto('/'); await expect(page.locator('h1')).toHaveText('%', { timeout: 1000 }); });`
	good := r.submit(r.test(t, "good.spec.js", strings.ReplaceAll(spec, "%", "Version one")), app)
	bad := r.submit(r.test(t, "bad.spec.js", strings.ReplaceAll(spec, "%", "Version two")), app)
	r.begin(t)
	first, second := r.result(t, good), r.result(t, bad)
	want(t, first, qgjob.OutcomePassed, "")
	want(t, second, qgjob.OutcomeFailed, qgjob.ReasonAssertion)
	if first.Install != qgjob.InstallDone || second.Install != qgjob.InstallAvoided {
		t.Errorf("installs %q, %q", first.Install, second.Install)
	}
	if len(second.Tests) != 1 || len(second.Tests[0].Attachment) < 2 {
		t.Fatalf("tests %+v", second.Tests)
	}
	kinds := map[string]bool{}
	for _, name := range second.Tests[0].Attachment {
		a, ok := bad.artifacts[name]
		if !ok || len(r.blobs[a.SHA256]) == 0 {
			t.Errorf("the attachment %s was not uploaded", name)
		}
		kinds[filepath.Ext(name)] = true
	}
	if !kinds[".png"] || !kinds[".zip"] {
		t.Errorf("attachments %v, want a screenshot and a trace", second.Tests[0].Attachment)
	}
}

// TestPlaywrightCancelled: SIGINT makes Playwright leave; it is no verdict.
func TestPlaywrightCancelled(t *testing.T) {
	r := browserRig(t)
	l := r.submit(r.test(t, "a.spec.js", `const { test } = require('@playwright/test');
		test('long', async () => { console.log('runs now'); test.setTimeout(0); await new Promise(() => setInterval(() => {}, 1000)); });`), nil)
	r.begin(t)
	r.logHas(t, l, "runs now")
	r.change(func() { l.cancel = true })
	want(t, r.result(t, l), qgjob.OutcomeCancelled, qgjob.ReasonCancelled)
}
