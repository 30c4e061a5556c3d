package storetest

import (
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
	"pgregory.net/rapid"
)

var outcomes = []qgjob.Outcome{qgjob.OutcomePassed, qgjob.OutcomeFailed, qgjob.OutcomeErrored, qgjob.OutcomeInterrupted}

// settle is what a result that counts makes of a job.
func (m *model) settle(j *mjob, outcome qgjob.Outcome) {
	switch outcome {
	case qgjob.OutcomePassed:
		j.state = qgjob.Passed
	case qgjob.OutcomeFailed:
		j.state = qgjob.Failed
		if j.tests++; j.tests <= j.spec.Retries {
			j.state, j.delayed = qgjob.Queued, true
			m.avoid(j)
		}
	case qgjob.OutcomeErrored:
		m.infra(j)
	default:
		j.state = qgjob.Queued
	}
	j.lost = false
}

func (m *model) infra(j *mjob) {
	j.state = qgjob.Queued
	if j.infra++; j.infra >= qgjob.MaxInfraFails {
		j.state = qgjob.Errored
		return
	}
	m.avoid(j)
}

func (m *model) avoid(j *mjob) { j.avoid, j.avoidTil = j.agent, time.Now().Add(lease.AvoidFor) }

func (m *model) complete(rt *rapid.T) {
	j := m.pick(rt, func(j *mjob) bool { return j.state == qgjob.Running || j.state == qgjob.Cancelling })
	if j == nil {
		return
	}
	outcome := rapid.SampledFrom(outcomes).Draw(rt, "outcome")
	req := m.w.result(j.offer, outcome)
	req.TestMS = rapid.Int64Range(0, 90_000).Draw(rt, "test ms")
	if rapid.Bool().Draw(rt, "installed") {
		req.Install, req.InstallMS = qgjob.InstallDone, rapid.Int64Range(0, 90_000).Draw(rt, "install ms")
	}
	resp, err := m.w.s.Complete(m.w.ctx, j.offer.LeaseID, req)
	m.w.ok(err)
	if j.state == qgjob.Cancelling {
		j.state = qgjob.Cancelled
	} else {
		m.settle(j, outcome)
	}
	if j.started {
		m.done[j.id] = req
	}
	m.w.equal("status", resp.Status, j.state)
	m.w.check()
}

// completeAgain repeats the newest result of a job that has ended, and then
// brings another one for the same lease.
func (m *model) completeAgain(rt *rapid.T) {
	j := m.pick(rt, func(j *mjob) bool { return j.state.Terminal() && m.done[j.id].Digest != "" })
	if j == nil {
		return
	}
	if j.state != qgjob.Cancelled {
		resp, err := m.w.s.Complete(m.w.ctx, j.offer.LeaseID, m.done[j.id])
		if err == nil {
			m.w.equal("status", resp.Status, j.state)
		} else {
			m.w.refused(err, qgjob.KindConflict, qgjob.CodeStaleLease) // the newest lease ended without a result
		}
	}
	other := m.done[j.id]
	other.Digest = "digest-other"
	_, err := m.w.s.Complete(m.w.ctx, j.offer.LeaseID, other)
	m.w.refused(err, qgjob.KindConflict, qgjob.CodeStaleLease)
}

// late brings a result whose lease has expired.
func (m *model) late(rt *rapid.T) {
	outcome := rapid.SampledFrom(outcomes).Draw(rt, "outcome")
	if len(m.old) > 0 && rapid.Bool().Draw(rt, "older") {
		o := rapid.SampledFrom(m.old).Draw(rt, "lease")
		_, err := m.w.s.Complete(m.w.ctx, o.LeaseID, m.w.result(o, outcome))
		m.w.refused(err, qgjob.KindConflict, qgjob.CodeStaleLease)
		return
	}
	j := m.pick(rt, func(j *mjob) bool { return j.state == qgjob.Queued && j.lost })
	if j == nil {
		return
	}
	resp, err := m.w.s.Complete(m.w.ctx, j.offer.LeaseID, m.w.result(j.offer, outcome))
	m.w.ok(err)
	j.infra--
	m.settle(j, outcome)
	m.w.equal("status", resp.Status, j.state)
	m.w.check()
}

func (m *model) cancel(rt *rapid.T) {
	if j := m.pick(rt, func(j *mjob) bool { return true }); j != nil {
		_, err := m.w.s.CancelJob(m.w.ctx, j.id)
		if j.state.Terminal() {
			m.w.refused(err, qgjob.KindConflict, qgjob.CodeTerminal)
			return
		}
		m.w.ok(err)
		m.cancelled(j)
		m.w.check()
	}
}

func (m *model) cancelled(j *mjob) {
	switch {
	case j.state == qgjob.Queued:
		j.state = qgjob.Cancelled
		if j.lost {
			m.old = append(m.old, j.offer)
		}
	case j.state.Leased():
		j.state = qgjob.Cancelling
	}
}

func (m *model) cancelRun(rt *rapid.T) {
	if m.runs == 0 || rapid.IntRange(0, 3).Draw(rt, "often") > 0 {
		return
	}
	id := qgjob.RunID(rapid.IntRange(1, m.runs).Draw(rt, "run"))
	open := false
	for _, j := range m.jobs {
		open = open || j.run == id && !j.state.Terminal()
	}
	_, err := m.w.s.CancelRun(m.w.ctx, id)
	if !open {
		m.w.refused(err, qgjob.KindConflict, qgjob.CodeTerminal)
		return
	}
	m.w.ok(err)
	for _, j := range m.jobs {
		if j.run == id {
			m.cancelled(j)
		}
	}
	m.w.check()
}

// gone is what becomes of a job whose agent is.
func (m *model) gone(j *mjob) {
	switch {
	case j.state == qgjob.Cancelling:
		j.state = qgjob.Cancelled
	case j.started:
		j.lost = true
		if m.infra(j); j.state == qgjob.Errored {
			m.old = append(m.old, j.offer)
		}
		return
	default:
		j.state = qgjob.Queued
	}
	m.old = append(m.old, j.offer)
}

func (m *model) expire(rt *rapid.T) {
	if j := m.pick(rt, func(j *mjob) bool { return j.state.Leased() }); j != nil {
		m.w.expire(j.offer.LeaseID)
		m.gone(j)
	}
}

// renew names some of the leases that an agent holds; offers that it does not
// name go back.
func (m *model) renew(rt *rapid.T) {
	id := rapid.SampledFrom(m.agents).Draw(rt, "agent")
	var named []qgjob.LeaseID
	for _, j := range m.jobs {
		if !j.state.Leased() || j.agent != id {
			continue
		}
		if rapid.Bool().Draw(rt, "named") {
			named = append(named, j.offer.LeaseID)
		} else if !j.started {
			m.gone(j)
		}
	}
	for l, answer := range m.w.renew(id, named...).Leases {
		if answer == qgjob.LeaseStale {
			rt.Fatalf("lease %s of %s is stale", l, id)
		}
	}
}

func (m *model) register(rt *rapid.T) {
	id := rapid.SampledFrom(m.agents).Draw(rt, "agent")
	for _, j := range m.jobs {
		if j.state.Leased() && j.agent == id {
			m.gone(j)
		}
	}
	m.w.registerAs(id, qgjob.RegisterRequest{Target: m.target(id)})
	m.drains[id] = false
}

func (m *model) drain(rt *rapid.T) {
	id := rapid.SampledFrom(m.agents).Draw(rt, "agent")
	m.drains[id] = !m.drains[id]
	if m.drains[id] {
		for _, j := range m.jobs {
			if j.state.Leased() && j.agent == id && !j.started {
				m.gone(j)
			}
		}
	}
	_, err := m.w.s.Drain(m.w.ctx, id, m.drains[id])
	m.w.ok(err)
	m.w.check()
}

func (m *model) wake(rt *rapid.T) {
	after := time.Duration(rapid.SampledFrom([]int{0, 1, 5, 70}).Draw(rt, "seconds")) * time.Second
	m.w.wake(after)
	if after > lease.BackoffLimit {
		for _, j := range m.jobs {
			j.delayed = false
		}
	}
}

func (m *model) restart(rt *rapid.T) {
	if rapid.IntRange(0, 3).Draw(rt, "often") == 0 {
		m.w.reopen()
	}
}

// compare wants every job to stand where the model says.
func (m *model) compare(rt *rapid.T) {
	list := m.w.all(qgjob.JobFilter{})
	m.w.equal("jobs", len(list), len(m.jobs))
	for i, j := range list {
		want := m.jobs[i]
		if j.Status != want.state || j.Attempts != want.starts {
			rt.Fatalf("%s is %s after %d starts; the model says %s after %d", j.JobID, j.Status, j.Attempts, want.state, want.starts)
		}
		if flaky := want.state == qgjob.Passed && want.tests > 0; j.Flaky != flaky {
			rt.Fatalf("%s: flaky %v; the model says %v", j.JobID, j.Flaky, flaky)
		}
	}
}

// finish lets everything end: nothing may be stuck.
func (m *model) finish() {
	for _, id := range m.agents {
		m.w.registerAs(id, qgjob.RegisterRequest{Target: m.target(id)})
	}
	m.w.wake(2 * lease.BackoffLimit)
	for _, id := range m.agents {
		m.w.drainOrder(id)
	}
	for id := qgjob.RunID(1); id <= qgjob.RunID(m.runs); id++ {
		if m.w.runOf(id).Conclusion == "" {
			m.rt.Fatalf("%s never ends: %+v", id, m.w.runOf(id))
		}
		m.w.checkEvents(id)
	}
}
