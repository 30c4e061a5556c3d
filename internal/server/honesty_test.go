package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
	"github.com/qualgent/qgjob/internal/sim"
	"github.com/qualgent/qgjob/internal/store"
)

// honestRuns is how many runs a workload has, and honestSeeds which are played
// on a server. Agents that are alike leave the simulator one answer only.
var (
	honestRuns  = 12
	honestSeeds = []struct {
		seed  uint64
		alike bool
	}{{3, false}, {1, true}}
)

// honest draws a small workload: 2 orgs, 3 app versions, 6 agents of which two
// are newer, and some runs of 10 tests, some of them urgent and, unless the
// agents are alike, some only for the newer ones. All times are whole milliseconds, as the server counts.
func honest(seed uint64, alike bool) *sim.Workload {
	chance := rand.New(rand.NewPCG(seed, 17))
	whole := func(s float64) float64 { return math.Round(s*1000) / 1000 }
	w := &sim.Workload{
		Name: fmt.Sprint("honest-", seed),
		Orgs: []sim.Org{{ID: "acme", Weight: 1}, {ID: "globex", Weight: 1}},
		Apps: []sim.App{{Org: "acme", Version: "v1", InstallS: 40}, {Org: "acme", Version: "v2", InstallS: 25}, {Org: "globex", Version: "v3", InstallS: 60}},
	}
	for i := range 6 {
		os := "14"
		if i >= 4 && !alike {
			os = "15"
		}
		w.Agents = append(w.Agents, sim.Agent{ID: fmt.Sprint("a", i+1), Labels: map[string]string{"os": os}, Speed: 1, InstallFactor: 1})
	}
	const tests = 20
	mean := map[string]float64{}
	for _, o := range w.Orgs {
		for i := range tests {
			name := fmt.Sprintf("tests/%d.spec.js", i)
			mean[o.ID+name] = whole(15 + 90*chance.Float64())
			if i%5 > 0 { // of every fifth nothing is known
				w.History = append(w.History, sim.History{Org: o.ID, Test: name, N: 4, MeanS: mean[o.ID+name]})
			}
		}
	}
	at := 0.0
	for run := range honestRuns {
		app := w.Apps[chance.IntN(len(w.Apps))]
		priority := []int{5, 5, 5, 5, 8, 1}[chance.IntN(6)]
		requires := map[string]string{}
		if run%4 == 3 && !alike {
			requires["os"] = "15"
		}
		for k, test := range chance.Perm(tests)[:10] {
			name := fmt.Sprintf("tests/%d.spec.js", test)
			w.Jobs = append(w.Jobs, sim.Job{ID: len(w.Jobs), AtS: at, Run: fmt.Sprint("r", run), Org: app.Org, Version: app.Version, Requires: requires,
				Test: name, Priority: max(1, priority-k%2), DurationS: whole(mean[app.Org+name] * (0.8 + 0.4*chance.Float64()))})
		}
		at += whole(20 + 160*chance.Float64())
	}
	return w
}

// taught makes a data directory whose server knows what a workload's history
// and installs say: each test really ends that often, having taken that long.
// It gives the number of jobs that took.
func taught(t *testing.T, w *sim.Workload) (dir string, jobs int) {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "qgjob-honest-") // in memory where there is such a place: it commits a thousand times
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	st, err := store.Open(t.Context(), dir, store.Options{})
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(err)
	agent := w.Agents[0]
	_, err = st.Register(t.Context(), qgjob.AgentID(agent.ID), qgjob.RegisterRequest{Incarnation: 1, Target: qgjob.TargetEmulator, Labels: agent.Labels, Runner: "exec"})
	ok(err)
	for _, h := range w.History {
		for range h.N {
			apps := slices.DeleteFunc(slices.Clone(w.Apps), func(a sim.App) bool { return a.Org != h.Org })
			app := apps[jobs%len(apps)]
			_, err := st.Submit(t.Context(), "", qgjob.SubmitRequest{OrgID: qgjob.OrgID(h.Org), Jobs: []qgjob.JobSpec{spec(app.Version, h.Test)}})
			ok(err)
			jobs++
			got, err := st.Claim(t.Context(), qgjob.AgentID(agent.ID), qgjob.ClaimRequest{Incarnation: 1, ClaimID: fmt.Sprintf("teach-%06d", jobs)})
			ok(err)
			id := got.Offers[0].LeaseID
			_, err = st.Start(t.Context(), id, qgjob.StartRequest{AgentID: qgjob.AgentID(agent.ID), Incarnation: 1})
			ok(err)
			req := result(agent.ID, qgjob.OutcomePassed)
			req.Install, req.InstallMS, req.TestMS = qgjob.InstallDone, int64(math.Round(app.InstallS*1000)), int64(math.Round(h.MeanS*1000))
			_, err = st.Complete(t.Context(), id, req)
			ok(err)
		}
	}
	time.Sleep(24 * time.Hour) // what the orgs used by it is forgotten
	ok(st.Close())
	return dir, jobs
}

// stage is a server with agents that act a workload's tests by sleeping for as
// long as it says.
type stage struct {
	*rig
	w       *sim.Workload
	first   qgjob.JobID // of the workload's jobs, which are numbered in its order
	curtain time.Time   // when it begins
	mu      sync.Mutex
	played  sim.Schedule
}

func (s *stage) now() float64 { return time.Since(s.curtain).Seconds() }

// actor is one agent; it keeps its lease alive and what is installed.
type actor struct {
	fakeAgent
	stage *stage
	on    *qgjob.Installed
}

func (a *actor) live(ctx context.Context, labels map[string]string) {
	var resp qgjob.RegisterResponse
	req := qgjob.RegisterRequest{Incarnation: a.born, Target: qgjob.TargetEmulator, Labels: labels, Runner: "exec"}
	if status, err := a.call(ctx, "/v1/agents/"+a.id+"/register", req, &resp); err != nil || status != 200 {
		return
	}
	var renewing sync.WaitGroup
	renewing.Go(func() { a.renew(ctx) })
	defer renewing.Wait()
	var offers []qgjob.Offer
	for n := 0; ctx.Err() == nil; n++ {
		next := qgjob.ClaimRequest{Incarnation: a.born, ClaimID: fmt.Sprintf("%s-%06d", a.id, n), WaitMS: 25_000, Installed: a.on}
		if len(offers) > 0 {
			offers = a.play(ctx, offers[0], next)
			continue
		}
		var resp qgjob.ClaimResponse
		if _, err := a.call(ctx, "/v1/agents/"+a.id+"/claim", next, &resp); err != nil {
			return
		}
		offers = resp.Offers
	}
}

// play acts one job and gives the offers that came back with its result.
func (a *actor) play(ctx context.Context, offer qgjob.Offer, next qgjob.ClaimRequest) []qgjob.Offer {
	s := a.stage
	job := s.w.Jobs[offer.Job.JobID-s.first]
	x := sim.Attempt{Job: job.ID, Agent: a.id, AtS: s.now(), Outcome: sim.Done}
	a.hold(offer.LeaseID)
	var started qgjob.StartResponse
	if status, err := a.call(ctx, "/v1/leases/"+string(offer.LeaseID)+"/start", qgjob.StartRequest{AgentID: qgjob.AgentID(a.id), Incarnation: a.born}, &started); err != nil || status != 200 {
		s.t.Errorf("start of %s on %s: %d, %v", offer.Job.JobID, a.id, status, err)
		return nil
	}
	req := qgjob.CompleteRequest{AgentID: qgjob.AgentID(a.id), Incarnation: a.born, Outcome: qgjob.OutcomePassed, Digest: string(offer.LeaseID),
		Install: qgjob.InstallAvoided, TestMS: int64(math.Round(job.DurationS * 1000))}
	want := qgjob.Installed{OrgID: offer.Job.OrgID, AppVersionID: offer.Job.AppVersionID}
	if a.on == nil || *a.on != want {
		for _, app := range s.w.Apps {
			if app.Org == job.Org && app.Version == job.Version {
				req.Install, req.InstallMS = qgjob.InstallDone, int64(math.Round(app.InstallS*1000))
			}
		}
		time.Sleep(time.Duration(req.InstallMS) * time.Millisecond)
	}
	a.on, x.BeginS = &want, s.now()
	time.Sleep(time.Duration(req.TestMS) * time.Millisecond)
	x.EndS = s.now()
	s.mu.Lock()
	s.played.Attempts = append(s.played.Attempts, x)
	s.mu.Unlock()
	a.hold("")
	next.Installed, req.Installed, req.Next = &want, &want, &next
	var done qgjob.CompleteResponse
	if status, err := a.call(ctx, "/v1/leases/"+string(offer.LeaseID)+"/complete", req, &done); err != nil || status != 200 || done.Next == nil {
		return nil
	}
	return done.Next.Offers
}

// perform plays the workload to its end and gives the schedule that came out
// of it, and the installs that the server counted.
func (s *stage) perform() (played sim.Schedule, installs int) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	var going sync.WaitGroup
	for _, machine := range s.w.Agents {
		a := &actor{fakeAgent: fakeAgent{r: s.rig, id: machine.ID, chance: rand.New(rand.NewPCG(1, 1)), born: 2}, stage: s}
		going.Go(func() { a.live(ctx, machine.Labels) })
	}
	synctest.Wait()
	s.curtain = time.Now()
	going.Go(func() { s.watchIdle(ctx) })
	var runs []qgjob.RunID
	for at := 0; at < len(s.w.Jobs); {
		run := s.w.Jobs[at]
		req := qgjob.SubmitRequest{OrgID: qgjob.OrgID(run.Org)}
		for ; at < len(s.w.Jobs) && s.w.Jobs[at].Run == run.Run; at++ {
			j := s.w.Jobs[at]
			one := spec(j.Version, j.Test)
			one.Requires, one.Priority = j.Requires, j.Priority
			req.Jobs = append(req.Jobs, one)
		}
		time.Sleep(time.Until(s.curtain.Add(time.Duration(run.AtS * float64(time.Second)))))
		runs = append(runs, must[qgjob.SubmitResponse](s.rig, http.StatusCreated, "POST", "/v1/runs", req).RunID)
	}
	for _, id := range runs {
		for s.runOf(id).Conclusion == "" {
			if s.now() > 24*3600 {
				s.t.Fatalf("%s has not ended after a day", id)
			}
			time.Sleep(time.Second)
		}
		installs += s.runOf(id).Installs
	}
	cancel()
	going.Wait()
	return s.played, installs
}

func (s *stage) runOf(id qgjob.RunID) qgjob.Run {
	r, err := s.Store.Run(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// watchIdle looks every three seconds, between the events, for agents that have
// nothing to do while a job waits that they could take. The only reason is
// that its install is not worth it; when it comes to be, the agent has to find
// out before long.
func (s *stage) watchIdle(ctx context.Context) {
	const grace = 6 * time.Second // maxBackstop, and a look
	willing := map[qgjob.AgentID]time.Time{}
	for time.Sleep(500*time.Millisecond + 37*time.Microsecond); ctx.Err() == nil; time.Sleep(3 * time.Second) {
		could := map[qgjob.AgentID]string{}
		for group, job := range s.waiting() {
			e, err := s.Store.Explain(s.t.Context(), job)
			if err != nil {
				s.t.Error(err)
				return
			}
			for _, a := range e.Agents {
				switch {
				case a.JobID != nil, a.Answer == "install_not_worth_it", a.Answer == "missing_label":
				case a.Answer == "takes_next", a.Answer == "outranked":
					could[a.AgentID] = fmt.Sprintf("%s says %q to %s", a.AgentID, a.Text, group)
				default:
					s.t.Errorf("at %.1f s: agent %s has nothing to do and answers %s to %s: %s", s.now(), a.AgentID, a.Answer, group, a.Text)
				}
			}
		}
		for _, machine := range s.w.Agents {
			id := qgjob.AgentID(machine.ID)
			switch since, known := willing[id]; {
			case could[id] == "":
				delete(willing, id)
			case !known:
				willing[id] = time.Now()
			case time.Since(since) > grace:
				s.t.Errorf("at %.1f s: idle for %s while work waits: %s", s.now(), time.Since(since), could[id])
			}
		}
	}
}

// waiting gives one waiting job of each group.
func (s *stage) waiting() map[qgjob.GroupID]qgjob.JobID {
	list, err := s.Store.Jobs(s.t.Context(), qgjob.JobFilter{Status: []qgjob.JobState{qgjob.Queued}, Limit: qgjob.MaxPage})
	if err != nil {
		s.t.Error(err)
	}
	one := map[qgjob.GroupID]qgjob.JobID{}
	for _, j := range list {
		one[j.GroupID] = j.JobID
	}
	return one
}

// imagine plays a workload in the simulator, with its agents in several orders:
// equals that wait at one moment claim in any order on a server, by id in the
// simulator, and where some of them have labels that others want, the order
// matters a little. It gives the least and the most of every figure.
func imagine(t *testing.T, w *sim.Workload) (least, most sim.Metrics) {
	t.Helper()
	chance := rand.New(rand.NewPCG(5, 5))
	for i := range 40 {
		renamed := *w
		renamed.Agents = slices.Clone(w.Agents)
		for k, to := range chance.Perm(len(w.Agents)) {
			renamed.Agents[k].ID = fmt.Sprint("a", to)
		}
		r, err := sim.Run(&renamed, schedule.DefaultPolicy())
		if err != nil {
			t.Fatal(err)
		}
		m := sim.Measure(&renamed, r.Schedule())
		if i == 0 {
			least, most = m, m
		}
		least.MakespanS, most.MakespanS = min(least.MakespanS, m.MakespanS), max(most.MakespanS, m.MakespanS)
		least.MeanTTRS, most.MeanTTRS = min(least.MeanTTRS, m.MeanTTRS), max(most.MeanTTRS, m.MeanTTRS)
		least.Installs, most.Installs = min(least.Installs, m.Installs), max(most.Installs, m.Installs)
	}
	return least, most
}

// apart is by what share x lies outside of what was imagined.
func apart(x, least, most float64) float64 { return max(0, x/most-1, 1-x/least) }

// TestTheSimulatorIsHonest plays one workload in the simulator and on a real
// server with agents that speak the protocol, and wants the same to come out.
// What the agents did has to stand up to the simulator's own verifier, which
// knows of priorities in a group, labels, installs and durations.
func TestTheSimulatorIsHonest(t *testing.T) {
	for _, c := range honestSeeds {
		t.Run(fmt.Sprintf("seed %d, agents alike %v", c.seed, c.alike), func(t *testing.T) {
			t.Parallel()
			w := honest(c.seed, c.alike)
			least, most := imagine(t, w)
			if c.alike && least != most {
				t.Fatalf("agents that are alike give different figures in another order: %+v, %+v", least, most)
			}
			var played sim.Schedule
			var counted int
			synctest.Test(t, func(t *testing.T) {
				dir, before := taught(t, w)
				s := &stage{rig: newRig(t, rigOptions{loops: true, dir: dir}), w: w, first: qgjob.JobID(before + 1)}
				played, counted = s.perform()
			})
			for _, fault := range sim.Verify(w, played) {
				t.Errorf("on the server: %s", fault)
			}
			m := sim.Measure(w, played)
			t.Logf("makespan %.1f to %.1f s imagined, %.1f s played; mean time to result %.1f to %.1f s, %.1f s; installs %d to %d, %d (the server counted %d)",
				least.MakespanS, most.MakespanS, m.MakespanS, least.MeanTTRS, most.MeanTTRS, m.MeanTTRS, least.Installs, most.Installs, m.Installs, counted)
			span, mean := 0.03, 0.05
			if c.alike { // nothing is left to chance
				span, mean = 0.01, 0.01
			}
			if off := apart(m.MakespanS, least.MakespanS, most.MakespanS); off > span {
				t.Errorf("the makespans differ by %.1f %%; at most %.0f %% is wanted", 100*off, 100*span)
			}
			if off := apart(m.MeanTTRS, least.MeanTTRS, most.MeanTTRS); off > mean {
				t.Errorf("the mean times to result differ by %.1f %%; at most %.0f %% is wanted", 100*off, 100*mean)
			}
			if counted < least.Installs-2 || counted > most.Installs+2 || counted != m.Installs {
				t.Errorf("installs: %d to %d imagined, %d played, %d counted by the server", least.Installs, most.Installs, m.Installs, counted)
			}
		})
	}
}

// TestTheSimulatorRepeatsItself: the same seed gives the same bytes.
func TestTheSimulatorRepeatsItself(t *testing.T) {
	for _, rule := range schedule.Rules {
		policy := schedule.DefaultPolicy()
		policy.Rule = rule
		var texts [2]bytes.Buffer
		for i := range texts {
			w := honest(4, false)
			r, err := sim.Run(w, policy)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Schedule().Write(&texts[i]); err != nil {
				t.Fatal(err)
			}
			if err := json.NewEncoder(&texts[i]).Encode(sim.Measure(w, r.Schedule())); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(texts[0].Bytes(), texts[1].Bytes()) {
			t.Errorf("%s: two plays of one workload differ", rule)
		}
	}
}
