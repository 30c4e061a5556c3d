//go:build unix

package faults_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
)

const endOfTime = math.MaxInt64

// recorder keeps a history of calls through three servers.
type recorder struct {
	f      *farm
	ctx    context.Context
	epoch  time.Time
	mu     sync.Mutex
	ops    []porcupine.Operation
	jobs   []qgjob.JobID
	leases map[qgjob.JobID][]qgjob.LeaseID
	lost   int // answers
}

func (h *recorder) now() int64 { return time.Since(h.epoch).Nanoseconds() }

// call records one call at a server of its own choice, tried once.
func (h *recorder) call(who int, d *rand.Rand, a ask, do func(*client.Client) (string, error)) answer {
	began := h.now()
	says, err := do(h.f.anyServer(d).ask(client.NoRetry))
	return h.record(who, a, began, says, err)
}

func (h *recorder) record(who int, a ask, began int64, says string, err error) answer {
	o := porcupine.Operation{ClientId: who, Input: a, Call: began, Return: h.now()}
	got := answer{says: says}
	switch kind := qgjob.KindOf(err); {
	case err == nil:
	case kind == qgjob.KindConflict:
		got = answer{refused: true}
	case kind == qgjob.KindUnavailable || h.ctx.Err() != nil:
		got, o.Return = answer{unknown: true}, endOfTime
	default:
		h.f.t.Errorf("%+v: %v", a, err)
		got, o.Return = answer{unknown: true}, endOfTime
	}
	o.Output = got
	h.mu.Lock()
	defer h.mu.Unlock()
	if got.unknown {
		h.lost++
		if a.what == "status" {
			return got // says nothing
		}
	}
	h.ops = append(h.ops, o)
	return got
}

func (h *recorder) start(who int, d *rand.Rand, id qgjob.JobID, l qgjob.LeaseID, as qgjob.AgentID) answer {
	return h.call(who, d, ask{what: "start", job: id, lease: l}, func(c *client.Client) (string, error) {
		res, err := c.Start(h.ctx, l, qgjob.StartRequest{AgentID: as, Incarnation: 1})
		return string(res.Answer), err
	})
}

func (h *recorder) complete(who int, d *rand.Rand, id qgjob.JobID, l qgjob.LeaseID, as qgjob.AgentID, o qgjob.Outcome) answer {
	a := ask{what: "complete", job: id, lease: l, outcome: o, digest: fmt.Sprintf("result %s by %d", o, who)}
	return h.call(who, d, a, func(c *client.Client) (string, error) {
		res, err := c.Complete(h.ctx, l, qgjob.CompleteRequest{AgentID: as, Incarnation: 1, Outcome: o, Digest: a.digest})
		return string(res.Status), err
	})
}

func (h *recorder) cancel(who int, d *rand.Rand, id qgjob.JobID) {
	h.call(who, d, ask{what: "cancel", job: id}, func(c *client.Client) (string, error) {
		_, err := c.CancelJob(h.ctx, id) // its state is read after the cancel, and may be a later one
		return "", err
	})
}

func (h *recorder) status(who int, d *rand.Rand, id qgjob.JobID) answer {
	return h.call(who, d, ask{what: "status", job: id}, func(c *client.Client) (string, error) {
		j, err := c.Job(h.ctx, id)
		return string(j.Status), err
	})
}

// submitter submits runs of five with keys: each ends known.
func (h *recorder) submitter(who int, d *rand.Rand, runs int) {
	for n := range runs {
		req := qgjob.SubmitRequest{OrgID: "acme"}
		for i := range 5 {
			req.Jobs = append(req.Jobs, qgjob.JobSpec{AppVersionID: qgjob.AppVersionID(fmt.Sprintf("v%d", n%2)), Target: "emulator", TestPath: fmt.Sprintf("t/%d-%d-%d", who, n, i)})
		}
		began := h.now()
		resp, err := h.f.client(patient).Submit(h.ctx, req, fmt.Sprintf("key-%d-%d", who, n))
		if err != nil {
			h.f.t.Errorf("submit: %v", err)
			return
		}
		for _, id := range resp.JobIDs {
			h.record(who, ask{what: "submit", job: id}, began, "", nil)
		}
		h.mu.Lock()
		h.jobs = append(h.jobs, resp.JobIDs...)
		h.mu.Unlock()
		wait(between(d, 0, 60*time.Millisecond))
	}
}

// worker is an agent that claims until nothing is left, and is not sure of
// itself: it repeats calls, gives jobs back, and changes its mind.
func (h *recorder) worker(who int, d *rand.Rand, jobs int) {
	me := qgjob.AgentID(fmt.Sprintf("w%d", who))
	if _, err := h.f.client(patient).Register(h.ctx, me, qgjob.RegisterRequest{Incarnation: 1, Target: "emulator", Runner: "exec"}); err != nil {
		h.f.t.Errorf("register %s: %v", me, err)
		return
	}
	for n, idle := 0, 0; idle < 20 && h.ctx.Err() == nil; n++ {
		began := h.now()
		res, err := h.f.client(patient).Claim(h.ctx, me, qgjob.ClaimRequest{Incarnation: 1, ClaimID: fmt.Sprintf("claim-%d-%d", who, n), WaitMS: 100})
		if err != nil {
			h.f.t.Errorf("claim of %s: %v", me, err)
			return
		}
		if len(res.Offers) == 0 {
			idle++
			continue
		}
		idle = 0
		for _, o := range res.Offers {
			h.record(who, ask{what: "claim", job: o.Job.JobID, lease: o.LeaseID}, began, "", nil)
			h.mu.Lock()
			h.leases[o.Job.JobID] = append(h.leases[o.Job.JobID], o.LeaseID)
			h.mu.Unlock()
			h.work(who, d, me, o)
		}
	}
}

func (h *recorder) work(who int, d *rand.Rand, me qgjob.AgentID, o qgjob.Offer) {
	id, l := o.Job.JobID, o.LeaseID
	if d.IntN(10) == 0 {
		h.complete(who, d, id, l, me, qgjob.OutcomePassed) // without a start
	}
	for h.start(who, d, id, l, me).unknown && h.ctx.Err() == nil {
		wait(20 * time.Millisecond)
	}
	wait(between(d, 0, 10*time.Millisecond))
	outcome := []qgjob.Outcome{qgjob.OutcomePassed, qgjob.OutcomePassed, qgjob.OutcomeFailed, qgjob.OutcomeInterrupted}[d.IntN(4)]
	for h.complete(who, d, id, l, me, outcome).unknown && h.ctx.Err() == nil {
		wait(20 * time.Millisecond)
	}
	if d.IntN(4) == 0 {
		h.complete(who, d, id, l, me, outcome)
		h.complete(who, d, id, l, me, qgjob.OutcomeFailed)
	}
}

// meddler reads, cancels, and uses other people's leases.
func (h *recorder) meddler(over context.Context, who int, d *rand.Rand) {
	for over.Err() == nil {
		wait(between(d, 0, 15*time.Millisecond))
		h.mu.Lock()
		var id qgjob.JobID
		var l qgjob.LeaseID
		if n := len(h.jobs); n > 0 {
			id = h.jobs[n-1-d.IntN(min(n, 30))] // of those that move now
			if of := h.leases[id]; len(of) > 0 {
				l = of[d.IntN(len(of))]
			}
		}
		h.mu.Unlock()
		switch roll := d.IntN(20); {
		case id == 0:
		case roll == 0:
			h.cancel(who, d, id)
		case roll < 4 && l != "":
			h.start(who, d, id, l, "w0")
		case roll < 6 && l != "":
			h.complete(who, d, id, l, "w0", qgjob.OutcomeFailed)
		default:
			h.status(who, d, id)
		}
	}
}

// TestHistoriesAreLinearSlow_postgres records what eight agents and four
// others see through three servers, while servers are killed, lines are cut
// and the database loses its connections and its life, and has porcupine look
// for one order of the calls that explains every answer. Calls without an
// answer may have been done or not.
func TestHistoriesAreLinearSlow_postgres(t *testing.T) {
	slow(t)
	s := seed(t)
	for again := range uint64(3) { // the faults may come when nobody asks for anything: such a history proves little
		worth := false
		t.Run(fmt.Sprint(s+again), func(t *testing.T) { worth = recordAndJudge(t, s+again) })
		if worth {
			return
		}
	}
	t.Error("three histories show too little to be worth a check")
}

// recordAndJudge reports whether the history was worth a check.
func recordAndJudge(t *testing.T, s uint64) bool {
	f := newFarm(t, shape{postgres: true, servers: 3, ttl: time.Hour, pace: time.Second}, newReport(t, "linearizable histories, three servers on PostgreSQL"))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	h := &recorder{f: f, ctx: ctx, epoch: time.Now(), leases: map[qgjob.JobID][]qgjob.LeaseID{}}
	const runs, submitters, workers, meddlers = 20, 3, 8, 4
	over, stop := context.WithCancel(ctx)
	var working, watching sync.WaitGroup
	for i := range submitters {
		working.Go(func() { h.submitter(100+i, dice(s, 20, uint64(i)), runs) }) //nolint:gosec // a small count
	}
	for i := range workers {
		working.Go(func() { h.worker(i, dice(s, 21, uint64(i)), runs) }) //nolint:gosec // a small count
	}
	for i := range meddlers {
		watching.Go(func() { h.meddler(over, 200+i, dice(s, 22, uint64(i))) }) //nolint:gosec // a small count
	}
	working.Go(func() {
		f.harm(s, 14, 4*time.Second, func(k fault) bool { return !strings.Contains(k.name, "agent") })
	})
	working.Wait()
	stop()
	watching.Wait()
	d := dice(s, 23)
	for _, id := range h.jobs { // the end of every job is part of the history
		for h.status(300, d, id).unknown && ctx.Err() == nil {
			wait(50 * time.Millisecond)
		}
	}
	return h.judge(t)
}

// judge has porcupine look at the history, and reports whether it shows every
// sort of call, answered, refused and without an answer.
func (h *recorder) judge(t *testing.T) (worth bool) {
	answered := map[string]int{}
	for _, o := range h.ops {
		if out := o.Output.(answer); out.refused {
			answered[o.Input.(ask).what+" refused"]++
		} else if !out.unknown {
			answered[o.Input.(ask).what]++
		}
	}
	t.Logf("%d calls about %d jobs, %d without an answer; answered: %v", len(h.ops), len(h.jobs), h.lost, answered)
	worth = h.lost > 0 && answered["claim"] >= len(h.jobs) && answered["complete refused"] > 0 && answered["start refused"] > 0 && answered["cancel"] > 0
	began := time.Now()
	model := linear.ToModel()
	for _, part := range linear.Partition(h.ops) {
		slices.SortFunc(part, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
		switch porcupine.CheckOperationsTimeout(model, part, time.Minute) {
		case porcupine.Illegal:
			t.Errorf("no order explains the history of %s:\n%s", part[0].Input.(ask).job, describe(part))
		case porcupine.Unknown:
			t.Errorf("no verdict within a minute on %d calls about %s", len(part), part[0].Input.(ask).job)
		case porcupine.Ok:
		}
	}
	t.Logf("judged in %v; worth a check: %v", time.Since(began).Round(time.Millisecond), worth)
	return worth
}
