// Package store is remembering: jobs, runs, attempts, agents, logs and events
// in one SQL text. Every state change is decided by internal/lease, written by
// one writer that gathers whatever waits into one transaction (group commit),
// and answered after that transaction is on disk.
//
// SQLite runs in WAL mode with synchronous=FULL: what was acknowledged is on
// disk. One process owns a data directory; a second one is refused. PostgreSQL
// may be shared: a lock makes the flushes of all servers follow one another,
// so that each decides as if it were the only one.
package store

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
	"github.com/qualgent/qgjob/internal/schedule"
)

// Options are what a Store is opened with. Zero fields take their defaults.
type Options struct {
	LeaseTTL time.Duration   // default lease.DefaultTTL
	Policy   schedule.Policy // default schedule.DefaultPolicy()
	// Notify is told what each commit changed, on the writer's goroutine and
	// before the commit's callers are answered: it must not block. Its panics
	// are logged. What other servers committed comes on another goroutine, and
	// later.
	Notify func(Note)
	// Alone says that no other server has the database open: the store then
	// does not listen for news from others. What they write is seen still,
	// only later. SQLite is always alone.
	Alone bool
	// UpgradeWithin is how long servers of the version before may go on beside
	// this one, from when the first of this version came to a shared database.
	// Until then nothing is done that would confuse them: see upgrade.go.
	UpgradeWithin time.Duration
	// Retried says that Open is called again when it fails of what may pass (see
	// Passing): its errors then promise that it goes on by itself.
	Retried bool
	// Ungrouped gives every operation a transaction of its own. It exists to
	// be measured against.
	Ungrouped bool
	// HA acknowledges nothing before a synchronous standby has it on disk, and
	// refuses a database that has none. PostgreSQL only.
	HA  bool
	Log *slog.Logger

	copying bool // opened to be copied: it may have been moved
}

// Note is what one commit changed, or what several of another server did.
type Note struct {
	Events []qgjob.Event   // in order
	Logs   []qgjob.LeaseID // attempts whose log grew
	Work   bool            // a job began to wait: claims may succeed now
	Tokens bool            // a token was made, used up or revoked
	Agents bool            // an agent came, went, drained or became free
	Runs   []qgjob.RunID   // runs that got events of another server, which Events does not have
	Many   bool            // of another server: any run and any log may have grown
}

// Store keeps everything that must survive. Its methods may be called from any
// goroutine.
type Store struct {
	opts     Options
	dialect  dialect
	read     *sql.DB
	beside   *sql.DB // may write without the writer; nil where it owns the only connection that may
	writer   *writer
	room     func(context.Context) error // proves that the disk has some
	close    func() error
	pulse    *pulse                      // nil when alone
	reign    atomic.Pointer[lease.Reign] // of the primary met last; nil when not known
	closing  sync.Once
	closeErr error
}

// Open opens, and when necessary makes or migrates, a store: the SQLite
// database in a data directory, or the PostgreSQL database with a URL
// (postgres://…), which any number of servers may share. A data directory is
// refused (conflict) while another process has it open. Whatever cannot be
// reached or written is unavailable.
func Open(ctx context.Context, database string, opts Options) (*Store, error) {
	if opts.LeaseTTL == 0 {
		opts.LeaseTTL = lease.DefaultTTL
	}
	if opts.Policy == (schedule.Policy{}) {
		opts.Policy = schedule.DefaultPolicy()
	}
	if opts.Notify == nil {
		opts.Notify = func(Note) {}
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{opts: opts}
	if opts.HA && !IsPostgres(database) {
		e := qgjob.Invalid("ha", "SQLite has no standby, which --ha demands")
		e.Hint = "name a PostgreSQL primary that has a synchronous standby with --database; or leave --ha out"
		return nil, e
	}
	if IsPostgres(database) {
		if err := s.openPostgres(ctx, database); err != nil {
			return nil, err
		}
		return s, nil
	}
	if err := s.openFolder(ctx, database); err != nil {
		return nil, err
	}
	return s, nil
}

// openFolder opens the SQLite database in a data directory.
func (s *Store) openFolder(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return qgjob.Unavailable(err, "open data directory %s", dir)
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return err
	}
	if err := s.openSQLite(ctx, filepath.Join(dir, "qgjob.db")); err != nil {
		unlock()
		return err
	}
	closeDB := s.close
	s.close = func() error { err := closeDB(); unlock(); return err }
	return nil
}

// Close answers what is under way, refuses the rest (unavailable) and closes
// the database. Closing again does nothing and gives the same answer.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.writer.stop()
		s.closeErr = s.close()
	})
	return s.closeErr
}

// LeaseTTL is how long a lease lives without a renewal.
func (s *Store) LeaseTTL() time.Duration { return s.opts.LeaseTTL }

// Ping reports whether the database can be read and takes what is written.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.read.PingContext(ctx); err != nil {
		return s.writer.recall(unavailable(fmt.Errorf("ping database: %w", err)))
	}
	if err := s.hasRoom(ctx); err != nil {
		return err
	}
	return s.update(ctx, func(t *tx) error {
		if t.w.sharing != nil {
			t.writes++ // only a write tells whether a database elsewhere takes any
		}
		return nil
	})
}

// Refused counts the times that the database took nothing: it was away, full,
// read-only, busy, or without its standby. Whoever judges by what is not
// written compares it: those who should have written may have tried in vain.
func (s *Store) Refused() int64 { return s.writer.refused.Load() }

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMS(v int64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMilli(v).UTC()
}

func timePtr(v int64) *time.Time {
	if v == 0 {
		return nil
	}
	t := fromMS(v)
	return &t
}
