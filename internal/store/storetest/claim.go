package storetest

import (
	"fmt"

	"github.com/qualgent/qgjob"
)

var claimTests = []test{
	{"claim/a group is drained before the next, on one install", func(w *world) {
		w.register("a1")
		for i := range 8 {
			w.submit(spec(fmt.Sprintf("v%d", 1+i%2), "tests/a.spec.js"))
		}
		order := w.drainOrder("a1")
		w.equal("jobs", len(order), 8)
		for i, id := range order { // which group comes first is the scheduler's affair
			w.equal("version of "+id.String(), w.job(id).AppVersionID, w.job(order[i/4*4]).AppVersionID)
			if i%4 > 0 && order[i-1] > id {
				w.Fatalf("order %v", order)
			}
		}
	}},
	{"claim/groups differ by org, version, build, target and requirements", func(w *world) {
		other := []func(*qgjob.JobSpec){
			func(s *qgjob.JobSpec) {},
			func(s *qgjob.JobSpec) { s.AppVersionID = "v2" },
			func(s *qgjob.JobSpec) { s.Target = qgjob.TargetDevice },
			func(s *qgjob.JobSpec) { s.Requires = map[string]string{"os": "14"} },
			func(s *qgjob.JobSpec) { s.Requires = map[string]string{"os": "14", "a": "b"} },
			func(s *qgjob.JobSpec) { s.Priority, s.Retries, s.TestPath = 9, 2, "tests/other.spec.js" }, // do not
		}
		for _, change := range other {
			one := spec("v1", "tests/a.spec.js")
			change(&one)
			w.submit(one)
		}
		w.submitFor("globex", spec("v1", "tests/a.spec.js"))
		w.putApp("v1", sum("a"))
		w.submit(spec("v1", "tests/a.spec.js"))
		ids := map[qgjob.GroupID]int{}
		for _, j := range w.all(qgjob.JobFilter{}) {
			ids[j.GroupID]++
		}
		w.equal("groups", len(ids), 7)
		w.equal("group of the last change", w.job(6).GroupID, w.job(1).GroupID)
		groups, err := w.s.Groups(w.ctx, "globex")
		w.ok(err)
		w.equal("groups of globex", len(groups), 1)
	}},
	{"claim/only of the agent's target", func(w *world) {
		w.register("a1")
		w.registerAs("d1", qgjob.RegisterRequest{Target: qgjob.TargetDevice})
		one := spec("v1", "tests/a.spec.js")
		one.Target = qgjob.TargetDevice
		w.submit(one)
		w.idle("a1")
		w.equal("job", w.take("d1").Job.JobID, "job_1")
	}},
	{"claim/only with the labels required", func(w *world) {
		w.register("a1")
		w.registerAs("a2", qgjob.RegisterRequest{Target: qgjob.TargetEmulator, Labels: map[string]string{"os": "13", "model": "pixel8"}})
		w.registerAs("a3", qgjob.RegisterRequest{Target: qgjob.TargetEmulator, Labels: map[string]string{"os": "14", "model": "pixel8"}})
		one := spec("v1", "tests/a.spec.js")
		one.Requires = map[string]string{"os": "14"}
		w.submit(one)
		w.idle("a1")
		w.idle("a2")
		w.equal("job", w.take("a3").Job.JobID, "job_1")
	}},
	{"claim/the same claim again gets the same offer", func(w *world) {
		w.register("a1")
		w.putApp("v1", sum("a"))
		w.submit(jobs("v1", 3)...)
		req := w.claimRequest("a1", 2)
		first, err := w.s.Claim(w.ctx, "a1", req)
		w.ok(err)
		again, err := w.s.Claim(w.ctx, "a1", req)
		w.ok(err)
		w.equal("offers", len(again.Offers), 2)
		for i, o := range again.Offers {
			w.equal("lease", o.LeaseID, first.Offers[i].LeaseID)
			w.equal("job", o.Job.JobID, first.Offers[i].Job.JobID)
			w.equal("build", *o.App, *first.Offers[i].App)
		}
		w.reopen()
		again, err = w.s.Claim(w.ctx, "a1", req)
		w.ok(err)
		w.equal("lease after a restart", again.Offers[0].LeaseID, first.Offers[0].LeaseID)
		w.check()
	}},
	{"claim/a busy agent is refused", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 3)...)
		o := w.take("a1")
		for range 2 {
			_, err := w.s.Claim(w.ctx, "a1", w.claimRequest("a1", 1))
			w.refused(err, qgjob.KindConflict, qgjob.CodeAgentBusy, o.Job.JobID.String())
			w.start(o)
		}
		w.complete(o, qgjob.OutcomePassed)
		w.take("a1")
	}},
	{"claim/who is unknown, older or known by the seed only", func(w *world) {
		w.submit(jobs("v1", 1)...)
		_, err := w.s.Claim(w.ctx, "nobody", qgjob.ClaimRequest{Incarnation: 1, ClaimID: "claim-1"})
		w.refused(err, qgjob.KindNotFound, qgjob.CodeAgentUnknown, "nobody")
		_, err = w.s.RegisterSeed(w.ctx, "", "seed", qgjob.TargetEmulator)
		w.ok(err)
		_, err = w.s.Claim(w.ctx, "seed", qgjob.ClaimRequest{Incarnation: 0, ClaimID: "claim-1"})
		w.refused(err, qgjob.KindNotFound, qgjob.CodeAgentUnknown)
		w.register("a1", "a1")
		_, err = w.s.Claim(w.ctx, "a1", qgjob.ClaimRequest{Incarnation: 1, ClaimID: "claim-1"})
		w.refused(err, qgjob.KindConflict, qgjob.CodeAgentSuperseded)
	}},
	{"claim/a draining agent gets nothing and is told", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		_, err := w.s.Drain(w.ctx, "a1", true)
		w.ok(err)
		resp, err := w.s.Claim(w.ctx, "a1", w.claimRequest("a1", 1))
		w.ok(err)
		w.equal("answer", words(len(resp.Offers), resp.Drain), "0 true")
		_, err = w.s.Drain(w.ctx, "a1", false)
		w.ok(err)
		w.take("a1")
	}},
	{"claim/a batch is of one group, in its order", func(w *world) {
		w.register("a1", "a2")
		for i := range 20 {
			w.submit(spec(fmt.Sprintf("v%d", 1+i%2), "tests/a.spec.js"))
		}
		batch := w.claim("a1", 4)
		leases := map[qgjob.LeaseID]bool{}
		for i, o := range batch {
			leases[o.LeaseID] = true
			w.equal("job", o.Job.JobID, batch[0].Job.JobID+qgjob.JobID(2*i))
		}
		w.equal("leases", len(leases), 4)
		w.equal("the other agent gets its share of the other group, not all it asks for", len(w.claim("a2", 64)), 5)
		a, err := w.s.Agent(w.ctx, "a1")
		w.ok(err)
		w.equal("first job", *a.JobID, batch[0].Job.JobID)
	}},
	{"claim/in the request that completes", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 2)...)
		o := w.run("a1")
		req := w.result(o, qgjob.OutcomePassed)
		next := w.claimRequest("a1", 1)
		req.Next = &next
		first, err := w.s.Complete(w.ctx, o.LeaseID, req)
		w.ok(err)
		w.check()
		again, err := w.s.Complete(w.ctx, o.LeaseID, req) // its answer was lost
		w.ok(err)
		w.equal("status", again.Status, qgjob.Passed)
		w.equal("next lease", again.Next.Offers[0].LeaseID, first.Next.Offers[0].LeaseID)
		w.equal("next job", again.Next.Offers[0].Job.JobID, "job_2")
	}},
	{"claim/a batch in hand claims no more when one of it completes", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 3)...)
		batch := w.claim("a1", 2)
		w.start(batch[0])
		req := w.result(batch[0], qgjob.OutcomePassed)
		next := w.claimRequest("a1", 1)
		req.Next = &next
		resp, err := w.s.Complete(w.ctx, batch[0].LeaseID, req)
		w.ok(err)
		if resp.Status != qgjob.Passed || resp.Next != nil {
			w.Fatalf("%+v", resp)
		}
		w.start(batch[1])
		w.complete(batch[1], qgjob.OutcomePassed)
		w.equal("last", w.take("a1").Job.JobID, "job_3")
	}},
	{"claim/an org's quota holds", func(w *world) {
		_, err := w.s.PutOrg(w.ctx, qgjob.Org{OrgID: "acme", Weight: 1, Quota: 1})
		w.ok(err)
		w.register("a1", "a2")
		w.submit(spec("v1", "tests/a.spec.js"), spec("v2", "tests/a.spec.js"))
		o := w.run("a1")
		w.idle("a2")
		w.reopen()
		w.idle("a2")
		w.complete(o, qgjob.OutcomePassed)
		w.take("a2")
	}},
}
