package store

import (
	"encoding/json"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
)

// turn tells other servers what a flush changed of what they remember. It is
// written with the flush; the next to flush reads the turns that it has missed
// instead of the rows. A server of an earlier version writes none: then the
// rows that carry later numbers are read, and what none tells is forgotten.
type turn struct {
	Form   int                    `json:"v"`              // turnForm, or it is of a server that tells something else
	Jobs   []int64                `json:"jobs,omitempty"` // whose rows it wrote
	Agents map[qgjob.AgentID]hand `json:"agents,omitempty"`
	Orgs   []orgNow               `json:"orgs,omitempty"`
	Groups []groupNow             `json:"groups,omitempty"`
	Queues []queueMove            `json:"queues,omitempty"` // in order
	Runs   []tallied              `json:"runs,omitempty"`
	Learnt []learntOf             `json:"learnt,omitempty"`
}

// hand is what an agent holds, and when it is expected to be free, installs
// included. Read: its row changed in other ways, too.
type hand struct {
	Read    bool                       `json:"r,omitempty"`
	Seen    int64                      `json:"s"`
	Build   *[3]string                 `json:"b,omitempty"` // org, version, sum
	Done    int64                      `json:"i,omitempty"` // installs
	Avoided int64                      `json:"a,omitempty"`
	FreeAt  float64                    `json:"f,omitempty"`
	Leases  map[qgjob.LeaseID]heldThen `json:"l,omitempty"`
}

// heldThen is a holding on its way.
type heldThen struct {
	Org        qgjob.OrgID `json:"o"`
	Group      int64       `json:"g"`
	EstimateMS int64       `json:"e"`
}

// orgNow is an org after a flush.
type orgNow struct {
	Org    qgjob.OrgID `json:"o"`
	Weight float64     `json:"w"`
	Quota  int         `json:"q,omitempty"`
	Used   float64     `json:"u"`
	At     float64     `json:"t"`
}

// groupNow is what waits of a group after a flush.
type groupNow struct {
	Group int64 `json:"g"`
	schedule.Queue
}

// queueMove is one change of a group's queue: a job left it; a new run's jobs
// came behind the others of their priority; or, with neither, any other.
type queueMove struct {
	Group    int64 `json:"g"`
	Left     int64 `json:"j,omitempty"`
	Run      int64 `json:"r,omitempty"`
	Priority int   `json:"p,omitempty"` // of new jobs
}

// tallied is a run's tally after a flush. Unread: it changed in a way that the
// flush did not look at.
type tallied struct {
	Run      int64        `json:"r"`
	Unread   bool         `json:"u,omitempty"`
	Counts   [6]int       `json:"n"` // total, passed, failed, errored, cancelled, flaky
	FailFast bool         `json:"f,omitempty"`
	Stop     qgjob.Reason `json:"s,omitempty"`
}

// learntOf is an average that changed.
type learntOf struct {
	Org  qgjob.OrgID `json:"o"`
	What string      `json:"w"`
}

const (
	turnForm  = 1        // raise it with any change of what a turn says
	turnSlots = 128      // rows in which turns are kept, by turns
	turnsMost = 8        // that are read to catch up; more are not worth it
	turnBytes = 64 << 10 // of one; a larger one is not written
)

// record notes a change of a queue for other servers.
func (t *tx) record(m queueMove) {
	if t.w.sharing == nil {
		return // there are none
	}
	if n := len(t.turn.Queues); n > 0 && t.turn.Queues[n-1] == m {
		return // the jobs of a run come one by one
	}
	t.turn.Queues = append(t.turn.Queues, m)
}

// writeTurn leaves the turn for other servers.
func (t *tx) writeTurn() error {
	if t.w.sharing == nil || t.writes == 0 {
		return nil
	}
	t.fillTurn()
	body, err := json.Marshal(&t.turn)
	if err != nil {
		return err
	}
	if len(body) > turnBytes {
		return nil
	}
	return t.write("leave a turn", `INSERT INTO turns (slot, number, body) VALUES ($1, $2, $3)
		ON CONFLICT (slot) DO UPDATE SET number = excluded.number, body = excluded.body`, t.flush%turnSlots, t.flush, string(body))
}

// fillTurn adds what stands in the mirror now.
func (t *tx) fillTurn() {
	t.turn.Form = turnForm
	t.turn.Agents = make(map[qgjob.AgentID]hand, len(t.dirty.agents))
	for id, read := range t.dirty.agents {
		a := t.m.agents[id]
		scheduled, _ := t.m.state.Agent(id)
		h := hand{Read: read, Seen: a.lastSeen, Done: a.installs, Avoided: a.avoided, FreeAt: scheduled.FreeAt, Leases: map[qgjob.LeaseID]heldThen{}}
		if a.hasBuild {
			h.Build = &[3]string{string(a.build.Org), string(a.build.Version), string(a.build.SHA)}
		}
		for l, held := range t.m.held[id] {
			h.Leases[l] = heldThen{held.org, int64(held.group), held.estimateMS}
		}
		t.turn.Agents[id] = h
	}
	for id := range t.dirty.orgs {
		o := t.m.state.Org(id)
		t.turn.Orgs = append(t.turn.Orgs, orgNow{id, o.Weight, o.Quota, o.Used.Seconds, o.Used.At})
	}
	for id := range t.groups {
		g, _ := t.m.state.Group(id)
		t.turn.Groups = append(t.turn.Groups, groupNow{int64(id), g.Queue})
	}
	for id, c := range t.known.tallies {
		if c.changed {
			n := c.now
			t.turn.Runs = append(t.turn.Runs, tallied{Run: int64(id), Counts: [6]int{n.Total, n.Passed, n.Failed, n.Errored, n.Cancelled, n.Flaky}, FailFast: c.failFast, Stop: c.stop})
		}
	}
}

// askTurns asks for the turns that follow a flush.
func (t *tx) askTurns(since int64) map[int64]*turn {
	turns := map[int64]*turn{}
	args := make([]any, 0, turnsMost+1)
	for n := range int64(turnsMost) {
		args = append(args, (since+1+n)%turnSlots)
	}
	t.ask(`SELECT number, body FROM turns WHERE slot IN ($1, $2, $3, $4, $5, $6, $7, $8) AND number > $9`, append(args, since), func(row scanner) error {
		var number int64
		var body []byte
		if err := row.Scan(&number, &body); err != nil {
			return err
		}
		if o := (&turn{}); json.Unmarshal(body, o) == nil && o.Form == turnForm {
			turns[number] = o // any other is as good as missing
		}
		return nil
	})
	return turns
}

// inOrder gives the turns after a flush up to another; none when one of them
// is missing.
func inOrder(turns map[int64]*turn, since, seen int64) []*turn {
	var list []*turn
	for n := since + 1; n <= seen; n++ {
		if turns[n] == nil {
			return nil
		}
		list = append(list, turns[n])
	}
	return list
}

// follow brings the mirror up to date by what other servers tell.
func (t *tx) follow(turns []*turn) error {
	hands := map[qgjob.AgentID]hand{}
	var averages []averageKey
	for _, o := range turns {
		for id, h := range o.Agents {
			h.Read = h.Read || hands[id].Read
			hands[id] = h
		}
		for _, l := range o.Learnt {
			averages = append(averages, averageKey{l.Org, l.What})
		}
		t.m.followRows(o)
		for _, n := range o.Orgs {
			t.m.takeOrg(schedule.Org{ID: n.Org, Weight: n.Weight, Quota: n.Quota, Used: schedule.Usage{Seconds: n.Used, At: n.At}})
		}
		if err := t.followGroups(o); err != nil {
			return err
		}
	}
	if err := t.followHands(hands); err != nil {
		return err
	}
	return t.relearn(averages)
}

// followRows drops what the mirror keeps of rows that changed.
func (m *mirror) followRows(o *turn) {
	for _, id := range o.Jobs {
		m.kept.forget(qgjob.JobID(id))
	}
	for _, r := range o.Runs {
		id := qgjob.RunID(r.Run)
		if m.kept.tallies[id] == nil {
			continue
		}
		c := &runCount{failFast: r.FailFast, stop: r.Stop}
		c.now = qgjob.Tally{Total: r.Counts[0], Passed: r.Counts[1], Failed: r.Counts[2], Errored: r.Counts[3], Cancelled: r.Counts[4], Flaky: r.Counts[5]}
		if m.kept.tallies[id] = c; r.Unread || c.now.Conclude() != "" {
			delete(m.kept.tallies, id)
		}
	}
	for _, q := range o.Queues {
		id := qgjob.GroupID(q.Group)
		switch f := m.fronts[id]; {
		case f == nil:
		case q.Left != 0:
			f.left(qgjob.JobID(q.Left), qgjob.RunID(q.Run))
		case q.Run != 0:
			m.submitted(id, qgjob.RunID(q.Run), q.Priority)
		default:
			delete(m.fronts, id)
		}
	}
}

func (t *tx) followGroups(o *turn) error {
	for _, n := range o.Groups {
		id := qgjob.GroupID(n.Group)
		g, known := t.m.state.Group(id)
		if !known { // new, or forgotten
			if _, err := t.groupByID(id); err != nil {
				return err
			}
		}
		t.m.state.SetQueue(id, n.Queue)
		if known {
			if err := t.knowUpload(installKey{g.Build, g.Target}); err != nil {
				return err
			}
		}
	}
	return nil
}

// followHands has agents be and hold what was told of them last.
func (t *tx) followHands(hands map[qgjob.AgentID]hand) error {
	for id, h := range hands {
		if h.Read || t.m.agents[id] == nil {
			t.ask(`SELECT `+agentColumns+` FROM agents WHERE agent_id = $1`, []any{string(id)}, func(row scanner) error {
				a, err := scanAgent(row)
				if err == nil {
					t.m.takeAgent(a)
				}
				return err
			})
			continue
		}
		a := t.m.agents[id]
		a.lastSeen, a.installs, a.avoided = h.Seen, h.Done, h.Avoided
		if a.hasBuild, a.build = h.Build != nil, (schedule.Build{}); a.hasBuild {
			a.build = schedule.Build{Org: qgjob.OrgID(h.Build[0]), Version: qgjob.AppVersionID(h.Build[1]), SHA: qgjob.Sum(h.Build[2])}
		}
		t.m.takeAgent(a)
	}
	if err := t.sync(); err != nil {
		return err
	}
	for id, h := range hands {
		jobs := make([]*jobRow, 0, len(h.Leases))
		for l, held := range h.Leases {
			j := &jobRow{org: held.Org, group: qgjob.GroupID(held.Group), estimateMS: held.EstimateMS}
			j.LeaseID, j.Agent = l, id
			jobs = append(jobs, j)
		}
		t.m.rehold(id, jobs, schedule.Seconds(t.now))
		a, _ := t.m.state.Agent(id)
		a.FreeAt = h.FreeAt
		t.m.state.SetAgent(a)
	}
	return nil
}

// relearn looks up anew what others have learnt.
func (t *tx) relearn(averages []averageKey) error {
	for _, org := range t.forgetLearnt(averages) {
		if err := t.followInstalls(org); err != nil {
			return err
		}
	}
	return nil
}
