package server

import (
	"context"
	"time"
)

// stopRuns cancels what is left of runs that a newer one stands in for, or
// that were to stop at their first failure.
func (s *Server) stopRuns() loop {
	return loop{"stop runs", 250 * time.Millisecond, func(ctx context.Context) error {
		for {
			n, err := s.Store.StopRuns(ctx)
			if err != nil || n == 0 {
				return err
			}
		}
	}}
}
