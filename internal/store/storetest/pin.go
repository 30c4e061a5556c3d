package storetest

import (
	"github.com/qualgent/qgjob"
)

func (w *world) assigned(id qgjob.AgentID) string {
	w.Helper()
	a, err := w.s.Agent(w.ctx, id)
	w.ok(err)
	if a.AssignedGroup == nil {
		return ""
	}
	return *a.AssignedGroup
}

var pinTests = []test{
	{"pin/takes only that version, and ends when none waits", func(w *world) {
		w.register("a1")
		w.submit(spec("v1", "tests/a.spec.js"), spec("v1", "tests/b.spec.js"))
		w.ok(w.s.Assign(w.ctx, "a1", "v2"))
		w.equal("assigned", w.assigned("a1"), "v2")
		w.idle("a1") // nothing of v2 was there yet: the pin holds
		w.equal("assigned", w.assigned("a1"), "v2")
		w.submit(spec("v2", "tests/a.spec.js"), spec("v2", "tests/b.spec.js"))
		w.equal("first", w.end("a1", qgjob.OutcomePassed), "job_3")
		w.reopen()
		w.equal("second", w.end("a1", qgjob.OutcomePassed), "job_4")
		w.equal("third, of another version", w.end("a1", qgjob.OutcomePassed), "job_1")
		w.equal("assigned", w.assigned("a1"), "")
	}},
	{"pin/serves every group of the version", func(w *world) {
		w.register("a1")
		w.ok(w.s.Assign(w.ctx, "a1", "v2"))
		w.submit(spec("v1", "tests/a.spec.js"))
		w.submit(spec("v2", "tests/a.spec.js"))
		w.submitFor("globex", spec("v2", "tests/a.spec.js"))
		w.equal("order", w.drainOrder("a1"), "[job_2 job_3 job_1]")
	}},
	{"pin/who may not be assigned", func(w *world) {
		w.register("busy", "pinned", "draining")
		_, err := w.s.RegisterSeed(w.ctx, "", "seed", qgjob.TargetEmulator)
		w.ok(err)
		w.submit(jobs("v1", 1)...)
		w.take("busy")
		w.ok(w.s.Assign(w.ctx, "pinned", "v1"))
		_, err = w.s.Drain(w.ctx, "draining", true)
		w.ok(err)
		for _, id := range []qgjob.AgentID{"nobody", "busy", "pinned", "draining"} {
			w.refused(w.s.Assign(w.ctx, id, "v2"), qgjob.KindConflict, qgjob.CodeAgentBusy, string(id))
		}
		w.refused(w.s.Assign(w.ctx, "seed", ""), qgjob.KindInvalid, "", "app_version_id")
		w.ok(w.s.Assign(w.ctx, "seed", "v2")) // the seed assigned agents that it only knew by name
		w.equal("assigned", w.assigned("seed"), "v2")
	}},
	{"pin/holds while its org is over quota", func(w *world) {
		_, err := w.s.PutOrg(w.ctx, qgjob.Org{OrgID: "acme", Weight: 1, Quota: 1})
		w.ok(err)
		w.register("a1", "a2")
		w.ok(w.s.Assign(w.ctx, "a1", "v1"))
		w.submit(jobs("v1", 3)...)
		w.equal("first", w.end("a1", qgjob.OutcomePassed), "job_1")
		other := w.run("a2")
		w.idle("a1") // job_3 waits: the group is not empty
		w.equal("assigned", w.assigned("a1"), "v1")
		w.complete(other, qgjob.OutcomePassed)
		w.equal("last", w.end("a1", qgjob.OutcomePassed), "job_3")
	}},
	{"pin/holds while what waits had better go elsewhere", func(w *world) {
		w.register("a1", "a2")
		w.ok(w.s.Assign(w.ctx, "a1", "v1"))
		w.submit(jobs("v1", 1)...)
		w.submit(jobs("v2", 1)...)
		w.complete(w.run("a1"), qgjob.OutcomeErrored)
		w.idle("a1") // job_1 waits, for a2
		w.equal("assigned", w.assigned("a1"), "v1")
		w.equal("a2 takes", words(w.end("a2", qgjob.OutcomePassed)), "job_1")
		w.equal("then the pin ends", w.end("a1", qgjob.OutcomePassed), "job_2")
	}},
}
