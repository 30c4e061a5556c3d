package storetest

import (
	"strings"

	"github.com/qualgent/qgjob"
)

var lateTests = []test{
	{"late/a result whose lease expired and was not given again is taken", func(w *world) {
		w.register("a1")
		for _, c := range []struct {
			outcome qgjob.Outcome
			want    qgjob.JobState
			why     qgjob.Reason
		}{
			{qgjob.OutcomePassed, qgjob.Passed, ""},
			{qgjob.OutcomeFailed, qgjob.Failed, qgjob.ReasonAssertion},
			{qgjob.OutcomeErrored, qgjob.Queued, qgjob.ReasonSetup},
			{qgjob.OutcomeInterrupted, qgjob.Queued, qgjob.ReasonAgentReturned},
		} {
			id := w.submit(jobs("v1", 1)...).JobIDs[0]
			o := w.run("a1")
			w.expire(o.LeaseID)
			w.state(id, qgjob.Queued, qgjob.ReasonAgentLost)
			req := w.result(o, c.outcome)
			req.Install = qgjob.InstallDone
			for range 2 {
				resp, err := w.s.Complete(w.ctx, o.LeaseID, req)
				w.ok(err)
				w.equal("status", resp.Status, c.want)
				w.check()
			}
			w.state(id, c.want, c.why)
			w.equal("installs", w.runOf(w.job(id).RunID).Installs, 1)
			w.equal("attempt", w.attempts(id)[0].Outcome, c.outcome)
			w.equal("attempts", len(w.attempts(id)), 1)
			if c.want == qgjob.Queued {
				_, err := w.s.CancelJob(w.ctx, id)
				w.ok(err)
			}
			w.checkEvents(w.job(id).RunID)
		}
	}},
	{"late/a lost lease that proved good burns nothing", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		for range 2 * qgjob.MaxInfraFails {
			o := w.run("a1")
			w.expire(o.LeaseID)
			w.equal("status", w.complete(o, qgjob.OutcomeInterrupted), qgjob.Queued)
		}
		w.state(1, qgjob.Queued, qgjob.ReasonAgentReturned)
	}},
	{"late/a result of an older lease is refused and kept", func(w *world) {
		w.register("a1", "a2")
		w.submit(jobs("v1", 1)...)
		old := w.run("a1")
		w.expire(old.LeaseID)
		o := w.run("a2")
		late := w.result(old, qgjob.OutcomePassed)
		late.Install = qgjob.InstallDone
		_, err := w.s.Complete(w.ctx, old.LeaseID, late)
		w.refused(err, qgjob.KindConflict, qgjob.CodeStaleLease)
		w.state(1, qgjob.Running, "")
		w.equal("renewed", w.renew("a1", old.LeaseID).Leases[old.LeaseID], qgjob.LeaseStale)
		w.complete(o, qgjob.OutcomeFailed)
		_, err = w.s.Complete(w.ctx, old.LeaseID, late)
		w.refused(err, qgjob.KindConflict, qgjob.CodeStaleLease)
		w.state(1, qgjob.Failed, qgjob.ReasonAssertion)
		list := w.attempts(1)
		w.equal("outcome of the old attempt", list[0].Outcome, qgjob.OutcomeLost)
		if !strings.Contains(list[0].Message, "late result (passed)") {
			w.Fatalf("the late result is not told: %q", list[0].Message)
		}
		w.equal("installs", w.runOf(1).Installs, 0)
		w.checkEvents(1)
	}},
	{"late/a result after the job was cancelled while it waited again", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		o := w.run("a1")
		w.expire(o.LeaseID)
		_, err := w.s.CancelJob(w.ctx, 1)
		w.ok(err)
		_, err = w.s.Complete(w.ctx, o.LeaseID, w.result(o, qgjob.OutcomePassed))
		w.refused(err, qgjob.KindConflict, qgjob.CodeStaleLease)
		w.state(1, qgjob.Cancelled, qgjob.ReasonCancelled)
	}},
	{"late/a result counts whoever brings it", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 2)...)
		o := w.run("a1")
		req := w.result(o, qgjob.OutcomePassed)
		w.register("a1") // restarted; its spool still holds the result
		next := w.claimRequest("a1", 1)
		next.Incarnation = 1
		req.Next = &next
		resp, err := w.s.Complete(w.ctx, o.LeaseID, req)
		w.ok(err)
		if resp.Status != qgjob.Passed || resp.Next != nil {
			w.Fatalf("%+v", resp) // the result counts; an older incarnation claims nothing
		}
		w.check()
	}},
}
