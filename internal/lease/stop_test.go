package lease_test

import (
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

// TestCancelRemembersWhy: whichever way a job that was to stop comes to its
// end, it says why it was stopped, and not how.
func TestCancelRemembersWhy(t *testing.T) {
	now := time.Now()
	const id = qgjob.LeaseID("0123456789abcdef0123456789abcdef")
	assigned := lease.Job{State: qgjob.Assigned, LeaseID: id, LeaseNo: 1, LeaseVer: 3, Reason: qgjob.ReasonAgentLost, MaxTestAttempts: 1}
	running := assigned
	running.State, running.Started, running.StartedAt, running.Timeout = qgjob.Running, true, now, time.Minute
	late := now.Add(24 * time.Hour)
	for name, way := range map[string]struct {
		job lease.Job
		end func(lease.Job) (lease.Change, error)
	}{
		"while it waited":    {lease.Job{State: qgjob.Queued, Reason: qgjob.ReasonAgentLost}, nil},
		"its offer expired":  {assigned, func(j lease.Job) (lease.Change, error) { return lease.Expire(j, id, 3, now) }},
		"its offer released": {assigned, func(j lease.Job) (lease.Change, error) { return lease.Release(j, id, qgjob.ReasonAgentReturned, now) }},
		"its agent was lost": {running, func(j lease.Job) (lease.Change, error) { return lease.Expire(j, id, 3, now) }},
		"it never stopped":   {running, func(j lease.Job) (lease.Change, error) { return lease.Timeout(j, id, late) }},
		"it passed meanwhile": {running, func(j lease.Job) (lease.Change, error) {
			return lease.Complete(j, lease.Attempt{LeaseID: id}, lease.Result{Outcome: qgjob.OutcomePassed, Digest: "d"}, now, 0)
		}},
	} {
		for why, note := range map[qgjob.Reason]string{qgjob.ReasonSuperseded: "superseded by run_2", qgjob.ReasonFailFast: "job_1 had failed", qgjob.ReasonCancelled: ""} {
			c, err := lease.Cancel(way.job, why, note)
			if err == nil && way.end != nil {
				if c.Job.State != qgjob.Cancelling || c.Job.Reason != why {
					t.Errorf("%s, %s: %s %s while it stops", name, why, c.Job.State, c.Job.Reason)
				}
				c, err = way.end(c.Job)
			}
			if err != nil || c.Job.State != qgjob.Cancelled || c.Job.Reason != why {
				t.Errorf("%s, %s: %s %s, %v", name, why, c.Job.State, c.Job.Reason, err)
			}
			if (note != "" && c.Job.Message != note) || c.Job.Message == "" {
				t.Errorf("%s, %s: %q", name, why, c.Job.Message)
			}
		}
	}
	c, err := lease.Cancel(running, qgjob.ReasonSuperseded, "superseded by run_2")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := lease.Cancel(c.Job, qgjob.ReasonCancelled, ""); err != nil || again.Event != "" || again.Job.Reason != qgjob.ReasonSuperseded {
		t.Errorf("a second cancel: %+v, %v", again, err)
	}
}
