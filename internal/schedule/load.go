package schedule

import "math"

// LoadWindow is over how many seconds arriving work is averaged.
const LoadWindow = 3600.0

// maxLoad keeps 1-rho away from 0: beyond it a queue only grows, and the rule
// has nothing to gain from a larger number.
const maxLoad = 0.955

// quiet is how many seconds without work are taken to lie before watching
// began. The first submission to a fresh server is a burst, not a rate: without
// them it would look as if as much arrived every second.
const quiet = 900.0

// Load is an exponentially weighted average of arriving work.
type Load struct {
	Since  float64 // when watching began
	At     float64 // when the sums were last brought up to date
	Sum    float64 // work that arrived, each second of it decayed with LoadWindow since
	Urgent float64 // the same, each second of work counted by the urgency of its priority
}

// Arrive gives the load after so many seconds of estimated work of a priority
// were submitted at an instant.
func (l Load) Arrive(now, work float64, priority int) Load {
	left := l.left(now)
	return Load{Since: l.Since, At: max(now, l.At), Sum: l.Sum*left + work, Urgent: l.Urgent*left + work*urgency(priority)}
}

// Rate gives the work that arrives per second. As long as less than a window
// was watched, the average is over what was watched and the quiet before it.
func (l Load) Rate(now float64) float64 {
	seen := 1 - math.Exp(-(quiet+max(0, now-l.Since))/LoadWindow)
	return l.Sum * l.left(now) / (LoadWindow * seen)
}

// left is what is left at an instant of what counted 1 when the sums were
// brought up to date.
func (l Load) left(now float64) float64 {
	if now <= l.At {
		return 1
	}
	return math.Exp((l.At - now) / LoadWindow)
}

// urgency is what a run counts for in the mean of what arrives; that of the
// middle priority while nothing is known.
func (l Load) urgency() float64 {
	if l.Sum <= 0 {
		return 1
	}
	return min(max(l.Urgent/l.Sum, urgencies[0]), urgencies[len(urgencies)-1])
}

// offered is rho: arriving work over what the fleet can do, at most maxLoad.
func (l Load) offered(now, speed float64) float64 {
	if speed <= 0 {
		return maxLoad
	}
	return min(maxLoad, l.Rate(now)/speed)
}

// Arrive adds estimated work of a priority, submitted at an instant, to the
// state's load.
func (st *State) Arrive(now, work float64, priority int) {
	st.load = st.load.Arrive(now, work, priority)
}

// SetLoad replaces the load, for an owner that kept it over a restart.
func (st *State) SetLoad(l Load) { st.load = l }

// Load gives the load as it stands.
func (st *State) Load() Load { return st.load }
