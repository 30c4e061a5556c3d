package server

import (
	"context"
	"time"
)

// loop is work that is done again and again for as long as the server runs.
type loop struct {
	name  string
	every time.Duration
	do    func(context.Context) error
}

// maxPatience is how many rounds a loop that keeps failing waits at most.
const maxPatience = 8

// repeat runs a loop until ctx ends. A failing round is tried again after a
// wait that doubles up to maxPatience rounds; what is logged is the change
// from working to failing and back, not every round.
func (s *Server) repeat(ctx context.Context, l loop) {
	wait, failing := l.every, false
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := l.do(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !failing {
				s.Log.ErrorContext(ctx, "background work fails and is tried again", "loop", l.name, "error", err)
			}
			failing, wait = true, min(2*wait, maxPatience*l.every)
		default:
			if failing {
				s.Log.InfoContext(ctx, "background work succeeds again", "loop", l.name)
			}
			failing, wait = false, l.every
		}
		timer.Reset(wait)
	}
}
