package storetest

import (
	"time"

	"github.com/qualgent/qgjob"
)

// teach lets each test of one org end once, having taken so many seconds.
func (w *world) teach(id qgjob.AgentID, took map[string]int64) {
	w.Helper()
	for _, path := range qgjob.SortedKeys(took) {
		w.submit(spec("v0", path))
		w.ran(id, qgjob.OutcomePassed, 1000, took[path]*1000)
	}
	w.pass(12 * time.Hour) // what the org used is forgotten
}

func (w *world) paths(order []qgjob.JobID) (paths string) {
	w.Helper()
	for i, id := range order {
		if i > 0 {
			paths += " "
		}
		paths += w.job(id).TestPath
	}
	return paths
}

var learnTests = []test{
	{"learn/new tests of a run go first, then the longest", func(w *world) {
		w.register("a1")
		run := []qgjob.JobSpec{spec("v1", "short"), spec("v1", "long"), spec("v1", "unknown"), spec("v1", "middle")}
		w.submit(run...)
		w.equal("without history", w.paths(w.drainOrder("a1")), "short long unknown middle")
		w.teach("a1", map[string]int64{"short": 5, "middle": 50, "long": 500})
		w.reopen()
		w.submit(run...)
		w.submit(run...) // first come, first served between runs
		const order = "unknown long middle short"
		w.equal("with history, after a restart", w.paths(w.drainOrder("a1")), order+" "+order)
	}},
	{"learn/priority goes before length", func(w *world) {
		w.register("a1")
		w.teach("a1", map[string]int64{"short": 5, "long": 500})
		short := spec("v1", "short")
		short.Priority = 2
		w.submit(spec("v1", "long"), short)
		w.equal("order", w.paths(w.drainOrder("a1")), "short long")
	}},
	{"learn/what waits keeps its place when more is learnt", func(w *world) {
		w.register("a1")
		w.registerAs("d1", qgjob.RegisterRequest{Target: qgjob.TargetDevice})
		w.teach("a1", map[string]int64{"x": 10, "y": 20})
		w.submit(spec("v1", "x"), spec("v1", "y"))
		first := w.run("a1")
		w.equal("first", first.Job.TestPath, "y")
		req := w.result(first, qgjob.OutcomePassed)
		req.TestMS = 1
		_, err := w.s.Complete(w.ctx, first.LeaseID, req)
		w.ok(err)
		w.check()
		w.equal("second", w.run("a1").Job.TestPath, "x")
	}},
	{"learn/timeouts and broken infrastructure teach nothing", func(w *world) {
		w.register("a1")
		w.teach("a1", map[string]int64{"x": 10, "y": 20})
		for range 4 {
			id := w.submit(spec("v0", "x")).JobIDs[0]
			w.ran("a1", qgjob.OutcomeErrored, 0, 900_000)
			_, err := w.s.CancelJob(w.ctx, id)
			w.ok(err)
		}
		w.submit(spec("v1", "x"), spec("v1", "y"))
		w.equal("order", w.paths(w.drainOrder("a1")), "y x")
	}},
}
