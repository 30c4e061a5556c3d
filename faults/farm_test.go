//go:build unix

package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/qualgent/qgjob/internal/client"
	"github.com/qualgent/qgjob/internal/store/pgtest"
)

// shape says how large a farm is, and on what.
type shape struct {
	postgres bool
	ha       bool // a primary with a synchronous standby; the servers run with --ha
	servers  int
	agents   int // processes
	slots    int // agents of each process
	ttl      time.Duration
	cluster  *pgtest.Cluster // nil: one of the farm's own
	pace     time.Duration   // how long faults last, more or less; 0 is the TTL
}

// farm is servers, agents and a database, with a proxy on every line between
// them.
type farm struct {
	shape
	t       *testing.T
	dir     string
	journal string
	pg      *pgtest.Cluster // nil: SQLite
	servers []*server
	agents  []*agent
	report  *report
	standby *pgtest.Cluster // with ha: whoever may be promoted
	small   *smallDisk      // of SQLite's data; nil where none can be mounted
	alone   sync.Mutex      // held by a fault that must not meet its like
	kills   chan killed
	ran     *diary
	besides func(*farm, *rand.Rand) bool // is done in every round besides the faults that are drawn; nil: nothing
	mu      sync.Mutex
	clients []*client.Client
	next    int
}

// server is a qgjob server.
type server struct {
	*unit
	n      int
	base   string // its own address, as a URL
	asks   *client.Client
	front  *proxy   // between it and the clients of the tests
	back   *proxy   // between it and PostgreSQL; nil for SQLite
	agents []*proxy // between it and each agent process
}

// agent is an agent process. Its slots are NAME-1, NAME-2 and so on.
type agent struct {
	*unit
	name  string
	lines []*proxy // to each server
}

func newFarm(t *testing.T, s shape, r *report) *farm {
	t.Helper()
	f := &farm{shape: s, t: t, dir: t.TempDir(), report: r, kills: make(chan killed, 1000)}
	if f.pace == 0 {
		f.pace = f.ttl
	}
	f.journal = filepath.Join(f.dir, "journal")
	f.write(f.journal, "")
	f.ran = newDiary(f.journal)
	switch {
	case s.cluster != nil:
		f.pg = s.cluster
	case s.ha:
		f.pair(t)
	case s.postgres:
		pgtest.Shared(t) // skips or fails where there is none
		c, err := pgtest.Start(true)
		if err != nil {
			t.Fatal(err)
		}
		f.pg = c
		t.Cleanup(func() { _ = c.Stop() })
	default:
		f.small = mountSmall(t, filepath.Join(f.dir, "data"))
	}
	for i := range s.servers {
		f.servers = append(f.servers, f.newServer(i))
	}
	f.ready(f.servers...)
	for i := range s.agents {
		f.agents = append(f.agents, f.newAgent(i))
	}
	return f
}

func (f *farm) write(path, text string) {
	f.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *farm) proxy(target string) *proxy {
	f.t.Helper()
	p, err := newProxy(target)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(p.close)
	return p
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback, and closed at once
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func (f *farm) newServer(n int) *server {
	at := net.JoinHostPort("127.0.0.1", freePort(f.t))
	args := []string{"server", "--listen=" + at, "--lease-ttl=" + f.ttl.String(), "--data-dir=" + filepath.Join(f.dir, "data")}
	s := &server{n: n, base: "http://" + at, front: f.proxy(at)}
	switch {
	case f.ha: // past no proxy: there is more than one to go to
		args = append(args, "--ha", "--database="+pgtest.Hosts("postgres", f.pg, f.standby))
	case f.pg != nil:
		u, err := url.Parse(f.pg.URL("postgres"))
		if err != nil {
			f.t.Fatal(err)
		}
		s.back = f.proxy(u.Host)
		u.Host = s.back.addr()
		args = append(args, "--database="+u.String())
	}
	s.asks = f.clientOf(client.NoRetry, s)
	s.unit = supervise(f.dir, fmt.Sprintf("server-%d.log", n), args...)
	f.t.Cleanup(s.close)
	return s
}

// ready waits until servers answer on their own addresses.
func (f *farm) ready(list ...*server) {
	f.t.Helper()
	over := time.Now().Add(time.Minute)
	for _, s := range list {
		for !answersReady(s.base) {
			if time.Now().After(over) {
				f.t.Fatalf("server %d is not ready after a minute:\n%s", s.n, f.tail(s.log))
			}
			wait(20 * time.Millisecond)
		}
	}
}

func answersReady(base string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/readyz", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func (f *farm) newAgent(n int) *agent {
	a := &agent{name: fmt.Sprintf("a%d", n)}
	args := []string{"agent", "--name=" + a.name, "--target=emulator", "--slots=" + strconv.Itoa(f.slots),
		"--state-dir=" + filepath.Join(f.dir, a.name), "--project=" + f.dir}
	for _, s := range f.servers {
		p := f.proxy(s.base[len("http://"):])
		s.agents, a.lines = append(s.agents, p), append(a.lines, p)
		args = append(args, "--server=http://"+p.addr())
	}
	args = append(args, "--runner=exec", "--", testBinary(), faultJob, f.journal)
	a.unit = supervise(f.dir, a.name+".log", args...)
	f.t.Cleanup(a.close)
	return a
}

// client is a client of the whole farm, through the proxies. It is one of a
// few, which begin at different servers.
func (f *farm) client(r client.Retry) *client.Client {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.clients) < 8 {
		f.clients = append(f.clients, f.clientOf(client.NoRetry, f.servers...))
	}
	f.next++
	return f.clients[f.next%len(f.clients)].With(r)
}

func (f *farm) clientOf(r client.Retry, list ...*server) *client.Client {
	f.t.Helper()
	var bases []string
	for _, s := range list {
		bases = append(bases, "http://"+s.front.addr())
	}
	c, err := client.NewOf(bases, client.Options{Retry: r})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(c.Close)
	return c
}

// ask is a client of one server alone, shared by all who need one.
func (s *server) ask(r client.Retry) *client.Client { return s.asks.With(r) }

// patient is how the clients of the tests ask: until the round is over.
var patient = client.Retry{Budget: client.Unlimited, Base: 50 * time.Millisecond, Max: 500 * time.Millisecond}

// tail is the end of a program's log.
func (f *farm) tail(log string) string {
	text, err := os.ReadFile(filepath.Join(f.dir, log))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-3000):])
}

// dice is a source of random numbers of its own for every part of a round, so
// that goroutines do not share one.
func dice(seed uint64, parts ...uint64) *rand.Rand {
	n := uint64(1)
	for _, p := range parts {
		n = n*1_000_003 + p
	}
	return rand.New(rand.NewPCG(seed, n)) //nolint:gosec // faults, nothing to guess
}

func between(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Int64N(int64(to-from)+1))
}
