package sim

import (
	"math"
	"sort"
)

// Metrics say how good a schedule is. Times are seconds; ratios are over the
// lower bounds of Bound. A time to result is from a run's submission to the
// end of its last job; a slowdown is that over the least the run could take
// with the fleet to itself.
type Metrics struct {
	Workload          string  `json:"workload"`
	MakespanS         float64 `json:"makespan_s"`
	MakespanOverBound float64 `json:"makespan_over_bound"`
	Installs          int     `json:"installs"`
	MeanTTRS          float64 `json:"mean_ttr_s"`
	TTROverBound      float64 `json:"ttr_over_bound"`
	SlowdownP95       float64 `json:"slowdown_p95"`
	UrgentSlowdown    float64 `json:"urgent_slowdown"`    // mean over runs of priority 8 and above
	UrgentStartP95S   float64 `json:"urgent_start_p95_s"` // from submission to the test's begin
	LongestWaitS      float64 `json:"longest_wait_s"`
	VictimsP95        float64 `json:"victims_slowdown_p95"` // over runs of the first victim org and the orgs after it
	Jain              float64 `json:"jain"`                 // fairness between orgs, 1 is equal
	TTRP95S           float64 `json:"ttr_p95_s"`
}

// Measure gives the metrics of a schedule without fault. Jobs that are not
// done are left out.
func Measure(w *Workload, s Schedule) Metrics {
	return MeasureWith(w, s, Bound(w))
}

// MeasureWith is Measure with the bounds computed before, which is the larger part of the work.
func MeasureWith(w *Workload, s Schedule, b Bounds) Metrics {
	c := newChecker(w, s)
	for i := range c.attempts {
		c.attempt(&c.attempts[i])
	}
	m := Metrics{Workload: w.Name, Installs: c.installs}
	end, urgent := make([]float64, c.ix.runs), make([]bool, c.ix.runs)
	var starts []float64
	for i, j := range w.Jobs {
		if c.end[i] < 0 {
			continue
		}
		run, wait := c.ix.run[i], c.begin[i]-j.AtS
		m.MakespanS = math.Max(m.MakespanS, c.end[i])
		end[run] = math.Max(end[run], c.end[i])
		m.LongestWaitS = math.Max(m.LongestWaitS, wait)
		if j.Priority >= 8 {
			starts = append(starts, wait)
			urgent[run] = true
		}
	}
	m.MakespanOverBound = ratio(m.MakespanS, b.Makespan)
	m.UrgentStartP95S = percentile(starts, 0.95)
	m.overRuns(w, b, end, urgent)
	m.round()
	return m
}

// overRuns adds what is measured by run.
func (m *Metrics) overRuns(w *Workload, b Bounds, end []float64, urgent []bool) {
	victim := -1
	for i, o := range w.Orgs {
		if o.Victim {
			victim = i
			break
		}
	}
	var times, slow, urgentSlow, victims []float64
	speedups, counts := make([]float64, len(w.Orgs)), make([]float64, len(w.Orgs))
	for run, r := range b.Runs {
		if end[run] == 0 {
			continue
		}
		took := end[run] - r.Submitted
		slowdown := ratio(took, r.Alone)
		times, slow = append(times, took), append(slow, slowdown)
		if urgent[run] {
			urgentSlow = append(urgentSlow, slowdown)
		}
		if victim >= 0 && r.Org >= victim {
			victims = append(victims, slowdown)
		}
		speedups[r.Org] += ratio(r.Alone, took)
		counts[r.Org]++
	}
	m.MeanTTRS = mean(times)
	m.TTROverBound = ratio(m.MeanTTRS, b.MeanTTR)
	m.UrgentSlowdown = mean(urgentSlow)
	m.TTRP95S = percentile(times, 0.95)
	m.SlowdownP95 = percentile(slow, 0.95)
	m.VictimsP95 = percentile(victims, 0.95)
	var sum, squares, n float64
	for o := range speedups {
		if counts[o] > 0 {
			x := speedups[o] / counts[o]
			sum, squares, n = sum+x, squares+x*x, n+1
		}
	}
	m.Jain = ratio(sum*sum, n*squares)
}

func (m *Metrics) round() {
	for _, x := range []*float64{
		&m.MakespanS, &m.MakespanOverBound, &m.MeanTTRS, &m.TTROverBound, &m.SlowdownP95, &m.UrgentSlowdown,
		&m.UrgentStartP95S, &m.LongestWaitS, &m.VictimsP95, &m.Jain, &m.TTRP95S,
	} {
		*x = math.Round(*x*1000) / 1000
	}
}

// percentile gives the smallest value that the share given of all do not
// exceed; 0 of none. It sorts its argument.
func percentile(x []float64, share float64) float64 {
	if len(x) == 0 {
		return 0
	}
	sort.Float64s(x)
	return x[max(0, int(math.Ceil(share*float64(len(x))))-1)]
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return ratio(sum, float64(len(x)))
}

// ratio is a/b, and 0 where there is nothing to divide by.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
