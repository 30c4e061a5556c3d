package sim

import (
	"fmt"
	"math"

	"github.com/qualgent/qgjob/internal/schedule"
)

// maxGrowth is how many times the given fleet a search goes up to.
const maxGrowth = 64

// Fleet is an answer of SmallestFleet.
type Fleet struct {
	Agents      int     // how many agents
	Change      int     // against the workload's own fleet, as ScaleFleet takes it
	TTRP95S     float64 // the time to result that 95 of 100 runs stay within, seconds
	MakespanS   float64 // when the last job ended
	DeviceHours float64 // agents times the makespan: what the fleet costs while it stands
	BusyHours   float64 // of those, installing or testing
	Installs    int
}

// SmallestFleet finds the smallest fleet with which 95 of 100 runs have their
// result within the seconds given: the workload's own agents, cloned in turn or
// dropped from the end. More agents are taken to be no worse. It is an error
// when no fleet up to 64 times the given one is enough; it says how close the
// largest came.
func SmallestFleet(w *Workload, p schedule.Policy, within float64) (Fleet, error) {
	if !(within > 0) {
		return Fleet{}, fmt.Errorf("the target p95 is %g s; more than 0 is wanted", within)
	}
	unserved := len(newChecker(w, Schedule{}).impossible())
	try := func(agents int) (Fleet, bool, error) {
		scaled, err := ScaleFleet(w, agents-len(w.Agents))
		if err != nil {
			return Fleet{}, false, err
		}
		r, err := Run(scaled, p)
		if err != nil {
			return Fleet{}, false, err
		}
		f := r.fleet(scaled)
		f.Change = agents - len(w.Agents)
		return f, f.TTRP95S <= within && len(r.Impossible) == unserved, nil
	}
	low, high := 0, len(w.Agents) // low is too few
	best, ok, err := try(high)
	for ; err == nil && !ok; best, ok, err = try(high) {
		if high*2 > len(w.Agents)*maxGrowth || high*2 > maxAgents {
			return best, fmt.Errorf("no fleet of up to %d agents reaches a p95 of %.0f s: with %d it is %.0f s, and a run alone may need as long; shorter tests or installs would help", high, within, high, best.TTRP95S)
		}
		low, high = high, high*2
	}
	for err == nil && high-low > 1 {
		middle := (low + high) / 2
		var f Fleet
		if f, ok, err = try(middle); ok {
			best, high = f, middle
		} else {
			low = middle
		}
	}
	return best, err
}

// fleet sums up what a fleet did.
func (r *Result) fleet(w *Workload) Fleet {
	f := Fleet{Agents: len(w.Agents)}
	c := newChecker(w, r.Schedule())
	end := make([]float64, c.ix.runs)
	for i := range c.attempts {
		x := &c.attempts[i]
		c.attempt(x)
		f.BusyHours += (x.EndS - x.AtS) / 3600
		f.MakespanS = math.Max(f.MakespanS, x.EndS)
	}
	var times []float64
	begin := make([]float64, c.ix.runs)
	for i, j := range w.Jobs {
		if c.end[i] >= 0 {
			end[c.ix.run[i]], begin[c.ix.run[i]] = math.Max(end[c.ix.run[i]], c.end[i]), j.AtS
		}
	}
	for run, at := range end {
		if at > 0 {
			times = append(times, at-begin[run])
		}
	}
	f.Installs, f.TTRP95S = c.installs, percentile(times, 0.95)
	f.DeviceHours = float64(f.Agents) * f.MakespanS / 3600
	return f
}

// impossible gives the jobs that no agent can serve.
func (c *checker) impossible() []int {
	var ids []int
	for i, j := range c.w.Jobs {
		if !c.ix.served(c.ix.class[i]) {
			ids = append(ids, j.ID)
		}
	}
	return ids
}
