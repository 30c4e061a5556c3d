package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store"
)

// tb is what testing.T and rapid.T have in common.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// world is a store under test with what a test needs at hand. Every step that
// changes something is followed by a check of the whole database.
type world struct {
	tb
	t        testing.TB // for opening again
	ctx      context.Context
	db       Database
	opts     store.Options
	s        *store.Store
	others   []*store.Store // whose turn it is not
	claims   int
	started  map[qgjob.AgentID]int64 // incarnations
	mu       sync.Mutex
	notes    []store.Note
	unwanted bool // checks after each step are switched off
}

func open(t testing.TB, db Database, opts store.Options) *world {
	t.Helper()
	w := &world{tb: t, t: t, ctx: context.Background(), db: db, started: map[qgjob.AgentID]int64{}}
	opts.Notify = func(n store.Note) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.notes = append(w.notes, n)
	}
	w.opts = opts
	w.s = db.Open(t, opts)
	for len(w.others) < db.Servers-1 {
		w.others = append(w.others, db.Open(t, opts))
	}
	t.Cleanup(func() {
		_ = w.s.Close()
		for _, s := range w.others {
			_ = s.Close()
		}
	})
	return w
}

// next gives the turn to the next server.
func (w *world) next() {
	if len(w.others) > 0 {
		w.others = append(w.others, w.s)
		w.s, w.others = w.others[0], w.others[1:]
	}
}

// reopen is a restart of the server.
func (w *world) reopen() {
	w.Helper()
	w.ok(w.s.Close())
	w.s = w.db.Open(w.t, w.opts)
	w.check()
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatalf("unexpected error: %v", err)
	}
}

// refused wants an error of a kind and a code, and words in its message.
func (w *world) refused(err error, kind qgjob.Kind, code string, words ...string) {
	w.Helper()
	if err == nil {
		w.Fatalf("no error; wanted %s %s %q", kind, code, words)
	}
	if qgjob.KindOf(err) != kind || qgjob.CodeOf(err) != code {
		w.Fatalf("error is %s %q: %v; wanted %s %q", qgjob.KindOf(err), qgjob.CodeOf(err), err, kind, code)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			w.Fatalf("error %q does not say %q", err, word)
		}
	}
	w.check()
}

// equal compares what is written the same way.
func (w *world) equal(what string, got, want any) {
	w.Helper()
	if g, v := fmt.Sprint(got), fmt.Sprint(want); g != v {
		w.Fatalf("%s is %s; wanted %s", what, g, v)
	}
}

func spec(version, path string) qgjob.JobSpec {
	return qgjob.JobSpec{AppVersionID: qgjob.AppVersionID(version), TestPath: path, Target: qgjob.TargetEmulator}
}

// jobs gives n specs of one version.
func jobs(version string, n int) []qgjob.JobSpec {
	list := make([]qgjob.JobSpec, n)
	for i := range list {
		list[i] = spec(version, fmt.Sprintf("tests/t%d.spec.js", i+1))
	}
	return list
}

// submit submits a run of org acme.
func (w *world) submit(specs ...qgjob.JobSpec) qgjob.SubmitResponse {
	w.Helper()
	return w.submitFor("acme", specs...)
}

func (w *world) submitFor(org qgjob.OrgID, specs ...qgjob.JobSpec) qgjob.SubmitResponse {
	w.Helper()
	resp, err := w.s.Submit(w.ctx, "", qgjob.SubmitRequest{OrgID: org, Jobs: specs})
	w.ok(err)
	w.check()
	return resp
}

// register announces agents of target emulator in a new incarnation.
func (w *world) register(ids ...qgjob.AgentID) {
	w.Helper()
	for _, id := range ids {
		w.registerAs(id, qgjob.RegisterRequest{Target: qgjob.TargetEmulator})
	}
}

func (w *world) registerAs(id qgjob.AgentID, req qgjob.RegisterRequest) qgjob.Agent {
	w.Helper()
	w.started[id]++
	req.Incarnation, req.Runner = w.started[id], "exec"
	resp, err := w.s.Register(w.ctx, id, req)
	w.ok(err)
	w.check()
	return resp.Agent
}

func (w *world) claimRequest(id qgjob.AgentID, limit int) qgjob.ClaimRequest {
	w.claims++
	return qgjob.ClaimRequest{Incarnation: w.started[id], ClaimID: fmt.Sprintf("claim-%06d", w.claims), Max: limit}
}

// claim claims up to limit jobs.
func (w *world) claim(id qgjob.AgentID, limit int) []qgjob.Offer {
	w.Helper()
	resp, err := w.s.Claim(w.ctx, id, w.claimRequest(id, limit))
	w.ok(err)
	w.check()
	return resp.Offers
}

// take claims one job, which must be there.
func (w *world) take(id qgjob.AgentID) qgjob.Offer {
	w.Helper()
	offers := w.claim(id, 1)
	if len(offers) != 1 {
		w.Fatalf("agent %s got %d offers; wanted 1", id, len(offers))
	}
	return offers[0]
}

// idle wants an agent to be offered nothing.
func (w *world) idle(id qgjob.AgentID) {
	w.Helper()
	if offers := w.claim(id, 1); len(offers) != 0 {
		w.Fatalf("agent %s was offered %s; wanted nothing", id, offers[0].Job.JobID)
	}
}

func (w *world) start(o qgjob.Offer) {
	w.Helper()
	answer, err := w.s.Start(w.ctx, o.LeaseID, w.startRequest(o))
	w.ok(err)
	w.equal("answer to start", answer, qgjob.LeaseOK)
	w.check()
}

func (w *world) startRequest(o qgjob.Offer) qgjob.StartRequest {
	return qgjob.StartRequest{AgentID: o.Job.AgentID, Incarnation: w.started[o.Job.AgentID]}
}

// run claims and starts one job.
func (w *world) run(id qgjob.AgentID) qgjob.Offer {
	w.Helper()
	o := w.take(id)
	w.start(o)
	return o
}

func (w *world) result(o qgjob.Offer, outcome qgjob.Outcome) qgjob.CompleteRequest {
	return qgjob.CompleteRequest{AgentID: o.Job.AgentID, Incarnation: w.started[o.Job.AgentID], Outcome: outcome, Digest: "digest-" + string(outcome)}
}

// complete ends an attempt and gives what became of the job.
func (w *world) complete(o qgjob.Offer, outcome qgjob.Outcome) qgjob.JobState {
	w.Helper()
	resp, err := w.s.Complete(w.ctx, o.LeaseID, w.result(o, outcome))
	w.ok(err)
	w.check()
	return resp.Status
}

// end runs a job from its claim to its end.
func (w *world) end(id qgjob.AgentID, outcome qgjob.Outcome) qgjob.JobID {
	w.Helper()
	o := w.run(id)
	w.complete(o, outcome)
	return o.Job.JobID
}

func (w *world) renew(id qgjob.AgentID, leases ...qgjob.LeaseID) qgjob.RenewResponse {
	w.Helper()
	resp, err := w.s.Renew(w.ctx, id, qgjob.RenewRequest{Incarnation: w.started[id], Leases: leases})
	w.ok(err)
	w.check()
	return resp
}

// held finds a lease as a sweep does.
func (w *world) held(id qgjob.LeaseID) store.HeldLease {
	w.Helper()
	list, err := w.s.Held(w.ctx)
	w.ok(err)
	for _, h := range list {
		if h.LeaseID == id {
			return h
		}
	}
	w.Fatalf("lease %s is not held", id)
	return store.HeldLease{}
}

// expire ends a lease as the sweep does after its time.
func (w *world) expire(id qgjob.LeaseID) {
	w.Helper()
	done, err := w.s.Expire(w.ctx, w.held(id).Held)
	w.ok(err)
	w.equal("expired", done, true)
	w.check()
}

func (w *world) job(id qgjob.JobID) qgjob.Job {
	w.Helper()
	j, err := w.s.Job(w.ctx, id)
	w.ok(err)
	return j
}

// state wants a job in a state, for a reason.
func (w *world) state(id qgjob.JobID, want qgjob.JobState, why qgjob.Reason) qgjob.Job {
	w.Helper()
	j := w.job(id)
	if j.Status != want || j.Reason != why {
		w.Fatalf("%s is %s (%s); wanted %s (%s)", id, j.Status, j.Reason, want, why)
	}
	return j
}

func (w *world) attempts(id qgjob.JobID) []qgjob.Attempt {
	w.Helper()
	list, err := w.s.Attempts(w.ctx, id)
	w.ok(err)
	return list
}

// wake passes time and lets go what waited for its back-off.
func (w *world) wake(after time.Duration) int {
	w.Helper()
	w.pass(after)
	n, err := w.s.WakeDelayed(w.ctx)
	w.ok(err)
	w.check()
	return n
}

func (w *world) runOf(id qgjob.RunID) qgjob.Run {
	w.Helper()
	r, err := w.s.Run(w.ctx, id)
	w.ok(err)
	return r
}

// asError gives the *qgjob.Error of an error.
func (w *world) asError(err error) *qgjob.Error {
	w.Helper()
	e, ok := errors.AsType[*qgjob.Error](err)
	if !ok {
		w.Fatalf("%v is no *qgjob.Error", err)
	}
	return e
}

// words writes values with a blank between any two.
func words(values ...any) string { return strings.TrimSuffix(fmt.Sprintln(values...), "\n") }
