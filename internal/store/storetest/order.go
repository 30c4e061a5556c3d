package storetest

import (
	"github.com/qualgent/qgjob"
)

// drainOrder gives the order in which one agent gets everything.
func (w *world) drainOrder(id qgjob.AgentID) []qgjob.JobID {
	w.Helper()
	var order []qgjob.JobID
	for {
		offers := w.claim(id, 1)
		if len(offers) == 0 {
			return order
		}
		w.start(offers[0])
		w.complete(offers[0], qgjob.OutcomePassed)
		order = append(order, offers[0].Job.JobID)
	}
}

var orderTests = []test{
	{"order/urgent first, then the older run, then the older job", func(w *world) {
		w.register("a1")
		for _, p := range []int{1, 5, 10} {
			specs := jobs("v1", 4)
			specs[1].Priority, specs[3].Priority = p, 5
			w.submit(specs...)
		}
		w.equal("order", w.drainOrder("a1"), "[job_10 job_4 job_6 job_8 job_12 job_1 job_2 job_3 job_5 job_7 job_9 job_11]")
	}},
	{"order/job_10 comes after job_9", func(w *world) {
		w.register("a1")
		for range 12 {
			w.submit(jobs("v1", 1)...)
		}
		w.equal("order", w.drainOrder("a1"), "[job_1 job_2 job_3 job_4 job_5 job_6 job_7 job_8 job_9 job_10 job_11 job_12]")
	}},
	{"order/a job that waits again keeps its place", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 3)...)
		o := w.run("a1")
		w.complete(o, qgjob.OutcomeInterrupted)
		w.equal("next", w.take("a1").Job.JobID, o.Job.JobID)
	}},
	{"order/the head is told", func(w *world) {
		specs := jobs("v1", 3)
		specs[1].Priority = 8
		w.submit(specs...)
		groups, err := w.s.Groups(w.ctx, "acme")
		w.ok(err)
		w.equal("groups", len(groups), 1)
		w.equal("waiting and head", words(groups[0].Waiting, groups[0].HeadPriority), "3 8")
		_, err = w.s.CancelJob(w.ctx, 2)
		w.ok(err)
		groups, err = w.s.Groups(w.ctx, "acme")
		w.ok(err)
		w.equal("waiting and head without its head", words(groups[0].Waiting, groups[0].HeadPriority), "2 1")
	}},
}
