package schedule

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"testing"

	"github.com/qualgent/qgjob"
	"pgregory.net/rapid"
)

// scene is a state written down as plain lists: what the rule reads, without
// any index.
type scene struct {
	orgs    []Org
	groups  []Group
	agents  []Agent
	uploads map[Build]float64
	load    Load
	now     float64
}

// state builds the mirror of a scene, in the order in which the lists stand.
func (s scene) state() *State {
	st := NewState(0)
	st.SetLoad(s.load)
	for _, a := range s.agents {
		st.SetAgent(a)
	}
	for _, g := range s.groups {
		st.SetGroup(g)
	}
	for _, o := range s.orgs {
		st.SetOrg(o)
	}
	for b, ready := range s.uploads {
		st.SetUpload(b, ready)
	}
	return st
}

func (s scene) org(id qgjob.OrgID) Org {
	for _, o := range s.orgs {
		if o.ID == id {
			return o
		}
	}
	return Org{ID: id, Weight: 1}
}

// able is the rules that no number outweighs.
func (s scene) able(a Agent, g Group) bool {
	o := s.org(g.Build.Org)
	return g.Waiting > 0 && s.may(a, g) && (o.Quota == 0 || o.Running < o.Quota)
}

// may is what an agent itself allows.
func (s scene) may(a Agent, g Group) bool {
	return s.fits(a, g) && (a.Pinned == "" || a.Pinned == g.Build.Version) && !slices.Contains(a.Blocked, g.Build)
}

// crew is the agents that have a job of the group in hand and will take more.
func (s scene) crew(g Group) []Agent {
	var crew []Agent
	for _, b := range s.agents {
		if b.Serving == g.ID && b.Up && !b.Draining && s.may(b, g) {
			crew = append(crew, b)
		}
	}
	return crew
}

func (s scene) fits(a Agent, g Group) bool {
	if a.Target != g.Target {
		return false
	}
	for k, v := range g.Requires {
		if a.Labels[k] != v {
			return false
		}
	}
	return true
}

func (s scene) install(a Agent, g Group) float64 {
	if !a.SharedInstall {
		if a.Installed == g.Build {
			return 0
		}
		return g.Install * a.InstallFactor
	}
	if ready, ok := s.uploads[g.Build]; ok {
		return math.Max(0, ready-s.now)
	}
	return g.Install * a.InstallFactor
}

// pick is the rule said once more, the slow way: straight down the page of
// docs/decisions/0003-scheduling.md.
func (s scene) pick(a Agent, p Policy) qgjob.GroupID {
	var open []Group
	for _, g := range s.groups {
		if s.able(a, g) {
			open = append(open, g)
		}
	}
	sort.Slice(open, func(i, k int) bool { return open[i].ID < open[k].ID })
	used, top, warm := map[qgjob.OrgID]float64{}, map[qgjob.OrgID]int{}, 0
	least := math.Inf(1)
	for _, g := range open {
		o := s.org(g.Build.Org)
		used[o.ID] = o.Used.Now(s.now)
		least = math.Min(least, used[o.ID])
		top[o.ID] = max(top[o.ID], g.HeadPriority)
	}
	prio := func(g Group) int {
		if s.now-g.HeadSubmitted > p.MaxWait {
			return max(g.HeadPriority, top[g.Build.Org])
		}
		return g.HeadPriority
	}
	weight := func(g Group) float64 { return math.Pow(1.5, float64(prio(g)-5)) * float64(g.Runs) }
	for _, g := range open {
		if s.install(a, g) == 0 {
			warm = max(warm, prio(g))
		}
	}
	best, bestScore := qgjob.GroupID(0), math.Inf(-1)
	for _, g := range open {
		score := s.score(a, g, p, prio(g), warm, used[g.Build.Org]-least, len(used))
		others := 0.0
		for _, h := range open {
			if h.ID != g.ID && (h.Build.Org == g.Build.Org || used[h.Build.Org] <= used[g.Build.Org]) {
				others += weight(h)
			}
		}
		if s.worth(a, g, p, others, weight(g)) && score > bestScore+1e-6 {
			best, bestScore = g.ID, score
		}
	}
	return best
}

// fleet is the speed of what is up, of those that pass a test.
func (s scene) fleet(pass func(Agent) bool) float64 {
	sum := 0.0
	for _, a := range s.agents {
		if a.Up && !a.Draining && pass(a) {
			sum += a.Speed
		}
	}
	return sum
}

func (s scene) score(a Agent, g Group, p Policy, prio, warm int, lag float64, orgs int) float64 {
	inHand := 0.0
	for _, b := range s.crew(g) {
		inHand += math.Max(0, b.FreeAt-s.now) * b.Speed
	}
	m := s.fleet(func(b Agent) bool { return s.fits(b, g) })
	alone, waited, inst := (g.Work+inHand)/m, s.now-g.HeadSubmitted, s.install(a, g)
	score := 900*float64(prio) + waited*(1+p.Smallness/math.Max(60, alone/float64(g.Runs)+g.Install))
	near := p.Nearness * alone
	score -= p.Nearest * near / (p.Nearest + near)
	score -= p.Affinity * inst
	if inst > 0 && prio <= warm {
		score -= p.Keep
	}
	if orgs > 1 {
		share := s.fleet(func(Agent) bool { return true }) / float64(orgs)
		score -= p.Fairness * math.Max(0, lag/share-p.Tolerance)
	}
	return score
}

func (s scene) worth(a Agent, g Group, p Policy, others, weight float64) bool {
	inst := s.install(a, g)
	k, rest, longest := 0.0, 0.0, 0.0
	for _, b := range s.crew(g) {
		left := math.Max(0, b.FreeAt-s.now)
		k, rest, longest = k+b.Speed, rest+left, math.Max(longest, left)
	}
	if inst == 0 || k == 0 {
		return true
	}
	fluid := (g.Work - k*inst) / (k * (k + a.Speed)) * a.Speed
	hand := math.Max(longest, (g.Work+rest)/k) - math.Max(longest, (g.Work+rest+inst*a.Speed)/(k+a.Speed))
	rho := math.Min(0.95, s.load.Rate(s.now)/s.fleet(func(Agent) bool { return true }))
	m, coming := s.fleet(func(b Agent) bool { return s.fits(b, g) }), 0.0
	if s.load.Sum > 0 {
		coming = p.LoadShare * rho / (1 - rho) * s.load.Urgent / s.load.Sum
	}
	return math.Min(fluid, hand) > p.Thrift*inst*(others+coming)/(weight*m)
}

// scenes draws scenes of a few orgs, groups and agents whose numbers are round
// enough to tie now and then.
var scenes = rapid.Custom(func(t *rapid.T) scene {
	number := func(label string, from, to int) int { return rapid.IntRange(from, to).Draw(t, label) }
	s := scene{now: 10_000, uploads: map[Build]float64{}, load: Load{At: 9000, Sum: float64(number("arriving", 0, 20_000))}}
	s.load.Urgent = s.load.Sum * urgency(number("of priority", 1, 10))
	for i := range number("orgs", 1, 3) {
		o := Org{ID: qgjob.OrgID(fmt.Sprint("o", i)), Weight: float64(number("weight", 1, 3)), Running: number("running", 0, 3)}
		if number("limited", 0, 4) == 0 {
			o.Quota = number("quota", 1, 4)
		}
		o.Used = Usage{Seconds: float64(number("used", 0, 3000)), At: float64(number("used at", 8000, 10_000))}
		s.orgs = append(s.orgs, o)
	}
	kinds := []map[string]string{nil, {"os": "14"}, {"os": "15"}, {"os": "14", "gpu": "yes"}}
	targets := []qgjob.Target{qgjob.TargetDevice, qgjob.TargetDevice, qgjob.TargetBrowserStack}
	for i := range number("groups", 0, 8) {
		g := Group{
			ID:       qgjob.GroupID(i + 1),
			Build:    Build{Org: s.orgs[number("owner", 0, len(s.orgs)-1)].ID, Version: qgjob.AppVersionID(fmt.Sprint("v", number("version", 0, 4)))},
			Target:   targets[number("target", 0, 2)],
			Requires: kinds[number("requires", 0, 3)],
			Install:  float64(number("install", 0, 120)),
		}
		if n := number("waiting", 0, 20); n > 0 {
			g.Queue = Queue{
				Waiting: n, Work: float64(n * number("work", 5, 200)), Runs: number("runs", 1, min(3, n)),
				HeadPriority: number("priority", 1, 10), HeadSubmitted: float64(number("submitted", 0, 10_000)),
			}
		}
		s.groups = append(s.groups, g)
		if number("uploaded", 0, 3) == 0 {
			s.uploads[g.Build] = float64(number("ready", 9950, 10_050))
		}
	}
	for i := range number("agents", 1, 8) {
		a := Agent{
			ID: qgjob.AgentID(fmt.Sprint("a", i)), Target: targets[number("of target", 0, 2)], Labels: kinds[number("labels", 0, 3)],
			Speed: float64(number("speed", 1, 4)) / 2, InstallFactor: float64(number("factor", 1, 3)) / 2, Up: number("up", 0, 9) > 0,
			Draining: number("draining", 0, 9) == 0,
		}
		a.SharedInstall = a.Target == qgjob.TargetBrowserStack
		if len(s.groups) > 0 {
			g := s.groups[number("has", 0, len(s.groups)-1)]
			switch number("state", 0, 4) {
			case 0, 1:
				a.Installed, a.Serving, a.FreeAt = g.Build, g.ID, float64(number("free at", 9900, 10_400))
			case 2:
				a.Installed = g.Build
			case 3:
				a.Blocked = []Build{g.Build}
			}
			if number("pinned", 0, 9) == 0 {
				a.Pinned = g.Build.Version
			}
		}
		s.agents = append(s.agents, a)
	}
	return s
})

// TestPickIsTheRule holds the fast function against the slow one.
func TestPickIsTheRule(t *testing.T) {
	taken := 0
	rapid.Check(t, func(t *rapid.T) {
		s, p := scenes.Draw(t, "scene"), DefaultPolicy()
		st := s.state()
		for _, a := range s.agents {
			got, want := Pick(st, a.ID, s.now, p).Group, qgjob.GroupID(0)
			if a.Up && !a.Draining && a.Serving == 0 {
				want = s.pick(a, p)
			}
			if got != want {
				t.Fatalf("agent %s takes %v, by the page it takes %v", a.ID, got, want)
			}
			if got != 0 {
				taken++
			}
		}
	})
	if taken == 0 {
		t.Error("no scene had anything to take")
	}
}
