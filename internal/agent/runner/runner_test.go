//go:build unix

package runner

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/proc"
)

// project makes a folder with the files of a test project.
func project(t *testing.T, files ...string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func task(t *testing.T, dir, testPath string) Task {
	t.Helper()
	return Task{
		Job:    qgjob.Job{JobID: 7, RunID: 3, OrgID: "qualgent", AppVersionID: "v 1", TestPath: testPath},
		Number: 2, Agent: "a1", Project: dir, Report: t.TempDir(), Output: t.TempDir(),
		Env: []string{"PATH=/usr/bin:/bin", "BASE_URL=http://127.0.0.1:1/"}, Timeout: time.Minute, Grace: time.Second,
	}
}

func exited(code int) Ending { return Ending{Result: proc.Result{End: proc.Exited, ExitCode: code}} }

func TestExecAppendsNothing(t *testing.T) {
	argv := []string{"./run test", "--flag", "$(evil)"}
	c, err := Exec{Argv: argv}.Command(task(t, "/project", "tests/a.js"))
	if err != nil || !slices.Equal(c.Argv, argv) || c.Dir != "/project" || c.Grace != time.Second {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, want := range []string{"QGJOB_JOB_ID=job_7", "QGJOB_RUN_ID=run_3", "QGJOB_TEST_PATH=tests/a.js", "QGJOB_APP_VERSION_ID=v 1", "QGJOB_AGENT=a1",
		"QGJOB_ATTEMPT=2", "QGJOB_ORG_ID=qualgent", "BASE_URL=http://127.0.0.1:1/"} {
		if !slices.Contains(c.Env, want) {
			t.Errorf("no %s in %v", want, c.Env)
		}
	}
}

// TestFault_NoEndingWithoutVerdictPasses: of all ways to end, only exit code
// 0 can be a pass.
func TestFault_NoEndingWithoutVerdictPasses(t *testing.T) {
	tests := []struct {
		name    string
		ending  Ending
		outcome qgjob.Outcome
	}{
		{"exit 0", exited(0), qgjob.OutcomePassed},
		{"exit 1", exited(1), qgjob.OutcomeFailed},
		{"exit 75", exited(75), qgjob.OutcomeErrored},
		{"zero value", Ending{}, qgjob.OutcomeErrored},
		{"not started", Ending{Result: proc.Result{End: proc.NotStarted, Err: errors.New("no such program")}}, qgjob.OutcomeErrored},
		{"signal", Ending{Result: proc.Result{End: proc.Signalled, Signal: "SIGSEGV"}}, qgjob.OutcomeErrored},
		{"lost end", Ending{Result: proc.Result{End: proc.Exited, Err: errors.New("the init died")}}, qgjob.OutcomeErrored},
		{"stopped, code 0", Ending{Result: proc.Result{End: proc.Stopped}}, qgjob.OutcomeErrored},
		{"timeout, code 0", Ending{Result: proc.Result{End: proc.Stopped}, TimedOut: true}, qgjob.OutcomeFailed},
		{"cancelled, code 0", Ending{Result: proc.Result{End: proc.Stopped}, Cancelled: true}, qgjob.OutcomeCancelled},
		{"returned, code 0", Ending{Result: proc.Result{End: proc.Stopped}, Returned: true}, qgjob.OutcomeInterrupted},
		{"ended by itself just before the timeout", Ending{Result: proc.Result{End: proc.Exited, ExitCode: 1}, TimedOut: true}, qgjob.OutcomeFailed},
	}
	for _, c := range tests {
		if got := (Exec{}).Judge(task(t, "/p", "a.js"), c.ending); got.Outcome != c.outcome {
			t.Errorf("exec, %s: %s (%s), want %s", c.name, got.Outcome, got.Message, c.outcome)
		}
		// Playwright leaves a report or has said nothing.
		if got := (Playwright{}).Judge(task(t, "/p", "a.js"), c.ending); got.Outcome == qgjob.OutcomePassed {
			t.Errorf("playwright without a report, %s: passed", c.name)
		}
	}
}

// TestReportsAreReadInsideTheirFolder only, and only files.
func TestReportsAreReadInsideTheirFolder(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "results.json")
	passing := `{"config":{},"suites":[],"errors":[],"stats":{"expected":0,"unexpected":0,"flaky":0,"skipped":0}}`
	if err := os.WriteFile(outside, []byte(passing), 0o600); err != nil {
		t.Fatal(err)
	}
	put := map[string]func(path string) error{
		"link":   func(path string) error { return os.Symlink(outside, path) },
		"folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"empty":  func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"half":   func(path string) error { return os.WriteFile(path, []byte(passing[:40]), 0o600) },
		"huge": func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, maxReport+1))
		},
		"none": func(string) error { return nil },
	}
	for name, do := range put {
		tk := task(t, "/p", "a.js")
		if err := do(filepath.Join(tk.Report, resultsJSON)); err != nil {
			t.Fatal(err)
		}
		got := Playwright{}.Judge(tk, exited(0))
		if got.Outcome != qgjob.OutcomeErrored || got.Reason != qgjob.ReasonNoReport {
			t.Errorf("%s: %s(%s) %s", name, got.Outcome, got.Reason, got.Message)
		}
	}
}

func TestTooManyJUnitFiles(t *testing.T) {
	tk := task(t, "/p", "a.js")
	for i := range maxJUnitFiles + 1 {
		name := filepath.Join(tk.Report, strings.Repeat("x", i+1)+".XML")
		if err := os.WriteFile(name, []byte(`<testsuite tests="1"><testcase name="a"/></testsuite>`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := (Exec{}).Judge(tk, exited(0)); got.Outcome != qgjob.OutcomeErrored {
		t.Errorf("%s %s", got.Outcome, got.Message)
	}
}

// TestFileArgumentMatchesOneFile as Playwright reads it: what stands between
// slashes is the regular expression, on the absolute path.
func TestFileArgumentMatchesOneFile(t *testing.T) {
	for _, path := range []string{"tests/a.spec.js", "a+b(c)[d].js", "tests/$x^y|z.js", "sub/deep/ä.spec.ts"} {
		arg := fileArgument("/home/u.x/project", path)
		inner, ok := strings.CutPrefix(arg, "/")
		inner, ok2 := strings.CutSuffix(inner, "/")
		if !ok || !ok2 {
			t.Fatalf("%q is no expression", arg)
		}
		re := regexp.MustCompile(inner)
		full := "/home/u.x/project/" + path
		if !re.MatchString(full) {
			t.Errorf("%s does not match itself", path)
		}
		for _, other := range []string{"/x" + full, full + ".js", strings.ToUpper(full), strings.Replace(full, ".", "X", 1), "/home/u.x/project/other/" + path} {
			if other != full && re.MatchString(other) {
				t.Errorf("%s matches %s", path, other)
			}
		}
	}
}

func TestPlaywrightCommand(t *testing.T) {
	dir := project(t, playwrightCLI, "tests/a.spec.js")
	tk := task(t, dir, "tests/a.spec.js")
	c, err := Playwright{Config: "ci.config.js"}.Command(tk)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Join(c.Argv, " ")
	if !strings.HasPrefix(line, "node node_modules/@playwright/test/cli.js test /^") {
		t.Errorf("argv %q", line)
	}
	for _, want := range []string{"--workers 1", "--retries 0", "--output " + tk.Output, "--reporter list,json,junit", "--config ci.config.js", "--global-timeout 91000"} {
		if !strings.Contains(line, want) {
			t.Errorf("no %q in %q", want, line)
		}
	}
	for _, want := range []string{"CI=true", "FORCE_COLOR=0", "PLAYWRIGHT_HTML_OPEN=never", "PLAYWRIGHT_JSON_OUTPUT_NAME=" + filepath.Join(tk.Report, "results.json"),
		"PLAYWRIGHT_JUNIT_OUTPUT_NAME=" + filepath.Join(tk.Report, "results.xml"), "QGJOB_JOB_ID=job_7", "BASE_URL=http://127.0.0.1:1/"} {
		if !slices.Contains(c.Env, want) {
			t.Errorf("no %s in %v", want, c.Env)
		}
	}
}

func TestPlaywrightThatIsNotInstalled(t *testing.T) {
	dir := project(t, "tests/a.spec.js")
	_, err := Playwright{}.Command(task(t, dir, "tests/a.spec.js"))
	if qgjob.KindOf(err) != qgjob.KindInvalid || !strings.Contains(err.Error(), "npm ci") {
		t.Errorf("%v", err)
	}
}

func TestEnvIsAnAllowList(t *testing.T) {
	base := []string{"PATH=/bin", "HOME=/h", "LC_ALL=C", "QGJOB_TOKEN=s", "AWS_SECRET_ACCESS_KEY=s", "GITHUB_TOKEN=s", "npm_config_registry=r", "NPM_CONFIG_X=y", "MINE=1", "=odd", "QGJOB_SERVER=x"}
	got := Env(base, []string{"MINE", "QGJOB_TOKEN"})
	if !slices.Equal(got, []string{"PATH=/bin", "HOME=/h", "LC_ALL=C", "MINE=1"}) {
		t.Errorf("tests see %v", got)
	}
	if got := SetupEnv(base, nil); !slices.Equal(got, []string{"PATH=/bin", "HOME=/h", "LC_ALL=C", "npm_config_registry=r", "NPM_CONFIG_X=y"}) {
		t.Errorf("npm sees %v", got)
	}
	for _, bad := range []string{"QGJOB_TOKEN", "qgjob_token", "", "A=B", "A\x00"} {
		if err := CheckPassEnv([]string{"OK", bad}); qgjob.KindOf(err) != qgjob.KindInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
