package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

// HeldLease is a lease as a sweep finds it. Deadline is when the server ends
// the attempt itself; zero before its start.
type HeldLease struct {
	lease.Held
	Deadline time.Time
}

// heldQuery has no order: to get one, SQLite would walk all jobs by id.
const heldQuery = `SELECT id, lease_id, lease_ver, started, started_at, timeout_ms FROM jobs WHERE state IN ('assigned', 'running', 'cancelling')`

// Held lists every lease, for the sweep that expires those not renewed.
func (s *Store) Held(ctx context.Context) ([]HeldLease, error) {
	rows, err := s.read.QueryContext(ctx, heldQuery)
	if err != nil {
		return nil, unavailable(fmt.Errorf("list leases: %w", err))
	}
	var list []HeldLease
	err = eachRow(rows, func(rows *sql.Rows) error {
		var h HeldLease
		var startedAt, timeout int64
		if err := rows.Scan(&h.JobID, &h.LeaseID, &h.Ver, &h.Started, &startedAt, &timeout); err != nil {
			return err
		}
		if h.Started {
			h.Deadline = fromMS(startedAt).Add(time.Duration(timeout)*time.Millisecond + qgjob.InstallAllowance)
		}
		list = append(list, h)
		return nil
	})
	slices.SortFunc(list, func(a, b HeldLease) int { return cmp.Compare(a.JobID, b.JobID) })
	return list, unavailable(err)
}

// Expire ends a lease that the sweep saw unchanged for its time. A renewal in
// between makes it a no-op: expired is false.
func (s *Store) Expire(ctx context.Context, h lease.Held) (expired bool, err error) {
	err = s.update(ctx, func(t *tx) error {
		expired, err = t.sweep(h.LeaseID, func(j lease.Job) (lease.Change, error) { return lease.Expire(j, h.LeaseID, h.Ver, t.now) })
		return err
	})
	return expired, err
}

// Timeout ends an attempt whose agent let its deadline pass by far.
func (s *Store) Timeout(ctx context.Context, id qgjob.LeaseID) (ended bool, err error) {
	err = s.update(ctx, func(t *tx) error {
		ended, err = t.sweep(id, func(j lease.Job) (lease.Change, error) { return lease.Timeout(j, id, t.now) })
		return err
	})
	return ended, err
}

// sweep applies a transition of the sweep; what has moved on meanwhile is left
// alone.
func (t *tx) sweep(id qgjob.LeaseID, decide func(lease.Job) (lease.Change, error)) (bool, error) {
	j, _, err := t.leased(id)
	if err != nil {
		return false, err
	}
	c, err := decide(j.Job)
	if qgjob.KindOf(err) == qgjob.KindConflict {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, t.apply(j, c, nil)
}

// wakeBatch is how many jobs one transaction takes out of their back-off.
const wakeBatch = 200

// WakeDelayed lets jobs wait again whose back-off is over, and gives how many.
func (s *Store) WakeDelayed(ctx context.Context) (n int, err error) {
	var due int
	if err := s.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM jobs WHERE state = 'queued' AND ready_at > 0 AND ready_at <= $1`, time.Now().UnixMilli()).Scan(&due); err != nil || due == 0 {
		return 0, unavailable(err)
	}
	err = s.update(ctx, func(t *tx) error {
		n = 0
		var jobs []*jobRow
		err := t.each(`SELECT `+jobColumns+` FROM jobs WHERE state = 'queued' AND ready_at > 0 AND ready_at <= $1 ORDER BY ready_at LIMIT $2`,
			[]any{t.nowMS, wakeBatch}, func(rows scanner) error {
				j, err := scanJob(rows)
				if err == nil {
					jobs = append(jobs, t.know(j))
				}
				return err
			})
		if err != nil {
			return fmt.Errorf("list delayed jobs: %w", err)
		}
		for _, j := range jobs {
			ready := j.Job
			ready.ReadyAt = time.Time{}
			if err := t.apply(j, lease.Change{Job: ready}, nil); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

// Depth counts the jobs of one org and target in one state.
type Depth struct {
	Org    qgjob.OrgID
	Target qgjob.Target
	State  qgjob.JobState
	Jobs   int
}

// depthsQuery groups by expressions: to group by columns, SQLite would walk all
// jobs in the order of an index that begins with org_id.
const depthsQuery = `SELECT org_id, target, 'queued', SUM(waiting) FROM job_groups WHERE waiting > 0 GROUP BY org_id, target
	UNION ALL SELECT o, target, 'delayed', COUNT(*) FROM (SELECT org_id || '' AS o, target FROM jobs WHERE state = 'queued' AND ready_at > 0) d GROUP BY o, target
	UNION ALL SELECT o, target, state, COUNT(*) FROM (SELECT org_id || '' AS o, target, state FROM jobs WHERE state IN ('assigned', 'running', 'cancelling')) l GROUP BY o, target, state
	ORDER BY 1, 2, 3`

// Depths counts the jobs that have not ended, for the metrics. What waits is
// read from the groups' aggregates, so that a long queue costs no scan.
func (s *Store) Depths(ctx context.Context) ([]Depth, error) {
	rows, err := s.read.QueryContext(ctx, depthsQuery)
	if err != nil {
		return nil, unavailable(fmt.Errorf("count the queue: %w", err))
	}
	var list []Depth
	err = eachRow(rows, func(rows *sql.Rows) error {
		var d Depth
		err := rows.Scan(&d.Org, &d.Target, &d.State, &d.Jobs)
		list = append(list, d)
		return err
	})
	return list, unavailable(err)
}
