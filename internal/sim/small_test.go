package sim

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/qualgent/qgjob/internal/schedule"
	"pgregory.net/rapid"
)

// smalls draws workloads of a handful of jobs with everything in them: labels,
// speeds, shared installs, outages, several orgs, jobs that nobody can serve.
var smalls = rapid.Custom(func(t *rapid.T) *Workload {
	number := func(label string, from, to int) int { return rapid.IntRange(from, to).Draw(t, label) }
	w := &Workload{Name: "small"}
	for i := range number("orgs", 1, 2) {
		w.Orgs = append(w.Orgs, Org{ID: fmt.Sprint("o", i), Weight: float64(number("weight", 1, 3)), Victim: i == 1})
		for v := range number("apps", 1, 2) {
			w.Apps = append(w.Apps, App{Org: w.Orgs[i].ID, Version: fmt.Sprint("v", v), InstallS: float64(number("install", 0, 60))})
		}
	}
	kinds := []map[string]string{{}, on("14"), on("15")}
	for i := range number("agents", 1, 3) {
		a := Agent{
			ID: fmt.Sprint("a", i), Labels: kinds[number("labels", 0, 2)], Speed: float64(number("speed", 1, 4)) / 2,
			InstallFactor: float64(number("factor", 1, 3)) / 2, SharedInstall: number("shared", 0, 3) == 0,
		}
		if at := number("away", 0, 3); at > 0 {
			a.Outages = [][2]float64{{float64(50 * at), float64(50*at + 40)}, {float64(50*at + 200), float64(50*at + 210)}}
		}
		w.Agents = append(w.Agents, a)
	}
	for r := range number("runs", 1, 4) {
		app, at, prio := w.Apps[number("of app", 0, len(w.Apps)-1)], float64(number("at", 0, 200)), number("priority", 1, 10)
		for range number("tests", 1, 4) {
			n := len(w.Jobs)
			w.Jobs = append(w.Jobs, Job{
				ID: n, AtS: at, Run: fmt.Sprint("r", r), Org: app.Org, Version: app.Version, Requires: kinds[number("requires", 0, 2)],
				Test: fmt.Sprint("t", number("test", 0, 3)), Priority: prio, DurationS: float64(number("lasts", 1, 120)),
			})
		}
	}
	if number("known", 0, 1) == 0 {
		w.History = append(w.History, History{Org: "o0", Test: "t0", N: number("n", 1, 5), MeanS: float64(number("mean", 1, 200))})
	}
	return w
})

// TestRunSmall plays small workloads under every rule: no fault, nothing lost,
// nothing twice, what is impossible is named, and no bound is beaten.
func TestRunSmall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := smalls.Draw(t, "workload")
		b := Bound(w)
		for _, rule := range schedule.Rules {
			p := schedule.DefaultPolicy()
			p.Rule = rule
			r, err := Run(w, p)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range Verify(w, r.Schedule()) {
				if rule != schedule.RuleFIFO || !strings.Contains(string(f), "before waiting job") {
					t.Fatalf("%s: %s", rule, f)
				}
			}
			done := map[int]int{}
			for _, a := range r.Attempts {
				if a.Outcome == Done {
					done[a.Job]++
				}
			}
			for _, j := range w.Jobs {
				impossible := slices.Contains(r.Impossible, j.ID)
				if impossible == (done[j.ID] == 1) || done[j.ID] > 1 {
					t.Fatalf("%s: job %d is done %d times; impossible: %v", rule, j.ID, done[j.ID], impossible)
				}
			}
			m := MeasureWith(w, r.Schedule(), b)
			if len(done) > 0 && (m.MakespanS < b.Makespan-1e-3 || m.MeanTTRS < b.MeanTTR-1e-3) {
				t.Fatalf("%s: makespan %v and mean %v beat the bounds %v and %v", rule, m.MakespanS, m.MeanTTRS, b.Makespan, b.MeanTTR)
			}
			if m.Installs > len(r.Attempts) || m.Jain > 1+1e-9 || m.TTRP95S > m.MakespanS+1e-3 {
				t.Fatalf("%s: metrics %+v", rule, m)
			}
		}
	})
}

// TestRunSmallSameBytes: the same workload gives the same bytes, also when its
// lists of orgs, apps and history stand in another order.
func TestRunSmallSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := smalls.Draw(t, "workload")
		turned := *w
		turned.History = slices.Clone(w.History)
		turned.Apps, turned.Orgs = slices.Clone(w.Apps), slices.Clone(w.Orgs)
		slices.Reverse(turned.Apps)
		slices.Reverse(turned.Orgs)
		texts := map[string]bool{}
		for _, one := range []*Workload{w, w, &turned} {
			r, err := Run(one, schedule.DefaultPolicy())
			if err != nil {
				t.Fatal(err)
			}
			var text bytes.Buffer
			if err := r.Schedule().Write(&text); err != nil {
				t.Fatal(err)
			}
			texts[text.String()] = true
		}
		if len(texts) != 1 {
			t.Fatalf("one workload gives %d schedules", len(texts))
		}
	})
}

// TestWorkloadRoundTrip: what is written is read as it was.
func TestWorkloadRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := smalls.Draw(t, "workload")
		var first, second bytes.Buffer
		if err := w.Write(&first); err != nil {
			t.Fatal(err)
		}
		again, err := Load(bytes.NewReader(first.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Write(&second); err != nil || second.String() != first.String() {
			t.Fatalf("written again it differs (%v):\n%s\n%s", err, first.String(), second.String())
		}
	})
}

// best gives the shortest makespan of all schedules of a few jobs on agents
// without labels, outages or shared installs: every order, every assignment.
func best(w *Workload) float64 {
	free, has := make([]float64, len(w.Agents)), make([]string, len(w.Agents))
	least := math.Inf(1)
	var try func(left []Job, end float64)
	try = func(left []Job, end float64) {
		if end >= least {
			return
		}
		if len(left) == 0 {
			least = end
			return
		}
		for i := range left {
			rest := append(slices.Clone(left[:i]), left[i+1:]...)
			for a := range w.Agents {
				was, had := free[a], has[a]
				begin := math.Max(free[a], left[i].AtS)
				if has[a] != left[i].Version {
					begin += install(w, left[i].Version) * w.Agents[a].InstallFactor
				}
				free[a], has[a] = begin+left[i].DurationS/w.Agents[a].Speed, left[i].Version
				try(rest, math.Max(end, free[a]))
				free[a], has[a] = was, had
			}
		}
	}
	try(w.Jobs, 0)
	return least
}

func install(w *Workload, version string) float64 {
	for _, a := range w.Apps {
		if a.Version == version {
			return a.InstallS
		}
	}
	return 0
}

// TestBoundIsABound: the best of all schedules, found by trying them, is no
// shorter than the bound.
func TestBoundIsABound(t *testing.T) {
	near := 0
	rapid.Check(t, func(t *rapid.T) {
		w := &Workload{Name: "few", Orgs: []Org{{ID: "o", Weight: 1}}, Apps: []App{{Org: "o", Version: "v0", InstallS: 30}, {Org: "o", Version: "v1", InstallS: 10}}}
		for i := range rapid.IntRange(1, 2).Draw(t, "agents") {
			w.Agents = append(w.Agents, Agent{ID: fmt.Sprint("a", i), Speed: rapid.SampledFrom([]float64{1, 1, 2}).Draw(t, "speed"), InstallFactor: 1})
		}
		for i := range rapid.IntRange(1, 4).Draw(t, "jobs") {
			w.Jobs = append(w.Jobs, Job{
				ID: i, Org: "o", Run: fmt.Sprint("r", i), Test: "t", Priority: 5, Version: fmt.Sprint("v", rapid.IntRange(0, 1).Draw(t, "version")),
				AtS: float64(10 * rapid.IntRange(0, 3).Draw(t, "at")), DurationS: float64(rapid.IntRange(5, 60).Draw(t, "lasts")),
			})
		}
		bound, optimum := Bound(w).Makespan, best(w)
		if bound > optimum+1e-6 {
			t.Fatalf("the bound is %v and a schedule of %v exists", bound, optimum)
		}
		if bound > 0.9*optimum {
			near++
		}
	})
	if near == 0 {
		t.Error("no bound came within 10 % of the best schedule: it says too little")
	}
}
