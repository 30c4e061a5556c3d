package server

import (
	"context"
	"time"
)

// sweepTokens throws away what CI runs leave behind: their tokens and the marks
// of the id-tokens that they used.
func (s *Server) sweepTokens() loop {
	return loop{"sweep tokens", 10 * time.Minute, func(ctx context.Context) error {
		_, err := s.Store.SweepTokens(ctx)
		return err
	}}
}
