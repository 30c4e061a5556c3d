package store

import (
	"fmt"
	"slices"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
)

const (
	frontLeast = 16  // jobs that are read of a group at once
	frontMost  = 128 // at most
	frontsMost = 500 // groups whose front is remembered
)

// front is the beginning of a group's queue as the mirror remembers it. It
// changes with the jobs, and by the turns of other servers.
type front struct {
	jobs  []*jobRow            // in the group's order
	whole bool                 // nothing waits behind them
	more  map[qgjob.RunID]bool // whether jobs of a run wait behind them; missing: not known
}

func before(a, b *jobRow) bool {
	place := func(j *jobRow) schedule.Job {
		return schedule.Job{Priority: j.priority, Run: int64(j.run), Rank: j.rank, Estimate: float64(j.estimateMS), Seq: int64(j.id)}
	}
	return place(a).Less(place(b))
}

// left takes a job of a run out that waits no longer.
func (f *front) left(id qgjob.JobID, run qgjob.RunID) {
	n := len(f.jobs)
	f.jobs = slices.DeleteFunc(f.jobs, func(o *jobRow) bool { return o.id == id })
	if len(f.jobs) == n {
		delete(f.more, run) // it was behind
	}
}

// came puts a job in that waits again.
func (f *front) came(j *jobRow) {
	at := len(f.jobs)
	for at > 0 && before(j, f.jobs[at-1]) {
		at--
	}
	if at == len(f.jobs) && !f.whole {
		f.more[j.run] = true
		return
	}
	f.jobs = slices.Insert(f.jobs, at, j)
	if last := len(f.jobs) - 1; last >= 2*frontMost {
		f.whole = false
		for _, o := range f.jobs[frontMost:] {
			f.more[o.run] = true
		}
		clear(f.jobs[frontMost:])
		f.jobs = f.jobs[:frontMost]
	}
}

// others reports whether other jobs of a job's run wait, where that is known.
func (f *front) others(j *jobRow) (wait, known bool) {
	for _, o := range f.jobs {
		if o.run == j.run && o.id != j.id {
			return true, true
		}
	}
	if f.whole {
		return false, true
	}
	wait, known = f.more[j.run]
	return wait, known
}

// submitted notes a new job with a run newer than all others. What is put
// before jobs that wait has the front read anew.
func (m *mirror) submitted(id qgjob.GroupID, run qgjob.RunID, priority int) {
	f := m.fronts[id]
	if f == nil {
		return
	}
	if n := len(f.jobs); n > 0 && priority > f.jobs[n-1].priority {
		delete(m.fronts, id)
		return
	}
	if f.whole {
		f.whole = false
		for _, o := range f.jobs {
			f.more[o.run] = false
		}
	}
	f.more[run] = true
}

// front gives the beginning of a group's queue; it is empty only when nothing
// waits.
func (t *tx) front(id qgjob.GroupID) (*front, error) {
	f := t.m.fronts[id]
	if f != nil && (f.whole || len(f.jobs) > 0) {
		return f, nil
	}
	f, err := t.readFront(id, min(max(2*t.known.claims, frontLeast), frontMost))
	if err != nil {
		return nil, fmt.Errorf("read the front of %s: %w", id, err)
	}
	if len(t.m.fronts) >= frontsMost {
		clear(t.m.fronts)
	}
	t.m.fronts[id] = f
	return f, nil
}

const waitingOf = ` FROM jobs WHERE org_id = $1 AND group_id = $2 AND state = 'queued' AND ready_at = 0` + groupOrder + `LIMIT `

// readFront reads the first jobs of a group, and of which of their runs more
// wait behind them: it counts no further than it must.
func (t *tx) readFront(id qgjob.GroupID, limit int) (*front, error) {
	g, err := t.groupByID(id)
	if err != nil {
		return nil, err
	}
	org := string(g.Build.Org)
	f := &front{more: map[qgjob.RunID]bool{}}
	if err := t.gather(); err != nil {
		return nil, err
	}
	t.ask(`SELECT `+jobColumns+waitingOf+`$3`, []any{org, int64(id), limit}, func(row scanner) error {
		j, err := scanJob(row)
		if err != nil {
			return err
		}
		f.jobs = append(f.jobs, t.know(j))
		return nil
	})
	waiting := map[qgjob.RunID]int{}
	t.ask(`SELECT r.run_id, (SELECT COUNT(*) FROM (SELECT 1 FROM jobs j WHERE j.org_id = $1 AND j.run_id = r.run_id AND j.group_id = $2 AND j.state = 'queued' AND j.ready_at = 0 LIMIT $3) n)
		FROM (SELECT DISTINCT f.run_id FROM (SELECT run_id FROM jobs WHERE org_id = $4 AND group_id = $5 AND state = 'queued' AND ready_at = 0`+groupOrder+`LIMIT $6) f) r`,
		[]any{org, int64(id), limit + 1, org, int64(id), limit}, func(row scanner) error {
			var run qgjob.RunID
			var n int
			err := row.Scan(&run, &n)
			waiting[run] = n
			return err
		})
	if err := t.sync(); err != nil {
		return nil, err
	}
	f.whole = len(f.jobs) < limit
	for _, j := range f.jobs {
		waiting[j.run]--
	}
	for run, n := range waiting {
		f.more[run] = n > 0
	}
	return f, nil
}

// othersWait reports whether other jobs of a job's run wait in its group.
func (t *tx) othersWait(j *jobRow) (bool, error) {
	if f := t.m.fronts[j.group]; f != nil {
		if wait, known := f.others(j); known {
			return wait, nil
		}
	}
	var other int
	found, err := t.queryRow(`SELECT 1 FROM jobs WHERE org_id = $1 AND run_id = $2 AND group_id = $3 AND id <> $4 AND state = 'queued' AND ready_at = 0 LIMIT 1`,
		[]any{string(j.org), int64(j.run), int64(j.group), int64(j.id)}, &other)
	if err != nil {
		return false, fmt.Errorf("count the runs of %s: %w", j.group, err)
	}
	return found, nil
}

// head gives the job of a group that goes first for an agent. Jobs that this
// agent had better not take come last, and only if nobody else could.
func (t *tx) head(id qgjob.GroupID, a *agentRow) (*jobRow, error) {
	f, err := t.front(id)
	if err != nil {
		return nil, err
	}
	for _, j := range f.jobs {
		if j.AvoidAgent != a.id || ms(j.AvoidUntil) <= t.nowMS {
			return t.know(j), nil
		}
	}
	g, err := t.groupByID(id)
	if err != nil {
		return nil, err
	}
	if !f.whole {
		j, err := t.readJob(` WHERE org_id = $1 AND group_id = $2 AND state = 'queued' AND ready_at = 0
			AND (avoid_agent <> $3 OR avoid_until <= $4)`+groupOrder+`LIMIT 1`, string(g.Build.Org), int64(id), string(a.id), t.nowMS)
		if err != nil || j != nil {
			return j, err
		}
	}
	if up, _ := t.m.state.Matching(g.Build.Org, g.Target, g.Requires); up > 1 {
		return nil, nil
	}
	if len(f.jobs) == 0 {
		return nil, fmt.Errorf("%s counts %d waiting jobs and holds none", id, g.Waiting)
	}
	return t.know(f.jobs[0]), nil
}

// rehead finds a group's head anew and gives the mirror its aggregates.
func (t *tx) rehead(id qgjob.GroupID, q schedule.Queue) error {
	q.HeadPriority, q.HeadSubmitted = 0, 0
	f, err := t.front(id)
	if err != nil {
		return err
	}
	if len(f.jobs) > 0 {
		q.HeadPriority, q.HeadSubmitted = f.jobs[0].priority, float64(f.jobs[0].submitted)/1000
	}
	t.m.state.SetQueue(id, q)
	return nil
}
