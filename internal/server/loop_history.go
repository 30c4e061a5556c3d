package server

import (
	"context"
	"time"
)

const (
	historyEvery = time.Minute
	// historyRest is how many times as long as a step took the loop rests
	// before the next: what waits for the writer gets most of it.
	historyRest = 3
)

// moveHistory moves runs that have ended for a while out of the tables that
// every claim works in, and deletes those that are older than anybody wants.
func (s *Server) moveHistory() loop {
	return loop{"move history", historyEvery, func(ctx context.Context) error {
		if err := s.Store.FinishUpgrade(ctx); err != nil {
			return err
		}
		moved, err := untilDone(ctx, func() (int, bool, error) {
			return s.Store.Archive(ctx, time.Now().Add(-s.HistoryAfter))
		})
		if moved > 0 {
			s.Log.DebugContext(ctx, "runs moved into history", "runs", moved)
		}
		if err != nil || s.KeepHistory == 0 {
			return err
		}
		dropped, err := untilDone(ctx, func() (int, bool, error) { return s.Store.DropHistory(ctx, time.Now().Add(-s.KeepHistory)) })
		if dropped > 0 {
			s.Log.InfoContext(ctx, "old runs deleted", "runs", dropped, "older_than", s.KeepHistory)
		}
		return err
	}}
}

// untilDone repeats a bounded step until it finds nothing more to do, and
// rests between steps.
func untilDone(ctx context.Context, step func() (n int, more bool, err error)) (total int, err error) {
	for {
		began := time.Now()
		n, more, err := step()
		total += n
		if err != nil || !more {
			return total, err
		}
		rest := time.NewTimer(historyRest * time.Since(began))
		select {
		case <-ctx.Done():
			rest.Stop()
			return total, ctx.Err()
		case <-rest.C:
		}
	}
}
