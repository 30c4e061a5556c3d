// Package lease is the protocol's transitions as pure functions:
// (record, event, now) → (record, what happened) or a refusal.
//
// It knows no clock, no store and no network; the store reads a record, asks
// this package what the event makes of it, and writes the answer with a
// compare-and-set. The promise kept here: an accepted job is never lost, ends
// in exactly one terminal state, and its result comes from the newest lease.
package lease

import (
	"fmt"
	"time"

	"github.com/qualgent/qgjob"
)

// Job is what the protocol knows of a job.
type Job struct {
	State           qgjob.JobState
	LeaseID         qgjob.LeaseID // current, or the expired one that may still complete (State queued)
	LeaseNo         int           // leases given so far
	LeaseVer        int64         // signs of life of the current lease: its start and its renewals
	Agent           qgjob.AgentID // holder of the current lease, or who held the last
	Incarnation     int64         // of the holder
	Started         bool          // the current lease was started
	Starts          int           // attempts started so far
	InfraFails      int           // started attempts that infrastructure broke
	TestAttempts    int           // attempts in which the test failed or timed out
	MaxTestAttempts int           // retries + 1
	CancelRequested bool
	DoneLease       qgjob.LeaseID // the lease whose result became the verdict
	Reason          qgjob.Reason
	Message         string
	Flaky           bool
	ReadyAt         time.Time     // not before this instant, when queued
	AvoidAgent      qgjob.AgentID // another agent is preferred until AvoidUntil
	AvoidUntil      time.Time
	StartedAt       time.Time     // of the current attempt
	Timeout         time.Duration // of one attempt's test
}

// Attempt is what the protocol knows of one attempt.
type Attempt struct {
	LeaseID qgjob.LeaseID
	Outcome qgjob.Outcome // empty while it goes on
	Digest  string        // of the result that was given for it
}

// Ended tells that an attempt ended, and how.
type Ended struct {
	LeaseID qgjob.LeaseID
	Outcome qgjob.Outcome
	Reason  qgjob.Reason
	Message string
}

// Change is what an event makes of a job. Event is the one to tell the world,
// empty when there is nothing to tell.
type Change struct {
	Job     Job
	Attempt *Ended // the attempt that the event ended, if it did
	Event   qgjob.EventKind
}

// Budgets and back-off of the protocol.
const (
	AvoidFor     = 30 * time.Second // how long another agent is preferred after a failure
	BackoffBase  = 2 * time.Second  // first test retry waits up to this, doubling
	BackoffLimit = time.Minute
)

func staleLease(id qgjob.LeaseID) error {
	e := qgjob.Conflict(qgjob.CodeStaleLease, "lease %s is not the job's current one", id)
	e.Hint = "stop the test and claim again"
	return e
}

// move is the one place where a state is written; an illegal move is a fault
// of this package, not of a caller.
func move(j *Job, to qgjob.JobState) {
	if !qgjob.CanMove(j.State, to) {
		panic(fmt.Sprintf("lease: illegal move %s → %s", j.State, to))
	}
	j.State = to
}

// Offer leases a waiting job to an agent. It is refused with a conflict when
// the job does not wait or is not ready yet.
func Offer(j Job, id qgjob.LeaseID, agent qgjob.AgentID, incarnation int64, now time.Time) (Change, error) {
	if j.State != qgjob.Queued || j.CancelRequested {
		return Change{}, qgjob.Conflict("", "the job is %s, not queued", j.State)
	}
	if now.Before(j.ReadyAt) {
		return Change{}, qgjob.Conflict("", "the job waits for its back-off")
	}
	move(&j, qgjob.Assigned)
	j.LeaseID, j.LeaseVer, j.Agent, j.Incarnation, j.Started = id, 0, agent, incarnation, false
	j.LeaseNo++
	j.StartedAt = time.Time{}
	j.Reason, j.Message = qgjob.ReasonNone, "" // of why it waited; it waits no more
	return Change{Job: j, Event: qgjob.EventJobAssigned}, nil
}

// Start gives leave to begin. Repeating it is harmless. A job that is being
// cancelled answers LeaseCancel and stays as it is.
//
// A first start counts as a renewal: else a sweeper that saw the offer unheard
// of for the short time of offers would end the started attempt as lost.
func Start(j Job, id qgjob.LeaseID, now time.Time) (Change, qgjob.LeaseAnswer, error) {
	if j.LeaseID != id || !j.State.Leased() {
		return Change{}, qgjob.LeaseStale, staleLease(id)
	}
	switch j.State {
	case qgjob.Cancelling:
		return Change{Job: j}, qgjob.LeaseCancel, nil
	case qgjob.Running:
		return Change{Job: j}, qgjob.LeaseOK, nil
	}
	move(&j, qgjob.Running)
	j.Started, j.StartedAt = true, now
	j.Starts++
	j.LeaseVer++
	return Change{Job: j, Event: qgjob.EventJobStarted}, qgjob.LeaseOK, nil
}

// Renew keeps a lease alive and tells its holder how it stands. It never
// fails: a lease that is not current is simply stale.
func Renew(j Job, id qgjob.LeaseID) (Job, qgjob.LeaseAnswer) {
	if j.LeaseID != id || !j.State.Leased() {
		return j, qgjob.LeaseStale
	}
	j.LeaseVer++
	if j.State == qgjob.Cancelling {
		return j, qgjob.LeaseCancel
	}
	return j, qgjob.LeaseOK
}

// Cancel asks a job to stop. What waits is cancelled at once; what is leased
// becomes cancelling until its agent says so or its lease expires; a second
// request changes nothing. A terminal job refuses and names its state.
//
// why is what the job ends with, and note what people read: empty, and they
// say that somebody asked for it. A job that is cancelling remembers both.
func Cancel(j Job, why qgjob.Reason, note string) (Change, error) {
	switch {
	case j.State.Terminal():
		return Change{}, qgjob.Conflict(qgjob.CodeTerminal, "the job has ended already: %s", j.State)
	case j.State == qgjob.Cancelling:
		return Change{Job: j}, nil
	case j.State == qgjob.Queued:
		j.CancelRequested, j.Reason, j.Message = true, why, note
		return cancelled(j, "cancelled while it waited", ""), nil
	}
	move(&j, qgjob.Cancelling)
	j.CancelRequested, j.Reason, j.Message = true, why, note
	return Change{Job: j, Event: qgjob.EventJobCancelling}, nil
}

// Release takes back an offer that never started: no budget is burnt. It is
// how expired, unknown and drained offers, and offers to older incarnations,
// go back to the queue.
func Release(j Job, id qgjob.LeaseID, why qgjob.Reason, now time.Time) (Change, error) {
	if j.LeaseID != id || !j.State.Leased() || j.Started {
		return Change{}, staleLease(id)
	}
	ended := &Ended{LeaseID: id, Outcome: qgjob.OutcomeReleased, Reason: why}
	if j.State == qgjob.Cancelling {
		ended.Outcome, ended.Reason = qgjob.OutcomeCancelled, qgjob.ReasonCancelled
		c := cancelled(j, "cancelled before it started", "")
		c.Attempt = ended
		return c, nil
	}
	j.LeaseID = ""
	c := requeue(j, why, "", now)
	c.Attempt = ended
	return c, nil
}

// Expire ends a lease whose holder was not heard of for a TTL, or that a
// newer incarnation of its agent has superseded. ver is the LeaseVer that the
// sweeper saw; a renewal in between refuses the expiry.
func Expire(j Job, id qgjob.LeaseID, ver int64, now time.Time) (Change, error) {
	if j.LeaseID != id || j.LeaseVer != ver || !j.State.Leased() {
		return Change{}, staleLease(id)
	}
	if !j.Started {
		return Release(j, id, qgjob.ReasonOfferExpired, now)
	}
	ended := &Ended{LeaseID: id, Outcome: qgjob.OutcomeLost, Reason: qgjob.ReasonAgentLost,
		Message: fmt.Sprintf("agent %s was not heard of any more", j.Agent)}
	if j.State == qgjob.Cancelling {
		c := cancelled(j, "cancelled; its agent was lost before it said so", "")
		c.Attempt = ended
		return c, nil
	}
	c := infraFail(j, qgjob.ReasonAgentLost, ended.Message, now)
	c.Attempt = ended
	return c, nil
}

// Timeout is the server's own limit, for an agent that renews for ever but
// neither enforces the job's timeout nor obeys a cancel. It comes
// qgjob.InstallAllowance after the agent should have acted.
func Timeout(j Job, id qgjob.LeaseID, now time.Time) (Change, error) {
	if j.LeaseID != id || !j.Started || !j.State.Leased() || now.Before(Deadline(j)) {
		return Change{}, staleLease(id)
	}
	ended := &Ended{LeaseID: id, Outcome: qgjob.OutcomeFailed, Reason: qgjob.ReasonTimeout,
		Message: fmt.Sprintf("agent %s did not end the test within %s and %s for set-up", j.Agent, j.Timeout, qgjob.InstallAllowance)}
	if j.State == qgjob.Cancelling {
		ended.Outcome, ended.Reason = qgjob.OutcomeCancelled, qgjob.ReasonCancelled
		c := cancelled(j, "cancelled; its agent never stopped it", "")
		c.Attempt = ended
		return c, nil
	}
	c := testFail(j, id, ended.Reason, ended.Message, now, 0)
	c.Attempt = ended
	return c, nil
}

// Deadline is the instant at which the server itself ends a started attempt.
func Deadline(j Job) time.Time { return j.StartedAt.Add(j.Timeout + qgjob.InstallAllowance) }

// end moves a job into a terminal state.
func end(j Job, to qgjob.JobState, why qgjob.Reason, msg string, by qgjob.LeaseID) Change {
	move(&j, to)
	j.Reason, j.Message, j.DoneLease = why, msg, by
	return Change{Job: j, Event: qgjob.EventJobFinished}
}

// cancelled ends a job that was to stop, with what it remembers of why.
func cancelled(j Job, how string, by qgjob.LeaseID) Change {
	if j.Reason == qgjob.ReasonSuperseded || j.Reason == qgjob.ReasonFailFast {
		return end(j, qgjob.Cancelled, j.Reason, j.Message, by)
	}
	return end(j, qgjob.Cancelled, qgjob.ReasonCancelled, how, by)
}

// requeue lets a job wait again, in its old place of the order.
func requeue(j Job, why qgjob.Reason, msg string, readyAt time.Time) Change {
	move(&j, qgjob.Queued)
	j.Reason, j.Message, j.ReadyAt, j.Started = why, msg, readyAt, false
	return Change{Job: j, Event: qgjob.EventJobRequeued}
}

// infraFail burns one of the infrastructure budget: another agent is
// preferred, and the last of the budget makes the job errored.
func infraFail(j Job, why qgjob.Reason, msg string, now time.Time) Change {
	j.InfraFails++
	if j.InfraFails >= qgjob.MaxInfraFails {
		if why == qgjob.ReasonAgentLost {
			why, msg = qgjob.ReasonPoison, fmt.Sprintf("infrastructure broke %d attempts; the last: %s", j.InfraFails, msg)
		}
		return end(j, qgjob.Errored, why, msg, "")
	}
	j.AvoidAgent, j.AvoidUntil = j.Agent, now.Add(AvoidFor)
	return requeue(j, why, msg, now)
}

// testFail burns one of the test's own attempts; jitter in [0, 1) spreads the
// retries (full jitter).
func testFail(j Job, id qgjob.LeaseID, why qgjob.Reason, msg string, now time.Time, jitter float64) Change {
	j.TestAttempts++
	if j.TestAttempts >= j.MaxTestAttempts {
		return end(j, qgjob.Failed, why, msg, id)
	}
	j.LeaseID = ""
	j.AvoidAgent, j.AvoidUntil = j.Agent, now.Add(AvoidFor)
	return requeue(j, why, msg, now.Add(Backoff(j.TestAttempts, jitter)))
}

// Backoff is the wait before the retry that follows n failures: full jitter
// over BackoffBase·2^(n−1), at most BackoffLimit. jitter is in [0, 1).
func Backoff(n int, jitter float64) time.Duration {
	ceiling := BackoffLimit
	if n < 6 {
		ceiling = min(BackoffLimit, BackoffBase<<max(0, n-1))
	}
	return time.Duration(jitter * float64(ceiling))
}
