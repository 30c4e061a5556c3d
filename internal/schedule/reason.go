package schedule

import (
	"fmt"

	"github.com/qualgent/qgjob"
)

// Reason says why an agent does not take a group.
type Reason uint8

// The reasons. The zero Reason is none: the group is the one taken.
const (
	WrongTarget     Reason = iota + 1 // the group wants another sort of device
	MissingLabel                      // the agent lacks a required label
	PinnedElsewhere                   // the agent is pinned to another app version
	OverQuota                         // the org runs as many jobs as it may
	BuildBlocked                      // the build broke on this agent
	HeldByOther                       // RulePin: another agent keeps the group
	NotWorthIt                        // the install would cost more than it saves
	Outranked                         // another group scores higher
	NothingWaiting                    // the group has no waiting job
	AgentDown                         // the agent is not heard of
	AgentDraining                     // the agent takes no more jobs
	AgentBusy                         // the agent has a job in hand
	WrongOrg                          // the agent serves another org
	reasons                           // how many there are
)

var reasonWords = [reasons]string{
	"", "wrong_target", "missing_label", "pinned", "over_quota", "build_blocked", "held", "install_not_worth_it",
	"outranked", "nothing_waiting", "agent_offline", "agent_draining", "agent_busy", "wrong_org",
}

// String gives the stable word for the reason, "" for none.
func (r Reason) String() string {
	if r >= reasons {
		return fmt.Sprintf("reason_%d", uint8(r))
	}
	return reasonWords[r]
}

// Refusal is why one agent does not take one group now.
type Refusal struct {
	Agent  qgjob.AgentID
	Group  qgjob.GroupID
	Reason Reason
	Gain   float64       // NotWorthIt: seconds by which the group would end sooner
	Price  float64       // NotWorthIt: seconds by which it would have to
	By     qgjob.GroupID // Outranked: the group taken instead
	FreeAt float64       // AgentBusy: when the job in hand is expected to end
}

// Explain decides like Pick and also gives, for every group with waiting jobs
// that the agent could be offered, why it does not take it, by group id.
func Explain(st *State, id qgjob.AgentID, now float64, p Policy) (Choice, []Refusal) {
	list := []Refusal{}
	choice := decide(st, id, now, p, &list)
	for i := range list {
		list[i].Agent = id
	}
	sortRefusals(list)
	return choice, list
}

// ExplainGroup says of every agent why it does not take the group now, by
// agent id. A busy agent is judged as if it were free: the refusal is
// AgentBusy only if nothing else stands in the way. An agent that would take
// the group at once has the zero Reason.
func ExplainGroup(st *State, id qgjob.GroupID, now float64, p Policy) []Refusal {
	list := make([]Refusal, 0, len(st.fleet))
	for _, a := range st.fleet {
		r := explainPair(st, a, id, now, p)
		r.Agent, r.Group = a.ID, id
		list = append(list, r)
	}
	return list
}

func explainPair(st *State, a *agent, id qgjob.GroupID, now float64, p Policy) Refusal {
	g := st.groups[id]
	if g == nil || g.Waiting == 0 {
		return Refusal{Reason: NothingWaiting}
	}
	d := decision{st: st, agent: a, now: now, policy: p}
	if p.Rule == RulePin {
		d.hold()
		defer func() { st.scratch.held = st.scratch.held[:0] }()
	}
	if why := d.forbidden(g); why != 0 {
		return Refusal{Reason: why}
	}
	switch {
	case !a.Up:
		return Refusal{Reason: AgentDown}
	case a.Draining:
		return Refusal{Reason: AgentDraining}
	case a.Serving != 0:
		return Refusal{Reason: AgentBusy, FreeAt: a.FreeAt}
	}
	_, refusals := Explain(st, a.ID, now, p)
	for _, r := range refusals {
		if r.Group == id {
			return r
		}
	}
	return Refusal{}
}

// Text says the refusal to a person, with what would change it. It reads the
// state for names and numbers, so it is to be asked of the state that gave the
// refusal.
func (r Refusal) Text(st *State, now float64) string {
	a, g := st.agents[r.Agent], st.groups[r.Group]
	if a == nil || g == nil {
		return fmt.Sprintf("%s is not known any more; ask again", r.Group)
	}
	switch r.Reason {
	case 0:
		return fmt.Sprintf("agent %s takes it next", a.ID)
	case WrongOrg:
		return fmt.Sprintf("agent %s serves another org; an agent of org %s, or of all, would take it", a.ID, g.org.ID)
	case WrongTarget:
		return fmt.Sprintf("agent %s is of target %s and the job wants %s; an agent started with --target %s would take it", a.ID, a.Target, g.Target, g.Target)
	case MissingLabel:
		need := missing(a.Labels, g.Requires)
		return fmt.Sprintf("agent %s lacks %s; an agent with that label would take it", a.ID, need)
	case PinnedElsewhere:
		return fmt.Sprintf("agent %s is pinned to app version %s until that has no job left; another agent, or the end of the pin, would help", a.ID, a.Pinned)
	case OverQuota:
		return fmt.Sprintf("org %s runs %d jobs and its quota is %d; it waits for one of them to end, or for a higher quota (qgjob org set)", g.org.ID, g.org.Running, g.org.Quota)
	case BuildBlocked:
		return fmt.Sprintf("app version %s broke on agent %s and is kept off it for a while; another agent takes it, or this one later", g.Build.Version, a.ID)
	case HeldByOther:
		return fmt.Sprintf("another agent holds %s until it is empty (policy pin); policy qgjob would share it", g.ID)
	case NotWorthIt:
		return r.notWorthIt(g)
	case Outranked:
		return fmt.Sprintf("agent %s takes %s first, which scores higher; a higher priority or more agents would start it sooner", a.ID, r.By)
	case NothingWaiting:
		return fmt.Sprintf("%s has no waiting job", g.ID)
	case AgentDown:
		return fmt.Sprintf("agent %s is offline; start it again", a.ID)
	case AgentDraining:
		return fmt.Sprintf("agent %s is draining or in quarantine and takes no jobs now; another agent has to", a.ID)
	case AgentBusy:
		return fmt.Sprintf("agent %s is busy for about %.0f s more and may take it then", a.ID, max(0, r.FreeAt-now))
	}
	return r.Reason.String()
}

// notWorthIt says what an install would gain, and what would make it gain
// enough.
func (r Refusal) notWorthIt(g *group) string {
	wait := fmt.Sprintf("it waits for an agent that has app version %s, or for more jobs", g.Build.Version)
	if r.Gain <= 0 {
		return fmt.Sprintf("an install on agent %s would not end the group sooner than the agents that serve it; %s", r.Agent, wait)
	}
	return fmt.Sprintf("an install on agent %s would end the group %.1f s sooner and has to save more than %.1f s to be worth what others wait for it; %s, or for a lower price of installs", r.Agent, r.Gain, r.Price, wait)
}
