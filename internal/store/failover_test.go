package store

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store/pgtest"
)

// slow skips a test that takes many seconds, unless slow ones are wanted.
func slow(t *testing.T) {
	t.Helper()
	if os.Getenv("QGJOB_SLOW") == "" {
		t.Skip("QGJOB_SLOW is not set")
	}
}

// pair is a primary with a standby, and the URL that names both.
type pair struct {
	primary, standby *pgtest.Cluster
	url              string
}

func startPair(t *testing.T) *pair {
	t.Helper()
	pgtest.Shared(t) // skips, or fails, where there is no PostgreSQL
	p := &pair{primary: ok[*pgtest.Cluster](t)(pgtest.Start(false))}
	t.Cleanup(func() { _ = p.primary.Stop() })
	p.standby = ok[*pgtest.Cluster](t)(p.primary.Standby())
	t.Cleanup(func() { _ = p.standby.Stop() })
	p.url = pgtest.Hosts("postgres", p.primary, p.standby)
	return p
}

func (p *pair) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// failOver kills the primary and promotes the standby.
func (p *pair) failOver(t *testing.T) {
	t.Helper()
	p.must(t, p.primary.Crash())
	p.must(t, p.standby.Promote())
}

// synchronous gives the promoted server a standby of its own: until then --ha
// takes nothing.
func (p *pair) synchronous(t *testing.T) {
	t.Helper()
	next := ok[*pgtest.Cluster](t)(p.standby.Standby())
	t.Cleanup(func() { _ = next.Stop() })
	p.must(t, p.standby.Synchronous("*"))
}

// insist repeats a call for as long as it is unavailable, and gives the answer
// and how often it was.
func insist[T any](t *testing.T, call func() (T, error)) (answer T, refused int) {
	t.Helper()
	over := time.NewTimer(60 * time.Second)
	defer over.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		answer, err := call()
		if err == nil {
			return answer, refused
		}
		if refused++; qgjob.KindOf(err) != qgjob.KindUnavailable {
			t.Fatal(err)
		}
		select {
		case <-again.C:
		case <-over.C:
			t.Fatalf("refused for a minute: %v", err)
		}
	}
}

// TestPostgresWithoutAStandbyIsRefused: --ha says what to set, at the start
// and whenever the standby's name is taken away.
func TestPostgresWithoutAStandbyIsRefused(t *testing.T) {
	ctx := context.Background()
	if s, err := Open(ctx, t.TempDir(), Options{HA: true}); err == nil {
		_ = s.Close()
		t.Error("SQLite was taken")
	} else {
		wantError(t, err, qgjob.KindInvalid, "SQLite", "--database")
	}
	p := startPair(t)
	_, err := Open(ctx, p.url, Options{HA: true})
	wantError(t, err, qgjob.KindUnavailable, "no synchronous standby", "synchronous_standby_names")
	if !Passing(err) {
		t.Errorf("nobody would wait for it: %v", err)
	}
	p.must(t, p.primary.Synchronous("*"))
	for _, level := range []string{"off", "local", "remote_write"} {
		_, err := Open(ctx, p.url+"&synchronous_commit="+level, Options{HA: true})
		wantError(t, err, qgjob.KindUnavailable, "synchronous_commit is "+level, "URL")
	}
	// What the role has does not count.
	p.must(t, p.primary.Exec("postgres", "ALTER ROLE qgjob SET synchronous_commit = off"))
	s := ok[*Store](t)(Open(ctx, p.url, Options{HA: true}))
	defer func() { _ = s.Close() }()
	ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob("acme", 5)))
	if s.Reign() == "" {
		t.Error("the reign has no name")
	}
	p.must(t, p.primary.Synchronous(""))
	var pid int
	if err := s.update(ctx, func(tx *tx) (err error) { pid, err = backend(tx); return err }); err != nil {
		t.Fatal(err)
	}
	kill(t, s, pid)
	for range 3 {
		_, err = s.Submit(ctx, "", oneJob("acme", 5))
		wantError(t, err, qgjob.KindUnavailable, "no synchronous standby", "synchronous_standby_names")
		wantError(t, s.Ping(ctx), qgjob.KindUnavailable, "no synchronous standby")
	}
	p.must(t, p.primary.Synchronous("*"))
	insist(t, func() (struct{}, error) { return struct{}{}, s.Ping(ctx) })
	if runs := ok[[]qgjob.Run](t)(s.Runs(ctx, "", 0, 0)); len(runs) != 1 {
		t.Errorf("%d runs; one was accepted", len(runs))
	}
	startsBesideADeadStandby(t, p)
}

// startsBesideADeadStandby: a start commits nothing that would wait for it, so
// that the server can say what is wrong. Where there is all to commit yet, it
// waits, and leaves when it is told to.
func startsBesideADeadStandby(t *testing.T, p *pair) {
	t.Helper()
	p.must(t, p.primary.Exec("postgres", "CREATE DATABASE fresh"))
	halted := ok[pgtest.Stopped](t)(p.standby.Halt("walreceiver"))
	defer func() { _ = halted.Go() }()
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	s := ok[*Store](t)(Open(ctx, p.url, Options{HA: true}))
	defer func() { _ = s.Close() }()
	wantError(t, s.Ping(ctx), qgjob.KindUnavailable, "standby")

	leave, stop := context.WithCancel(ctx)
	defer stop()
	left := make(chan error, 1)
	go func() {
		_, err := Open(leave, strings.Replace(p.url, "/postgres?", "/fresh?", 1), Options{HA: true})
		left <- err
	}()
	p.must(t, p.primary.Await(`SELECT COUNT(*) > 0 FROM pg_stat_activity WHERE datname = 'fresh' AND wait_event = 'SyncRep'`))
	stop()
	if err := <-left; err == nil || ctx.Err() != nil {
		t.Errorf("told to leave: %v after %v", err, ctx.Err())
	}
}

// TestPostgresAWaitForTheStandbyThatIsCancelled: COMMIT then succeeds with a
// warning only, and the row is there for all to read. Nobody may be told so
// before a standby has it; the same key asked again gets the same run.
func TestPostgresAWaitForTheStandbyThatIsCancelledSlow(t *testing.T) {
	slow(t)
	ctx := context.Background()
	for name, end := range map[string]string{"cancelled": "pg_cancel_backend", "terminated": "pg_terminate_backend"} {
		t.Run(name, func(t *testing.T) {
			p := startPair(t)
			p.must(t, p.primary.Synchronous("*"))
			s := ok[*Store](t)(Open(ctx, p.url, Options{HA: true}))
			defer func() { _ = s.Close() }()
			halted := ok[pgtest.Stopped](t)(p.standby.Halt("walreceiver"))
			defer func() { _ = halted.Go() }()
			var wg sync.WaitGroup
			var err error
			wg.Go(func() { _, err = s.Submit(ctx, "key", oneJob("acme", 5)) })
			p.must(t, p.primary.Await(`SELECT COUNT(`+end+`(pid)) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'`))
			wg.Wait()
			wantError(t, err, qgjob.KindUnavailable, "nobody knows", "same Idempotency-Key")
			// The row can be read, and that is no reason to say so.
			if runs := ok[[]qgjob.Run](t)(s.Runs(ctx, "", 0, 0)); len(runs) != 1 {
				t.Fatalf("%d runs can be read", len(runs))
			}
			_, err = s.Submit(ctx, "key", oneJob("acme", 5))
			wantError(t, err, qgjob.KindUnavailable, "standby")
			p.must(t, halted.Go())
			got, refused := insist(t, func() (qgjob.SubmitResponse, error) { return s.Submit(ctx, "key", oneJob("acme", 5)) })
			if !got.Repeat || got.RunID != 1 {
				t.Errorf("%+v after %d refusals", got, refused)
			}
			p.failOver(t)
			_, err = s.Submit(ctx, "key", oneJob("acme", 5))
			wantError(t, err, qgjob.KindUnavailable, "the database")
			p.synchronous(t)
			again, _ := insist(t, func() (qgjob.SubmitResponse, error) { return s.Submit(ctx, "key", oneJob("acme", 5)) })
			if !again.Repeat || again.RunID != got.RunID {
				t.Errorf("after the failover: %+v; was %+v", again, got)
			}
		})
	}
}

// TestPostgresAFrozenStandby: what cannot be confirmed is refused, and soon;
// nothing of it can be read; afterwards all goes on, and nothing is there
// twice or missing.
func TestPostgresAFrozenStandbySlow(t *testing.T) {
	slow(t)
	ctx := context.Background()
	p := startPair(t)
	p.must(t, p.primary.Synchronous("*"))
	a := ok[*Store](t)(Open(ctx, p.url, Options{HA: true}))
	defer func() { _ = a.Close() }()
	b := ok[*Store](t)(Open(ctx, p.url, Options{HA: true}))
	defer func() { _ = b.Close() }()
	ok[qgjob.SubmitResponse](t)(a.Submit(ctx, "before", oneJob("acme", 5)))
	halted := ok[pgtest.Stopped](t)(p.standby.Halt("walreceiver"))
	defer func() { _ = halted.Go() }()
	began := time.Now()
	_, err := a.Submit(ctx, "during", oneJob("acme", 5))
	wantError(t, err, qgjob.KindUnavailable, "nobody knows", "same Idempotency-Key")
	first := time.Since(began)
	var slowest time.Duration
	for i := range 4 {
		for _, s := range []*Store{a, b} {
			began := time.Now()
			_, err := s.Submit(ctx, fmt.Sprintf("during-%d", i), oneJob("acme", 5))
			wantError(t, err, qgjob.KindUnavailable, "synchronous standby does not answer", "nothing accepted was lost")
			if s == a {
				slowest = max(slowest, time.Since(began))
			}
		}
	}
	wantError(t, a.Ping(ctx), qgjob.KindUnavailable, "the database's synchronous standby")
	if runs := ok[[]qgjob.Run](t)(a.Runs(ctx, "", 0, 0)); len(runs) != 1 {
		t.Errorf("%d runs can be read; one is on the standby", len(runs))
	}
	p.must(t, halted.Go())
	for _, s := range []*Store{a, b} {
		insist(t, func() (struct{}, error) { return struct{}{}, s.Ping(ctx) })
	}
	keys := []string{"before", "during", "during-0", "during-1", "during-2", "during-3"}
	for i, key := range keys {
		got, _ := insist(t, func() (qgjob.SubmitResponse, error) { return b.Submit(ctx, key, oneJob("acme", 5)) })
		if got.Repeat != (i < 2) {
			t.Errorf("%s: %+v; only the first two can have been committed", key, got)
		}
	}
	if runs := ok[[]qgjob.Run](t)(a.Runs(ctx, "", 0, 0)); len(runs) != len(keys) {
		t.Errorf("%d runs of %d keys", len(runs), len(keys))
	}
	auditAll(t, []*Store{a, b})
	t.Logf("first refusal after %s, the others within %s", first.Round(time.Millisecond), slowest.Round(time.Millisecond))
}

// load is callers that submit, claim and complete on several servers, again
// and again until each is answered.
type load struct {
	t         *testing.T
	list      []*Store
	mu        sync.Mutex
	submitted map[string]qgjob.RunID        // acknowledged, by key
	completed map[qgjob.LeaseID]qgjob.JobID // acknowledged
	refused   atomic.Int64                  // calls
	stop      chan struct{}
	callers   sync.WaitGroup
}

func startLoad(t *testing.T, list []*Store, callers int) *load {
	t.Helper()
	l := &load{t: t, list: list, submitted: map[string]qgjob.RunID{}, completed: map[qgjob.LeaseID]qgjob.JobID{}, stop: make(chan struct{})}
	for i := range callers {
		registerOn(t, list[i%len(list)], qgjob.AgentID(fmt.Sprintf("a%d", i)))
		l.callers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-l.stop:
					return
				default:
					l.once(list[(i+n)%len(list)], qgjob.AgentID(fmt.Sprintf("a%d", i)), fmt.Sprintf("key-%d-%d", i, n))
				}
			}
		})
	}
	return l
}

// insisted is insist that counts.
func insisted[T any](l *load, call func() (T, error)) T {
	l.t.Helper()
	answer, refused := insist(l.t, call)
	l.refused.Add(int64(refused))
	return answer
}

// once submits a job, and works on whatever the agent is given.
func (l *load) once(s *Store, id qgjob.AgentID, key string) {
	ctx := context.Background()
	got := insisted(l, func() (qgjob.SubmitResponse, error) { return s.Submit(ctx, key, oneJob("acme", 5)) })
	l.mu.Lock()
	l.submitted[key] = got.RunID
	l.mu.Unlock()
	work := insisted(l, func() (qgjob.ClaimResponse, error) {
		return s.Claim(ctx, id, qgjob.ClaimRequest{Incarnation: 1, ClaimID: "claim-" + key, Max: 1})
	})
	for _, o := range work.Offers {
		insisted(l, func() (qgjob.LeaseAnswer, error) {
			return s.Start(ctx, o.LeaseID, qgjob.StartRequest{AgentID: id, Incarnation: 1})
		})
		insisted(l, func() (qgjob.CompleteResponse, error) {
			return s.Complete(ctx, o.LeaseID, qgjob.CompleteRequest{AgentID: id, Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1"})
		})
		l.mu.Lock()
		l.completed[o.LeaseID] = o.Job.JobID
		l.mu.Unlock()
	}
}

// runs is how many submits were acknowledged so far.
func (l *load) runs() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.submitted)
}

// end stops the callers and counts what was acknowledged and is not so.
func (l *load) end() (lostRuns, lostResults int) {
	close(l.stop)
	l.callers.Wait()
	ctx := context.Background()
	for _, run := range l.submitted {
		if r, err := l.list[0].Run(ctx, run); err != nil || r.Tally.Total != 1 {
			lostRuns++
		}
	}
	for _, job := range l.completed {
		if j, err := l.list[0].Job(ctx, job); err != nil || j.Status != qgjob.Passed || j.Attempts != 1 {
			lostResults++
		}
	}
	return lostRuns, lostResults
}

// TestPostgresSynchronousFailoverUnderLoad kills the primary while two servers
// submit, claim and complete: what was acknowledged is there afterwards, once.
func TestPostgresSynchronousFailoverUnderLoadSlow(t *testing.T) {
	slow(t)
	const ttl = 3 * time.Second
	ctx := context.Background()
	p := startPair(t)
	p.must(t, p.primary.Synchronous("*"))
	var list []*Store
	for range 2 {
		s := ok[*Store](t)(Open(ctx, p.url, Options{HA: true, LeaseTTL: ttl}))
		defer func() { _ = s.Close() }()
		list = append(list, s)
	}
	was := list[0].Reign()
	l := startLoad(t, list, 8)
	<-time.NewTimer(2 * time.Second).C
	before, killed := l.runs(), time.Now()
	p.failOver(t)
	p.synchronous(t)
	insist(t, func() (struct{}, error) { return struct{}{}, list[0].Ping(ctx) })
	ready := time.Since(killed)
	<-time.NewTimer(2 * ttl).C
	lostRuns, lostResults := l.end()
	if now := list[0].Reign(); now == was || !strings.Contains(now, "-2-") {
		t.Errorf("the reign is %s; was %s", now, was)
	}
	if lostRuns > 0 || lostResults > 0 || before == 0 || l.runs() == before {
		t.Errorf("lost: %d of %d runs, %d of %d results", lostRuns, l.runs(), lostResults, len(l.completed))
	}
	auditAll(t, list)
	t.Logf("acknowledged: %d runs (%d before the kill), %d results; lost: %d and %d; %d calls refused; written again %s after the kill, with promotion and a new standby",
		l.runs(), before, len(l.completed), lostRuns, lostResults, l.refused.Load(), ready.Round(time.Millisecond))
}

// lossy is a farm whose primary is killed after it acknowledged what its
// standby lacks: a0's result, a3's start, and a submit.
type lossy struct {
	*pair
	t    *testing.T
	a, b *Store
	held map[qgjob.AgentID]qgjob.Offer
	lost qgjob.SubmitResponse
}

const lossyTTL = 4 * time.Second

func begin(id qgjob.AgentID) qgjob.StartRequest {
	return qgjob.StartRequest{AgentID: id, Incarnation: 1}
}

func pass(id qgjob.AgentID) qgjob.CompleteRequest {
	return qgjob.CompleteRequest{AgentID: id, Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1"}
}

func (l *lossy) open() *Store {
	l.t.Helper()
	s := ok[*Store](l.t)(Open(context.Background(), l.url, Options{LeaseTTL: lossyTTL}))
	l.t.Cleanup(func() { _ = s.Close() })
	return s
}

func startLossy(t *testing.T) *lossy {
	t.Helper()
	ctx := context.Background()
	l := &lossy{pair: startPair(t), t: t, held: map[qgjob.AgentID]qgjob.Offer{}}
	l.a, l.b = l.open(), l.open()
	for i := range 4 {
		id := qgjob.AgentID(fmt.Sprintf("a%d", i))
		registerOn(t, l.a, id)
		req := oneJob("acme", 5)
		req.Jobs[0].AppVersionID = qgjob.AppVersionID(id) // one is waiting for nobody else
		ok[qgjob.SubmitResponse](t)(l.a.Submit(ctx, "", req))
		l.held[id] = claimOn(t, l.a, id, "claim-1")[0]
		if i < 3 { // a3 has an offer only
			ok[qgjob.LeaseAnswer](t)(l.a.Start(ctx, l.held[id].LeaseID, begin(id)))
		}
	}
	return l
}

// lose acknowledges what only the primary has, and has the standby take over.
func (l *lossy) lose() {
	l.t.Helper()
	ctx := context.Background()
	l.must(l.t, l.primary.Await(`SELECT bool_and(replay_lsn = pg_current_wal_lsn()) FROM pg_stat_replication`))
	halted := ok[pgtest.Stopped](l.t)(l.primary.Halt("walsender"))
	ok[qgjob.CompleteResponse](l.t)(l.a.Complete(ctx, l.held["a0"].LeaseID, pass("a0"))) // these are lost
	ok[qgjob.LeaseAnswer](l.t)(l.a.Start(ctx, l.held["a3"].LeaseID, begin("a3")))
	l.lost = ok[qgjob.SubmitResponse](l.t)(l.a.Submit(ctx, "lost", oneJob("acme", 5)))
	l.failOver(l.t)
	_ = halted.Go()
	insist(l.t, func() (struct{}, error) { return struct{}{}, l.a.Ping(ctx) })
	if j := ok[qgjob.Job](l.t)(l.a.Job(ctx, l.held["a0"].Job.JobID)); j.Status != qgjob.Running {
		l.t.Fatalf("nothing was lost: %+v", j)
	}
}

// meetFrozen has all servers meet the new primary, one that has just started
// included.
func (l *lossy) meetFrozen(late qgjob.AgentID) {
	l.t.Helper()
	ctx := context.Background()
	insist(l.t, func() (struct{}, error) { return struct{}{}, l.b.Ping(ctx) })
	s := l.open()
	_, err := s.Claim(ctx, "a2", qgjob.ClaimRequest{Incarnation: 1, ClaimID: "claim-9"})
	wantError(l.t, err, qgjob.KindConflict, "holds") // that is no new work
	registerOn(l.t, s, late)
	insist(l.t, func() (struct{}, error) { return struct{}{}, s.Ping(ctx) })
}

// frozen wants claims and starts refused, renewals and repetitions taken.
func (l *lossy) frozen(s *Store, late qgjob.AgentID) {
	l.t.Helper()
	ctx := context.Background()
	_, err := s.Claim(ctx, late, qgjob.ClaimRequest{Incarnation: 1, ClaimID: "claim-2"})
	wantError(l.t, err, qgjob.KindUnavailable, "failed over", "go on in")
	if qgjob.CodeOf(err) != qgjob.CodeFailover {
		l.t.Errorf("code %q", qgjob.CodeOf(err))
	}
	_, err = s.Start(ctx, l.held["a3"].LeaseID, begin("a3"))
	wantError(l.t, err, qgjob.KindUnavailable, "failed over")
	if answer := ok[qgjob.LeaseAnswer](l.t)(s.Start(ctx, l.held["a1"].LeaseID, begin("a1"))); answer != qgjob.LeaseOK { // a repetition
		l.t.Errorf("started before: %s", answer)
	}
	got := ok[qgjob.RenewResponse](l.t)(s.Renew(ctx, "a1", qgjob.RenewRequest{Incarnation: 1, Leases: []qgjob.LeaseID{l.held["a1"].LeaseID}}))
	if got.Leases[l.held["a1"].LeaseID] != qgjob.LeaseOK {
		l.t.Errorf("renewed: %+v", got)
	}
}

// offerAgain has results and the submit that were lost told again.
func (l *lossy) offerAgain() qgjob.SubmitResponse {
	l.t.Helper()
	ctx := context.Background()
	for _, id := range []qgjob.AgentID{"a0", "a1"} { // a0's for the second time
		req := pass(id)
		req.Next = &qgjob.ClaimRequest{Incarnation: 1, ClaimID: "claim-3"}
		got := ok[qgjob.CompleteResponse](l.t)(l.b.Complete(ctx, l.held[id].LeaseID, req))
		if got.Status != qgjob.Passed || got.Next != nil {
			l.t.Errorf("%s: %+v", id, got)
		}
	}
	again := ok[qgjob.SubmitResponse](l.t)(l.b.Submit(ctx, "lost", oneJob("acme", 5)))
	if again.Repeat || again.RunID <= l.lost.RunID || again.JobIDs[0] <= l.lost.JobIDs[0] {
		l.t.Errorf("submitted again: %+v; lost: %+v", again, l.lost)
	}
	return again
}

// TestPostgresAsynchronousFailover: what was acknowledged may be lost then.
// Claims and starts wait for one lease TTL; meanwhile renewals and results
// are taken, a lost result that is offered again counts, no number is given
// out twice, and the test that ran is not run again.
func TestPostgresAsynchronousFailoverSlow(t *testing.T) {
	slow(t)
	const late = qgjob.AgentID("fresh")
	ctx := context.Background()
	l := startLossy(t)
	l.lose()
	frozen := time.Now()
	l.meetFrozen(late)
	for _, s := range []*Store{l.a, l.b} {
		l.frozen(s, late)
	}
	again := l.offerAgain()
	work, refused := insist(t, func() (qgjob.ClaimResponse, error) {
		return l.a.Claim(ctx, late, qgjob.ClaimRequest{Incarnation: 1, ClaimID: "claim-2"})
	})
	if took := time.Since(frozen); took < lossyTTL-500*time.Millisecond || len(work.Offers) != 1 || work.Offers[0].Job.JobID != again.JobIDs[0] {
		t.Errorf("claimed after %s: %+v", took, work)
	}
	insist(t, func() (qgjob.LeaseAnswer, error) { return l.a.Start(ctx, l.held["a3"].LeaseID, begin("a3")) })
	ok[qgjob.CompleteResponse](t)(l.a.Complete(ctx, l.held["a3"].LeaseID, pass("a3")))
	for _, id := range []qgjob.AgentID{"a0", "a1", "a3"} {
		if j := ok[qgjob.Job](t)(l.b.Job(ctx, l.held[id].Job.JobID)); j.Status != qgjob.Passed || j.Attempts != 1 {
			t.Errorf("%s: %+v; wanted one attempt that passed", id, j)
		}
	}
	auditAll(t, []*Store{l.a, l.b})
	// Who starts from now on need not wait.
	c := l.open()
	if left := c.writer.succession.Frozen(time.Now()); left > 0 || c.Reign() != l.a.Reign() {
		t.Errorf("a new server is frozen for %s in reign %s; the others are in %s", left, c.Reign(), l.a.Reign())
	}
	t.Logf("claims and starts waited %s at a TTL of %s; %d claims refused meanwhile", time.Since(frozen).Round(time.Millisecond), lossyTTL, refused)
}
