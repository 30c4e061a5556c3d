//go:build unix

package faults_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"
)

func sortedByName(list []fault) []fault {
	slices.SortStableFunc(list, func(a, b fault) int { return cmp.Compare(a.name, b.name) })
	return list
}

// The farms of the rounds. Their leases are short, so that faults can outlive
// them.
var (
	onSQLite     = shape{servers: 1, agents: 4, slots: 2, ttl: 2 * time.Second}
	onThreeOfOne = shape{postgres: true, servers: 3, agents: 4, slots: 2, ttl: 2 * time.Second}
)

// TestFaultRoundsSlow_sqlite and its sibling on PostgreSQL play half of
// QGJOB_FAULT_ROUNDS each: rounds of 103 jobs on one farm, with four to seven
// faults in each round.
func TestFaultRoundsSlow_sqlite(t *testing.T) {
	slow(t)
	playRounds(t, "SQLite, one server", onSQLite, (number("QGJOB_FAULT_ROUNDS", 10)+1)/2, 100+cliJobs)
}

// TestFaultRoundsSlow_postgres is the farm with three servers.
func TestFaultRoundsSlow_postgres(t *testing.T) {
	slow(t)
	playRounds(t, "PostgreSQL, three servers", onThreeOfOne, (number("QGJOB_FAULT_ROUNDS", 10)+1)/2, 100+cliJobs)
}

// TestFaultRoundOnce is a small round for every run of the tests.
func TestFaultRoundOnce(t *testing.T) {
	playRounds(t, "SQLite, one small round", onSQLite, 1, 30+cliJobs)
}

func playRounds(t *testing.T, name string, s shape, rounds uint64, jobs int) {
	seed := seed(t)
	f := newFarm(t, s, newReport(t, name))
	for n := range int(rounds) { //nolint:gosec // as many as someone asked for
		began := time.Now()
		f.round(t, seed, n, jobs)
		t.Logf("round %d: %v: %s", n, time.Since(began).Round(time.Millisecond), strings.Join(f.report.since(), ", "))
	}
}
