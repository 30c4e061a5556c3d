//go:build unix

package faults_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
)

const (
	runJobs    = 10              // of each run
	cliJobs    = 3               // of the run that the command line waits for
	roundLimit = 3 * time.Minute // everything must have ended by then
)

// round is one round's work: what was promised, and what was seen of it.
type round struct {
	f    *farm
	t    *testing.T
	seed uint64
	org  qgjob.OrgID
	jobs int
	ctx  context.Context

	mu        sync.Mutex
	runs      map[string]qgjob.SubmitResponse // by key: acknowledged submits
	requests  map[string]qgjob.SubmitRequest
	cancels   map[qgjob.JobID]time.Time // acknowledged cancels
	asked     map[qgjob.JobID]bool      // cancels sent, whatever came back
	seen      map[qgjob.JobID]qgjob.JobState
	finished  map[qgjob.JobID]int // job.finished events
	ended     map[qgjob.RunID]int // run.finished events
	cliExit   int
	healed    time.Time // when the last fault was over
	following sync.WaitGroup
}

// round plays one round and checks it.
func (f *farm) round(t *testing.T, seed uint64, n, jobs int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), roundLimit)
	defer cancel()
	r := &round{f: f, t: t, seed: seed + uint64(n)*7919, org: qgjob.OrgID(fmt.Sprintf("round-%d", n)), jobs: jobs, ctx: ctx, //nolint:gosec // a small count
		runs: map[string]qgjob.SubmitResponse{}, requests: map[string]qgjob.SubmitRequest{}, cancels: map[qgjob.JobID]time.Time{}, asked: map[qgjob.JobID]bool{},
		seen: map[qgjob.JobID]qgjob.JobState{}, finished: map[qgjob.JobID]int{}, ended: map[qgjob.RunID]int{}}
	over, stop := context.WithCancel(ctx)
	var watching, working sync.WaitGroup
	watching.Go(func() { r.observe(over) })
	watching.Go(func() { r.intrude(over) })
	for half := range 2 {
		working.Go(func() { r.submit(half) })
	}
	working.Go(r.cancelSome)
	working.Go(r.commandLine)
	working.Go(func() {
		defer func() { r.healed = time.Now() }()
		f.harm(r.seed, 4+dice(r.seed, 3).IntN(4), 2500*time.Millisecond, func(fault) bool { return true })
	})
	if f.besides != nil {
		working.Go(func() { f.besides(f, dice(r.seed, 10)) })
	}
	working.Wait()
	r.awaitEnd()
	r.f.report.took(settledIn, time.Since(r.healed))
	r.following.Wait()
	stop()
	watching.Wait()
	r.check()
	f.report.mu.Lock()
	f.report.rounds++
	f.report.mu.Unlock()
	if t.Failed() {
		t.Fatalf("round %d failed, QGJOB_SEED=%d\n%s%s", n, seed, f.report, f.health())
	}
}

// request is run n of the round.
func (r *round) request(n int) qgjob.SubmitRequest {
	d := dice(r.seed, 4, uint64(n)) //nolint:gosec // a small count
	req := qgjob.SubmitRequest{OrgID: r.org}
	for i := range runJobs {
		kind, retries := "pass", 0
		switch roll := d.IntN(100); {
		case roll < 12:
			kind = "fail"
		case roll < 14:
			kind = "broken"
		case roll < 18:
			kind, retries = "flaky", 1
		}
		req.Jobs = append(req.Jobs, qgjob.JobSpec{AppVersionID: qgjob.AppVersionID(fmt.Sprintf("v%d", n%3)), Target: "emulator", Retries: retries,
			TestPath: fmt.Sprintf("tests/%s-%d-%d", kind, 10+d.IntN(250), n*runJobs+i)})
	}
	return req
}

// submit sends every second run. Now and then two clients send the same one
// at once, as a CI system that repeats a step does.
func (r *round) submit(half int) {
	c := r.f.client(patient)
	d := dice(r.seed, 5, uint64(half)) //nolint:gosec // 0 or 1
	for n := half; n < (r.jobs-cliJobs+runJobs-1)/runJobs; n += 2 {
		key, req := fmt.Sprintf("%s-%d", r.org, n), r.request(n)
		var twin sync.WaitGroup
		var second qgjob.SubmitResponse
		if d.IntN(3) == 0 {
			twin.Go(func() {
				second, _ = r.f.anyServer(dice(r.seed, 6, uint64(n))).ask(patient).Submit(r.ctx, req, key)
			}) //nolint:gosec // a small count
		}
		resp, err := c.Submit(r.ctx, req, key)
		twin.Wait()
		if err != nil {
			r.t.Errorf("submit %s: %v", key, err)
			return
		}
		if second.RunID != 0 && (second.RunID != resp.RunID || fmt.Sprint(second.JobIDs) != fmt.Sprint(resp.JobIDs)) {
			r.t.Errorf("I11: one key gave %v and %v", resp, second)
		}
		r.mu.Lock()
		r.runs[key], r.requests[key] = resp, req
		r.mu.Unlock()
		r.f.report.count(accepted, len(resp.JobIDs))
		r.following.Go(func() { r.follow(resp.RunID) })
		wait(between(d, 0, 400*time.Millisecond))
	}
}

// follow counts what the event stream of a run tells, through whichever
// server answers.
func (r *round) follow(id qgjob.RunID) {
	for e, err := range r.f.client(patient).RunEvents(r.ctx, id, 0) {
		if err != nil {
			r.t.Errorf("I10: the events of %s end with %v", id, err)
			return
		}
		r.mu.Lock()
		switch e.Kind {
		case qgjob.EventJobFinished:
			r.finished[*e.JobID]++
		case qgjob.EventRunFinished:
			r.ended[id]++
		}
		r.mu.Unlock()
	}
}

// cancelSome cancels a few jobs at random moments.
func (r *round) cancelSome() {
	c, d := r.f.client(patient), dice(r.seed, 7)
	for range 4 {
		wait(between(d, 100*time.Millisecond, 900*time.Millisecond))
		r.mu.Lock()
		var ids []qgjob.JobID
		for n := range r.jobs { // in the order of keys: the same seed cancels the same jobs
			ids = append(ids, r.runs[fmt.Sprintf("%s-%d", r.org, n)].JobIDs...)
		}
		r.mu.Unlock()
		if len(ids) == 0 {
			continue
		}
		id := ids[d.IntN(len(ids))]
		r.mu.Lock()
		r.asked[id] = true
		r.mu.Unlock()
		j, err := c.CancelJob(r.ctx, id)
		if err == nil && !(j.Status == qgjob.Cancelled || j.Status == qgjob.Cancelling) {
			r.t.Errorf("I5: cancel of %s answered %s", id, j.Status)
		}
		if err == nil {
			r.mu.Lock()
			r.cancels[id] = time.Now()
			r.mu.Unlock()
		}
	}
}

// commandLine is a CI job: it submits, waits, and leaves with a verdict.
func (r *round) commandLine() {
	args := []string{"submit", "--org-id=" + string(r.org), "--app-version-id=cli", "--target=emulator", "--wait", "--retry-for=2m"}
	for _, s := range r.f.servers {
		args = append(args, "--server=http://"+s.front.addr())
	}
	for n := range cliJobs {
		path := fmt.Sprintf("tests/pass-50-cli%d", n)
		r.f.write(filepath.Join(r.f.dir, path), "a test")
		args = append(args, "--test="+path)
	}
	log := fmt.Sprintf("cli-%s.log", r.org)
	p, err := launch(r.f.dir, log, args...)
	if err != nil {
		r.t.Error(err)
		return
	}
	select {
	case <-p.exited:
		r.cliExit = p.cmd.ProcessState.ExitCode()
		_ = os.Remove(filepath.Join(r.f.dir, log+".ok"))
	case <-r.ctx.Done():
		p.signal(9)
		r.t.Errorf("the command line was still waiting:\n%s", r.f.tail(log))
	}
	if r.cliExit != 0 && r.cliExit != 3 {
		r.t.Errorf("the command line left with %d over tests that pass:\n%s", r.cliExit, r.f.tail(log))
	}
	r.f.report.count(accepted, cliJobs)
	r.f.report.count(cliRuns, 1)
}

// observe reads from every server again and again: what has ended once must
// be seen so by everybody for ever.
func (r *round) observe(over context.Context) {
	d := dice(r.seed, 8)
	for over.Err() == nil {
		wait(between(d, 50*time.Millisecond, 200*time.Millisecond))
		jobs, _, err := r.f.anyServer(d).ask(client.NoRetry).AllJobs(over, qgjob.JobFilter{OrgID: r.org}, 100_000)
		if err != nil {
			continue
		}
		r.mu.Lock()
		for _, j := range jobs {
			r.sawLocked(j)
		}
		r.mu.Unlock()
	}
}

// sawLocked is I2: a terminal state is never left.
func (r *round) sawLocked(j qgjob.Job) {
	was := r.seen[j.JobID]
	if was.Terminal() && was != j.Status {
		r.f.report.count(endedTwice, 1)
		r.t.Errorf("I2: %s was %s and is %s", j.JobID, was, j.Status)
	}
	r.seen[j.JobID] = j.Status
}

// intrude offers completions under leases that are not current any more.
func (r *round) intrude(over context.Context) {
	c, d := r.f.client(client.NoRetry), dice(r.seed, 9)
	for over.Err() == nil {
		wait(between(d, 100*time.Millisecond, 400*time.Millisecond))
		jobs, _, err := c.AllJobs(over, qgjob.JobFilter{OrgID: r.org}, 100_000)
		if err != nil {
			continue
		}
		for _, j := range jobs {
			if j.Attempts > 1 || j.Status.Terminal() && d.IntN(20) == 0 {
				r.offerStale(over, c, j)
			}
		}
	}
}

// offerStale offers the contrary of the truth for every lease of a job but
// its newest, and for the newest when the job has ended. Each must be refused.
func (r *round) offerStale(ctx context.Context, c *client.Client, j qgjob.Job) {
	attempts, err := c.Attempts(ctx, j.JobID)
	if err != nil {
		return
	}
	outcome := qgjob.OutcomeFailed
	if strings.HasPrefix(j.TestPath, "tests/fail") {
		outcome = qgjob.OutcomePassed
	}
	for i, a := range attempts {
		if i == len(attempts)-1 && !j.Status.Terminal() {
			continue
		}
		r.f.report.count(staleOffered, 1)
		res, err := c.Complete(ctx, a.LeaseID, qgjob.CompleteRequest{AgentID: a.AgentID, Incarnation: 1, Outcome: outcome, Digest: "an intruder's " + string(a.LeaseID)})
		switch kind := qgjob.KindOf(err); {
		case err == nil:
			r.f.report.count(staleTaken, 1)
			r.t.Errorf("I3: attempt %d of %s (%s), whose lease is not current, was completed as %s: %+v", a.Number, j.JobID, j.Status, outcome, res)
		case kind == qgjob.KindConflict:
			r.f.report.count(staleRefused, 1)
		default: // no answer: whether it was taken shows at the end
			r.f.report.count(staleOffered, -1)
		}
	}
}

// awaitEnd is the bound of I1: with all faults healed everything ends.
func (r *round) awaitEnd() {
	c := r.f.client(patient)
	for {
		jobs, _, err := c.AllJobs(r.ctx, qgjob.JobFilter{OrgID: r.org}, 100_000)
		open := ""
		for _, j := range jobs {
			if !j.Status.Terminal() {
				open += fmt.Sprintf("%s %s (%s) on %s; ", j.JobID, j.Status, j.Reason, j.AgentID)
			}
		}
		if err == nil && open == "" {
			return
		}
		if r.ctx.Err() != nil {
			r.t.Errorf("I1: not everything has ended after %v: %v %s", roundLimit, err, open)
			return
		}
		wait(100 * time.Millisecond)
	}
}
