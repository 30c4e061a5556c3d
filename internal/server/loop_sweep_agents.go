package server

import (
	"context"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
	"github.com/qualgent/qgjob/internal/store"
)

// sweepAgents marks agents offline that were not heard of for a lease TTL. It
// judges by the same rule as the leases: an agent is watched like a lease
// whose version is its last sign of life.
func (s *Server) sweepAgents(watch *lease.Watch) loop {
	vain := s.vain()
	return loop{"sweep agents", lease.SweepEvery(s.Store.LeaseTTL()), func(ctx context.Context) error {
		online, err := s.Store.OnlineAgents(ctx)
		if err != nil {
			return err
		}
		if vain(ctx, false) {
			watch.StartOver()
		}
		held := make([]lease.Held, len(online))
		seen := make(map[qgjob.LeaseID]store.AgentSeen, len(online))
		for i, a := range online {
			held[i] = lease.Held{LeaseID: qgjob.LeaseID(a.ID), Ver: a.LastSeen.UnixMilli(), Started: true}
			seen[held[i].LeaseID] = a
		}
		var gone []store.AgentSeen
		for _, h := range watch.Observe(held, time.Now()) {
			gone = append(gone, seen[h.LeaseID])
		}
		if len(gone) == 0 {
			return nil
		}
		n, err := s.Store.Offline(ctx, gone)
		if n > 0 {
			s.Log.InfoContext(ctx, "agents went offline", "agents", n)
		}
		return err
	}}
}
