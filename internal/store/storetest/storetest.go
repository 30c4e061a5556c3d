// Package storetest is the specification of the store: one body of tests that
// every engine has to pass, written against the store's public API alone.
//
// Every test runs in a synctest bubble, so that back-off, deadlines and hours
// without an agent pass in no time, and after every step of a test the whole
// database is counted anew and compared with what the store says of itself.
package storetest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob/internal/store"
)

// Database is one database, empty at first, for one test.
type Database struct {
	// Open opens the database; again after a Close gives the same one. It
	// fails the test when it cannot.
	Open func(t testing.TB, opts store.Options) *store.Store
	// Audit looks for what the public API cannot show: aggregates and mirrors
	// that are not what a recount gives. It may be nil.
	Audit func(ctx context.Context, s *store.Store) error
	// Archive has every run that has ended moved into history before each
	// check: nobody may see a difference.
	Archive bool
	// Servers is how many stores have the database open, which take turns:
	// after each step of a test the next one goes on. Zero is one.
	Servers int
}

// test is one case of the suite.
type test struct {
	name string
	run  func(w *world)
}

// Run runs the suite; fresh makes one empty database for each test of it.
func Run(t *testing.T, fresh func(t testing.TB) Database) {
	var all []test
	for _, part := range [][]test{submitTests, retryTests, orderTests, claimTests, pinTests, attemptTests, cancelTests, failureTests, lateTests, agentTests, dataTests, listTests, eventTests, restartTests, crowdTests, learnTests, explainTests, historyTests, batchTests, tokenTests, stopTests} {
		all = append(all, part...)
	}
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := fresh(t)
			synctest.Test(t, func(t *testing.T) {
				c.run(open(t, db, store.Options{}))
			})
		})
	}
	RunRandom(t, fresh)
	t.Run("batch/as if taken one by one", func(t *testing.T) {
		t.Parallel()
		sameAsOneByOne(t, fresh)
	})
}

// RunRandom runs the one test of the suite that does a bit of everything.
func RunRandom(t *testing.T, fresh func(t testing.TB) Database) {
	t.Run("random operations against a model", func(t *testing.T) {
		t.Parallel()
		random(t, fresh)
	})
}

// pass lets time pass, which costs none: every test runs in a bubble.
func (w *world) pass(d time.Duration) { time.Sleep(d) }
