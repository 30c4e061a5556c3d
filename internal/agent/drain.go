package agent

import (
	"context"
	"errors"
	"time"
)

// Why a test is stopped, or a slot claims no more.
var (
	errDraining  = errors.New("the agent drains")
	errLeaving   = errors.New("the agent was told to leave")
	errCancelled = errors.New("the job was cancelled")
	errUnplugged = errors.New("the device was unplugged")
	errStale     = errors.New("the job is another agent's by now")
	errTimedOut  = errors.New("the job ran longer than its timeout")
)

// watchSignals turns Drain, Cancel and ctx into the two contexts of the host.
// The function it gives ends the watch.
func (h *host) watchSignals(ctx context.Context) func() {
	work, leave := context.WithCancelCause(context.WithoutCancel(ctx))
	claims, drain := context.WithCancelCause(work)
	h.work, h.claims = work, claims
	over := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		drained := h.Drain
		for {
			select {
			case <-drained:
				drained = nil
				h.Log.Info("drains: claims no more, running jobs finish")
				drain(errDraining)
			case <-h.Cancel:
				h.Log.Info("leaves: running tests are stopped and given back")
				leave(errLeaving)
				return
			case <-ctx.Done():
				leave(errLeaving)
				return
			case <-over:
				return
			}
		}
	}()
	return func() {
		close(over)
		<-done
		leave(errLeaving)
	}
}

// finishing is a context for what must still be said when the agent leaves:
// it lives as long as the slot, and LeaveGrace longer.
func (s *slot) finishing() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.ctx))
	stop := context.AfterFunc(s.ctx, func() {
		timer := time.AfterFunc(s.host.LeaveGrace, cancel)
		context.AfterFunc(ctx, func() { timer.Stop() })
	})
	return ctx, func() { stop(); cancel() }
}

// setDrained notes that the server wants this agent to claim no more, or to
// claim again.
func (s *slot) setDrained(drained bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drained == drained {
		return
	}
	s.drained = drained
	close(s.changed)
	s.changed = make(chan struct{})
	if drained {
		s.log.Info("the server asked this agent to drain: it claims no more until it is undrained")
	} else {
		s.log.Info("the server lets this agent claim again")
	}
}

func (s *slot) isDrained() (bool, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drained, s.changed
}

// waitUndrained blocks while the server wants no claims. The renewals learn
// when it changes its mind.
func (s *slot) waitUndrained(ctx context.Context) error {
	for {
		drained, changed := s.isDrained()
		if !drained {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
