package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store/pgtest"
)

// TestPostgresAFullDisk fills the disk of the tables, and that of the
// write-ahead log too, which has PostgreSQL end itself. Both are named,
// nothing accepted is lost, and the store goes on by itself.
func TestPostgresAFullDisk(t *testing.T) {
	for name, alone := range map[string]bool{"tables": true, "log": false} {
		t.Run(name, func(t *testing.T) {
			c, disk := pgtest.Small(t, alone)
			s := ok[*Store](t)(Open(context.Background(), c.URL("postgres"), Options{}))
			defer func() { _ = s.Close() }()
			f := &filling{t: t, s: s, accepted: map[string]qgjob.SubmitResponse{}}
			running := f.runOne()
			if err := s.Ping(context.Background()); err != nil {
				t.Fatal(err)
			}
			if err := disk.Fill(); err != nil {
				t.Fatal(err)
			}
			f.until()
			if alone {
				f.refused()
				f.check() // reads go on
			} else {
				f.exhaust(c)
			}
			if err := disk.Free(); err != nil {
				t.Fatal(err)
			}
			f.cluster = c
			f.goesOn(running)
		})
	}
}

// filling is work on a disk that fills up.
type filling struct {
	t        *testing.T
	s        *Store
	mu       sync.Mutex
	accepted map[string]qgjob.SubmitResponse
	vain     []string        // keys that were refused
	cluster  *pgtest.Cluster // to be started again whenever it has ended itself; nil: it does not
}

func big() qgjob.SubmitRequest {
	req := oneJob("acme", 5)
	for len(req.Jobs) < 50 {
		req.Jobs = append(req.Jobs, req.Jobs[0])
	}
	return req
}

// runOne has one job of a run started.
func (f *filling) runOne() qgjob.LeaseID {
	f.t.Helper()
	ctx := context.Background()
	registerOn(f.t, f.s, "a1")
	f.accepted["key-first"] = ok[qgjob.SubmitResponse](f.t)(f.s.Submit(ctx, "key-first", big()))
	id := claimOn(f.t, f.s, "a1", "claim-1")[0].LeaseID
	ok[qgjob.LeaseAnswer](f.t)(f.s.Start(ctx, id, qgjob.StartRequest{AgentID: "a1", Incarnation: 1}))
	return id
}

// until submits until nothing is taken any more.
func (f *filling) until() {
	var wg sync.WaitGroup
	for caller := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				key := fmt.Sprintf("key-%d-%d", caller, n)
				resp, err := f.s.Submit(context.Background(), key, big())
				f.mu.Lock()
				if err == nil {
					f.accepted[key] = resp
				} else {
					f.vain = append(f.vain, key)
				}
				f.mu.Unlock()
				if err != nil {
					wantError(f.t, err, qgjob.KindUnavailable, "the disk of the database is full", "nothing accepted was lost")
					return
				}
			}
		})
	}
	wg.Wait()
	f.t.Logf("%d runs of 50 jobs accepted", len(f.accepted))
}

// refused wants readiness and submits refused, with the reason, for as long as
// nothing changes.
func (f *filling) refused() {
	ctx := context.Background()
	for n := range 5 {
		key := fmt.Sprintf("key-vain-%d", n)
		_, err := f.s.Submit(ctx, key, big())
		wantError(f.t, err, qgjob.KindUnavailable, "the disk of the database is full", "nothing accepted was lost")
		f.vain = append(f.vain, key)
		wantError(f.t, f.s.Ping(ctx), qgjob.KindUnavailable, "the disk of the database is full")
	}
}

// exhaust has the write-ahead log without room as well: PostgreSQL gives
// itself up, and comes back only when there is some.
func (f *filling) exhaust(c *pgtest.Cluster) {
	f.t.Helper()
	ctx := context.Background()
	var err error
	for n := 0; err == nil && n < 10_000; n++ {
		err = c.Exec("postgres", `SELECT pg_logical_emit_message(false, 'filling', repeat('x', 200000))`)
	}
	if err == nil {
		f.t.Error("the log had room for everything")
	}
	for n := range 5 {
		key := fmt.Sprintf("key-vain-%d", n)
		_, err := f.s.Submit(ctx, key, big())
		wantError(f.t, err, qgjob.KindUnavailable, "its disk was full", "nothing accepted was lost")
		f.vain = append(f.vain, key)
		wantError(f.t, f.s.Ping(ctx), qgjob.KindUnavailable, "its disk was full")
	}
}

// check wants all that was accepted, and nothing else.
func (f *filling) check() {
	f.t.Helper()
	checkAccepted(f.t, f.s, f.accepted)
}

// goesOn wants everything as if nothing had happened.
func (f *filling) goesOn(running qgjob.LeaseID) {
	ctx := context.Background()
	began := time.Now()
	insist(f.t, func() (struct{}, error) {
		if f.cluster != nil && !f.cluster.Running() { // as whatever supervises it does; it may take a while to give itself up
			if err := f.cluster.Recover(); err != nil {
				f.t.Fatal(err)
			}
		}
		return struct{}{}, f.s.Ping(ctx)
	})
	f.t.Logf("ready %s after there was room", time.Since(began).Round(time.Millisecond))
	for key, was := range f.accepted {
		again, _ := insist(f.t, func() (qgjob.SubmitResponse, error) { return f.s.Submit(ctx, key, big()) })
		if !again.Repeat || again.RunID != was.RunID {
			f.t.Errorf("%s: %+v; was %s", key, again, was.RunID)
		}
	}
	for _, key := range f.vain {
		f.accepted[key], _ = insist(f.t, func() (qgjob.SubmitResponse, error) { return f.s.Submit(ctx, key, big()) })
	}
	f.check()
	done := ok[qgjob.CompleteResponse](f.t)(f.s.Complete(ctx, running, qgjob.CompleteRequest{AgentID: "a1", Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1"}))
	if done.Status != qgjob.Passed {
		f.t.Errorf("%+v", done)
	}
	audit(f.t, f.s)
}

// TestPostgresThatTurnsReadOnly: for as long as it lasts nothing is ready and
// everything is refused with the reason, reads go on, and afterwards all goes
// on by itself.
func TestPostgresThatTurnsReadOnly(t *testing.T) {
	ctx := context.Background()
	s := replicas(t, 1, Options{})[0]
	f := &filling{t: t, s: s, accepted: map[string]qgjob.SubmitResponse{}}
	running := f.runOne()
	setting := func(value string) {
		t.Helper()
		var name string
		if err := s.read.QueryRow(`SELECT current_database()`).Scan(&name); err != nil {
			t.Fatal(err)
		}
		if err := pgtest.Shared(t).Exec("postgres", fmt.Sprintf(`ALTER DATABASE %s SET default_transaction_read_only = %s`, name, value)); err != nil {
			t.Fatal(err)
		}
		var pid int // what is connected keeps what it had
		if err := s.update(ctx, func(tx *tx) (err error) { pid, err = backend(tx); return err }); err == nil {
			kill(t, s, pid)
		}
	}
	defer setting("off")
	for round := range 3 {
		before := s.Refused()
		setting("on")
		for n := range 4 {
			key := fmt.Sprintf("key-vain-%d-%d", round, n)
			_, err := s.Submit(ctx, key, big())
			wantError(t, err, qgjob.KindUnavailable, "the database is read-only")
			f.vain = append(f.vain, key)
		}
		if got := s.Refused(); got != before {
			t.Errorf("%d submits alone count as refusals", got-before)
		}
		for range 2 {
			wantError(t, s.Ping(ctx), qgjob.KindUnavailable, "the database is read-only")
			_, err := s.Renew(ctx, "a1", qgjob.RenewRequest{Incarnation: 1, Leases: []qgjob.LeaseID{running}})
			wantError(t, err, qgjob.KindUnavailable, "the database is read-only")
		}
		if got := s.Refused(); got < before+2 {
			t.Errorf("%d refusals were counted", got-before)
		}
		f.check()
		setting("off")
		insist(t, func() (struct{}, error) { return struct{}{}, s.Ping(ctx) })
		if quiet := s.Refused(); s.Ping(ctx) != nil || s.Refused() != quiet {
			t.Error("what is taken counts as a refusal")
		}
	}
	f.goesOn(running)
}

// TestAPostgresThatEndsItselfWasFull: what it said with its last word is
// remembered while nobody can ask it, and forgotten when there is room.
func TestAPostgresThatEndsItselfWasFull(t *testing.T) {
	gone := unavailable(&pgconn.PgError{Severity: "FATAL", Code: "57P03", Message: "starting up"})
	w := &writer{}
	if got := w.recall(gone); !errors.Is(got, gone) || strings.Contains(got.Error(), "full") {
		t.Errorf("nothing was full: %v", got)
	}
	w.heard(&pgconn.PgError{Severity: "ERROR", Code: "57014", Message: "cancelled"})
	if w.full.Load() {
		t.Error("a cancelled statement counts as full")
	}
	w.heard(&pgconn.PgError{Severity: "PANIC", Code: "53100", Message: "could not write to log file"})
	wantError(t, w.recall(gone), qgjob.KindUnavailable, "went away", "its disk was full", "start PostgreSQL")
	wantError(t, w.recall(unavailable(io.ErrUnexpectedEOF)), qgjob.KindUnavailable, "cannot be reached", "its disk was full")
	for _, other := range []error{nil, unavailable(&pgconn.PgError{Severity: "ERROR", Code: "25006"}), qgjob.Invalid("x", "y")} {
		if got := w.recall(other); !errors.Is(got, other) {
			t.Errorf("%v became %v", other, got)
		}
	}
}
