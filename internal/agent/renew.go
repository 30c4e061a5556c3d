package agent

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/qualgent/qgjob"
)

// holdings are the leases of a slot: offers, running attempts and results
// under way.
type holdings struct {
	mu sync.Mutex
	m  map[qgjob.LeaseID]*hold
}

// hold is one lease. Its context ends when its test must stop.
type hold struct {
	lease  qgjob.LeaseID
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func (h *holdings) add(ctx context.Context, id qgjob.LeaseID) *hold {
	h.mu.Lock()
	defer h.mu.Unlock()
	if got, ok := h.m[id]; ok {
		return got
	}
	if h.m == nil {
		h.m = map[qgjob.LeaseID]*hold{}
	}
	got := &hold{lease: id}
	got.ctx, got.cancel = context.WithCancelCause(ctx)
	h.m[id] = got
	return got
}

func (h *holdings) drop(id qgjob.LeaseID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if got, ok := h.m[id]; ok {
		got.cancel(nil)
		delete(h.m, id)
	}
}

func (h *holdings) list() []qgjob.LeaseID {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.m))
}

// obey passes the server's answers on to the tests.
func (h *holdings) obey(answers map[qgjob.LeaseID]qgjob.LeaseAnswer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, answer := range answers {
		got, ok := h.m[id]
		switch {
		case !ok:
		case answer == qgjob.LeaseCancel:
			got.cancel(errCancelled)
		case answer == qgjob.LeaseStale:
			got.cancel(errStale)
		}
	}
}

// renewLoop keeps the slot's leases alive until ctx ends, which is after the
// last result: it outlives a drain. A slot that holds nothing is heard of by
// its claims; it renews only while the server wants no claims, to learn when
// it does again, and while its device is in quarantine.
func (s *slot) renewLoop(ctx context.Context) {
	for {
		renew, _ := s.pace()
		if pause(ctx, spread(renew)) != nil {
			return
		}
		s.renew(ctx)
	}
}

func (s *slot) renew(ctx context.Context) {
	interval, _ := s.pace()
	if !s.gate.TryLock() {
		return
	}
	leases := s.held.list()
	drained, _ := s.isDrained()
	if len(leases) == 0 && !drained && s.sick.Load() == nil {
		s.gate.Unlock()
		return
	}
	ctx, cancel := context.WithTimeout(ctx, max(2*interval, 2*time.Second))
	defer cancel()
	res, err := s.once.Renew(ctx, s.id, qgjob.RenewRequest{Incarnation: s.me.incarnation, Leases: leases})
	s.gate.Unlock()
	if err != nil {
		s.renewRefused(ctx, err)
		return
	}
	s.held.obey(res.Leases)
	s.setDrained(res.Drain)
}

func (s *slot) renewRefused(ctx context.Context, err error) {
	switch qgjob.CodeOf(err) {
	case qgjob.CodeAgentSuperseded:
		s.superseded(err)
	case qgjob.CodeAgentUnknown:
		if err := s.register(ctx); err != nil {
			s.log.Warn("register again", "error", err)
		}
	default:
		if ctx.Err() == nil {
			s.log.Warn("renew", "error", err)
		}
	}
}
