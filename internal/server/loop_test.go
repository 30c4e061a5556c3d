package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

const ttl = lease.DefaultTTL

// until waits in a bubble until a job is in a state, and gives how long that
// took, to the precision of a tenth of a sweep.
func (r *rig) until(id qgjob.JobID, want qgjob.JobState, atMost time.Duration) time.Duration {
	r.t.Helper()
	began := time.Now()
	for {
		j, err := r.Store.Job(r.t.Context(), id)
		if err != nil {
			r.t.Fatal(err)
		}
		took := time.Since(began)
		if j.Status == want {
			return took
		}
		if took > atMost {
			r.t.Fatalf("%s is %s (%s) after %s; want %s", id, j.Status, j.Reason, took, want)
		}
		time.Sleep(lease.SweepEvery(ttl) / 10)
	}
}

// An agent that falls silent loses its job after the TTL, not before, and not
// later than two sweeps after.
func TestSilentAgentLosesItsJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true})
		r.submit(spec("v1", "a.js"))
		r.register("a1")
		offer := r.take("a1")
		r.start("a1", offer.LeaseID)
		for range 20 { // 100 s: far longer than the TTL
			time.Sleep(5 * time.Second)
			got := must[qgjob.RenewResponse](r, 200, "POST", "/v1/agents/a1/renew", qgjob.RenewRequest{Incarnation: 1, Leases: []qgjob.LeaseID{offer.LeaseID}})
			if got.Leases[offer.LeaseID] != qgjob.LeaseOK {
				t.Fatalf("a renewed lease is %s", got.Leases[offer.LeaseID])
			}
		}
		took := r.until(1, qgjob.Queued, 2*ttl)
		if sweep := lease.SweepEvery(ttl); took < ttl || took > ttl+2*sweep {
			t.Errorf("requeued %s after the last renewal; want %s and at most two sweeps of %s", took, ttl, sweep)
		}
		if j := r.job(1); j.Reason != qgjob.ReasonAgentLost || j.Attempts != 1 {
			t.Errorf("job %+v", j)
		}
		time.Sleep(2 * time.Second)
		if a := must[qgjob.Agent](r, 200, "GET", "/v1/agents/a1", nil); a.Status != qgjob.AgentOffline {
			t.Errorf("agent is %s; want offline", a.Status)
		}
		// It comes back, with its result: taken, for nobody else has the job.
		if got := r.complete("a1", offer.LeaseID, qgjob.OutcomePassed); got.Status != qgjob.Passed {
			t.Errorf("late result: %s; want passed (rule 8)", got.Status)
		}
		if a := must[qgjob.Agent](r, 200, "GET", "/v1/agents/a1", nil); a.Status != qgjob.AgentIdle {
			t.Errorf("agent is %s after it spoke; want idle", a.Status)
		}
	})
}

// An offer that is not started goes back after a third of the TTL and burns
// nothing.
func TestOfferExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true})
		r.submit(spec("v1", "a.js"))
		r.register("a1")
		r.take("a1")
		took := r.until(1, qgjob.Queued, ttl)
		if sweep := lease.SweepEvery(ttl); took < ttl/3 || took > ttl/3+2*sweep {
			t.Errorf("given back after %s; want %s and at most two sweeps", took, ttl/3)
		}
		if j := r.job(1); j.Reason != qgjob.ReasonOfferExpired || j.Attempts != 0 {
			t.Errorf("job %+v", j)
		}
	})
}

// While the server's loops stand still nothing expires, and afterwards every
// agent has a whole TTL to be heard of.
func TestOutageExpiresNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan struct{})
		go func() { defer close(stopped); r.repeat(ctx, r.sweepLeases(lease.NewWatch(ttl))) }()
		r.submit(spec("v1", "a.js"))
		r.register("a1")
		offer := r.take("a1")
		r.start("a1", offer.LeaseID)
		time.Sleep(ttl / 2)
		cancel()
		<-stopped
		time.Sleep(10 * time.Hour) // the server is down
		watch := lease.NewWatch(ttl)
		ctx, cancel = context.WithCancel(t.Context())
		defer cancel()
		go r.repeat(ctx, r.sweepLeases(watch))
		time.Sleep(ttl - time.Second)
		if j := r.job(1); j.Status != qgjob.Running {
			t.Fatalf("job is %s after the outage; want running", j.Status)
		}
		if took := r.until(1, qgjob.Queued, ttl); took > 3*time.Second {
			t.Errorf("expired %s too late", took)
		}
	})
}

// The same Watch, blind for a while because the store failed, starts anew.
func TestBlindSweepExpiresNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		r.submit(spec("v1", "a.js"))
		r.register("a1")
		offer := r.take("a1")
		r.start("a1", offer.LeaseID)
		l := r.sweepLeases(lease.NewWatch(ttl))
		look := func() qgjob.JobState {
			if err := l.do(t.Context()); err != nil {
				t.Fatal(err)
			}
			return r.job(1).Status
		}
		for range 20 {
			time.Sleep(time.Second)
			look()
		}
		time.Sleep(ttl) // blind
		if got := look(); got != qgjob.Running {
			t.Fatalf("job is %s right after a blind time; want running", got)
		}
		for range int(ttl/time.Second) - 1 {
			time.Sleep(time.Second)
			if got := look(); got != qgjob.Running {
				t.Fatalf("job is %s before a whole TTL was seen", got)
			}
		}
		time.Sleep(time.Second)
		if got := look(); got != qgjob.Queued {
			t.Errorf("job is %s after a TTL of silence; want queued", got)
		}
	})
}

// An agent that renews for ever and never ends its test is ended by the
// server, after the timeout and the allowance for set-up.
func TestServerTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true})
		job := spec("v1", "a.js")
		job.TimeoutS = 60
		r.submit(job)
		r.register("a1")
		offer := r.take("a1")
		r.start("a1", offer.LeaseID)
		began := time.Now()
		deadline := time.Minute + qgjob.InstallAllowance
		for time.Since(began) < deadline-10*time.Second {
			time.Sleep(10 * time.Second)
			must[qgjob.RenewResponse](r, 200, "POST", "/v1/agents/a1/renew", qgjob.RenewRequest{Incarnation: 1, Leases: []qgjob.LeaseID{offer.LeaseID}})
		}
		if j := r.job(1); j.Status != qgjob.Running {
			t.Fatalf("job is %s before its deadline", j.Status)
		}
		r.until(1, qgjob.Failed, 15*time.Second)
		if took := time.Since(began); took < deadline || took > deadline+3*time.Second {
			t.Errorf("ended after %s; want %s", took, deadline)
		}
		if j := r.job(1); j.Reason != qgjob.ReasonTimeout {
			t.Errorf("reason %s; want timeout", j.Reason)
		}
		if p := r.refuse(409, qgjob.KindConflict, "", "POST", "/v1/leases/"+string(offer.LeaseID)+"/complete", result("a1", qgjob.OutcomePassed)); p.Code != qgjob.CodeStaleLease {
			t.Errorf("a pass after the timeout: %+v", p)
		}
	})
}

// A failed test with retries left waits for its back-off, then a waiting
// agent gets it without asking again.
func TestRetryAfterBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true})
		job := spec("v1", "a.js")
		job.Retries = 1
		r.submit(job)
		r.register("a1")
		offer := r.take("a1")
		r.start("a1", offer.LeaseID)
		if got := r.complete("a1", offer.LeaseID, qgjob.OutcomeFailed); got.Status != qgjob.Queued {
			t.Fatalf("failed with a retry left: %s", got.Status)
		}
		got := <-r.poll(t.Context(), "a1", claimOf(25*time.Second))
		if got.err != nil || len(got.Offers) != 1 || got.Offers[0].Number != 2 || got.took > lease.BackoffBase+time.Second {
			t.Fatalf("%d offers after %s, %v; want the retry within %s", len(got.Offers), got.took, got.err, lease.BackoffBase)
		}
		r.start("a1", got.Offers[0].LeaseID)
		r.complete("a1", got.Offers[0].LeaseID, qgjob.OutcomePassed)
		if j := r.job(1); j.Status != qgjob.Passed || !j.Flaky || j.Attempts != 2 {
			t.Errorf("job %+v; want a flaky pass", j)
		}
	})
}

// A short TTL keeps its proportions.
func TestShortTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const short = 3 * time.Second
		r := newRig(t, rigOptions{loops: true, ttl: short})
		r.submit(spec("v1", "a.js"))
		r.register("a1")
		offer := r.take("a1")
		r.start("a1", offer.LeaseID)
		if took := r.until(1, qgjob.Queued, 2*short); took < short || took > short+short/5 {
			t.Errorf("requeued after %s; want %s", took, short)
		}
		// A poll is a sign of life: who only polls stays online.
		must[qgjob.Run](r, 200, "POST", "/v1/runs/run_1/cancel", nil)
		r.register("a2")
		if got := <-r.poll(t.Context(), "a2", claimOf(20*time.Second)); got.err != nil || len(got.Offers) != 0 {
			t.Fatalf("poll %+v", got)
		}
		if a := must[qgjob.Agent](r, 200, "GET", "/v1/agents/a2", nil); a.Status != qgjob.AgentIdle {
			t.Errorf("after a poll of 20 s the agent is %s; want idle", a.Status)
		}
	})
}

// A loop that fails goes on, more slowly, and logs the change only.
func TestLoopSurvivesErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		began := time.Now()
		var at []time.Duration
		var broken atomic.Bool
		broken.Store(true)
		l := loop{"test", time.Second, func(context.Context) error {
			at = append(at, time.Since(began))
			if broken.Load() {
				return errors.New("disk on fire")
			}
			return nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.repeat(ctx, l) }()
		time.Sleep(32 * time.Second)
		synctest.Wait()
		broken.Store(false)
		time.Sleep(10 * time.Second)
		cancel()
		<-done
		if got := fmt.Sprint(at); got != "[1s 3s 7s 15s 23s 31s 39s 40s 41s 42s]" && got != "[1s 3s 7s 15s 23s 31s 39s 40s 41s]" {
			t.Errorf("rounds at %s; want them doubling to eight times apart", got)
		}
		log := r.logs.String()
		if strings.Count(log, "disk on fire") != 1 || strings.Count(log, "succeeds again") != 1 {
			t.Errorf("log %q; want one line for each change", log)
		}
	})
}

func TestAbandonedUploadsAreRemoved(t *testing.T) {
	r := newRig(t, rigOptions{})
	old, fresh := qgjob.Sum(strings.Repeat("a", 64)), qgjob.Sum(strings.Repeat("b", 64))
	for _, sum := range []qgjob.Sum{old, fresh} {
		if _, _, err := r.Blobs.Append(sum, 0, 10, strings.NewReader("12345")); err != nil {
			t.Fatal(err)
		}
	}
	found, err := filepath.Glob(filepath.Join(r.dir, "blobs", "partial", "*aaaa*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("partial uploads %v, %v", found, err)
	}
	past := time.Now().Add(-abandonedAfter - time.Hour)
	if err := os.Chtimes(found[0], past, past); err != nil {
		t.Fatal(err)
	}
	l := r.sweepBlobs()
	if err := l.do(t.Context()); err != nil || l.every != time.Hour {
		t.Fatalf("%v, every %s", err, l.every)
	}
	for sum, want := range map[qgjob.Sum]int64{old: 0, fresh: 5} {
		if got := must[qgjob.BlobInfo](r, http.StatusOK, "GET", "/v1/blobs/"+string(sum)+"/info", nil); got.Received != want {
			t.Errorf("%s has %d bytes; want %d", sum, got.Received, want)
		}
	}
}
