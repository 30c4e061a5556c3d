package server

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store"
)

// TestHistory: a run moves an hour after its end and is there all the same; a
// week later it is gone when nobody wants to keep it.
func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true, ttl: 10 * time.Minute, keep: 3 * time.Hour})
		r.submit(spec("v1", "a.js"))
		r.register("a1")
		offer := r.take("a1")
		r.start("a1", offer.LeaseID)
		r.complete("a1", offer.LeaseID, qgjob.OutcomePassed)
		see := func() string {
			return r.ask("GET", "/v1/runs/run_1", nil).String() + r.ask("GET", "/v1/jobs/job_1/attempts", nil).String() +
				r.ask("GET", "/v1/runs/run_1/junit", nil).String() + r.ask("GET", "/jobs/group/v1", nil).String() + r.ask("GET", "/v1/runs/run_1/events", nil).String()
		}
		fresh := see()
		time.Sleep(DefaultHistoryAfter + 2*historyEvery)
		if now := see(); now != fresh {
			t.Errorf("after an hour:\n%s\nbefore:\n%s", now, fresh)
		}
		if _, more, err := r.Store.Archive(t.Context(), time.Now()); more || err != nil {
			t.Errorf("the loop left work behind: %v", err)
		}
		time.Sleep(2 * time.Hour)
		for _, path := range []string{"/v1/runs/run_1", "/jobs/status/job_1"} {
			if p := r.ask("GET", path, nil); p.Status != 404 {
				t.Errorf("%s: %s", path, p)
			}
		}
		if groups, err := r.Store.EmptyGroups(t.Context(), 0, 10); len(groups) != 0 || err != nil {
			t.Errorf("groups that nobody needs are left: %v %v", groups, err)
		}
	})
}

func TestIdleGroups(t *testing.T) {
	began := time.Now()
	a, b, a2 := store.EmptyGroup{ID: 1, Rev: 5}, store.EmptyGroup{ID: 2, Rev: 1}, store.EmptyGroup{ID: 1, Rev: 7}
	g := idleGroups{}
	for _, look := range []struct {
		at   time.Duration
		seen []store.EmptyGroup
		old  int
	}{
		{0, []store.EmptyGroup{a, b}, 0},
		{groupsIdle - 1, []store.EmptyGroup{a, b}, 0},
		{groupsIdle, []store.EmptyGroup{a2, b}, 1}, // a was in use meanwhile
		{groupsIdle + 1, []store.EmptyGroup{a2}, 0},
		{2 * groupsIdle, []store.EmptyGroup{a2, b}, 1}, // b was gone meanwhile
	} {
		if old := g.observe(look.seen, began.Add(look.at)); len(old) != look.old {
			t.Errorf("at %v: %v are old; want %d", look.at, old, look.old)
		}
	}
}
