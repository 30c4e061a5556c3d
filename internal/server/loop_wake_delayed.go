package server

import (
	"context"
	"time"
)

// wakeDelayed lets jobs wait for agents again once their back-off is over. A
// retry is late by up to its period, which shrinks with the lease TTL.
func (s *Server) wakeDelayed() loop {
	every := min(max(s.Store.LeaseTTL()/120, 25*time.Millisecond), time.Second)
	return loop{"wake delayed jobs", every, func(ctx context.Context) error {
		for {
			n, err := s.Store.WakeDelayed(ctx)
			if err != nil || n == 0 {
				return err
			}
		}
	}}
}
