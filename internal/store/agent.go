package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
	"github.com/qualgent/qgjob/internal/schedule"
)

// agentRow is an agent as the database keeps it.
type agentRow struct {
	id          qgjob.AgentID
	org         qgjob.OrgID // whose jobs it takes; empty: everybody's
	target      qgjob.Target
	incarnation int64 // 0: registered by the seed's route only, runs nothing
	online      bool
	draining    bool
	labels      string
	runner      string
	host        string
	version     string
	pinned      qgjob.AppVersionID
	pinTaken    bool
	hasBuild    bool
	build       schedule.Build
	installs    int64
	avoided     int64
	registered  int64
	lastSeen    int64
	quarantine  string // a qgjob.Quarantine as JSON; empty for none
}

const agentColumns = `agent_id, target, incarnation, online, draining, labels, runner, host, version, pinned, pin_taken,
	has_build, build_org, build_version, build_sha256, installs, avoided, registered_at, last_seen, quarantine, org_id`

func scanAgent(row scanner) (*agentRow, error) {
	a := &agentRow{}
	err := row.Scan(&a.id, &a.target, &a.incarnation, &a.online, &a.draining, &a.labels, &a.runner, &a.host, &a.version, &a.pinned, &a.pinTaken,
		&a.hasBuild, &a.build.Org, &a.build.Version, &a.build.SHA, &a.installs, &a.avoided, &a.registered, &a.lastSeen, &a.quarantine, &a.org)
	return a, err
}

// scheduled is the agent as the scheduler sees it, on top of what that knows
// of its job in hand.
func (a *agentRow) scheduled(have schedule.Agent) schedule.Agent {
	have.Org, have.Target = a.org, a.target
	have.Labels, _ = parseLabels(a.labels) // was written by labelsJSON
	have.SharedInstall = a.target == qgjob.TargetBrowserStack
	have.Pinned = a.pinned
	have.Up, have.Draining = a.online && a.incarnation > 0, a.draining || a.quarantine != ""
	have.Installed = schedule.Build{}
	if a.hasBuild {
		have.Installed = a.build
	}
	return have
}

func (a *agentRow) installed() *qgjob.Installed {
	if !a.hasBuild {
		return nil
	}
	return &qgjob.Installed{OrgID: a.build.Org, AppVersionID: a.build.Version, BuildSHA256: a.build.SHA}
}

// saveAgent brings the scheduler's view up to date and has the row written at
// the end of the transaction.
func (t *tx) saveAgent(a *agentRow) {
	t.saveRoutine(a)
	t.dirty.agents[a.id] = true
}

// saveRoutine is saveAgent for what changes with the jobs: its sign of life,
// what it has installed, and how often. Turns tell that and no more.
func (t *tx) saveRoutine(a *agentRow) {
	t.m.takeAgent(a)
	if t.dirty.agents == nil {
		t.dirty.agents = map[qgjob.AgentID]bool{}
	}
	if _, saved := t.dirty.agents[a.id]; !saved {
		t.dirty.agents[a.id] = false
	}
}

// takeAgent gives the scheduler an agent as it is now.
func (m *mirror) takeAgent(a *agentRow) {
	m.agents[a.id] = a
	have, ok := m.state.Agent(a.id)
	if !ok {
		have.ID = a.id
	}
	m.state.SetAgent(a.scheduled(have))
}

// touch has an agent's row written although only its leases changed, so that
// other servers learn of it.
func (t *tx) touch(id qgjob.AgentID) {
	if a := t.m.agents[id]; a != nil && t.w.sharing != nil {
		t.saveRoutine(a)
	}
}

// agentConflict brings an agent's row up to date; registered_at stays.
const agentConflict = ` ON CONFLICT (agent_id) DO UPDATE SET target = excluded.target, incarnation = excluded.incarnation, online = excluded.online,
	draining = excluded.draining, labels = excluded.labels, runner = excluded.runner, host = excluded.host, version = excluded.version,
	pinned = excluded.pinned, pin_taken = excluded.pin_taken, has_build = excluded.has_build, build_org = excluded.build_org,
	build_version = excluded.build_version, build_sha256 = excluded.build_sha256, installs = excluded.installs, avoided = excluded.avoided,
	last_seen = excluded.last_seen, quarantine = excluded.quarantine, org_id = excluded.org_id, flush = excluded.flush`

// writeAgents writes the agents that changed.
func (t *tx) writeAgents() error {
	rows := make([][]any, 0, len(t.dirty.agents))
	for id := range t.dirty.agents {
		rows = append(rows, append(t.m.agents[id].row(), t.flush))
	}
	return t.insertOr("agents", agentColumns+", flush", agentConflict, rows)
}

// row are the values of agentColumns.
func (a *agentRow) row() []any {
	return []any{string(a.id), string(a.target), a.incarnation, flag(a.online), flag(a.draining), a.labels, a.runner, a.host, a.version, string(a.pinned), flag(a.pinTaken),
		flag(a.hasBuild), string(a.build.Org), string(a.build.Version), string(a.build.SHA), a.installs, a.avoided, a.registered, a.lastSeen, a.quarantine, string(a.org)}
}

// agent finds an agent and checks that the caller is its newest incarnation.
func (t *tx) agent(id qgjob.AgentID, incarnation int64) (*agentRow, error) {
	a := t.m.agents[id]
	if a == nil || a.incarnation == 0 {
		return nil, NotRegistered(id)
	}
	if incarnation != a.incarnation {
		e := qgjob.Conflict(qgjob.CodeAgentSuperseded, "agent %s is at incarnation %d, not %d", id, a.incarnation, incarnation)
		e.Hint = "another process serves this name: stop one of them, or give it another --name"
		return nil, e
	}
	return a, nil
}

// heard notes a sign of life. It is written when the last one is a good part
// of a renewal old, so that idle polls do not cost a commit each.
func (t *tx) heard(a *agentRow) {
	stale := t.w.opts.LeaseTTL.Milliseconds() / 8
	if a.online && t.nowMS-a.lastSeen < stale {
		return
	}
	back := !a.online
	a.online, a.lastSeen = true, t.nowMS
	t.saveRoutine(a)
	if back {
		t.note.Work, t.note.Agents = true, true
		t.saveAgent(a)
	}
}

// holds notes what the agent's device holds.
func (t *tx) holds(a *agentRow, in *qgjob.Installed) {
	if in == nil {
		return
	}
	b := schedule.Build{Org: in.OrgID, Version: in.AppVersionID, SHA: in.BuildSHA256}
	if a.hasBuild && a.build == b {
		return
	}
	a.hasBuild, a.build = true, b
	t.saveRoutine(a)
}

// Register announces an agent. A greater incarnation than the stored one
// releases at once what older ones held; an older one is refused with code
// agent_superseded; the same one again is a repetition.
func (s *Store) Register(ctx context.Context, id qgjob.AgentID, req qgjob.RegisterRequest) (qgjob.RegisterResponse, error) {
	return s.RegisterFor(ctx, "", id, req)
}

// RegisterFor announces an agent that takes only the jobs of an org; with an
// empty org those that its name serves, a new one everybody's. A name that
// serves another org, or is in use for everybody, is refused (denied): agents'
// names are of the whole server.
func (s *Store) RegisterFor(ctx context.Context, org qgjob.OrgID, id qgjob.AgentID, req qgjob.RegisterRequest) (qgjob.RegisterResponse, error) {
	if err := qgjob.CheckName("agent_id", string(id)); err != nil {
		return qgjob.RegisterResponse{}, err
	}
	if _, err := qgjob.ParseTarget(string(req.Target)); err != nil {
		return qgjob.RegisterResponse{}, err
	}
	if err := qgjob.CheckLabels("labels", req.Labels); err != nil {
		return qgjob.RegisterResponse{}, err
	}
	if req.Incarnation < 1 {
		return qgjob.RegisterResponse{}, qgjob.Invalid("incarnation", "incarnation must be 1 or more")
	}
	err := s.update(ctx, func(t *tx) error { return t.register(org, id, req) })
	if err != nil {
		return qgjob.RegisterResponse{}, err
	}
	a, err := s.Agent(ctx, id)
	return qgjob.RegisterResponse{Agent: a, Timing: lease.TimingFor(s.opts.LeaseTTL)}, err
}

func (t *tx) register(org qgjob.OrgID, id qgjob.AgentID, req qgjob.RegisterRequest) error {
	a := t.m.agents[id]
	if a == nil {
		a = &agentRow{id: id, org: org, registered: t.nowMS}
	}
	if !a.free(org) {
		return nameTaken(id)
	}
	if org == "" {
		org = a.org // who may serve everybody does not widen what a name serves
	}
	if req.Incarnation < a.incarnation {
		_, err := t.agent(id, req.Incarnation)
		return err
	}
	if req.Incarnation > a.incarnation {
		if err := t.supersede(id); err != nil {
			return err
		}
		a.draining, a.hasBuild, a.build = false, false, schedule.Build{}
	}
	a.org, a.incarnation, a.target, a.labels = org, req.Incarnation, req.Target, labelsJSON(req.Labels)
	a.runner, a.host, a.version = req.Runner, req.Host, req.Version
	a.quarantine = quarantineJSON(req.Quarantine)
	a.online, a.lastSeen = true, t.nowMS
	if in := req.Installed; in != nil {
		a.hasBuild, a.build = true, schedule.Build{Org: in.OrgID, Version: in.AppVersionID, SHA: in.BuildSHA256}
	}
	t.saveAgent(a)
	t.note.Work, t.note.Agents = true, true
	return nil
}

func quarantineJSON(q *qgjob.Quarantine) string {
	if q == nil {
		return ""
	}
	text, err := json.Marshal(q)
	if err != nil {
		return q.Reason // unreachable: text and numbers
	}
	return string(text)
}

// free reports whether an agent of an org may take the name: it is the org's,
// or was everybody's and is not in use.
func (a *agentRow) free(org qgjob.OrgID) bool {
	return org == "" || a.org == org || a.org == "" && !a.online
}

// nameTaken refuses a name that is another org's, or everybody's.
func nameTaken(id qgjob.AgentID) error {
	return &qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeOtherOrg, Message: fmt.Sprintf("the name %s is not free for agents of this token's org", id),
		Hint: "give the agent another --name"}
}

// supersede ends the leases of an agent's older incarnations: the process
// that held them is gone, and its tests with it.
func (t *tx) supersede(id qgjob.AgentID) error {
	for held := range t.m.held[id] {
		j, _, err := t.leased(held)
		if err != nil {
			return err
		}
		c, err := lease.Expire(j.Job, held, j.LeaseVer, t.now)
		if err != nil {
			return fmt.Errorf("release %s: %w", j.id, err)
		}
		if err := t.apply(j, c, nil); err != nil {
			return err
		}
	}
	return nil
}

// RegisterSeed is the seed's register route: it makes a record, or gives the
// one that is there as it is. Such an agent runs nothing until a qgjob agent
// of that name registers.
func (s *Store) RegisterSeed(ctx context.Context, org qgjob.OrgID, id qgjob.AgentID, target qgjob.Target) (qgjob.Agent, error) {
	if err := qgjob.CheckName("agent_id", string(id)); err != nil {
		return qgjob.Agent{}, err
	}
	if _, err := qgjob.ParseTarget(string(target)); err != nil {
		return qgjob.Agent{}, err
	}
	err := s.update(ctx, func(t *tx) error {
		a := t.m.agents[id]
		if a != nil && org != "" && a.org != org {
			return nameTaken(id)
		}
		if a == nil {
			t.saveAgent(&agentRow{id: id, org: org, target: target, online: true, registered: t.nowMS, lastSeen: t.nowMS})
		}
		return nil
	})
	if err != nil {
		return qgjob.Agent{}, err
	}
	return s.Agent(ctx, id)
}

// Assign pins an agent to an app version: it then takes only jobs of that
// version, until it has taken at least one and none waits. An agent that is
// unknown, busy, pinned already, draining or offline is refused (conflict).
func (s *Store) Assign(ctx context.Context, id qgjob.AgentID, version qgjob.AppVersionID) error {
	if err := qgjob.CheckName("app_version_id", string(version)); err != nil {
		return err
	}
	return s.update(ctx, func(t *tx) error {
		a := t.m.agents[id]
		if a == nil || !a.online || a.draining || a.pinned != "" || len(t.m.held[id]) > 0 {
			e := qgjob.Conflict(qgjob.CodeAgentBusy, "agent %s is not available or already busy", id)
			e.Hint = "see GET /agents for who is idle"
			return e
		}
		a.pinned, a.pinTaken = version, false
		t.saveAgent(a)
		t.note.Work = true
		return nil
	})
}

// Drain makes an agent claim no more, or lets it claim again. Offers that it
// has not started go back to the queue; the agent is told with its next
// renewal or claim.
func (s *Store) Drain(ctx context.Context, id qgjob.AgentID, drain bool) (qgjob.Agent, error) {
	err := s.update(ctx, func(t *tx) error {
		a := t.m.agents[id]
		if a == nil {
			return NoAgent(id)
		}
		if a.draining == drain {
			return nil
		}
		a.draining = drain
		t.saveAgent(a)
		t.note.Agents, t.note.Work = true, t.note.Work || !drain
		if !drain {
			return nil
		}
		for held := range t.m.held[id] {
			j, _, err := t.leased(held)
			if err != nil {
				return err
			}
			if j.Started {
				continue
			}
			c, err := lease.Release(j.Job, held, qgjob.ReasonAgentReturned, t.now)
			if err != nil {
				return err
			}
			if err := t.apply(j, c, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return qgjob.Agent{}, err
	}
	return s.Agent(ctx, id)
}

// Agents lists every agent by id.
func (s *Store) Agents(ctx context.Context) ([]qgjob.Agent, error) {
	return s.agents(ctx, "", []any{})
}

// Agent gives one agent.
func (s *Store) Agent(ctx context.Context, id qgjob.AgentID) (qgjob.Agent, error) {
	list, err := s.agents(ctx, " WHERE a.agent_id = $1", []any{string(id)})
	if err != nil {
		return qgjob.Agent{}, err
	}
	if len(list) == 0 {
		return qgjob.Agent{}, NoAgent(id)
	}
	return list[0], nil
}

func (s *Store) agents(ctx context.Context, where string, args []any) ([]qgjob.Agent, error) {
	//nolint:gosec // constants only
	rows, err := s.read.QueryContext(ctx, `SELECT `+agentColumns+`,
		COALESCE((SELECT MIN(j.id) FROM jobs j WHERE j.agent_id = a.agent_id AND j.state IN ('assigned', 'running', 'cancelling')), 0),
		COALESCE((SELECT MIN(j.app_version_id) FROM jobs j WHERE j.agent_id = a.agent_id AND j.state IN ('assigned', 'running', 'cancelling')), '')
		FROM agents a`+where+` ORDER BY a.agent_id`, args...)
	if err != nil {
		return nil, unavailable(fmt.Errorf("list agents: %w", err))
	}
	list := []qgjob.Agent{}
	err = eachRow(rows, func(rows *sql.Rows) error {
		var job qgjob.JobID
		var serves string
		a, err := scanAgent(withMore{rows, []any{(*int64)(&job), &serves}})
		if err != nil {
			return err
		}
		list = append(list, a.view(job, serves))
		return nil
	})
	return list, unavailable(err)
}

// withMore scans further columns behind those its user knows of.
type withMore struct {
	scanner
	more []any
}

// Scan scans the columns given, then the further ones.
func (w withMore) Scan(dest ...any) error {
	return w.scanner.Scan(append(dest, w.more...)...)
}

func (a *agentRow) view(job qgjob.JobID, serves string) qgjob.Agent {
	labels, _ := parseLabels(a.labels)
	v := qgjob.Agent{AgentID: a.id, OrgID: a.org, Target: a.target, Status: qgjob.AgentIdle, Labels: labels, Runner: a.runner, Host: a.host, Version: a.version,
		Incarnation: a.incarnation, Installed: a.installed(), Installs: a.installs, Avoided: a.avoided, LastSeen: fromMS(a.lastSeen)}
	if a.pinned != "" {
		serves = string(a.pinned)
	}
	if serves != "" {
		v.AssignedGroup = &serves
	}
	if job != 0 {
		v.JobID = &job
	}
	switch {
	case !a.online:
		v.Status = qgjob.AgentOffline
	case a.draining:
		v.Status = qgjob.AgentDraining
	case job != 0:
		v.Status = qgjob.AgentBusy
	case a.quarantine != "":
		v.Status = qgjob.AgentQuarantined
	}
	if a.quarantine != "" {
		v.Quarantine = &qgjob.Quarantine{}
		if json.Unmarshal([]byte(a.quarantine), v.Quarantine) != nil {
			v.Quarantine.Reason = a.quarantine // not written by quarantineJSON
		}
	}
	return v
}

// Offline marks agents that were not heard of since the instants seen, and
// gives how many it marked. Agents known only by the seed's route stay as
// they are: nobody is expected to be heard of there.
func (s *Store) Offline(ctx context.Context, gone []AgentSeen) (int, error) {
	n := 0
	err := s.update(ctx, func(t *tx) error {
		n = 0
		for _, g := range gone {
			a := t.m.agents[g.ID]
			if a == nil || !a.online || a.lastSeen != g.LastSeen.UnixMilli() || a.incarnation == 0 {
				continue
			}
			a.online = false
			t.saveAgent(a)
			t.note.Agents = true
			n++
		}
		return nil
	})
	return n, err
}

// AgentSeen is an agent with the last sign of life that the database has.
type AgentSeen struct {
	ID       qgjob.AgentID
	LastSeen time.Time
}

// OnlineAgents lists the agents that are online, for the sweep that marks
// those that went away.
func (s *Store) OnlineAgents(ctx context.Context) ([]AgentSeen, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT agent_id, last_seen FROM agents WHERE online = 1 AND incarnation > 0 ORDER BY agent_id`)
	if err != nil {
		return nil, unavailable(err)
	}
	var list []AgentSeen
	err = eachRow(rows, func(rows *sql.Rows) error {
		var a AgentSeen
		var at int64
		err := rows.Scan(&a.ID, &at)
		a.LastSeen = fromMS(at)
		list = append(list, a)
		return err
	})
	return list, unavailable(err)
}
