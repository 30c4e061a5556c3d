package schedule

import (
	"slices"
	"sort"
	"strings"

	"github.com/qualgent/qgjob"
)

// SetAgent adds an agent or replaces its record. Speed and install factor are
// kept between a thousandth and a thousand, or a single agent's nonsense would
// make every score one.
func (st *State) SetAgent(a Agent) {
	a.Speed, a.InstallFactor = sane(a.Speed), sane(a.InstallFactor)
	have := st.agents[a.ID]
	if have == nil {
		have = &agent{}
		st.agents[a.ID] = have
		at := sort.Search(len(st.fleet), func(i int) bool { return st.fleet[i].ID >= a.ID })
		st.fleet = slices.Insert(st.fleet, at, have)
		have.build = st.hold(a.Installed)
		st.rematch(have, a)
	} else {
		if have.Installed != a.Installed {
			st.release(have.Installed)
			have.build = st.hold(a.Installed)
		}
		if have.Org != a.Org || have.Target != a.Target || !sameLabels(have.Labels, a.Labels) {
			st.rematch(have, a)
		}
		if have.Up != a.Up || have.Draining != a.Draining || have.Speed != a.Speed {
			st.stale()
		}
	}
	served := have.Serving
	have.Agent = a
	if served != a.Serving {
		st.moveServing(have, served, a.Serving)
	}
}

// sane takes what is no factor for 1.
func sane(factor float64) float64 {
	if !(factor > 0) {
		return 1
	}
	return min(max(factor, 1e-3), 1e3)
}

// Agent gives an agent's record.
func (st *State) Agent(id qgjob.AgentID) (Agent, bool) {
	if a := st.agents[id]; a != nil {
		return a.Agent, true
	}
	return Agent{}, false
}

// RemoveAgent forgets an agent.
func (st *State) RemoveAgent(id qgjob.AgentID) {
	a := st.agents[id]
	if a == nil {
		return
	}
	st.moveServing(a, a.Serving, 0)
	st.release(a.Installed)
	delete(st.agents, id)
	at := slices.Index(st.fleet, a)
	st.fleet = slices.Delete(st.fleet, at, at+1)
	st.stale()
}

// Matching counts the agents that could serve a demand of an org: those that
// are up and not draining, and all that are known.
func (st *State) Matching(org qgjob.OrgID, target qgjob.Target, requires map[string]string) (up, known int) {
	for _, a := range st.fleet {
		if a.suits(org, target, requires) {
			known++
			if a.Up && !a.Draining {
				up++
			}
		}
	}
	return up, known
}

// Serving gives the agents that have a job of the group in hand, by id.
func (st *State) Serving(id qgjob.GroupID) []qgjob.AgentID {
	var ids []qgjob.AgentID
	for _, a := range st.serving[id] {
		ids = append(ids, a.ID)
	}
	return ids
}

func (st *State) moveServing(a *agent, from, to qgjob.GroupID) {
	if from != 0 {
		list := st.serving[from]
		if at := slices.Index(list, a); at >= 0 {
			list = slices.Delete(list, at, at+1)
		}
		st.setServing(from, list)
	}
	if to != 0 {
		list := st.serving[to]
		at := sort.Search(len(list), func(i int) bool { return list[i].ID >= a.ID })
		st.setServing(to, slices.Insert(list, at, a))
	}
}

func (st *State) setServing(id qgjob.GroupID, list []*agent) {
	if g := st.groups[id]; g != nil {
		g.serving = list
	}
	if len(list) == 0 {
		delete(st.serving, id)
		return
	}
	st.serving[id] = list
}

// stale makes every sum over agents be taken again when it is next asked for.
// They are taken in the order of ids: adding and subtracting as agents come
// and go would let rounding remember the order.
func (st *State) stale() {
	st.fresh = false
	for _, c := range st.classes {
		if c != nil {
			c.fresh = false
		}
	}
}

// speedOf is m_g of the rule: the speeds of the agents that could serve the
// class, summed.
func (st *State) speedOf(number int) float64 {
	c := st.classes[number]
	if c.fresh {
		return c.speed
	}
	c.speed, c.fresh = 0, true
	for _, a := range st.fleet {
		if a.Up && !a.Draining && a.match[number] {
			c.speed += a.Speed
		}
	}
	return c.speed
}

func (st *State) fleetSpeed() float64 {
	if st.fresh {
		return st.speed
	}
	st.speed, st.fresh = 0, true
	for _, a := range st.fleet {
		if a.Up && !a.Draining {
			st.speed += a.Speed
		}
	}
	return st.speed
}

// classOf finds or makes the class of a demand and counts one more user.
func (st *State) classOf(org qgjob.OrgID, target qgjob.Target, requires map[string]string) int {
	free := -1
	for i, c := range st.classes {
		if c == nil {
			free = i
		} else if c.org == org && c.target == target && sameLabels(c.requires, requires) {
			c.refs++
			return i
		}
	}
	if free < 0 {
		free = len(st.classes)
		st.classes = append(st.classes, nil)
		for _, a := range st.fleet {
			a.match = append(a.match, false)
		}
	}
	st.classes[free] = &class{refs: 1, org: org, target: target, requires: requires}
	for _, a := range st.fleet {
		a.match[free] = a.suits(org, target, requires)
	}
	return free
}

func (st *State) dropClass(number int) {
	c := st.classes[number]
	if c.refs--; c.refs == 0 {
		st.classes[number] = nil
	}
}

func (st *State) rematch(a *agent, to Agent) {
	a.match = make([]bool, len(st.classes))
	for i, c := range st.classes {
		a.match[i] = c != nil && to.suits(c.org, c.target, c.requires)
	}
	st.stale()
}

// suits reports whether the agent could serve a demand of an org.
func (a Agent) suits(org qgjob.OrgID, target qgjob.Target, requires map[string]string) bool {
	return a.serves(org) && a.Target == target && hasLabels(a.Labels, requires)
}

// serves reports whether the agent takes jobs of an org.
func (a Agent) serves(org qgjob.OrgID) bool { return a.Org == "" || a.Org == org }

func hasLabels(labels, requires map[string]string) bool {
	for k, v := range requires {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

func sameLabels(a, b map[string]string) bool { return len(a) == len(b) && hasLabels(a, b) }

// missing names the first requirement, by key, that the labels do not meet.
func missing(labels, requires map[string]string) string {
	keys := make([]string, 0, len(requires))
	for k, v := range requires {
		if got, ok := labels[k]; !ok || got != v {
			keys = append(keys, k+"="+v)
		}
	}
	sort.Strings(keys)
	return strings.Join(keys, ", ")
}
