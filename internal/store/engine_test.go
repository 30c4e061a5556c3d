package store

import "testing"

// TestOnPostgres repeats the tests of the writer that know of no engine.
func TestOnPostgres(t *testing.T) {
	FreshPostgres(t)
	for name, test := range map[string]func(*testing.T){
		"life of a job": TestLifeOfAJob, "commits are shared": TestCommitsAreShared, "bad operation": TestABadOperationDoesNotFailItsNeighbours,
		"after a rollback": TestAfterARollbackNothingIsLostOrDoubled, "order": TestTheOrderInSQLIsThatOfTheScheduler, "ping": TestPing,
		"gives up too late": TestACallerWhoGivesUpTooLateGetsTheTruth,
		"cancelling a run":  TestCancellingARunSurvivesARollback, "panic of the listener": TestAPanicOfTheListenerUndoesNothing,
		"gives up in time": TestACallerWhoGivesUpBeforeItsTurn,
	} {
		t.Run(name, test)
	}
}
