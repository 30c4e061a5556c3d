package schedule

import "math"

// LoadWindow is over how many seconds arriving work is averaged.
const LoadWindow = 3600.0

// maxLoad keeps 1-rho away from 0: beyond it a queue only grows, and the rule
// has nothing to gain from a larger number.
const maxLoad = 0.95

// Load is an exponentially weighted average of arriving work.
type Load struct {
	Since float64 // when watching began
	At    float64 // when Sum was last brought up to date
	Sum   float64 // work that arrived, each second of it decayed with LoadWindow since
}

// Arrive gives the load after so many seconds of estimated work were
// submitted at an instant.
func (l Load) Arrive(now, work float64) Load {
	return Load{Since: l.Since, At: max(now, l.At), Sum: l.decayed(now) + work}
}

// Rate gives the work that arrives per second. As long as less than a window
// was watched, the average is over what was watched.
func (l Load) Rate(now float64) float64 {
	seen := 1 - math.Exp(-max(0, now-l.Since)/LoadWindow)
	if seen <= 0 {
		seen = 1 / LoadWindow
	}
	return l.decayed(now) / (LoadWindow * seen)
}

func (l Load) decayed(now float64) float64 {
	if now <= l.At {
		return l.Sum
	}
	return l.Sum * math.Exp((l.At-now)/LoadWindow)
}

// offered is rho: arriving work over what the fleet can do, at most maxLoad.
func (l Load) offered(now, speed float64) float64 {
	if speed <= 0 {
		return maxLoad
	}
	return min(maxLoad, l.Rate(now)/speed)
}

// Arrive adds estimated work, submitted at an instant, to the state's load.
func (st *State) Arrive(now, work float64) { st.load = st.load.Arrive(now, work) }

// SetLoad replaces the load, for an owner that kept it over a restart.
func (st *State) SetLoad(l Load) { st.load = l }

// Load gives the load as it stands.
func (st *State) Load() Load { return st.load }
