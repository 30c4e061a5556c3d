package cli

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
)

// outcome is how a job of a played run ends.
type outcome struct {
	state   qgjob.JobState
	reason  qgjob.Reason
	message string
	flaky   bool
}

var (
	passes = outcome{state: qgjob.Passed}
	fails  = outcome{state: qgjob.Failed, reason: qgjob.ReasonAssertion, message: "expected 3 items\n\x1b[31mreceived 2\x1b[0m"}
	breaks = outcome{state: qgjob.Errored, reason: qgjob.ReasonDevice, message: "the phone went away"}
	stops  = outcome{state: qgjob.Cancelled, reason: qgjob.ReasonCancelled}
	shaky  = outcome{state: qgjob.Passed, flaky: true}
)

// play makes every submitted job end as told.
func (f *fake) play(outs ...outcome) {
	f.onSubmit = func(run qgjob.RunID) {
		for i, o := range outs {
			id := qgjob.JobID(i + 1)
			f.mu.Lock()
			f.jobs[i].Flaky = o.flaky
			f.mu.Unlock()
			f.end(id, o.state, o.reason, o.message)
		}
	}
}

func submitArgs(n int, more ...string) []string {
	args := []string{"submit", "--org-id=o", "--app-version-id=v", "--wait"}
	for i := range n {
		args = append(args, "--test=tests/"+string(rune('a'+i))+".spec.js")
	}
	return append(args, more...)
}

func TestVerdicts(t *testing.T) {
	for _, test := range []struct {
		name string
		outs []outcome
		args []string
		code int
		last string // in the figures
	}{
		{"passed", []outcome{passes, passes}, nil, 0, "run_1 passed: 2 passed of 2 in 5.0s"},
		{"failed", []outcome{passes, fails}, nil, 1, "run_1 failed: 1 passed, 1 failed of 2"},
		{"cancelled", []outcome{passes, stops}, nil, 1, "run_1 cancelled: 1 passed, 1 cancelled of 2"},
		{"errored", []outcome{passes, breaks}, nil, 3, "run_1 errored: 1 passed, 1 errored of 2"},
		{"failed and errored", []outcome{fails, breaks}, nil, 1, "run_1 failed: 1 failed, 1 errored of 2"},
		{"cancelled and errored", []outcome{stops, breaks}, nil, 1, "run_1 cancelled: 1 errored, 1 cancelled of 2"},
		{"flaky", []outcome{shaky, passes}, nil, 0, "run_1 passed: 2 passed (1 flaky) of 2"},
		{"flaky, strict", []outcome{shaky, passes}, []string{"--fail-on-flaky"}, 1, "run_1 passed: 2 passed (1 flaky) of 2"},
		{"strict without flaky", []outcome{passes}, []string{"--fail-on-flaky"}, 0, "run_1 passed: 1 passed of 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t)
			f.play(test.outs...)
			code, out, err := newProgram(t, f.URL).run(submitArgs(len(test.outs), test.args...)...)
			if code != test.code || !strings.Contains(out, test.last) || strings.ContainsRune(out+err, 0x1b) {
				t.Errorf("code %d, want %d\n%s\n%s\nwant %s", code, test.code, out, err, test.last)
			}
			code, out, _ = newProgram(t, f.URL).run(append([]string{"wait", "run_1", "--json"}, test.args...)...)
			var r result
			if e := json.Unmarshal([]byte(out), &r); e != nil || code != test.code || len(r.Jobs) != len(test.outs) || r.Installs != 1 || r.InstallsAvoided != len(test.outs)-1 {
				t.Errorf("wait --json: code %d, %v, %+v", code, e, r)
			}
		})
	}
}

// TestSubmitWaitOutput is the golden output off a terminal.
func TestSubmitWaitOutput(t *testing.T) {
	f := newFake(t)
	f.play(passes, fails, breaks)
	code, out, err := newProgram(t, f.URL).run(submitArgs(3)...)
	wantOut := `Job submitted: job_1
Job submitted: job_2
Job submitted: job_3
Run submitted: run_1 (3 jobs)
STATUS   JOB    TEST             AGENT  TIME  NOTE
failed   job_2  tests/b.spec.js  a1     3.0s  assertion
errored  job_3  tests/c.spec.js  a1     3.0s  device
passed   job_1  tests/a.spec.js  a1     3.0s

job_2 tests/b.spec.js failed (assertion)
    expected 3 items
    received 2
    see: qgjob logs job_2
job_3 tests/c.spec.js errored (device)
    the phone went away
    see: qgjob logs job_3

run_1 failed: 1 passed, 1 failed, 1 errored of 3 in 5.0s
installs: 1 done (1.2s), 2 avoided
reports: qgjob report run_1 --junit=results.xml --html=results.html
`
	wantErr := `passed     job_1  tests/a.spec.js  3.0s  on a1
failed     job_2  tests/b.spec.js  3.0s  on a1  assertion: expected 3 items
errored    job_3  tests/c.spec.js  3.0s  on a1  device: the phone went away
`
	if code != 1 || out != wantOut || err != wantErr {
		t.Errorf("code %d\n--- stdout\n%s--- want\n%s--- stderr\n%s--- want\n%s", code, out, wantOut, err, wantErr)
	}
}

func TestWaitForOneJob(t *testing.T) {
	f := newFake(t)
	f.plain("tests/a.spec.js", "tests/b.spec.js")
	f.end(1, qgjob.Passed, "", "")
	code, out, _ := newProgram(t, f.URL).run("wait", "job_1") // its run goes on
	if code != 0 || !strings.Contains(out, "job_1 passed: 1 passed of 1") || !strings.Contains(out, "installs: 1 done (700ms), 0 avoided") || strings.Contains(out, "job_2") {
		t.Errorf("%d\n%s", code, out)
	}
}

func TestWaitTimeout(t *testing.T) {
	f := newFake(t)
	f.plain("tests/a.spec.js", "tests/b.spec.js")
	f.end(1, qgjob.Passed, "", "")
	code, out, err := newProgram(t, f.URL).run("wait", "run_1", "--wait-timeout=300ms", "--junit=r.xml")
	if code != 8 || out != "" || !strings.Contains(err, "go on waiting with: qgjob wait run_1") || !strings.Contains(err, "1 passed, 1 queued of 2") {
		t.Errorf("%d %q %q", code, out, err)
	}
	p := newProgram(t, f.URL)
	code, out, _ = p.run("wait", "run_1", "--wait-timeout=300ms", "--junit=r.xml", "--json")
	if code != 8 || !strings.Contains(out, `"conclusion": ""`) {
		t.Errorf("json: %d %q", code, out)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "r.xml")); err == nil {
		t.Error("a report of a run that goes on looks like a result")
	}
}

func TestWaitWritesReports(t *testing.T) {
	f := newFake(t)
	f.play(fails)
	p := newProgram(t, f.URL)
	code, _, err := p.run(submitArgs(1, "--junit=r.xml", "--report=r.html")...)
	if _, e := os.Stat(filepath.Join(p.dir, "r.html")); code != 1 || e != nil || !strings.Contains(err, "JUnit report of run_1 written to r.xml") {
		t.Errorf("%d %q %v", code, err, e)
	}
	for _, test := range []struct {
		out  outcome
		code int
	}{{passes, 3}, {fails, 1}} {
		f := newFake(t)
		f.play(test.out)
		if code, _, err := newProgram(t, f.URL).run(submitArgs(1, "--junit=no/dir/r.xml")...); code != test.code || !strings.Contains(err, "r.xml") {
			t.Errorf("a report that cannot be written: %d, want %d; %q", code, test.code, err)
		}
	}
}

func TestInterruptInWaitOnlyLeaves(t *testing.T) {
	f := newFake(t)
	f.plain("tests/a.spec.js", "tests/b.spec.js")
	f.end(1, qgjob.Failed, qgjob.ReasonAssertion, "no")
	p := newProgram(t, f.URL)
	go func() {
		p.err.await(t, "failed     job_1")
		p.signals <- os.Interrupt
	}()
	code, out, err := p.run("wait", "run_1")
	if code != 130 || out != "" || !strings.Contains(err, "come back with: qgjob wait run_1") || f.requests("POST /v1/runs/run_1/cancel") != 0 {
		t.Errorf("%d %q %q", code, out, err)
	}
}

func TestInterruptInSubmitWaitCancels(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		f := newFake(t)
		p := newProgram(t, f.URL)
		go func() {
			p.out.await(t, "Job submitted")
			p.signals <- sig
		}()
		code, out, err := p.run(submitArgs(1)...)
		if code != 130 || !strings.Contains(out, "run_1 cancelled: 1 cancelled of 1") || !strings.Contains(err, "cancelling run_1") || f.requests("POST /v1/runs/run_1/cancel") != 1 {
			t.Errorf("%v: %d %q %q", sig, code, out, err)
		}
	}
}

func TestSecondInterruptLeavesAtOnce(t *testing.T) {
	f := newFake(t)
	hold := make(chan struct{})
	defer close(hold)
	f.deny = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/cancel") {
			select {
			case <-hold:
			case <-r.Context().Done():
			}
			return true
		}
		return false
	}
	p := newProgram(t, f.URL)
	go func() {
		p.out.await(t, "Job submitted")
		p.signals <- os.Interrupt
		p.err.await(t, "interrupt again")
		p.signals <- os.Interrupt
	}()
	if code, _, err := p.run(submitArgs(1)...); code != 130 || !strings.Contains(err, "left; run_1 is being cancelled") {
		t.Errorf("%d %q", code, err)
	}
}

func TestInterruptWhoseCancelFails(t *testing.T) {
	f := newFake(t)
	f.deny = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/cancel") {
			problem(w, 403, qgjob.KindDenied, "", "not yours")
			return true
		}
		return false
	}
	p := newProgram(t, f.URL)
	go func() {
		p.out.await(t, "Job submitted")
		p.signals <- os.Interrupt
		p.err.await(t, "could not cancel: not yours; try: qgjob cancel run_1")
		f.end(1, qgjob.Passed, "", "")
	}()
	if code, _, err := p.run(submitArgs(1)...); code != 130 {
		t.Errorf("%d %q", code, err)
	}
}

func TestInterruptOfAPlainCommand(t *testing.T) {
	f := newFake(t)
	p := newProgram(t, f.URL)
	f.deny = func(_ http.ResponseWriter, r *http.Request) bool {
		p.signals <- os.Interrupt
		<-r.Context().Done()
		return true
	}
	if code, out, err := p.run("list"); code != 130 || out != "" || err != "qgjob: interrupted\n" {
		t.Errorf("%d %q %q", code, out, err)
	}
}

// TestServerRestartsDuringAWait: the stream breaks, the server is away, and
// comes back; the verdict is the right one.
func TestServerRestartsDuringAWait(t *testing.T) {
	f := newFake(t)
	f.plain("tests/a.spec.js", "tests/b.spec.js")
	f.end(1, qgjob.Passed, "", "")
	var down atomic.Bool
	f.deny = func(w http.ResponseWriter, _ *http.Request) bool {
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
		}
		return down.Load()
	}
	p := newProgram(t, f.URL)
	go func() {
		p.err.await(t, "passed     job_1")
		down.Store(true)
		f.CloseClientConnections()
		p.err.await(t, "trying again")
		f.end(2, qgjob.Failed, qgjob.ReasonAssertion, "no")
		down.Store(false)
	}()
	code, out, err := p.run("wait", "run_1")
	if code != 1 || !strings.Contains(out, "run_1 failed: 1 passed, 1 failed of 2") || strings.Count(err, "trying again") != 1 ||
		!strings.Contains(err, "the server answers again") || strings.Count(err, "passed     job_1") != 1 {
		t.Errorf("%d\n%s\n%s", code, out, err)
	}
}

// TestServerLostForGood ends with 3 after a bounded time, and says how to come
// back.
func TestServerLostForGood(t *testing.T) {
	for name, o := range map[string]waitOptions{
		"patience ends": {unreachable: 300 * time.Millisecond}, "time is up": {timeout: 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.plain("tests/a.spec.js")
			p := newProgram(t, f.URL)
			ctx, cancel := context.WithCancelCause(t.Context())
			a := &app{printer: newPrinter(p.out, p.err, nil), env: map[string]string{}, dir: p.dir, stops: &interrupts{cancel: cancel}}
			c, err := client.New(f.URL, client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var asked atomic.Int32
			f.deny = func(w http.ResponseWriter, _ *http.Request) bool {
				if asked.Add(1) <= 2 { // the run, and its jobs
					return false
				}
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}
			err = a.wait(ctx, c, subject{run: 1}, o)
			if exitCode(err) != exitInfra || p.out.String() != "" || !strings.Contains(p.err.String(), "come back with: qgjob wait run_1") {
				t.Errorf("%v, %q %q", err, p.out.String(), p.err.String())
			}
		})
	}
}

// TestWaitRefusedMidway: a token that is taken away is not a lost server.
func TestWaitRefusedMidway(t *testing.T) {
	f := newFake(t)
	f.plain("tests/a.spec.js")
	f.deny = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/events") {
			problem(w, 401, qgjob.KindDenied, qgjob.CodeUnauthenticated, "the token has expired")
			return true
		}
		return false
	}
	if code, out, err := newProgram(t, f.URL).run("wait", "run_1"); code != 4 || out != "" || !strings.Contains(err, "expired") {
		t.Errorf("%d %q %q", code, out, err)
	}
}

// TestNoFalseVerdict: whatever the server says, nothing but passed jobs is a
// 0. Each case is a run that a careless client would call green.
func TestNoFalseVerdict(t *testing.T) {
	type m = map[string]any
	job := func(id, status string) m {
		return m{"job_id": id, "run_id": "run_1", "group_id": "group_1", "test_path": "v1.0 ✓ passed", "status": status, "submitted_at": day}
	}
	run := func(conclusion string, total, passed int) m {
		return m{"run_id": "run_1", "conclusion": conclusion, "tally": m{"total": total, "passed": passed}, "submitted_at": day}
	}
	for _, test := range []struct {
		name string
		run  m
		jobs []m
	}{
		{"the run says passed, a job failed", run("passed", 2, 2), []m{job("job_1", "passed"), job("job_2", "failed")}},
		{"a job is missing", run("passed", 2, 2), []m{job("job_1", "passed")}},
		{"no jobs", run("passed", 0, 0), nil},
		{"a conclusion of tomorrow", run("skipped", 1, 0), []m{job("job_1", "passed")}},
		{"all passed, the run failed", run("failed", 1, 1), []m{job("job_1", "passed")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t)
			f.deny = func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case strings.HasSuffix(r.URL.Path, "/events"):
					w.Header().Set("Content-Type", "text/event-stream")
					io.WriteString(w, "id: 1\nevent: run.finished\ndata: {\"seq\":1,\"kind\":\"run.finished\",\"run_id\":\"run_1\",\"conclusion\":\"passed\"}\n\n")
				case strings.HasPrefix(r.URL.Path, "/v1/jobs"):
					give(w, 200, m{"items": test.jobs})
				default:
					give(w, 200, test.run)
				}
				return true
			}
			code, out, err := newProgram(t, f.URL).run("wait", "run_1", "--wait-timeout=2s")
			if code == 0 || strings.Contains(out, "run_1 passed") {
				t.Errorf("code %d\n%s\n%s", code, out, err)
			}
		})
	}
}

// TestEveryTallyHasOneCode holds the verdict against its definition for every
// small run there is, states of tomorrow included.
func TestEveryTallyHasOneCode(t *testing.T) {
	states := append([]qgjob.JobState{"paused"}, qgjob.JobStates...)
	for n := range len(states) * len(states) * 4 {
		a := qgjob.Job{JobID: 1, Status: states[n%len(states)], Flaky: n%2 == 0}
		b := qgjob.Job{JobID: 2, Status: states[n/len(states)%len(states)]}
		strict := n >= len(states)*len(states)*2
		r := newResult(qgjob.Run{RunID: 1}, []qgjob.Job{a, b})
		has := func(s qgjob.JobState) bool { return a.Status == s || b.Status == s }
		open := !a.Status.Terminal() || !b.Status.Terminal()
		want := exitPassed
		switch {
		case has(qgjob.Failed) || has(qgjob.Cancelled):
			want = exitFailed
		case has(qgjob.Errored):
			want = exitInfra
		case open:
			want = exitRunning
		case strict && a.Flaky:
			want = exitFailed
		}
		if got := r.code(strict); got != want {
			t.Errorf("%s + %s, flaky %v, strict %v: code %d, want %d", a.Status, b.Status, a.Flaky, strict, got, want)
		}
		if r.ended() == open {
			t.Errorf("%s + %s: ended %v", a.Status, b.Status, r.ended())
		}
	}
	if (result{}).code(false) != exitInfra {
		t.Error("a run of nothing is green")
	}
}

func TestRetryWait(t *testing.T) {
	f := newFake(t)
	f.plain("tests/a.spec.js")
	f.end(1, qgjob.Failed, qgjob.ReasonAssertion, "no")
	p := newProgram(t, f.URL)
	go func() {
		p.out.await(t, "Job submitted: job_2")
		f.end(2, qgjob.Passed, "", "")
	}()
	if code, out, err := p.run("retry", "run_1", "--wait"); code != 0 || !strings.Contains(out, "run_2 passed: 1 passed of 1") {
		t.Errorf("%d %q %q", code, out, err)
	}
}

func TestSubmitWaitJSON(t *testing.T) {
	f := newFake(t)
	f.play(passes, fails)
	code, out, err := newProgram(t, f.URL).run(submitArgs(2, "--json")...)
	var r result
	if e := json.Unmarshal([]byte(out), &r); e != nil || code != 1 || len(r.JobIDs) != 2 || r.RunID != 1 || r.Conclusion != qgjob.ConclusionFailed {
		t.Errorf("%d %v %q %q", code, e, out, err)
	}
}
