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
	vain := s.vain()
	return loop{"sweep leases", lease.SweepEvery(late.ttl), func(ctx context.Context) error {
		held, err := s.Store.Held(ctx)
		if err != nil {
			return err
		}
		if vain(ctx, watch.Doubts(time.Now())) {
			watch.StartOver()
			late.due = nil
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

// vain makes a question for the rounds of a sweep: whether the database refused
// a write since the last one. In doubt it has one written: agents may have
// asked another server, and that one was refused.
func (s *Server) vain() func(ctx context.Context, doubt bool) bool {
	var seen int64
	return func(ctx context.Context, doubt bool) bool {
		if doubt {
			_ = s.Store.Ping(ctx) // counted when it fails
		}
		was := seen
		seen = s.Store.Refused()
		return seen != was
	}
}

// deadlines finds attempts whose deadline has passed, on the sweep's own
// monotonic clock: a jump of the wall clock ends nothing. After a start, after
// it was blind for a third of the TTL, and while agents write in vain, every attempt has a whole TTL
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
