package sim

import (
	"fmt"
	"slices"
)

// ScaleFleet gives the workload with n agents more, which are clones of those
// that there are in turn, or with the last -n agents gone. At least one agent
// stays, and no fleet is larger than a workload may have.
func ScaleFleet(w *Workload, n int) (*Workload, error) {
	to := len(w.Agents) + n
	if to < 1 || to > maxAgents {
		return nil, fmt.Errorf("a fleet of %d agents changed by %+d would have %d; allowed: 1 to %d", len(w.Agents), n, to, maxAgents)
	}
	scaled := *w
	scaled.Agents = slices.Clone(w.Agents[:min(to, len(w.Agents))])
	taken := map[string]bool{}
	for _, a := range w.Agents {
		taken[a.ID] = true
	}
	for i := 0; len(scaled.Agents) < to; i++ {
		a := w.Agents[i%len(w.Agents)]
		for n := i/len(w.Agents) + 2; ; n++ {
			if id := fmt.Sprintf("%s-%d", a.ID, n); !taken[id] {
				a.ID = id
				break
			}
		}
		taken[a.ID] = true
		scaled.Agents = append(scaled.Agents, a)
	}
	return &scaled, nil
}
