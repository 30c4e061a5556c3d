package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/qualgent/qgjob"
)

// History lists ended jobs that ran a test, submitted since an instant, by id
// ascending behind a cursor: what a simulation needs to play them again. An
// empty org means all; with bound only jobs that this CI run submitted.
func (s *Store) History(ctx context.Context, org qgjob.OrgID, bound string, since time.Time, after qgjob.JobID, limit int) ([]qgjob.HistoryJob, error) {
	rows, err := s.read.QueryContext(ctx, eitherPage(`SELECT j.id AS id, j.run_id, j.org_id, j.app_version_id, j.build_sha256, j.test_path, j.target, j.requires, j.priority, j.submitted_at,
		(SELECT a.test_ms FROM @attempts a WHERE a.org_id = j.org_id AND a.job_id = j.id AND a.test_ms > 0 ORDER BY a.number DESC LIMIT 1),
		COALESCE((SELECT MAX(a.install_ms) FROM @attempts a WHERE a.org_id = j.org_id AND a.job_id = j.id AND a.install = 'installed'), 0)
		FROM @jobs j WHERE j.id > $1 AND ($2 = '' OR j.org_id = $3) AND ($4 = '' OR j.run_id IN (SELECT run_id FROM ci_runs c WHERE c.org_id = $5 AND c.bound = $6)) AND j.submitted_at >= $7 AND j.state IN ('passed', 'failed')
		AND EXISTS (SELECT 1 FROM @attempts a WHERE a.org_id = j.org_id AND a.job_id = j.id AND a.test_ms > 0)`, ` ORDER BY id LIMIT $8`),
		int64(after), string(org), string(org), bound, string(org), bound, since.UnixMilli(), pageLimit(limit))
	if err != nil {
		return nil, unavailable(fmt.Errorf("list the history: %w", err))
	}
	list := []qgjob.HistoryJob{}
	err = eachRow(rows, func(rows *sql.Rows) error {
		var h qgjob.HistoryJob
		var requires string
		var submitted int64
		if err := rows.Scan(&h.JobID, &h.RunID, &h.OrgID, &h.AppVersionID, &h.BuildSHA256, &h.TestPath, &h.Target, &requires, &h.Priority, &submitted,
			&h.TestMS, &h.InstallMS); err != nil {
			return err
		}
		h.SubmittedAt = fromMS(submitted)
		var err error
		h.Requires, err = parseLabels(requires)
		list = append(list, h)
		return err
	})
	return list, unavailable(err)
}
