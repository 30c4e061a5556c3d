package store

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/qualgent/qgjob"
)

// turn tells other servers what a flush changed of what they remember, beyond
// the rows that carry its number: whose leases are whose now, which jobs are
// no longer what they were, and how queues moved. It is written with the flush;
// the next to flush reads the turns that it has missed instead of the jobs.
// A server of an earlier version writes none: then the jobs are read.
type turn struct {
	Jobs   []int64                `json:"jobs,omitempty"` // whose rows it wrote
	Hands  map[qgjob.AgentID]hand `json:"hands,omitempty"`
	Runs   []tallied              `json:"runs,omitempty"`
	Queues []queueMove            `json:"queues,omitempty"` // in order
}

// hand is what an agent holds, and when it is expected to be free, installs
// included.
type hand struct {
	FreeAt float64     `json:"f,omitempty"`
	Leases []heldLease `json:"l,omitempty"`
}

// heldLease is what the mirror must know of a lease.
type heldLease struct {
	Lease      qgjob.LeaseID `json:"l"`
	Org        qgjob.OrgID   `json:"o"`
	Group      int64         `json:"g"`
	EstimateMS int64         `json:"e"`
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

// queueMove is one change of a group's queue: a job left it; a new run's jobs
// came behind the others of their priority; or, with neither, any other.
type queueMove struct {
	Group    int64 `json:"g"`
	Left     int64 `json:"j,omitempty"`
	Run      int64 `json:"r,omitempty"`
	Priority int   `json:"p,omitempty"` // of new jobs
}

const (
	turnSlots = 128      // rows in which turns are kept, by turns
	turnsMost = 8        // that are read to catch up; more are not worth it
	turnBytes = 64 << 10 // of one; a larger one is not written
)

// record notes a change of a queue for other servers.
func (t *tx) record(m queueMove) {
	if t.w.sharing == nil {
		return
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
	t.turn.Hands = make(map[qgjob.AgentID]hand, len(t.dirty.agents))
	for id := range t.dirty.agents {
		a, _ := t.m.state.Agent(id)
		in := hand{FreeAt: a.FreeAt}
		for l, h := range t.m.held[id] {
			in.Leases = append(in.Leases, heldLease{l, h.org, int64(h.group), h.estimateMS})
		}
		t.turn.Hands[id] = in
	}
	for id, c := range t.known.tallies {
		if c.changed {
			n := c.now
			t.turn.Runs = append(t.turn.Runs, tallied{Run: int64(id), Counts: [6]int{n.Total, n.Passed, n.Failed, n.Errored, n.Cancelled, n.Flaky}, FailFast: c.failFast, Stop: c.stop})
		}
	}
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
		turns[number] = &turn{}
		if err := json.Unmarshal(body, turns[number]); err != nil {
			return fmt.Errorf("read turn %d: %w", number, err)
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

// follow brings what the mirror keeps beyond numbered rows up to date.
func (m *mirror) follow(o *turn) {
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

// followHands has agents hold what the last turn that names them says.
func (m *mirror) followHands(turns []*turn, now float64) {
	last := map[qgjob.AgentID]hand{}
	for _, o := range turns {
		maps.Copy(last, o.Hands)
	}
	for id, in := range last {
		jobs := make([]*jobRow, len(in.Leases))
		for i, h := range in.Leases {
			jobs[i] = &jobRow{org: h.Org, group: qgjob.GroupID(h.Group), estimateMS: h.EstimateMS}
			jobs[i].LeaseID, jobs[i].Agent = h.Lease, id
		}
		m.rehold(id, jobs, now)
		a, _ := m.state.Agent(id)
		a.FreeAt = in.FreeAt
		m.state.SetAgent(a)
	}
}
