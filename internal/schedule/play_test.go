package schedule

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/qualgent/qgjob"
	"pgregory.net/rapid"
)

// play is a whole small server made of lists: jobs arrive and agents come, go
// and end their tests in any order. It keeps the state the way the owner of
// one has to, and knows what is true without it.
type play struct {
	t      *rapid.T
	st     *State
	now    float64
	seq    int64
	groups []*playGroup
	agents []*playAgent
	orgs   map[qgjob.OrgID]Org
	taken  int
}

type playGroup struct {
	Group
	jobs []Job // in the order in which they are to go
	when map[int64]float64
}

type playAgent struct {
	Agent
	job Job
}

func newPlay(t *rapid.T) *play {
	p := &play{t: t, st: NewState(0), now: 1000, orgs: map[qgjob.OrgID]Org{}}
	for i := range rapid.IntRange(1, 3).Draw(t, "orgs") {
		o := Org{ID: qgjob.OrgID(fmt.Sprint("o", i)), Weight: float64(1 + i), Quota: rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(t, "quota")}
		p.orgs[o.ID] = o
		p.st.SetOrg(o)
	}
	needs := []map[string]string{nil, {"os": "14"}}
	for i := range rapid.IntRange(1, 5).Draw(t, "groups") {
		org := qgjob.OrgID(fmt.Sprint("o", i%len(p.orgs)))
		p.groups = append(p.groups, &playGroup{when: map[int64]float64{}, Group: Group{
			ID: qgjob.GroupID(i + 1), Build: Build{Org: org, Version: qgjob.AppVersionID(fmt.Sprint("v", i))}, Target: qgjob.TargetDevice,
			Requires: needs[i%2], Install: float64(10 * i),
		}})
		p.st.SetGroup(p.groups[i].Group)
	}
	for i := range rapid.IntRange(1, 5).Draw(t, "agents") {
		a := &playAgent{Agent: Agent{
			ID: qgjob.AgentID(fmt.Sprint("a", i)), Target: qgjob.TargetDevice, Speed: float64(1+i%2) / 2, InstallFactor: 1, Up: true, Labels: needs[(i+1)%2],
		}}
		p.agents = append(p.agents, a)
		p.st.SetAgent(a.Agent)
	}
	return p
}

// queued brings a group's aggregates up to date.
func (p *play) queued(g *playGroup) {
	slices.SortFunc(g.jobs, func(a, b Job) int {
		if a.Less(b) {
			return -1
		}
		return 1
	})
	g.Queue = Queue{Waiting: len(g.jobs)}
	runs := map[int64]bool{}
	for _, j := range g.jobs {
		g.Work += j.Estimate
		runs[j.Run] = true
	}
	if g.Runs = len(runs); len(g.jobs) > 0 {
		g.HeadPriority, g.HeadSubmitted = g.jobs[0].Priority, g.when[g.jobs[0].Seq]
	}
	p.st.SetQueue(g.ID, g.Queue)
}

func (p *play) submit() {
	g := p.groups[rapid.IntRange(0, len(p.groups)-1).Draw(p.t, "group")]
	run, prio := p.seq, rapid.IntRange(1, 10).Draw(p.t, "priority")
	for range rapid.IntRange(1, 4).Draw(p.t, "jobs") {
		p.seq++
		g.when[p.seq] = p.now
		j := Job{Priority: prio, Run: run, Estimate: float64(rapid.IntRange(1, 200).Draw(p.t, "estimate")), Seq: p.seq}
		g.jobs = append(g.jobs, j)
		p.st.Arrive(p.now, j.Estimate, prio)
	}
	p.queued(g)
}

// ask lets an agent ask, checks the answer and plays it.
func (p *play) ask(a *playAgent) {
	c := Pick(p.st, a.ID, p.now, DefaultPolicy())
	if c.Group == 0 {
		p.idle(a, c)
		return
	}
	g := p.groups[c.Group-1]
	o := p.orgs[g.Build.Org]
	switch {
	case a.Serving != 0 || !a.Up || a.Draining:
		p.t.Fatalf("agent %+v takes %v", a.Agent, c.Group)
	case len(g.jobs) == 0:
		p.t.Fatalf("agent %s takes %v, which has no job", a.ID, c.Group)
	case !hasLabels(a.Labels, g.Requires):
		p.t.Fatalf("agent %s takes %v, whose labels it lacks", a.ID, c.Group)
	case o.Quota > 0 && o.Running >= o.Quota:
		p.t.Fatalf("org %s runs %d jobs of %d and one more is taken", o.ID, o.Running, o.Quota)
	}
	a.job = g.jobs[0]
	for _, j := range g.jobs {
		if j.Priority > a.job.Priority {
			p.t.Fatalf("a job of priority %d starts before one of %d of its group", a.job.Priority, j.Priority)
		}
	}
	g.jobs = g.jobs[1:]
	p.queued(g)
	a.Serving, a.Installed, a.FreeAt = g.ID, g.Build, p.now+c.Install+a.job.Estimate/a.Speed
	p.st.SetAgent(a.Agent)
	o.Running++
	o.Used = o.Used.Charge(p.now, c.Install+a.job.Estimate, o.Weight)
	p.orgs[o.ID] = o
	p.st.SetOrg(o)
	p.taken++
}

// idle checks that an agent that takes nothing has a good reason.
func (p *play) idle(a *playAgent, c Choice) {
	if a.Serving != 0 || !a.Up || a.Draining {
		return
	}
	for _, g := range p.groups {
		o := p.orgs[g.Build.Org]
		if len(g.jobs) == 0 || !hasLabels(a.Labels, g.Requires) || o.Quota > 0 && o.Running >= o.Quota {
			continue
		}
		if a.Installed == g.Build {
			p.t.Fatalf("agent %s idles although warm work waits in %v", a.ID, g.ID)
		}
		if c.Refused[NotWorthIt] == 0 {
			p.t.Fatalf("agent %s idles beside %v for no reason: %v", a.ID, g.ID, c.Refused)
		}
		served := slices.ContainsFunc(p.agents, func(b *playAgent) bool { return b.Serving == g.ID && b.Up && !b.Draining })
		if !served {
			p.t.Fatalf("agent %s idles although nobody goes on with %v", a.ID, g.ID)
		}
	}
}

// end ends what an agent has in hand; lost puts it back.
func (p *play) end(a *playAgent, lost bool) {
	if a.Serving == 0 {
		return
	}
	g := p.groups[a.Serving-1]
	o := p.orgs[g.Build.Org]
	o.Running--
	p.orgs[o.ID] = o
	p.st.SetOrg(o)
	if lost {
		g.jobs = append(g.jobs, a.job)
		p.queued(g)
	}
	a.Serving = 0
	p.st.SetAgent(a.Agent)
}

// step does one thing.
func (p *play) step() {
	a := p.agents[rapid.IntRange(0, len(p.agents)-1).Draw(p.t, "agent")]
	switch rapid.IntRange(0, 9).Draw(p.t, "step") {
	case 0, 1, 2:
		p.submit()
	case 3, 4, 5:
		p.ask(a)
	case 6, 7:
		p.end(a, false)
	case 8:
		p.end(a, true)
		a.Up, a.Installed = !a.Up, Build{}
		p.st.SetAgent(a.Agent)
	case 9:
		a.Draining = !a.Draining
		p.st.SetAgent(a.Agent)
	}
	p.now += float64(rapid.IntRange(0, 100).Draw(p.t, "later"))
}

// fresh is the state of the same server built from nothing.
func (p *play) fresh() *State {
	st := NewState(0)
	st.SetLoad(p.st.Load())
	for _, g := range p.groups {
		st.SetGroup(g.Group)
	}
	for _, a := range p.agents {
		st.SetAgent(a.Agent)
	}
	for _, o := range p.orgs {
		st.SetOrg(o)
	}
	return st
}

// TestPlayKeepsTheRules plays at random; ask checks every answer, and at the
// end the state that was kept decides as one that is built anew.
func TestPlayKeepsTheRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPlay(t)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			p.step()
		}
		kept, fresh := p.st, p.fresh()
		for _, a := range p.agents {
			x, rx := Explain(kept, a.ID, p.now, DefaultPolicy())
			y, ry := Explain(fresh, a.ID, p.now, DefaultPolicy())
			if x != y || !slices.Equal(rx, ry) {
				t.Fatalf("agent %s takes %+v, from a fresh state %+v\n%v\n%v", a.ID, x, y, rx, ry)
			}
		}
		if x, y := WakeOrder(kept), WakeOrder(fresh); !slices.Equal(x, y) {
			t.Fatalf("agents are woken as %v, from a fresh state as %v", x, y)
		}
	})
}

// TestPlayEnds: when no more work comes and every agent is back, all that
// agents can serve is done, whatever happened before.
func TestPlayEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPlay(t)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			p.step()
		}
		can := map[int]bool{}
		for _, a := range p.agents {
			p.end(a, true)
			a.Up, a.Draining = true, false
			p.st.SetAgent(a.Agent)
			for i, g := range p.groups {
				can[i] = can[i] || hasLabels(a.Labels, g.Requires)
			}
		}
		left := 0
		for i, g := range p.groups {
			if can[i] {
				left += len(g.jobs)
			}
		}
		p.taken = 0
		for round := 0; p.taken < left; round++ {
			if round > 2*left {
				t.Fatalf("of %d jobs %d are taken after %d rounds", left, p.taken, round)
			}
			for _, id := range WakeOrder(p.st) {
				p.ask(p.agent(id))
			}
			first := math.Inf(1)
			for _, a := range p.agents {
				if a.Serving != 0 {
					first = min(first, a.FreeAt)
				}
			}
			for _, a := range p.agents {
				if a.Serving != 0 && a.FreeAt <= first {
					p.end(a, false)
				}
			}
			p.now = max(p.now, first)
		}
	})
}

func (p *play) agent(id qgjob.AgentID) *playAgent {
	for _, a := range p.agents {
		if a.ID == id {
			return a
		}
	}
	p.t.Fatalf("agent %s is woken and nobody", id)
	return nil
}
