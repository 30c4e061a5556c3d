package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/qualgent/qgjob"
)

// hold stops the writer inside an operation until release is called, so that
// what comes meanwhile shares the next transaction.
func hold(t *testing.T, s *Store) (release func()) {
	t.Helper()
	inside, leave := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- s.update(context.Background(), func(*tx) error {
			close(inside)
			<-leave
			return nil
		})
	}()
	<-inside
	return func() {
		close(leave)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// waitQueued waits until n operations wait for the writer.
func waitQueued(t *testing.T, s *Store, n int) {
	t.Helper()
	for len(s.writer.ops) < n {
		runtime.Gosched()
	}
}

// together runs operations in one transaction and gives their errors.
func together(t *testing.T, s *Store, ops ...func(*tx) error) []error {
	t.Helper()
	release := hold(t, s)
	errs := make([]error, len(ops))
	var wg sync.WaitGroup
	for i, do := range ops {
		wg.Go(func() { errs[i] = s.update(context.Background(), do) })
		waitQueued(t, s, i+1)
	}
	release()
	wg.Wait()
	return errs
}

func putOrg(name string) func(*tx) error {
	return func(t *tx) error {
		_, err := t.exec(`INSERT INTO orgs (org_id) VALUES ($1)`, name)
		return err
	}
}

func hasOrg(t *testing.T, s *Store, name string) bool {
	t.Helper()
	var n int
	if err := s.read.QueryRow(`SELECT COUNT(*) FROM orgs WHERE org_id = $1`, name).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n == 1
}

func audit(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Audit(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestCommitsAreShared(t *testing.T) {
	const callers = 64
	var commits atomic.Int64
	s := openTest(t, Options{Notify: func(n Note) {
		if len(n.Events) > 0 {
			commits.Add(1)
		}
	}})
	release := hold(t, s)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			if _, err := s.Submit(context.Background(), "", oneJob("acme", 5)); err != nil {
				t.Error(err)
			}
		})
	}
	waitQueued(t, s, callers)
	release()
	wg.Wait()
	if n := commits.Load(); n != 1 {
		t.Errorf("%d callers that waited together took %d commits; wanted 1", callers, n)
	}
	commits.Store(0)
	un := openTest(t, Options{Ungrouped: true, Notify: s.opts.Notify})
	for range callers {
		wg.Go(func() {
			if _, err := un.Submit(context.Background(), "", oneJob("acme", 5)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := commits.Load(); n != callers {
		t.Errorf("ungrouped: %d commits for %d callers", n, callers)
	}
}

func TestABadOperationDoesNotFailItsNeighbours(t *testing.T) {
	broken := errors.New("broken after it wrote")
	refused := qgjob.Conflict(qgjob.CodeTerminal, "refused after it wrote")
	for name, bad := range map[string]func(*tx) error{
		"error": func(t *tx) error { return errors.Join(putOrg("bad")(t), broken) },
		"refusal": func(t *tx) error {
			return errors.Join(putOrg("bad")(t), refused)
		},
		"panic": func(t *tx) error {
			_ = putOrg("bad")(t)
			panic("boom")
		},
		"panic over open rows": func(t *tx) error {
			return t.each(`SELECT name FROM counters`, nil, func(scanner) error { panic("boom") })
		},
		"sql": func(t *tx) error {
			_, err := t.exec(`INSERT INTO orgs (org_id) VALUES ($1), ($2)`, "bad", "bad")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openTest(t, Options{})
			errs := together(t, s, putOrg("left"), bad, putOrg("right"))
			if errs[0] != nil || errs[2] != nil {
				t.Errorf("neighbours: %v, %v", errs[0], errs[2])
			}
			want := qgjob.KindInternal
			if name == "refusal" {
				want = qgjob.KindConflict
			}
			if qgjob.KindOf(errs[1]) != want {
				t.Errorf("bad one: %s %v; wanted %s", qgjob.KindOf(errs[1]), errs[1], want)
			}
			if !hasOrg(t, s, "left") || !hasOrg(t, s, "right") || hasOrg(t, s, "bad") {
				t.Error("left and right must be there, bad must not")
			}
			if _, err := s.Submit(context.Background(), "", oneJob("acme", 1)); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			audit(t, s)
		})
	}
}

// TestARefusalBesideWrites: who is refused after it has read, and wrote
// nothing, has not written what its neighbours did.
func TestARefusalBesideWrites(t *testing.T) {
	ctx := context.Background()
	s := openTest(t, Options{})
	registerOn(t, s, "a1")
	ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob("acme", 5)))
	id := claimOn(t, s, "a1", "claim-1")[0].LeaseID
	tries := 0
	errs := together(t, s, func(t *tx) error {
		tries++
		_, err := t.renew(id)
		return err
	}, func(t *tx) error {
		if _, err := t.job(1); err != nil {
			return err
		}
		return qgjob.Conflict(qgjob.CodeTerminal, "refused after it read")
	})
	if errs[0] != nil || qgjob.CodeOf(errs[1]) != qgjob.CodeTerminal || tries != 1 {
		t.Errorf("%d tries: %v", tries, errs)
	}
	audit(t, s)
}

func TestAfterARollbackNothingIsLostOrDoubled(t *testing.T) {
	ctx := context.Background()
	s := openTest(t, Options{})
	if _, err := s.Register(ctx, "a1", qgjob.RegisterRequest{Incarnation: 1, Target: "emulator"}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := s.Submit(ctx, "", oneJob("acme", 5)); err != nil {
			t.Fatal(err)
		}
	}
	release := hold(t, s)
	var wg sync.WaitGroup
	var offers qgjob.ClaimResponse
	var run qgjob.SubmitResponse
	var errs [3]error
	wg.Go(func() {
		offers, errs[0] = s.Claim(ctx, "a1", qgjob.ClaimRequest{Incarnation: 1, ClaimID: "claim-1", Max: 2})
	})
	wg.Go(func() { run, errs[1] = s.Submit(ctx, "key", oneJob("acme", 9)) })
	wg.Go(func() { errs[2] = s.update(ctx, func(*tx) error { return errors.New("broken") }) })
	waitQueued(t, s, 3)
	arrived := s.writer.mirror.state.Load().Sum
	release()
	wg.Wait()
	if errs[0] != nil || errs[1] != nil || errs[2] == nil {
		t.Fatal(errs)
	}
	if len(offers.Offers) != 2 || run.RunID != 4 || run.Repeat {
		t.Errorf("%+v %+v", offers, run)
	}
	var load float64
	_ = s.update(ctx, func(t *tx) error { load = t.m.state.Load().Sum; return nil })
	if got, want := load-arrived, 60.0; got < want-1 || got > want+1 {
		t.Errorf("one job of 60 s arrived; the load grew by %v s", got)
	}
	audit(t, s)
}

func TestCancellingARunSurvivesARollback(t *testing.T) {
	ctx := context.Background()
	s := openTest(t, Options{})
	req := oneJob("acme", 5)
	for range 9 {
		req.Jobs = append(req.Jobs, req.Jobs[0])
	}
	if _, err := s.Submit(ctx, "", req); err != nil {
		t.Fatal(err)
	}
	release := hold(t, s)
	var wg sync.WaitGroup
	var run qgjob.Run
	var err error
	wg.Go(func() { run, err = s.CancelRun(ctx, 1) })
	waitQueued(t, s, 1)
	wg.Go(func() { _ = s.update(ctx, func(*tx) error { return errors.New("broken") }) })
	waitQueued(t, s, 2)
	release()
	wg.Wait()
	if err != nil || run.Conclusion != qgjob.ConclusionCancelled || run.Tally.Cancelled != 10 {
		t.Errorf("%+v %v", run, err)
	}
	audit(t, s)
}

func TestAPanicOfTheListenerUndoesNothing(t *testing.T) {
	s := openTest(t, Options{Notify: func(n Note) {
		if n.Work {
			panic("listener")
		}
	}})
	resp, err := s.Submit(context.Background(), "", oneJob("acme", 5))
	if err != nil || resp.RunID != 1 {
		t.Errorf("%+v %v", resp, err)
	}
	runs, err := s.Runs(context.Background(), "", 0, 0)
	if err != nil || len(runs) != 1 {
		t.Errorf("%d runs, %v; wanted 1: it was committed once", len(runs), err)
	}
	audit(t, s)
}

func TestACallerWhoGivesUpBeforeItsTurn(t *testing.T) {
	s := openTest(t, Options{})
	release := hold(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	answer := make(chan error, 1)
	go func() {
		_, err := s.Submit(ctx, "", oneJob("acme", 5))
		answer <- err
	}()
	waitQueued(t, s, 1)
	cancel()
	if err := <-answer; qgjob.KindOf(err) != qgjob.KindUnavailable || !errors.Is(err, context.Canceled) {
		t.Errorf("answer: %v", err)
	}
	release()
	if _, err := s.Submit(context.Background(), "", oneJob("acme", 5)); err != nil {
		t.Fatal(err)
	}
	runs, err := s.Runs(context.Background(), "", 0, 0)
	if err != nil || len(runs) != 1 || runs[0].RunID != 1 {
		t.Errorf("%+v %v; wanted the second submission alone", runs, err)
	}
}

func TestACallerWhoGivesUpTooLateGetsTheTruth(t *testing.T) {
	s := openTest(t, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	inside := make(chan struct{})
	answer := make(chan error, 1)
	go func() {
		answer <- s.update(ctx, func(t *tx) error {
			close(inside)
			<-ctx.Done()
			return putOrg("acme")(t)
		})
	}()
	<-inside
	cancel()
	if err := <-answer; err != nil {
		t.Errorf("it was committed, and answered %v", err)
	}
	if !hasOrg(t, s, "acme") {
		t.Error("it was answered, and not committed")
	}
}

func TestCloseAnswersEverything(t *testing.T) {
	for round := range 10 {
		s, err := Open(context.Background(), t.TempDir(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var accepted atomic.Int64
		for i := range 32 {
			wg.Go(func() {
				for n := 0; ; n++ {
					_, err := s.Submit(context.Background(), fmt.Sprintf("%d-%d", i, n), oneJob("acme", 5))
					if err == nil {
						accepted.Add(1)
						continue
					}
					if qgjob.KindOf(err) != qgjob.KindUnavailable {
						t.Errorf("round %d: %v", round, err)
					}
					return
				}
			})
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait() // hangs when one is not answered
		if err := s.Close(); err != nil {
			t.Errorf("closed again: %v", err)
		}
		if _, err := s.Claim(context.Background(), "a1", qgjob.ClaimRequest{}); qgjob.KindOf(err) != qgjob.KindUnavailable {
			t.Errorf("after Close: %v", err)
		}
	}
}
