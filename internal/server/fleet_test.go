package server

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
)

// fakeAgent speaks the protocol as an agent does; its tests are sleeps.
type fakeAgent struct {
	r      *rig
	id     string
	chance *rand.Rand
	dies   bool // now and then it vanishes in the middle of a test
	mu     sync.Mutex
	held   qgjob.LeaseID
	born   int64
	diary  *diary
}

// diary is what the agents did, to be held against what the server says.
type diary struct {
	mu     sync.Mutex
	starts map[qgjob.JobID]int
	lost   map[qgjob.JobID]int
	ends   map[qgjob.JobID]int
	live   map[qgjob.JobID]string
	bad    []string
}

func newDiary() *diary {
	return &diary{starts: map[qgjob.JobID]int{}, lost: map[qgjob.JobID]int{}, ends: map[qgjob.JobID]int{}, live: map[qgjob.JobID]string{}}
}

func (d *diary) start(id qgjob.JobID, agent string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if other := d.live[id]; other != "" {
		d.bad = append(d.bad, fmt.Sprintf("%s runs on %s and %s at once", id, other, agent))
	}
	d.live[id] = agent
	d.starts[id]++
}

func (d *diary) stop(id qgjob.JobID, into map[qgjob.JobID]int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.live, id)
	into[id]++
}

func (a *fakeAgent) call(ctx context.Context, path string, body, into any) (int, error) {
	p, err := a.r.send(ctx, "POST", path, body)
	if err == nil && p.Status == 200 {
		err = json.Unmarshal(p.Body, into)
	}
	return p.Status, err
}

// live registers, renews in the background, and works until ctx ends.
func (a *fakeAgent) live(ctx context.Context) {
	for ctx.Err() == nil {
		a.born++
		life, end := context.WithCancel(ctx)
		var resp qgjob.RegisterResponse
		req := qgjob.RegisterRequest{Incarnation: a.born, Target: qgjob.TargetEmulator, Runner: "exec"}
		if status, err := a.call(life, "/v1/agents/"+a.id+"/register", req, &resp); err != nil || status != 200 {
			end()
			return
		}
		var renewing sync.WaitGroup
		renewing.Go(func() { a.renew(life) })
		a.work(life)
		end()
		renewing.Wait()
		select {
		case <-ctx.Done():
		case <-time.After(45 * time.Second): // longer than the TTL: its lease expires
		}
	}
}

func (a *fakeAgent) renew(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(4*time.Second + time.Duration(a.chance.Int64N(int64(2*time.Second)))):
		}
		a.mu.Lock()
		req := qgjob.RenewRequest{Incarnation: a.born, Leases: []qgjob.LeaseID{}}
		if a.held != "" {
			req.Leases = append(req.Leases, a.held)
		}
		a.mu.Unlock()
		var resp qgjob.RenewResponse
		_, _ = a.call(ctx, "/v1/agents/"+a.id+"/renew", req, &resp)
	}
}

// work claims and runs until ctx ends or the agent dies.
func (a *fakeAgent) work(ctx context.Context) {
	var offers []qgjob.Offer
	for n := 0; ctx.Err() == nil; n++ {
		next := qgjob.ClaimRequest{Incarnation: a.born, ClaimID: fmt.Sprintf("%s-%d-%06d", a.id, a.born, n), WaitMS: 25_000}
		if len(offers) == 0 {
			var resp qgjob.ClaimResponse
			if _, err := a.call(ctx, "/v1/agents/"+a.id+"/claim", next, &resp); err != nil {
				return
			}
			offers = resp.Offers
			continue
		}
		offer := offers[0]
		offers = nil
		a.hold(offer.LeaseID)
		var started qgjob.StartResponse
		if status, err := a.call(ctx, "/v1/leases/"+string(offer.LeaseID)+"/start", qgjob.StartRequest{AgentID: qgjob.AgentID(a.id), Incarnation: a.born}, &started); err != nil || status != 200 {
			a.hold("")
			continue
		}
		a.diary.start(offer.Job.JobID, a.id)
		time.Sleep(time.Duration(5+a.chance.IntN(50)) * time.Second)
		if a.dies && a.chance.IntN(40) == 0 {
			a.diary.stop(offer.Job.JobID, a.diary.lost)
			a.hold("")
			return
		}
		a.diary.stop(offer.Job.JobID, a.diary.ends)
		a.hold("")
		req := qgjob.CompleteRequest{AgentID: qgjob.AgentID(a.id), Incarnation: a.born, Outcome: qgjob.OutcomePassed, Digest: string(offer.LeaseID), Next: &next}
		var done qgjob.CompleteResponse
		if status, err := a.call(ctx, "/v1/leases/"+string(offer.LeaseID)+"/complete", req, &done); err == nil && status == 200 && done.Next != nil {
			offers = done.Next.Offers
		}
	}
}

func (a *fakeAgent) hold(id qgjob.LeaseID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held = id
}

// playFleet runs 400 jobs of eight app versions on twenty agents and gives how
// long that took, in virtual time.
func playFleet(t *testing.T, dies bool) (*rig, *diary, time.Duration) {
	r := newRig(t, rigOptions{loops: true})
	d := newDiary()
	ctx, cancel := context.WithCancel(t.Context())
	var agents sync.WaitGroup
	for i := range 20 {
		a := &fakeAgent{r: r, id: fmt.Sprintf("agent-%02d", i), chance: rand.New(rand.NewPCG(7, uint64(i))), dies: dies, diary: d}
		agents.Go(func() { a.live(ctx) })
	}
	began := time.Now()
	for i := range 40 { // forty CI jobs of ten tests, two seconds apart
		var jobs []qgjob.JobSpec
		for k := range 10 {
			jobs = append(jobs, spec(fmt.Sprintf("v%d", i%8), fmt.Sprintf("tests/%d-%d.spec.js", i, k)))
		}
		if p, err := r.send(t.Context(), "POST", "/v1/runs", qgjob.SubmitRequest{OrgID: "acme", Jobs: jobs}, "Idempotency-Key", fmt.Sprint("ci-", i)); err != nil || p.Status != http.StatusCreated {
			t.Errorf("submit %d: %s, %v", i, p, err)
		}
		time.Sleep(2 * time.Second)
	}
	for time.Since(began) < 3*time.Hour {
		jobs, err := r.Store.Jobs(t.Context(), qgjob.JobFilter{Status: []qgjob.JobState{qgjob.Queued, qgjob.Assigned, qgjob.Running, qgjob.Cancelling}, Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		if len(jobs) == 0 {
			break
		}
		time.Sleep(5 * time.Second)
	}
	took := time.Since(began)
	cancel()
	agents.Wait()
	return r, d, took
}

func TestFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, d, took := playFleet(t, false)
		tally := map[qgjob.JobState]int{}
		for id := qgjob.JobID(1); id <= 400; id++ {
			j, err := r.Store.Job(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			tally[j.Status]++
			if d.starts[id] != 1 || d.ends[id] != 1 || j.Attempts != 1 {
				t.Errorf("%s was started %d times, ended %d times, counts %d attempts; want once (I12)", id, d.starts[id], d.ends[id], j.Attempts)
			}
		}
		if tally[qgjob.Passed] != 400 || len(d.bad) > 0 {
			t.Errorf("states %v, %v", tally, d.bad)
		}
		// 400 tests of 30 s on 20 agents are ten minutes of work.
		if took > 20*time.Minute {
			t.Errorf("took %s: agents sat idle while work waited", took)
		}
		t.Logf("400 jobs on 20 agents took %s of virtual time", took)
	})
}

// The same with agents that die in the middle of tests and come back as a new
// incarnation: nothing is lost, nothing runs on two agents at once, and only
// what was lost runs again.
func TestFleetWithDeaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, d, took := playFleet(t, true)
		deaths, states := 0, map[qgjob.JobState]int{}
		for id := qgjob.JobID(1); id <= 400; id++ {
			j, err := r.Store.Job(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			states[j.Status]++
			deaths += d.lost[id]
			if want := 1 + d.lost[id]; j.Status == qgjob.Passed && (d.starts[id] != want || d.ends[id] != 1 || j.Attempts != want) {
				t.Errorf("%s was started %d times (lost %d, ended %d), counts %d attempts", id, d.starts[id], d.lost[id], d.ends[id], j.Attempts)
			}
			if j.Status == qgjob.Errored && d.lost[id] != qgjob.MaxInfraFails {
				t.Errorf("%s is errored after %d lost agents; want %d", id, d.lost[id], qgjob.MaxInfraFails)
			}
		}
		if states[qgjob.Passed]+states[qgjob.Errored] != 400 || len(d.bad) > 0 || deaths == 0 {
			t.Errorf("states %v, deaths %d, %v", states, deaths, d.bad)
		}
		t.Logf("400 jobs with %d deaths took %s of virtual time", deaths, took)
	})
}
