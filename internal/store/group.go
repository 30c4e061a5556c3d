package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
)

func isNoRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }

// groupOrder is the order inside a group; schedule.Job.Less is the same in Go
// and jobs_waiting the index that serves it.
const groupOrder = ` ORDER BY priority DESC, run_id, rank, estimate_ms DESC, id `

// groupByID gives a group, read from the database when the mirror has
// forgotten it.
func (t *tx) groupByID(id qgjob.GroupID) (schedule.Group, error) {
	if g, ok := t.m.state.Group(id); ok {
		return g, nil
	}
	found, err := t.adoptBy(`id = $1`, int64(id))
	if err == nil && found == 0 {
		err = errors.New("it does not exist")
	}
	if err != nil {
		return schedule.Group{}, fmt.Errorf("read %s: %w", id, err)
	}
	g, _ := t.m.state.Group(id)
	return g, nil
}

// Groups lists the groups that have jobs waiting or leased, of one org or of
// all, oldest group first.
func (s *Store) Groups(ctx context.Context, org qgjob.OrgID) ([]qgjob.Group, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, org_id, app_version_id, build_sha256, target, requires, waiting, serving, head_priority, head_submitted
		FROM job_groups WHERE (waiting > 0 OR serving > 0) AND ($1 = '' OR org_id = $2) ORDER BY id`, string(org), string(org))
	if err != nil {
		return nil, unavailable(fmt.Errorf("list groups: %w", err))
	}
	groups := []qgjob.Group{}
	err = eachRow(rows, func(rows *sql.Rows) error {
		var g qgjob.Group
		var requires string
		var head int64
		if err := rows.Scan(&g.GroupID, &g.OrgID, &g.AppVersionID, &g.BuildSHA256, &g.Target, &requires, &g.Waiting, &g.Serving, &g.HeadPriority, &head); err != nil {
			return err
		}
		g.HeadSubmitted = timePtr(head)
		var err error
		g.Requires, err = parseLabels(requires)
		groups = append(groups, g)
		return err
	})
	return groups, unavailable(err)
}
