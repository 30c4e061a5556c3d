package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// TestAServerThatLeavesNoTurnsIsFollowed: one of an earlier version writes
// none, one of a later version may write others, and a turn may be too large
// to be written. Then the rows tell.
func TestAServerThatLeavesNoTurnsIsFollowed(t *testing.T) {
	ctx := context.Background()
	url := FreshPostgres(t)
	var servers [2]*Store
	for i := range servers {
		servers[i] = ok[*Store](t)(Open(ctx, url, Options{Alone: true}))
		t.Cleanup(func() { _ = servers[i].Close() })
	}
	silenced := 0
	silence := func() {
		t.Helper()
		silenced++
		how := []string{`DELETE FROM turns`, `UPDATE turns SET body = '{"v":2,"jobs":"all"}'`, `UPDATE turns SET body = '{"v":2}'`}[silenced%3]
		if _, err := servers[0].beside.ExecContext(ctx, how); err != nil {
			t.Fatal(err)
		}
	}
	audit := func() {
		t.Helper()
		for _, s := range servers {
			if err := s.Audit(ctx); err != nil {
				t.Fatal(err)
			}
			silence()
		}
	}
	for _, id := range []qgjob.AgentID{"a0", "a1"} {
		ok[qgjob.RegisterResponse](t)(servers[0].Register(ctx, id, qgjob.RegisterRequest{Incarnation: 1, Target: "emulator", Runner: "exec"}))
	}
	req := oneJob("acme", 5)
	for range 5 {
		req.Jobs = append(req.Jobs, req.Jobs[0])
	}
	ok[qgjob.SubmitResponse](t)(servers[1].Submit(ctx, "", req))
	audit()
	for round := range 3 {
		for i, id := range []qgjob.AgentID{"a0", "a1"} {
			here, there := servers[i], servers[1-i]
			claimed := ok[qgjob.ClaimResponse](t)(here.Claim(ctx, id, qgjob.ClaimRequest{Incarnation: 1, ClaimID: "claim-" + string(rune('a'+round))}))
			if len(claimed.Offers) != 1 {
				t.Fatalf("%s was offered %d jobs in round %d", id, len(claimed.Offers), round)
			}
			lease := claimed.Offers[0].LeaseID
			audit()
			ok[qgjob.LeaseAnswer](t)(there.Start(ctx, lease, qgjob.StartRequest{AgentID: id, Incarnation: 1}))
			audit()
			done := ok[qgjob.CompleteResponse](t)(here.Complete(ctx, lease, qgjob.CompleteRequest{AgentID: id, Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1"}))
			if done.Status != qgjob.Passed {
				t.Fatalf("the job is %s", done.Status)
			}
			audit()
		}
	}
	if run := ok[qgjob.Run](t)(servers[1].Run(ctx, 1)); run.Conclusion != qgjob.ConclusionPassed {
		t.Fatalf("the run is %+v", run)
	}
}

// TestAWaitingJobThatChangesIsToldByItsGroup: a late result may leave a job
// waiting, as another row. A server that must go by the rows reads it anew.
func TestAWaitingJobThatChangesIsToldByItsGroup(t *testing.T) {
	ctx := context.Background()
	list := replicas(t, 2, Options{Alone: true})
	a, b := list[0], list[1]
	registerOn(t, a, "a0")
	registerOn(t, a, "a1")
	ok[qgjob.SubmitResponse](t)(a.Submit(ctx, "", oneJob("acme", 5)))
	id := claimOn(t, a, "a0", "claim-1")[0].LeaseID
	ok[qgjob.LeaseAnswer](t)(a.Start(ctx, id, qgjob.StartRequest{AgentID: "a0", Incarnation: 1}))
	if !ok[bool](t)(a.Expire(ctx, ok[[]HeldLease](t)(a.Held(ctx))[0].Held)) {
		t.Fatal("not expired")
	}
	if err := b.update(ctx, func(t *tx) error { _, err := t.front(1); return err }); err != nil {
		t.Fatal(err)
	}
	done := qgjob.CompleteRequest{AgentID: "a0", Incarnation: 1, Outcome: qgjob.OutcomeInterrupted, Digest: "digest-1"}
	if resp := ok[qgjob.CompleteResponse](t)(a.Complete(ctx, id, done)); resp.Status != qgjob.Queued {
		t.Fatalf("%+v", resp)
	}
	if _, err := a.beside.ExecContext(ctx, `DELETE FROM turns`); err != nil {
		t.Fatal(err)
	}
	if o := claimOn(t, b, "a1", "claim-2"); len(o) != 1 {
		t.Errorf("%d offers", len(o))
	}
	auditAll(t, list)
}

// TestALeaseThatEndedBesideAStepOfHistory: history forgets what a transaction
// has read. What it did to a lease that the mirror keeps counts nevertheless.
func TestALeaseThatEndedBesideAStepOfHistory(t *testing.T) {
	ctx := context.Background()
	s := openTest(t, Options{Alone: true})
	registerOn(t, s, "a1")
	complete := func(id qgjob.LeaseID) func() error {
		return func() error {
			_, err := s.Complete(ctx, id, qgjob.CompleteRequest{AgentID: "a1", Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1"})
			return err
		}
	}
	begin := func(claim string) qgjob.LeaseID {
		t.Helper()
		ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob("acme", 5)))
		id := claimOn(t, s, "a1", claim)[0].LeaseID
		ok[qgjob.LeaseAnswer](t)(s.Start(ctx, id, qgjob.StartRequest{AgentID: "a1", Incarnation: 1}))
		return id
	}
	history := func() error {
		_, _, err := s.Archive(ctx, time.Now())
		return err
	}
	for name, first := range map[string]func(qgjob.LeaseID) func() error{
		"repeated": complete,
		"expired": func(id qgjob.LeaseID) func() error {
			return func() error {
				for _, h := range ok[[]HeldLease](t)(s.Held(ctx)) {
					if expired, err := s.Expire(ctx, h.Held); err != nil || !expired {
						return fmt.Errorf("expired: %t, %w", expired, err)
					}
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := complete(begin(name + "-1"))(); err != nil {
				t.Fatal(err)
			}
			id := begin(name + "-2")
			release := hold(t, s)
			var errs [3]error
			var wg sync.WaitGroup
			for i, do := range []func() error{first(id), history, complete(id)} {
				wg.Go(func() { errs[i] = do() })
				waitQueued(t, s, i+1)
			}
			release()
			wg.Wait()
			if err := errors.Join(errs[:]...); err != nil {
				t.Error(err)
			}
			if j := ok[[]qgjob.Job](t)(s.Jobs(ctx, qgjob.JobFilter{}))[0]; j.Status != qgjob.Passed {
				t.Errorf("%+v", j)
			}
			audit(t, s)
		})
	}
}
