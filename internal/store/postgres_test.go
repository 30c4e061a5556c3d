package store_test

import (
	"context"
	"flag"
	"os"
	"testing"

	"github.com/qualgent/qgjob/internal/store"
	"github.com/qualgent/qgjob/internal/store/storetest"
)

// TestPostgres holds PostgreSQL against the specification of the store.
func TestPostgres(t *testing.T) { onPostgres(t, storetest.Database{}, "8", storetest.Run) }

// TestPostgresByTurns holds three servers on one PostgreSQL against a model.
// Each does every third step and must know what the others did.
func TestPostgresByTurns(t *testing.T) {
	onPostgres(t, storetest.Database{Servers: 3}, "8", storetest.RunRandom)
}

// TestPostgresByTurnsSlow holds them against the whole specification.
func TestPostgresByTurnsSlow(t *testing.T) {
	if os.Getenv("QGJOB_SLOW") == "" {
		t.Skip("the whole suite once more: set QGJOB_SLOW=1")
	}
	onPostgres(t, storetest.Database{Servers: 3}, "8", storetest.Run)
}

// TestPostgresWithHistorySlow is TestSQLiteWithHistory there.
func TestPostgresWithHistorySlow(t *testing.T) {
	if os.Getenv("QGJOB_SLOW") == "" {
		t.Skip("the whole suite once more: set QGJOB_SLOW=1")
	}
	onPostgres(t, storetest.Database{Archive: true}, "3", storetest.Run)
}

func onPostgres(t *testing.T, db storetest.Database, checks string, run func(*testing.T, func(testing.TB) storetest.Database)) {
	t.Helper()
	store.FreshPostgres(t) // starts the cluster outside the suite's bubbles
	fewer(t, checks)
	db.Audit = func(ctx context.Context, s *store.Store) error { return s.Audit(ctx) }
	run(t, func(t testing.TB) storetest.Database {
		url, db := store.FreshPostgres(t), db
		db.Open = func(t testing.TB, opts store.Options) *store.Store {
			t.Helper()
			opts.Alone = true
			s, err := store.Open(context.Background(), url, opts)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		return db
	})
}

// fewer has rapid try less here, unless the command line says how much: what
// goes wrong on both engines is found on SQLite, which is faster.
func fewer(t *testing.T, checks string) {
	t.Helper()
	f := flag.Lookup("rapid.checks")
	was := f.Value.String()
	if was != rapidChecks {
		return
	}
	if err := f.Value.Set(checks); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(was) })
}

// TestFaultsOnPostgres repeats what fault_test.go proves of SQLite.
func TestFaultsOnPostgres(t *testing.T) {
	store.FreshPostgres(t)
	for name, test := range map[string]func(*testing.T){
		"restart": TestFault_ARestartLosesTheQueueAndItsNumbersBeginAgain, "worker takes all": TestFault_AWorkerTakesTheWholeQueueAndDies,
		"no device": TestFault_NoFreeDeviceFailsTheJob, "stuck timeout": TestFault_AStuckTimeoutShorterThanATestRunsItForEver,
		"arrives late": TestFault_AJobThatArrivesWhileItsGroupFinishesIsLost, "joins": TestFault_JobsThatJoinAnAssignedGroupAreNeverScheduled,
		"runs again": TestFault_FinishedJobsRunAgainWithNewJobsOfTheirGroup, "ids": TestFault_IDsByTheSecondOverwriteEachOther,
		"ten before eight": TestFault_JobTenComesBeforeJobEight, "priority": TestFault_HighPriorityMeansLowWeight,
		"head": TestFault_AHeadThatFitsNoAgentHidesThoseThatWould, "twice": TestFault_SelectThenUpdateGivesAJobTwice,
		"released": TestFault_ALockIsReleasedByWhoNoLongerHoldsIt, "batch verdict": TestFault_OneVerdictForAWholeBatch,
		"cancelled": TestFault_ACancelledJobIsRecordedAsCompletedLater, "one group": TestFault_OneGroupAtATimeForTheWholeSystem,
		"code": TestFault_StoredTextIsRunAsCode, "savings": TestFault_SavingsComeFromConstants,
	} {
		t.Run(name, test)
	}
}
