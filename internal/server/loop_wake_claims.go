package server

import "context"

// wakeClaims wakes waiting claims when there is news of work, until ctx ends.
// It may fail: every claim looks again by itself now and then.
func (s *Server) wakeClaims(ctx context.Context) {
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.Hub.claims.work.wake:
		}
		if !s.Hub.anyWaiting() {
			continue
		}
		groups, err := s.Store.Groups(ctx, "")
		if err != nil && !failing && ctx.Err() == nil {
			s.Log.ErrorContext(ctx, "waiting agents cannot be woken and look by themselves", "error", err)
		}
		if failing = err != nil; failing {
			continue
		}
		s.Hub.wakeFor(groups)
	}
}
