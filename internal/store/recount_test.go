package store

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/qualgent/qgjob"
)

// damage changes the database behind the store's back.
func (s *school) damage(query string, args ...any) {
	s.Helper()
	s.ok(s.update(context.Background(), func(t *tx) error {
		_, err := t.exec(query, args...)
		return err
	}))
}

func (s *school) recount(after qgjob.GroupID, limit int) (drifted int, next qgjob.GroupID) {
	s.Helper()
	drifted, next, err := s.Recount(context.Background(), after, limit)
	s.ok(err)
	return drifted, next
}

// TestRecountMends: each aggregate that is damaged is found, counted once and
// mended, in the database and in what the scheduler decides with.
func TestRecountMends(t *testing.T) {
	s := openSchool(t)
	s.submit("acme", "v1", "tests/a.spec.js", qgjob.TargetEmulator)
	s.submit("acme", "v1", "tests/b.spec.js", qgjob.TargetEmulator)
	_, err := s.Claim(context.Background(), "emulator", qgjob.ClaimRequest{Incarnation: 1, ClaimID: "claim-0001"})
	s.ok(err)
	for _, column := range []string{"waiting", "runs", "work_ms", "serving", "head_priority", "head_submitted"} {
		s.damage(`UPDATE job_groups SET ` + column + ` = ` + column + ` + 7`)
		if err := s.Audit(context.Background()); err == nil {
			t.Fatalf("%s: the damage does not show", column)
		}
		if drifted, _ := s.recount(0, 10); drifted != 1 {
			t.Errorf("%s: %d groups drifted; want 1", column, drifted)
		}
		if err := s.Audit(context.Background()); err != nil {
			t.Errorf("%s: after the recount: %v", column, err)
		}
		if drifted, _ := s.recount(0, 10); drifted != 0 {
			t.Errorf("%s: %d groups drifted after they were mended", column, drifted)
		}
	}
}

// TestRecountMendsWhatARestartHasRead: a server that started on damaged
// aggregates overlooks the group until the recount, and claims from it then.
func TestRecountMendsWhatARestartHasRead(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	st, err := Open(ctx, dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &school{TB: t, Store: st}
	id := s.submit("acme", "v1", "tests/a.spec.js", qgjob.TargetEmulator)
	s.damage(`UPDATE job_groups SET waiting = 0, runs = 0, work_ms = 0, head_priority = 0, head_submitted = 0`)
	s.ok(s.Close())
	notes := make(chan Note, 100)
	if s.Store, err = Open(ctx, dir, Options{Notify: func(n Note) { notes <- n }}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	_, err = s.Register(ctx, "a1", qgjob.RegisterRequest{Incarnation: 1, Target: qgjob.TargetEmulator, Runner: "exec"})
	s.ok(err)
	claim := func(n int) []qgjob.Offer {
		got, err := s.Claim(ctx, "a1", qgjob.ClaimRequest{Incarnation: 1, ClaimID: fmt.Sprintf("claim-%04d", n)})
		s.ok(err)
		return got.Offers
	}
	if got := claim(1); len(got) != 0 {
		t.Fatalf("claimed %+v from a group that says that it is empty", got)
	}
	for len(notes) > 0 {
		<-notes
	}
	if drifted, _ := s.recount(0, 10); drifted != 1 {
		t.Fatalf("%d groups drifted; want 1", drifted)
	}
	woken := false
	for len(notes) > 0 {
		woken = woken || (<-notes).Work
	}
	if !woken {
		t.Error("nobody is told that work was found")
	}
	if got := claim(2); len(got) != 1 || got[0].Job.JobID != id {
		t.Errorf("claimed %+v; want %s", got, id)
	}
	s.ok(s.Audit(ctx))
}

// TestRecountLeavesAGroupThatMovedAlone: between the count and the mend
// somebody submits, claims or completes.
func TestRecountLeavesAGroupThatMovedAlone(t *testing.T) {
	s := openSchool(t)
	ctx := context.Background()
	s.submit("acme", "v1", "tests/a.spec.js", qgjob.TargetEmulator)
	s.damage(`UPDATE job_groups SET waiting = 5`)
	counted, err := s.recountOne(ctx, 1)
	s.ok(err)
	if counted.have.waiting != 5 || counted.want.waiting != 1 {
		t.Fatalf("counted %+v", counted)
	}
	s.submit("acme", "v1", "tests/b.spec.js", qgjob.TargetEmulator)
	s.ok(s.mend(ctx, counted))
	var waiting int
	s.ok(s.read.QueryRow(`SELECT waiting FROM job_groups WHERE id = 1`).Scan(&waiting))
	if waiting != 6 {
		t.Errorf("waiting is %d; want 6, as it was left: an old count must not overwrite what moved", waiting)
	}
	if drifted, _ := s.recount(0, 10); drifted != 1 {
		t.Errorf("the next recount found %d; want 1", drifted)
	}
	s.ok(s.Audit(ctx))
}

// TestRecountPages: steps that are smaller than the number of groups see each
// of them once, damaged ones wherever they are.
func TestRecountPages(t *testing.T) {
	s := openSchool(t)
	const groups = 23
	for i := range groups {
		s.submit("acme", fmt.Sprint("v", i), "tests/a.spec.js", qgjob.TargetEmulator)
	}
	s.damage(`UPDATE job_groups SET work_ms = 1 WHERE id IN (1, 5, 6, 20, 23)`)
	for _, c := range []struct{ step, steps, drifted int }{{5, 5, 5}, {23, 2, 0}, {24, 1, 0}, {1, 24, 0}} {
		steps, drifted := 0, 0
		for next := qgjob.GroupID(0); steps == 0 || next != 0; steps++ {
			if steps > groups+1 {
				t.Fatal("the pages do not end")
			}
			n, after := s.recount(next, c.step)
			if after != 0 && after <= next {
				t.Fatalf("after group %d comes %d", next, after)
			}
			drifted, next = drifted+n, after
		}
		if steps != c.steps || drifted != c.drifted {
			t.Errorf("by %d: %d steps, %d groups drifted; want %d and %d", c.step, steps, drifted, c.steps, c.drifted)
		}
	}
	if drifted, next := s.recount(math.MaxInt64, 5); drifted != 0 || next != 0 {
		t.Errorf("behind the last group: %d, %d", drifted, next)
	}
	s.ok(s.Audit(context.Background()))
}
