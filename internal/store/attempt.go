package store

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
	"github.com/qualgent/qgjob/internal/schedule"
)

// Start gives an agent leave to begin an attempt, or says to cancel it. A
// lease that is not the job's current one is refused with code stale_lease.
func (s *Store) Start(ctx context.Context, id qgjob.LeaseID, req qgjob.StartRequest) (answer qgjob.LeaseAnswer, err error) {
	err = s.updateKnown(ctx, hint{leases: []qgjob.LeaseID{id}}, func(t *tx) error {
		a, err := t.agent(req.AgentID, req.Incarnation)
		if err != nil {
			return err
		}
		j, _, err := t.leased(id)
		if err != nil {
			return err
		}
		var c lease.Change
		if c, answer, err = lease.Start(j.Job, id, t.now); err != nil {
			return err
		}
		if c.Event != "" { // not a repetition
			if err := t.frozen(); err != nil {
				return err
			}
		}
		t.heard(a)
		if c.Event == "" {
			return nil
		}
		return t.apply(j, c, nil)
	})
	return answer, err
}

// Renew keeps an agent and its leases alive. Offers that the agent does not
// name are released: it never got them.
func (s *Store) Renew(ctx context.Context, id qgjob.AgentID, req qgjob.RenewRequest) (resp qgjob.RenewResponse, err error) {
	err = s.updateKnown(ctx, hint{leases: req.Leases}, func(t *tx) error {
		a, err := t.agent(id, req.Incarnation)
		if err != nil {
			return err
		}
		resp = qgjob.RenewResponse{Leases: map[qgjob.LeaseID]qgjob.LeaseAnswer{}, Drain: a.draining}
		for _, l := range req.Leases {
			if resp.Leases[l], err = t.renew(l); err != nil {
				return err
			}
		}
		t.heard(a)
		for l := range t.m.held[id] {
			if _, named := resp.Leases[l]; named {
				continue
			}
			if err := t.releaseUnknown(l); err != nil {
				return err
			}
		}
		if req.Leaving && len(req.Leases) == 0 {
			a.online = false
			t.saveAgent(a)
			t.note.Agents = true
		}
		return nil
	})
	return resp, err
}

func (t *tx) renew(id qgjob.LeaseID) (qgjob.LeaseAnswer, error) {
	j, _, err := t.leased(id)
	if qgjob.KindOf(err) == qgjob.KindNotFound {
		return qgjob.LeaseStale, nil
	}
	if err != nil {
		return "", err
	}
	renewed, answer := lease.Renew(j.Job, id)
	if answer != qgjob.LeaseStale {
		was := j.Job
		j.Job = renewed
		t.save(j, was)
	}
	return answer, nil
}

// releaseUnknown gives back an offer that its agent does not know of. What
// was started stays: its agent must know of it.
func (t *tx) releaseUnknown(id qgjob.LeaseID) error {
	j, _, err := t.leased(id)
	if err != nil || j.Started {
		return err
	}
	c, err := lease.Release(j.Job, id, qgjob.ReasonOfferExpired, t.now)
	if err != nil {
		return err
	}
	return t.apply(j, c, nil)
}

// Complete ends an attempt with its agent's result and, when req.Next asks for
// it, claims in the same transaction. A result that came too late is kept on
// its attempt and refused with code stale_lease; the job is untouched.
func (s *Store) Complete(ctx context.Context, id qgjob.LeaseID, req qgjob.CompleteRequest) (resp qgjob.CompleteResponse, err error) {
	var stale error
	h := hint{leases: []qgjob.LeaseID{id}}
	if req.Next != nil {
		h.claims = max(1, req.Next.Max)
	}
	err = s.updateKnown(ctx, h, func(t *tx) error {
		stale, resp = nil, qgjob.CompleteResponse{}
		j, a, err := t.leased(id)
		if err != nil {
			return err
		}
		r := lease.Result{Outcome: req.Outcome, Reason: req.Reason, Message: req.Message, Digest: req.Digest}
		c, err := lease.Complete(j.Job, *a, r, t.now, rand.Float64()) //nolint:gosec // spreads retries, nothing to guess
		if qgjob.CodeOf(err) == qgjob.CodeStaleLease {
			stale = err
			return t.write("keep a refused result", `UPDATE `+j.side+`attempts SET refused = $1 WHERE lease_id = $2`, string(req.Outcome)+" "+req.Digest, string(id))
		}
		if err != nil {
			return err
		}
		if c.Attempt != nil { // not a repetition
			if err := t.countInstall(j, &req); err != nil {
				return err
			}
			t.noteUpload(j, req.Install)
			if err := t.learn(j, &req); err != nil {
				return err
			}
			if err := t.apply(j, c, &req); err != nil {
				return err
			}
		}
		resp.Status = j.State
		resp.Next, err = t.claimNext(&req)
		return err
	})
	return resp, errors.Join(err, stale)
}

// claimNext lets the agent of a result claim before any waiting one is woken.
// A result counts whoever brings it, but only the agent's newest incarnation
// may claim.
func (t *tx) claimNext(req *qgjob.CompleteRequest) (*qgjob.ClaimResponse, error) {
	a, err := t.agent(req.AgentID, req.Incarnation)
	if err != nil {
		return nil, nil
	}
	t.heard(a)
	t.holds(a, req.Installed)
	if req.Next == nil {
		return nil, nil
	}
	next, err := t.claim(req.AgentID, *req.Next)
	switch qgjob.CodeOf(err) {
	case qgjob.CodeAgentBusy, qgjob.CodeAgentSuperseded, qgjob.CodeFailover:
		return nil, nil // it still holds other jobs of a batch, or nobody may claim
	}
	return &next, err
}

// countInstall counts an install, or one that was avoided, into the run and
// the agent that did it.
func (t *tx) countInstall(j *jobRow, req *qgjob.CompleteRequest) error {
	var done, avoided int64
	switch req.Install {
	case qgjob.InstallDone:
		done = 1
	case qgjob.InstallAvoided:
		avoided = 1
	case qgjob.InstallNone:
		return nil
	}
	if a := t.m.agents[req.AgentID]; a != nil {
		a.installs += done
		a.avoided += avoided
		if req.Install == qgjob.InstallFailed {
			a.hasBuild, a.build = false, schedule.Build{}
		}
		t.saveRoutine(a)
	}
	c, err := t.runOf(j)
	if err != nil {
		return err
	}
	t.writes++
	c.changed = true
	c.installs += done
	c.avoided += avoided
	c.installMS += req.InstallMS
	return nil
}

// CancelJob asks a job to stop; see lease.Cancel.
func (s *Store) CancelJob(ctx context.Context, id qgjob.JobID) (qgjob.Job, error) {
	err := s.update(ctx, func(t *tx) error {
		j, err := t.job(id)
		if err != nil {
			return err
		}
		return t.cancel(j, qgjob.ReasonCancelled, "")
	})
	if err != nil {
		return qgjob.Job{}, err
	}
	return s.Job(ctx, id)
}

func (t *tx) cancel(j *jobRow, why qgjob.Reason, note string) error {
	c, err := lease.Cancel(j.Job, why, note)
	if err != nil {
		if e, ok := errors.AsType[*qgjob.Error](err); ok {
			e.Message = j.id.String() + ": " + e.Message
		}
		return err
	}
	if c.Event == "" {
		return nil
	}
	return t.apply(j, c, nil)
}

// cancelBatch is how many jobs of a run one transaction cancels, so that a run
// of thousands does not hold up everybody's claims.
const cancelBatch = 200

// CancelRun asks every job of a run that has not ended to stop. A run that has
// ended is refused with code terminal.
func (s *Store) CancelRun(ctx context.Context, id qgjob.RunID) (qgjob.Run, error) {
	var any bool
	for after, more := qgjob.JobID(0), true; more; {
		var jobs []*jobRow
		err := s.update(ctx, func(t *tx) (err error) { // may run twice: after a rollback
			if jobs, err = t.unfinished(id, after); err != nil {
				return err
			}
			for _, j := range jobs {
				if err := t.cancel(j, qgjob.ReasonCancelled, ""); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return qgjob.Run{}, err
		}
		if more = len(jobs) == cancelBatch; len(jobs) > 0 {
			any, after = true, jobs[len(jobs)-1].id
		}
	}
	run, err := s.Run(ctx, id)
	if err == nil && !any {
		return run, qgjob.Conflict(qgjob.CodeTerminal, "%s has ended already: %s", id, run.Conclusion)
	}
	return run, err
}
