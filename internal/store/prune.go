package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/qualgent/qgjob"
)

// EmptyGroup is a group that nothing waits in and nothing is leased of. Rev
// changes whenever the group does.
type EmptyGroup struct {
	ID  qgjob.GroupID
	Rev int64
}

// EmptyGroups lists at most limit empty groups behind a cursor, by id.
func (s *Store) EmptyGroups(ctx context.Context, after qgjob.GroupID, limit int) ([]EmptyGroup, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, rev FROM job_groups WHERE id > $1 AND waiting = 0 AND serving = 0 ORDER BY id LIMIT $2`, int64(after), limit)
	if err != nil {
		return nil, unavailable(fmt.Errorf("list empty groups: %w", err))
	}
	var list []EmptyGroup
	err = eachRow(rows, func(rows *sql.Rows) error {
		var g EmptyGroup
		err := rows.Scan((*int64)(&g.ID), &g.Rev)
		list = append(list, g)
		return err
	})
	return list, unavailable(err)
}

// ForgetGroups deletes groups that are still as they were seen empty, and
// gives how many. A job in its back-off keeps its group. Ended jobs go on
// naming theirs; the same jobs submitted again make a new one.
func (s *Store) ForgetGroups(ctx context.Context, empty []EmptyGroup) (n int, err error) {
	if wait, err := s.upgrading(ctx); wait || err != nil || len(empty) == 0 {
		return 0, err // an older server would not hear of it
	}
	err = s.update(ctx, func(t *tx) error {
		n = 0
		for _, g := range empty {
			forgotten, err := t.forgetGroup(g)
			if err != nil {
				return fmt.Errorf("forget %s: %w", g.ID, err)
			}
			if forgotten {
				n++
			}
		}
		if n == 0 || t.flush == 0 {
			return nil
		}
		return t.write("tell that groups are gone", `UPDATE counters SET value = $1 WHERE name = 'pruned'`, t.flush) // others read all groups anew
	})
	return n, err
}

func (t *tx) forgetGroup(g EmptyGroup) (bool, error) {
	if t.groups[g.ID] != nil {
		return false, nil // an operation of this very flush has put a job into it
	}
	n, err := t.exec(`DELETE FROM job_groups WHERE id = $1 AND rev = $2 AND waiting = 0 AND serving = 0 AND NOT EXISTS
		(SELECT 1 FROM jobs j WHERE j.org_id = job_groups.org_id AND j.group_id = job_groups.id AND j.state = 'queued' AND j.ready_at > 0)`, int64(g.ID), g.Rev)
	if err != nil || n == 0 {
		return false, err
	}
	if have, ok := t.m.state.Group(g.ID); ok {
		delete(t.m.groups, groupKey{have.Build.Org, have.Build.Version, have.Build.SHA, have.Target, labelsJSON(have.Requires)})
		t.m.state.RemoveGroup(g.ID)
		t.m.dropUpload(have)
		delete(t.m.fronts, g.ID)
	}
	return true, nil
}
