package store

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	neturl "net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/qualgent/qgjob"
)

// holder is a server's connection that has the lock of flushes, and of whose
// every byte a test decides.
type holder struct {
	t    *testing.T
	url  string
	conn *pgconn.HijackedConn
}

func startHolder(t *testing.T, url string) *holder {
	t.Helper()
	ctx := context.Background()
	c, err := parsePostgres(url)
	if err != nil {
		t.Fatal(err)
	}
	fleeting(c)
	conn := ok[*pgconn.PgConn](t)(pgconn.ConnectConfig(ctx, &c.Config))
	if _, err := conn.Exec(ctx, fmt.Sprintf("CREATE TEMP TABLE IF NOT EXISTS copied (n INT); BEGIN; SELECT pg_advisory_xact_lock(%d)", int64(flushLock))).ReadAll(); err != nil {
		t.Fatal(err)
	}
	h := &holder{t, url, ok[*pgconn.HijackedConn](t)(conn.Hijack())}
	t.Cleanup(h.ended)
	return h
}

// send sends messages whole.
func (h *holder) send(messages ...pgproto3.FrontendMessage) {
	h.t.Helper()
	for _, m := range messages {
		h.conn.Frontend.Send(m)
	}
	if err := h.conn.Frontend.Flush(); err != nil {
		h.t.Error(err)
	}
}

// bind is a large message, in two halves.
func (h *holder) bind() (half, rest []byte) {
	whole := ok[[]byte](h.t)((&pgproto3.Bind{Parameters: [][]byte{bytes.Repeat([]byte("x"), 100_000)}}).Encode(nil))
	return whole[:len(whole)/2], whole[len(whole)/2:]
}

func (h *holder) raw(part []byte) {
	h.t.Helper()
	if _, err := h.conn.Conn.Write(part); err != nil {
		h.t.Error(err)
	}
}

// awaits waits until the backend is in a state, waits for something and has a
// query that together begin so.
func (h *holder) awaits(s *Store, what string) {
	h.t.Helper()
	over := time.NewTimer(20 * time.Second).C
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		var now string
		if err := s.read.QueryRow(`SELECT concat_ws(' ', state, wait_event, query) FROM pg_stat_activity WHERE pid = $1`, h.conn.PID).Scan(&now); err != nil {
			h.t.Fatal(err)
		}
		if strings.HasPrefix(now, what) {
			return
		}
		select {
		case <-tick.C:
		case <-over:
			h.t.Fatalf("the backend is %q, and never %q", now, what)
		}
	}
}

// ended closes the connection and waits for its backend's end: the database is
// used again.
func (h *holder) ended() {
	_ = h.conn.Conn.Close()
	ctx := context.Background()
	conn := ok[*pgconn.PgConn](h.t)(pgconn.Connect(ctx, h.url))
	defer func() { _ = conn.Close(ctx) }()
	_, err := conn.Exec(ctx, fmt.Sprintf("SELECT pg_terminate_backend(%[1]d); SELECT pg_advisory_xact_lock(%[2]d)", h.conn.PID, int64(flushLock))).ReadAll()
	if err != nil {
		h.t.Error(err)
	}
}

// halfSent sends what makes the backend work and half of what is next.
func (h *holder) halfSent() {
	half, _ := h.bind()
	h.send(&pgproto3.Parse{Query: "SELECT $1::BYTEA"})
	h.raw(half)
}

// noEnd sends what makes the backend work and not that the pipeline ends.
func (h *holder) noEnd() {
	h.send(&pgproto3.Parse{Query: "SELECT 1"}, &pgproto3.Bind{}, &pgproto3.Execute{})
}

// unread asks for more than the line holds and reads nothing.
func (h *holder) unread() {
	h.send(&pgproto3.Query{String: "SELECT repeat('x', 1000) FROM generate_series(1, 100000)"})
}

// quick has a server look soon who holds the lock.
func quick(t *testing.T, s *Store) {
	t.Helper()
	if err := s.update(context.Background(), func(t *tx) error {
		t.w.suspect.sending, t.w.suspect.reading = 100*time.Millisecond, 100*time.Millisecond
		_, err := t.exec(`SET lock_timeout = 200`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestAServerFrozenInTheMiddleOfAWrite: PostgreSQL waits for the rest of what
// it sends, or for it to read, and has no timeout for that; the line is alive.
// Other servers' calls are only late.
func TestAServerFrozenInTheMiddleOfAWrite(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		stop  func(*holder)
		event string
	}{
		"half of a message":    {(*holder).halfSent, "active ClientRead"},
		"no end of a pipeline": {(*holder).noEnd, "active ClientRead"},
		"an answer not read":   {(*holder).unread, "active ClientWrite"},
	} {
		t.Run(name, func(t *testing.T) {
			url := FreshPostgres(t)
			var logged strings.Builder
			s := ok[*Store](t)(Open(ctx, url, Options{Alone: true, Log: slog.New(slog.NewTextHandler(&locked{w: &logged}, nil))}))
			defer func() { _ = s.Close() }()
			quick(t, s)
			h := startHolder(t, url)
			c.stop(h)
			h.awaits(s, c.event)
			if resp, err := s.Submit(ctx, "", oneJob("acme", 5)); err != nil || resp.RunID != 1 {
				t.Errorf("%+v, %v", resp, err)
			}
			if text := logged.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, fmt.Sprintf("pid=%d ", h.conn.PID)) {
				t.Errorf("logged: %s", text)
			}
			audit(t, s)
		})
	}
}

// TestHalfOfTheFirstMessageIsUndoneByPostgres: what has not arrived whole does
// not end the time between two round trips.
func TestHalfOfTheFirstMessageIsUndoneByPostgres(t *testing.T) {
	ctx := context.Background()
	url := FreshPostgres(t)
	s := ok[*Store](t)(Open(ctx, url, Options{Alone: true}))
	defer func() { _ = s.Close() }()
	h := startHolder(t, url)
	h.send(&pgproto3.Query{String: "SET LOCAL idle_in_transaction_session_timeout = 200"})
	half, _ := h.bind()
	h.raw(half)
	if _, err := s.Submit(ctx, "", oneJob("acme", 5)); err != nil || s.writer.suspect.mark != "" {
		t.Errorf("%v; suspected: %q", err, s.writer.suspect.mark)
	}
}

// freezer stands between a store and PostgreSQL. Once armed it lets so many
// bytes through and then stops, both ways, as a server does that is frozen in
// the middle of a write.
type freezer struct {
	url    string
	armed  atomic.Bool
	left   atomic.Int64
	frozen chan struct{} // closed when it is
	thaw   chan struct{} // closed to let it go on
	once   sync.Once
}

func startFreezer(t *testing.T, url string) *freezer {
	t.Helper()
	l := ok[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	at := ok[*neturl.URL](t)(neturl.Parse(url))
	server := at.Host
	at.Host = l.Addr().String()
	f := &freezer{url: at.String(), frozen: make(chan struct{}), thaw: make(chan struct{})}
	var lines sync.WaitGroup
	lines.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{client, up}, {up, client}} {
				lines.Go(func() { f.carry(way[0], way[1], way[0] == client) })
			}
		}
	})
	t.Cleanup(func() { _ = l.Close(); lines.Wait() })
	return f
}

func (f *freezer) carry(from, to net.Conn, sends bool) {
	defer func() { _ = from.Close(); _ = to.Close() }()
	buf := make([]byte, 4<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if sends && f.armed.Load() && f.left.Add(-int64(n)) < 0 {
			f.once.Do(func() { close(f.frozen) })
		}
		select {
		case <-f.frozen:
			<-f.thaw
		default:
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// TestAFrozenServerThaws: what it had under way was undone, and it does it
// again: once.
func TestAFrozenServerThaws(t *testing.T) { thaws(t, quick) }

// TestAFrozenServerThawsSlow_postgres is the same with the times as they are.
func TestAFrozenServerThawsSlow_postgres(t *testing.T) {
	slow(t)
	thaws(t, func(*testing.T, *Store) {})
}

func thaws(t *testing.T, hurry func(*testing.T, *Store)) {
	ctx := context.Background()
	const rows = 900 // sent together
	url := FreshPostgres(t)
	f := startFreezer(t, url)
	frozen := ok[*Store](t)(Open(ctx, f.url, Options{Alone: true}))
	defer func() { _ = frozen.Close() }()
	var stays [2]*Store
	for i := range stays {
		stays[i] = ok[*Store](t)(Open(ctx, url, Options{Alone: true}))
		defer func() { _ = stays[i].Close() }()
		hurry(t, stays[i])
	}
	ok[qgjob.SubmitResponse](t)(frozen.Submit(ctx, "before", oneJob("acme", 5)))
	tries, done := 0, make(chan error, 1)
	go func() {
		done <- frozen.update(ctx, func(tx *tx) error {
			if tries++; tries == 1 {
				f.left.Store(64 << 10)
				f.armed.Store(true)
			}
			for n := range rows {
				if err := tx.write("put an org", `INSERT INTO orgs (org_id) VALUES ($1)`, fmt.Sprintf("%0200d", n)); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	<-f.frozen
	began := time.Now()
	var wg sync.WaitGroup
	for i, s := range stays {
		wg.Go(func() {
			for n := range 3 {
				if _, err := s.Submit(ctx, fmt.Sprintf("during-%d-%d", i, n), oneJob("acme", 5)); err != nil {
					t.Errorf("another server's submit after %v: %v", time.Since(began), err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("the others were held up for %v", time.Since(began).Round(time.Millisecond))
	var orgs int
	if err := stays[0].read.QueryRow(`SELECT COUNT(*) FROM orgs`).Scan(&orgs); err != nil || orgs > 1 {
		t.Errorf("%d orgs: half of a flush is there (%v)", orgs, err)
	}
	close(f.thaw)
	if err := <-done; err != nil || tries != 2 {
		t.Errorf("after %d tries: %v", tries, err)
	}
	if err := stays[0].read.QueryRow(`SELECT COUNT(*) FROM orgs WHERE org_id LIKE '00%'`).Scan(&orgs); err != nil || orgs != rows {
		t.Errorf("%d orgs; %d were answered (%v)", orgs, rows, err)
	}
	if resp := ok[qgjob.SubmitResponse](t)(frozen.Submit(ctx, "before", oneJob("acme", 5))); !resp.Repeat || resp.RunID != 1 {
		t.Errorf("%+v", resp)
	}
	if runs := ok[[]qgjob.Run](t)(frozen.Runs(ctx, "", 0, 0)); len(runs) != 7 {
		t.Errorf("%d runs of 7 keys", len(runs))
	}
	auditAll(t, []*Store{frozen, stays[0], stays[1]})
}

// TestOnlyWhoWaitsForAFrozenServerIsEnded looks twice at whoever has the lock,
// the second time after the limit.
func TestOnlyWhoWaitsForAFrozenServerIsEnded(t *testing.T) {
	ctx := context.Background()
	nothing := func(*holder, *Store) {}
	asks := func(query string) func(*holder) {
		return func(h *holder) { h.send(&pgproto3.Query{String: query}) }
	}
	for name, c := range map[string]struct {
		first func(*holder)
		what  string // is seen of it
		then  func(*holder, *Store)
		limit time.Duration // after which he would be ended; 0: he is not suspected
		after time.Duration // the second look
		ended bool
	}{
		"frozen":                  {(*holder).halfSent, "active ClientRead", nothing, thinkWithin, thinkWithin, true},
		"too early":               {(*holder).halfSent, "active ClientRead", nothing, thinkWithin, -time.Hour, false},
		"goes on in a pipeline":   {(*holder).halfSent, "active ClientRead", (*holder).goesOn, thinkWithin, time.Hour, false},
		"between two round trips": {asks("SELECT 1"), "idle in transaction ClientRead SELECT 1", nothing, thinkWithin, thinkWithin, true},
		"makes its round trips":   {asks("SELECT 1"), "idle in transaction ClientRead SELECT 1", (*holder).asksAgain, thinkWithin, time.Hour, false},
		"executes":                {asks("SELECT pg_sleep(600)"), "active PgSleep", nothing, 0, time.Hour, false},
		"waits for a lock":        {asks("SELECT pg_advisory_xact_lock(1)"), "active advisory", nothing, 0, time.Hour, false},
		"a copy of a database":    {copies, "active ClientRead", nothing, 0, time.Hour, false},
		"reads slowly":            {(*holder).unread, "active ClientWrite", nothing, flushWithin, -time.Hour, false},
		"does not read":           {(*holder).unread, "active ClientWrite", nothing, flushWithin, flushWithin, true},
	} {
		t.Run(name, func(t *testing.T) {
			url := FreshPostgres(t)
			s := ok[*Store](t)(Open(ctx, url, Options{Alone: true}))
			defer func() { _ = s.Close() }()
			other := ok[*pgconn.PgConn](t)(pgconn.Connect(ctx, url))
			defer func() { _ = other.Close(ctx) }()
			if _, err := other.Exec(ctx, `SELECT pg_advisory_lock(1)`).ReadAll(); err != nil {
				t.Fatal(err)
			}
			h := startHolder(t, url)
			c.first(h)
			h.awaits(s, c.what)
			if ended, err := s.writer.look(ctx); err != nil || ended {
				t.Fatalf("ended at the first look: %v %v", ended, err)
			}
			c.then(h, s)
			if seen := s.writer.suspect; seen.limit != c.limit || (seen.mark != "") != (c.limit > 0) {
				t.Errorf("%q, for at most %v", seen.mark, seen.limit)
			}
			s.writer.suspect.since = time.Now().Add(-c.after)
			if ended, err := s.writer.look(ctx); err != nil || ended != c.ended {
				t.Errorf("ended: %v, want %v (%v)", ended, c.ended, err)
			}
		})
	}
}

// asksAgain makes another round trip.
func (h *holder) asksAgain(s *Store) {
	h.send(&pgproto3.Query{String: "SELECT 2"})
	h.awaits(s, "idle in transaction ClientRead SELECT 2")
}

// goesOn sends the rest of what halfSent began, and stops again.
func (h *holder) goesOn(s *Store) {
	_, rest := h.bind()
	h.raw(rest)
	h.noEnd()
	h.awaits(s, "active ClientRead SELECT 1")
}

// copies is what a copy of a database does, which may take long.
func copies(h *holder) {
	h.send(&pgproto3.Query{String: fmt.Sprintf("SELECT pg_advisory_xact_lock(%d); COPY copied FROM STDIN", int64(copyLock))}, &pgproto3.CopyData{Data: []byte("1\n")})
}

// TestAPidIsGivenAgain: the session that was seen has ended, and another has
// its pid.
func TestAPidIsGivenAgain(t *testing.T) {
	ctx := context.Background()
	url := FreshPostgres(t)
	s := ok[*Store](t)(Open(ctx, url, Options{Alone: true}))
	defer func() { _ = s.Close() }()
	h := startHolder(t, url)
	h.halfSent()
	h.awaits(s, "active ClientRead")
	ok[bool](t)(s.writer.look(ctx))
	seen := strings.Fields(s.writer.suspect.mark) // pid, begin of the session, of the state, what it waits for
	if len(seen) != 4 || seen[0] != fmt.Sprint(h.conn.PID) {
		t.Fatalf("seen: %q", seen)
	}
	seen[1] = "1" + seen[1]
	s.writer.suspect.mark, s.writer.suspect.since = strings.Join(seen, " "), time.Time{}
	if ok[bool](t)(s.writer.look(ctx)) {
		t.Error("ended")
	}
	s.writer.suspect.since = time.Time{}
	if !ok[bool](t)(s.writer.look(ctx)) {
		t.Error("what it saw then is not ended either")
	}
}

// TestAFrozenServerThatMayNotBeEnded: a database that hides other users'
// sessions, or does not let them be ended, has calls refused as before, and
// says so once.
func TestAFrozenServerThatMayNotBeEnded(t *testing.T) {
	ctx := context.Background()
	for name, grant := range map[string]string{"hidden": "", "shown": "GRANT pg_read_all_stats TO lodger;"} {
		t.Run(name, func(t *testing.T) {
			url := FreshPostgres(t)
			run := func(text string) {
				conn := ok[*pgconn.PgConn](t)(pgconn.Connect(ctx, url))
				defer func() { _ = conn.Close(ctx) }()
				if _, err := conn.Exec(ctx, text).ReadAll(); err != nil {
					t.Error(err)
				}
			}
			run(`CREATE ROLE lodger LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO lodger; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO lodger;` + grant)
			defer run(`DROP OWNED BY lodger; DROP ROLE lodger`)
			at := ok[*neturl.URL](t)(neturl.Parse(url))
			at.User = neturl.User("lodger")
			var logged strings.Builder
			s := ok[*Store](t)(Open(ctx, at.String(), Options{Alone: true, Log: slog.New(slog.NewTextHandler(&locked{w: &logged}, nil))}))
			defer func() { _ = s.Close() }()
			sees := ok[*Store](t)(Open(ctx, url, Options{Alone: true}))
			defer func() { _ = sees.Close() }()
			ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob("acme", 5)))
			h := startHolder(t, url)
			h.halfSent()
			h.awaits(sees, "active ClientRead")
			for range 4 {
				s.writer.heldUp = true
				_, err := s.Submit(ctx, "", oneJob("acme", 5))
				wantError(t, err, qgjob.KindUnavailable, "the database is busy")
				s.writer.suspect.since = time.Time{}
			}
			if text := logged.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "does not let this server end") {
				t.Errorf("logged: %s", text)
			}
			h.ended()
			ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob("acme", 5)))
		})
	}
}
