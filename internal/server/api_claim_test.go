package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
)

// polled is what a claim came back with, and after how long.
type polled struct {
	qgjob.ClaimResponse
	took time.Duration
	err  error
}

// poll claims in the background.
func (r *rig) poll(ctx context.Context, agent string, req qgjob.ClaimRequest) <-chan polled {
	out := make(chan polled, 1)
	began := time.Now()
	go func() {
		var got polled
		p, err := r.send(ctx, "POST", "/v1/agents/"+agent+"/claim", req)
		if got.err = err; err == nil {
			got.err = json.Unmarshal(p.Body, &got.ClaimResponse)
			if p.Status != 200 {
				got.err = fmt.Errorf("%s", p)
			}
		}
		got.took = time.Since(began)
		out <- got
	}()
	return out
}

func TestClaimWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true})
		r.register("a1")
		// No work, no wait: at once.
		if got := <-r.poll(t.Context(), "a1", claimOf(0)); got.err != nil || got.took != 0 || len(got.Offers) != 0 || got.Offers == nil {
			t.Errorf("claim without waiting: %+v", got)
		}
		// No work: as long as asked for, but not beyond the protocol's limit.
		if got := <-r.poll(t.Context(), "a1", claimOf(7*time.Second)); got.err != nil || got.took != 7*time.Second || len(got.Offers) != 0 {
			t.Errorf("claim of 7 s: %+v", got)
		}
		if got := <-r.poll(t.Context(), "a1", claimOf(60*time.Second)); got.err != nil || got.took != 25*time.Second {
			t.Errorf("claim of 60 s: %+v; want it back after 25 s", got)
		}
		// Work that comes wakes it at once.
		waiting := r.poll(t.Context(), "a1", claimOf(25*time.Second))
		time.Sleep(1300 * time.Millisecond)
		r.submit(spec("v1", "a.js"))
		if got := <-waiting; got.err != nil || got.took != 1300*time.Millisecond || len(got.Offers) != 1 {
			t.Errorf("claim during a submit: %+v", got)
		}
	})
}

func TestTwoAgentsOneJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true})
		r.register("a1")
		r.register("a2")
		one, two := r.poll(t.Context(), "a1", claimOf(6*time.Second)), r.poll(t.Context(), "a2", claimOf(6*time.Second))
		time.Sleep(time.Second)
		r.submit(spec("v1", "a.js"))
		a, b := <-one, <-two
		if a.err != nil || b.err != nil || len(a.Offers)+len(b.Offers) != 1 {
			t.Errorf("offers %d and %d (%v, %v); want one in all", len(a.Offers), len(b.Offers), a.err, b.err)
		}
		if a.took+b.took != 7*time.Second {
			t.Errorf("they took %s and %s; want 1 s and 6 s", a.took, b.took)
		}
	})
}

// The agent that holds the build is woken before one that waits longer.
func TestWarmAgentIsWokenFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true})
		r.register("cold")
		r.register("warm")
		one := r.poll(t.Context(), "cold", claimOf(4*time.Second))
		time.Sleep(time.Second)
		req := claimOf(4 * time.Second)
		req.Installed = &qgjob.Installed{OrgID: "acme", AppVersionID: "v1"}
		two := r.poll(t.Context(), "warm", req)
		time.Sleep(time.Second)
		r.submit(spec("v1", "a.js"))
		if a, b := <-one, <-two; len(a.Offers) != 0 || len(b.Offers) != 1 {
			t.Errorf("cold got %d, warm %d offers", len(a.Offers), len(b.Offers))
		}
	})
}

// A job that the woken agent cannot have goes to one that can.
func TestWakeFindsTheRightAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true})
		var polls []<-chan polled
		for i := range 6 {
			req := qgjob.RegisterRequest{Incarnation: 1, Target: qgjob.TargetEmulator, Runner: "exec"}
			if i == 4 {
				req.Labels = map[string]string{"os": "14"}
			}
			id := fmt.Sprint("a", i)
			must[qgjob.RegisterResponse](r, 200, "POST", "/v1/agents/"+id+"/register", req)
			polls = append(polls, r.poll(t.Context(), id, claimOf(20*time.Second)))
			time.Sleep(100 * time.Millisecond)
		}
		job := spec("v1", "a.js")
		job.Requires = map[string]string{"os": "14"}
		r.submit(job)
		got := <-polls[4]
		if len(got.Offers) != 1 || got.took != 200*time.Millisecond {
			t.Errorf("the agent that fits got %d offers after %s", len(got.Offers), got.took)
		}
	})
}

func TestDrainEndsAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true})
		r.register("a1")
		waiting := r.poll(t.Context(), "a1", claimOf(25*time.Second))
		time.Sleep(time.Second)
		if a := must[qgjob.Agent](r, 200, "POST", "/v1/agents/a1/drain", nil); a.Status != qgjob.AgentDraining {
			t.Errorf("status %s", a.Status)
		}
		if got := <-waiting; !got.Drain || got.took != time.Second {
			t.Errorf("poll of a drained agent: %+v; want drain at once", got)
		}
		r.submit(spec("v1", "a.js"))
		if got := <-r.poll(t.Context(), "a1", claimOf(25*time.Second)); !got.Drain || got.took != 0 || len(got.Offers) != 0 {
			t.Errorf("claim of a drained agent: %+v", got)
		}
		if got := must[qgjob.RenewResponse](r, 200, "POST", "/v1/agents/a1/renew", qgjob.RenewRequest{Incarnation: 1}); !got.Drain {
			t.Error("its renewal does not say drain")
		}
		if a := must[qgjob.Agent](r, 200, "POST", "/v1/agents/a1/undrain", nil); a.Status != qgjob.AgentIdle {
			t.Errorf("status %s", a.Status)
		}
		if got := <-r.poll(t.Context(), "a1", claimOf(0)); len(got.Offers) != 1 || got.Drain {
			t.Errorf("claim after undrain: %+v", got)
		}
	})
}

// Draining gives unstarted offers back at once.
func TestDrainGivesOffersBack(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.register("a1")
	r.submit(spec("v1", "a.js"), spec("v1", "b.js"))
	req := claimOf(0)
	req.Max = 2
	got := must[qgjob.ClaimResponse](r, 200, "POST", "/v1/agents/a1/claim", req)
	r.register("a2")
	if len(got.Offers) != 2 {
		t.Fatalf("%d offers; want 2", len(got.Offers))
	}
	must[qgjob.Agent](r, 200, "POST", "/v1/agents/a1/drain", nil)
	if back := r.take("a2"); back.Job.JobID != 1 || back.Number != 2 {
		t.Errorf("a2 got %s, lease %d; want the offer that was given back", back.Job.JobID, back.Number)
	}
	who := qgjob.StartRequest{AgentID: "a1", Incarnation: 1}
	if p := r.refuse(409, qgjob.KindConflict, "", "POST", "/v1/leases/"+string(got.Offers[0].LeaseID)+"/start", who); p.Code != qgjob.CodeStaleLease {
		t.Errorf("start of an offer that went back: %+v", p)
	}
	r.refuse(404, qgjob.KindNotFound, "", "POST", "/v1/agents/ghost/drain", nil)
}

// Draining lets what runs finish.
func TestDrainLetsARunningJobFinish(t *testing.T) {
	r, at := running(t)
	must[qgjob.Agent](r, 200, "POST", "/v1/agents/a1/drain", nil)
	if done := must[qgjob.CompleteResponse](r, 200, "POST", at+"/complete", result("a1", qgjob.OutcomePassed)); done.Status != qgjob.Passed {
		t.Errorf("the running job ended as %s", done.Status)
	}
}

// A client that goes away during its poll is offered nothing afterwards.
func TestDisconnectedPollClaimsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true})
		r.register("gone")
		r.register("here")
		ctx, cancel := context.WithCancel(t.Context())
		waiting := r.poll(ctx, "gone", claimOf(25*time.Second))
		time.Sleep(time.Second)
		cancel()
		if got := <-waiting; got.err == nil {
			t.Fatal("the cancelled poll was answered")
		}
		synctest.Wait()
		r.submit(spec("v1", "a.js"))
		synctest.Wait()
		if j := r.job(1); j.Status != qgjob.Queued {
			t.Fatalf("job_1 is %s on %s; want it queued", j.Status, j.AgentID)
		}
		if offer := r.take("here"); offer.Job.JobID != 1 {
			t.Errorf("offered %s", offer.Job.JobID)
		}
		if n := len(r.Hub.claims.list); n != 0 {
			t.Errorf("%d claims still listed", n)
		}
	})
}

// cutWriter loses the answer of one call on its way: the server believes it
// was delivered.
func cutAnswer(path string) func(http.Handler) http.Handler {
	var once sync.Once
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			lost := false
			if r.URL.Path == path {
				once.Do(func() { lost = true })
			}
			if !lost {
				next.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(&muted{header: http.Header{}}, r)
			panic(http.ErrAbortHandler)
		})
	}
}

// FAULTS, Lost: a claim whose answer was lost. The same claim again gets the
// same offer; and when the agent forgot about it, its next renewal releases
// the offer at once.
func TestFault_Lost_claimAnswer(t *testing.T) {
	for _, repeat := range []bool{true, false} {
		r := newRig(t, rigOptions{wrap: cutAnswer("/v1/agents/a1/claim")})
		r.register("a1")
		r.register("a2")
		r.submit(spec("v1", "a.js"))
		req := claimOf(0)
		if got := <-r.poll(t.Context(), "a1", req); got.err == nil {
			t.Fatal("the answer was to be lost")
		}
		held := r.job(1)
		if held.Status != qgjob.Assigned || held.AgentID != "a1" {
			t.Fatalf("job_1 is %s on %q", held.Status, held.AgentID)
		}
		if repeat {
			first := must[qgjob.ClaimResponse](r, 200, "POST", "/v1/agents/a1/claim", req)
			second := must[qgjob.ClaimResponse](r, 200, "POST", "/v1/agents/a1/claim", req)
			if len(first.Offers) != 1 || first.Offers[0].LeaseID != second.Offers[0].LeaseID || first.Offers[0].Number != 1 {
				t.Errorf("the same claim got %+v, then %+v", first, second)
			}
			continue
		}
		if p := r.refuse(409, qgjob.KindConflict, "", "POST", "/v1/agents/a1/claim", claimOf(0)); p.Code != qgjob.CodeAgentBusy {
			t.Errorf("another claim: %+v; want agent_busy", p)
		}
		must[qgjob.RenewResponse](r, 200, "POST", "/v1/agents/a1/renew", qgjob.RenewRequest{Incarnation: 1, Leases: []qgjob.LeaseID{}})
		if offer := r.take("a2"); offer.Job.JobID != 1 || offer.Number != 2 {
			t.Errorf("a2 got %+v; want job_1's second lease", offer)
		}
		if j := r.job(1); j.Attempts != 0 {
			t.Errorf("%d attempts burnt by an offer nobody got", j.Attempts)
		}
	}
}

func TestClaimRefusals(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.register("a1")
	if p := r.refuse(404, qgjob.KindNotFound, "", "POST", "/v1/agents/ghost/claim", claimOf(0)); p.Code != qgjob.CodeAgentUnknown {
		t.Errorf("code %q; want agent_unknown", p.Code)
	}
	for body, field := range map[string]string{
		`{"claim_id":"claim-99"}`:                                            "incarnation",
		`{"incarnation":1}`:                                                  "claim_id",
		`{"incarnation":1,"claim_id":"short"}`:                               "claim_id",
		`{"incarnation":1,"claim_id":"claim-99","max":65}`:                   "max",
		`{"incarnation":1,"claim_id":"claim-99","wait_ms":60001}`:            "wait_ms",
		`{"incarnation":1,"claim_id":"claim-99","wait_ms":-1}`:               "wait_ms",
		`{"incarnation":1,"claim_id":"claim-99","installed":{"org_id":"a"}}`: "installed.app_version_id",
	} {
		r.refuse(422, qgjob.KindInvalid, field, "POST", "/v1/agents/a1/claim", body)
	}
	old := claimOf(0)
	must[qgjob.RegisterResponse](r, 200, "POST", "/v1/agents/a1/register", qgjob.RegisterRequest{Incarnation: 2, Target: qgjob.TargetEmulator, Runner: "exec"})
	if p := r.refuse(409, qgjob.KindConflict, "", "POST", "/v1/agents/a1/claim", old); p.Code != qgjob.CodeAgentSuperseded {
		t.Errorf("code %q; want agent_superseded", p.Code)
	}
}

// A newer incarnation ends the poll of the older one at once.
func TestNewIncarnationEndsThePoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true})
		r.register("a1")
		waiting := r.poll(t.Context(), "a1", claimOf(25*time.Second))
		time.Sleep(time.Second)
		must[qgjob.RegisterResponse](r, 200, "POST", "/v1/agents/a1/register", qgjob.RegisterRequest{Incarnation: 2, Target: qgjob.TargetEmulator, Runner: "exec"})
		if got := <-waiting; got.err == nil || got.took != time.Second {
			t.Errorf("the older incarnation's poll: %+v; want a refusal at once", got)
		}
	})
}
