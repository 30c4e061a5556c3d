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
// aggregates change in the transactions of the jobs.
func (s *Server) recount() loop {
	return loop{"recount groups", recountEvery, func(ctx context.Context) error {
		for next := qgjob.GroupID(0); ; {
			drifted, after, err := s.Store.Recount(ctx, next, recountStep)
			s.metrics.drift.Add(float64(drifted))
			if err != nil || after == 0 {
				return err
			}
			next = after
		}
	}}
}
