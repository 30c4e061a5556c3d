package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

// replicas opens several stores on one PostgreSQL database.
func replicas(t testing.TB, n int, opts Options) []*Store {
	t.Helper()
	url := FreshPostgres(t)
	list := make([]*Store, n)
	for i := range list {
		s, err := Open(context.Background(), url, opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		list[i] = s
	}
	return list
}

func ok[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func registerOn(t testing.TB, s *Store, id qgjob.AgentID) {
	t.Helper()
	ok[qgjob.RegisterResponse](t)(s.Register(context.Background(), id, qgjob.RegisterRequest{Incarnation: 1, Target: "emulator", Runner: "exec"}))
}

func claimOn(t testing.TB, s *Store, id qgjob.AgentID, claim string) []qgjob.Offer {
	t.Helper()
	return ok[qgjob.ClaimResponse](t)(s.Claim(context.Background(), id, qgjob.ClaimRequest{Incarnation: 1, ClaimID: claim})).Offers
}

func auditAll(t *testing.T, list []*Store) {
	t.Helper()
	for _, s := range list {
		audit(t, s)
	}
}

func TestReplicasShareOneQueue(t *testing.T) {
	ctx := context.Background()
	list := replicas(t, 2, Options{})
	a, b := list[0], list[1]
	registerOn(t, a, "a1")
	run := ok[qgjob.SubmitResponse](t)(a.Submit(ctx, "key", oneJob("acme", 5)))
	again := ok[qgjob.SubmitResponse](t)(b.Submit(ctx, "key", oneJob("acme", 5)))
	if !again.Repeat || again.RunID != run.RunID {
		t.Errorf("the same key on the other server: %+v; was %+v", again, run)
	}
	o := claimOn(t, b, "a1", "claim-1") // registered on A, submitted on A, claimed on B
	if len(o) != 1 || o[0].Job.JobID != 1 {
		t.Fatalf("offers on B: %+v", o)
	}
	auditAll(t, list)
	if same := claimOn(t, a, "a1", "claim-1"); len(same) != 1 || same[0].LeaseID != o[0].LeaseID {
		t.Errorf("the same claim on A: %+v", same)
	}
	begin := qgjob.StartRequest{AgentID: "a1", Incarnation: 1}
	if answer := ok[qgjob.LeaseAnswer](t)(a.Start(ctx, o[0].LeaseID, begin)); answer != qgjob.LeaseOK {
		t.Errorf("started on A: %s", answer)
	}
	ok[qgjob.Job](t)(a.CancelJob(ctx, 1))
	renewed := ok[qgjob.RenewResponse](t)(b.Renew(ctx, "a1", qgjob.RenewRequest{Incarnation: 1, Leases: []qgjob.LeaseID{o[0].LeaseID}}))
	if renewed.Leases[o[0].LeaseID] != qgjob.LeaseCancel {
		t.Errorf("cancelled on A, renewed on B: %+v", renewed)
	}
	auditAll(t, list)
	done := qgjob.CompleteRequest{AgentID: "a1", Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1", TestMS: 5000, Install: qgjob.InstallDone, InstallMS: 3000}
	if resp := ok[qgjob.CompleteResponse](t)(b.Complete(ctx, o[0].LeaseID, done)); resp.Status != qgjob.Cancelled {
		t.Errorf("completed on B: %+v", resp)
	}
	auditAll(t, list)
	// A newer incarnation on A fences the older one on B.
	ok[qgjob.RegisterResponse](t)(a.Register(ctx, "a1", qgjob.RegisterRequest{Incarnation: 2, Target: "emulator", Runner: "exec"}))
	if _, err := b.Claim(ctx, "a1", qgjob.ClaimRequest{Incarnation: 1, ClaimID: "claim-2"}); qgjob.CodeOf(err) != qgjob.CodeAgentSuperseded {
		t.Errorf("an old incarnation on B: %v", err)
	}
	// An org's share, an agent's drain and a pin made on one hold on the other.
	ok[qgjob.Org](t)(a.PutOrg(ctx, qgjob.Org{OrgID: "acme", Weight: 2, Quota: 7}))
	ok[qgjob.Agent](t)(b.Drain(ctx, "a1", true))
	if resp := ok[qgjob.ClaimResponse](t)(a.Claim(ctx, "a1", qgjob.ClaimRequest{Incarnation: 2, ClaimID: "claim-3"})); !resp.Drain {
		t.Error("drained on B, and A does not know")
	}
	auditAll(t, list)
	one, two := ok[[]qgjob.Event](t)(a.Events(ctx, 1, 0, 0)), ok[[]qgjob.Event](t)(b.Events(ctx, 1, 0, 0))
	if len(one) < 5 || fmt.Sprint(kinds(one)) != fmt.Sprint(kinds(two)) {
		t.Errorf("events on A %v, on B %v", kinds(one), kinds(two))
	}
}

func kinds(events []qgjob.Event) (list []string) {
	for _, e := range events {
		list = append(list, fmt.Sprint(e.Seq, " ", e.Kind))
	}
	return list
}

// TestNoJobTwiceOnReplicas has 8 agents on each of two servers work 500 jobs
// off, each step on a server that is not the last one.
func TestNoJobTwiceOnReplicas(t *testing.T) {
	ctx := context.Background()
	list := replicas(t, 2, Options{})
	const jobs, agents = 500, 8
	for n := range jobs / 50 {
		req := oneJob("acme", 1+n%3)
		req.Jobs[0].AppVersionID = qgjob.AppVersionID(fmt.Sprintf("v%d", n%4))
		req.Jobs = slices.Repeat(req.Jobs, 50)
		ok[qgjob.SubmitResponse](t)(list[n%2].Submit(ctx, "", req))
	}
	var mu sync.Mutex
	seen, fences := map[qgjob.JobID]int{}, map[qgjob.LeaseID]bool{}
	var wg sync.WaitGroup
	for i := range 2 * agents {
		id := qgjob.AgentID(fmt.Sprintf("a%d", i))
		registerOn(t, list[i%2], id)
		wg.Go(func() {
			for n := 0; ; n++ {
				at := func(step int) *Store { return list[(i+n+step)%2] }
				resp, err := at(0).Claim(ctx, id, qgjob.ClaimRequest{Incarnation: 1, ClaimID: fmt.Sprintf("claim-%04d", n), Max: 1})
				if err != nil {
					t.Error(err)
					return
				}
				if len(resp.Offers) == 0 {
					return
				}
				o := resp.Offers[0]
				mu.Lock()
				seen[o.Job.JobID]++
				if fences[o.LeaseID] {
					t.Errorf("fence %s was given twice", o.LeaseID)
				}
				fences[o.LeaseID] = true
				mu.Unlock()
				if answer, err := at(1).Start(ctx, o.LeaseID, qgjob.StartRequest{AgentID: id, Incarnation: 1}); err != nil || answer != qgjob.LeaseOK {
					t.Error(answer, err)
				}
				if _, err := at(2).AppendLog(ctx, o.LeaseID, 0, []byte("hello\n")); err != nil {
					t.Error(err)
				}
				done := qgjob.CompleteRequest{AgentID: id, Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1", Install: qgjob.InstallAvoided, TestMS: 1000}
				if resp, err := at(3).Complete(ctx, o.LeaseID, done); err != nil || resp.Status != qgjob.Passed {
					t.Error(resp, err)
				}
			}
		})
	}
	wg.Wait()
	if len(seen) != jobs {
		t.Errorf("%d of %d jobs ran", len(seen), jobs)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s ran %d times", id, n)
		}
	}
	for n := 1; n <= jobs/50; n++ {
		r := ok[qgjob.Run](t)(list[n%2].Run(ctx, qgjob.RunID(n)))
		if r.Conclusion != qgjob.ConclusionPassed {
			t.Errorf("%+v", r)
		}
		events := ok[[]qgjob.Event](t)(list[n%2].Events(ctx, qgjob.RunID(n), 0, 0))
		if !slices.IsSortedFunc(events, func(a, b qgjob.Event) int { return int(a.Seq - b.Seq) }) || events[len(events)-1].Kind != qgjob.EventRunFinished {
			t.Errorf("%s ends with %+v", r.RunID, events[len(events)-1])
		}
	}
	auditAll(t, list)
}

// TestANewsReachesTheOtherReplica: what is committed on one server is told to
// the listeners of the other, and not told twice to its own.
func TestNewsReachTheOtherReplica(t *testing.T) {
	ctx := context.Background()
	notes := make(chan Note, 1000)
	url := FreshPostgres(t)
	b := ok[*Store](t)(Open(ctx, url, Options{Notify: func(n Note) { notes <- n }}))
	defer func() { _ = b.Close() }()
	await(t, notes, func(n Note) bool { return n.Many }) // B listens now
	own := 0
	a := ok[*Store](t)(Open(ctx, url, Options{Notify: func(n Note) {
		if len(n.Runs) > 0 {
			own++
		}
	}}))
	defer func() { _ = a.Close() }()
	run := ok[qgjob.SubmitResponse](t)(a.Submit(ctx, "", oneJob("acme", 5)))
	await(t, notes, func(n Note) bool { return n.Work && slices.Contains(n.Runs, run.RunID) })
	registerOn(t, a, "a1")
	await(t, notes, func(n Note) bool { return n.Agents })
	o := claimOn(t, a, "a1", "claim-1")[0]
	ok[qgjob.LogResponse](t)(a.AppendLog(ctx, o.LeaseID, 0, []byte("line\n")))
	await(t, notes, func(n Note) bool { return slices.Contains(n.Logs, o.LeaseID) })
	for range 200 { // more runs than one notification names
		if err := a.update(ctx, func(t *tx) error {
			for n := range 200 {
				t.note.Events = append(t.note.Events, qgjob.Event{Kind: qgjob.EventRunSubmitted, RunID: qgjob.RunID(n + 1)})
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	await(t, notes, func(n Note) bool { return n.Many })
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if own > 0 {
		t.Errorf("A heard its own news %d times", own)
	}
}

func await(t *testing.T, notes <-chan Note, want func(Note) bool) {
	t.Helper()
	over := time.NewTimer(20 * time.Second).C
	for {
		select {
		case n := <-notes:
			if want(n) {
				return
			}
		case <-over:
			t.Fatal("the news did not come")
		}
	}
}

// TestEveryReplicaSweeps: two sweepers expire one silent agent's lease once.
func TestEveryReplicaSweeps(t *testing.T) {
	ctx := context.Background()
	list := replicas(t, 2, Options{Alone: true})
	registerOn(t, list[0], "a1")
	ok[qgjob.SubmitResponse](t)(list[0].Submit(ctx, "", oneJob("acme", 5)))
	o := claimOn(t, list[1], "a1", "claim-1")[0]
	held := lease.Held{JobID: 1, LeaseID: o.LeaseID, Ver: ok[[]HeldLease](t)(list[0].Held(ctx))[0].Ver}
	var wg sync.WaitGroup
	expired := make([]bool, 8)
	for i := range expired {
		wg.Go(func() { expired[i] = ok[bool](t)(list[i%2].Expire(ctx, held)) })
	}
	wg.Wait()
	n := 0
	for _, e := range expired {
		if e {
			n++
		}
	}
	if j := ok[qgjob.Job](t)(list[0].Job(ctx, 1)); n != 1 || j.Status != qgjob.Queued {
		t.Errorf("expired %d times; the job is %s", n, j.Status)
	}
	auditAll(t, list)
}

// TestAFlushThatWaitedTakesWhatCameMeanwhile: while another server writes,
// callers come; they share the flush that waits, and not each its own.
func TestAFlushThatWaitedTakesWhatCameMeanwhile(t *testing.T) {
	ctx := context.Background()
	list := replicas(t, 2, Options{Alone: true})
	registerOn(t, list[1], "a1")
	ok[qgjob.SubmitResponse](t)(list[1].Submit(ctx, "", oneJob("acme", 5)))
	o := claimOn(t, list[1], "a1", "claim-1")[0]
	release := hold(t, list[0])
	var first, second int64
	var wg sync.WaitGroup
	var errs [3]error
	wg.Go(func() {
		errs[0] = list[1].update(ctx, func(t *tx) error { first = t.flush; return putOrg("early")(t) })
	})
	for waiting := 0; waiting == 0; {
		if err := list[0].read.QueryRow(`SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	var started qgjob.LeaseAnswer
	wg.Go(func() { // it names a lease, which was not looked up ahead
		started, errs[1] = list[1].Start(ctx, o.LeaseID, qgjob.StartRequest{AgentID: "a1", Incarnation: 1})
	})
	waitQueued(t, list[1], 1)
	wg.Go(func() {
		errs[2] = list[1].update(ctx, func(t *tx) error { second = t.flush; return putOrg("late")(t) })
	})
	waitQueued(t, list[1], 2)
	release()
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil || first == 0 || first != second || started != qgjob.LeaseOK {
		t.Errorf("flush %d and flush %d; the lease that was started with them is %s: %v", first, second, started, err)
	}
	if !hasOrg(t, list[0], "early") || !hasOrg(t, list[0], "late") {
		t.Error("answered, and not there")
	}
	auditAll(t, list)
}
