package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/qualgent/qgjob"
)

// emptyPause keeps a server that answers without waiting from being asked in
// a tight loop.
const emptyPause = time.Second

// A job that took less than brief is followed by a claim for briefBatch more.
const (
	brief      = 2 * time.Second
	briefBatch = 8
)

// claimLoop claims and runs one job after the other until ctx ends, and gives
// the cause.
func (s *slot) claimLoop(ctx context.Context) error {
	var next *qgjob.ClaimResponse
	for {
		if next == nil || len(next.Offers) == 0 {
			if err := s.waitUndrained(ctx); err != nil {
				return err
			}
			if err := s.waitFit(ctx); err != nil {
				return err
			}
			s.deliverSpooled(ctx, s.me.incarnation)
			got, err := s.claim(ctx)
			if err != nil {
				if err = s.readmit(ctx, err); err != nil {
					return err
				}
				continue
			}
			next = &got
		}
		offers := next.Offers
		next = nil
		for i, offer := range offers {
			if ctx.Err() != nil || s.out() || !s.admit(ctx) {
				s.held.drop(offer.LeaseID) // goodbye gives it back
				if i == len(offers)-1 && ctx.Err() == nil {
					s.goodbye(false)
				}
				continue
			}
			next = s.attempt(ctx, offer, i == len(offers)-1)
			s.leavePass()
		}
	}
}

// readmit answers a refused claim: an agent that the server has forgotten
// registers again, any other refusal ends the slot.
func (s *slot) readmit(ctx context.Context, err error) error {
	switch qgjob.CodeOf(err) {
	case qgjob.CodeAgentUnknown:
		s.log.Warn("the server does not know this agent any more; it registers again")
		return s.register(ctx)
	case qgjob.CodeAgentSuperseded:
		s.superseded(err)
		return context.Cause(s.ctx)
	case qgjob.CodeAgentBusy:
		// A lease that this slot does not hold any more; naming none gives it back.
		s.goodbye(false)
		return pause(ctx, spread(emptyPause))
	}
	return err
}

// claim asks for one job and waits for it. The claim id is new for each claim
// and the same for each try of one, so that a lost answer is given again.
func (s *slot) claim(ctx context.Context) (qgjob.ClaimResponse, error) {
	_, poll := s.pace()
	req := s.claimRequest()
	req.WaitMS = spread(poll * 4 / 5).Milliseconds()
	begin := time.Now()
	s.gate.Lock()
	res, err := patiently(ctx, s, "claim", 0, func(ctx context.Context) (qgjob.ClaimResponse, error) {
		return s.server.Claim(ctx, s.id, *req)
	})
	if err == nil {
		s.take(&res)
	}
	s.gate.Unlock()
	if err != nil {
		return res, err
	}
	s.setDrained(res.Drain)
	if len(res.Offers) == 0 && !res.Drain && time.Since(begin) < poll/10 {
		return res, pause(ctx, spread(emptyPause))
	}
	return res, nil
}

// While jobs are shorter than a few round trips it asks for several at once;
// the server gives no more than this agent's share of what waits.
func (s *slot) claimRequest() *qgjob.ClaimRequest {
	most := 1
	if s.brief.Load() && s.host.cloud == nil {
		most = briefBatch
	}
	return &qgjob.ClaimRequest{
		Incarnation: s.me.incarnation,
		ClaimID:     rand.Text(),
		Max:         most,
		Installed:   s.installed.Load(),
	}
}

// take holds the offers of an answer, so that renewals name them.
func (s *slot) take(res *qgjob.ClaimResponse) {
	for _, offer := range res.Offers {
		s.held.add(s.ctx, offer.LeaseID)
	}
}

// goodbye tells the server that this agent holds nothing, so that an offer
// whose answer never arrived goes back at once and not after its time. An
// agent that is leaving is offline at once.
func (s *slot) goodbye(leaving bool) {
	if leases := s.held.list(); len(leases) > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 2*time.Second)
	defer cancel()
	_, err := s.once.Renew(ctx, s.id, qgjob.RenewRequest{Incarnation: s.me.incarnation, Leases: []qgjob.LeaseID{}, Leaving: leaving})
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		s.log.Debug("goodbye", "error", err)
	}
}
