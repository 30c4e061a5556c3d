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

// random lets random operations loose on the store and follows them in a
// model of states. Whatever happens, every job stands where the model says,
// and the whole database is counted anew after every step.
func random(t *testing.T, fresh func(t testing.TB) Database) {
	rapid.Check(t, func(rt *rapid.T) {
		// The bubble is left before rapid hears of a failure: it must not
		// leave through rapid's panic.
		var failed any
		synctest.Test(t, func(t *testing.T) {
			defer func() { failed = recover() }()
			m := newModel(t, rt, fresh(t))
			defer func() { _ = m.w.s.Close() }()
			rt.Repeat(map[string]func(*rapid.T){
				"submit": m.submit, "claim": m.claim, "start": m.start, "complete": m.complete, "complete again": m.completeAgain, "late": m.late,
				"cancel": m.cancel, "cancel run": m.cancelRun, "expire": m.expire, "renew": m.renew, "register": m.register, "drain": m.drain,
				"wake": m.wake, "restart": m.restart, "": m.compare,
			})
			m.finish()
		})
		if failed != nil {
			panic(failed)
		}
	})
}

// mjob is a job as the model knows it.
type mjob struct {
	id       qgjob.JobID
	spec     qgjob.JobSpec
	run      qgjob.RunID
	state    qgjob.JobState
	delayed  bool // may be in its back-off
	offer    qgjob.Offer
	agent    qgjob.AgentID
	started  bool
	lost     bool // the newest lease expired after its start, and may still complete
	infra    int
	tests    int
	starts   int
	avoid    qgjob.AgentID
	avoidTil time.Time
}

type model struct {
	w      *world
	rt     *rapid.T
	jobs   []*mjob
	runs   int
	agents []qgjob.AgentID
	drains map[qgjob.AgentID]bool
	old    []qgjob.Offer // leases that nothing may come of any more
	done   map[qgjob.JobID]qgjob.CompleteRequest
}

func newModel(t *testing.T, rt *rapid.T, db Database) *model {
	w := open(t, db, store.Options{})
	w.tb = rt
	m := &model{w: w, rt: rt, agents: []qgjob.AgentID{"a1", "a2", "a3"}, drains: map[qgjob.AgentID]bool{}, done: map[qgjob.JobID]qgjob.CompleteRequest{}}
	for i, id := range m.agents {
		w.registerAs(id, qgjob.RegisterRequest{Target: []qgjob.Target{"emulator", "emulator", "browser"}[i]})
	}
	return m
}

// pick draws one of the jobs for which want holds; nil when there is none.
func (m *model) pick(rt *rapid.T, want func(*mjob) bool) *mjob {
	var list []*mjob
	for _, j := range m.jobs {
		if want(j) {
			list = append(list, j)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[rapid.IntRange(0, len(list)-1).Draw(rt, "job")]
}

func (m *model) submit(rt *rapid.T) {
	n := rapid.IntRange(1, 4).Draw(rt, "jobs")
	specs := make([]qgjob.JobSpec, n)
	for i := range specs {
		specs[i] = qgjob.JobSpec{AppVersionID: rapid.SampledFrom([]qgjob.AppVersionID{"v1", "v2"}).Draw(rt, "version"), TestPath: fmt.Sprintf("tests/%d.js", i),
			Target:   rapid.SampledFrom([]qgjob.Target{"emulator", "emulator", "browser"}).Draw(rt, "target"),
			Priority: rapid.IntRange(1, 3).Draw(rt, "priority"), Retries: rapid.IntRange(0, 2).Draw(rt, "retries")}
	}
	resp := m.w.submit(specs...)
	m.runs++
	m.w.equal("run", resp.RunID, qgjob.RunID(m.runs))
	for i, id := range resp.JobIDs {
		m.w.equal("job", id, qgjob.JobID(len(m.jobs)+1))
		m.jobs = append(m.jobs, &mjob{id: id, spec: specs[i], run: resp.RunID, state: qgjob.Queued})
	}
}

func (m *model) held(id qgjob.AgentID) bool {
	for _, j := range m.jobs {
		if j.state.Leased() && j.agent == id {
			return true
		}
	}
	return false
}

func (m *model) claim(rt *rapid.T) {
	id := rapid.SampledFrom(m.agents).Draw(rt, "agent")
	req := m.w.claimRequest(id, rapid.IntRange(1, 3).Draw(rt, "max"))
	resp, err := m.w.s.Claim(m.w.ctx, id, req)
	if m.held(id) {
		m.w.refused(err, qgjob.KindConflict, qgjob.CodeAgentBusy)
		return
	}
	m.w.ok(err)
	if m.drains[id] && len(resp.Offers) > 0 {
		rt.Fatalf("draining agent %s was offered %s", id, resp.Offers[0].Job.JobID)
	}
	if len(resp.Offers) == 0 && !m.drains[id] {
		m.mustBeIdle(rt, id)
	}
	for _, o := range resp.Offers {
		j := m.jobs[o.Job.JobID-1]
		m.mayTake(rt, j, id)
		if j.lost {
			m.old = append(m.old, j.offer)
		}
		j.state, j.offer, j.agent, j.started, j.lost = qgjob.Assigned, o, id, false, false
	}
	m.w.check()
}

// mayTake wants a job to be the first of its group that the agent could take.
func (m *model) mayTake(rt *rapid.T, j *mjob, id qgjob.AgentID) {
	if j.state != qgjob.Queued || j.spec.Target != m.target(id) {
		rt.Fatalf("%s is %s for %s and was offered to %s", j.id, j.state, j.spec.Target, id)
	}
	j.delayed = false // it waited after all, or the claim could not have found it
	for _, k := range m.jobs {
		sameGroup := k.spec.AppVersionID == j.spec.AppVersionID && k.spec.Target == j.spec.Target
		first := k.spec.Priority > j.spec.Priority || k.spec.Priority == j.spec.Priority && k.id < j.id
		if k != j && sameGroup && first && k.state == qgjob.Queued && !k.delayed && !m.avoids(k, id) && !m.avoids(j, id) {
			rt.Fatalf("%s was offered %s before %s", id, j.id, k.id)
		}
	}
}

func (m *model) avoids(j *mjob, id qgjob.AgentID) bool {
	return j.avoid == id && time.Now().Before(j.avoidTil)
}

// mustBeIdle wants a reason for an agent that was offered nothing: nothing
// suits, or what suits is served by another agent or had better go elsewhere.
func (m *model) mustBeIdle(rt *rapid.T, id qgjob.AgentID) {
	for _, j := range m.jobs {
		if j.state.Leased() {
			return // joining another's group may not be worth an install
		}
	}
	for _, j := range m.jobs {
		if j.state == qgjob.Queued && !j.delayed && j.spec.Target == m.target(id) && !m.avoids(j, id) {
			rt.Fatalf("%s was offered nothing while %s waits", id, j.id)
		}
	}
}

func (m *model) target(id qgjob.AgentID) qgjob.Target {
	if id == "a3" {
		return qgjob.TargetBrowser
	}
	return qgjob.TargetEmulator
}

func (m *model) start(rt *rapid.T) {
	j := m.pick(rt, func(j *mjob) bool { return j.state.Leased() })
	if j == nil {
		return
	}
	answer, err := m.w.s.Start(m.w.ctx, j.offer.LeaseID, m.w.startRequest(j.offer))
	m.w.ok(err)
	if j.state == qgjob.Cancelling {
		m.w.equal("answer", answer, qgjob.LeaseCancel)
		return
	}
	m.w.equal("answer", answer, qgjob.LeaseOK)
	if j.state == qgjob.Assigned {
		j.state, j.started = qgjob.Running, true
		j.starts++
	}
	m.w.check()
}
