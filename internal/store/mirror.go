package store

import (
	"encoding/json"
	"fmt"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
)

// mirror is what the writer remembers of the database to decide fast: the
// scheduler's state and the agents' records. It is changed by the operations
// as they go and read anew after a rollback.
type mirror struct {
	state  *schedule.State
	groups map[groupKey]qgjob.GroupID
	agents map[qgjob.AgentID]*agentRow
	held   map[qgjob.AgentID]map[qgjob.LeaseID]holding
	learnt learnt
	// uploading are builds that a job in hand uploads to a device cloud, by the job's lease.
	uploading map[schedule.Build]qgjob.LeaseID
	fronts    map[qgjob.GroupID]*front
	kept      kept
	builds    map[qgjob.Sum]qgjob.App // what never changes of builds
	flush     int64                   // the last one that it has seen, where several servers write
}

// holding is what the writer remembers of a lease.
type holding struct {
	org        qgjob.OrgID
	group      qgjob.GroupID
	estimateMS int64
}

// groupKey is what makes jobs share a group.
type groupKey struct {
	org      qgjob.OrgID
	version  qgjob.AppVersionID
	build    qgjob.Sum
	target   qgjob.Target
	requires string // JSON with sorted keys
}

// loadMirror reads everything that the writer remembers.
func loadMirror(t *tx) (*mirror, error) {
	m := &mirror{
		state:  schedule.NewState(schedule.Seconds(t.now)),
		groups: map[groupKey]qgjob.GroupID{},
		agents: map[qgjob.AgentID]*agentRow{},
		held:   map[qgjob.AgentID]map[qgjob.LeaseID]holding{},
		learnt: newLearnt(), uploading: map[schedule.Build]qgjob.LeaseID{},
		fronts: map[qgjob.GroupID]*front{},
		kept:   newKept(),
		builds: map[qgjob.Sum]qgjob.App{},
		flush:  t.seen,
	}
	t.m = m
	if err := t.each(`SELECT org_id, weight, quota, vt, vt_at FROM orgs`, nil, m.readOrg); err != nil {
		return nil, fmt.Errorf("read orgs: %w", err)
	}
	if err := t.loadGroups(`waiting > 0 OR serving > 0`); err != nil {
		return nil, fmt.Errorf("read groups: %w", err)
	}
	if err := t.each(`SELECT `+agentColumns+` FROM agents`, nil, func(rows scanner) error {
		a, err := scanAgent(rows)
		if err != nil {
			return err
		}
		m.agents[a.id] = a
		m.state.SetAgent(a.scheduled(schedule.Agent{ID: a.id}))
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read agents: %w", err)
	}
	return m, m.loadLeases(t)
}

func (m *mirror) loadLeases(t *tx) error {
	err := t.each(`SELECT org_id, group_id, lease_id, agent_id, estimate_ms FROM jobs WHERE state IN ('assigned', 'running', 'cancelling')`,
		nil, func(rows scanner) error {
			var j jobRow
			if err := rows.Scan(&j.org, &j.group, &j.LeaseID, &j.Agent, &j.estimateMS); err != nil {
				return err
			}
			m.lease(&j, schedule.Seconds(t.now), 0)
			return nil
		})
	if err != nil {
		return fmt.Errorf("read leases: %w", err)
	}
	return nil
}

const groupColumns = `id, org_id, app_version_id, build_sha256, target, requires, waiting, runs, work_ms, head_priority, head_submitted`

// loadGroups takes the groups of a condition into the mirror, once all their
// rows are read: adopting one asks for its estimate on the same connection.
func (t *tx) loadGroups(condition string, args ...any) error {
	_, err := t.adoptBy(condition, args...)
	return err
}

// adoptBy is loadGroups that gives the last group found; 0 when there is none.
func (t *tx) adoptBy(condition string, args ...any) (last qgjob.GroupID, err error) {
	var found []schedule.Group
	var keys []groupKey
	if err := t.each(`SELECT `+groupColumns+` FROM job_groups WHERE `+condition, args, func(row scanner) error {
		g, k, err := scanGroup(row)
		found, keys = append(found, g), append(keys, k)
		return err
	}); err != nil {
		return 0, err
	}
	if err := t.foresee(keys); err != nil {
		return 0, err
	}
	for i := range found {
		delete(t.m.fronts, found[i].ID)
		if err := t.adopt(found[i], keys[i]); err != nil {
			return 0, err
		}
		last = found[i].ID
	}
	return last, nil
}

func scanGroup(row scanner) (g schedule.Group, k groupKey, err error) {
	var workMS, headMS int64
	if err := row.Scan(&g.ID, &k.org, &k.version, &k.build, &k.target, &k.requires, &g.Waiting, &g.Runs, &workMS, &g.HeadPriority, &headMS); err != nil {
		return g, k, err
	}
	g.Work, g.HeadSubmitted = float64(workMS)/1000, float64(headMS)/1000
	return g, k, nil
}

// adopt takes a group into the mirror, with what its install is expected to
// take.
func (t *tx) adopt(g schedule.Group, k groupKey) (err error) {
	g.Build, g.Target = schedule.Build{Org: k.org, Version: k.version, SHA: k.build}, k.target
	if g.Requires, err = parseLabels(k.requires); err != nil {
		return fmt.Errorf("%s: requires: %w", g.ID, err)
	}
	if g.Install, err = t.expectInstall(installKey{g.Build, g.Target}); err != nil {
		return err
	}
	t.m.groups[k] = g.ID
	t.m.state.SetGroup(g)
	return t.knowUpload(installKey{g.Build, g.Target})
}

// lease notes that an agent holds a job: it is busy until the job is expected
// to end, and its org runs one more.
func (m *mirror) lease(j *jobRow, now, install float64) {
	if m.held[j.Agent] == nil {
		m.held[j.Agent] = map[qgjob.LeaseID]holding{}
	}
	m.held[j.Agent][j.LeaseID] = holding{j.org, j.group, j.estimateMS}
	if a, ok := m.state.Agent(j.Agent); ok {
		a.Serving = j.group
		a.FreeAt = max(a.FreeAt, now) + install + float64(j.estimateMS)/1000
		m.state.SetAgent(a)
	}
	o := m.state.Org(j.org)
	o.Running++
	m.state.SetOrg(o)
}

// unlease notes that an agent no longer holds a lease.
func (m *mirror) unlease(agent qgjob.AgentID, id qgjob.LeaseID) {
	h, held := m.held[agent][id]
	if !held {
		return
	}
	delete(m.held[agent], id)
	m.breakPromise(id)
	if a, ok := m.state.Agent(agent); ok && len(m.held[agent]) == 0 {
		a.Serving, a.FreeAt = 0, 0
		m.state.SetAgent(a)
	}
	o := m.state.Org(h.org)
	o.Running--
	m.state.SetOrg(o)
}

func labelsJSON(labels map[string]string) string {
	if len(labels) == 0 {
		return ""
	}
	b, _ := json.Marshal(labels) // of strings: cannot fail; keys come sorted
	return string(b)
}

func parseLabels(s string) (map[string]string, error) {
	if s == "" {
		return nil, nil
	}
	var m map[string]string
	err := json.Unmarshal([]byte(s), &m)
	return m, err
}
