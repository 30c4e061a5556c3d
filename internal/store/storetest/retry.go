package storetest

import (
	"github.com/qualgent/qgjob"
)

var retryTests = []test{
	{"retry/a run repeats what did not pass", func(w *world) {
		w.register("a1")
		specs := jobs("v1", 4)
		specs[1].Priority, specs[1].Retries, specs[1].Requires = 7, 0, map[string]string{}
		specs[1].Reset = qgjob.ResetReinstall
		first := w.submit(specs...)
		_, err := w.s.CancelJob(w.ctx, first.JobIDs[3])
		w.ok(err)
		w.equal("most urgent", w.end("a1", qgjob.OutcomeFailed), "job_2")
		_, err = w.s.RetryRun(w.ctx, first.RunID, "")
		w.refused(err, qgjob.KindConflict, "", "goes on", "2 of 4")
		w.end("a1", qgjob.OutcomePassed)
		w.end("a1", qgjob.OutcomePassed)
		again, err := w.s.RetryRun(w.ctx, first.RunID, "")
		w.ok(err)
		w.equal("answer", again, "{run_2 [job_5 job_6] false }")
		w.equal("of", *w.runOf(again.RunID).RetryOf, first.RunID)
		w.equal("jobs", words(w.job(5).TestPath, w.job(5).Priority, w.job(5).Reset, w.job(6).TestPath), words(specs[1].TestPath, 7, "reinstall", specs[3].TestPath))
		w.state(2, qgjob.Failed, qgjob.ReasonAssertion) // terminal states are never left
		w.check()
	}},
	{"retry/nothing to repeat, nothing known", func(w *world) {
		w.register("a1")
		run := w.submit(jobs("v1", 1)...)
		_, err := w.s.RetryJob(w.ctx, run.JobIDs[0], "")
		w.refused(err, qgjob.KindConflict, "", "queued")
		w.end("a1", qgjob.OutcomePassed)
		_, err = w.s.RetryRun(w.ctx, run.RunID, "")
		w.refused(err, qgjob.KindConflict, "", "passed")
		_, err = w.s.RetryRun(w.ctx, 99, "")
		w.refused(err, qgjob.KindNotFound, "", "run_99")
		_, err = w.s.RetryJob(w.ctx, 99, "")
		w.refused(err, qgjob.KindNotFound, "", "job_99")
		again, err := w.s.RetryJob(w.ctx, run.JobIDs[0], "") // a passed job may be run again on its own
		w.ok(err)
		w.equal("answer", again, "{run_2 [job_2] false }")
	}},
	{"retry/its key is for this run alone", func(w *world) {
		w.register("a1")
		for range 2 {
			w.submit(spec("v1", "tests/a.spec.js"))
			w.end("a1", qgjob.OutcomeFailed)
		}
		first, err := w.s.RetryRun(w.ctx, 1, "key-1")
		w.ok(err)
		again, err := w.s.RetryRun(w.ctx, 1, "key-1")
		w.ok(err)
		w.equal("again", words(again.RunID, again.Repeat), words(first.RunID, true))
		_, err = w.s.RetryRun(w.ctx, 2, "key-1") // the bodies are the same, the runs are not
		w.refused(err, qgjob.KindInvalid, qgjob.CodeKeyReused)
		_, err = w.s.Submit(w.ctx, "key-1", qgjob.SubmitRequest{OrgID: "acme", Jobs: []qgjob.JobSpec{{AppVersionID: "v1", TestPath: "tests/a.spec.js", Target: "emulator", Priority: 1, TimeoutS: 1800}}})
		w.refused(err, qgjob.KindInvalid, qgjob.CodeKeyReused)
	}},
	{"retry/its key is for this job alone", func(w *world) {
		w.register("a1")
		w.submit(spec("v1", "tests/a.spec.js"), spec("v1", "tests/a.spec.js"))
		w.end("a1", qgjob.OutcomeFailed)
		w.end("a1", qgjob.OutcomeFailed)
		_, err := w.s.RetryJob(w.ctx, 1, "key-1")
		w.ok(err)
		_, err = w.s.RetryJob(w.ctx, 2, "key-1")
		w.refused(err, qgjob.KindInvalid, qgjob.CodeKeyReused)
	}},
	{"retry/a job keeps the build it had", func(w *world) {
		w.register("a1")
		old, newer := sum("a"), sum("b")
		w.putApp("v1", old)
		run := w.submit(jobs("v1", 1)...)
		w.putApp("v1", newer)
		w.end("a1", qgjob.OutcomeFailed)
		again, err := w.s.RetryRun(w.ctx, run.RunID, "")
		w.ok(err)
		w.equal("build", w.job(again.JobIDs[0]).BuildSHA256, old)
		o := w.take("a1")
		w.equal("offered build", o.App.SHA256, old)
	}},
}
