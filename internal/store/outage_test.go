package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	neturl "net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store/pgtest"
)

// kill ends the backend of a store's writer, as a crash of it would.
func kill(t testing.TB, s *Store, pid int) {
	t.Helper()
	var done bool
	if err := s.read.QueryRow(`SELECT pg_terminate_backend($1)`, pid).Scan(&done); err != nil || !done {
		t.Fatalf("terminate %d: %v %v", pid, done, err)
	}
}

func backend(t *tx) (pid int, err error) {
	_, err = t.queryRow(`SELECT pg_backend_pid()`, nil, &pid)
	return pid, err
}

// TestAConnectionLostInAFlush: what a lost connection took with it is tried
// once more, and is done once.
func TestAConnectionLostInAFlush(t *testing.T) {
	s := replicas(t, 1, Options{})[0]
	ctx := context.Background()
	ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob("acme", 5)))
	tries := 0
	err := s.update(ctx, func(tx *tx) error {
		tries++
		if err := putOrg("acme2")(tx); err != nil {
			return err
		}
		if tries == 1 {
			pid, err := backend(tx)
			if err != nil {
				return err
			}
			kill(t, s, pid)
		}
		return putOrg("acme3")(tx)
	})
	if err != nil || tries != 2 {
		t.Errorf("after %d tries: %v", tries, err)
	}
	if !hasOrg(t, s, "acme2") || !hasOrg(t, s, "acme3") {
		t.Error("answered, and not there")
	}
	// Idle between two flushes is another moment to die.
	var pid int
	if err := s.update(ctx, func(tx *tx) (err error) { pid, err = backend(tx); return err }); err != nil {
		t.Fatal(err)
	}
	kill(t, s, pid)
	if resp := ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob("acme", 5))); resp.RunID != 2 {
		t.Errorf("%+v", resp)
	}
	audit(t, s)
}

// cutter stands between a store and PostgreSQL, and cuts the line at a commit
// when it is told to: before the commit went through, or before its answer.
type cutter struct {
	url  string
	mode atomic.Int32 // 0: pass everything

	closed atomic.Bool // to new connections
	silent atomic.Bool // nothing arrives any more on either side, and neither hears of it
	crash  func()      // of cutCrash
}

const (
	cutCommit = 1 // the commit never arrives
	cutAnswer = 2 // its answer never arrives
	cutCrash  = 4 // the database crashes before the commit arrives
	cutAll    = 3 // its answer never arrives, and nobody gets through any more
)

func startCutter(t *testing.T, url string) *cutter {
	t.Helper()
	l := ok[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	at := ok[*neturl.URL](t)(neturl.Parse(url))
	c := &cutter{}
	server := at.Host
	at.Host = l.Addr().String()
	c.url = at.String()
	var lines sync.WaitGroup
	lines.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			if c.closed.Load() {
				_ = client.Close()
				continue
			}
			lines.Go(func() { c.carry(client, server) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); lines.Wait() })
	return c
}

// carry passes bytes on in both directions until one side ends.
func (c *cutter) carry(client net.Conn, server string) {
	defer func() { _ = client.Close() }()
	up, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	var mute atomic.Bool
	var back sync.WaitGroup
	back.Go(func() {
		buf := make([]byte, 32<<10)
		for {
			n, err := up.Read(buf)
			for tick := time.NewTicker(10 * time.Millisecond); err != nil && c.silent.Load(); <-tick.C {
			}
			if err != nil || mute.Load() {
				_ = client.Close()
				_ = up.Close()
				return
			}
			if c.silent.Load() {
				continue
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	buf := make([]byte, 32<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			break
		}
		if c.silent.Load() {
			continue
		}
		if commits(buf[:n]) {
			switch c.mode.Swap(0) {
			case cutCommit:
				_ = client.Close()
				n = 0
			case cutCrash:
				c.crash()
				_ = client.Close()
				n = 0
			case cutAll:
				c.closed.Store(true)
				mute.Store(true)
			case cutAnswer:
				mute.Store(true)
			}
		}
		if _, err := up.Write(buf[:n]); n == 0 || err != nil {
			break
		}
	}
	if !mute.Load() {
		_ = up.Close()
	}
	back.Wait()
	_ = up.Close()
}

// commits finds a COMMIT on its way to PostgreSQL: as a query of its own, or
// bound as the prepared statement that a pipeline ends with. pgx names those
// by a hash of their text.
func commits(sent []byte) bool {
	sum := sha256.Sum256([]byte("COMMIT"))
	bound := fmt.Appendf(nil, "\x00stmtcache_%x\x00", sum[:24])
	at := bytes.Index(sent, bound)
	return bytes.Contains(sent, []byte("Q\x00\x00\x00\x0bCOMMIT\x00")) || (at >= 5 && sent[at-5] == 'B')
}

// TestALostAnswerToACommit covers both ways that a commit without an answer
// may have gone: the store asks the database, and does nothing twice.
func TestALostAnswerToACommit(t *testing.T) {
	ctx := context.Background()
	url := FreshPostgres(t)
	c := startCutter(t, url)
	s := ok[*Store](t)(Open(ctx, c.url, Options{Alone: true}))
	defer func() { _ = s.Close() }()
	for n, mode := range []int32{cutAnswer, cutCommit, cutAnswer, cutCommit} {
		id := qgjob.AgentID(fmt.Sprintf("a%d", n))
		registerOn(t, s, id)
		c.mode.Store(mode)
		tries := 0
		err := s.update(ctx, func(t *tx) error {
			tries++
			return putOrg(fmt.Sprintf("org-%d", n))(t)
		})
		if want := int(mode); err != nil || tries != 3-want { // a commit that never arrived is done again
			t.Errorf("mode %d: %d tries, %v", mode, tries, err)
		}
		if !hasOrg(t, s, fmt.Sprintf("org-%d", n)) {
			t.Errorf("mode %d: answered, and not there", mode)
		}
		c.mode.Store(mode) // without a key, too, nothing is submitted twice
		req := oneJob("acme", 5)
		req.Jobs[0].AppVersionID = qgjob.AppVersionID(id)
		if resp := ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", req)); resp.Repeat {
			t.Errorf("mode %d: %+v", mode, resp)
		}
		if runs := ok[[]qgjob.Run](t)(s.Runs(ctx, "", 0, 0)); len(runs) != n+1 {
			t.Errorf("mode %d: %d runs; wanted %d", mode, len(runs), n+1)
		}
		c.mode.Store(mode)
		o := claimOn(t, s, id, "claim-1")
		if len(o) != 1 || o[0].Number != 1 {
			t.Errorf("mode %d: %+v", mode, o)
		}
		audit(t, s)
	}
}

// TestNobodyKnowsWhatBecameOfACommit: when the database cannot even be asked,
// the callers hear so, and nothing is done a second time behind their backs.
func TestNobodyKnowsWhatBecameOfACommit(t *testing.T) {
	ctx := context.Background()
	c := startCutter(t, FreshPostgres(t))
	s := ok[*Store](t)(Open(ctx, c.url, Options{Alone: true}))
	defer func() { _ = s.Close() }()
	release := hold(t, s)
	s.writer.patience = 300 * time.Millisecond
	c.mode.Store(cutAll)
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() { _, errs[i] = s.Submit(ctx, fmt.Sprintf("key-%d", i), oneJob("acme", 5)) })
		waitQueued(t, s, i+1)
	}
	release() // reads only: it ends with ROLLBACK
	wg.Wait()
	for _, err := range errs {
		wantError(t, err, qgjob.KindUnavailable, "before it said", "same Idempotency-Key")
	}
	c.closed.Store(false)
	again := 0
	for i := range errs {
		for {
			resp, err := s.Submit(ctx, fmt.Sprintf("key-%d", i), oneJob("acme", 5))
			if err == nil {
				if resp.Repeat {
					again++
				}
				break
			}
			wantError(t, err, qgjob.KindUnavailable)
		}
	}
	if runs := ok[[]qgjob.Run](t)(s.Runs(ctx, "", 0, 0)); len(runs) != len(errs) || again != len(errs) {
		t.Errorf("%d runs, %d of them repeated; %d keys, all committed the first time", len(runs), again, len(errs))
	}
	audit(t, s)
}

// TestARefusalBeforeTheCommitIsCertain: what PostgreSQL refuses ahead of the
// commit is not done. Nobody needs to be asked, and nobody is told otherwise.
func TestARefusalBeforeTheCommitIsCertain(t *testing.T) {
	ctx := context.Background()
	c := startCutter(t, FreshPostgres(t))
	s := ok[*Store](t)(Open(ctx, c.url, Options{Alone: true}))
	defer func() { _ = s.Close() }()
	release := hold(t, s)
	s.writer.patience = 300 * time.Millisecond
	done := make(chan error, 1)
	go func() {
		done <- s.update(ctx, func(tx *tx) error {
			c.closed.Store(true) // and nobody gets through any more
			if _, err := tx.exec(`SET LOCAL transaction_read_only = on`); err != nil {
				return err
			}
			return tx.write("write an org", `INSERT INTO orgs (org_id) VALUES ('acme')`)
		})
	}()
	waitQueued(t, s, 1)
	release()
	err := <-done
	wantError(t, err, qgjob.KindUnavailable, "the database")
	if err != nil && strings.Contains(err.Error(), "before it said") {
		t.Errorf("it was refused, and answered: %v", err)
	}
	c.closed.Store(false)
	for s.Ping(ctx) != nil {
	}
	if hasOrg(t, s, "acme") {
		t.Error("refused, and there")
	}
	audit(t, s)
}

// TestTheDatabaseGoesAwayAndComesBack: what is asked meanwhile is refused as
// unavailable, with a reason and without the password; afterwards the store
// goes on by itself, and nothing accepted is lost.
func TestTheDatabaseGoesAwayAndComesBack(t *testing.T) {
	pgtest.Shared(t)
	ctx := context.Background()
	c := ok[*pgtest.Cluster](t)(pgtest.Start(true))
	defer func() { _ = c.Stop() }()
	var logged strings.Builder
	s := ok[*Store](t)(Open(ctx, c.URL("postgres"), Options{Log: slog.New(slog.NewTextHandler(&locked{w: &logged}, nil))}))
	defer func() { _ = s.Close() }()
	accepted := 0
	for _, end := range []func() error{c.Down, c.Kill} {
		ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob("acme", 5)))
		accepted++
		if err := end(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			_, err := s.Submit(ctx, "", oneJob("acme", 5))
			wantError(t, err, qgjob.KindUnavailable, "the database", "go")
			if err == nil || strings.Contains(fmt.Sprintf("%+v", err), pgtest.Password) {
				t.Errorf("%+v", err)
			}
		}
		_, err := s.Runs(ctx, "", 0, 0)
		wantError(t, err, qgjob.KindUnavailable, "the database")
		wantError(t, s.Ping(ctx), qgjob.KindUnavailable, "the database")
		if err := c.Up(); err != nil {
			t.Fatal(err)
		}
		over := time.NewTimer(20 * time.Second).C
		for tick := time.NewTicker(20 * time.Millisecond); s.Ping(ctx) != nil; {
			select {
			case <-tick.C:
			case <-over:
				t.Fatalf("it is back, and: %v", s.Ping(ctx))
			}
		}
		if runs := ok[[]qgjob.Run](t)(s.Runs(ctx, "", 0, 0)); len(runs) != accepted {
			t.Errorf("%d runs; %d were accepted", len(runs), accepted)
		}
		audit(t, s)
	}
	if strings.Contains(logged.String(), pgtest.Password) {
		t.Error("the log has the password")
	}
}

// locked is a writer for several goroutines.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

// Write writes alone.
func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// TestConnectionsDieUnderLoad kills the writers of two servers again and
// again while callers submit and work: every key is one run, every job ends
// once, whatever the callers were told.
func TestConnectionsDieUnderLoad(t *testing.T) {
	ctx := context.Background()
	list := replicas(t, 2, Options{})
	const callers, each, kills = 8, 15, 25
	for i := range callers {
		registerOn(t, list[i%2], qgjob.AgentID(fmt.Sprintf("a%d", i)))
	}
	var wg, killing sync.WaitGroup
	var refused, killed atomic.Int64
	stop := make(chan struct{})
	killing.Go(func() {
		for range kills {
			select {
			case <-stop:
				return
			case <-time.NewTimer(time.Duration(rand.IntN(40)) * time.Millisecond).C:
			}
			var n int64 // kills its reading connections too, and those of the news
			if err := list[0].read.QueryRow(`SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&n); err == nil {
				killed.Add(n)
			}
		}
	})
	insist := func(what string, do func() error) {
		for {
			err := do()
			if err == nil {
				return
			}
			if qgjob.KindOf(err) != qgjob.KindUnavailable {
				t.Errorf("%s: %v", what, err)
				return
			}
			refused.Add(1)
		}
	}
	for i := range callers {
		id := qgjob.AgentID(fmt.Sprintf("a%d", i))
		wg.Go(func() {
			for n := range each {
				s := list[(i+n)%2]
				key := fmt.Sprintf("key-%d-%d", i, n)
				insist("submit", func() error { _, err := s.Submit(ctx, key, oneJob("acme", 5)); return err })
				var offers []qgjob.Offer
				insist("claim", func() error {
					resp, err := s.Claim(ctx, id, qgjob.ClaimRequest{Incarnation: 1, ClaimID: "claim-" + key, Max: 1})
					offers = resp.Offers
					return err
				})
				for _, o := range offers {
					insist("start", func() error {
						_, err := s.Start(ctx, o.LeaseID, qgjob.StartRequest{AgentID: id, Incarnation: 1})
						return err
					})
					insist("complete", func() error {
						_, err := s.Complete(ctx, o.LeaseID, qgjob.CompleteRequest{AgentID: id, Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1"})
						return err
					})
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	killing.Wait()
	insist("audit", func() error { return list[0].Ping(ctx) })
	insist("audit", func() error { return list[1].Ping(ctx) })
	auditAll(t, list)
	var runs, ended, twice int
	if err := list[0].read.QueryRow(`SELECT (SELECT COUNT(*) FROM runs), (SELECT COUNT(*) FROM jobs WHERE state = 'passed'),
		(SELECT COUNT(*) FROM (SELECT job_id FROM attempts WHERE outcome = 'passed' GROUP BY job_id HAVING COUNT(*) > 1) x)`).Scan(&runs, &ended, &twice); err != nil {
		t.Fatal(err)
	}
	if runs != callers*each || twice > 0 {
		t.Errorf("%d runs of %d keys, %d jobs passed twice", runs, callers*each, twice)
	}
	t.Logf("%d of %d jobs ended; %d connections were killed, %d answers were unavailable", ended, runs, killed.Load(), refused.Load())
	if killed.Load() == 0 {
		t.Error("nothing was killed")
	}
}

// TestPostgresErrorsAreExplained wants a kind and a next step for each.
func TestPostgresErrorsAreExplained(t *testing.T) {
	ctx := context.Background()
	url := FreshPostgres(t)
	at := ok[*neturl.URL](t)(neturl.Parse(url))
	with := func(change func(*neturl.URL)) string {
		u := *at
		change(&u)
		return u.String()
	}
	nowhere := ok[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	if err := nowhere.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		url   string
		kind  qgjob.Kind
		words []string
	}{
		"no server":   {with(func(u *neturl.URL) { u.Host = nowhere.Addr().String() }), qgjob.KindUnavailable, []string{"cannot be reached"}},
		"no database": {with(func(u *neturl.URL) { u.Path = "/nothing" }), qgjob.KindUnavailable, []string{"does not exist", "/nothing"}},
		"no user":     {with(func(u *neturl.URL) { u.User = neturl.UserPassword("nobody", pgtest.Password) }), qgjob.KindUnavailable, []string{"login"}},
		"no URL":      {"postgres://u:" + pgtest.Password + "@[::1/x?%zz", qgjob.KindInvalid, []string{"cannot be read"}},
		"no port":     {"postgres://u:" + pgtest.Password + "@host:port/x", qgjob.KindInvalid, []string{"cannot be read"}},
		"read-only":   {url + "&default_transaction_read_only=on", qgjob.KindUnavailable, []string{"read-only"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(ctx, c.url, Options{Alone: true})
			if err == nil {
				_ = s.Close()
			}
			wantError(t, err, c.kind, c.words...)
			if strings.Contains(fmt.Sprintf("%+v", err), pgtest.Password) {
				t.Errorf("the password is shown: %+v", err)
			}
		})
	}
	s := ok[*Store](t)(Open(ctx, url, Options{Alone: true}))
	defer func() { _ = s.Close() }()
	if _, err := s.Apps(ctx, "a\x00b"); qgjob.KindOf(err) != qgjob.KindInvalid {
		t.Errorf("NUL in a filter: %v", err)
	}
	if err := s.update(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE counters SET value = 99 WHERE name = 'oldest_schema'`)
		_, err2 := t.exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, TRUE)`)
		return errors.Join(err, err2)
	}); err != nil {
		t.Fatal(err)
	}
	_, err := Open(ctx, url, Options{Alone: true})
	wantError(t, err, qgjob.KindConflict, "99", "newer qgjob")
}

// TestTextsThatPostgresRefuses: what a test prints may be anything, and its
// result counts all the same.
func TestTextsThatPostgresRefuses(t *testing.T) {
	ctx := context.Background()
	s := replicas(t, 1, Options{Alone: true})[0]
	registerOn(t, s, "a1")
	ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob("acme", 5)))
	o := claimOn(t, s, "a1", "claim-1")[0]
	ok[qgjob.LeaseAnswer](t)(s.Start(ctx, o.LeaseID, qgjob.StartRequest{AgentID: "a1", Incarnation: 1}))
	raw := "a\x00b\xffc"
	ok[qgjob.LogResponse](t)(s.AppendLog(ctx, o.LeaseID, 0, []byte(raw)))
	ok[qgjob.CompleteResponse](t)(s.Complete(ctx, o.LeaseID, qgjob.CompleteRequest{AgentID: "a1", Incarnation: 1, Outcome: qgjob.OutcomeFailed,
		Message: raw, Digest: "digest-1"}))
	if j := ok[qgjob.Job](t)(s.Job(ctx, 1)); j.Message != "a\uFFFDb\uFFFDc" {
		t.Errorf("message %q", j.Message)
	}
	if text := ok[[]byte](t)(s.Log(ctx, o.LeaseID, 0, 100)); string(text) != raw {
		t.Errorf("log %q", text)
	}
}
