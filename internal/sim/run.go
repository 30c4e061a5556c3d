package sim

import (
	"container/heap"
	"fmt"
	"math"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
)

// rewait is after how many seconds a job whose agent went away waits again:
// the time it takes to notice.
const rewait = 30.0

// target stands for the one target of a workload, whose agents differ by
// labels.
const target = qgjob.TargetDevice

// Result is what became of a workload.
type Result struct {
	Policy     schedule.Policy
	Attempts   []Attempt // by AtS, then in the order of the decisions
	Impossible []int     // ids of jobs that no agent can serve; they are not played
	Decisions  int       // calls of schedule.Pick
}

// Run plays a workload: jobs arrive, free agents ask schedule.Pick, installs
// and tests take their time, outages lose the job in hand and wipe the agent.
// The policy knows install times, history and what finished; it never sees how
// long a test is going to take.
func Run(w *Workload, p schedule.Policy) (*Result, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	if _, err := schedule.ParseRule(string(p.Rule)); err != nil {
		return nil, err
	}
	e := newEngine(w, p)
	for e.events.Len() > 0 {
		now := e.events.list[0].at
		for e.events.Len() > 0 && e.events.list[0].at == now {
			e.handle(heap.Pop(&e.events).(event))
		}
		e.dispatch(now)
	}
	for n, g := range e.groups {
		if len(g.queue.jobs) > 0 {
			return nil, fmt.Errorf("simulate %s: group %d is left with %d jobs that agents can serve: this is a bug of the rule %s", w.Name, n+1, len(g.queue.jobs), p.Rule)
		}
	}
	return &e.result, nil
}

// engine is one run of a workload.
type engine struct {
	w       *Workload
	ix      *index
	policy  schedule.Policy
	st      *schedule.State
	events  events
	groups  []*group
	byKey   map[[2]int]int // (app, class) to place in groups
	groupOf []int          // by job
	agents  []machine
	byID    map[qgjob.AgentID]int
	known   []schedule.Estimate // by test
	mean    []schedule.Average  // by org
	est     []float64           // by job, frozen when it was submitted
	rank    []int               // by job, likewise
	freed   []int               // agents whose job ended at this instant
	result  Result
}

type group struct {
	id    qgjob.GroupID
	app   int
	queue queue
}

// machine is an agent at work.
type machine struct {
	record  schedule.Agent
	job     int // -1 when free
	attempt int // place in the result
	ticket  int // the seq of its next finish, so that a cancelled one is told apart
}

func newEngine(w *Workload, p schedule.Policy) *engine {
	e := &engine{
		w: w, ix: newIndex(w), policy: p, st: schedule.NewState(0), byKey: map[[2]int]int{}, byID: map[qgjob.AgentID]int{},
		groupOf: make([]int, len(w.Jobs)), est: make([]float64, len(w.Jobs)), rank: make([]int, len(w.Jobs)), mean: make([]schedule.Average, len(w.Orgs)),
	}
	e.result.Policy = p
	e.known = make([]schedule.Estimate, e.ix.tests)
	for _, h := range w.History {
		org := e.ix.orgs[h.Org]
		e.mean[org] = schedule.Average{N: e.mean[org].N + h.N, Sum: e.mean[org].Sum + float64(h.N)*h.MeanS}
		if t, ok := e.ix.tested[[2]string{h.Org, h.Test}]; ok {
			e.known[t] = schedule.Estimate{N: h.N, Mean: h.MeanS}
		}
	}
	for _, o := range w.Orgs {
		e.st.SetOrg(schedule.Org{ID: qgjob.OrgID(o.ID), Weight: o.Weight})
	}
	for i, a := range w.Agents {
		m := machine{job: -1, record: schedule.Agent{
			ID: qgjob.AgentID(a.ID), Target: target, Labels: a.Labels, Speed: a.Speed, InstallFactor: a.InstallFactor,
			SharedInstall: a.SharedInstall, Up: true,
		}}
		e.agents = append(e.agents, m)
		e.byID[m.record.ID] = i
		e.st.SetAgent(m.record)
		for _, o := range a.Outages {
			e.push(o[0], wentDown, i)
			e.push(o[1], cameUp, i)
		}
	}
	for i, j := range w.Jobs {
		if !e.ix.served(e.ix.class[i]) {
			e.result.Impossible = append(e.result.Impossible, j.ID)
			continue
		}
		e.groupOf[i] = e.groupFor(i)
		e.push(j.AtS, arrived, i)
	}
	return e
}

// groupFor finds or makes the group of a job.
func (e *engine) groupFor(job int) int {
	key := [2]int{e.ix.app[job], e.ix.class[job]}
	if n, ok := e.byKey[key]; ok {
		return n
	}
	n := len(e.groups)
	e.byKey[key] = n
	rule := e.policy.Rule
	e.groups = append(e.groups, &group{
		id: qgjob.GroupID(n + 1), app: key[0],
		queue: queue{fifo: rule == schedule.RuleFIFO, byID: rule != schedule.RuleQgjob, runs: map[int64]int{}},
	})
	e.st.SetGroup(schedule.Group{
		ID: qgjob.GroupID(n + 1), Build: e.build(key[0]), Target: target,
		Requires: e.ix.classes[key[1]], Install: e.w.Apps[key[0]].InstallS,
	})
	return n
}

func (e *engine) build(app int) schedule.Build {
	a := e.w.Apps[app]
	return schedule.Build{Org: qgjob.OrgID(a.Org), Version: qgjob.AppVersionID(a.Version)}
}

func (e *engine) push(at float64, k kind, number int) int {
	e.events.made++
	heap.Push(&e.events, event{at: at, kind: k, seq: e.events.made, number: number})
	return e.events.made
}

func (e *engine) handle(ev event) {
	switch ev.kind {
	case arrived:
		e.arrive(ev.number, ev.at)
	case finished:
		if e.agents[ev.number].ticket == ev.seq {
			e.finish(ev.number)
		}
	case wentDown:
		e.down(ev.number, ev.at)
	case cameUp:
		m := &e.agents[ev.number]
		m.record.Up = true
		e.st.SetAgent(m.record)
	}
}

// arrive queues a job. What it is expected to take is frozen when it comes for
// the first time.
func (e *engine) arrive(job int, now float64) {
	if e.est[job] == 0 {
		prior := e.mean[e.ix.org[job]].Or(schedule.DefaultEstimate)
		e.est[job] = e.known[e.ix.test[job]].Expect(prior)
		e.st.Arrive(now, e.est[job], e.w.Jobs[job].Priority)
		if e.known[e.ix.test[job]].N > 0 {
			e.rank[job] = 1 // new tests come first in their run; here none fails
		}
	}
	g := e.groups[e.groupOf[job]]
	g.queue.add(waiting{number: job, Job: schedule.Job{
		Priority: e.w.Jobs[job].Priority, Run: int64(e.ix.run[job]), Rank: e.rank[job], Estimate: e.est[job], Seq: int64(job),
	}})
	e.refresh(g)
}

func (e *engine) refresh(g *group) {
	e.st.SetQueue(g.id, g.queue.aggregates(func(n int) float64 { return e.w.Jobs[n].AtS }))
}

// finish ends the test on an agent: the only moment at which its duration is
// learnt.
func (e *engine) finish(agent int) {
	m := &e.agents[agent]
	done := &e.result.Attempts[m.attempt]
	done.Outcome = Done
	took := (done.EndS - done.BeginS) * m.record.Speed
	t, o := e.ix.test[m.job], e.ix.org[m.job]
	e.known[t] = e.known[t].Observe(took)
	e.mean[o] = e.mean[o].Observe(took)
	e.free(m)
	e.freed = append(e.freed, agent)
}

// down loses the job in hand and what is installed.
func (e *engine) down(agent int, now float64) {
	m := &e.agents[agent]
	m.record.Up, m.record.Installed, m.record.Holds = false, schedule.Build{}, 0
	if m.job >= 0 {
		lost := &e.result.Attempts[m.attempt]
		lost.Outcome, lost.BeginS, lost.EndS = Lost, math.Min(lost.BeginS, now), now
		e.push(now+rewait, arrived, m.job)
		e.free(m)
	}
	e.st.SetAgent(m.record)
}

func (e *engine) free(m *machine) {
	org := e.st.Org(qgjob.OrgID(e.w.Jobs[m.job].Org))
	org.Running--
	e.st.SetOrg(org)
	m.job, m.ticket, m.record.Serving = -1, 0, 0
	e.st.SetAgent(m.record)
}

// dispatch lets free agents ask for work: first those that just ended a job,
// as they claim in the same breath, then the others, warm ones first.
func (e *engine) dispatch(now float64) {
	for _, agent := range e.freed {
		e.claim(agent, now)
	}
	e.freed = e.freed[:0]
	if e.st.Waiting() == 0 {
		return
	}
	for _, id := range schedule.WakeOrder(e.st) {
		if e.st.Waiting() == 0 {
			return
		}
		e.claim(e.byID[id], now)
	}
}

func (e *engine) claim(agent int, now float64) {
	m := &e.agents[agent]
	if m.job >= 0 || !m.record.Up {
		return
	}
	e.result.Decisions++
	choice := schedule.Pick(e.st, m.record.ID, now, e.policy)
	if choice.Group == 0 {
		if m.record.Holds != 0 {
			m.record.Holds = 0
			e.st.SetAgent(m.record)
		}
		return
	}
	g := e.groups[choice.Group-1]
	m.job = g.queue.take().number
	e.refresh(g)

	build, install := e.build(g.app), e.install(m, g.app, now)
	begin := now + install
	est := e.est[m.job]
	m.record.Installed, m.record.Serving = build, g.id
	m.record.FreeAt = begin + est/m.record.Speed
	if e.policy.Rule == schedule.RulePin {
		m.record.Holds = g.id
	}
	e.st.SetAgent(m.record)
	org := e.st.Org(build.Org)
	org.Running++
	org.Used = org.Used.Charge(now, install+est, org.Weight)
	e.st.SetOrg(org)

	m.attempt = len(e.result.Attempts)
	end := begin + e.w.Jobs[m.job].DurationS/m.record.Speed
	e.result.Attempts = append(e.result.Attempts, Attempt{
		Job: e.w.Jobs[m.job].ID, Agent: e.w.Agents[agent].ID, AtS: now, BeginS: begin, EndS: end,
	})
	m.ticket = e.push(end, finished, agent)
}

// install gives how long the agent is held up by an install that begins now;
// it begins it.
func (e *engine) install(m *machine, app int, now float64) float64 {
	build := e.build(app)
	full := e.w.Apps[app].InstallS * m.record.InstallFactor
	if !m.record.SharedInstall {
		if m.record.Installed == build {
			return 0
		}
		return full
	}
	ready, ok := e.st.Upload(build)
	if !ok {
		ready = now + full
		e.st.SetUpload(build, ready)
	}
	return math.Max(0, ready-now)
}
