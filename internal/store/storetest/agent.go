package storetest

import (
	"fmt"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store"
)

var agentTests = []test{
	{"agent/is kept as it registered", func(w *world) {
		a := w.registerAs("a1", qgjob.RegisterRequest{Target: qgjob.TargetDevice, Labels: map[string]string{"os": "14"}, Host: "lab-3", Version: "1.2.3",
			Installed: &qgjob.Installed{OrgID: "acme", AppVersionID: "v1", BuildSHA256: sum("a")}})
		w.equal("agent", words(a.AgentID, a.Target, a.Status, a.AssignedGroup, a.JobID, a.Labels, a.Runner, a.Host, a.Version, a.Incarnation, *a.Installed),
			words("a1", "device", "idle", (*string)(nil), (*qgjob.JobID)(nil), "map[os:14]", "exec", "lab-3", "1.2.3", 1, qgjob.Installed{OrgID: "acme", AppVersionID: "v1", BuildSHA256: sum("a")}))
		w.reopen()
		again, err := w.s.Agent(w.ctx, "a1")
		w.ok(err)
		w.equal("after a restart", fmt.Sprintf("%+v", again.Labels)+again.Host, "map[os:14]lab-3")
		_, err = w.s.Agent(w.ctx, "a2")
		w.refused(err, qgjob.KindNotFound, "", "a2")
	}},
	{"agent/what may not register", func(w *world) {
		good := qgjob.RegisterRequest{Incarnation: 1, Target: qgjob.TargetEmulator}
		for field, spoil := range map[string]func(*qgjob.RegisterRequest){
			"incarnation": func(r *qgjob.RegisterRequest) { r.Incarnation = 0 },
			"target":      func(r *qgjob.RegisterRequest) { r.Target = "toaster" },
			"labels":      func(r *qgjob.RegisterRequest) { r.Labels = map[string]string{"a,b": "c"} },
		} {
			bad := good
			spoil(&bad)
			_, err := w.s.Register(w.ctx, "a1", bad)
			w.refused(err, qgjob.KindInvalid, "")
			w.equal("field", w.asError(err).Field, field)
		}
		_, err := w.s.Register(w.ctx, " a1", good)
		w.refused(err, qgjob.KindInvalid, "", "agent_id")
		_, err = w.s.RegisterSeed(w.ctx, "", "", qgjob.TargetEmulator)
		w.refused(err, qgjob.KindInvalid, "", "agent_id")
	}},
	{"agent/a newer incarnation releases what older ones held", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 2)...)
		batch := w.claim("a1", 2)
		w.start(batch[0])
		w.register("a1")
		w.state(1, qgjob.Queued, qgjob.ReasonAgentLost)
		w.state(2, qgjob.Queued, qgjob.ReasonOfferExpired)
		_, err := w.s.Renew(w.ctx, "a1", qgjob.RenewRequest{Incarnation: 1, Leases: []qgjob.LeaseID{batch[0].LeaseID}})
		w.refused(err, qgjob.KindConflict, qgjob.CodeAgentSuperseded)
		w.equal("free again", len(w.claim("a1", 2)), 2)
	}},
	{"agent/a delayed duplicate of an older registration is refused", func(w *world) {
		w.register("a1", "a1", "a1")
		w.submit(jobs("v1", 1)...)
		o := w.run("a1")
		_, err := w.s.Register(w.ctx, "a1", qgjob.RegisterRequest{Incarnation: 2, Target: qgjob.TargetEmulator})
		w.refused(err, qgjob.KindConflict, qgjob.CodeAgentSuperseded)
		_, err = w.s.Register(w.ctx, "a1", qgjob.RegisterRequest{Incarnation: 3, Target: qgjob.TargetEmulator, Runner: "exec"})
		w.ok(err) // the same one again is a repetition: nothing is released
		w.check()
		w.state(1, qgjob.Running, "")
		w.complete(o, qgjob.OutcomePassed)
	}},
	{"agent/drain gives offers back and lets the rest finish", func(w *world) {
		w.register("a1", "a2")
		w.submit(jobs("v1", 6)...)
		batch := w.claim("a1", 3)
		w.start(batch[0])
		a, err := w.s.Drain(w.ctx, "a1", true)
		w.ok(err)
		w.check()
		w.equal("status", a.Status, qgjob.AgentDraining)
		w.state(1, qgjob.Running, "")
		w.state(2, qgjob.Queued, qgjob.ReasonAgentReturned)
		w.state(3, qgjob.Queued, qgjob.ReasonAgentReturned)
		w.equal("told", w.renew("a1", batch[0].LeaseID).Drain, true)
		w.complete(batch[0], qgjob.OutcomePassed)
		w.idle("a1")
		w.reopen()
		w.idle("a1")
		w.register("a1") // a restarted process drains no more
		w.equal("taken", len(w.claim("a1", 2)), 2)
		_, err = w.s.Drain(w.ctx, "nobody", true)
		w.refused(err, qgjob.KindNotFound, "", "nobody")
	}},
	{"agent/a quarantined one takes nothing until it says that it is well", func(w *world) {
		sick := qgjob.RegisterRequest{Incarnation: 1, Target: qgjob.TargetEmulator, Runner: "exec",
			Quarantine: &qgjob.Quarantine{Reason: "3 jobs in a row: it broke\x00", Next: "a canary", Failures: 3, Since: time.Unix(1, 0).UTC()}}
		well := sick
		well.Quarantine = nil
		reg := func(req qgjob.RegisterRequest) qgjob.Agent {
			w.started["a1"] = req.Incarnation
			res, err := w.s.Register(w.ctx, "a1", req)
			w.ok(err)
			return res.Agent
		}
		reg(well)
		w.submit(jobs("v1", 2)...)
		o := w.run("a1")
		a := reg(sick) // the same incarnation: what it runs goes on
		w.equal("busy still", words(a.Status, *a.Quarantine), words(qgjob.AgentBusy, *sick.Quarantine))
		w.check()
		w.complete(o, qgjob.OutcomePassed)
		a, err := w.s.Agent(w.ctx, "a1")
		w.ok(err)
		w.equal("status", a.Status, qgjob.AgentQuarantined)
		w.equal("no offers", len(w.claim("a1", 2)), 0)
		w.equal("told", w.renew("a1").Drain, false)
		w.reopen()
		w.equal("no offers after a restart", len(w.claim("a1", 2)), 0)
		a = reg(well)
		w.equal("well", words(a.Status, a.Quarantine == nil), words(qgjob.AgentIdle, true))
		w.equal("taken", w.take("a1").Job.JobID, "job_2")
		w.check()
	}},
	{"agent/offline until it is heard of again", func(w *world) {
		w.register("a1", "a2")
		w.submit(jobs("v1", 1)...)
		online, err := w.s.OnlineAgents(w.ctx)
		w.ok(err)
		w.equal("online", len(online), 2)
		w.pass(time.Minute)
		w.renew("a2") // heard of between the look and the mark
		n, err := w.s.Offline(w.ctx, online)
		w.ok(err)
		w.equal("marked", n, 1)
		w.check()
		a, err := w.s.Agent(w.ctx, "a1")
		w.ok(err)
		w.equal("status", a.Status, qgjob.AgentOffline)
		w.refused(w.s.Assign(w.ctx, "a1", "v1"), qgjob.KindConflict, qgjob.CodeAgentBusy)
		n, err = w.s.Offline(w.ctx, online)
		w.ok(err)
		w.equal("marked again", n, 0)
		w.equal("it claims, so it is back", w.take("a1").Job.JobID, "job_1")
		online, err = w.s.OnlineAgents(w.ctx)
		w.ok(err)
		w.equal("online", len(online), 2)
	}},
	{"agent/the seed's registration", func(w *world) {
		a, err := w.s.RegisterSeed(w.ctx, "", "a1", qgjob.TargetEmulator)
		w.ok(err)
		w.equal("status", a.Status, qgjob.AgentIdle)
		a, err = w.s.RegisterSeed(w.ctx, "", "a1", qgjob.TargetDevice) // again: the record as it is
		w.ok(err)
		w.equal("target", a.Target, qgjob.TargetEmulator)
		online, err := w.s.OnlineAgents(w.ctx)
		w.ok(err)
		w.equal("nobody is expected to be heard of", len(online), 0)
		n, err := w.s.Offline(w.ctx, []store.AgentSeen{{ID: "a1", LastSeen: a.LastSeen}})
		w.ok(err)
		w.equal("marked", n, 0)
		w.submit(jobs("v1", 1)...)
		w.register("a1") // the process of that name comes
		w.take("a1")
	}},
	{"agent/list is by id", func(w *world) {
		w.register("b", "a", "c")
		list, err := w.s.Agents(w.ctx)
		w.ok(err)
		var ids []qgjob.AgentID
		for _, a := range list {
			ids = append(ids, a.AgentID)
		}
		w.equal("ids", ids, "[a b c]")
	}},
}
