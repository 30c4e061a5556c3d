package server

import (
	"context"
	"time"

	"github.com/qualgent/qgjob"
)

// recountEvery is how long a round over all groups takes at least, and
// recountStep how many groups one step of it looks at.
const (
	recountEvery = time.Minute
	recountStep  = 50
)

// recount compares the groups' aggregates with their jobs, a few groups at a
// time, and counts what has drifted. It must count nothing, ever: the
// aggregates change in the transactions of the jobs. It rests between steps: a
// queue of a million jobs is counted beside the claims, not before them.
func (s *Server) recount() loop {
	return loop{"recount groups", recountEvery, func(ctx context.Context) error {
		next := qgjob.GroupID(0)
		_, err := untilDone(ctx, func() (int, bool, error) {
			drifted, after, err := s.Store.Recount(ctx, next, recountStep)
			s.metrics.drift.Add(float64(drifted))
			next = after
			return drifted, after != 0, err
		})
		return err
	}}
}
