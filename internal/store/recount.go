package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
)

// recounted is a group's aggregates beside what its jobs say, of one snapshot.
type recounted struct {
	id         qgjob.GroupID
	rev        int64
	have, want aggregates
}

type aggregates struct {
	waiting, runs, workMS, serving, headPriority, headSubmitted int64
}

// Recount compares the aggregates of at most limit groups behind a cursor with
// the jobs themselves, and mends those that are wrong. It reads in a snapshot
// beside the writer, so that a group of a million jobs holds nobody up; only a
// mend goes through the writer, and only if the group has not moved since.
// drifted counts the groups found wrong (it must stay 0); next is the cursor
// for the next call, 0 when all groups were seen.
func (s *Store) Recount(ctx context.Context, after qgjob.GroupID, limit int) (drifted int, next qgjob.GroupID, err error) {
	ids, err := s.groupsAfter(ctx, after, limit)
	if err != nil {
		return 0, 0, err
	}
	for _, id := range ids {
		r, err := s.recountOne(ctx, id)
		if err != nil {
			return drifted, 0, err
		}
		if r.have != r.want {
			drifted++
			s.opts.Log.Error("aggregates of a group drifted; mended", "group", id.String(), "have", fmt.Sprint(r.have), "want", fmt.Sprint(r.want))
			if err := s.mend(ctx, r); err != nil {
				return drifted, 0, err
			}
		}
	}
	if len(ids) == limit {
		next = ids[len(ids)-1]
	}
	return drifted, next, nil
}

func (s *Store) groupsAfter(ctx context.Context, after qgjob.GroupID, limit int) ([]qgjob.GroupID, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id FROM job_groups WHERE id > $1 ORDER BY id LIMIT $2`, int64(after), limit)
	if err != nil {
		return nil, unavailable(fmt.Errorf("list groups: %w", err))
	}
	var ids []qgjob.GroupID
	err = eachRow(rows, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		ids = append(ids, qgjob.GroupID(id))
		return err
	})
	return ids, unavailable(err)
}

func (s *Store) recountOne(ctx context.Context, id qgjob.GroupID) (r recounted, err error) {
	tx, err := s.read.BeginTx(ctx, s.dialect.snapshot())
	if err != nil {
		return r, unavailable(err)
	}
	defer func() { err = unavailable(errors.Join(err, tx.Rollback())) }()
	r.id = id
	var org string
	if err := tx.QueryRowContext(ctx, `SELECT org_id, rev, waiting, runs, work_ms, serving, head_priority, head_submitted FROM job_groups WHERE id = $1`, int64(id)).
		Scan(&org, &r.rev, &r.have.waiting, &r.have.runs, &r.have.workMS, &r.have.serving, &r.have.headPriority, &r.have.headSubmitted); err != nil {
		return r, fmt.Errorf("read %s: %w", id, err)
	}
	if err := tx.QueryRowContext(ctx, `SELECT COUNT(*), COUNT(DISTINCT run_id), COALESCE(SUM(estimate_ms), 0) FROM jobs WHERE org_id = $1 AND group_id = $2 AND state = 'queued' AND ready_at = 0`, org, int64(id)).
		Scan(&r.want.waiting, &r.want.runs, &r.want.workMS); err != nil {
		return r, fmt.Errorf("count %s: %w", id, err)
	}
	if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM jobs WHERE org_id = $1 AND group_id = $2 AND state IN ('assigned', 'running', 'cancelling')`, org, int64(id)).Scan(&r.want.serving); err != nil {
		return r, fmt.Errorf("count the leases of %s: %w", id, err)
	}
	err = tx.QueryRowContext(ctx, `SELECT priority, submitted_at FROM jobs WHERE org_id = $1 AND group_id = $2 AND state = 'queued' AND ready_at = 0`+groupOrder+`LIMIT 1`, org, int64(id)).
		Scan(&r.want.headPriority, &r.want.headSubmitted)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return r, err
}

// mend writes a group's aggregates anew unless it has moved since they were
// counted; then the next recount will see.
func (s *Store) mend(ctx context.Context, r recounted) error {
	return s.update(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE job_groups SET waiting = $1, runs = $2, work_ms = $3, serving = $4, head_priority = $5, head_submitted = $6, rev = rev + 1, flush = $7
			WHERE id = $8 AND rev = $9`, r.want.waiting, r.want.runs, r.want.workMS, r.want.serving, r.want.headPriority, r.want.headSubmitted, t.flush, int64(r.id), r.rev)
		if err != nil || n == 0 {
			return err
		}
		g, err := t.groupByID(r.id)
		if err != nil {
			return err
		}
		g.Queue = schedule.Queue{Waiting: int(r.want.waiting), Work: float64(r.want.workMS) / 1000, Runs: int(r.want.runs),
			HeadPriority: int(r.want.headPriority), HeadSubmitted: float64(r.want.headSubmitted) / 1000}
		t.m.state.SetQueue(r.id, g.Queue)
		t.group(r.id) // for other servers
		t.note.Work = true
		return nil
	})
}
