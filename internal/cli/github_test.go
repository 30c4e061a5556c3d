package cli

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
)

// step is a step of a GitHub Actions job whose program is about to run.
type step struct {
	*program
	summaryFile, outputFile string
}

func newStep(t *testing.T, server string) *step {
	t.Helper()
	s := &step{program: newProgram(t, server)}
	files := t.TempDir()
	s.summaryFile, s.outputFile = filepath.Join(files, "summary"), filepath.Join(files, "output")
	s.env = append(s.env, theJob["github"]...)
	s.env = append(s.env, "GITHUB_STEP_SUMMARY="+s.summaryFile, "GITHUB_OUTPUT="+s.outputFile, "GITHUB_WORKSPACE="+s.dir)
	return s
}

func (s *step) summary() string {
	text, _ := os.ReadFile(s.summaryFile)
	return string(text)
}

// outputs reads the step's outputs as the runner does: NAME<<DELIMITER, lines, DELIMITER.
func (s *step) outputs() map[string]string {
	s.t.Helper()
	text, _ := os.ReadFile(s.outputFile)
	out := map[string]string{}
	lines := strings.Split(string(text), "\n")
	for i := 0; i < len(lines); i++ {
		name, delimiter, ok := strings.Cut(lines[i], "<<")
		if !ok {
			if lines[i] != "" {
				s.t.Errorf("the output line %q", lines[i])
			}
			continue
		}
		var value []string
		for i++; i < len(lines) && lines[i] != delimiter; i++ {
			value = append(value, lines[i])
		}
		out[name] = strings.Join(value, "\n")
	}
	return out
}

// commands are the lines of a log that the runner would obey.
func commands(log string) (out []string) {
	for line := range strings.SplitSeq(log, "\n") {
		if strings.HasPrefix(strings.TrimLeftFunc(line, unicode.IsSpace), "::") || strings.Contains(line, "##[") {
			out = append(out, line)
		}
	}
	return out
}

// TestGitHubVerdicts: colour, conclusion, summary and annotations of each way in which a run may end.
func TestGitHubVerdicts(t *testing.T) {
	for _, test := range []struct {
		name     string
		outs     []outcome
		more     []string
		code     int
		want     string // outputs
		says     string // in the summary
		commands []string
	}{
		{"passing", []outcome{passes}, nil, 0, "passed 1 0 0 0 0", "## ✅ The test file passed", nil},
		{"failing", []outcome{passes, fails}, nil, 1, "failed 1 1 0 0 0", "## ❌ 1 of 2 test files failed",
			[]string{"::error file=tests/b.spec.js,title=failed%3A tests/b.spec.js::expected 3 items%0Areceived 2"}},
		{"flaky", []outcome{shaky}, nil, 0, "passed 1 0 1 0 0", "only after a retry",
			[]string{"::warning file=tests/a.spec.js,title=flaky%3A tests/a.spec.js::passed only after a retry"}},
		{"flaky is red", []outcome{shaky}, []string{"--fail-on-flaky"}, 1, "flaky 1 0 1 0 0", "only after a retry",
			[]string{"::warning file=tests/a.spec.js,title=flaky%3A tests/a.spec.js::passed only after a retry"}},
		{"broken", []outcome{breaks}, nil, 3, "errored 0 0 0 1 0", "could not be tested",
			[]string{"::error file=tests/a.spec.js,title=errored%3A tests/a.spec.js::the phone went away"}},
		{"cancelled by others", []outcome{stops}, nil, 1, "cancelled 0 0 0 0 1", "## 🚫",
			[]string{"::error file=tests/a.spec.js,title=cancelled%3A tests/a.spec.js::cancelled"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t)
			f.play(test.outs...)
			s := newStep(t, f.URL)
			code, out, log := s.run(append(submitArgs(len(test.outs), "--junit=r.xml"), test.more...)...)
			if code != test.code {
				t.Errorf("code %d\n%s\n%s", code, out, log)
			}
			o := s.outputs()
			if got := strings.Join([]string{o["conclusion"], o["passed"], o["failed"], o["flaky"], o["errored"], o["cancelled"]}, " "); got != test.want || o["run-id"] != "run_1" || o["junit"] != "r.xml" {
				t.Errorf("outputs %v", o)
			}
			has(t, s.summary(), test.says, "[report]("+f.URL+"/v1/runs/run_1/report)", "/v1/jobs/job_1/log)", "Installs: ")
			if got := commands(out + log); fmt.Sprint(got) != fmt.Sprint(test.commands) {
				t.Errorf("commands %q, want %q", got, test.commands)
			}
		})
	}
}

// TestGitHubFindsTheFile: an annotation's file is relative to the repository, the test's to its project.
func TestGitHubFindsTheFile(t *testing.T) {
	f := newFake(t)
	f.play(fails)
	s := newStep(t, f.URL)
	s.write("e2e/shop/tests/a.spec.js", "")
	if _, _, log := s.run(submitArgs(1, "--bundle=e2e/shop")...); !strings.Contains(log, "::error file=e2e/shop/tests/a.spec.js,") {
		t.Errorf("%q", commands(log))
	}
	for _, test := range []struct{ git, project, workspace, want string }{
		{"r", "r", "", "."}, {"r", "r/e2e", "", "e2e"}, {"", "w/x/y", "w", "x/y"}, {"", "w", "elsewhere", ""}, {"", "gone", "w", ""},
		{"w/sub", "w/sub/e2e", "w", "e2e"}, // checked out into a folder of the workspace
	} {
		top := t.TempDir()
		for _, dir := range []string{"r/e2e", "w/x/y", "w/sub/e2e", "elsewhere"} {
			if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if test.git != "" {
			if err := os.Mkdir(filepath.Join(top, test.git, ".git"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		g := &githubJob{app: &app{env: map[string]string{"GITHUB_WORKSPACE": filepath.Join(top, test.workspace)}}, project: filepath.Join(top, test.project)}
		if got := g.fromRoot(); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

// TestGitHubWithoutAVerdict: what never came to a run, or lost it, is red, says so in one annotation, and has outputs that nobody takes for green.
func TestGitHubWithoutAVerdict(t *testing.T) {
	f := newFake(t)
	for _, test := range []struct {
		name, server, args string
		code               int
		conclusion, says   string
	}{
		{"no server", "http://127.0.0.1:1", "--test=a.js", 3, "unknown", "127.0.0.1"},
		{"no test", f.URL, "--test=nothing/*.js", 2, "unknown", "nothing/*.js"},
		{"an unknown glob", f.URL, "--test=tests/[", 2, "unknown", "tests/["},
		{"only submitted", f.URL, "--test=a.js --wait=false", 0, "submitted", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStep(t, test.server)
			code, out, log := s.run(append([]string{"submit", "--org-id=o", "--app-version-id=v", "--wait"}, strings.Fields(test.args)...)...)
			if code != test.code || s.outputs()["conclusion"] != test.conclusion || s.outputs()["passed"] != "0" {
				t.Errorf("%d %v %q", code, s.outputs(), out)
			}
			got := commands(log)
			if test.says == "" && len(got) == 0 && s.outputs()["run-id"] != "" {
				return
			}
			if len(got) != 1 || !strings.HasPrefix(got[0], "::error title=qgjob%3A no verdict::") || !strings.Contains(got[0], test.says) || s.outputs()["run-id"] != "" {
				t.Errorf("%q %v", got, s.outputs())
			}
		})
	}
	f.deny = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/events") {
			problem(w, 401, qgjob.KindDenied, qgjob.CodeUnauthenticated, "the token has expired")
			return true
		}
		return false
	}
	s := newStep(t, f.URL)
	if code, _, log := s.run(submitArgs(1)...); code != 4 || s.outputs()["conclusion"] != "unknown" || s.outputs()["run-id"] == "" || !strings.Contains(log, "::error title=qgjob%3A no verdict::the token has expired") {
		t.Errorf("%d %v %q", code, s.outputs(), log)
	}
}

func TestGitHubOutOfTime(t *testing.T) {
	f := newFake(t)
	s := newStep(t, f.URL)
	code, _, log := s.run(submitArgs(2, "--wait-timeout=20ms")...)
	if code != 8 || s.outputs()["conclusion"] != "timed_out" || s.outputs()["run-id"] != "run_1" || f.requests("POST /v1/runs/run_1/cancel") != 0 {
		t.Errorf("%d %v %q", code, s.outputs(), log)
	}
	has(t, s.summary(), "Not finished&#58; 0 of 2", "wait&#45;timeout ran out", "qgjob wait run&#95;1")
}

// TestGitHubCancelled: both signals that the runner sends cancel the run, and the step leaves with 130.
func TestGitHubCancelled(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		f := newFake(t)
		s := newStep(t, f.URL)
		go func() {
			s.out.await(t, "Job submitted")
			s.signals <- sig
		}()
		code, _, log := s.run(submitArgs(1)...)
		if code != 130 || s.outputs()["conclusion"] != "cancelled" || f.requests("POST /v1/runs/run_1/cancel") != 1 || !strings.Contains(s.summary(), "🚫") {
			t.Errorf("%v: %d %v %q %q", sig, code, s.outputs(), log, s.summary())
		}
	}
}

// TestCancelIsBounded: off a terminal a run that does not stop is left in time.
func TestCancelIsBounded(t *testing.T) {
	f := newFake(t)
	f.plain("tests/a.spec.js")
	f.deny = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/cancel") {
			give(w, 200, map[string]any{"run_id": "run_1", "submitted_at": day})
			return true
		}
		return false
	}
	s := newStep(t, f.URL)
	ctx, cancel := context.WithCancelCause(t.Context())
	a := &app{printer: newPrinter(s.out, s.err, s.env), env: envMap(s.env), dir: s.dir, stops: &interrupts{cancel: cancel}}
	c, err := client.New(f.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := submitOptions{github: true}
	o.waits = waitOptions{cancels: true, confirm: time.Millisecond, ci: a.githubJob(&o)}
	o.waits.ci.submitted(1, true)
	a.stops.take()
	a.stops.hand(os.Interrupt)
	if code := exitCode(a.wait(ctx, c, subject{run: 1}, o.waits)); code != 130 || !strings.Contains(s.err.String(), "left; run_1 is being cancelled") || s.outputs()["conclusion"] != "cancelled" {
		t.Errorf("%d %q %v", code, s.err.String(), s.outputs())
	}
}

// TestGitHubTroubleChangesNoVerdict: files that cannot be written and details that cannot be had cost their text, nothing else.
func TestGitHubTroubleChangesNoVerdict(t *testing.T) {
	for _, outs := range [][]outcome{{passes}, {fails}} {
		f := newFake(t)
		f.play(outs...)
		f.deny = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/attempts") {
				problem(w, 500, qgjob.KindInternal, "", "no attempts today")
				return true
			}
			return false
		}
		s := newStep(t, f.URL)
		s.env = append(s.env, "GITHUB_STEP_SUMMARY="+s.dir, "GITHUB_OUTPUT="+filepath.Join(s.dir, "no", "such", "folder"))
		want := 0
		if outs[0].state == qgjob.Failed {
			want = 1
		}
		code, _, log := s.run(submitArgs(1)...)
		if code != want {
			t.Errorf("code %d, want %d: %q", code, want, log)
		}
		has(t, log, "GITHUB_STEP_SUMMARY was not written", "GITHUB_OUTPUT was not written")
	}
}

// TestGitHubSummaryIsAdded: what an earlier command wrote stays, and counts.
func TestGitHubSummaryIsAdded(t *testing.T) {
	for _, size := range []int{10, 1 << 20} {
		f := newFake(t)
		f.play(passes)
		s := newStep(t, f.URL)
		before := strings.Repeat("x", size)
		if err := os.WriteFile(s.summaryFile, []byte(before), 0o644); err != nil {
			t.Fatal(err)
		}
		s.run(submitArgs(1)...)
		got := s.summary()
		if !strings.HasPrefix(got, before) || len(got) > 1<<20 || (size == 10) != strings.Contains(got, "## ✅") {
			t.Errorf("after %d bytes: %d", size, len(got))
		}
	}
}

// TestOffGitHub: elsewhere, and with --github=false, nothing of it is written.
func TestOffGitHub(t *testing.T) {
	f := newFake(t)
	f.play(fails)
	s := newStep(t, f.URL)
	if _, out, log := s.run(submitArgs(1, "--github=false")...); len(commands(out+log)) != 0 || s.summary() != "" || len(s.outputs()) != 0 {
		t.Errorf("%q %q", commands(out+log), s.summary())
	}
	f = newFake(t)
	f.play(fails)
	s = newStep(t, f.URL)
	s.env = append(s.env, "GITHUB_ACTIONS=")
	if _, out, log := s.run(submitArgs(1)...); len(commands(out+log)) != 0 || s.summary() != "" {
		t.Errorf("%q %q", commands(out+log), s.summary())
	}
}

// special are titles and messages that have broken somebody's CI.
var special = []string{
	"::error::x", "  ::set-output name=run-id::evil", "##[add-mask]a ##[error]b", "##vso[task.setvariable variable=a]b", "%0A::stop-commands::t", "a,file=b:c",
	"]]> &amp; <b>\"'", "\x1b[2J\x1b]0;title\x07\x1b]8;;http://e\x1b\\link", "\u009b31m", "`a` | b | <script>alert(1)</script>", "@everyone #1 [l](http://e)", "line\r\nbreak\ttab",
	"EOF", "conclusion=passed", "run-id<<EOF", "\u202egnirts", "日本語 🎉 ü", "$(touch pwned) `id` ; rm", "\\", strings.Repeat("long ", 400), "</details></summary>", "```", "{{ github.token }} ${{ secrets.X }}",
}

// specialReport is a JUnit report of failed tests with all of them.
func specialReport() string {
	var b strings.Builder
	b.WriteString(`<testsuite name="s">`)
	for _, text := range special {
		text = strings.Map(func(r rune) rune { // what XML can say; the rest the agent's own tests cover
			if r == 0x1b || r == 0x07 {
				return '\u009b'
			}
			return r
		}, text)
		b.WriteString(`<testcase classname="c" name="`)
		xml.EscapeText(&b, []byte(text))
		b.WriteString(`"><failure message="`)
		xml.EscapeText(&b, []byte(text))
		b.WriteString(`">`)
		xml.EscapeText(&b, []byte(text+"\n"+text))
		b.WriteString(`</failure></testcase>`)
	}
	return b.String() + `</testsuite>`
}

// TestSpecialCharactersEndToEnd: they go from a runner's report through a real server to JUnit, summary, annotations, outputs and log, and stay text
// everywhere.
func TestSpecialCharactersEndToEnd(t *testing.T) {
	l := newLab(t)
	for _, more := range [][]string{nil, {"--json"}} {
		s := newStep(t, l.base)
		out, log := l.in(s.program, 1, append(append(tests("junit-1-special"), "--wait", "--junit=r.xml", "--report=r.html", "--idempotency-key="+fmt.Sprint(more)), more...)...)
		got := commands(out + log)
		if len(got) != 10 {
			t.Errorf("%d commands: %q", len(got), got)
		}
		for _, c := range got {
			if !strings.HasPrefix(c, "::error file=junit-1-special,title=") || strings.ContainsAny(c, "\r\x1b\u009b\u202e") {
				t.Errorf("the command %q", c)
			}
		}
		has(t, log, fmt.Sprintf("%d annotations left out", len(special)-10))
		if strings.ContainsAny(out+log, "\x1b\x07\u009b\u202e") {
			t.Error("control characters reach the log")
		}
		o := s.outputs()
		if len(o) != 8 || o["conclusion"] != "failed" || o["failed"] != "1" || !strings.HasPrefix(o["run-id"], "run_") {
			t.Errorf("outputs %v", o)
		}
		summary := s.summary()
		fenced := false
		for line := range strings.SplitSeq(summary, "\n") {
			if strings.HasPrefix(line, "```") {
				fenced = !fenced
			}
			if !fenced && (strings.Contains(line, "<script") || strings.Contains(line, "@everyone") || strings.Contains(line, "](http://e)") || strings.Contains(line, "\x1b")) {
				t.Errorf("in the summary: %q", line)
			}
		}
		has(t, summary, "日本語 🎉 ü", "## ❌ 1 of 1 test file failed")
		file, err := os.ReadFile(filepath.Join(s.dir, "r.xml"))
		if err != nil {
			t.Fatal(err)
		}
		if n := wellFormed(t, file); n != len(special) {
			t.Errorf("%d testcases in the JUnit file", n)
		}
		if more != nil {
			var r result
			if err := json.Unmarshal([]byte(out), &r); err != nil || r.Failed != 1 {
				t.Errorf("%v in %s", err, out)
			}
		}
	}
}

// wellFormed reads XML to its end and counts testcases.
func wellFormed(t *testing.T, text []byte) (cases int) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(string(text))); ; {
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF):
			return cases
		case err != nil:
			t.Fatal(err)
		}
		if s, ok := token.(xml.StartElement); ok && s.Name.Local == "testcase" {
			cases++
		}
	}
}

// TestLogsOnGitHub: a job's log in the log of a CI job is text; in a file it is what it was.
func TestLogsOnGitHub(t *testing.T) {
	f := newFake(t)
	f.plain("tests/a.spec.js")
	f.log = "one\n::error::two\n\x1b[2J##[add-mask]three\n"
	s := newStep(t, f.URL)
	code, out, _ := s.run("logs", "job_1")
	if code != 0 || len(commands(out)) != 0 || !strings.Contains(out, ": :error::two") {
		t.Errorf("%d %q", code, out)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for w, want := range map[io.Writer]bool{file: true, io.Discard: false} {
		if isFile(w) != want {
			t.Errorf("%T: %v", w, !want)
		}
	}
	s = newStep(t, f.URL)
	a := &app{printer: newPrinter(file, s.err, s.env), in: strings.NewReader(""), env: envMap(s.env), dir: s.dir}
	if code := a.main([]string{"logs", "job_1"}, s.signals); code != 0 {
		t.Errorf("%d %s", code, s.err)
	}
	if text, err := os.ReadFile(file.Name()); err != nil || string(text) != f.log {
		t.Errorf("%v %q", err, text)
	}
}
