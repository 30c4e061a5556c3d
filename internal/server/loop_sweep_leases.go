package server

import (
	"context"
	"errors"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
	"github.com/qualgent/qgjob/internal/store"
)

// sweepLeases ends leases that were not renewed for their time, and attempts
// that run far beyond their timeout. watch is what tells a silent agent from
// an outage of ours: see lease.Watch.
func (s *Server) sweepLeases(watch *lease.Watch) loop {
	late := deadlines{ttl: s.Store.LeaseTTL()}
	return loop{"sweep leases", lease.SweepEvery(late.ttl), func(ctx context.Context) error {
		held, err := s.Store.Held(ctx)
		if err != nil {
			return err
		}
		now := time.Now()
		var errs []error
		leases := make([]lease.Held, len(held))
		for i, h := range held {
			leases[i] = h.Held
		}
		for _, h := range watch.Observe(leases, now) {
			expired, err := s.Store.Expire(ctx, h)
			errs = append(errs, err)
			if expired {
				s.Log.InfoContext(ctx, "lease expired", "job", h.JobID, "lease", h.LeaseID, "started", h.Started)
			}
		}
		// Last: whoever is silent is lost, which burns no attempt of the test.
		for _, h := range late.observe(held, now) {
			ended, err := s.Store.Timeout(ctx, h.LeaseID)
			errs = append(errs, err)
			if ended {
				s.Log.WarnContext(ctx, "attempt ended: its agent let the timeout pass", "job", h.JobID, "lease", h.LeaseID)
			}
		}
		return errors.Join(errs...)
	}}
}

// deadlines finds attempts whose deadline has passed, on the sweep's own
// monotonic clock: a jump of the wall clock ends nothing. After a start, and
// after it was blind for a third of the TTL, every attempt has a whole TTL
// left: its agent may hold a result that could not be delivered meanwhile.
type deadlines struct {
	ttl  time.Duration
	last time.Time
	due  map[qgjob.LeaseID]time.Time
}

func (d *deadlines) observe(held []store.HeldLease, now time.Time) (over []store.HeldLease) {
	if now.Sub(d.last) > d.ttl/3 {
		d.due = nil
	}
	d.last = now
	next := make(map[qgjob.LeaseID]time.Time, len(held))
	for _, h := range held {
		if h.Deadline.IsZero() {
			continue
		}
		due, ok := d.due[h.LeaseID]
		if !ok {
			due = now.Add(max(h.Deadline.Sub(now), d.ttl))
		}
		next[h.LeaseID] = due
		if !now.Before(due) {
			over = append(over, h)
		}
	}
	d.due = next
	return over
}
