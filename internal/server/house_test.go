package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/blob"
	"github.com/qualgent/qgjob/internal/store"
)

// house is a whole server: the real store, real blobs, real HTTP on loopback.
type house struct {
	*testing.T
	store   *store.Store
	blobs   *blob.Folder
	blobDir string
	srv     *Server
	url     string
	stop    func() // ends Run, and with it every stream
}

func newHouse(t *testing.T) *house { return newHouseWith(t, store.Options{}) }

func newHouseWith(t *testing.T, opts store.Options) *house {
	t.Helper()
	h := &house{T: t, blobDir: t.TempDir()}
	hub := NewHub()
	opts.Notify = hub.Notify
	var err error
	if h.store, err = store.Open(t.Context(), t.TempDir(), opts); err != nil {
		t.Fatal(err)
	}
	if h.blobs, err = blob.OpenFolder(h.blobDir, blob.Limits{MaxSize: 8 << 20}); err != nil {
		t.Fatal(err)
	}
	if h.srv, err = New(Config{Store: h.store, Hub: hub, Blobs: h.blobs, Version: "test"}); err != nil {
		t.Fatal(err)
	}
	listening := httptest.NewServer(h.srv.Handler())
	h.url = listening.URL
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.srv.Run(ctx) }()
	h.stop = cancel
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		listening.Close()
		if err := h.store.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
		_ = h.blobs.Close()
	})
	return h
}

// send asks the server; header holds "Name: value" lines.
func (h *house) send(method, path, body string, header ...string) *http.Response {
	h.Helper()
	res, err := http.DefaultTransport.RoundTrip(h.request(h.Context(), method, path, body, header...))
	if err != nil {
		h.Fatalf("%s %s: %v", method, path, err)
	}
	return res
}

func (h *house) request(ctx context.Context, method, path, body string, header ...string) *http.Request {
	h.Helper()
	req, err := http.NewRequestWithContext(ctx, method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	return req
}

// get gives status and body of a GET.
func (h *house) get(path string, header ...string) (int, string) {
	h.Helper()
	return h.read(h.send(http.MethodGet, path, "", header...))
}

func (h *house) read(res *http.Response) (int, string) {
	h.Helper()
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		h.Fatalf("read %s: %v", res.Request.URL, err)
	}
	return res.StatusCode, string(body)
}

func (h *house) submit(version string, retries int, paths ...string) qgjob.SubmitResponse {
	h.Helper()
	req := qgjob.SubmitRequest{OrgID: "acme"}
	for _, p := range paths {
		req.Jobs = append(req.Jobs, qgjob.JobSpec{AppVersionID: qgjob.AppVersionID(version), TestPath: p, Target: qgjob.TargetBrowser, Retries: retries})
	}
	resp, err := h.store.Submit(h.Context(), "", req)
	if err != nil {
		h.Fatal(err)
	}
	return resp
}

// worker is an agent that does by hand what a real one does by itself.
type worker struct {
	*house
	id     qgjob.AgentID
	claims int
}

func (h *house) agent(id string) *worker {
	h.Helper()
	_, err := h.store.Register(h.Context(), qgjob.AgentID(id), qgjob.RegisterRequest{Incarnation: 1, Target: qgjob.TargetBrowser, Runner: "exec"})
	if err != nil {
		h.Fatal(err)
	}
	return &worker{house: h, id: qgjob.AgentID(id)}
}

func (w *worker) claim() qgjob.Offer {
	w.Helper()
	w.claims++
	resp, err := w.store.Claim(w.Context(), w.id, qgjob.ClaimRequest{Incarnation: 1, ClaimID: fmt.Sprintf("claim-%s-%d", w.id, w.claims)})
	if err != nil || len(resp.Offers) != 1 {
		w.Fatalf("claim: %d offers, %v", len(resp.Offers), err)
	}
	return resp.Offers[0]
}

func (w *worker) start() qgjob.Offer {
	w.Helper()
	o := w.claim()
	if _, err := w.store.Start(w.Context(), o.LeaseID, qgjob.StartRequest{AgentID: w.id, Incarnation: 1}); err != nil {
		w.Fatal(err)
	}
	return o
}

func (w *worker) complete(o qgjob.Offer, outcome qgjob.Outcome, more ...func(*qgjob.CompleteRequest)) {
	w.Helper()
	req := qgjob.CompleteRequest{AgentID: w.id, Incarnation: 1, Outcome: outcome, Digest: "digest-of-" + string(o.LeaseID)}
	for _, f := range more {
		f(&req)
	}
	if _, err := w.store.Complete(w.Context(), o.LeaseID, req); err != nil {
		w.Fatal(err)
	}
}

func (h *house) appendLog(o qgjob.Offer, offset int, data string) {
	h.Helper()
	if _, err := h.store.AppendLog(h.Context(), o.LeaseID, int64(offset), []byte(data)); err != nil {
		h.Fatal(err)
	}
}

// sseEvent is one server-sent event as a client sees it.
type sseEvent struct{ id, name, data string }

// follower reads a stream of server-sent events.
type follower struct {
	*house
	res    *http.Response
	lines  *bufio.Scanner
	cancel context.CancelFunc
	beats  int
}

func (h *house) follow(path string, header ...string) *follower {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), time.Minute) // a stream that says nothing must not hold up the tests
	res, err := http.DefaultTransport.RoundTrip(h.request(ctx, http.MethodGet, path, "", header...))
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { cancel(); _ = res.Body.Close() })
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 8<<20)
	return &follower{house: h, res: res, lines: lines, cancel: cancel}
}

// next gives the next event, or false at the stream's end.
func (f *follower) next() (e sseEvent, ok bool) {
	for f.lines.Scan() {
		line := f.lines.Text()
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "" && e != (sseEvent{}):
			return e, true
		case line == ": beat":
			f.beats++
		case name == "id":
			e.id = value
		case name == "event":
			e.name = value
		case name == "data":
			e.data = value
		}
	}
	return sseEvent{}, false
}

func (f *follower) must() sseEvent {
	f.Helper()
	e, ok := f.next()
	if !ok {
		f.Fatalf("the stream of %s ended: %v", f.res.Request.URL.Path, f.lines.Err())
	}
	return e
}

// rest gives the events up to the stream's end.
func (f *follower) rest() (all []sseEvent) {
	for e, ok := f.next(); ok; e, ok = f.next() {
		all = append(all, e)
	}
	return all
}

func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("decode %.200q: %v", text, err)
	}
	return v
}
