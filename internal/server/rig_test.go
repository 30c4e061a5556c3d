package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/blob"
	"github.com/qualgent/qgjob/internal/store"
)

// rig is a whole server, real store and real HTTP, over connections in memory:
// so it runs in a synctest bubble as well as outside of one.
type rig struct {
	*Server
	t      *testing.T
	client *http.Client
	stop   func() // shuts the server down and waits; the cleanup does, too
	logs   *lockedBuffer
	dir    string
}

// lockedBuffer takes the log of a server.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String gives all of it.
func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// memory is a listener whose connections are pipes.
type memory struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newMemory() *memory { return &memory{conns: make(chan net.Conn), done: make(chan struct{})} }

// Accept waits for a dial.
func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

// Close refuses further dials.
func (m *memory) Close() error { m.once.Do(func() { close(m.done) }); return nil }

// Addr is where it would listen.
func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case m.conns <- there:
		return here, nil
	case <-m.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type rigOptions struct {
	ttl   time.Duration
	token string
	loops bool          // keep the background loops going
	keep  time.Duration // of history
	dir   string        // of an earlier rig
	wrap  func(http.Handler) http.Handler
	tells Telling
}

func newRig(t *testing.T, o rigOptions) *rig {
	t.Helper()
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	hub, logs := NewHub(), &lockedBuffer{}
	st, err := store.Open(t.Context(), o.dir, store.Options{LeaseTTL: o.ttl, Notify: hub.Notify})
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := blob.OpenFolder(o.dir+"/blobs", blob.Limits{MaxSize: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Store: st, Hub: hub, Blobs: blobs, Token: o.token, Telling: o.tells, Version: "test", KeepHistory: o.keep, Log: slog.New(slog.NewTextHandler(logs, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if o.wrap != nil {
		s.handler = o.wrap(s.handler)
	}
	ln := newMemory()
	ctx, cancel := context.WithCancel(context.Background())
	var going sync.WaitGroup
	going.Go(func() {
		if err := s.Serve(ctx, ln, nil); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	if o.loops {
		going.Go(func() { _ = s.Run(ctx) })
	}
	r := &rig{Server: s, t: t, logs: logs, dir: o.dir, client: &http.Client{Transport: &http.Transport{DialContext: ln.dial}}}
	r.stop = sync.OnceFunc(func() {
		cancel()
		r.client.CloseIdleConnections()
		going.Wait()
		ln.Close()
		if err := st.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
		blobs.Close()
	})
	t.Cleanup(r.stop)
	return r
}

// reply is an answer, read to its end.
type reply struct {
	Status int
	Header http.Header
	Body   []byte
}

func (p reply) String() string { return fmt.Sprintf("%d %s", p.Status, p.Body) }

// send sends a request; body is raw when it is a string, else JSON, nil none.
func (r *rig) send(ctx context.Context, method, path string, body any, header ...string) (reply, error) {
	var text io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		text = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return reply{}, err
		}
		text = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://memory"+path, text)
	if err != nil {
		return reply{}, err
	}
	if text != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := r.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, raw}, err
}

// ask is send for tests that expect an answer.
func (r *rig) ask(method, path string, body any, header ...string) reply {
	r.t.Helper()
	p, err := r.send(r.t.Context(), method, path, body, header...)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	return p
}

// must sends, wants a status and decodes the answer.
func must[T any](r *rig, status int, method, path string, body any, header ...string) T {
	r.t.Helper()
	p := r.ask(method, path, body, header...)
	if p.Status != status {
		r.t.Fatalf("%s %s: %s; want %d", method, path, p, status)
	}
	var v T
	if err := json.Unmarshal(p.Body, &v); err != nil {
		r.t.Fatalf("%s %s: %v in %s", method, path, err, p.Body)
	}
	return v
}

// refuse sends and wants a problem of a status, kind and field.
func (r *rig) refuse(status int, kind qgjob.Kind, field, method, path string, body any, header ...string) problem {
	r.t.Helper()
	p := must[problem](r, status, method, path, body, header...)
	if p.Kind != kind || p.Field != field || p.Status != status || p.Detail == "" || p.Type != "about:blank" || p.Title != http.StatusText(status) {
		r.t.Fatalf("%s %s: problem %+v; want kind %s, field %q", method, path, p, kind, field)
	}
	return p
}

// upload stores bytes as a blob, past HTTP.
func (r *rig) upload(text string) qgjob.Sum {
	r.t.Helper()
	sum, _, err := r.Blobs.Put(strings.NewReader(text))
	if err != nil {
		r.t.Fatal(err)
	}
	return sum
}

func spec(version, path string) qgjob.JobSpec {
	return qgjob.JobSpec{AppVersionID: qgjob.AppVersionID(version), TestPath: path, Target: qgjob.TargetEmulator}
}

// submit submits jobs of org acme.
func (r *rig) submit(jobs ...qgjob.JobSpec) qgjob.SubmitResponse {
	r.t.Helper()
	return must[qgjob.SubmitResponse](r, http.StatusCreated, "POST", "/v1/runs", qgjob.SubmitRequest{OrgID: "acme", Jobs: jobs})
}

// register announces an emulator agent in its first incarnation.
func (r *rig) register(id string) {
	r.t.Helper()
	must[qgjob.RegisterResponse](r, 200, "POST", "/v1/agents/"+id+"/register", qgjob.RegisterRequest{Incarnation: 1, Target: qgjob.TargetEmulator, Runner: "exec"})
}

var claimNumber = struct {
	sync.Mutex
	n int
}{}

// claimOf is a fresh claim that waits for as long as wait.
func claimOf(wait time.Duration) qgjob.ClaimRequest {
	claimNumber.Lock()
	defer claimNumber.Unlock()
	claimNumber.n++
	return qgjob.ClaimRequest{Incarnation: 1, ClaimID: fmt.Sprintf("claim-%06d", claimNumber.n), WaitMS: wait.Milliseconds()}
}

// take claims and wants exactly one offer.
func (r *rig) take(agent string) qgjob.Offer {
	r.t.Helper()
	resp := must[qgjob.ClaimResponse](r, 200, "POST", "/v1/agents/"+agent+"/claim", claimOf(0))
	if len(resp.Offers) != 1 {
		r.t.Fatalf("agent %s got %d offers; want 1", agent, len(resp.Offers))
	}
	return resp.Offers[0]
}

func (r *rig) start(agent string, id qgjob.LeaseID) {
	r.t.Helper()
	got := must[qgjob.StartResponse](r, 200, "POST", "/v1/leases/"+string(id)+"/start", qgjob.StartRequest{AgentID: qgjob.AgentID(agent), Incarnation: 1})
	if got.Answer != qgjob.LeaseOK {
		r.t.Fatalf("start of %s: %s; want ok", id, got.Answer)
	}
}

func result(agent string, outcome qgjob.Outcome) qgjob.CompleteRequest {
	return qgjob.CompleteRequest{AgentID: qgjob.AgentID(agent), Incarnation: 1, Outcome: outcome, Digest: "digest-" + string(outcome)}
}

func (r *rig) complete(agent string, id qgjob.LeaseID, outcome qgjob.Outcome) qgjob.CompleteResponse {
	r.t.Helper()
	return must[qgjob.CompleteResponse](r, 200, "POST", "/v1/leases/"+string(id)+"/complete", result(agent, outcome))
}

func (r *rig) job(id qgjob.JobID) qgjob.Job {
	r.t.Helper()
	return must[qgjob.Job](r, 200, "GET", "/v1/jobs/"+id.String(), nil)
}
