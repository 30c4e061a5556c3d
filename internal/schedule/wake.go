package schedule

import (
	"sort"

	"github.com/qualgent/qgjob"
)

// WakeOrder gives the free agents in the order in which they are to be offered
// work when work arrives: those first that have the build of a waiting group,
// then the faster, then the one with the shorter installs, then by id.
// The owner asks Pick for each in turn and stops at Waiting jobs.
func WakeOrder(st *State) []qgjob.AgentID {
	type idle struct {
		agent *agent
		warm  bool
	}
	wanted := map[*build]bool{}
	for _, g := range st.queue {
		if g.build != nil {
			wanted[g.build] = true
		}
	}
	var free []idle
	for _, a := range st.fleet {
		if a.Up && !a.Draining && a.Serving == 0 {
			free = append(free, idle{a, a.build != nil && wanted[a.build]})
		}
	}
	sort.SliceStable(free, func(i, k int) bool {
		x, y := free[i], free[k]
		switch {
		case x.warm != y.warm:
			return x.warm
		case x.agent.Speed != y.agent.Speed:
			return x.agent.Speed > y.agent.Speed
		}
		return x.agent.InstallFactor < y.agent.InstallFactor
	})
	ids := make([]qgjob.AgentID, len(free))
	for i, f := range free {
		ids[i] = f.agent.ID
	}
	return ids
}

func sortRefusals(list []Refusal) {
	sort.Slice(list, func(i, k int) bool { return list[i].Group < list[k].Group })
}
