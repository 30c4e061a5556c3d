package storetest

import (
	"fmt"
	"time"

	"github.com/qualgent/qgjob"
)

var restartTests = []test{
	{"restart/loses nothing and resets nothing", func(w *world) {
		w.register("a1", "a3")
		w.registerAs("b1", qgjob.RegisterRequest{Target: qgjob.TargetBrowser})
		one := spec("v1", "tests/a.spec.js")
		one.Retries = 2
		other := one
		other.Target = qgjob.TargetBrowser
		w.submit(one, one, one, other, one)
		w.end("a1", qgjob.OutcomePassed)
		w.end("a1", qgjob.OutcomeFailed)
		running, offered := w.run("a1"), w.take("b1")
		before := words(w.all(qgjob.JobFilter{}))
		w.reopen()
		w.equal("jobs", words(w.all(qgjob.JobFilter{})), before)
		w.equal("renewed", w.renew("a1", running.LeaseID).Leases[running.LeaseID], qgjob.LeaseOK)
		w.start(offered)
		w.complete(running, qgjob.OutcomePassed)
		w.complete(offered, qgjob.OutcomePassed)
		w.equal("delayed one is woken", w.wake(time.Minute), 1)
		w.equal("rest", w.drainOrder("a3"), "[job_2 job_5]")
		w.equal("conclusion", w.runOf(1).Conclusion, qgjob.ConclusionPassed)
		w.checkEvents(1)
	}},
	{"restart/numbers never start again", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 3)...)
		w.drainOrder("a1")
		last := w.checkEvents(1)
		for n := 2; n < 5; n++ {
			w.reopen()
			resp := w.submit(jobs("v1", 1)...)
			w.equal("ids", words(resp.RunID, resp.JobIDs), fmt.Sprintf("run_%d [job_%d]", n, n+2))
			if first := w.checkEvents(resp.RunID)[0]; first.Seq <= last[len(last)-1].Seq {
				w.Fatalf("event %d comes again", first.Seq)
			}
		}
		w.equal("old job", w.job(1).Status, qgjob.Passed)
	}},
	{"restart/a group that was forgotten is found again", func(w *world) {
		w.register("a1")
		one := spec("v1", "tests/a.spec.js")
		one.Retries = 1
		one.Requires = map[string]string{}
		w.submit(one)
		group := w.job(1).GroupID
		w.end("a1", qgjob.OutcomeFailed)
		w.reopen() // nothing waits and nothing is leased: only a delayed job is left
		w.equal("woken", w.wake(time.Minute), 1)
		w.equal("job", w.end("a1", qgjob.OutcomePassed), "job_1")
		w.reopen()
		w.submit(one)
		w.equal("group", w.job(2).GroupID, group)
		w.equal("job", w.end("a1", qgjob.OutcomePassed), "job_2")
	}},
}
