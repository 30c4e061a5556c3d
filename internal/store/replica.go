package store

import (
	"fmt"
	"maps"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
)

// catchUp brings the mirror from a flush that it has seen to the newest one,
// by reading what other servers' flushes have changed since. It is called
// under the lock that all flushes take, so nothing moves meanwhile.
func (t *tx) catchUp(since int64) error {
	if err := t.each(`SELECT org_id, weight, quota, vt, vt_at FROM orgs WHERE flush > 0 AND flush > $1`, []any{since}, t.m.readOrg); err != nil {
		return fmt.Errorf("read changed orgs: %w", err)
	}
	learnt, err := t.forgetLearnt(since)
	if err != nil {
		return fmt.Errorf("read changed averages: %w", err)
	}
	if err := t.loadGroups(`flush > 0 AND flush > $1`, since); err != nil {
		return fmt.Errorf("read changed groups: %w", err)
	}
	if err := t.catchUpAgents(since); err != nil {
		return fmt.Errorf("read changed agents: %w", err)
	}
	for _, org := range learnt {
		if err := t.followInstalls(org); err != nil {
			return err
		}
	}
	t.m.flush = t.seen
	return nil
}

// forgetLearnt throws away what others may have learnt better, to be looked up
// anew, and gives the orgs whose installs are expected to take another time.
// Whatever is learnt changes an average, and that carries the number.
func (t *tx) forgetLearnt(since int64) (installs []qgjob.OrgID, err error) {
	tests := false
	err = t.each(`SELECT org_id, what FROM org_averages WHERE flush > 0 AND flush > $1`, []any{since}, func(rows scanner) error {
		var k averageKey
		if err := rows.Scan(&k.org, &k.what); err != nil {
			return err
		}
		delete(t.m.learnt.averages, k)
		if k.what == whatInstall {
			installs = append(installs, k.org)
		} else {
			tests = true
		}
		return nil
	})
	if tests {
		clear(t.m.learnt.tests)
	}
	if len(installs) > 0 {
		clear(t.m.learnt.installs)
	}
	return installs, err
}

// readOrg takes an org's row; how many jobs it runs is counted by leases.
func (m *mirror) readOrg(rows scanner) error {
	var o schedule.Org
	var at int64
	if err := rows.Scan(&o.ID, &o.Weight, &o.Quota, &o.Used.Seconds, &at); err != nil {
		return err
	}
	o.Used.At = float64(at) / 1000
	o.Running = m.state.Org(o.ID).Running
	m.state.SetOrg(o)
	return nil
}

// catchUpAgents reads the agents that changed, and what they hold now.
func (t *tx) catchUpAgents(since int64) error {
	changed := map[qgjob.AgentID][]*jobRow{}
	if err := t.each(`SELECT `+agentColumns+` FROM agents WHERE flush > 0 AND flush > $1`, []any{since}, func(rows scanner) error {
		a, err := scanAgent(rows)
		if err != nil {
			return err
		}
		changed[a.id] = nil
		t.m.agents[a.id] = a
		have, _ := t.m.state.Agent(a.id)
		have.ID = a.id
		t.m.state.SetAgent(a.scheduled(have))
		return nil
	}); err != nil {
		return err
	}
	if err := t.each(`SELECT j.org_id, j.group_id, j.lease_id, j.agent_id, j.estimate_ms FROM agents a JOIN jobs j ON j.agent_id = a.agent_id
		WHERE a.flush > 0 AND a.flush > $1 AND j.state IN ('assigned', 'running', 'cancelling')`, []any{since}, func(rows scanner) error {
		j := &jobRow{}
		if err := rows.Scan(&j.org, &j.group, &j.LeaseID, &j.Agent, &j.estimateMS); err != nil {
			return err
		}
		changed[j.Agent] = append(changed[j.Agent], j)
		return nil
	}); err != nil {
		return err
	}
	for id, jobs := range changed {
		t.m.rehold(id, jobs, schedule.Seconds(t.now))
	}
	return nil
}

// rehold makes an agent hold these leases and no other. What it holds already
// stays as it is, so that the instant at which it is expected to be free is
// not put off by each of its signs of life.
func (m *mirror) rehold(id qgjob.AgentID, jobs []*jobRow, now float64) {
	want := map[qgjob.LeaseID]holding{}
	for _, j := range jobs {
		want[j.LeaseID] = holding{j.org, j.group}
	}
	if maps.Equal(m.held[id], want) {
		return
	}
	for held := range maps.Clone(m.held[id]) {
		m.unlease(id, held)
	}
	for _, j := range jobs {
		m.lease(j, now, 0)
	}
}
