package server

import (
	"context"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store"
)

const (
	pruneEvery = 10 * time.Minute
	// KeepKeys is how long an Idempotency-Key is remembered at least. A client
	// that repeats itself does so within hours.
	KeepKeys = 7 * 24 * time.Hour
	// groupsIdle is how long a group stays empty before it is forgotten: an
	// app version that is tested every few minutes keeps its group.
	groupsIdle = time.Hour
	groupsStep = 200
)

// prune forgets what is of no more use: idempotency keys, passes, and groups that
// nothing has waited in for a while.
func (s *Server) prune() loop {
	idle := idleGroups{}
	return loop{"prune keys and groups", pruneEvery, func(ctx context.Context) error {
		if _, err := untilDone(ctx, func() (int, bool, error) { return s.Store.ForgetKeys(ctx, time.Now().Add(-KeepKeys)) }); err != nil {
			return err
		}
		if _, err := untilDone(ctx, func() (int, bool, error) { return s.Store.ForgetPasses(ctx) }); err != nil {
			return err
		}
		var all []store.EmptyGroup
		for after := qgjob.GroupID(0); ; {
			page, err := s.Store.EmptyGroups(ctx, after, groupsStep)
			if err != nil {
				return err
			}
			all = append(all, page...)
			if len(page) < groupsStep {
				break
			}
			after = page[len(page)-1].ID
		}
		old := idle.observe(all, time.Now())
		_, err := untilDone(ctx, func() (int, bool, error) {
			n := min(groupsStep, len(old))
			forgotten, err := s.Store.ForgetGroups(ctx, old[:n])
			old = old[n:]
			return forgotten, len(old) > 0, err
		})
		return err
	}}
}

// idleGroups remembers since when groups were seen empty and unchanged.
type idleGroups map[store.EmptyGroup]time.Time

// observe notes the groups that are empty now, and gives those that have been
// for groupsIdle. What is not among them any more is forgotten.
func (g *idleGroups) observe(empty []store.EmptyGroup, now time.Time) (old []store.EmptyGroup) {
	next := make(idleGroups, len(empty))
	for _, e := range empty {
		since, ok := (*g)[e]
		if !ok {
			since = now
		}
		next[e] = since
		if now.Sub(since) >= groupsIdle {
			old = append(old, e)
		}
	}
	*g = next
	return old
}
