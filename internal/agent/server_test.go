//go:build unix

package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
)

// patience is far beyond what anything here takes; only a fault reaches it.
const patience = 60 * time.Second

// fakeServer speaks the server's side of the lease protocol to the agent
// under test, over real HTTP, and remembers everything that was said.
type fakeServer struct {
	t    *testing.T
	http *httptest.Server
	mux  *http.ServeMux

	mu      sync.Mutex
	changed chan struct{}
	timing  qgjob.Timing
	agents  map[qgjob.AgentID]int64
	queue   []qgjob.Offer
	leases  map[qgjob.LeaseID]*fakeLease
	order   []qgjob.LeaseID
	answers map[string]qgjob.ClaimResponse // by claim id
	blobs   map[qgjob.Sum][]byte
	parts   map[qgjob.Sum][]byte
	fetches map[qgjob.Sum]int
	calls   []string // "METHOD path status"
	told    []qgjob.RegisterRequest
	claims  []qgjob.ClaimRequest
	renews  []qgjob.RenewRequest
	drain   bool
	next    int
	logCap  int64
	// hook may answer a call itself; true means that it did. It runs without
	// the lock.
	hook func(w http.ResponseWriter, r *http.Request) bool
}

type fakeLease struct {
	offer     qgjob.Offer
	agent     qgjob.AgentID
	state     qgjob.JobState
	stale     bool
	cancel    bool
	log       []byte
	artifacts map[string]qgjob.ArtifactRequest
	results   []qgjob.CompleteRequest // every one that was offered
	accepted  int                     // of them, not counting repetitions
	digest    string
}

func newFakeServer(t *testing.T) *fakeServer {
	f := &fakeServer{
		t: t, changed: make(chan struct{}), agents: map[qgjob.AgentID]int64{}, leases: map[qgjob.LeaseID]*fakeLease{},
		answers: map[string]qgjob.ClaimResponse{}, blobs: map[qgjob.Sum][]byte{}, parts: map[qgjob.Sum][]byte{}, fetches: map[qgjob.Sum]int{},
		timing: qgjob.Timing{LeaseTTLMS: 3000, RenewMS: 50, OfferTTLMS: 1000, PollMS: 500}, logCap: 1 << 30,
	}
	mux := http.NewServeMux()
	f.mux = mux
	mux.HandleFunc("POST /v1/agents/{agent}/register", f.register)
	mux.HandleFunc("POST /v1/agents/{agent}/claim", f.claim)
	mux.HandleFunc("POST /v1/agents/{agent}/renew", f.renew)
	mux.HandleFunc("POST /v1/leases/{lease}/start", f.start)
	mux.HandleFunc("POST /v1/leases/{lease}/log", f.log)
	mux.HandleFunc("POST /v1/leases/{lease}/artifacts", f.artifact)
	mux.HandleFunc("POST /v1/leases/{lease}/complete", f.complete)
	mux.HandleFunc("GET /v1/blobs/{sum}/info", f.blobInfo)
	mux.HandleFunc("PATCH /v1/blobs/{sum}", f.patchBlob)
	mux.HandleFunc("GET /v1/blobs/{sum}", f.getBlob)
	f.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		hook := f.hook
		f.mu.Unlock()
		seen := &statusWriter{ResponseWriter: w, status: 200}
		if hook == nil || !hook(seen, r) {
			mux.ServeHTTP(seen, r)
		}
		f.did(fmt.Sprintf("%s %s %d", r.Method, r.URL.Path, seen.status))
	}))
	t.Cleanup(f.http.Close)
	return f
}

// tooLate is closed when only a fault can be the reason for the wait.
func tooLate() <-chan struct{} {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	context.AfterFunc(ctx, cancel)
	return ctx.Done()
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(code int) { s.status = code; s.ResponseWriter.WriteHeader(code) }

func (f *fakeServer) client() *client.Client {
	f.t.Helper()
	c, err := client.New(f.http.URL, client.Options{Token: "the-agents-secret"})
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func (f *fakeServer) did(call string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
	f.wake()
}

// wake tells everybody who waits for a condition. The lock is held.
func (f *fakeServer) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// change does something under the lock.
func (f *fakeServer) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	f.wake()
}

// until waits for a condition, which is looked at under the lock.
func (f *fakeServer) until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	late := tooLate()
	for {
		f.mu.Lock()
		ok, changed := cond(), f.changed
		f.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-late:
			f.mu.Lock()
			defer f.mu.Unlock()
			t.Fatalf("never came: %s; calls: %s", what, strings.Join(f.calls, "\n"))
		}
	}
}

// submit queues a job and answers its lease.
func (f *fakeServer) submit(job qgjob.Job, app *qgjob.App) *fakeLease {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	job.JobID, job.RunID, job.GroupID = qgjob.JobID(f.next), 1, 1
	if job.OrgID == "" {
		job.OrgID = "qualgent"
	}
	if job.AppVersionID == "" {
		job.AppVersionID = "v1"
	}
	if job.TimeoutS == 0 {
		job.TimeoutS = 60
	}
	id := qgjob.LeaseID(fmt.Sprintf("%032x", 0xabc000+f.next))
	l := &fakeLease{offer: qgjob.Offer{LeaseID: id, Number: 1, Job: job, App: app}, state: qgjob.Queued, artifacts: map[string]qgjob.ArtifactRequest{}}
	f.leases[id] = l
	f.order = append(f.order, id)
	f.queue = append(f.queue, l.offer)
	f.wake()
	return l
}

// intercept sets the hook.
func (f *fakeServer) intercept(hook func(w http.ResponseWriter, r *http.Request) bool) {
	f.change(func() { f.hook = hook })
}

// upload keeps a blob and answers its sum.
func (f *fakeServer) upload(content []byte) qgjob.Sum {
	sum := sha256.Sum256(content)
	s := qgjob.Sum(hex.EncodeToString(sum[:]))
	f.change(func() { f.blobs[s] = content })
	return s
}

// result waits for the end of an attempt.
func (f *fakeServer) result(t *testing.T, l *fakeLease) qgjob.CompleteRequest {
	t.Helper()
	f.until(t, "a result for "+l.offer.Job.TestPath, func() bool { return l.accepted > 0 })
	f.mu.Lock()
	defer f.mu.Unlock()
	return l.results[len(l.results)-1]
}

// logHas waits for a text in an attempt's log.
func (f *fakeServer) logHas(t *testing.T, l *fakeLease, text string) {
	t.Helper()
	f.until(t, "in the log: "+text, func() bool { return strings.Contains(string(l.log), text) })
}

// count counts calls that begin with a text.
func (f *fakeServer) count(prefix string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.countLocked(prefix)
}

func (f *fakeServer) countLocked(prefix string) int {
	n := 0
	for _, call := range f.calls {
		if strings.HasPrefix(call, prefix) {
			n++
		}
	}
	return n
}

func problem(w http.ResponseWriter, status int, e qgjob.Error) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"status": status, "kind": e.Kind, "code": e.Code, "detail": e.Message, "offset": e.Offset})
}

func stale(w http.ResponseWriter) {
	problem(w, 409, *qgjob.Conflict(qgjob.CodeStaleLease, "the lease is not current"))
}

func unavailable(w http.ResponseWriter) {
	problem(w, 503, qgjob.Error{Kind: qgjob.KindUnavailable, Message: "away"})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

func read[T any](f *fakeServer, r *http.Request) T {
	var v T
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil && r.Context().Err() == nil {
		f.t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	return v
}

func (f *fakeServer) register(w http.ResponseWriter, r *http.Request) {
	req := read[qgjob.RegisterRequest](f, r)
	f.mu.Lock()
	defer f.mu.Unlock()
	id := qgjob.AgentID(r.PathValue("agent"))
	if req.Incarnation < f.agents[id] {
		problem(w, 409, *qgjob.Conflict(qgjob.CodeAgentSuperseded, "a newer incarnation has registered"))
		return
	}
	if req.Incarnation > f.agents[id] {
		for _, l := range f.leases {
			if l.agent == id && !l.state.Terminal() {
				l.stale = true // the real server gives such jobs to others
			}
		}
	}
	f.agents[id] = req.Incarnation
	f.told = append(f.told, req)
	answer(w, qgjob.RegisterResponse{Agent: qgjob.Agent{AgentID: id, Incarnation: req.Incarnation}, Timing: f.timing})
}

// current says whether the call is of the agent's current incarnation.
func (f *fakeServer) current(w http.ResponseWriter, id qgjob.AgentID, incarnation int64) bool {
	known, ok := f.agents[id]
	switch {
	case !ok:
		problem(w, 409, *qgjob.Conflict(qgjob.CodeAgentUnknown, "register first"))
	case incarnation != known:
		problem(w, 409, *qgjob.Conflict(qgjob.CodeAgentSuperseded, "a newer incarnation has registered"))
	default:
		return true
	}
	return false
}

func (f *fakeServer) claim(w http.ResponseWriter, r *http.Request) {
	req := read[qgjob.ClaimRequest](f, r)
	id := qgjob.AgentID(r.PathValue("agent"))
	f.mu.Lock()
	if f.current(w, id, req.Incarnation) {
		f.claims = append(f.claims, req)
		f.mu.Unlock()
		answer(w, f.offerTo(r, id, req))
		return
	}
	f.mu.Unlock()
}

func (f *fakeServer) offerTo(r *http.Request, id qgjob.AgentID, req qgjob.ClaimRequest) qgjob.ClaimResponse {
	late, stop := context.WithTimeout(r.Context(), time.Duration(req.WaitMS)*time.Millisecond)
	defer stop()
	for {
		f.mu.Lock()
		if got, ok := f.answers[req.ClaimID]; ok {
			f.mu.Unlock()
			return got
		}
		if len(f.queue) > 0 || f.drain {
			got := f.give(id, req)
			f.mu.Unlock()
			return got
		}
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-late.Done():
			return qgjob.ClaimResponse{Offers: []qgjob.Offer{}}
		}
	}
}

func (f *fakeServer) give(id qgjob.AgentID, req qgjob.ClaimRequest) qgjob.ClaimResponse {
	got := qgjob.ClaimResponse{Offers: []qgjob.Offer{}, Drain: f.drain}
	if !f.drain && len(f.queue) > 0 {
		got.Offers = append(got.Offers, f.queue[0])
		l := f.leases[f.queue[0].LeaseID]
		l.agent, l.state = id, qgjob.Assigned
		f.queue = f.queue[1:]
	}
	f.answers[req.ClaimID] = got
	f.wake()
	return got
}

func (f *fakeServer) renew(w http.ResponseWriter, r *http.Request) {
	req := read[qgjob.RenewRequest](f, r)
	id := qgjob.AgentID(r.PathValue("agent"))
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.current(w, id, req.Incarnation) {
		return
	}
	f.renews = append(f.renews, req)
	res := qgjob.RenewResponse{Leases: map[qgjob.LeaseID]qgjob.LeaseAnswer{}, Drain: f.drain}
	for _, lease := range req.Leases {
		l := f.leases[lease]
		switch {
		case l == nil || l.stale || l.state.Terminal():
			res.Leases[lease] = qgjob.LeaseStale
		case l.cancel:
			res.Leases[lease] = qgjob.LeaseCancel
		default:
			res.Leases[lease] = qgjob.LeaseOK
		}
	}
	for lease, l := range f.leases {
		if l.agent == id && l.state == qgjob.Assigned && !slices.Contains(req.Leases, lease) {
			l.stale = true // an offer that the agent does not hold goes back
		}
	}
	answer(w, res)
}

// lease gives the lease of a call, or answers that it is stale.
func (f *fakeServer) lease(w http.ResponseWriter, r *http.Request) *fakeLease {
	l := f.leases[qgjob.LeaseID(r.PathValue("lease"))]
	if l == nil || l.stale {
		stale(w)
		return nil
	}
	return l
}

func (f *fakeServer) start(w http.ResponseWriter, r *http.Request) {
	req := read[qgjob.StartRequest](f, r)
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.lease(w, r)
	if l == nil || !f.current(w, req.AgentID, req.Incarnation) {
		return
	}
	if l.cancel {
		answer(w, qgjob.StartResponse{Answer: qgjob.LeaseCancel})
		return
	}
	l.state = qgjob.Running
	answer(w, qgjob.StartResponse{Answer: qgjob.LeaseOK})
}

func (f *fakeServer) log(w http.ResponseWriter, r *http.Request) {
	text, _ := io.ReadAll(r.Body)
	offset, err := strconv.ParseInt(r.URL.Query().Get("offset"), 10, 64)
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.lease(w, r)
	if l == nil || err != nil {
		return
	}
	have := int64(len(l.log))
	if offset > have || offset+int64(len(text)) > have && offset < have {
		problem(w, 409, qgjob.Error{Kind: qgjob.KindConflict, Code: qgjob.CodeOffset, Message: "append at the end", Offset: have})
		return
	}
	if offset == have {
		l.log = append(l.log, text...)
	} else if string(l.log[offset:offset+int64(len(text))]) != string(text) {
		f.t.Errorf("the log of %s was changed at %d", l.offer.Job.TestPath, offset)
	}
	full := int64(len(l.log)) > f.logCap
	answer(w, qgjob.LogResponse{Length: int64(len(l.log)), Full: full})
}

func (f *fakeServer) artifact(w http.ResponseWriter, r *http.Request) {
	req := read[qgjob.ArtifactRequest](f, r)
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.lease(w, r)
	if l == nil {
		return
	}
	if _, ok := f.blobs[req.SHA256]; !ok {
		problem(w, 404, *qgjob.NotFound("no blob %s", req.SHA256))
		return
	}
	l.artifacts[req.Name] = req
	answer(w, qgjob.Artifact{LeaseID: l.offer.LeaseID, Name: req.Name, SHA256: req.SHA256})
}

func (f *fakeServer) complete(w http.ResponseWriter, r *http.Request) {
	req := read[qgjob.CompleteRequest](f, r)
	f.mu.Lock()
	l := f.leases[qgjob.LeaseID(r.PathValue("lease"))]
	if l == nil || !f.current(w, req.AgentID, req.Incarnation) {
		f.mu.Unlock()
		return
	}
	l.results = append(l.results, req)
	switch {
	case l.digest == req.Digest && l.digest != "":
	case l.stale || l.digest != "":
		stale(w)
		f.wake()
		f.mu.Unlock()
		return
	default:
		l.digest = req.Digest
		l.accepted++
		l.state = qgjob.JobState(req.Outcome)
		if req.Outcome == qgjob.OutcomeInterrupted {
			l.state = qgjob.Cancelled // over, for this fake
		}
	}
	f.wake()
	res := qgjob.CompleteResponse{Status: l.state}
	f.mu.Unlock()
	if req.Next != nil {
		got := f.offerTo(r, req.AgentID, *req.Next)
		res.Next = &got
	}
	answer(w, res)
}

func (f *fakeServer) blobInfo(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := qgjob.Sum(r.PathValue("sum"))
	got, ok := f.blobs[sum]
	info := qgjob.BlobInfo{SHA256: sum, Complete: ok, Received: int64(len(got))}
	if !ok {
		info.Received = int64(len(f.parts[sum]))
	}
	answer(w, info)
}

func (f *fakeServer) patchBlob(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := qgjob.Sum(r.PathValue("sum"))
	offset, _ := strconv.Atoi(r.Header.Get("Upload-Offset"))
	total, _ := strconv.Atoi(r.Header.Get("Upload-Length"))
	if err != nil || offset != len(f.parts[sum]) {
		problem(w, 409, qgjob.Error{Kind: qgjob.KindConflict, Code: qgjob.CodeOffset, Message: "go on", Offset: int64(len(f.parts[sum]))})
		return
	}
	f.parts[sum] = append(f.parts[sum], text...)
	info := qgjob.BlobInfo{SHA256: sum, Received: int64(len(f.parts[sum]))}
	if len(f.parts[sum]) == total {
		got := sha256.Sum256(f.parts[sum])
		if hex.EncodeToString(got[:]) != string(sum) {
			f.t.Errorf("a blob does not have its sum")
		}
		f.blobs[sum], info.Complete = f.parts[sum], true
		delete(f.parts, sum)
	}
	answer(w, info)
}

func (f *fakeServer) getBlob(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	content, ok := f.blobs[qgjob.Sum(r.PathValue("sum"))]
	f.fetches[qgjob.Sum(r.PathValue("sum"))]++
	f.mu.Unlock()
	if !ok {
		problem(w, 404, *qgjob.NotFound("no such blob"))
		return
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(content)))
}
