package cli

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

// TestCommands is the plain use of every command: exact answers and codes.
func TestCommands(t *testing.T) {
	for _, test := range []struct {
		name string
		args string
		code int
		out  string // the whole of stdout
		err  string // a part of stderr; "" wants none
	}{
		{"submit one", "submit --org-id=qualgent --app-version-id=xyz123 --test=tests/onboarding.spec.js", 0, "Job submitted: job_13\n", ""},
		{"submit by argument", "submit --org-id=qualgent --app-version-id=xyz123 tests/a.js ./tests/b.js", 0,
			"Job submitted: job_13\nJob submitted: job_14\nRun submitted: run_3 (2 jobs)\n", ""},
		{"status", "status --job-id=job_1", 0, "Job job_1 status: passed\n", ""},
		{"status bare", "status job_12", 0, "Job job_12 status: queued\n", ""},
		{"status of a run", "status run_1", 0, "Run run_1 status: failed (1 passed, 1 failed of 2)\n", ""},
		{"status of a run by flag", "status --run-id=run_2", 0, "Run run_2 status: running (10 queued of 10)\n", ""},
		{"unknown job", "status --job-id=job_99", 2, "", "qgjob: job job_99 is not known\n"},
		{"unknown run", "wait run_99", 2, "", "qgjob: run run_99 is not known\n"},
		{"malformed job", "status --job-id=7", 2, "", `--job-id: job_id "7" is not of the form job_1`},
		{"no id", "status", 2, "", "name one job or run"},
		{"two ids", "status job_1 --job-id=job_2", 2, "", "only one"},
		{"cancel", "cancel job_3", 0, "Job job_3 status: cancelling\n", ""},
		{"cancel twice", "cancel job_1", 2, "", "job_1 has ended already: passed"},
		{"cancel a run", "cancel --run-id=run_2", 0, "Run run_2 status: cancelled (10 cancelled of 10)\n", ""},
		{"retry", "retry run_1", 0, "Job submitted: job_13\n", ""},
		{"wait for what has ended", "wait job_1", 0, "", "passed     job_1"},
		{"logs", "logs job_1", 0, "line one\n\x1b[31mred\x1b[0m\x1b]0;title\x07\n", ""},
		{"logs follow", "logs -f job_1", 0, "one\ntwo\n", "qgjob: job_1: attempt 2 begins\n"},
		{"logs of a run", "logs run_1", 2, "", "logs are of a job"},
		{"drain", "agents drain a1", 0, "Agent a1 status: draining\n", ""},
		{"undrain", "agents undrain a1", 0, "Agent a1 status: idle\n", ""},
		{"drain whom", "agents drain a9", 2, "", "agent a9 is not known"},
		{"report to stdout", "report run_1 --junit=-", 0, "<testsuites/>\n", ""},
		{"no such command", "sumbit", 2, "", "did you mean submit?"},
		{"no such flag", "list --colour", 2, "", "unknown flag: --colour (see qgjob list --help)"},
		{"bad status", "list --status=done", 2, "", "--status"},
		{"bad limit", "list --limit=-1", 2, "", "--limit"},
		{"bad server", "list --server=localhost:8000", 2, "", "--server"},
		{"wait flags without wait", "submit --org-id=o --app-version-id=v --test=a.js --junit=x.xml", 2, "", "--junit: only with --wait"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t)
			f.log = "line one\n\x1b[31mred\x1b[0m\x1b]0;title\x07\n"
			f.agents = []qgjob.Agent{{AgentID: "a1", Target: qgjob.TargetBrowser, Status: qgjob.AgentIdle}}
			f.plain("tests/a.spec.js", "tests/b.spec.js")
			f.end(1, qgjob.Passed, "", "")
			f.end(2, qgjob.Failed, qgjob.ReasonAssertion, "expected 2")
			f.plain(strings.Split("1 2 3 4 5 6 7 8 9 10", " ")...)
			code, out, err := newProgram(t, f.URL).run(strings.Fields(test.args)...)
			if strings.HasPrefix(test.args, "wait job") {
				out = ""
			}
			if code != test.code || out != test.out || !strings.Contains(err, test.err) || (test.err == "" && err != "") {
				t.Errorf("code %d, want %d\nstdout %q\n  want %q\nstderr %q\n  want %q", code, test.code, out, test.out, err, test.err)
			}
			if code == 2 && strings.Count(err, "\n") != 1 {
				t.Errorf("not one line: %q", err)
			}
		})
	}
}

// TestUsageErrorsNameTheFlag: the flag, what is wrong, what is allowed; and
// nothing is sent.
func TestUsageErrorsNameTheFlag(t *testing.T) {
	f := newFake(t)
	long := strings.Repeat("x", 600)
	for _, test := range []struct{ args, flag, why string }{
		{"--app-version-id=v --test=a.js", "--org-id", "QGJOB_ORG"},
		{"--org-id=o --test=a.js", "--app-version-id", "xyz123"},
		{"--org-id=o --app-version-id=v", "--test", "tests/"},
		{"--org-id=" + long + " --app-version-id=v --test=a.js", "--org-id", "allowed: 128"},
		{"--org-id=o --app-version-id=v --test=a.js --target=toaster", "--target", "emulator, device, browserstack, browser"},
		{"--org-id=o --app-version-id=v --test=a.js --priority=0", "--priority", "1 to 10"},
		{"--org-id=o --app-version-id=v --test=a.js --priority=11", "--priority", "1 to 10"},
		{"--org-id=o --app-version-id=v --test=a.js --priority=soon", "--priority", "urgent"},
		{"--org-id=o --app-version-id=v --test=a.js --retries=11", "--retries", "0 to 10"},
		{"--org-id=o --app-version-id=v --test=a.js --retries=-1", "--retries", "0 to 10"},
		{"--org-id=o --app-version-id=v --test=a.js --retries=two", "--retries", "two"},
		{"--org-id=o --app-version-id=v --test=a.js --timeout=10", "--timeout", "unit"},
		{"--org-id=o --app-version-id=v --test=a.js --timeout=25h", "--timeout", "24h"},
		{"--org-id=o --app-version-id=v --test=a.js --timeout=10ms", "--timeout", "1s"},
		{"--org-id=o --app-version-id=v --test=a.js --requires=android", "--requires", "key=value"},
		{"--org-id=o --app-version-id=v --test=a.js --requires=os=13 --requires=os=14", "--requires", "twice"},
		{"--org-id=o --app-version-id=v --test=a.js --label==x", "--label", "key=value"},
		{"--org-id=o --app-version-id=v --test=a.js --idempotency-key=ü", "--idempotency-key", "ASCII"},
		{"--org-id=o --app-version-id=v --test=a.js --app=none.apk", "--app", "none.apk"},
		{"--org-id=o --app-version-id=v --test=a.js --bundle=nowhere", "--bundle", "nowhere"},
		{"--org-id=o --app-version-id=v --test=../a.js", "--test", ".."},
		{"--org-id=o --app-version-id=v --test=/etc/passwd", "--test", "absolute"},
		{"--org-id=o --app-version-id=v --test=--config=evil.js", "--test", "begins with -"},
		{"--org-id=o --app-version-id=v --test=" + long, "--test", "512"},
		{"--org-id=o --app-version-id=v --test=no/such/*.js", "--test", "no file matches"},
		{"--org-id=o --app-version-id=v --test=folder", "--test", "folder/**/*.spec.js"},
		{"--org-id=o --app-version-id=v --test=folder/[.js", "--test", "cannot be read|pattern"},
		{"--org-id=o --app-version-id=v --test=a.js --wait --wait-timeout=-1s", "--wait-timeout", "less"},
		{"--org-id=o --app-version-id=v --test=a.js --fail-on-flaky=maybe", "--fail-on-flaky", "maybe"},
	} {
		p := newProgram(t, f.URL)
		p.write("folder/x.txt", "")
		code, out, err := p.run(append([]string{"submit"}, strings.Fields(test.args)...)...)
		why := false
		for w := range strings.SplitSeq(test.why, "|") {
			why = why || strings.Contains(err, w)
		}
		if code != 2 || out != "" || !strings.HasPrefix(err, "qgjob: ") || !strings.Contains(err, test.flag) || !why || strings.Count(err, "\n") != 1 {
			t.Errorf("%s: code %d, stdout %q, stderr %q; want 2 and %s … %s", test.args, code, out, err, test.flag, test.why)
		}
	}
	if n := len(f.submits); n != 0 {
		t.Errorf("%d submits reached the server", n)
	}
}

func TestServerDown(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	for _, args := range []string{"status job_1", "submit --org-id=o --app-version-id=v --test=a.js", "list", "wait run_1", "agents", "logs job_1", "cancel run_1", "retry job_1", "app list"} {
		code, out, stderr := newProgram(t, "http://"+address).run(strings.Fields(args)...)
		if code != 3 || out != "" || strings.Count(stderr, address) != 1 || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: code %d, %q, %q", args, code, out, stderr)
		}
	}
}

func TestExitCodesOfRefusals(t *testing.T) {
	for _, test := range []struct {
		status int
		kind   qgjob.Kind
		code   int
	}{{401, qgjob.KindDenied, 4}, {403, qgjob.KindDenied, 4}, {404, qgjob.KindNotFound, 2}, {409, qgjob.KindConflict, 2},
		{422, qgjob.KindInvalid, 2}, {503, qgjob.KindUnavailable, 3}, {500, qgjob.KindInternal, 3}} {
		f := newFake(t)
		f.deny = func(w http.ResponseWriter, _ *http.Request) bool {
			problem(w, test.status, test.kind, "", "no")
			return true
		}
		for _, args := range []string{"list", "list --json", "wait run_1", "app upload --org-id=o --app-version-id=v f.apk"} {
			p := newProgram(t, f.URL)
			p.write("f.apk", "x")
			if code, out, err := p.run(strings.Fields(args)...); code != test.code || out != "" || !strings.HasSuffix(err, "no\n") {
				t.Errorf("%d, %s: code %d, want %d; %q %q", test.status, args, code, test.code, out, err)
			}
		}
	}
}

// TestJSON: one value on stdout with at least the promised fields.
func TestJSON(t *testing.T) {
	f := newFake(t)
	f.plain("tests/a.spec.js")
	f.end(1, qgjob.Passed, "", "")
	job := "job_id run_id org_id app_version_id test_path target priority status reason attempts flaky agent_id submitted_at started_at finished_at"
	for args, fields := range map[string]string{
		"status job_1 --json": job,
		"list --json":         "[] " + job,
		"submit --org-id=o --app-version-id=v --test=a.js --json": "run_id job_ids",
		"wait run_1 --json":   "run_id conclusion passed failed errored cancelled flaky installs installs_avoided jobs",
		"report run_1 --json": "run_id conclusion jobs",
		"status run_1 --json": "run_id conclusion tally",
		"runs --json":         "[] run_id conclusion",
		"groups --json":       "[]",
		"agents --json":       "[]",
		"app list --json":     "[]",
		"version --json":      "version go platform",
	} {
		code, out, _ := newProgram(t, f.URL).run(strings.Fields(args)...)
		var got map[string]any
		target := any(&got)
		names, list := strings.CutPrefix(fields, "[]")
		items := []map[string]any{}
		if list {
			target = &items
		}
		if err := json.Unmarshal([]byte(out), target); err != nil || code != 0 || strings.TrimSpace(out) == "null" {
			t.Errorf("%s: code %d, %v in %q", args, code, err, out)
			continue
		}
		if list && len(items) > 0 {
			got = items[0]
		}
		for _, name := range strings.Fields(names) {
			if _, ok := got[name]; !ok {
				t.Errorf("%s: no %s in %s", args, name, out)
			}
		}
	}
}

func TestTables(t *testing.T) {
	f := newFake(t)
	f.plain("tests/a.spec.js", "tests/evil\x1b[2J\nname.js")
	f.end(1, qgjob.Passed, "", "")
	job := qgjob.JobID(2)
	f.agents = []qgjob.Agent{{AgentID: "a1", Target: qgjob.TargetBrowser, Status: qgjob.AgentBusy, JobID: &job,
		Installed: &qgjob.Installed{AppVersionID: "xyz123"}, Installs: 1, Avoided: 4, Labels: map[string]string{"os": "14", "model": "pixel8"}}}
	f.groups = []qgjob.Group{{GroupID: 1, OrgID: "qualgent", AppVersionID: "xyz123", Target: qgjob.TargetBrowser, Waiting: 3, Serving: 1, HeadPriority: 5}}
	f.apps = []qgjob.App{{OrgID: "qualgent", AppVersionID: "xyz123", SHA256: qgjob.Sum(strings.Repeat("ab", 32)), Size: 12_345_678, FileName: "shop.apk"}}
	for args, wants := range map[string][]string{
		"list":                 {"JOB    STATUS  TEST", "job_1  passed  tests/a.spec.js", "tests/evil name.js"},
		"runs":                 {"RUN    STATUS   JOBS", "run_1  running  1 passed, 1 queued of 2"},
		"agents":               {"a1     busy    browser  job_2  xyz123     1         4", "model=pixel8,os=14"},
		"groups":               {"group_1  xyz123       browser  -         3        1        5"},
		"app list":             {"xyz123       shop.apk  12.3 MB  abababababab  -         qualgent"},
		"list --status=queued": {"job_2"},
	} {
		code, out, err := newProgram(t, f.URL).run(strings.Fields(args)...)
		for _, want := range wants {
			if code != 0 || !strings.Contains(out, want) || strings.ContainsRune(out, 0x1b) || err != "" {
				t.Errorf("%s: code %d, %q\nwants %q, got\n%s", args, code, err, want, out)
			}
		}
	}
}

func TestEmptyLists(t *testing.T) {
	f := newFake(t)
	for _, args := range []string{"list", "runs", "groups", "agents", "app list"} {
		if code, out, err := newProgram(t, f.URL).run(strings.Fields(args)...); code != 0 || out != "" || !strings.HasPrefix(err, "qgjob: no ") {
			t.Errorf("%s: %d %q %q", args, code, out, err)
		}
	}
}

func TestListSaysThatThereIsMore(t *testing.T) {
	f := newFake(t)
	f.plain(strings.Split("1 2 3 4 5", " ")...)
	code, out, err := newProgram(t, f.URL).run("list", "--limit=2")
	if code != 0 || strings.Count(out, "\n") != 3 || !strings.Contains(err, "--limit=0") {
		t.Errorf("%d %q %q", code, out, err)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range []string{"", "--help", "submit --help", "help wait", "agents drain --help", "app", "completion", "completion bash", "completion zsh", "completion fish"} {
		p := newProgram(t, "http://127.0.0.1:1")
		code, out, err := p.run(strings.Fields(args)...)
		if code != 0 || err != "" || len(out) < 200 {
			t.Errorf("%q: code %d, %d bytes of help, %q", args, code, len(out), err)
		}
	}
}

// TestEveryCommandHasExamples: help that shows how.
func TestEveryCommandHasExamples(t *testing.T) {
	a := &app{printer: newPrinter(newWatched(), newWatched(), nil), env: map[string]string{}, dir: t.TempDir()}
	for _, c := range a.root().Commands() {
		if c.Name() != "help" && (c.Example == "" || c.Short == "" || !strings.Contains(c.Example, "qgjob "+c.Name())) {
			t.Errorf("%s: no example", c.CommandPath())
		}
	}
}

func TestCompletion(t *testing.T) {
	f := newFake(t)
	f.plain("tests/a.spec.js")
	f.agents = []qgjob.Agent{{AgentID: "pixel8-1", Target: qgjob.TargetDevice, Status: qgjob.AgentIdle}}
	for args, want := range map[string]string{
		"submit --target ":   "browserstack",
		"submit --priority ": "urgent",
		"list --status ":     "cancelling",
		"status ":            "job_1",
		"wait ":              "run_1",
		"wait --run-id ":     "run_1",
		"logs ":              "job_1\tqueued tests/a.spec.js",
		"agents drain ":      "pixel8-1",
	} {
		parts := strings.Split(args, " ")
		code, out, _ := newProgram(t, f.URL).run(append([]string{"__complete"}, parts...)...)
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%q: %d %q, want %s", args, code, out, want)
		}
	}
}

func TestReportFiles(t *testing.T) {
	f := newFake(t)
	f.plain("tests/a.spec.js")
	p := newProgram(t, f.URL)
	code, out, err := p.run("report", "job_1", "--junit=r.xml", "--html=r.html")
	junit, _ := os.ReadFile(filepath.Join(p.dir, "r.xml"))
	html, _ := os.ReadFile(filepath.Join(p.dir, "r.html"))
	if code != 0 || out != "" || string(junit) != "<testsuites/>\n" || string(html) != "<!doctype html>\n" || !strings.Contains(err, "r.xml") {
		t.Errorf("%d %q %q, %q %q", code, out, err, junit, html)
	}
	if code, _, err := newProgram(t, f.URL).run("report", "run_1", "--junit=no/such/dir/r.xml"); code != 3 || !strings.Contains(err, "r.xml") {
		t.Errorf("a report that cannot be written: %d %q", code, err)
	}
}

// TestFullDisk: an answer that could not be written is no success.
func TestFullDisk(t *testing.T) {
	f := newFake(t)
	f.plain("tests/a.spec.js")
	p := newProgram(t, f.URL)
	a := &app{printer: newPrinter(brokenPipe{}, p.err, p.env), env: envMap(p.env), dir: p.dir}
	if code := a.main([]string{"status", "job_1"}, p.signals); code != exitInfra || !strings.Contains(p.err.String(), "write the answer") {
		t.Errorf("code %d, %q", code, p.err.String())
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, os.ErrClosed }
