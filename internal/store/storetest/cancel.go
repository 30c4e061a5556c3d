package storetest

import "github.com/qualgent/qgjob"

var cancelTests = []test{
	{"cancel/what waits ends at once", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 2)...)
		j, err := w.s.CancelJob(w.ctx, 1)
		w.ok(err)
		w.equal("status", j.Status, qgjob.Cancelled)
		w.check()
		w.equal("next", w.take("a1").Job.JobID, "job_2")
		_, err = w.s.CancelJob(w.ctx, 1)
		w.refused(err, qgjob.KindConflict, qgjob.CodeTerminal, "job_1", "cancelled")
		_, err = w.s.CancelJob(w.ctx, 9)
		w.refused(err, qgjob.KindNotFound, "", "job_9")
	}},
	{"cancel/an offer is told at its start and never runs", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		o := w.take("a1")
		for range 2 { // a second request changes nothing
			j, err := w.s.CancelJob(w.ctx, 1)
			w.ok(err)
			w.equal("status", j.Status, qgjob.Cancelling)
		}
		answer, err := w.s.Start(w.ctx, o.LeaseID, w.startRequest(o))
		w.ok(err)
		w.equal("answer", answer, qgjob.LeaseCancel)
		w.equal("status", w.complete(o, qgjob.OutcomeCancelled), qgjob.Cancelled)
		w.equal("attempts that count", w.job(1).Attempts, 0)
		w.checkEvents(1)
	}},
	{"cancel/a running job never passes", func(w *world) {
		w.register("a1")
		one := spec("v1", "tests/a.spec.js")
		one.Retries = 3
		for _, outcome := range []qgjob.Outcome{qgjob.OutcomePassed, qgjob.OutcomeFailed, qgjob.OutcomeErrored, qgjob.OutcomeInterrupted, qgjob.OutcomeCancelled} {
			id := w.submit(one).JobIDs[0]
			o := w.run("a1")
			_, err := w.s.CancelJob(w.ctx, id)
			w.ok(err)
			w.equal("renewed", w.renew("a1", o.LeaseID).Leases[o.LeaseID], qgjob.LeaseCancel)
			w.equal("status after "+string(outcome), w.complete(o, outcome), qgjob.Cancelled)
			w.state(id, qgjob.Cancelled, qgjob.ReasonCancelled)
			w.equal("attempt", w.attempts(id)[0].Outcome, qgjob.OutcomeCancelled)
			w.checkEvents(w.job(id).RunID)
		}
	}},
	{"cancel/an agent that is lost meanwhile", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 2)...)
		for i, started := range []bool{false, true} {
			o := w.take("a1")
			if started {
				w.start(o)
			}
			_, err := w.s.CancelJob(w.ctx, o.Job.JobID)
			w.ok(err)
			w.expire(o.LeaseID)
			w.state(qgjob.JobID(i+1), qgjob.Cancelled, qgjob.ReasonCancelled)
			_, err = w.s.Complete(w.ctx, o.LeaseID, w.result(o, qgjob.OutcomePassed))
			w.refused(err, qgjob.KindConflict, qgjob.CodeStaleLease)
			w.state(qgjob.JobID(i+1), qgjob.Cancelled, qgjob.ReasonCancelled)
		}
	}},
	{"cancel/a job in its back-off", func(w *world) {
		w.register("a1")
		one := spec("v1", "tests/a.spec.js")
		one.Retries = 1
		w.submit(one)
		w.end("a1", qgjob.OutcomeFailed)
		_, err := w.s.CancelJob(w.ctx, 1)
		w.ok(err)
		w.equal("woken", w.wake(3e9), 0)
		w.state(1, qgjob.Cancelled, qgjob.ReasonCancelled)
		w.idle("a1")
	}},
	{"cancel/a run of many", func(w *world) {
		w.register("a1", "a2")
		w.unwanted = true
		w.submit(jobs("v1", 450)...)
		w.end("a1", qgjob.OutcomePassed)
		running, offered := w.run("a1"), w.take("a2")
		w.unwanted = false
		r, err := w.s.CancelRun(w.ctx, 1)
		w.ok(err)
		w.check()
		w.equal("cancelled at once", r.Tally.Cancelled, 447)
		w.equal("being cancelled", r.Tally.Running, 2)
		_, err = w.s.CancelRun(w.ctx, 1) // again: harmless while it goes on
		w.ok(err)
		w.complete(running, qgjob.OutcomeCancelled)
		w.complete(offered, qgjob.OutcomeCancelled)
		w.equal("conclusion", w.runOf(1).Conclusion, qgjob.ConclusionCancelled)
		_, err = w.s.CancelRun(w.ctx, 1)
		w.refused(err, qgjob.KindConflict, qgjob.CodeTerminal, "run_1")
		_, err = w.s.CancelRun(w.ctx, 2)
		w.refused(err, qgjob.KindNotFound, "", "run_2")
		w.checkEvents(1)
	}},
}
