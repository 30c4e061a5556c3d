package lease

import (
	"time"

	"github.com/qualgent/qgjob"
)

// Result is what an agent says of an attempt it ran.
type Result struct {
	Outcome qgjob.Outcome // passed, failed, errored, cancelled or interrupted
	Reason  qgjob.Reason
	Message string
	Digest  string // over the whole result, made by the agent
}

// Complete ends an attempt with its agent's result. a is the attempt of that
// lease as the store knows it; jitter in [0, 1) spreads a test retry.
//
// The guard is the lease and the state: a result is taken from the current
// lease of a running job, or from a lease that expired and was not given
// again (it saves a run). A repeated result changes nothing; another result
// for the same lease, and one of an older lease, are refused. A job that is
// being cancelled is cancelled whatever the result says.
func Complete(j Job, a Attempt, r Result, now time.Time, jitter float64) (Change, error) {
	if a.Digest != "" {
		if a.Digest == r.Digest {
			return Change{Job: j}, nil
		}
		return Change{}, qgjob.Conflict(qgjob.CodeStaleLease, "lease %s has another result already", a.LeaseID)
	}
	if j.LeaseID != a.LeaseID || j.State.Terminal() {
		return Change{}, staleLease(a.LeaseID)
	}
	r.Reason = reasonOf(r)
	ended := &Ended{LeaseID: a.LeaseID, Outcome: r.Outcome, Reason: r.Reason, Message: r.Message}
	switch {
	case j.State == qgjob.Cancelling:
		ended.Outcome, ended.Reason = qgjob.OutcomeCancelled, qgjob.ReasonCancelled
		c := cancelled(j, "cancelled on request", a.LeaseID)
		c.Attempt = ended
		return c, nil
	case j.State == qgjob.Assigned && (r.Outcome == qgjob.OutcomeInterrupted || r.Outcome == qgjob.OutcomeCancelled):
		return Release(j, a.LeaseID, qgjob.ReasonAgentReturned, now)
	case j.State == qgjob.Assigned:
		e := qgjob.Conflict(qgjob.CodeNotStarted, "lease %s was never started", a.LeaseID)
		e.Hint = "start it before completing it"
		return Change{}, e
	case j.State == qgjob.Queued:
		if a.Outcome != qgjob.OutcomeLost {
			return Change{}, staleLease(a.LeaseID)
		}
		j.InfraFails-- // it was not lost after all
	}
	c := settle(j, a.LeaseID, r, now, jitter)
	c.Attempt = ended
	return c, nil
}

// settle turns a result that counts into the job's next state.
func settle(j Job, id qgjob.LeaseID, r Result, now time.Time, jitter float64) Change {
	switch r.Outcome {
	case qgjob.OutcomePassed:
		j.Flaky = j.TestAttempts > 0
		return end(j, qgjob.Passed, qgjob.ReasonNone, r.Message, id)
	case qgjob.OutcomeFailed:
		return testFail(j, id, r.Reason, r.Message, now, jitter)
	case qgjob.OutcomeErrored:
		c := infraFail(j, r.Reason, r.Message, now)
		if c.Job.State == qgjob.Errored {
			c.Job.DoneLease = id
		} else {
			c.Job.LeaseID = ""
		}
		return c
	}
	// Interrupted, and cancelled without anybody having asked the server: the
	// attempt was cut short, which says nothing about the test.
	j.LeaseID = ""
	return requeue(j, qgjob.ReasonAgentReturned, r.Message, now)
}

// reasonOf is the reason of a result; a failure without one gets the likeliest,
// so that neither the job nor its attempt fails without a reason.
func reasonOf(r Result) qgjob.Reason {
	switch {
	case r.Reason != qgjob.ReasonNone:
		return r.Reason
	case r.Outcome == qgjob.OutcomeFailed:
		return qgjob.ReasonAssertion
	case r.Outcome == qgjob.OutcomeErrored:
		return qgjob.ReasonSetup
	}
	return qgjob.ReasonNone
}
