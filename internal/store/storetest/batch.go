package storetest

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store"
	"pgregory.net/rapid"
)

// share is how many jobs a batch may hold of what waits for so many agents.
func share(waiting, able int) int { return max(1, waiting/max(1, able)) }

var batchTests = []test{
	{"batch/an agent gets no more than its share of what waits", func(w *world) {
		w.register("a1", "a2", "a3")
		w.registerAs("d1", qgjob.RegisterRequest{Target: qgjob.TargetDevice}) // cannot take any of it
		w.submit(jobs("v1", 11)...)
		w.equal("first batch", len(w.claim("a1", 64)), share(11, 3))
		w.equal("second batch", len(w.claim("a2", 64)), share(8, 3))
		w.equal("third batch", len(w.claim("a3", 64)), share(6, 3))
	}},
	{"batch/agents that are away or drain have no share", func(w *world) {
		w.register("a1", "a2", "a3")
		_, err := w.s.Drain(w.ctx, "a2", true)
		w.ok(err)
		time.Sleep(time.Hour)
		seen, err := w.s.OnlineAgents(w.ctx)
		w.ok(err)
		_, err = w.s.Offline(w.ctx, seen)
		w.ok(err)
		w.submit(jobs("v1", 6)...)
		w.equal("batch of the only one there", len(w.claim("a1", 64)), 6)
	}},
	{"batch/of one job when fewer wait than agents", func(w *world) {
		w.register("a1", "a2", "a3")
		w.submit(jobs("v1", 2)...)
		w.equal("batch", len(w.claim("a1", 64)), 1)
	}},
	{"batch/no more than asked for", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 9)...)
		for _, c := range [][2]int{{0, 1}, {1, 1}, {3, 3}} {
			batch := w.claim("a1", c[0])
			w.equal(words("batch when asked for", c[0]), len(batch), c[1])
			for _, o := range batch {
				w.start(o)
				w.complete(o, qgjob.OutcomePassed)
			}
		}
	}},
	{"batch/the org's quota holds inside of it", func(w *world) {
		_, err := w.s.PutOrg(w.ctx, qgjob.Org{OrgID: "acme", Weight: 1, Quota: 3})
		w.ok(err)
		w.register("a1", "a2")
		w.submit(jobs("v1", 20)...)
		w.equal("first batch", len(w.claim("a1", 2)), 2)
		w.equal("second batch", len(w.claim("a2", 64)), 1)
	}},
	{"batch/never reaches into another group", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 2)...)
		w.submit(jobs("v2", 2)...)
		batch := w.claim("a1", 64)
		w.equal("batch", len(batch), 2)
		w.equal("groups", batch[0].Job.GroupID, batch[1].Job.GroupID)
	}},
	{"batch/ends where another group comes first", func(w *world) {
		w.register("a1")
		low, urgent, other := spec("v1", "tests/low.spec.js"), spec("v1", "tests/urgent.spec.js"), spec("v2", "tests/other.spec.js")
		low.Priority, urgent.Priority, other.Priority = 1, 10, 9
		w.submit(low, urgent, other)
		batch := w.claim("a1", 64)
		w.equal("batch", words(len(batch), batch[0].Job.JobID), "1 job_2")
		w.start(batch[0])
		w.complete(batch[0], qgjob.OutcomePassed)
		w.equal("next", w.take("a1").Job.JobID, "job_3")
	}},
}

// sameAsOneByOne lets two stores with the same random queue and fleet answer
// one agent, the first by a batch, the other by single claims that each end
// before the next. As nobody else acts, the batch has to be the beginning of
// what comes one by one, and stops only where the next is of another group, or
// at the agent's share.
func sameAsOneByOne(t *testing.T, fresh func(t testing.TB) Database) {
	rapid.Check(t, func(rt *rapid.T) {
		var failed any
		synctest.Test(t, func(t *testing.T) {
			defer func() { failed = recover() }()
			one, two := open(t, fresh(t), store.Options{}), open(t, fresh(t), store.Options{})
			twins := []*world{one, two} // two stores with the same past
			defer func() { _, _ = one.s.Close(), two.s.Close() }()
			for _, w := range twins {
				w.tb, w.unwanted = rt, true
			}
			agents := rapid.IntRange(1, 3).Draw(rt, "agents")
			drawPast(rt, twins, agents)
			limit := rapid.IntRange(1, 8).Draw(rt, "limit")
			asked := rapid.IntRange(1, agents).Draw(rt, "who")
			agent := qgjob.AgentID(fmt.Sprint("a", asked))
			batch := one.claim(agent, limit)
			if len(batch) == 0 {
				two.idle(agent)
				return
			}
			waiting := 1 // what waits of the group with what the batch took
			groups, err := two.s.Groups(two.ctx, "")
			two.ok(err)
			for _, g := range groups {
				if g.GroupID == batch[0].Job.GroupID {
					waiting = g.Waiting
				}
			}
			for i := range limit {
				offers := two.claim(agent, 1)
				switch {
				case i < len(batch):
					if len(offers) != 1 || offers[0].Job.JobID != batch[i].Job.JobID {
						rt.Fatalf("place %d of the batch is %s; one by one it is %v", i, batch[i].Job.JobID, offers)
					}
				case len(offers) == 1 && offers[0].Job.GroupID == batch[0].Job.GroupID && i < share(waiting, agents):
					rt.Fatalf("the batch ends after %d jobs; one by one comes %s of the same group, and the share is %d", i, offers[0].Job.JobID, share(waiting, agents))
				}
				if i >= len(batch) {
					break
				}
				two.start(offers[0])
				two.complete(offers[0], qgjob.OutcomePassed)
			}
			if len(batch) > share(waiting, agents) {
				rt.Fatalf("the batch holds %d jobs; the share is %d of %d for %d agents", len(batch), share(waiting, agents), waiting, agents)
			}
		})
		if failed != nil {
			panic(failed)
		}
	})
}

// drawPast gives both stores the same agents, submissions and earlier claims.
func drawPast(rt *rapid.T, twins []*world, agents int) {
	for i := range agents {
		for _, w := range twins {
			w.register(qgjob.AgentID(fmt.Sprint("a", i+1)))
		}
	}
	for range rapid.IntRange(1, 6).Draw(rt, "runs") {
		org := rapid.SampledFrom([]qgjob.OrgID{"acme", "globex"}).Draw(rt, "org")
		var specs []qgjob.JobSpec
		for range rapid.IntRange(1, 6).Draw(rt, "jobs") {
			one := spec(rapid.SampledFrom([]string{"v1", "v2"}).Draw(rt, "version"), rapid.SampledFrom([]string{"tests/a.js", "tests/b.js", "tests/c.js"}).Draw(rt, "test"))
			one.Priority = rapid.IntRange(1, 10).Draw(rt, "priority")
			specs = append(specs, one)
		}
		took := rapid.Int64Range(0, 100_000).Draw(rt, "took")
		busy := rapid.Bool().Draw(rt, "an agent takes one")
		for _, w := range twins {
			w.submitFor(org, specs...)
			if busy { // whoever it is, it ends: the fleet is free when the claim comes
				for _, o := range w.claim("a1", 1) {
					w.start(o)
					req := w.result(o, qgjob.OutcomePassed)
					req.TestMS, req.Install, req.InstallMS = took, qgjob.InstallDone, took/2
					_, err := w.s.Complete(w.ctx, o.LeaseID, req)
					w.ok(err)
				}
			}
		}
		time.Sleep(time.Duration(rapid.IntRange(0, 600).Draw(rt, "pause")) * time.Second)
	}
}
