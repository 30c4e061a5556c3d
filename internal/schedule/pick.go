package schedule

import (
	"math"

	"github.com/qualgent/qgjob"
)

// Choice is the answer of Pick.
type Choice struct {
	Group   qgjob.GroupID // the group whose head the agent takes; 0 when it takes nothing
	Score   float64       // of the rule, in seconds of waiting
	Install float64       // seconds of install to expect before the test; 0 when the agent is warm
	Refused Tally         // refusals by reason; complete when nothing is taken, else as far as Pick had to look
}

// Tally counts refusals by reason.
type Tally [reasons]int

// org is a tenant with what one decision needs to know of it.
type org struct {
	Org
	open   bool    // has waiting work that this agent could take
	top    int     // highest priority among it
	used   float64 // virtual time now
	lag    float64 // used, above the least among the open orgs
	weight float64 // urgency times runs, summed over that work
	before float64 // the same of all open orgs that used no more than this one; -1 until asked for
}

// candidate is a group that the agent could take, as far as rules without
// numbers go.
type candidate struct {
	group   *group
	prio    int     // of the head, raised when it waited too long
	weight  float64 // urgency times waiting runs
	install float64
	refused bool // a reason was given already
}

// scratch is memory that decisions use again. It carries nothing from one to
// the next.
type scratch struct {
	candidates []candidate
	orgs       []*org
	held       []qgjob.GroupID
}

// Pick decides what a free agent takes at an instant. It changes nothing: the
// caller leases the group's head, then brings the state up to date. An agent
// that is unknown, down, draining or busy takes nothing.
func Pick(st *State, id qgjob.AgentID, now float64, p Policy) Choice {
	return decide(st, id, now, p, nil)
}

// decide is Pick; with a list it also notes why each group that waits is
// refused, in the order of the ids.
func decide(st *State, id qgjob.AgentID, now float64, p Policy, list *[]Refusal) Choice {
	a := st.agents[id]
	if a == nil || !a.Up || a.Draining || a.Serving != 0 {
		return Choice{}
	}
	d := decision{st: st, agent: a, now: now, policy: p, list: list}
	if p.Rule == RulePin {
		d.hold()
	}
	d.gather()
	if p.Rule == RuleQgjob {
		d.weigh()
		d.choose()
	} else {
		d.compare()
	}
	d.outrank()
	return d.choice
}

// decision is one call of Pick.
type decision struct {
	st     *State
	agent  *agent
	now    float64
	policy Policy
	warm   int     // highest priority among the work whose build is on the agent; 0 for none
	load   float64 // urgency-weighted runs that are expected to come and pay for an install
	choice Choice
	list   *[]Refusal
}

// gather finds the groups that the agent could take and opens their orgs.
func (d *decision) gather() {
	s := &d.st.scratch
	s.candidates, s.orgs = s.candidates[:0], s.orgs[:0]
	for _, g := range d.st.queue {
		if why := d.forbidden(g); why != 0 {
			d.refuse(Refusal{Group: g.ID, Reason: why})
			continue
		}
		if !g.org.open {
			g.org.open, g.org.top, g.org.weight, g.org.before = true, 0, 0, -1
			g.org.used = g.org.Used.Now(d.now)
			s.orgs = append(s.orgs, g.org)
		}
		g.org.top = max(g.org.top, g.HeadPriority)
		s.candidates = append(s.candidates, candidate{group: g})
	}
	for _, o := range s.orgs {
		o.open = false
	}
}

// forbidden applies the rules that no number outweighs.
func (d *decision) forbidden(g *group) Reason {
	if why := d.agent.barred(g); why != 0 {
		return why
	}
	if g.org.Quota > 0 && g.org.Running >= g.org.Quota {
		return OverQuota
	}
	for _, id := range d.st.scratch.held {
		if id == g.ID {
			return HeldByOther
		}
	}
	return 0
}

// barred gives the reason for which this agent can take no job of the group,
// whatever the others do.
func (a *agent) barred(g *group) Reason {
	switch {
	case !a.serves(g.Build.Org):
		return WrongOrg
	case g.Target != a.Target:
		return WrongTarget
	case !a.match[g.class]:
		return MissingLabel
	case a.Pinned != "" && a.Pinned != g.Build.Version:
		return PinnedElsewhere
	}
	for _, b := range a.Blocked {
		if b == g.Build {
			return BuildBlocked
		}
	}
	return 0
}

// weigh finds out what every candidate's org has used and who would wait
// longer for an install.
func (d *decision) weigh() {
	s := &d.st.scratch
	for i := range s.candidates {
		c := &s.candidates[i]
		c.prio = c.group.HeadPriority
		if d.now-c.group.HeadSubmitted > d.policy.MaxWait {
			c.prio = max(c.prio, c.group.org.top)
		}
		c.weight = urgency(c.prio) * float64(max(1, c.group.Runs))
		c.group.org.weight += c.weight
		c.install = d.install(c.group)
		if c.install == 0 {
			d.warm = max(d.warm, c.prio)
		}
	}
	least := math.Inf(1)
	for _, o := range s.orgs {
		least = min(least, o.used)
	}
	for _, o := range s.orgs {
		o.lag = o.used - least
	}
	rho := d.st.load.offered(d.now, d.st.fleetSpeed())
	d.load = d.policy.LoadShare * rho / (1 - rho) * d.st.load.urgency()
}

// before gives the urgency-weighted runs of all that would wait for the org's
// install: its own, and those of orgs that used no more than it did. Few orgs
// are asked for in a decision, so it is summed when it is.
func (d *decision) before(o *org) float64 {
	if o.before < 0 {
		o.before = 0
		for _, other := range d.st.scratch.orgs {
			if other == o || other.used <= o.used {
				o.before += other.weight
			}
		}
	}
	return o.before
}

// install gives s of the rule: how long an install of the group's build would
// hold this agent up.
func (d *decision) install(g *group) float64 {
	full := g.Install * d.agent.InstallFactor
	switch {
	case d.agent.SharedInstall && g.build != nil && g.build.uploaded:
		return max(0, g.build.ready-d.now)
	case d.agent.SharedInstall:
		return full
	case g.build != nil && g.build == d.agent.build:
		return 0
	}
	return full
}

// choose takes the highest score among the candidates worth their install;
// the lower id wins a tie. Unless reasons are wanted, a candidate that scores
// less than the best so far is not looked at further.
func (d *decision) choose() {
	for i := range d.st.scratch.candidates {
		c := &d.st.scratch.candidates[i]
		g := c.group
		fleet := d.st.speedOf(g.class)
		// Work in hand only lowers a score, so most candidates are out before their agents are looked at.
		if d.choice.Group != 0 && d.list == nil && d.score(c, crew{}, fleet) <= d.choice.Score {
			continue
		}
		serving := d.serving(g)
		score := d.score(c, serving, fleet)
		best := d.choice.Group == 0 || score > d.choice.Score
		if !best && d.list == nil {
			continue
		}
		if c.install > 0 && serving.speed > 0 {
			gain := joinGain(g.Work, serving, d.agent.Speed, c.install)
			price := d.policy.Thrift * c.install * (d.before(g.org) - c.weight + d.load) / (c.weight * fleet)
			if !(gain > price) {
				c.refused = true
				d.refuse(Refusal{Group: g.ID, Reason: NotWorthIt, Gain: gain, Price: price})
				continue
			}
		}
		if best {
			d.choice = Choice{Group: g.ID, Score: score, Install: c.install, Refused: d.choice.Refused}
		}
	}
}

// crew is the agents that have jobs of a group in hand and will take more of
// them. One that drains, went away or may not go on is none: the jobs that
// wait cannot count on it.
type crew struct {
	speed   float64 // summed
	rest    float64 // seconds until each is free, summed
	work    float64 // the same in seconds of work
	longest float64 // seconds until the last is free
}

func (d *decision) serving(g *group) crew {
	var c crew
	for _, a := range g.serving {
		if !a.Up || a.Draining || a.barred(g) != 0 {
			continue
		}
		left := max(0, a.FreeAt-d.now)
		c.speed += a.Speed
		c.rest += left
		c.work += left * a.Speed
		c.longest = max(c.longest, left)
	}
	return c
}
