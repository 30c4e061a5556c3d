package store

import (
	"fmt"
	"maps"
	"slices"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
)

// catchUp brings the mirror to the newest flush: by the turns of other servers,
// or by the rows where one of them left none.
func (t *tx) catchUp(turns map[int64]*turn) error {
	list := inOrder(turns, t.m.flush, t.seen)
	if list == nil {
		if err := t.catchUpByRows(); err != nil {
			return fmt.Errorf("read what others changed: %w", err)
		}
	} else if err := t.follow(list); err != nil {
		return fmt.Errorf("follow turns %d to %d: %w", t.m.flush+1, t.seen, err)
	}
	t.m.flush = t.seen
	return nil
}

// changes is what other servers have changed since a flush, as the rows tell.
type changes struct {
	orgs     []schedule.Org
	averages []averageKey
	groups   []schedule.Group
	keys     []groupKey
	agents   []*agentRow
	leased   map[qgjob.AgentID][]*jobRow
}

// askChanges asks for what carries a later number than a flush. It is read
// under the lock that all flushes take, so nothing moves meanwhile.
func (t *tx) askChanges(since int64) *changes {
	c := &changes{leased: map[qgjob.AgentID][]*jobRow{}}
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
	t.ask(`SELECT j.org_id, j.group_id, j.lease_id, j.agent_id, j.estimate_ms FROM agents a JOIN jobs j ON j.agent_id = a.agent_id
		WHERE a.flush > 0 AND a.flush > $1 AND j.state IN ('assigned', 'running', 'cancelling')`, []any{since}, func(row scanner) error {
		j := &jobRow{}
		err := row.Scan(&j.org, &j.group, &j.LeaseID, &j.Agent, &j.estimateMS)
		c.leased[j.Agent] = append(c.leased[j.Agent], j)
		return err
	})
	return c
}

// catchUpByRows reads what changed, and forgets what no number tells of.
func (t *tx) catchUpByRows() error {
	c := t.askChanges(t.m.flush)
	if err := t.sync(); err != nil {
		return err
	}
	t.m.kept = newKept()
	for _, o := range c.orgs {
		t.m.takeOrg(o)
	}
	for i, g := range c.groups {
		delete(t.m.fronts, g.ID)
		if err := t.adopt(g, c.keys[i]); err != nil {
			return fmt.Errorf("take changed groups: %w", err)
		}
	}
	for _, a := range c.agents {
		t.m.takeAgent(a)
		t.m.rehold(a.id, c.leased[a.id], schedule.Seconds(t.now))
	}
	return t.relearn(c.averages)
}

// forgetLearnt throws away what others may have learnt better, to be looked up
// anew, and gives the orgs whose installs are expected to take another time.
// Whatever is learnt changes an average, and that carries the number.
func (t *tx) forgetLearnt(changed []averageKey) (installs []qgjob.OrgID) {
	tests := false
	for _, k := range changed {
		delete(t.m.learnt.averages, k)
		if k.what != whatInstall {
			tests = true
		} else if !slices.Contains(installs, k.org) {
			installs = append(installs, k.org)
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
