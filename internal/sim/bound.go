package sim

import (
	"container/heap"
	"math"
	"sort"
)

// Bounds are what no schedule of a workload can beat.
type Bounds struct {
	Makespan float64    // the largest of several bounds on the end of the last job
	MeanTTR  float64    // on the mean time to result
	Runs     []RunBound // by run, in the order of first appearance
}

// RunBound is what is known of a run before it is played.
type RunBound struct {
	Org       int     // place among the workload's orgs
	Submitted float64 // seconds
	Alone     float64 // the least it could take with the fleet to itself
}

// demand is a class of requirements with the agents that meet it.
type demand struct {
	class   int
	agents  []*Agent
	speed   float64 // of all, summed
	fastest float64
	slowest float64
	shares  bool // some of them share installs
	outages bool
}

// Bound computes the lower bounds. The makespan: for every set of jobs
// released at or after an instant that demand at least some labels, the
// capacity of the agents that have them, the longest job, and the dual test of
// splittable batch setups (Deppert and Jansen 2019). The mean time to result:
// each run alone, and shortest remaining time first on the whole fleet pooled
// into one machine.
func Bound(w *Workload) Bounds {
	ix := newIndex(w)
	f := newFacts(w, ix)
	b := Bounds{Runs: make([]RunBound, ix.runs)}
	for class := range ix.classes {
		if d, ok := f.demand(class); ok {
			b.Makespan = math.Max(b.Makespan, f.makespan(d))
		}
	}
	b.MeanTTR = f.meanTTR(b.Runs)
	return b
}

// facts are what both bounds need of a workload.
type facts struct {
	w         *Workload
	ix        *index
	factor    float64   // the least install factor of all agents
	first     []float64 // by app: when its first job came
	onlyRun   []int     // by app: the one run that uses it; -2 when there are several
	shared    []bool    // by app: jobs of it can only run where installs are shared
	notShared []bool    // by app: jobs of it can run elsewhere
	latest    []int     // jobs, last released first
}

func newFacts(w *Workload, ix *index) *facts {
	f := &facts{
		w: w, ix: ix, factor: math.Inf(1), first: make([]float64, len(w.Apps)), onlyRun: make([]int, len(w.Apps)),
		shared: make([]bool, len(w.Apps)), notShared: make([]bool, len(w.Apps)),
	}
	for i := range w.Apps {
		f.first[i], f.onlyRun[i] = math.Inf(1), -1
	}
	for _, a := range w.Agents {
		f.factor = math.Min(f.factor, a.InstallFactor)
	}
	for i, j := range w.Jobs {
		if !ix.served(ix.class[i]) {
			continue // it is never done and bounds nothing
		}
		app := ix.app[i]
		f.first[app] = math.Min(f.first[app], j.AtS)
		switch f.onlyRun[app] {
		case -1:
			f.onlyRun[app] = ix.run[i]
		case ix.run[i]:
		default:
			f.onlyRun[app] = -2
		}
		if ix.shared[ix.class[i]] {
			f.shared[app] = true
		} else {
			f.notShared[app] = true
		}
		f.latest = append(f.latest, i)
	}
	sort.SliceStable(f.latest, func(i, k int) bool { return w.Jobs[f.latest[i]].AtS > w.Jobs[f.latest[k]].AtS })
	return f
}

func (f *facts) demand(class int) (demand, bool) {
	d := demand{class: class, slowest: math.Inf(1)}
	for i := range f.w.Agents {
		if !f.ix.serves[class][i] {
			continue
		}
		a := &f.w.Agents[i]
		d.agents = append(d.agents, a)
		d.speed += a.Speed
		d.fastest = math.Max(d.fastest, a.Speed)
		d.slowest = math.Min(d.slowest, a.Speed)
		d.shares = d.shares || a.SharedInstall
		d.outages = d.outages || len(a.Outages) > 0
	}
	return d, len(d.agents) > 0
}

// makespan bounds the end of the last job that demands what d does, or more.
func (f *facts) makespan(d demand) float64 {
	bound, total := 0.0, 0.0
	work := make([]float64, len(f.w.Apps))
	var jobs []int
	for _, i := range f.latest {
		if f.ix.over[f.ix.class[i]][d.class] {
			jobs = append(jobs, i)
		}
	}
	for n, i := range jobs {
		j, app := &f.w.Jobs[i], f.ix.app[i]
		total += j.DurationS
		work[app] += j.DurationS
		bound = math.Max(bound, j.AtS+j.DurationS/d.fastest)
		if f.first[app] == j.AtS && !f.ix.shared[f.ix.class[i]] {
			bound = math.Max(bound, j.AtS+j.DurationS/d.fastest+f.w.Apps[app].InstallS*f.factor)
		}
		if n+1 == len(jobs) || f.w.Jobs[jobs[n+1]].AtS != j.AtS {
			bound = math.Max(bound, f.fromRelease(d, j.AtS, total, work))
		}
	}
	return bound
}

// fromRelease bounds the end of the jobs released at or after an instant, by
// capacity and by the dual test.
func (f *facts) fromRelease(d demand, release, total float64, work []float64) float64 {
	all := total
	var parts, setups []float64
	for app, p := range work {
		if p == 0 {
			continue
		}
		setup := f.w.Apps[app].InstallS * f.factor
		// An upload by an agent outside would spare those inside theirs.
		inside := !d.shares || len(d.agents) == len(f.w.Agents)
		fresh := f.first[app] >= release && f.notShared[app] && inside
		if fresh {
			all += setup * d.slowest
		}
		if !fresh || f.shared[app] {
			setup = 0
		}
		parts, setups = append(parts, p), append(setups, setup)
	}
	bound := capacity(d, release, all)
	if !d.outages && d.slowest == d.fastest && !d.shares {
		bound = math.Max(bound, release+splittable(parts, setups, d.speed, d.fastest))
	}
	return bound
}

// capacity gives the earliest instant by which the agents could have done so
// much work since the release.
func capacity(d demand, release, work float64) float64 {
	type change struct{ at, speed float64 }
	var changes []change
	for _, a := range d.agents {
		for _, o := range a.Outages {
			if o[1] > release {
				changes = append(changes, change{math.Max(o[0], release), -a.Speed}, change{o[1], a.Speed})
			}
		}
	}
	sort.SliceStable(changes, func(i, k int) bool { return changes[i].at < changes[k].at })
	now, speed := release, d.speed
	for _, c := range changes {
		can := speed * (c.at - now)
		if can >= work {
			break
		}
		work -= can
		now = c.at
		speed += c.speed
	}
	return now + work/speed
}

// splittable gives the shortest window in which identical machines could do
// all parts if a part may be split at will but every machine that works on it
// pays its setup. machines is their speed, summed; fastest that of each.
func splittable(parts, setups []float64, machines, fastest float64) float64 {
	fits := func(window float64) bool {
		sum := 0.0
		for i, p := range parts {
			if window <= setups[i] {
				return false
			}
			sum += p + setups[i]*fastest*math.Max(1, math.Ceil(p/fastest/(window-setups[i])-1e-9))
		}
		return sum <= machines*window
	}
	low, high := 0.0, 1.0
	for !fits(high) {
		high *= 2
	}
	for range 60 {
		if middle := (low + high) / 2; fits(middle) {
			high = middle
		} else {
			low = middle
		}
	}
	return high
}

// meanTTR fills in the runs and bounds the mean of their times to result.
func (f *facts) meanTTR(runs []RunBound) float64 {
	jobs := make([][]int, len(runs))
	for i := range f.w.Jobs {
		if f.ix.served(f.ix.class[i]) {
			jobs[f.ix.run[i]] = append(jobs[f.ix.run[i]], i)
		}
	}
	speed, slowest := 0.0, math.Inf(1)
	for _, a := range f.w.Agents {
		speed += a.Speed
		slowest = math.Min(slowest, a.Speed)
	}
	var loads pool
	alone := 0.0
	for run, list := range jobs {
		if len(list) == 0 {
			continue
		}
		first := &f.w.Jobs[list[0]]
		work, setup, least := f.alone(list)
		runs[run] = RunBound{Org: f.ix.org[list[0]], Submitted: first.AtS, Alone: least}
		alone += least
		loads = append(loads, load{release: first.AtS, left: work + setup*slowest})
	}
	return ratio(math.Max(alone, shortestFirst(loads, speed)), float64(len(loads)))
}

// alone gives a run's work, the install that it cannot share with another run,
// and the least time it takes with the fleet to itself.
func (f *facts) alone(jobs []int) (work, setup, least float64) {
	common, shared := f.ix.classes[f.ix.class[jobs[0]]], true
	for _, i := range jobs {
		work += f.w.Jobs[i].DurationS
		shared = shared && f.ix.shared[f.ix.class[i]]
		common = intersect(common, f.ix.classes[f.ix.class[i]])
	}
	speed, fastest := 0.0, 0.0
	for _, a := range f.w.Agents {
		if covers(a.Labels, common) {
			speed += a.Speed
			fastest = math.Max(fastest, a.Speed)
		}
	}
	if app := f.ix.app[jobs[0]]; f.onlyRun[app] >= 0 && !shared {
		setup = f.w.Apps[app].InstallS * f.factor
	}
	least = setup + work/speed
	for _, i := range jobs {
		least = math.Max(least, f.w.Jobs[i].DurationS/fastest+setup)
	}
	return work, setup, least
}

func intersect(a, b map[string]string) map[string]string {
	both := map[string]string{}
	for k, v := range a {
		if got, ok := b[k]; ok && got == v {
			both[k] = v
		}
	}
	return both
}

// load is a run on the pooled machine.
type load struct{ release, left float64 }

// pool is a heap of loads, the least work left on top.
type pool []load

func (p pool) Len() int           { return len(p) }
func (p pool) Less(i, k int) bool { return p[i].left < p[k].left }
func (p pool) Swap(i, k int)      { p[i], p[k] = p[k], p[i] }
func (p *pool) Push(x any)        { *p = append(*p, x.(load)) }
func (p *pool) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}

// shortestFirst gives the sum of the times in the system when one machine of
// that speed always works on the load with the least left, which no other
// order beats.
func shortestFirst(loads pool, speed float64) float64 {
	sort.SliceStable(loads, func(i, k int) bool { return loads[i].release < loads[k].release })
	var active pool
	now, sum := 0.0, 0.0
	for next := 0; next < len(loads) || len(active) > 0; {
		if len(active) == 0 {
			now = math.Max(now, loads[next].release)
		}
		for next < len(loads) && loads[next].release <= now {
			heap.Push(&active, loads[next])
			next++
		}
		end := now + active[0].left/speed
		if next < len(loads) && loads[next].release < end {
			active[0].left -= (loads[next].release - now) * speed
			now = loads[next].release
			continue
		}
		now = end
		sum += now - active[0].release
		heap.Pop(&active)
	}
	return sum
}
