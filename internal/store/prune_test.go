package store

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/qualgent/qgjob"
)

func emptyGroups(t testing.TB, s *Store) []EmptyGroup {
	t.Helper()
	return ok[[]EmptyGroup](t)(s.EmptyGroups(context.Background(), 0, 100))
}

// TestEmptyGroupsAreForgotten: one that is in use again, or whose job is in
// its back-off, stays.
func TestEmptyGroupsAreForgotten(t *testing.T) {
	ctx := context.Background()
	s := openTest(t, Options{Alone: true})
	registerOn(t, s, "a1")
	req := oneJob("acme", 5)
	req.Jobs[0].Retries = 1
	ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", req))
	if list := emptyGroups(t, s); len(list) != 0 {
		t.Fatalf("a group with a job counts as empty: %v", list)
	}
	failOn(t, s, "claim-1")
	delayed := emptyGroups(t, s)
	if len(delayed) != 1 {
		t.Fatalf("empty: %v", delayed)
	}
	if n := ok[int](t)(s.ForgetGroups(ctx, delayed)); n != 0 {
		t.Fatal("the group of a job in its back-off was forgotten")
	}
	ok[qgjob.Job](t)(s.CancelJob(ctx, 1))
	seen := emptyGroups(t, s)
	ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob("acme", 5)))
	ok[qgjob.Job](t)(s.CancelJob(ctx, 2))
	if n := ok[int](t)(s.ForgetGroups(ctx, seen)); n != 0 {
		t.Fatal("a group that moved since it was seen was forgotten")
	}
	if n := ok[int](t)(s.ForgetGroups(ctx, emptyGroups(t, s))); n != 1 {
		t.Fatalf("%d groups forgotten", n)
	}
	if n := len(s.writer.mirror.groups); n != 0 {
		t.Errorf("the mirror still has %d groups", n)
	}
	if j := ok[qgjob.Job](t)(s.Job(ctx, 1)); j.GroupID != 1 {
		t.Errorf("an ended job: %+v", j)
	}
	ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob("acme", 5)))
	if o := claimOn(t, s, "a1", "claim-2"); len(o) != 1 || o[0].Job.GroupID != 2 {
		t.Errorf("offered: %+v", o)
	}
	if err := s.Audit(ctx); err != nil {
		t.Error(err)
	}
}

// TestEmptyGroupsAreForgottenOnPostgres is the same there.
func TestEmptyGroupsAreForgottenOnPostgres(t *testing.T) { TestEmptyGroupsAreForgotten(t) }

// failOn takes a job and fails it.
func failOn(t testing.TB, s *Store, claim string) {
	t.Helper()
	ctx := context.Background()
	o := claimOn(t, s, "a1", claim)[0]
	ok[qgjob.LeaseAnswer](t)(s.Start(ctx, o.LeaseID, qgjob.StartRequest{AgentID: "a1", Incarnation: 1}))
	ok[qgjob.CompleteResponse](t)(s.Complete(ctx, o.LeaseID, qgjob.CompleteRequest{AgentID: "a1", Incarnation: 1, Outcome: qgjob.OutcomeFailed, Digest: "digest-1"}))
}

// TestAGroupForgottenByAnotherServer: who remembers it must not put jobs into
// it.
func TestAGroupForgottenByAnotherServer(t *testing.T) {
	ctx := context.Background()
	both := replicas(t, 2, Options{Alone: true})
	registerOn(t, both[0], "a1")
	next := 0
	for i := range 20 {
		a, b := both[i%2], both[(i+1)%2]
		ok[qgjob.SubmitResponse](t)(a.Submit(ctx, "", oneJob("acme", 5)))
		next++
		if rand.IntN(2) == 0 {
			ok[[]qgjob.Group](t)(b.Groups(ctx, ""))
			ok[qgjob.Org](t)(b.PutOrg(ctx, qgjob.Org{OrgID: "other", Weight: 1})) // a flush: b remembers the group
		}
		ok[qgjob.Job](t)(a.CancelJob(ctx, qgjob.JobID(next)))
		if n := ok[int](t)(a.ForgetGroups(ctx, emptyGroups(t, a))); n != 1 {
			t.Fatalf("round %d: %d forgotten", i, n)
		}
		if _, err := b.Submit(ctx, "", oneJob("acme", 5)); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		next++
		ok[qgjob.Job](t)(b.CancelJob(ctx, qgjob.JobID(next)))
	}
	for _, s := range both {
		if err := s.Audit(ctx); err != nil {
			t.Error(err)
		}
	}
}
