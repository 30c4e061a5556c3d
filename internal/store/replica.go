package store

import (
	"fmt"
	"maps"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
)

// changes is what other servers have changed since a flush.
type changes struct {
	orgs     []schedule.Org
	averages []averageKey
	groups   []schedule.Group
	keys     []groupKey
	agents   []*agentRow
	turns    map[int64]*turn
}

// askChanges asks for what carries a later number than a flush. It is read
// under the lock that all flushes take, so nothing moves meanwhile.
func (t *tx) askChanges(since int64) *changes {
	c := &changes{}
	t.ask(`SELECT org_id, weight, quota, vt, vt_at FROM orgs WHERE flush > 0 AND flush > $1`, []any{since}, func(row scanner) error {
		o, err := scanOrg(row)
		c.orgs = append(c.orgs, o)
		return err
	})
	t.ask(`SELECT org_id, what FROM org_averages WHERE flush > 0 AND flush > $1`, []any{since}, func(row scanner) error {
		var k averageKey
		err := row.Scan(&k.org, &k.what)
		c.averages = append(c.averages, k)
		return err
	})
	t.ask(`SELECT `+groupColumns+` FROM job_groups WHERE flush > 0 AND flush > $1`, []any{since}, func(row scanner) error {
		g, k, err := scanGroup(row)
		c.groups, c.keys = append(c.groups, g), append(c.keys, k)
		return err
	})
	t.ask(`SELECT `+agentColumns+` FROM agents WHERE flush > 0 AND flush > $1`, []any{since}, func(row scanner) error {
		a, err := scanAgent(row)
		c.agents = append(c.agents, a)
		return err
	})
	c.turns = t.askTurns(since)
	return c
}

// catchUp brings the mirror to the newest flush.
func (t *tx) catchUp(c *changes) error {
	for _, o := range c.orgs {
		t.m.takeOrg(o)
	}
	learnt := t.forgetLearnt(c.averages)
	turns := inOrder(c.turns, t.m.flush, t.seen)
	for i := range c.groups {
		if turns == nil {
			delete(t.m.fronts, c.groups[i].ID)
		}
		if err := t.adopt(c.groups[i], c.keys[i]); err != nil {
			return fmt.Errorf("take changed groups: %w", err)
		}
	}
	if err := t.catchUpAgents(c, turns); err != nil {
		return err
	}
	for _, o := range turns {
		t.m.follow(o)
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
func (t *tx) forgetLearnt(changed []averageKey) (installs []qgjob.OrgID) {
	tests := false
	for _, k := range changed {
		delete(t.m.learnt.averages, k)
		if k.what == whatInstall {
			installs = append(installs, k.org)
		} else {
			tests = true
		}
	}
	if tests {
		clear(t.m.learnt.tests)
		clear(t.m.learnt.failing)
	}
	if len(installs) > 0 {
		clear(t.m.learnt.installs)
	}
	return installs
}

// readOrg takes an org's row.
func (m *mirror) readOrg(row scanner) error {
	o, err := scanOrg(row)
	if err == nil {
		m.takeOrg(o)
	}
	return err
}

func scanOrg(row scanner) (o schedule.Org, err error) {
	var at int64
	err = row.Scan(&o.ID, &o.Weight, &o.Quota, &o.Used.Seconds, &at)
	o.Used.At = float64(at) / 1000
	return o, err
}

// takeOrg takes an org as it is read; how many jobs it runs is counted by
// leases.
func (m *mirror) takeOrg(o schedule.Org) {
	o.Running = m.state.Org(o.ID).Running
	m.state.SetOrg(o)
}

// catchUpAgents takes the agents that changed, and what they hold now.
func (t *tx) catchUpAgents(c *changes, turns []*turn) error {
	for _, a := range c.agents {
		t.m.agents[a.id] = a
		have, _ := t.m.state.Agent(a.id)
		have.ID = a.id
		t.m.state.SetAgent(a.scheduled(have))
	}
	if turns != nil {
		t.m.followHands(turns, schedule.Seconds(t.now))
		return nil
	}
	t.m.kept = newKept()
	holds := map[qgjob.AgentID][]*jobRow{}
	err := t.each(`SELECT j.org_id, j.group_id, j.lease_id, j.agent_id, j.estimate_ms FROM agents a JOIN jobs j ON j.agent_id = a.agent_id
		WHERE a.flush > 0 AND a.flush > $1 AND j.state IN ('assigned', 'running', 'cancelling')`, []any{t.m.flush}, func(row scanner) error {
		j := &jobRow{}
		err := row.Scan(&j.org, &j.group, &j.LeaseID, &j.Agent, &j.estimateMS)
		holds[j.Agent] = append(holds[j.Agent], j)
		return err
	})
	if err != nil {
		return fmt.Errorf("read what the agents of other servers hold: %w", err)
	}
	for _, a := range c.agents {
		t.m.rehold(a.id, holds[a.id], schedule.Seconds(t.now))
	}
	return nil
}

// rehold makes an agent hold these leases and no other. What it holds already
// stays as it is, so that the instant at which it is expected to be free is
// not put off by each of its signs of life.
func (m *mirror) rehold(id qgjob.AgentID, jobs []*jobRow, now float64) {
	want := map[qgjob.LeaseID]holding{}
	for _, j := range jobs {
		want[j.LeaseID] = holding{j.org, j.group, j.estimateMS}
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
