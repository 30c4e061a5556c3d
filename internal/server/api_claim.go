package server

import (
	"context"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

// maxBackstop is how long a waiting claim relies on being woken before it
// looks by itself.
const maxBackstop = 5 * time.Second

// claim offers an agent work, and waits for some when there is none: until
// req.WaitMS or the protocol's limit is over, the agent is told to drain, the
// client goes away or the server stops.
func (s *Server) claim(ctx context.Context, id qgjob.AgentID, req qgjob.ClaimRequest) (resp qgjob.ClaimResponse, err error) {
	ttl := s.Store.LeaseTTL()
	wait := time.Duration(min(req.WaitMS, lease.TimingFor(ttl).PollMS)) * time.Millisecond
	over := time.NewTimer(wait)
	defer over.Stop()
	again := time.NewTicker(min(maxBackstop, max(ttl/6, 10*time.Millisecond)))
	defer again.Stop()
	w := s.Hub.enlist(id)
	defer func() { s.Hub.leave(w, len(resp.Offers) > 0) }()
	for {
		select {
		case <-s.stopping:
			return qgjob.ClaimResponse{Offers: []qgjob.Offer{}}, nil
		case <-ctx.Done(): // nobody would get the offers
			return resp, ctx.Err()
		default:
		}
		round := s.Hub.begin(w)
		resp, err = s.Store.Claim(ctx, id, req)
		if err != nil || len(resp.Offers) > 0 || resp.Drain || wait <= 0 {
			return resp, err
		}
		if !w.known {
			agent, err := s.Store.Agent(ctx, id)
			if err != nil {
				return resp, err
			}
			s.Hub.describe(w, agent)
		}
		s.Hub.missed(w, round)
		select {
		case <-w.wake:
		case <-again.C:
		case <-over.C:
			return resp, nil
		case <-ctx.Done():
		case <-s.stopping:
		}
	}
}
