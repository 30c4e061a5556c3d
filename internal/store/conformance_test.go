package store_test

import (
	"context"
	"flag"
	"os"
	"testing"

	"github.com/qualgent/qgjob/internal/store"
	"github.com/qualgent/qgjob/internal/store/pgtest"
	"github.com/qualgent/qgjob/internal/store/storetest"
)

// rapidChecks is how many sequences of random operations are tried: each of
// them is a whole database. Ask for more with -rapid.checks.
var rapidChecks = "25"

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		_ = f.Value.Set(rapidChecks)
	}
	code := m.Run()
	pgtest.Stop()
	os.Exit(code)
}

// TestSQLite holds SQLite against the specification of the store.
func TestSQLite(t *testing.T) { onSQLite(t, false) }

// TestSQLiteWithHistory is the same while every run moves into history as soon
// as it has ended: no reader, and no late agent, may see a difference.
func TestSQLiteWithHistory(t *testing.T) {
	fewer(t, "10")
	onSQLite(t, true)
}

func onSQLite(t *testing.T, archive bool) {
	t.Helper()
	storetest.Run(t, func(t testing.TB) storetest.Database {
		dir := memoryDir(t)
		return storetest.Database{
			Open: func(t testing.TB, opts store.Options) *store.Store {
				t.Helper()
				s, err := store.Open(context.Background(), dir, opts)
				if err != nil {
					t.Fatal(err)
				}
				return s
			},
			Audit:   func(ctx context.Context, s *store.Store) error { return s.Audit(ctx) },
			Archive: archive,
		}
	})
}

// database is where a test of both engines keeps its data: in PostgreSQL when
// it runs below a test whose name ends in OnPostgres.
func database(t testing.TB) string {
	t.Helper()
	if store.OnPostgres(t) {
		return store.FreshPostgres(t)
	}
	return memoryDir(t)
}

// memoryDir is a directory in memory where the system has one: the suite
// commits some ten thousand times, and what a disk does is tested elsewhere.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "qgjob-store-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
