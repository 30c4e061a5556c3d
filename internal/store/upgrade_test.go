package store

import (
	"context"
	"database/sql"
	"slices"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store/pgtest"
)

// atVersion brings an empty database to an older schema and puts a run of that
// time into it.
func atVersion(t *testing.T, db *sql.DB, engine goose.Dialect, version int64) {
	t.Helper()
	types := sqliteTypes
	if engine == goose.DialectPostgres {
		types = postgresTypes
	}
	files, err := typedMigrations(types)
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(engine, db, files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(context.Background(), version); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(context.Background(), `INSERT INTO runs (id, org_id, total, cancelled, created_at, finished_at) VALUES (1, 'acme', 1, 1, 5, 6)`); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(context.Background(), `UPDATE counters SET value = 1 WHERE name = 'run'`); err != nil {
		t.Fatal(err)
	}
}

func indexesOf(t *testing.T, s *Store) []string {
	t.Helper()
	if s.sharing() {
		return texts(t, s.read, `SELECT indexname FROM pg_indexes WHERE schemaname = 'public'`)
	}
	return texts(t, s.read, `SELECT name FROM sqlite_master WHERE type = 'index'`)
}

func (s *Store) sharing() bool { return s.dialect.sharing() != nil }

func leftBehindOf(t *testing.T, s *Store) (n int) {
	t.Helper()
	have := indexesOf(t, s)
	for _, name := range leftBehind {
		if slices.Contains(have, name) {
			n++
		}
	}
	return n
}

// TestARollingUpgrade: while a server of the version before may run on the
// database, its indexes stay and nothing that it must find moves away. Then
// both happens.
func TestARollingUpgrade(t *testing.T) {
	ctx := context.Background()
	url := pgtest.Shared(t).Database(t)
	db := ok[*sql.DB](t)(sql.Open("pgx", url))
	atVersion(t, db, goose.DialectPostgres, 3)
	_ = db.Close()
	for _, within := range []time.Duration{time.Hour, 0} {
		s := ok[*Store](t)(Open(ctx, url, Options{Alone: true, UpgradeWithin: within}))
		if err := s.FinishUpgrade(ctx); err != nil {
			t.Fatal(err)
		}
		_, more, err := s.Archive(ctx, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if left, over := leftBehindOf(t, s), within == 0; more != over || (left == 0) != over {
			t.Errorf("within %v: moved %v, %d indexes left behind", within, more, left)
		}
		if r := ok[qgjob.Run](t)(s.Run(ctx, 1)); r.Tally.Cancelled != 1 {
			t.Errorf("the old run: %+v", r)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnUpgradeOfSQLiteIsDoneAtOnce: nobody else has it open.
func TestAnUpgradeOfSQLiteIsDoneAtOnce(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	db := ok[*sql.DB](t)(sql.Open("sqlite", dir+"/qgjob.db"))
	atVersion(t, db, goose.DialectSQLite3, 3)
	_ = db.Close()
	s := ok[*Store](t)(Open(ctx, dir, Options{UpgradeWithin: time.Hour}))
	defer func() { _ = s.Close() }()
	if left := leftBehindOf(t, s); left != 0 {
		t.Errorf("%d indexes are left behind", left)
	}
	if n, more, err := s.Archive(ctx, time.Now()); n != 1 || !more || err != nil {
		t.Errorf("%d runs moved: %v", n, err)
	}
}
