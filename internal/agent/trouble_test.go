//go:build unix

package agent

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/qualgent/qgjob"
)

func fault(w http.ResponseWriter) {
	problem(w, 500, qgjob.Error{Kind: qgjob.KindInternal, Message: "a fault of ours"})
}

// onPath intercepts the calls whose path ends so.
func (r *rig) onPath(suffix string, do func(w http.ResponseWriter, q *http.Request) bool) {
	r.intercept(func(w http.ResponseWriter, q *http.Request) bool {
		return strings.HasSuffix(q.URL.Path, suffix) && do(w, q)
	})
}

// TestArtifactsDoNotKeepTheVerdictBack: the store of files is broken.
func TestArtifactsDoNotKeepTheVerdictBack(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"refused": func(w http.ResponseWriter) {
			problem(w, 413, qgjob.Error{Kind: qgjob.KindInvalid, Code: qgjob.CodeTooLarge})
		},
		"stale": stale,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.onPath("/artifacts", func(w http.ResponseWriter, _ *http.Request) bool { answer(w); return true })
			l := r.submit(r.test(t, "a.js", "output a.txt a", "output b.txt b", "exit 1"), nil)
			r.begin(t)
			want(t, r.result(t, l), qgjob.OutcomeFailed, qgjob.ReasonExit)
			tries := r.count("POST /v1/leases/" + string(l.offer.LeaseID) + "/artifacts")
			if wanted := map[string]int{"refused": 2, "stale": 1}[name]; tries != wanted {
				t.Errorf("%d tries, want %d", tries, wanted)
			}
		})
	}
}

// TestLogDoesNotKeepTheVerdictBack: the server takes no log.
func TestLogDoesNotKeepTheVerdictBack(t *testing.T) {
	r := newRig(t)
	r.onPath("/log", func(w http.ResponseWriter, _ *http.Request) bool {
		problem(w, 422, *qgjob.Invalid("log", "not taken"))
		return true
	})
	l := r.submit(r.test(t, "a.js", "say x", "exit 0"), nil)
	r.begin(t)
	want(t, r.result(t, l), qgjob.OutcomePassed, "")
}

// TestFaultsOfTheServerAreWaitedOut: an error 500 loses no result.
func TestFaultsOfTheServerAreWaitedOut(t *testing.T) {
	for _, call := range []string{"/register", "/claim", "/start", "/complete"} {
		t.Run(call, func(t *testing.T) {
			r := newRig(t)
			var n atomic.Int32
			r.onPath(call, func(w http.ResponseWriter, _ *http.Request) bool {
				if n.Add(1) > 1 {
					return false
				}
				fault(w)
				return true
			})
			l := r.submit(r.test(t, "a.js", "exit 0"), nil)
			r.quick = true
			r.begin(t)
			want(t, r.result(t, l), qgjob.OutcomePassed, "")
		})
	}
}

// TestResultThatIsRefusedForNowIsOfferedAgain, and the agent works on.
func TestResultThatIsRefusedForNowIsOfferedAgain(t *testing.T) {
	r := newRig(t)
	first := r.submit(r.test(t, "a.js", "exit 1"), nil)
	var broken atomic.Bool
	broken.Store(true)
	r.intercept(func(w http.ResponseWriter, q *http.Request) bool {
		if broken.Load() && strings.HasSuffix(q.URL.Path, "/complete") {
			fault(w)
			return true
		}
		return false
	})
	r.quick = true
	r.begin(t)
	r.until(t, "the tries of one delivery", func() bool {
		return r.countLocked("POST /v1/leases/"+string(first.offer.LeaseID)+"/complete 500") > someFaults+1
	})
	broken.Store(false)
	want(t, r.result(t, first), qgjob.OutcomeFailed, qgjob.ReasonExit)
	second := r.submit(r.test(t, "b.js", "exit 0"), nil)
	want(t, r.result(t, second), qgjob.OutcomePassed, "")
	if first.accepted != 1 {
		t.Errorf("accepted %d times", first.accepted)
	}
}

// TestProxyPagesAreNoAnswers: what no qgjob server says ends nothing.
func TestProxyPagesAreNoAnswers(t *testing.T) {
	r := newRig(t)
	var n atomic.Int32
	r.onPath("/complete", func(w http.ResponseWriter, _ *http.Request) bool {
		if n.Add(1) > 2 {
			return false
		}
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader([]int{404, 409}[n.Load()-1])
		w.Write([]byte("<h1>Not Found</h1>"))
		return true
	})
	l := r.submit(r.test(t, "a.js", "exit 0"), nil)
	r.quick = true
	r.begin(t)
	want(t, r.result(t, l), qgjob.OutcomePassed, "")
}

// TestSpoolThatCannotBeWritten: the result is still delivered.
func TestSpoolThatCannotBeWritten(t *testing.T) {
	r := newRig(t)
	pipe := r.pipe(t)
	l := r.submit(r.test(t, "a.js", "await "+pipe), nil)
	r.begin(t)
	r.logHas(t, l, "waits")
	spool := filepath.Join(r.config.StateDir, "agents", "a1", "spool")
	if err := os.RemoveAll(spool); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(spool, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	release(t, pipe)
	want(t, r.result(t, l), qgjob.OutcomePassed, "")
	if !strings.Contains(r.logged.String(), "not safe from a crash") {
		t.Errorf("the agent does not say that its result was not safe:\n%s", r.logged)
	}
}

// TestOfferOfADrainingAgentGoesBack: it was claimed, the signal came, and it
// never started.
func TestOfferOfADrainingAgentGoesBack(t *testing.T) {
	r := newRig(t)
	l := r.submit(r.test(t, "a.js", "say ran"), nil)
	r.onPath("/start", func(w http.ResponseWriter, q *http.Request) bool {
		unavailable(w) // never acknowledged
		return true
	})
	r.begin(t)
	r.until(t, "a try to start", func() bool { return r.countLocked("POST /v1/leases/"+string(l.offer.LeaseID)+"/start") > 0 })
	close(r.cancel)
	if err := r.end(t); err != nil {
		t.Fatal(err)
	}
	want(t, r.result(t, l), qgjob.OutcomeInterrupted, qgjob.ReasonAgentReturned)
	if len(l.log) != 0 {
		t.Errorf("it ran: %s", l.log)
	}
	r.workIsEmpty(t)
}

// TestAgentLeavesAServerThatIsAway: neither drain nor cancel hang.
func TestAgentLeavesAServerThatIsAway(t *testing.T) {
	for _, how := range []string{"drain", "cancel"} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t)
			r.intercept(func(w http.ResponseWriter, _ *http.Request) bool { unavailable(w); return true })
			r.begin(t)
			r.until(t, "a call", func() bool { return len(r.calls) > 0 })
			if how == "drain" {
				close(r.drain)
			} else {
				close(r.cancel)
			}
			if err := r.end(t); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestLostAgentsResultIsTakenLate: the server was away so long that the agent
// had to leave; the next process delivers the result under the incarnation
// that made it, before it registers its own.
func TestLostAgentsResultIsTakenLate(t *testing.T) {
	r := newRig(t)
	r.config.LeaveGrace = 1 // nanosecond
	pipe := r.pipe(t)
	l := r.submit(r.test(t, "a.js", "await "+pipe, "exit 1"), nil)
	var away atomic.Bool
	r.intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		if away.Load() {
			unavailable(w)
		}
		return away.Load()
	})
	r.begin(t)
	r.logHas(t, l, "waits")
	away.Store(true)
	release(t, pipe)
	file := filepath.Join(r.config.StateDir, "agents", "a1", "spool", string(l.offer.LeaseID)+".json")
	r.until(t, "the result in the spool", func() bool { _, err := os.Stat(file); return err == nil })
	close(r.cancel)
	if err := r.end(t); err != nil {
		t.Fatal(err)
	}
	away.Store(false)
	r.config.Cancel = nil
	r.begin(t)
	got := r.result(t, l)
	want(t, got, qgjob.OutcomeFailed, qgjob.ReasonExit)
	if got.Incarnation != r.told[0].Incarnation {
		t.Errorf("delivered under %d, made under %d", got.Incarnation, r.told[0].Incarnation)
	}
}

// TestResultNobodyWants is dropped once, and does not stop the agent.
func TestResultNobodyWants(t *testing.T) {
	r := newRig(t)
	pipe := r.pipe(t)
	r.timing.RenewMS = 60_000 // the agent does not hear of it before the end
	l := r.submit(r.test(t, "a.js", "await "+pipe), nil)
	r.begin(t)
	r.logHas(t, l, "waits")
	r.change(func() { l.stale = true })
	release(t, pipe)
	r.until(t, "the late result", func() bool { return len(l.results) == 1 })
	next := r.submit(r.test(t, "b.js", "exit 0"), nil)
	want(t, r.result(t, next), qgjob.OutcomePassed, "")
	if len(l.results) != 1 || l.accepted != 0 {
		t.Errorf("offered %d times, accepted %d", len(l.results), l.accepted)
	}
}
