package storetest

import (
	"fmt"

	"github.com/qualgent/qgjob"
)

var attemptTests = []test{
	{"start/gives leave once and again", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		o := w.take("a1")
		w.state(1, qgjob.Assigned, "")
		w.start(o)
		w.start(o)
		j := w.state(1, qgjob.Running, "")
		w.equal("attempts", j.Attempts, 1)
		if j.StartedAt == nil {
			w.Fatalf("no start is told: %+v", j)
		}
		a := w.attempts(1)[0]
		w.equal("attempt", words(a.Number, a.AgentID, a.Outcome, a.StartedAt.Equal(*j.StartedAt), a.EndedAt), "1 a1  true <nil>")
	}},
	{"start/a lease that is not current", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		o := w.take("a1")
		w.renew("a1") // does not name the offer: it goes back
		_, err := w.s.Start(w.ctx, o.LeaseID, w.startRequest(o))
		w.refused(err, qgjob.KindConflict, qgjob.CodeStaleLease, string(o.LeaseID))
		_, err = w.s.Start(w.ctx, "00000000000000000000000000000000", w.startRequest(o))
		w.refused(err, qgjob.KindNotFound, "")
		w.state(1, qgjob.Queued, qgjob.ReasonOfferExpired)
		o = w.run("a1")
		w.complete(o, qgjob.OutcomePassed)
		_, err = w.s.Start(w.ctx, o.LeaseID, w.startRequest(o))
		w.refused(err, qgjob.KindConflict, qgjob.CodeStaleLease)
		w.state(1, qgjob.Passed, "")
	}},
	{"start/by an older incarnation or a stranger", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		o := w.take("a1")
		old := w.startRequest(o)
		w.register("a1")
		_, err := w.s.Start(w.ctx, o.LeaseID, old)
		w.refused(err, qgjob.KindConflict, qgjob.CodeAgentSuperseded)
		_, err = w.s.Start(w.ctx, o.LeaseID, qgjob.StartRequest{AgentID: "nobody", Incarnation: 1})
		w.refused(err, qgjob.KindNotFound, qgjob.CodeAgentUnknown)
	}},
	{"renew/answers for each lease", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 4)...)
		held := w.claim("a1", 3)
		w.start(held[0])
		w.start(held[1])
		_, err := w.s.CancelJob(w.ctx, held[1].Job.JobID)
		w.ok(err)
		resp := w.renew("a1", held[0].LeaseID, held[1].LeaseID, held[2].LeaseID, "ffffffffffffffffffffffffffffffff")
		w.equal("ok", resp.Leases[held[0].LeaseID], qgjob.LeaseOK)
		w.equal("cancel", resp.Leases[held[1].LeaseID], qgjob.LeaseCancel)
		w.equal("offer", resp.Leases[held[2].LeaseID], qgjob.LeaseOK)
		w.equal("unknown", resp.Leases["ffffffffffffffffffffffffffffffff"], qgjob.LeaseStale)
		w.equal("drain", resp.Drain, false)
		w.complete(held[0], qgjob.OutcomePassed)
		w.equal("ended", w.renew("a1", held[0].LeaseID, held[1].LeaseID, held[2].LeaseID).Leases[held[0].LeaseID], qgjob.LeaseStale)
		_, err = w.s.Renew(w.ctx, "a1", qgjob.RenewRequest{Incarnation: 7})
		w.refused(err, qgjob.KindConflict, qgjob.CodeAgentSuperseded)
	}},
	{"renew/keeps from expiring", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		o := w.run("a1")
		seen := w.held(o.LeaseID).Held
		w.renew("a1", o.LeaseID)
		done, err := w.s.Expire(w.ctx, seen)
		w.ok(err)
		w.equal("expired", done, false)
		w.state(1, qgjob.Running, "")
		w.check()
	}},
	{"renew/offers that are not named go back, what was started stays", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 3)...)
		held := w.claim("a1", 3)
		w.start(held[0])
		w.renew("a1", held[1].LeaseID)
		w.state(1, qgjob.Running, "")
		w.state(2, qgjob.Assigned, "")
		j := w.state(3, qgjob.Queued, qgjob.ReasonOfferExpired)
		w.equal("attempts that count", j.Attempts, 0)
		w.equal("outcome", w.attempts(3)[0].Outcome, qgjob.OutcomeReleased)
	}},
	{"complete/every outcome", func(w *world) {
		w.register("a1")
		for _, c := range []struct {
			outcome qgjob.Outcome
			reason  qgjob.Reason // as given by the agent
			want    qgjob.JobState
			why     qgjob.Reason
		}{
			{qgjob.OutcomePassed, "", qgjob.Passed, ""},
			{qgjob.OutcomeFailed, "", qgjob.Failed, qgjob.ReasonAssertion},
			{qgjob.OutcomeFailed, qgjob.ReasonTimeout, qgjob.Failed, qgjob.ReasonTimeout},
			{qgjob.OutcomeErrored, qgjob.ReasonDevice, qgjob.Queued, qgjob.ReasonDevice},
			{qgjob.OutcomeInterrupted, "", qgjob.Queued, qgjob.ReasonAgentReturned},
			{qgjob.OutcomeCancelled, "", qgjob.Queued, qgjob.ReasonAgentReturned}, // nobody asked for it
		} {
			id := w.submit(spec("v1", "tests/"+string(c.outcome))).JobIDs[0]
			o := w.run("a1")
			w.equal("job", o.Job.JobID, id)
			req := w.result(o, c.outcome)
			req.Reason, req.Message = c.reason, "because"
			resp, err := w.s.Complete(w.ctx, o.LeaseID, req)
			w.ok(err)
			w.equal("status", resp.Status, c.want)
			w.equal("message", w.state(id, c.want, c.why).Message, "because")
			w.equal("outcome", w.attempts(id)[0].Outcome, c.outcome)
			w.check()
			if c.want == qgjob.Queued {
				_, err := w.s.CancelJob(w.ctx, id)
				w.ok(err)
			}
		}
	}},
	{"complete/keeps what the attempt found", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		o := w.run("a1")
		req := w.result(o, qgjob.OutcomeFailed)
		code := 1
		req.ExitCode, req.TestMS, req.Install, req.InstallMS = &code, 1234, qgjob.InstallDone, 567
		req.Tests = []qgjob.TestResult{{File: "tests/a.spec.js", Title: []string{"login", "says no \x00 <b>"}, Status: qgjob.TestFailed, DurationMS: 12, Message: "expected 1"}}
		_, err := w.s.Complete(w.ctx, o.LeaseID, req)
		w.ok(err)
		a := w.attempts(1)[0]
		w.equal("attempt", words(a.Outcome, *a.ExitCode, a.TestMS, a.Install, a.InstallMS), "failed 1 1234 installed 567")
		w.equal("tests", fmt.Sprintf("%+v", a.Tests), fmt.Sprintf("%+v", req.Tests))
		if a.StartedAt == nil || a.EndedAt == nil {
			w.Fatalf("instants: %+v", a)
		}
	}},
	{"complete/repeated is harmless, installs count once", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 2)...)
		for i, install := range []qgjob.InstallOutcome{qgjob.InstallDone, qgjob.InstallAvoided} {
			o := w.run("a1")
			req := w.result(o, qgjob.OutcomePassed)
			req.Install, req.InstallMS = install, int64(500*(1-i))
			for range 3 {
				resp, err := w.s.Complete(w.ctx, o.LeaseID, req)
				w.ok(err)
				w.equal("status", resp.Status, qgjob.Passed)
				w.check()
			}
		}
		r := w.runOf(1)
		w.equal("installs", words(r.Installs, r.InstallsAvoided, r.InstallMS), "1 1 500")
		a, err := w.s.Agent(w.ctx, "a1")
		w.ok(err)
		w.equal("of the agent", words(a.Installs, a.Avoided), "1 1")
	}},
	{"complete/another result for the same lease is refused", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		o := w.run("a1")
		w.complete(o, qgjob.OutcomePassed)
		_, err := w.s.Complete(w.ctx, o.LeaseID, w.result(o, qgjob.OutcomeFailed))
		w.refused(err, qgjob.KindConflict, qgjob.CodeStaleLease)
		w.state(1, qgjob.Passed, "")
		w.equal("attempt", w.attempts(1)[0].Outcome, qgjob.OutcomePassed)
	}},
	{"complete/never started", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		o := w.take("a1")
		_, err := w.s.Complete(w.ctx, o.LeaseID, w.result(o, qgjob.OutcomePassed))
		w.refused(err, qgjob.KindConflict, qgjob.CodeNotStarted, "never started")
		w.state(1, qgjob.Assigned, "")
		w.equal("given back", w.complete(o, qgjob.OutcomeInterrupted), qgjob.Queued)
		w.equal("outcome", w.attempts(1)[0].Outcome, qgjob.OutcomeReleased)
		_, err = w.s.Complete(w.ctx, "00000000000000000000000000000000", w.result(o, qgjob.OutcomePassed))
		w.refused(err, qgjob.KindNotFound, "")
	}},
	{"complete/a failed install is not on the device", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		o := w.run("a1")
		req := w.result(o, qgjob.OutcomeErrored)
		req.Install, req.Reason = qgjob.InstallFailed, qgjob.ReasonInstall
		_, err := w.s.Complete(w.ctx, o.LeaseID, req)
		w.ok(err)
		a, err := w.s.Agent(w.ctx, "a1")
		w.ok(err)
		if a.Installed != nil || a.Installs != 0 {
			w.Fatalf("%+v", a)
		}
		w.check()
	}},
}
