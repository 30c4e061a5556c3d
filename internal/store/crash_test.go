package store

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/qualgent/qgjob/internal/store/pgtest"
)

// TestACrashGivesTransactionNumbersAgain: PostgreSQL crashes before a commit,
// and with it goes what it knew of the transaction, even its number. After
// recovery others commit under that number. Whoever asks what became of "his"
// transaction by its number alone hears that it is committed, and has lost what
// he then acknowledges. (The fault suite found this: a submit was answered with
// the ids of a run that somebody else got.)
func TestACrashGivesTransactionNumbersAgain(t *testing.T) {
	pgtest.Shared(t)
	ctx := context.Background()
	cluster := ok[*pgtest.Cluster](t)(pgtest.Start(true))
	defer func() { _ = cluster.Stop() }()
	// What is not committed must not reach the disk by the way.
	if err := cluster.Exec("postgres", "ALTER SYSTEM SET wal_writer_delay = '10s'", "ALTER SYSTEM SET bgwriter_delay = '10s'"); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Down(); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Up(); err != nil {
		t.Fatal(err)
	}
	c := startCutter(t, cluster.URL("postgres"))
	reused := 0
	c.crash = func() {
		c.closed.Store(true) // nobody asks before others have gone on
		defer c.closed.Store(false)
		before := number(t, cluster)
		if err := cluster.Crash(); err != nil {
			t.Error(err)
		}
		if err := cluster.Recover(); err != nil {
			t.Error(err)
		}
		if number(t, cluster) < before {
			reused++
		}
		for range 50 { // others go on
			number(t, cluster)
		}
	}
	s := ok[*Store](t)(Open(ctx, c.url, Options{Alone: true}))
	defer func() { _ = s.Close() }()
	for n := range 3 {
		if err := s.update(ctx, putOrg(fmt.Sprintf("before-%d", n))); err != nil {
			t.Fatal(err)
		}
		c.mode.Store(cutCrash)
		org := fmt.Sprintf("org-%d", n)
		err := s.update(ctx, putOrg(org))
		if there := hasOrg(t, s, org); there != (err == nil) {
			t.Errorf("answered %v, and it is there: %v", err, there)
		}
	}
	if reused == 0 {
		t.Error("no number was given again: this test shows nothing")
	}
}

// number takes the next number of a transaction, and commits.
func number(t *testing.T, c *pgtest.Cluster) (n int64) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), c.URL("postgres"))
	if err != nil {
		t.Error(err)
		return 0
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(context.Background(), `SELECT CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)`).Scan(&n); err != nil {
		t.Error(err)
	}
	return n
}
