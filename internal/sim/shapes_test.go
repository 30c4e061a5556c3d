package sim

import (
	"math"
	"testing"
)

// TestShapes holds the generated workloads against what the published file of
// each shape shows: sizes, priorities, special agents, load.
func TestShapes(t *testing.T) {
	for _, c := range []struct {
		shape              string
		agents, orgs       int
		fewest, most       int // jobs
		lowest, highest    int // priority
		shared, outages    bool
		requires, pushedOn bool    // some jobs need labels; some app versions have several runs
		load               float64 // work per capacity until the last run came; 0 where all come at once
	}{
		{shape: "nightly", agents: 20, orgs: 1, fewest: 1500, most: 1500, lowest: 3, highest: 3},
		{shape: "prstorm", agents: 20, orgs: 3, fewest: 1800, most: 1800, lowest: 5, highest: 5, load: 0.65},
		{shape: "prheavy", agents: 20, orgs: 3, fewest: 1800, most: 1800, lowest: 5, highest: 5, load: 0.85},
		{shape: "lowload", agents: 10, orgs: 2, fewest: 300, most: 700, lowest: 5, highest: 5, load: 0.25},
		{shape: "noisy", agents: 16, orgs: 6, fewest: 2250, most: 2900, lowest: 5, highest: 5},
		{shape: "hotfix", agents: 12, orgs: 2, fewest: 900, most: 900, lowest: 3, highest: 10},
		{shape: "heavytail", agents: 16, orgs: 3, fewest: 1000, most: 1000, lowest: 4, highest: 7},
		{shape: "hetero", agents: 28, orgs: 4, fewest: 1080, most: 1080, lowest: 5, highest: 6, shared: true, requires: true},
		{shape: "failures", agents: 20, orgs: 3, fewest: 1800, most: 1800, lowest: 5, highest: 5, outages: true, load: 0.65},
		{shape: "mixedday", agents: 24, orgs: 4, fewest: 1500, most: 2900, lowest: 2, highest: 9, pushedOn: true},
		{shape: "starve", agents: 10, orgs: 1, fewest: 1810, most: 1810, lowest: 1, highest: 8, load: 0.95},
	} {
		t.Run(c.shape, func(t *testing.T) {
			load := 0.0
			for seed := range uint64(5) {
				w := generate(t, c.shape, 40+seed)
				load += offered(w) / 5
				if len(w.Agents) != c.agents || len(w.Orgs) != c.orgs || len(w.Jobs) < c.fewest || len(w.Jobs) > c.most {
					t.Errorf("%d agents, %d orgs, %d jobs", len(w.Agents), len(w.Orgs), len(w.Jobs))
				}
				low, high, requires := 10, 1, false
				for _, j := range w.Jobs {
					low, high, requires = min(low, j.Priority), max(high, j.Priority), requires || len(j.Requires) > 0
				}
				if low != c.lowest || high != c.highest || requires != c.requires {
					t.Errorf("priorities %d to %d, requirements %v", low, high, requires)
				}
				shared, outages := false, false
				for _, a := range w.Agents {
					shared, outages = shared || a.SharedInstall, outages || len(a.Outages) > 0
				}
				if shared != c.shared || outages != c.outages {
					t.Errorf("shared installs %v, outages %v", shared, outages)
				}
				if got := pushes(w) > 1; got != c.pushedOn {
					t.Errorf("app versions with several runs: %v", got)
				}
			}
			if c.load > 0 && math.Abs(load-c.load) > 0.2*c.load {
				t.Errorf("the load is %.2f, want about %.2f", load, c.load)
			}
		})
	}
}

// offered is the work over what the fleet can do until the last run came.
func offered(w *Workload) float64 {
	work, last, speed := 0.0, 0.0, 0.0
	for _, j := range w.Jobs {
		work, last = work+j.DurationS, math.Max(last, j.AtS)
	}
	for _, a := range w.Agents {
		speed += a.Speed
	}
	return ratio(work, speed*last)
}

// pushes is the most runs that any app version has.
func pushes(w *Workload) int {
	runs, most := map[string]map[string]bool{}, 0
	for _, j := range w.Jobs {
		if runs[j.Version] == nil {
			runs[j.Version] = map[string]bool{}
		}
		runs[j.Version][j.Run] = true
		most = max(most, len(runs[j.Version]))
	}
	return most
}

// TestShapesAreServed: a generated job can always be served, and each test of
// a run is another one.
func TestShapesAreServed(t *testing.T) {
	for _, shape := range Shapes {
		w := generate(t, shape, 6)
		if ids := newChecker(w, Schedule{}).impossible(); len(ids) > 0 {
			t.Errorf("%s: nobody can serve %v", shape, ids)
		}
		seen := map[[2]string]bool{}
		for _, j := range w.Jobs {
			key := [2]string{j.Run, j.Test}
			if seen[key] {
				t.Errorf("%s: run %s has test %s twice", shape, j.Run, j.Test)
			}
			seen[key] = true
		}
	}
}

// TestHistoryIsClose: history is what was seen of the tests, not what they
// are going to take; it is near and not equal.
func TestHistoryIsClose(t *testing.T) {
	w := generate(t, "nightly", 6)
	sums, counts := map[string]float64{}, map[string]float64{}
	for _, j := range w.Jobs {
		sums[j.Test] += j.DurationS
		counts[j.Test]++
	}
	if share := float64(len(w.History)) / float64(len(sums)); share < 0.8 || share > 0.97 {
		t.Errorf("%.2f of the tests have a history, want about 0.9", share)
	}
	off, equal := 0.0, 0
	for _, h := range w.History {
		mean := sums[h.Test] / counts[h.Test]
		off += math.Abs(math.Log(h.MeanS/mean)) / float64(len(w.History))
		if h.MeanS == mean {
			equal++
		}
		if h.N < 1 || h.N > 8 {
			t.Errorf("test %s was seen %d times", h.Test, h.N)
		}
	}
	if off > 0.3 || equal > 0 {
		t.Errorf("history is off by a factor of %.2f in the mean, and %d times equal", math.Exp(off), equal)
	}
}
