package cli

import (
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

func TestSubmitSendsWhatWasAsked(t *testing.T) {
	f := newFake(t)
	p := newProgram(t, f.URL)
	for _, name := range []string{"tests/a.spec.js", "tests/deep/b.spec.js", "tests/c.txt", "node_modules/x/d.spec.js", "other.spec.js"} {
		p.write(name, "")
	}
	code, out, err := p.run("submit", "--org-id=qualgent", "--app-version-id=xyz123", "--test=tests/**/*.spec.js", "--test=tests/a.spec.js", "--test=not/here.js",
		"--target=device", "--priority=high", "--retries=2", "--reset=keep", "--timeout=90s", "--requires=platform=android,os=14", "--requires=model=pixel8", "--label=branch=main")
	if code != 0 || err != "" || !strings.HasSuffix(out, "Run submitted: run_1 (3 jobs)\n") {
		t.Fatalf("%d %q %q", code, out, err)
	}
	req := f.submits[0]
	var tests []string
	for _, j := range req.Jobs {
		tests = append(tests, j.TestPath)
	}
	if !slices.Equal(tests, []string{"tests/a.spec.js", "tests/deep/b.spec.js", "not/here.js"}) {
		t.Errorf("tests %q", tests)
	}
	j := req.Jobs[0]
	if req.OrgID != "qualgent" || j.AppVersionID != "xyz123" || j.Target != qgjob.TargetDevice || j.Priority != 8 || j.Retries != 2 || j.Reset != qgjob.ResetKeep || j.TimeoutS != 90 ||
		qgjob.LabelText(j.Requires) != "model=pixel8,os=14,platform=android" || req.Labels["branch"] != "main" || j.BundleSHA256 != "" {
		t.Errorf("sent %+v", req)
	}
}

func TestSubmitDefaults(t *testing.T) {
	f := newFake(t)
	newProgram(t, f.URL).run("submit", "--org-id=o", "--app-version-id=v", "--test=a.js")
	j := f.submits[0].Jobs[0]
	if j.Target != qgjob.TargetEmulator || j.Priority != 1 || j.Retries != 0 || j.Reset != "" || j.TimeoutS != 1800 { // an older server knows no reset
		t.Errorf("sent %+v", j)
	}
}

func TestSubmitIdempotencyKey(t *testing.T) {
	f := newFake(t)
	args := []string{"submit", "--org-id=o", "--app-version-id=v", "--test=a.js", "--idempotency-key=build-7"}
	_, first, _ := newProgram(t, f.URL).run(args...)
	code, second, err := newProgram(t, f.URL).run(args...)
	if code != 0 || first != second || len(f.submits) != 1 || !strings.Contains(err, "used before") {
		t.Errorf("%d: %q then %q, %d submits, %q", code, first, second, len(f.submits), err)
	}
}

// TestSubmitSurvivesALostAnswer: the answer to the first submit is lost; the
// second one, with the same key, gives the same job.
func TestSubmitSurvivesALostAnswer(t *testing.T) {
	f := newFake(t)
	lost := false
	f.deny = func(w http.ResponseWriter, r *http.Request) bool {
		if lost || r.Method != http.MethodPost {
			return false
		}
		lost = true
		f.mu.Lock()
		f.submit(discard{}, r)
		f.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	p := newProgram(t, f.URL)
	p.env = append(p.env, "QGJOB_RETRY_FOR=20s")
	if code, out, err := p.run("submit", "--org-id=o", "--app-version-id=v", "--test=a.js"); code != 0 || out != "Job submitted: job_1\n" || len(f.jobs) != 1 {
		t.Errorf("%d %q %q, %d jobs", code, out, err, len(f.jobs))
	}
}

// discard is an answer that never arrives.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

func TestSubmitAppIsSentOnce(t *testing.T) {
	f := newFake(t)
	for i, want := range []string{"app build shop.apk: 9 B sent", "app build shop.apk: the server has it already, nothing was sent"} {
		p := newProgram(t, f.URL)
		p.write("build/shop.apk", "app bytes")
		code, _, err := p.run("submit", "--org-id=o", "--app-version-id=v", "--test=a.js", "--app=build/shop.apk")
		if code != 0 || !strings.Contains(err, want) || f.requests("PATCH") != 1 || len(f.apps) != i+1 || f.apps[i].FileName != "shop.apk" {
			t.Errorf("time %d: %d %q, %d chunks, apps %+v", i+1, code, err, f.requests("PATCH"), f.apps)
		}
	}
}

func TestAppUpload(t *testing.T) {
	f := newFake(t)
	p := newProgram(t, f.URL)
	p.write("shop.apk", "app bytes")
	code, out, err := p.run("app", "upload", "--org-id=o", "--app-version-id=v", "shop.apk")
	if code != 0 || !strings.HasPrefix(out, "App uploaded: v of o (9 B, sha256 ") {
		t.Errorf("%d %q %q", code, out, err)
	}
	for args, want := range map[string]string{
		"app upload --app-version-id=v shop.apk":        "--org-id",
		"app upload --org-id=o shop.apk":                "--app-version-id",
		"app upload --org-id=o --app-version-id=v none": "none",
		"app upload --org-id=o --app-version-id=v .":    "is not a file",
		"app upload --org-id=o --app-version-id=v e":    "is empty",
		"app upload --org-id=o --app-version-id=v":      "accepts 1 arg",
	} {
		p := newProgram(t, f.URL)
		p.write("e", "")
		if code, out, err := p.run(strings.Fields(args)...); code != 2 || out != "" || !strings.Contains(err, want) {
			t.Errorf("%s: %d %q %q", args, code, out, err)
		}
	}
}

// TestSubmitBundle packs what git would keep, expands globs in the bundle, and
// ties the jobs to it.
func TestSubmitBundle(t *testing.T) {
	f := newFake(t)
	bundle := func(args ...string) (*program, int, string, string) {
		p := newProgram(t, f.URL)
		if err := os.RemoveAll(p.dir + "/.git"); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("git", "-C", p.dir, "init", "-q").CombinedOutput(); err != nil {
			t.Skipf("no git: %v %s", err, out)
		}
		for name, text := range map[string]string{
			"e2e/tests/a.spec.js": "a", "e2e/tests/b.spec.js": "b", "e2e/tests/draft.spec.js": "ignored", "e2e/.gitignore": "draft*\n",
			"e2e/node_modules/x/c.spec.js": "c", "e2e/.env": "TOKEN=1",
		} {
			p.write(name, text)
		}
		code, out, err := p.run(append([]string{"submit", "--org-id=o", "--app-version-id=v", "--bundle=e2e"}, args...)...)
		return p, code, out, err
	}
	_, code, out, err := bundle("--test=**/*.spec.js")
	if code != 0 || !strings.HasSuffix(out, "(2 jobs)\n") || !strings.Contains(err, "test bundle: ") || !strings.Contains(err, "1 .env file left out") {
		t.Fatalf("%d %q %q", code, out, err)
	}
	sum := f.submits[0].Jobs[0].BundleSHA256
	if !f.blob(string(sum)).Complete || f.submits[0].Jobs[1].BundleSHA256 != sum || f.submits[0].Jobs[1].TestPath != "tests/b.spec.js" {
		t.Errorf("bundle %s, jobs %+v", sum, f.submits[0].Jobs)
	}
	if _, code, _, err := bundle("--test=tests/a.spec.js"); code != 0 || !strings.Contains(err, "nothing was sent") {
		t.Errorf("the same bundle again: %d %q", code, err)
	}
	for _, missing := range []string{"tests/draft.spec.js", "tests/none.spec.js", "node_modules/**/*.js", "e2e/tests/a.spec.js", "../x.js"} {
		if _, code, out, err := bundle("--test=" + missing); code != 2 || out != "" || !strings.Contains(err, "--test") {
			t.Errorf("%s: %d %q %q", missing, code, out, err)
		}
	}
}

func TestExpand(t *testing.T) {
	p := newProgram(t, "")
	for _, name := range []string{"tests/a.spec.js", "tests/[id].spec.js", "tests/sub/b.spec.ts", "tests/sub/c.spec.js", "x/node_modules/y/d.spec.js", ".git/e.spec.js"} {
		p.write(name, "")
	}
	here, closing, err := workingDir(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closing()
	for _, test := range []struct{ in, want string }{
		{"tests/*.spec.js", "tests/[id].spec.js tests/a.spec.js"},
		{"./tests/*.spec.js", "tests/[id].spec.js tests/a.spec.js"},
		{"tests/**/*.spec.{js,ts}", "tests/[id].spec.js tests/a.spec.js tests/sub/b.spec.ts tests/sub/c.spec.js"},
		{"**/*.spec.js", "tests/[id].spec.js tests/a.spec.js tests/sub/c.spec.js"},
		{"tests/[id].spec.js", "tests/[id].spec.js"},
		{"tests/sub/?.spec.js", "tests/sub/c.spec.js"},
		{"tests/sub/../a.spec.js", "tests/a.spec.js"},
		{"tests/none.spec.js", "tests/none.spec.js"},
		{"*.none", ""}, {"tests", ""}, {"tests/[", ""}, {"../*", ""}, {"/etc/*", ""},
	} {
		got, err := here.expand([]string{test.in})
		if strings.Join(got, " ") != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%q: %q, %v; want %q", test.in, got, err, test.want)
		}
	}
	got, err := here.expand([]string{"tests/a.spec.js", "tests/*.js", "tests/a.spec.js"})
	if err != nil || strings.Join(got, " ") != "tests/a.spec.js tests/[id].spec.js" {
		t.Errorf("each file once: %q, %v", got, err)
	}
}

// TestExpandStaysInside: a glob through a link shows nothing of what lies
// outside.
func TestExpandStaysInside(t *testing.T) {
	p := newProgram(t, "")
	outside := t.TempDir()
	if err := os.WriteFile(outside+"/secret.spec.js", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, p.dir+"/link"); err != nil {
		t.Skip(err)
	}
	here, closing, err := workingDir(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closing()
	for _, glob := range []string{"link/*.js", "**/*.js"} {
		if got, err := here.expand([]string{glob}); err == nil {
			t.Errorf("%s shows %q", glob, got)
		}
	}
}
