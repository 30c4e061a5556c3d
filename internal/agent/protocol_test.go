//go:build unix

package agent

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// TestNothingRunsBeforeTheStartIsAcknowledged: the server is away for starts;
// the agent asks again and runs nothing until it has leave.
func TestNothingRunsBeforeTheStartIsAcknowledged(t *testing.T) {
	r := newRig(t)
	var refused atomic.Int32
	r.intercept(func(w http.ResponseWriter, q *http.Request) bool {
		if strings.HasSuffix(q.URL.Path, "/start") && refused.Add(1) <= 3 {
			unavailable(w)
			return true
		}
		return false
	})
	l := r.submit(r.test(t, "a.js", "say ran"), nil)
	r.begin(t)
	want(t, r.result(t, l), qgjob.OutcomePassed, "")
	r.mu.Lock()
	defer r.mu.Unlock()
	starts := 0
	for _, call := range r.calls {
		switch {
		case strings.HasSuffix(call, "/start 503"):
			starts++
		case strings.Contains(call, "/log ") && starts < 3:
			t.Error("the attempt said something before its start was acknowledged")
		}
	}
	if starts != 3 {
		t.Errorf("%d refused starts, want 3", starts)
	}
}

// TestStaleStartRunsNothing: an offer that lapsed is dropped without a word.
func TestStaleStartRunsNothing(t *testing.T) {
	r := newRig(t)
	proof := filepath.Join(r.dir, "ran")
	first := r.submit(r.test(t, "a.js", "report ../../../../../../../ran x", "link "+proof+" /"), nil)
	r.change(func() { first.stale = true })
	second := r.submit(r.test(t, "b.js", "exit 0"), nil)
	r.begin(t)
	want(t, r.result(t, second), qgjob.OutcomePassed, "")
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(first.results) != 0 || len(first.log) != 0 {
		t.Errorf("a lapsed offer was answered: %v %q", first.results, first.log)
	}
	if _, err := os.Lstat(proof); err == nil {
		t.Error("a lapsed offer ran")
	}
}

// TestFault_CancelledJobsDoNotRunOn: a cancel stops the test, and a program
// that answers SIGINT with exit code 0 has not passed.
func TestFault_CancelledJobsDoNotRunOn(t *testing.T) {
	r := newRig(t)
	l := r.submit(r.test(t, "a.js", "block"), nil)
	r.begin(t)
	r.logHas(t, l, "blocks")
	r.change(func() { l.cancel = true })
	got := r.result(t, l)
	want(t, got, qgjob.OutcomeCancelled, qgjob.ReasonCancelled)
	if got.ExitCode != nil {
		t.Error("a stopped test has an exit code")
	}
	r.logHas(t, l, "interrupted")
}

func TestCancelBeforeTheStart(t *testing.T) {
	r := newRig(t)
	l := r.submit(r.test(t, "a.js", "say ran"), nil)
	r.change(func() { l.cancel = true })
	r.begin(t)
	want(t, r.result(t, l), qgjob.OutcomeCancelled, qgjob.ReasonCancelled)
	if strings.Contains(string(l.log), "ran\n") {
		t.Error("a cancelled job ran")
	}
}

// TestStaleLeaseStopsTheTestAndReportsNothing: somebody else has the job.
func TestStaleLeaseStopsTheTestAndReportsNothing(t *testing.T) {
	r := newRig(t)
	r.config.Grace = time.Hour // a stale test is not asked politely
	l := r.submit(r.test(t, "a.js", "stubborn"), nil)
	r.begin(t)
	r.logHas(t, l, "blocks")
	r.change(func() { l.stale = true })
	next := r.submit(r.test(t, "b.js", "exit 0"), nil)
	want(t, r.result(t, next), qgjob.OutcomePassed, "")
	close(r.drain)
	if err := r.end(t); err != nil {
		t.Fatal(err)
	}
	if len(l.results) != 0 {
		t.Errorf("a stale attempt was reported: %+v", l.results)
	}
	r.workIsEmpty(t)
}

// TestTimeoutIsTheAgents: the job's own limit holds, and nothing turns it into
// a pass. Stubborn programs are killed.
func TestTimeoutIsTheAgents(t *testing.T) {
	for _, order := range []string{"block", "stubborn"} {
		t.Run(order, func(t *testing.T) {
			r := newRig(t)
			r.config.Grace = 200 * time.Millisecond
			job := r.test(t, "a.js", order)
			job.TimeoutS = 1
			l := r.submit(job, nil)
			r.begin(t)
			got := r.result(t, l)
			want(t, got, qgjob.OutcomeFailed, qgjob.ReasonTimeout)
			if got.TestMS < 500 {
				t.Errorf("stopped after %d ms", got.TestMS)
			}
		})
	}
}

// TestRenewalsNameTheLeaseWhileItRuns, and go on while the agent drains.
func TestRenewalsGoOnWhileTheAgentDrains(t *testing.T) {
	r := newRig(t)
	pipe := r.pipe(t)
	l := r.submit(r.test(t, "a.js", "await "+pipe), nil)
	r.begin(t)
	r.logHas(t, l, "waits")
	close(r.drain)
	var seen int
	r.until(t, "renewals after the drain", func() bool {
		if seen == 0 {
			seen = len(r.renews) + 1
		}
		return len(r.renews) > seen+2
	})
	other := r.submit(r.test(t, "b.js", "exit 0"), nil)
	release(t, pipe)
	want(t, r.result(t, l), qgjob.OutcomePassed, "")
	if err := r.end(t); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, renew := range r.renews[:seen] {
		if len(renew.Leases) != 1 || renew.Leases[0] != l.offer.LeaseID {
			t.Errorf("a renewal names %v", renew.Leases)
		}
	}
	if other.state != qgjob.Queued {
		t.Errorf("a draining agent took a job: %s", other.state)
	}
	if l.results[0].Next != nil {
		t.Error("a draining agent asked for the next job")
	}
}

// TestCancelGivesRunningJobsBack: the second signal. Interrupted is not failed.
func TestCancelGivesRunningJobsBack(t *testing.T) {
	r := newRig(t)
	l := r.submit(r.test(t, "a.js", "block"), nil)
	r.begin(t)
	r.logHas(t, l, "blocks")
	close(r.drain)
	close(r.cancel)
	if err := r.end(t); err != nil {
		t.Fatal(err)
	}
	want(t, r.result(t, l), qgjob.OutcomeInterrupted, qgjob.ReasonAgentReturned)
	r.workIsEmpty(t)
}

// TestServerAskedDrainPausesTheAgent until it is undrained.
func TestServerAskedDrainPausesTheAgent(t *testing.T) {
	r := newRig(t)
	r.change(func() { r.fakeServer.drain = true })
	r.begin(t)
	r.until(t, "heartbeats of a drained agent", func() bool { return len(r.renews) > 2 })
	claims := r.count("POST /v1/agents/a1/claim")
	l := r.submit(r.test(t, "a.js", "exit 0"), nil)
	seen := 0
	r.until(t, "more heartbeats", func() bool {
		if seen == 0 {
			seen = len(r.renews)
		}
		return len(r.renews) > seen+2
	})
	if n := r.count("POST /v1/agents/a1/claim"); n != claims || l.state != qgjob.Queued {
		t.Errorf("a drained agent claims: %d claims, then %d", claims, n)
	}
	r.change(func() { r.fakeServer.drain = false })
	want(t, r.result(t, l), qgjob.OutcomePassed, "")
}

// TestLostClaimAnswerIsAskedForAgain with the same id, so that the offer is
// not lost with it.
func TestLostClaimAnswerIsAskedForAgain(t *testing.T) {
	r := newRig(t)
	var cut atomic.Bool
	r.intercept(func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, "/claim") || cut.Swap(true) {
			return false
		}
		req := read[qgjob.ClaimRequest](r.fakeServer, q)
		r.mu.Lock()
		r.claims = append(r.claims, req)
		r.give("a1", req)
		r.mu.Unlock()
		panic(http.ErrAbortHandler) // the answer never arrives
	})
	l := r.submit(r.test(t, "a.js", "exit 0"), nil)
	r.begin(t)
	want(t, r.result(t, l), qgjob.OutcomePassed, "")
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.claims[0].ClaimID != r.claims[1].ClaimID {
		t.Error("the claim was repeated under another id")
	}
}

// TestLostCompleteAnswer: the same result again, with the same digest and the
// same claim.
func TestLostCompleteAnswer(t *testing.T) {
	r := newRig(t)
	var lost atomic.Int32
	r.intercept(func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, "/complete") || lost.Add(1) > 2 {
			return false
		}
		r.mux.ServeHTTP(discard{}, q)
		panic(http.ErrAbortHandler)
	})
	l := r.submit(r.test(t, "a.js", "exit 1"), nil)
	r.begin(t)
	r.until(t, "the third try", func() bool { return len(l.results) == 3 })
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.accepted != 1 {
		t.Fatalf("the result was accepted %d times", l.accepted)
	}
	for _, again := range l.results[1:] {
		if again.Digest != l.results[0].Digest || again.Next.ClaimID != l.results[0].Next.ClaimID {
			t.Error("the repetition is another result")
		}
	}
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

// TestServerAwayWhileTheTestRuns: the test finishes, nothing is lost, and the
// result comes when the server is back.
func TestServerAwayWhileTheTestRuns(t *testing.T) {
	r := newRig(t)
	pipe := r.pipe(t)
	l := r.submit(r.test(t, "a.js", "say before", "await "+pipe, "say after", "output x.txt kept"), nil)
	r.begin(t)
	r.logHas(t, l, "waits")
	var away atomic.Bool
	away.Store(true)
	r.intercept(func(w http.ResponseWriter, q *http.Request) bool {
		if away.Load() {
			unavailable(w)
		}
		return away.Load()
	})
	release(t, pipe)
	spooled := filepath.Join(r.config.StateDir, "agents", "a1", "spool", string(l.offer.LeaseID)+".json")
	r.until(t, "the result in the spool", func() bool {
		_, err := os.Stat(spooled)
		return err == nil
	})
	away.Store(false)
	want(t, r.result(t, l), qgjob.OutcomePassed, "")
	r.logHas(t, l, "before\nwaits\nafter\n")
	if _, ok := l.artifacts["output/x.txt"]; !ok {
		t.Errorf("artifacts %v", l.artifacts)
	}
}

// TestForgottenAgentRegistersAgain: the server has lost its memory.
func TestForgottenAgentRegistersAgain(t *testing.T) {
	r := newRig(t)
	r.begin(t)
	r.until(t, "a claim", func() bool { return len(r.claims) > 0 })
	r.change(func() { clear(r.agents) })
	l := r.submit(r.test(t, "a.js", "exit 0"), nil)
	want(t, r.result(t, l), qgjob.OutcomePassed, "")
	if len(r.told) < 2 || r.told[1].Incarnation != r.told[0].Incarnation {
		t.Errorf("registrations %+v", r.told)
	}
}

// TestSupersededAgentStops with a message that says what to do, and stops its
// test: the job is somebody else's.
func TestSupersededAgentStops(t *testing.T) {
	r := newRig(t)
	l := r.submit(r.test(t, "a.js", "stubborn"), nil)
	r.begin(t)
	r.logHas(t, l, "blocks")
	r.change(func() { r.agents["a1"]++; l.stale = true })
	err := r.end(t)
	if qgjob.CodeOf(err) != qgjob.CodeAgentSuperseded || !strings.Contains(err.Error(), "--name") {
		t.Fatalf("ended with %v", err)
	}
	if len(l.results) != 0 {
		t.Errorf("reported %+v", l.results)
	}
}

func TestDeniedAgentSaysSo(t *testing.T) {
	r := newRig(t)
	r.intercept(func(w http.ResponseWriter, q *http.Request) bool {
		problem(w, 401, qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeUnauthenticated, Message: "no valid token"})
		return true
	})
	r.begin(t)
	if err := r.end(t); qgjob.KindOf(err) != qgjob.KindDenied || !strings.Contains(err.Error(), "a1") {
		t.Fatalf("ended with %v", err)
	}
}

// TestRetryAfterIsObeyed: the second try does not come before the server
// wants it.
func TestRetryAfterIsObeyed(t *testing.T) {
	r := newRig(t)
	var first atomic.Pointer[time.Time]
	var waited atomic.Int64
	r.intercept(func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, "/register") {
			return false
		}
		now := time.Now()
		if first.CompareAndSwap(nil, &now) {
			w.Header().Set("Retry-After", "1")
			unavailable(w)
			return true
		}
		waited.Store(int64(time.Since(*first.Load())))
		return false
	})
	l := r.submit(r.test(t, "a.js", "exit 0"), nil)
	r.begin(t)
	r.result(t, l)
	if got := time.Duration(waited.Load()); got < time.Second {
		t.Errorf("asked again after %v", got)
	}
}

// TestDetailsThatTheServerRefuses do not cost the verdict.
func TestDetailsThatTheServerRefuses(t *testing.T) {
	r := newRig(t)
	r.intercept(func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, "/complete") || q.ContentLength < 500 {
			return false
		}
		problem(w, 422, *qgjob.Invalid("tests", "too much"))
		return true
	})
	l := r.submit(r.test(t, "a.js", `report r.xml <testsuite tests="1"><testcase name="`+strings.Repeat("long", 200)+`"/></testsuite>`), nil)
	r.begin(t)
	got := r.result(t, l)
	want(t, got, qgjob.OutcomePassed, "")
	if len(got.Tests) != 0 || !strings.Contains(got.Message, "too much") {
		t.Errorf("result %+v", got)
	}
}

// TestFault_AgentHoldsOneJobOnly: a worker must not drain the queue into its
// memory.
func TestFault_AgentHoldsOneJobOnly(t *testing.T) {
	r := newRig(t)
	pipe := r.pipe(t)
	first := r.submit(r.test(t, "a.js", "await "+pipe), nil)
	second := r.submit(r.test(t, "b.js", "exit 0"), nil)
	r.begin(t)
	r.logHas(t, first, "waits")
	seen := 0
	r.until(t, "some renewals", func() bool {
		if seen == 0 {
			seen = len(r.renews) + 1
		}
		return len(r.renews) > seen
	})
	if second.state != qgjob.Queued {
		t.Errorf("the second job is %s while the first runs", second.state)
	}
	release(t, pipe)
	r.result(t, second)
}
