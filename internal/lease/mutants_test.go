package lease_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

// mutant is the protocol without one of its guards. The real functions are
// wrapped so that only the guard is missing: the wrapper shows them the record
// or the message that passes it.
type mutant struct {
	rule   string // of LEASES.md, or what the code adds to them
	name   string
	bounds bounds
	omit   func(*rules)
	harm   string // how the breach that must be found begins; others are passed over
}

// ifCompleting wraps complete by what the message is made to look like.
func ifCompleting(disguise func(*lease.Job, *lease.Attempt)) func(*rules) {
	return func(r *rules) {
		r.complete = func(j lease.Job, a lease.Attempt, res lease.Result, now time.Time, jitter float64) (lease.Change, error) {
			if a.Digest == "" {
				disguise(&j, &a)
			}
			return lease.Complete(j, a, res, now, jitter)
		}
	}
}

var passOrFail = []uint8{passed, failed}

// mutants of the rules about fences, starts and budgets.
var fenceMutants = []mutant{
	{
		rule: "1", name: "the fence is the attempt's number", harm: "I3: the result of lease 1 was taken while 2",
		bounds: bounds{leases: 2, renews: 1, failovers: 1, tests: 1, verdicts: passOrFail},
		omit: func(r *rules) {
			r.fence = func(_, number uint8) qgjob.LeaseID { return qgjob.LeaseID(fmt.Sprintf("attempt %d", number)) }
		},
	},
	{
		rule: "2", name: "complete by job id alone", harm: "I2: a job that had ended",
		bounds: bounds{leases: 2, expiries: 1, tests: 1, verdicts: passOrFail},
		omit: ifCompleting(func(j *lease.Job, a *lease.Attempt) {
			j.State, a.LeaseID = qgjob.Running, j.LeaseID
		}),
	},
	{
		rule: "2", name: "complete by the state running alone", harm: "I3: the result of lease 1 was taken while 2",
		bounds: bounds{leases: 2, expiries: 1, tests: 1, verdicts: passOrFail},
		omit: ifCompleting(func(j *lease.Job, a *lease.Attempt) {
			if j.State == qgjob.Running {
				a.LeaseID = j.LeaseID
			}
		}),
	},
	{
		rule: "2", name: "complete by the lease alone, whatever the state", harm: "I2: a job that had ended",
		bounds: bounds{leases: 1, expiries: 1, cancels: 1, tests: 1, verdicts: passOrFail},
		omit: func(r *rules) {
			r.complete = func(j lease.Job, a lease.Attempt, res lease.Result, now time.Time, jitter float64) (lease.Change, error) {
				c, err := lease.Complete(j, a, res, now, jitter)
				if err == nil || j.LeaseID != a.LeaseID || a.Digest != "" {
					return c, err
				}
				j.State, j.CancelRequested = qgjob.Running, false
				return lease.Complete(j, a, res, now, jitter)
			}
		},
	},
	{
		rule: "3", name: "the agent begins with the offer", harm: "I12: the test runs twice",
		bounds: bounds{leases: 2, expiries: 1, tests: 1, verdicts: passOrFail},
		omit:   func(r *rules) { r.startUnasked = true },
	},
	{
		rule: "3", name: "start does not ask whose lease it is", harm: "I12: the test runs twice",
		bounds: bounds{leases: 2, expiries: 1, tests: 1, verdicts: passOrFail},
		omit: func(r *rules) {
			r.start = func(j lease.Job, _ qgjob.LeaseID, now time.Time) (lease.Change, qgjob.LeaseAnswer, error) {
				return lease.Start(j, j.LeaseID, now)
			}
		},
	},
	{
		rule: "3", name: "a result without a start counts", harm: "I12: passed without a start",
		bounds: bounds{leases: 2, expiries: 1, tests: 1, verdicts: passOrFail},
		omit: func(r *rules) {
			r.startUnasked = true
			ifCompleting(func(j *lease.Job, _ *lease.Attempt) {
				if j.State == qgjob.Assigned {
					j.State = qgjob.Running
				}
			})(r)
		},
	},
	{
		rule: "4", name: "an offer that expires burns the budget", harm: "I6: errored after 0 starts",
		bounds: bounds{leases: 3, expiries: 3, tests: 1, verdicts: passOrFail},
		omit: func(r *rules) {
			r.expire = func(j lease.Job, id qgjob.LeaseID, ver int64, now time.Time) (lease.Change, error) {
				if j.State == qgjob.Assigned {
					j.State, j.Started = qgjob.Running, true
				}
				return lease.Expire(j, id, ver, now)
			}
		},
	},
	{
		rule: "4", name: "the start is counted with every repetition", harm: "starts: 2 counted",
		bounds: bounds{leases: 1, tests: 1, verdicts: passOrFail},
		omit: func(r *rules) {
			r.start = func(j lease.Job, id qgjob.LeaseID, now time.Time) (lease.Change, qgjob.LeaseAnswer, error) {
				c, answer, err := lease.Start(j, id, now)
				if err == nil && j.State == qgjob.Running {
					c.Job.Starts++
				}
				return c, answer, err
			}
		},
	},
}

// mutants of the rules about what surrounds the transitions.
var surroundingMutants = []mutant{
	{
		rule: "5", name: "tests outlive their agent", harm: "I4: agent a runs 2 tests at once",
		bounds: bounds{leases: 2, crashes: 1, tests: 1, verdicts: passOrFail},
		omit:   func(r *rules) { r.orphans = true },
	},
	{
		rule: "6", name: "an old registration counts", harm: "rule 6: an old registration",
		bounds: bounds{leases: 2, crashes: 1, tests: 1, verdicts: passOrFail},
		omit:   func(r *rules) { r.anyIncarnation = true },
	},
	{
		rule: "9", name: "claims right after a failover", harm: "I12: the test runs twice",
		bounds: bounds{leases: 2, renews: 1, failovers: 1, tests: 1, verdicts: passOrFail},
		omit:   func(r *rules) { r.noHold = true },
	},
}

// mutants of the rules about cancelling, late results and the sweep.
var endingMutants = []mutant{
	{
		rule: "7", name: "a cancelled test passes", harm: "I5: cancel was acknowledged and the job is passed",
		bounds: bounds{leases: 1, cancels: 1, tests: 1, verdicts: passOrFail},
		omit: ifCompleting(func(j *lease.Job, _ *lease.Attempt) {
			if j.State == qgjob.Cancelling {
				j.State = qgjob.Running
			}
		}),
	},
	{
		rule: "7", name: "a cancelled job whose agent is lost is tried again", harm: "I5: cancel was acknowledged and the job is queued",
		bounds: bounds{leases: 2, cancels: 1, expiries: 1, tests: 1, verdicts: passOrFail},
		omit: func(r *rules) {
			r.expire = func(j lease.Job, id qgjob.LeaseID, ver int64, now time.Time) (lease.Change, error) {
				if j.State == qgjob.Cancelling {
					j.State = qgjob.Running
				}
				return lease.Expire(j, id, ver, now)
			}
		},
	},
	{
		rule: "7", name: "a cancelled offer is started", harm: "I5: cancel was acknowledged and the job is running",
		bounds: bounds{leases: 1, cancels: 1, tests: 1, verdicts: passOrFail},
		omit: func(r *rules) {
			r.start = func(j lease.Job, id qgjob.LeaseID, now time.Time) (lease.Change, qgjob.LeaseAnswer, error) {
				if j.State == qgjob.Cancelling && !j.Started {
					j.State = qgjob.Assigned
				}
				return lease.Start(j, id, now)
			}
		},
	},
	{
		rule: "7", name: "a cancelled test that the server times out is tried again", harm: "I5: cancel was acknowledged and the job is queued",
		bounds: bounds{leases: 1, cancels: 1, timeouts: 1, tests: 2, verdicts: passOrFail},
		omit: func(r *rules) {
			r.timeout = func(j lease.Job, id qgjob.LeaseID, now time.Time) (lease.Change, error) {
				if j.State == qgjob.Cancelling {
					j.State = qgjob.Running
				}
				return lease.Timeout(j, id, now)
			}
		},
	},
	{
		rule: "7", name: "a job that has ended can be cancelled", harm: "I2: a job that had ended",
		bounds: bounds{leases: 1, cancels: 1, tests: 1, verdicts: passOrFail},
		omit: func(r *rules) {
			r.cancel = func(j lease.Job) (lease.Change, error) {
				if j.State.Terminal() {
					j.State = qgjob.Queued
				}
				return lease.Cancel(j, qgjob.ReasonCancelled, "")
			}
		},
	},
	{
		rule: "8", name: "a late result counts although the job was given again", harm: "I3: the result of lease 1 was taken while 2",
		bounds: bounds{leases: 2, expiries: 1, tests: 1, verdicts: passOrFail},
		omit: ifCompleting(func(j *lease.Job, a *lease.Attempt) {
			if a.Outcome == qgjob.OutcomeLost && j.State.Leased() {
				a.LeaseID = j.LeaseID
				j.State = qgjob.Running
			}
		}),
	},
	{
		rule: "8", name: "a late result is refused", harm: "rule 8: a result that would have saved a run",
		bounds: bounds{leases: 2, expiries: 1, tests: 1, verdicts: passOrFail},
		omit: ifCompleting(func(j *lease.Job, _ *lease.Attempt) {
			if j.State == qgjob.Queued {
				j.LeaseID = ""
			}
		}),
	},
	{
		rule: "8", name: "a late result does not give the budget back", harm: "I8: budgets burnt 1 infrastructure",
		bounds: bounds{leases: 2, expiries: 1, tests: 1, verdicts: passOrFail},
		omit: func(r *rules) {
			r.complete = func(j lease.Job, a lease.Attempt, res lease.Result, now time.Time, jitter float64) (lease.Change, error) {
				c, err := lease.Complete(j, a, res, now, jitter)
				if err == nil && a.Digest == "" && j.State == qgjob.Queued {
					c.Job.InfraFails++
				}
				return c, err
			}
		},
	},
	{
		rule: "complete", name: "a repeated result is a new one", harm: "a repeated result was not answered",
		bounds: bounds{leases: 1, tests: 1, verdicts: passOrFail},
		omit: func(r *rules) {
			r.complete = func(j lease.Job, a lease.Attempt, res lease.Result, now time.Time, jitter float64) (lease.Change, error) {
				a.Digest = ""
				return lease.Complete(j, a, res, now, jitter)
			}
		},
	},
	{
		rule: "expire", name: "a renewal does not stop the sweep", harm: "a lease renewed since the sweep's look",
		bounds: bounds{leases: 1, renews: 1, expiries: 1, tests: 1, verdicts: passOrFail},
		omit: func(r *rules) {
			r.expire = func(j lease.Job, id qgjob.LeaseID, _ int64, now time.Time) (lease.Change, error) {
				return lease.Expire(j, id, j.LeaseVer, now)
			}
		},
	},
	{
		rule: "expire", name: "a start does not stop the sweep of an offer", harm: "an attempt was lost although the sweep saw only an offer",
		bounds: bounds{leases: 1, expiries: 1, tests: 1, verdicts: passOrFail},
		omit: func(r *rules) {
			r.start = func(j lease.Job, id qgjob.LeaseID, now time.Time) (lease.Change, qgjob.LeaseAnswer, error) {
				c, answer, err := lease.Start(j, id, now)
				c.Job.LeaseVer = j.LeaseVer
				return c, answer, err
			}
		},
	},
	{
		rule: "release", name: "what runs can be released", harm: "I12: the test runs twice",
		bounds: bounds{leases: 2, releases: 1, tests: 1, verdicts: passOrFail},
		omit: func(r *rules) {
			r.release = func(j lease.Job, id qgjob.LeaseID, why qgjob.Reason, now time.Time) (lease.Change, error) {
				j.Started = false
				return lease.Release(j, id, why, now)
			}
		},
	},
	{
		rule: "claim", name: "what is leased can be offered again", harm: "I4: 2 attempts go on",
		bounds: bounds{leases: 2, tests: 1, verdicts: passOrFail},
		omit: func(r *rules) {
			r.offer = func(j lease.Job, id qgjob.LeaseID, agent qgjob.AgentID, inc int64, now time.Time) (lease.Change, error) {
				if j.State.Leased() && !j.CancelRequested {
					j.State = qgjob.Queued
				}
				return lease.Offer(j, id, agent, inc, now)
			}
		},
	},
}

func allMutants() []mutant {
	return append(append(append([]mutant{}, fenceMutants...), surroundingMutants...), endingMutants...)
}

// TestGuardMutation leaves out each guard in turn: the explorer must find a
// history that breaks an invariant. Run with -v to read the shortest ones.
// With the guard in place the same bounds are clean.
func TestGuardMutation(t *testing.T) {
	for _, m := range allMutants() {
		t.Run("rule "+m.rule+"/"+m.name, func(t *testing.T) {
			if _, breach, path := explore(theRules(), m.bounds, 100_000); breach != "" {
				t.Fatalf("the real rules break: %s\n%s", breach, tellPath(path))
			}
			r := theRules()
			m.omit(&r)
			r.harm = m.harm
			x, breach, path := explore(r, m.bounds, 100_000)
			if breach == "" {
				t.Fatalf("nothing found in %d worlds: either the guard or this test is superfluous", len(x.nodes))
			}
			t.Logf("%s\n%s", breach, tellPath(path))
		})
	}
}

// TestGuardMutationComplete: each of the nine rules loses at least one guard.
func TestGuardMutationComplete(t *testing.T) {
	covered := map[string]bool{}
	for _, m := range allMutants() {
		covered[m.rule] = true
	}
	for rule := 1; rule <= 9; rule++ {
		if !covered[fmt.Sprint(rule)] {
			t.Errorf("rule %d has no mutant", rule)
		}
	}
}
