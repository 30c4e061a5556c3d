package store

import (
	"context"
	"testing"

	"github.com/qualgent/qgjob"
)

// TestAServerThatLeavesNoTurnsIsFollowed: one of an earlier version writes
// none, and a turn may be too large to be written. Then the rows tell.
func TestAServerThatLeavesNoTurnsIsFollowed(t *testing.T) {
	ctx := context.Background()
	url := FreshPostgres(t)
	var servers [2]*Store
	for i := range servers {
		servers[i] = ok[*Store](t)(Open(ctx, url, Options{Alone: true}))
		t.Cleanup(func() { _ = servers[i].Close() })
	}
	silence := func() {
		t.Helper()
		if _, err := servers[0].beside.ExecContext(ctx, `DELETE FROM turns`); err != nil {
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
