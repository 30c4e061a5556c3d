package sim

import (
	"math"
	"testing"
)

// TestCapacity gives the instant by which so much work can be done, by hand.
func TestCapacity(t *testing.T) {
	always := func(speed float64) *Agent { return &Agent{Speed: speed} }
	away := func(speed float64, outages ...[2]float64) *Agent { return &Agent{Speed: speed, Outages: outages} }
	for _, c := range []struct {
		name          string
		agents        []*Agent
		release, work float64
		want          float64
	}{
		{"one agent", []*Agent{always(1)}, 0, 100, 100},
		{"from its release on", []*Agent{always(1)}, 50, 100, 150},
		{"two agents", []*Agent{always(1), always(1)}, 0, 100, 50},
		{"a fast one", []*Agent{always(4)}, 0, 100, 25},
		{"away in between", []*Agent{away(1, [2]float64{40, 60})}, 0, 100, 120},
		{"away before the release", []*Agent{away(1, [2]float64{0, 40})}, 50, 100, 150},
		{"away at the release", []*Agent{away(1, [2]float64{40, 60})}, 50, 100, 160},
		{"away twice", []*Agent{away(1, [2]float64{10, 20}, [2]float64{30, 50})}, 0, 100, 130},
		{"one of two away", []*Agent{always(1), away(1, [2]float64{0, 40})}, 0, 100, 70},
		{"both away at once", []*Agent{away(1, [2]float64{10, 20}), away(1, [2]float64{10, 20})}, 0, 100, 60},
		{"away after the end", []*Agent{away(1, [2]float64{500, 600})}, 0, 100, 100},
		{"nothing to do", []*Agent{always(1)}, 70, 0, 70},
	} {
		d := demand{agents: c.agents}
		for _, a := range c.agents {
			d.speed += a.Speed
		}
		same(t, c.name, capacity(d, c.release, c.work), c.want)
	}
}

// TestSplittable holds the dual test against windows found by hand.
func TestSplittable(t *testing.T) {
	for _, c := range []struct {
		name              string
		parts, setups     []float64
		machines, fastest float64
		want              float64
	}{
		{"one part, one machine", []float64{100}, []float64{30}, 1, 1, 130},
		{"one part, two machines, both set up", []float64{100}, []float64{30}, 2, 1, 80},
		{"two parts, two machines", []float64{100, 100}, []float64{30, 30}, 2, 1, 130},
		{"no setup", []float64{100}, []float64{0}, 4, 1, 25},
		{"a machine of speed 2 tests faster and installs no faster", []float64{100}, []float64{30}, 2, 2, 80},
		{"a machine of half speed", []float64{1}, []float64{0.5}, 0.5, 0.5, 2.5},
		{"a setup as long as everything", []float64{1}, []float64{1000}, 50, 1, 1001.0 / 1},
	} {
		got := splittable(c.parts, c.setups, c.machines, c.fastest)
		if got > c.want+1e-6 {
			t.Errorf("%s: the bound is %v, %v can be reached", c.name, got, c.want)
		}
		if c.name != "a setup as long as everything" && math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%s: the bound is %v, want %v", c.name, got, c.want)
		}
	}
}

// TestBoundLeavesOutWhatIsImpossible: a job that no agent can serve is never
// done and must not make a schedule look better than it is.
func TestBoundLeavesOutWhatIsImpossible(t *testing.T) {
	w := tiny(Job{Requires: on("14"), DurationS: 10})
	want := Bound(w)
	w = tiny(Job{Requires: on("14"), DurationS: 10}, Job{Requires: on("99"), DurationS: 5000})
	got := Bound(w)
	same(t, "makespan", got.Makespan, want.Makespan)
	same(t, "mean time to result", got.MeanTTR, want.MeanTTR)
}

// TestBoundOfSharedInstalls: agents that share installs pay one upload between
// them; who has only such agents may find it done by others.
func TestBoundOfSharedInstalls(t *testing.T) {
	for _, c := range []struct {
		name   string
		jobs   []Job
		shared []int
		want   float64
	}{
		{"both shared, two tests: one upload for both", []Job{{DurationS: 100, Run: "r"}, {DurationS: 100, Run: "r"}}, []int{0, 1}, 100},
		{"none shared: two installs", []Job{{DurationS: 100, Run: "r"}, {DurationS: 100, Run: "r"}}, nil, 130},
		{"one shared: at least one install in all", []Job{{DurationS: 100, Run: "r"}, {DurationS: 100, Run: "r"}}, []int{0}, 130},
	} {
		w := tiny(c.jobs...)
		for _, a := range c.shared {
			w.Agents[a].SharedInstall = true
		}
		b := Bound(w)
		if b.Makespan > c.want+1e-6 || b.Makespan < 100 {
			t.Errorf("%s: the makespan is bound by %v, want 100 to %v", c.name, b.Makespan, c.want)
		}
		m := MeasureWith(w, play(t, w, "qgjob").Schedule(), b)
		if m.MakespanOverBound < 1 {
			t.Errorf("%s: the rule beats the bound: %v of %v", c.name, m.MakespanS, b.Makespan)
		}
	}
}

// TestBoundAlone gives what a run would take with the fleet to itself.
func TestBoundAlone(t *testing.T) {
	for _, c := range []struct {
		name string
		w    *Workload
		want float64
	}{
		{"one test, its install", tiny(Job{DurationS: 40, Run: "r"}), 70},
		{"two tests on two agents", tiny(Job{DurationS: 40, Run: "r"}, Job{DurationS: 40, Run: "r"}), 70},
		{"the longest test counts", tiny(Job{DurationS: 90, Run: "r"}, Job{DurationS: 10, Run: "r"}), 120},
		{"one agent has the label", tiny(Job{DurationS: 40, Run: "r", Requires: on("14")}, Job{DurationS: 40, Run: "r", Requires: on("14")}), 110},
		{"another run may have installed the app", tiny(Job{DurationS: 40, Run: "r"}, Job{DurationS: 40, Run: "s"}), 40},
	} {
		same(t, c.name, Bound(c.w).Runs[0].Alone, c.want)
	}
}

// TestBoundRuns: a run's org and submission are those of its jobs.
func TestBoundRuns(t *testing.T) {
	w := tiny(Job{DurationS: 10, AtS: 7, Run: "x"}, Job{DurationS: 10, AtS: 9, Run: "y"}, Job{DurationS: 10, AtS: 7, Run: "x"})
	runs := Bound(w).Runs
	if len(runs) != 2 || runs[0].Submitted != 7 || runs[1].Submitted != 9 || runs[0].Org != 0 {
		t.Errorf("runs %+v", runs)
	}
}
