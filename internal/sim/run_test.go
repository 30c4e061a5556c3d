package sim

import (
	"bytes"
	"math"
	"testing"

	"github.com/qualgent/qgjob/internal/schedule"
)

func same(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9 {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestRunInstallsOnce(t *testing.T) {
	w := tiny(Job{Requires: on("14"), DurationS: 10, Run: "r"}, Job{Requires: on("14"), DurationS: 20, Run: "r"})
	r := play(t, w, schedule.RuleQgjob)
	first, second := attempt(t, r, 0), attempt(t, r, 1)
	same(t, "first begins", first.BeginS, 30)
	same(t, "first ends", first.EndS, 40)
	same(t, "second is taken", second.AtS, 40)
	same(t, "second begins", second.BeginS, 40)
	same(t, "second ends", second.EndS, 60)
	if m := Measure(w, r.Schedule()); m.Installs != 1 {
		t.Errorf("%d installs, want 1", m.Installs)
	}
}

func TestRunSpeedAndFactor(t *testing.T) {
	w := tiny(Job{Requires: on("14"), DurationS: 30, AtS: 5})
	w.Agents[0].Speed, w.Agents[0].InstallFactor = 2, 1.5
	a := attempt(t, play(t, w, schedule.RuleQgjob), 0)
	same(t, "taken", a.AtS, 5)
	same(t, "begins", a.BeginS, 50)
	same(t, "ends", a.EndS, 65)
}

func TestRunOutageLosesJob(t *testing.T) {
	w := tiny(Job{Requires: on("14"), DurationS: 100})
	w.Agents[0].Outages = [][2]float64{{50, 70}}
	r := play(t, w, schedule.RuleQgjob)
	if len(r.Attempts) != 2 || r.Attempts[0].Outcome != Lost {
		t.Fatalf("attempts %+v, want a lost one and a done one", r.Attempts)
	}
	same(t, "lost begin", r.Attempts[0].BeginS, 30)
	same(t, "lost end", r.Attempts[0].EndS, 50)
	again := attempt(t, r, 0)
	same(t, "waits 30 s again", again.AtS, 80)
	same(t, "installs again, as the agent is blank", again.BeginS, 110)
}

func TestRunOutageDuringInstall(t *testing.T) {
	w := tiny(Job{Requires: on("14"), DurationS: 100})
	w.Agents[0].Outages = [][2]float64{{10, 200}}
	r := play(t, w, schedule.RuleQgjob)
	same(t, "a test that never began begins at its end", r.Attempts[0].BeginS, 10)
	same(t, "taken when the agent is back", attempt(t, r, 0).AtS, 200)
	if m := Measure(w, r.Schedule()); m.Installs != 2 {
		t.Errorf("%d installs, want 2: one counts when it begins", m.Installs)
	}
}

func TestRunEndAtOutageIsDone(t *testing.T) {
	w := tiny(Job{Requires: on("14"), DurationS: 20})
	w.Agents[0].Outages = [][2]float64{{50, 70}}
	if r := play(t, w, schedule.RuleQgjob); len(r.Attempts) != 1 {
		t.Errorf("a test that ends as its agent goes away is tried again: %+v", r.Attempts)
	}
}

func TestRunSharedInstall(t *testing.T) {
	w := tiny(Job{DurationS: 10, Run: "r"}, Job{DurationS: 10, Run: "r"}, Job{DurationS: 10, AtS: 100})
	for i := range w.Agents {
		w.Agents[i].SharedInstall = true
	}
	r := play(t, w, schedule.RulePriority)
	same(t, "first waits for the upload", attempt(t, r, 0).BeginS, 30)
	same(t, "second waits for the same", attempt(t, r, 1).BeginS, 30)
	same(t, "third finds it done", attempt(t, r, 2).BeginS, 100)
	if m := Measure(w, r.Schedule()); m.Installs != 1 {
		t.Errorf("%d uploads, want 1", m.Installs)
	}
}

func TestRunReportsImpossible(t *testing.T) {
	w := tiny(Job{Requires: on("99"), DurationS: 10}, Job{Requires: on("14"), DurationS: 10})
	r := play(t, w, schedule.RuleQgjob)
	if len(r.Impossible) != 1 || r.Impossible[0] != 0 {
		t.Errorf("impossible jobs are %v, want job 0", r.Impossible)
	}
	attempt(t, r, 1)
	if m := Measure(w, r.Schedule()); m.MakespanS != 40 {
		t.Errorf("makespan %v without the impossible job, want 40", m.MakespanS)
	}
}

func TestRunPriorityOrder(t *testing.T) {
	jobs := []Job{{Requires: on("14"), DurationS: 10, Priority: 1}, {Requires: on("14"), DurationS: 10, Priority: 9}, {Requires: on("14"), DurationS: 10, Priority: 5}}
	for _, c := range []struct {
		rule  schedule.Rule
		order []int
	}{
		{schedule.RuleQgjob, []int{1, 2, 0}}, {schedule.RulePriority, []int{1, 2, 0}},
		{schedule.RulePin, []int{1, 2, 0}}, {schedule.RuleFIFO, []int{0, 1, 2}},
	} {
		r := play(t, tiny(append([]Job(nil), jobs...)...), c.rule)
		for i, a := range r.Attempts {
			if a.Job != c.order[i] {
				t.Errorf("%s: attempt %d is of job %d, want %d", c.rule, i, a.Job, c.order[i])
			}
		}
	}
}

func TestRunPinHoldsGroup(t *testing.T) {
	var jobs []Job
	for range 6 {
		jobs = append(jobs, Job{DurationS: 10, Run: "r"})
	}
	r := play(t, tiny(jobs...), schedule.RulePin)
	for _, a := range r.Attempts {
		if a.Agent != r.Attempts[0].Agent {
			t.Errorf("a pinned group is served by %s and %s", r.Attempts[0].Agent, a.Agent)
		}
	}
}

// TestRunLongestFirst: what history says is longest goes first, so that the
// run does not end with it; the duration itself is not seen.
func TestRunLongestFirst(t *testing.T) {
	w := tiny(Job{Requires: on("14"), DurationS: 10, Run: "r", Test: "short"}, Job{Requires: on("14"), DurationS: 10, Run: "r", Test: "long"})
	w.History = []History{{Org: "o", Test: "short", N: 5, MeanS: 5}, {Org: "o", Test: "long", N: 5, MeanS: 200}}
	if r := play(t, w, schedule.RuleQgjob); r.Attempts[0].Job != 1 {
		t.Errorf("job %d goes first, want the one that history says is long", r.Attempts[0].Job)
	}
}

// TestRunNeverSeesDurations: what is decided before any test ended is the same
// whatever the tests are going to take.
func TestRunNeverSeesDurations(t *testing.T) {
	w := generate(t, "prstorm", 3)
	other := *w
	other.Jobs = append([]Job(nil), w.Jobs...)
	shortest := math.Inf(1)
	for i := range other.Jobs {
		other.Jobs[i].DurationS = 400 - w.Jobs[i].DurationS/4
		shortest = min(shortest, w.Jobs[i].DurationS, other.Jobs[i].DurationS)
	}
	one, two := play(t, w, schedule.RuleQgjob), play(t, &other, schedule.RuleQgjob)
	firstEnd := math.Inf(1)
	for _, a := range append(one.Attempts, two.Attempts...) {
		firstEnd = min(firstEnd, a.EndS)
	}
	compared := 0
	for i := range one.Attempts {
		a, b := one.Attempts[i], two.Attempts[i]
		if a.AtS >= firstEnd {
			break
		}
		compared++
		if a.Job != b.Job || a.Agent != b.Agent || a.AtS != b.AtS || a.BeginS != b.BeginS {
			t.Fatalf("decision %d is %+v, with other durations %+v", i, a, b)
		}
	}
	if compared == 0 {
		t.Error("nothing was decided before the first test ended")
	}
}

func TestRunSameBytes(t *testing.T) {
	for _, shape := range []string{"hetero", "failures", "noisy"} {
		for _, rule := range schedule.Rules {
			one := bytesOf(t, play(t, generate(t, shape, 9), rule).Schedule())
			two := bytesOf(t, play(t, generate(t, shape, 9), rule).Schedule())
			if !bytes.Equal(one, two) {
				t.Errorf("%s under %s differs from itself", shape, rule)
			}
		}
	}
}

// TestRunAllShapes plays every shape under every rule; play verifies.
func TestRunAllShapes(t *testing.T) {
	for _, shape := range Shapes {
		w := generate(t, shape, 5)
		b := Bound(w)
		for _, rule := range schedule.Rules {
			m := MeasureWith(w, play(t, w, rule).Schedule(), b)
			if m.MakespanOverBound < 1 || m.TTROverBound < 1 {
				t.Errorf("%s under %s beats its lower bound: %+v", shape, rule, m)
			}
		}
	}
}

// TestRunWorthIt: the rule has to beat the baselines on its own ground, in the
// mean over a few seeds.
func TestRunWorthIt(t *testing.T) {
	mean := func(shape string, rule schedule.Rule) float64 {
		sum := 0.0
		for seed := range uint64(3) {
			w := generate(t, shape, 20+seed)
			sum += Measure(w, play(t, w, rule).Schedule()).TTROverBound / 3
		}
		return sum
	}
	for _, shape := range []string{"prstorm", "prheavy", "heavytail", "failures", "starve"} {
		ours, fifo, pin := mean(shape, schedule.RuleQgjob), mean(shape, schedule.RulePriority), mean(shape, schedule.RulePin)
		if ours > 0.85*fifo || ours > 0.85*pin {
			t.Errorf("%s: time to result over the bound is %.2f, by priority %.2f, pinned %.2f", shape, ours, fifo, pin)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	p := schedule.DefaultPolicy()
	if _, err := Run(&Workload{Name: "empty"}, p); err == nil {
		t.Error("an empty workload is played")
	}
	p.Rule = "magic"
	if _, err := Run(tiny(Job{DurationS: 1}), p); err == nil {
		t.Error("an unknown rule is played")
	}
}

// BenchmarkRun is 10,000 jobs on 200 agents; the budget is 2 s.
func BenchmarkRun(b *testing.B) {
	w := generate(b, "prheavy", 1)
	big := *w
	big.Jobs = nil
	for k := range 6 {
		for _, j := range w.Jobs {
			if len(big.Jobs) == 10_000 {
				break
			}
			j.ID, j.Run = len(big.Jobs), j.Run+string(rune('a'+k))
			big.Jobs = append(big.Jobs, j)
		}
	}
	scaled, err := ScaleFleet(&big, 200-len(big.Agents))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := Run(scaled, schedule.DefaultPolicy())
		if err != nil || len(r.Attempts) != 10_000 {
			b.Fatal(len(r.Attempts), err)
		}
	}
}
