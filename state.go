package qgjob

import "slices"

// JobState is where a job stands.
type JobState string

// The states of a job. Passed, failed, errored and cancelled are terminal:
// once entered they are never left; a retry is a new job in a new run.
const (
	Queued     JobState = "queued"     // waits for an agent
	Assigned   JobState = "assigned"   // leased to an agent, not started
	Running    JobState = "running"    // its agent's start was acknowledged
	Cancelling JobState = "cancelling" // cancel was acknowledged; the agent is stopping it
	Passed     JobState = "passed"     // the test said yes
	Failed     JobState = "failed"     // the test said no, or ran out of its time
	Errored    JobState = "errored"    // infrastructure never let the test say anything
	Cancelled  JobState = "cancelled"  // someone asked for it to stop
)

// JobStates lists every state in the order of a job's life.
var JobStates = []JobState{Queued, Assigned, Running, Cancelling, Passed, Failed, Errored, Cancelled}

// legalMoves is the one table of state moves. Queued reaches verdicts
// directly when a result arrives whose lease expired but was not re-leased
// (LEASES rule 8): taking it saves a run.
var legalMoves = map[JobState][]JobState{
	Queued:     {Assigned, Cancelled, Passed, Failed, Errored, Queued},
	Assigned:   {Running, Queued, Cancelling, Cancelled},
	Running:    {Passed, Failed, Errored, Queued, Cancelling},
	Cancelling: {Cancelled},
}

// CanMove reports whether a job may go from one state to the other.
func CanMove(from, to JobState) bool { return slices.Contains(legalMoves[from], to) }

// Terminal reports whether the state is never left.
func (s JobState) Terminal() bool {
	return s == Passed || s == Failed || s == Errored || s == Cancelled
}

// Leased reports whether an agent holds the job in this state.
func (s JobState) Leased() bool { return s == Assigned || s == Running || s == Cancelling }

// ParseJobState reads a state; an unknown one is an invalid error.
func ParseJobState(s string) (JobState, error) {
	if st := JobState(s); slices.Contains(JobStates, st) {
		return st, nil
	}
	return "", Invalid("status", "status "+clip(s, 32)+" is unknown; allowed: queued, assigned, running, cancelling, passed, failed, errored, cancelled")
}

// Outcome is how one attempt ended.
type Outcome string

// The outcomes. Only failed burns the test's retry budget, only errored and
// lost burn the infrastructure budget; interrupted and released burn none.
const (
	OutcomePassed      Outcome = "passed"
	OutcomeFailed      Outcome = "failed"
	OutcomeErrored     Outcome = "errored"     // the agent reports broken infrastructure
	OutcomeCancelled   Outcome = "cancelled"   // stopped on request
	OutcomeInterrupted Outcome = "interrupted" // the agent gave the job back (drain, shutdown)
	OutcomeLost        Outcome = "lost"        // the lease expired after the start
	OutcomeReleased    Outcome = "released"    // the offer ended before it started
	OutcomeStale       Outcome = "stale"       // a result came after the job had moved on; kept, not used
)

// AgentState is where an agent stands, in the seed's words.
type AgentState string

// The states of an agent.
const (
	AgentIdle     AgentState = "idle"
	AgentBusy     AgentState = "busy"
	AgentDraining AgentState = "draining" // claims no more
	AgentOffline  AgentState = "offline"  // not heard of for a lease TTL
	// AgentQuarantined takes no jobs until its device is well again.
	AgentQuarantined AgentState = "quarantined"
)

// Reason is a stable word for why a job ended as it did or waits again.
type Reason string

// The reasons.
const (
	ReasonNone            Reason = ""
	ReasonAssertion       Reason = "assertion"         // a test of the file failed
	ReasonTimeout         Reason = "timeout"           // the job ran longer than its timeout
	ReasonExit            Reason = "exit_code"         // the runner left with a non-zero code and no report
	ReasonNoReport        Reason = "no_report"         // the runner left no report, or one that cannot be read
	ReasonNoTests         Reason = "no_tests"          // the runner found no test in the file
	ReasonTestFileMissing Reason = "test_file_missing" // the bundle or project holds no such test file
	ReasonSetup           Reason = "setup"             // bundle, dependencies or runner could not be prepared
	ReasonInstall         Reason = "install"           // the app could not be put on the device
	ReasonDevice          Reason = "device"            // the device broke or went away
	ReasonKilled          Reason = "killed"            // a signal that was not ours
	ReasonInfrastructure  Reason = "infrastructure"    // the runner said so itself: exit code 75 (EX_TEMPFAIL)
	ReasonAgentLost       Reason = "agent_lost"        // the agent was not heard of for a lease TTL
	ReasonAgentReturned   Reason = "agent_returned"    // the agent gave the job back
	ReasonOfferExpired    Reason = "offer_expired"     // the agent never started the job
	ReasonCancelled       Reason = "cancelled"         // someone asked for it
	ReasonSuperseded      Reason = "superseded"        // a newer run stands in for its run
	ReasonFailFast        Reason = "fail_fast"         // another job of its run failed, and the run was to stop then
	ReasonReused          Reason = "reused"            // the result of an earlier job was taken over
	ReasonPoison          Reason = "poison"            // broke its agents as often as the infrastructure budget allows
)

// Conclusion is the verdict over a finished run.
type Conclusion string

// The conclusions, worst first.
const (
	ConclusionFailed    Conclusion = "failed"
	ConclusionCancelled Conclusion = "cancelled"
	ConclusionErrored   Conclusion = "errored"
	ConclusionPassed    Conclusion = "passed"
)

// Tally counts the jobs of a run by where they stand.
type Tally struct {
	Total     int `json:"total"`
	Queued    int `json:"queued"`
	Running   int `json:"running"` // assigned, running and cancelling
	Passed    int `json:"passed"`
	Failed    int `json:"failed"`
	Errored   int `json:"errored"`
	Cancelled int `json:"cancelled"`
	Flaky     int `json:"flaky"` // of the passed: after a test retry
}

// Ended is how many of the jobs are terminal.
func (t Tally) Ended() int { return t.Passed + t.Failed + t.Errored + t.Cancelled }

// Conclude gives the verdict over a run, or "" while a job has not ended. A
// run of no jobs has no verdict: nothing was tested.
func (t Tally) Conclude() Conclusion {
	switch {
	case t.Total == 0 || t.Ended() < t.Total:
		return ""
	case t.Failed > 0:
		return ConclusionFailed
	case t.Cancelled > 0:
		return ConclusionCancelled
	case t.Errored > 0:
		return ConclusionErrored
	}
	return ConclusionPassed
}
