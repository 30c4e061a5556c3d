package storetest

import (
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

var failureTests = []test{
	{"failure/retries with back-off, then failed", func(w *world) {
		w.register("a1")
		one := spec("v1", "tests/a.spec.js")
		one.Retries = 2
		w.submit(one)
		for n := 1; n <= 2; n++ {
			o := w.run("a1")
			w.equal("number", o.Number, n)
			w.equal("status", w.complete(o, qgjob.OutcomeFailed), qgjob.Queued)
			w.idle("a1")
			w.equal("woken", w.wake(lease.BackoffBase<<n), 1)
		}
		w.equal("status", w.complete(w.run("a1"), qgjob.OutcomeFailed), qgjob.Failed)
		j := w.state(1, qgjob.Failed, qgjob.ReasonAssertion)
		w.equal("attempts", words(j.Attempts, j.Flaky), "3 false")
		w.equal("events", len(w.checkEvents(1)), 1+3+3+2+1+1) // submitted, assigned, started, requeued, finished, run finished
	}},
	{"failure/passed after a retry is flaky", func(w *world) {
		w.register("a1")
		one := spec("v1", "tests/a.spec.js")
		one.Retries = 1
		w.submit(one)
		w.end("a1", qgjob.OutcomeFailed)
		w.wake(time.Minute)
		w.end("a1", qgjob.OutcomePassed)
		w.equal("flaky", w.state(1, qgjob.Passed, "").Flaky, true)
		r := w.runOf(1)
		w.equal("run", words(r.Conclusion, r.Tally.Flaky), "passed 1")
	}},
	{"failure/nobody wakes before the time", func(w *world) {
		w.register("a1")
		one := spec("v1", "tests/a.spec.js")
		one.Retries = 1
		w.submit(one)
		w.end("a1", qgjob.OutcomeFailed)
		woken := 0
		for range 2000 { // back-off is at most 2 s
			if woken = w.wakeQuietly(time.Millisecond); woken > 0 {
				break
			}
			w.unwanted = true
		}
		w.unwanted = false
		w.equal("woken", woken, 1)
		w.equal("job", w.take("a1").Job.JobID, "job_1")
	}},
	{"failure/another agent is preferred, the same one taken when there is no other", func(w *world) {
		w.register("a1", "a2")
		w.submit(jobs("v1", 1)...)
		w.complete(w.run("a1"), qgjob.OutcomeErrored)
		w.idle("a1")
		w.complete(w.run("a2"), qgjob.OutcomeErrored)
		w.equal("now a2 is avoided", w.take("a1").Number, 3)
		w.register("a1") // gives the offer back
		_, err := w.s.Drain(w.ctx, "a1", true)
		w.ok(err)
		w.equal("no other left", w.take("a2").Number, 4)
	}},
	{"failure/another agent is preferred for a while only", func(w *world) {
		w.register("a1", "a2")
		w.submit(jobs("v1", 2)...)
		w.complete(w.run("a1"), qgjob.OutcomeErrored)
		w.equal("the next of the group instead", w.end("a1", qgjob.OutcomePassed), "job_2")
		w.idle("a1")
		w.pass(lease.AvoidFor)
		w.equal("then it is taken", w.take("a1").Job.JobID, "job_1")
	}},
	{"failure/infrastructure has its own budget", func(w *world) {
		w.register("a1")
		one := spec("v1", "tests/a.spec.js")
		one.Retries = 5
		w.submit(one)
		for n := range qgjob.MaxInfraFails {
			o := w.run("a1")
			req := w.result(o, qgjob.OutcomeErrored)
			req.Reason, req.Message = qgjob.ReasonDevice, "usb gone"
			resp, err := w.s.Complete(w.ctx, o.LeaseID, req)
			w.ok(err)
			want := qgjob.Queued
			if n == qgjob.MaxInfraFails-1 {
				want = qgjob.Errored
			}
			w.equal("status", resp.Status, want)
			w.check()
		}
		w.equal("message", w.state(1, qgjob.Errored, qgjob.ReasonDevice).Message, "usb gone")
		w.equal("conclusion", w.runOf(1).Conclusion, qgjob.ConclusionErrored)
	}},
	{"failure/a job that kills its agents is poison", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		for range qgjob.MaxInfraFails {
			w.state(1, qgjob.Queued, w.job(1).Reason)
			w.expire(w.run("a1").LeaseID)
		}
		j := w.state(1, qgjob.Errored, qgjob.ReasonPoison)
		w.equal("attempts", j.Attempts, qgjob.MaxInfraFails)
		for _, a := range w.attempts(1) {
			w.equal("outcome", words(a.Outcome, a.Reason), "lost agent_lost")
		}
		w.checkEvents(1)
	}},
	{"failure/what was never started burns nothing", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		for range 2 * qgjob.MaxInfraFails {
			w.expire(w.take("a1").LeaseID)
		}
		w.equal("attempts", w.state(1, qgjob.Queued, qgjob.ReasonOfferExpired).Attempts, 0)
		for range 2 * qgjob.MaxInfraFails {
			w.complete(w.run("a1"), qgjob.OutcomeInterrupted)
		}
		w.state(1, qgjob.Queued, qgjob.ReasonAgentReturned)
		w.end("a1", qgjob.OutcomePassed)
		w.equal("flaky", w.job(1).Flaky, false)
	}},
	{"failure/the server's own timeout", func(w *world) {
		w.register("a1")
		one := spec("v1", "tests/a.spec.js")
		one.TimeoutS, one.Retries = 60, 1
		w.submit(one)
		o := w.take("a1")
		w.equal("deadline of an offer", w.held(o.LeaseID).Deadline.IsZero(), true)
		w.start(o)
		deadline := w.held(o.LeaseID).Deadline
		if d := time.Until(deadline); d < qgjob.InstallAllowance+59*time.Second || d > qgjob.InstallAllowance+time.Minute {
			w.Fatalf("deadline in %s", d)
		}
		done, err := w.s.Timeout(w.ctx, o.LeaseID)
		w.ok(err)
		w.equal("before its time", done, false)
		w.pass(time.Until(deadline) + time.Millisecond)
		done, err = w.s.Timeout(w.ctx, o.LeaseID)
		w.ok(err)
		w.equal("after it", done, true)
		w.check()
		w.state(1, qgjob.Queued, qgjob.ReasonTimeout)
		w.wake(time.Minute)
		o = w.run("a1")
		w.pass(time.Hour)
		_, err = w.s.Timeout(w.ctx, o.LeaseID)
		w.ok(err)
		w.state(1, qgjob.Failed, qgjob.ReasonTimeout)
		done, err = w.s.Timeout(w.ctx, o.LeaseID)
		w.ok(err)
		w.equal("again", done, false)
		w.checkEvents(1)
	}},
	{"failure/expiry is of one lease and one sign of life", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		o := w.take("a1")
		seen := w.held(o.LeaseID).Held
		w.start(o) // a sign of life
		done, err := w.s.Expire(w.ctx, seen)
		w.ok(err)
		w.equal("expired", done, false)
		seen = w.held(o.LeaseID).Held
		w.complete(o, qgjob.OutcomePassed)
		done, err = w.s.Expire(w.ctx, seen)
		w.ok(err)
		w.equal("expired after its end", done, false)
		w.state(1, qgjob.Passed, "")
	}},
}

// wakeQuietly wakes without checking when checks are off.
func (w *world) wakeQuietly(after time.Duration) int {
	w.Helper()
	before := w.job(1)
	n := w.wake(after)
	if n == 0 {
		w.equal("status while it waits", before.Status, qgjob.Queued)
	}
	return n
}
