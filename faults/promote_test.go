//go:build unix

package faults_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/qualgent/qgjob/internal/store/pgtest"
)

// pair starts a primary and its synchronous standby.
func (f *farm) pair(t *testing.T) {
	t.Helper()
	pgtest.Shared(t) // skips or fails where there is none
	var err error
	if f.pg, err = pgtest.Start(true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.pg.Stop() }) // whichever it is then
	if f.standby, err = f.pg.Standby(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.standby.Stop() })
	if err := f.pg.Synchronous("*"); err != nil {
		t.Fatal(err)
	}
	// It counts when that one is promoted; those made from it inherit it.
	if err := f.standby.Exec("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
}

// TestPromotionsSlow_postgres plays rounds in each of which the primary is
// killed for good and its standby promoted, besides four to seven faults of
// servers, agents and lines. Two servers run with --ha and know both hosts.
// Nothing that was acknowledged may be lost: the checks are those of every
// round, so that the run which the command line waits for has its verdict,
// every job ends once, and nothing runs again without a reason.
func TestPromotionsSlow_postgres(t *testing.T) {
	slow(t)
	rounds := 2
	if all() {
		rounds = 20
	}
	s := seed(t)
	f := newFarm(t, shape{postgres: true, ha: true, servers: 2, agents: 3, slots: 2, ttl: 2 * time.Second},
		newReport(t, "PostgreSQL with a synchronous standby, two servers with --ha"))
	f.besides = promote
	for n := range rounds {
		began := time.Now()
		f.round(t, s, n, 100+cliJobs)
		t.Logf("round %d: %v: %v", n, time.Since(began).Round(time.Millisecond), f.report.since())
	}
	if got := f.report.counts[promotes]; got != rounds {
		t.Errorf("%d promotions in %d rounds", got, rounds)
	}
}

// promote kills the primary, promotes the standby, and some time later gives
// it one of its own where the former primary was.
func promote(f *farm, r *rand.Rand) bool {
	wait(between(r, 500*time.Millisecond, 2*time.Second))
	killed := time.Now()
	if err := f.pg.Crash(); err != nil {
		f.t.Errorf("kill the primary: %v", err)
	}
	wait(between(r, 0, f.pace/2))
	if err := f.standby.Promote(); err != nil {
		f.t.Errorf("promote the standby: %v", err)
		return false
	}
	ended := f.pg
	f.pg = f.standby
	wait(between(r, 0, f.pace/2))
	var err error
	if f.standby, err = f.pg.Replace(ended); err != nil {
		f.t.Errorf("a standby for the promoted one: %v", err)
		return false
	}
	if err := f.pg.Await(`SELECT COUNT(*) > 0 FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')`); err != nil {
		f.t.Error(err)
	}
	f.ready(f.servers...)
	f.report.fault("primary killed for good, standby promoted")
	f.report.count(promotes, 1)
	f.report.took(writesIn, time.Since(killed))
	return true
}
