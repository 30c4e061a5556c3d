package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// A migration only adds, so that a server of the version before goes on beside
// this one. What nobody needs any more is dropped afterwards: at once where no
// older server can be, else when those have had the time to be replaced.

// leftBehind are the indexes that only older servers read by.
var leftBehind = []string{"jobs_waiting", "jobs_waiting_by_run", "jobs_delayed", "jobs_by_run", "jobs_by_version", "attempts_by_job", "events_by_run"}

// execer is what both a pool and a connection of it can do.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// begunUpgrade notes when a server that knows of history came to a database,
// and drops what is left behind where no older one can be: shared says that
// other processes may have it open.
func begunUpgrade(ctx context.Context, db execer, shared bool) error {
	now := int64(0)
	if shared {
		now = time.Now().UnixMilli()
	}
	if _, err := db.ExecContext(ctx, `UPDATE counters SET value = $1 WHERE name = 'upgraded' AND value < 0`, now); err != nil {
		return fmt.Errorf("note the upgrade: %w", err)
	}
	since, err := upgradedAt(ctx, db)
	if err != nil || since != 0 {
		return err
	}
	return dropLeftBehind(ctx, db)
}

// upgradedAt gives when the first server that knows of history came, in ms;
// 0: no older one can be there.
func upgradedAt(ctx context.Context, db execer) (ms int64, err error) {
	err = db.QueryRowContext(ctx, `SELECT value FROM counters WHERE name = 'upgraded'`).Scan(&ms)
	if isNoRows(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the time of the upgrade: %w", err)
	}
	return ms, nil
}

// upgrading reports whether a server of the version before may be running.
func (s *Store) upgrading(ctx context.Context) (bool, error) {
	since, err := upgradedAt(ctx, s.read)
	return since != 0 && time.Now().Before(fromMS(since).Add(s.opts.UpgradeWithin)), unavailable(err)
}

// FinishUpgrade drops what only servers of the version before read by, once
// they have had Options.UpgradeWithin to be replaced. It hardly waits for
// readers of the tables: it fails then, and may be tried again.
func (s *Store) FinishUpgrade(ctx context.Context) error {
	since, err := upgradedAt(ctx, s.read)
	if err != nil || since == 0 || time.Now().Before(fromMS(since).Add(s.opts.UpgradeWithin)) {
		return unavailable(err)
	}
	conn, err := s.beside.Conn(ctx)
	if err != nil {
		return unavailable(err)
	}
	_, err = conn.ExecContext(ctx, `SET lock_timeout = 1000`) // only PostgreSQL has a since
	if err == nil {
		err = dropLeftBehind(ctx, conn)
	}
	if err == nil {
		_, err = conn.ExecContext(ctx, `UPDATE counters SET value = 0 WHERE name = 'upgraded'`)
	}
	_, e := conn.ExecContext(context.WithoutCancel(ctx), `RESET lock_timeout`)
	return unavailable(errors.Join(err, e, conn.Close()))
}

func dropLeftBehind(ctx context.Context, db execer) error {
	var errs []error
	for _, name := range leftBehind {
		if _, err := db.ExecContext(ctx, `DROP INDEX IF EXISTS `+name); err != nil {
			errs = append(errs, fmt.Errorf("drop index %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
