package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// Shapes lists the workloads that Generate makes: what fleets of phones see on
// ordinary and on bad days.
var Shapes = []string{
	"nightly",   // three runs of 500 tests at once
	"prstorm",   // pull requests at two thirds of what the fleet can do, each with its own build
	"prheavy",   // the same at 85 %
	"lowload",   // the same at a quarter
	"noisy",     // one org floods the fleet, five others submit small runs
	"hotfix",    // eight regression runs, then a few urgent small ones
	"heavytail", // most tests are short, a few take half an hour
	"hetero",    // five sorts of agents, some shared-install, runs that fit few of them
	"failures",  // agents go away every half hour
	"mixedday",  // two large runs, then a day of pull requests of several pushes each, and hotfixes
	"starve",    // urgent work at 95 % load, and one run of low priority
}

// Generate makes a workload of a shape. The same shape and seed give the same
// workload.
func Generate(shape string, seed uint64) (*Workload, error) {
	at := slices.Index(Shapes, shape)
	if at < 0 {
		return nil, fmt.Errorf("workload shape %q is unknown; allowed: %s", shape, strings.Join(Shapes, ", "))
	}
	m := &maker{r: rand.New(rand.NewPCG(seed, uint64(at))), w: &Workload{Name: shape}} //nolint:gosec // a workload that its seed repeats
	m.durations = m.ordinary
	switch shape {
	case "nightly":
		m.nightly()
	case "prstorm":
		m.pullRequests(20, 3, 60, 0.65, 30, 20, 100)
	case "prheavy":
		m.pullRequests(20, 3, 60, 0.85, 30, 20, 100)
	case "lowload":
		m.lowload()
	case "noisy":
		m.noisy()
	case "hotfix":
		m.hotfix()
	case "heavytail":
		m.heavytail()
	case "hetero":
		m.hetero()
	case "failures":
		m.pullRequests(20, 3, 60, 0.65, 30, 20, 100)
		m.outages(2100, 60, 245)
	case "mixedday":
		m.mixedday()
	case "starve":
		m.starve()
	}
	m.finish()
	return m.w, nil
}

// maker makes one workload.
type maker struct {
	r         *rand.Rand
	w         *Workload
	durations func() float64 // draws what a test takes in the mean
	tests     [][]float64    // by org: the mean of each test
	runs      int
}

func (m *maker) uniform(from, to float64) float64 { return from + (to-from)*m.r.Float64() }
func (m *maker) after(mean float64) float64       { return mean * m.r.ExpFloat64() }

// ordinary draws a test's mean: a minute on average, most of them shorter.
func (m *maker) ordinary() float64 { return 47 * math.Exp(0.7*m.r.NormFloat64()) }

// tailed draws a test's mean from a Pareto distribution: a few take very long.
func (m *maker) tailed() float64 { return math.Min(1800, 12*math.Pow(1-m.r.Float64(), -1/1.15)) }

func (m *maker) orgs(n, tests int) {
	for range n {
		m.w.Orgs = append(m.w.Orgs, Org{ID: fmt.Sprintf("org%d", len(m.w.Orgs)), Weight: 1})
		means := make([]float64, tests)
		for t := range means {
			means[t] = m.durations()
		}
		m.tests = append(m.tests, means)
	}
}

func (m *maker) fleet(n int) {
	for range n {
		m.agent(1, 1, false, "cap0")
	}
}

func (m *maker) agent(speed, factor float64, shared bool, labels ...string) {
	a := Agent{ID: fmt.Sprintf("agent%d", len(m.w.Agents)), Labels: map[string]string{}, Speed: speed, InstallFactor: factor, SharedInstall: shared}
	for _, l := range labels {
		a.Labels[l] = "yes"
	}
	m.w.Agents = append(m.w.Agents, a)
}

// app makes a new app version of an org.
func (m *maker) app(org int, install float64) int {
	m.w.Apps = append(m.w.Apps, App{Org: m.w.Orgs[org].ID, Version: fmt.Sprintf("v%d", len(m.w.Apps)), InstallS: install})
	return len(m.w.Apps) - 1
}

// run submits a run of so many tests of an org's, drawn without repetition.
// Its requirements follow its jobs' places: requires may be nil.
func (m *maker) run(at float64, org, app, tests, priority int, requires func(i int) []string) {
	m.runs++
	name := fmt.Sprintf("run%d", m.runs)
	for i, t := range m.r.Perm(len(m.tests[org]))[:tests] {
		j := Job{
			AtS: at, Run: name, Org: m.w.Orgs[org].ID, Version: m.w.Apps[app].Version, Requires: map[string]string{},
			Test: fmt.Sprintf("t%d", t), Priority: priority,
			DurationS: math.Max(5, m.tests[org][t]*math.Exp(0.25*m.r.NormFloat64())),
		}
		if requires != nil {
			for _, label := range requires(i) {
				j.Requires[label] = "yes"
			}
		}
		m.w.Jobs = append(m.w.Jobs, j)
	}
}

// finish orders the jobs by time, numbers them and writes history: nine tests
// of ten were seen one to eight times before.
func (m *maker) finish() {
	slices.SortStableFunc(m.w.Jobs, func(a, b Job) int {
		switch {
		case a.AtS < b.AtS:
			return -1
		case a.AtS > b.AtS:
			return 1
		}
		return 0
	})
	for i := range m.w.Jobs {
		m.w.Jobs[i].ID = i
	}
	for org, means := range m.tests {
		for t, mean := range means {
			if m.r.Float64() >= 0.9 {
				continue
			}
			h := History{Org: m.w.Orgs[org].ID, Test: fmt.Sprintf("t%d", t), N: 1 + m.r.IntN(8)}
			for range h.N {
				h.MeanS += mean * math.Exp(0.25*m.r.NormFloat64()) / float64(h.N)
			}
			m.w.History = append(m.w.History, h)
		}
	}
}

// outages makes every agent go away again and again.
func (m *maker) outages(between, least, more float64) {
	until := 0.0
	for _, j := range m.w.Jobs {
		until = math.Max(until, j.AtS)
	}
	until = 5*until + 2000
	for i := range m.w.Agents {
		for t := m.after(between); t < until; {
			end := t + least + m.after(more)
			m.w.Agents[i].Outages = append(m.w.Agents[i].Outages, [2]float64{t, end})
			t = end + 1 + m.after(between)
		}
	}
}
