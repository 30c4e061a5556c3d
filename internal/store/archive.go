package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
)

// Runs move into history some time after they have ended, so that the tables
// that every claim works in hold little but work. Each step is one operation
// of the writer like any other, and bounded: a claim waits for one at most.
// A run's rows move in several steps when it is large; readers look on both
// sides (either) and never see the difference.

// What one step takes at most.
const (
	stepRuns   = 64
	stepJobs   = 128
	stepEvents = 512
	stepLog    = 4 << 20 // bytes of log
)

// movedTable is a table whose rows move, with the columns of its history.
type movedTable struct{ name, key, columns string }

// movedTables are in no order; columns are all that the tables have.
var movedTables = []movedTable{runsTable, jobsTable, attemptsTable, eventsTable, logsTable, artifactsTable}

var (
	runsTable = movedTable{"runs", "id", runColumns}
	jobsTable = movedTable{"jobs", "id", jobColumns}
	// The rest has no reader of whole rows.
	attemptsTable = movedTable{"attempts", "lease_id", `lease_id, org_id, job_id, number, agent_id, incarnation, offered_at, started_at, ended_at, outcome, reason,
		message, exit_code, digest, refused, install, install_ms, test_ms, log_bytes, log_kept, tests`}
	eventsTable    = movedTable{"events", "seq", "seq, org_id, run_id, created_at, body"}
	logsTable      = movedTable{"log_chunks", "lease_id", "lease_id, off, data"}
	artifactsTable = movedTable{"artifacts", "lease_id", "lease_id, name, org_id, job_id, sha256, size, content_type, created_at"}
)

// Archive moves runs into history that ended before an instant: one step of
// one org's. moved counts the runs that are there now; more says that a next
// step finds work. While servers of the version before may be running, which
// know of no history, nothing moves.
func (s *Store) Archive(ctx context.Context, before time.Time) (moved int, more bool, err error) {
	if wait, err := s.upgrading(ctx); wait || err != nil {
		return 0, false, err
	}
	return s.sweepEnded(ctx, "", before)
}

// DropHistory deletes runs for good that ended before an instant and are in
// history: one step, as Archive.
func (s *Store) DropHistory(ctx context.Context, before time.Time) (dropped int, more bool, err error) {
	return s.sweepEnded(ctx, past, before)
}

// sweepEnded does one step with the first org that has runs ended before.
func (s *Store) sweepEnded(ctx context.Context, side string, before time.Time) (runs int, more bool, err error) {
	orgs, err := s.orgsOf(ctx, side+"runs")
	if err != nil {
		return 0, false, err
	}
	for _, org := range orgs {
		ended, err := s.endedRuns(ctx, side, org, before)
		if err != nil {
			return 0, false, err
		}
		if len(ended) == 0 {
			continue
		}
		err = s.update(ctx, func(t *tx) (err error) {
			w := walk{t: t, side: side, org: org}
			runs, err = w.step(ended)
			clear(t.known.leases) // they may be elsewhere now
			clear(t.known.jobs)
			return err
		})
		return runs, true, err
	}
	return 0, false, nil
}

// endedRuns lists runs of at most stepJobs jobs together, or one larger.
func (s *Store) endedRuns(ctx context.Context, side string, org qgjob.OrgID, before time.Time) (ids []any, err error) {
	//nolint:gosec // constants and numbered parameters only
	rows, err := s.read.QueryContext(ctx, `SELECT id, total FROM `+side+`runs WHERE org_id = $1 AND finished_at > 0 AND finished_at <= $2 ORDER BY finished_at LIMIT $3`,
		string(org), before.UnixMilli(), stepRuns)
	if err != nil {
		return nil, unavailable(fmt.Errorf("list the ended runs of %s: %w", org, err))
	}
	jobs := 0
	err = eachRow(rows, func(rows *sql.Rows) error {
		var id int64
		var total int
		if err := rows.Scan(&id, &total); err != nil {
			return err
		}
		if jobs += total; len(ids) == 0 || jobs <= stepJobs {
			ids = append(ids, id)
		}
		return nil
	})
	return ids, unavailable(err)
}

// walk goes through what belongs to some ended runs of an org, leaves first.
type walk struct {
	t    *tx
	side string // where they are; from "" they move to past, from past they are deleted
	org  qgjob.OrgID
}

// step takes the next of these runs' rows, and gives how many runs are done.
func (w walk) step(runs []any) (done int, err error) {
	jobs, err := w.keys(`SELECT id FROM @jobs WHERE org_id = $1 AND run_id IN (`, runs, stepRuns, `) ORDER BY run_id, id LIMIT `, stepJobs)
	if err != nil {
		return 0, err
	}
	whole, err := w.takeJobs(jobs)
	if err != nil || !whole || len(jobs) == stepJobs {
		return 0, err
	}
	events, err := w.keys(`SELECT seq FROM @events WHERE org_id = $1 AND run_id IN (`, runs, stepRuns, `) ORDER BY run_id, seq LIMIT `, stepEvents)
	if err != nil {
		return 0, err
	}
	if err := w.take(eventsTable, events); err != nil || len(events) == stepEvents {
		return 0, err
	}
	return len(runs), w.take(runsTable, runs)
}

// takeJobs takes jobs with their attempts, artifacts and logs. whole is false
// when their logs were more than a step may take: the rest comes next.
func (w walk) takeJobs(jobs []any) (whole bool, err error) {
	if len(jobs) == 0 {
		return true, nil
	}
	var leases []any
	var large []qgjob.LeaseID
	bytes := int64(0)
	query, args := w.in(`SELECT lease_id, log_kept FROM @attempts WHERE org_id = $1 AND job_id IN (`, jobs, stepJobs, `)`)
	if err := w.t.each(query, args, func(rows scanner) error {
		var id string
		var kept int64
		err := rows.Scan(&id, &kept)
		leases = append(leases, id)
		if bytes += kept; kept > 0 {
			large = append(large, qgjob.LeaseID(id))
		}
		return err
	}); err != nil {
		return false, err
	}
	if bytes > stepLog {
		if rest, err := w.takeLogs(large); err != nil || rest {
			return false, err
		}
	}
	for _, table := range []movedTable{logsTable, artifactsTable, attemptsTable} {
		if err := w.take(table, leases); err != nil {
			return false, err
		}
	}
	return true, w.take(jobsTable, jobs)
}

// takeLogs takes stepLog bytes of these logs, and reports whether any is left.
func (w walk) takeLogs(leases []qgjob.LeaseID) (rest bool, err error) {
	budget := int64(stepLog)
	for _, id := range leases {
		var first, end sql.NullInt64
		if _, err := w.t.queryRow(`SELECT MIN(off), MAX(off + LENGTH(data)) FROM `+w.side+`log_chunks WHERE lease_id = $1`, []any{string(id)}, &first, &end); err != nil {
			return false, err
		}
		if !first.Valid {
			continue
		}
		if budget <= 0 {
			return true, nil
		}
		if err := w.takeWhere(logsTable, `lease_id = $1 AND off < $2`, []any{string(id), first.Int64 + budget}); err != nil {
			return false, err
		}
		if budget -= end.Int64 - first.Int64; budget < 0 {
			return true, nil
		}
	}
	return false, nil
}

// take moves or deletes the rows with these keys.
func (w walk) take(table movedTable, keys []any) error {
	for len(keys) > 0 {
		n := min(len(keys), stepJobs)
		if err := w.takeWhere(table, table.key+` IN (`+marks(1, stepJobs)+`)`, padded(keys[:n], stepJobs)); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

func (w walk) takeWhere(table movedTable, where string, args []any) error {
	if w.side == "" {
		if err := w.t.write("copy "+table.name, `INSERT INTO `+past+table.name+` (`+table.columns+`) SELECT `+table.columns+` FROM `+table.name+` WHERE `+where, args...); err != nil {
			return err
		}
	}
	return w.t.write("take out "+w.side+table.name, `DELETE FROM `+w.side+table.name+` WHERE `+where, args...)
}

// keys reads the keys of at most limit rows.
func (w walk) keys(before string, in []any, size int, after string, limit int) (keys []any, err error) {
	query, args := w.in(before, in, size, fmt.Sprint(after, limit))
	err = w.t.each(query, args, func(rows scanner) error {
		var key int64
		err := rows.Scan(&key)
		keys = append(keys, key)
		return err
	})
	return keys, err
}

// in makes a query about the walk's org and a list of keys.
func (w walk) in(before string, in []any, size int, after string) (query string, args []any) {
	return strings.ReplaceAll(before, "@", w.side) + marks(2, size) + after, append([]any{string(w.org)}, padded(in, size)...)
}

// marks are the parameters from number first on.
func marks(first, n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("$%d", first+i)
	}
	return strings.Join(list, ", ")
}

// padded repeats the last key until there are n: so few statements have to be
// prepared.
func padded(keys []any, n int) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = keys[min(i, len(keys)-1)]
	}
	return list
}

// keyBatch is how many idempotency keys one step forgets.
const keyBatch = 512

// ForgetKeys deletes idempotency keys that came before an instant: at most
// keyBatch of each org. more says that a next call finds work.
func (s *Store) ForgetKeys(ctx context.Context, before time.Time) (n int, more bool, err error) {
	orgs, err := s.orgsOf(ctx, "idempotency")
	if err != nil {
		return 0, false, err
	}
	for _, org := range orgs {
		var newest sql.NullInt64
		if err := s.read.QueryRowContext(ctx, `SELECT MAX(k.created_at) FROM (SELECT created_at FROM idempotency WHERE org_id = $1 AND created_at <= $2 ORDER BY created_at LIMIT $3) k`,
			string(org), before.UnixMilli(), keyBatch).Scan(&newest); err != nil {
			return n, false, unavailable(fmt.Errorf("list the old keys of %s: %w", org, err))
		}
		if !newest.Valid {
			continue
		}
		if err := s.update(ctx, func(t *tx) error {
			deleted, err := t.exec(`DELETE FROM idempotency WHERE org_id = $1 AND created_at <= $2`, string(org), newest.Int64)
			n += int(deleted)
			return err
		}); err != nil {
			return n, false, err
		}
		more = true
	}
	return n, more, nil
}
