package sim

import (
	"fmt"
	"math"
	"sort"
)

// epsilon is how far instants may be off, in seconds: schedules are written
// with rounding.
const epsilon = 1e-3

// Fault is one rule that a schedule breaks.
type Fault string

// Verify checks a schedule against every rule of its workload: each job done
// once, after it was submitted, on an agent that has its labels, is free, is
// there, and has the app; installs and tests as long as they take; priority
// order inside a group. Jobs that no agent can serve are left out.
func Verify(w *Workload, s Schedule) []Fault {
	c := newChecker(w, s)
	for i := range c.attempts {
		c.attempt(&c.attempts[i])
	}
	for i, j := range w.Jobs {
		if c.end[i] < 0 && c.ix.served(c.ix.class[i]) {
			c.fault("job %d is never done", j.ID)
		}
	}
	c.inversions()
	return c.faults
}

// checker walks a schedule in the order of time. Measuring uses it too: it is
// what counts installs.
type checker struct {
	w         *Workload
	ix        *index
	attempts  []Attempt
	jobNo     map[int]int
	agentNo   map[string]int
	installed []int     // app by agent, -1 for none
	busy      []float64 // until when, by agent
	seen      []float64 // when each agent last took a job
	uploads   map[int]float64
	installs  int
	lost      []bool // by job: it was lost at least once
	taken     []float64
	begin     []float64
	end       []float64 // by job; -1 when it is not done
	faults    []Fault
}

func newChecker(w *Workload, s Schedule) *checker {
	c := &checker{
		w: w, ix: newIndex(w), jobNo: map[int]int{}, agentNo: map[string]int{}, uploads: map[int]float64{},
		installed: make([]int, len(w.Agents)), busy: make([]float64, len(w.Agents)), seen: make([]float64, len(w.Agents)),
		lost: make([]bool, len(w.Jobs)), taken: make([]float64, len(w.Jobs)), begin: make([]float64, len(w.Jobs)), end: make([]float64, len(w.Jobs)),
	}
	for i, j := range w.Jobs {
		c.jobNo[j.ID], c.end[i] = i, -1
	}
	for i, a := range w.Agents {
		c.agentNo[a.ID], c.installed[i] = i, -1
	}
	c.attempts = append(c.attempts, s.Attempts...)
	sort.SliceStable(c.attempts, func(i, k int) bool { return c.attempts[i].AtS < c.attempts[k].AtS })
	return c
}

func (c *checker) fault(format string, args ...any) {
	c.faults = append(c.faults, Fault(fmt.Sprintf(format, args...)))
}

func (c *checker) attempt(x *Attempt) {
	job, ok := c.jobNo[x.Job]
	agent, ok2 := c.agentNo[x.Agent]
	if !ok || !ok2 {
		c.fault("attempt of job %d on agent %q: one of them is not in the workload", x.Job, x.Agent)
		return
	}
	j, a := &c.w.Jobs[job], &c.w.Agents[agent]
	switch {
	case x.AtS < j.AtS-epsilon:
		c.fault("job %d is taken at %.3f, before it was submitted at %.3f", j.ID, x.AtS, j.AtS)
	case !c.ix.serves[c.ix.class[job]][agent]:
		c.fault("job %d is on agent %s, which lacks a requirement", j.ID, a.ID)
	}
	if x.AtS < c.busy[agent]-epsilon {
		c.fault("agent %s is busy until %.3f and takes job %d at %.3f", a.ID, c.busy[agent], j.ID, x.AtS)
	}
	c.outages(x, a, agent)
	c.seen[agent] = x.AtS
	install := c.install(x.AtS, a, agent, job)
	c.busy[agent] = x.EndS
	switch {
	case x.Outcome == Lost:
		c.lose(x, a, job)
		return
	case x.Outcome != Done:
		c.fault("job %d has outcome %q; done or lost is wanted", j.ID, x.Outcome)
	case x.BeginS < x.AtS+install-epsilon:
		c.fault("job %d begins at %.3f, its install ends at %.3f", j.ID, x.BeginS, x.AtS+install)
	}
	if took := j.DurationS / a.Speed; math.Abs(x.EndS-x.BeginS-took) > epsilon {
		c.fault("job %d lasts %.3f and should last %.3f", j.ID, x.EndS-x.BeginS, took)
	}
	if c.end[job] >= 0 {
		c.fault("job %d is done twice", j.ID)
	}
	c.taken[job], c.begin[job], c.end[job] = x.AtS, x.BeginS, x.EndS
}

// outages wipes the agent for outages that began since it last took a job, and
// refuses an attempt that runs through one.
func (c *checker) outages(x *Attempt, a *Agent, agent int) {
	for _, o := range a.Outages {
		if o[0] > c.seen[agent]-epsilon && o[0] <= x.AtS+epsilon {
			c.installed[agent] = -1
		}
		if x.AtS < o[1]-epsilon && x.EndS > o[0]+epsilon {
			c.fault("job %d runs on agent %s through its outage at %.3f", x.Job, a.ID, o[0])
		}
	}
}

// install counts an install when it begins and gives how long the attempt has
// to wait for it.
func (c *checker) install(now float64, a *Agent, agent, job int) float64 {
	app := c.ix.app[job]
	full := c.w.Apps[app].InstallS * a.InstallFactor
	if a.SharedInstall {
		if ready, ok := c.uploads[app]; ok {
			return math.Max(0, ready-now)
		}
		c.uploads[app] = now + full
		c.installs++
		return full
	}
	if c.installed[agent] == app {
		return 0
	}
	c.installed[agent] = app
	c.installs++
	return full
}

func (c *checker) lose(x *Attempt, a *Agent, job int) {
	c.lost[job] = true
	for _, o := range a.Outages {
		if math.Abs(o[0]-x.EndS) < epsilon {
			return
		}
	}
	c.fault("job %d is lost at %.3f on agent %s, which has no outage then", x.Job, x.EndS, a.ID)
}

// inversions finds jobs taken while a job of the same group with a higher
// priority waited. Jobs that were lost once are left out: when those wait
// again depends on the lease.
func (c *checker) inversions() {
	groups := map[[2]int][]int{}
	var keys [][2]int
	for i := range c.w.Jobs {
		if c.lost[i] || c.end[i] < 0 {
			continue
		}
		key := [2]int{c.ix.app[i], c.ix.class[i]}
		if groups[key] == nil {
			keys = append(keys, key)
		}
		groups[key] = append(groups[key], i)
	}
	for _, key := range keys {
		jobs := groups[key]
		sort.SliceStable(jobs, func(i, k int) bool { return c.taken[jobs[i]] < c.taken[jobs[k]] })
		for i, first := range jobs {
			for _, later := range jobs[i+1:] {
				a, b := &c.w.Jobs[first], &c.w.Jobs[later]
				if b.Priority > a.Priority && b.AtS < c.taken[first]-1e-6 && c.taken[later] > c.taken[first]+1e-6 {
					c.fault("job %d of priority %d is taken at %.3f, before waiting job %d of priority %d", a.ID, a.Priority, c.taken[first], b.ID, b.Priority)
				}
			}
		}
	}
}
