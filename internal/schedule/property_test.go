package schedule

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"

	"github.com/qualgent/qgjob"
	"pgregory.net/rapid"
)

// group finds a group of the scene.
func (s scene) group(id qgjob.GroupID) Group {
	for _, g := range s.groups {
		if g.ID == id {
			return g
		}
	}
	return Group{}
}

// eachFree calls f for every agent of the scene that may take work.
func (s scene) eachFree(f func(Agent)) {
	for _, a := range s.agents {
		if a.Up && !a.Draining && a.Serving == 0 {
			f(a)
		}
	}
}

func TestPickNeverBreaksARule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := scenes.Draw(t, "scene")
		p := DefaultPolicy()
		p.Rule = rapid.SampledFrom(Rules).Draw(t, "rule")
		st := s.state()
		for _, a := range s.agents {
			c := Pick(st, a.ID, s.now, p)
			if c.Group == 0 {
				continue
			}
			if g := s.group(c.Group); !s.able(a, g) || !a.Up || a.Draining || a.Serving != 0 {
				t.Fatalf("%s: agent %+v takes group %+v, which it may not", p.Rule, a, g)
			}
		}
	})
}

// TestPickNeverIdle: an agent goes without work only if there is none it may
// take, or if every group it may take is served and not worth the install.
func TestPickNeverIdle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := scenes.Draw(t, "scene")
		st := s.state()
		s.eachFree(func(a Agent) {
			c := Pick(st, a.ID, s.now, DefaultPolicy())
			if c.Group != 0 {
				return
			}
			for _, g := range s.groups {
				if !s.able(a, g) {
					continue
				}
				if s.install(a, g) == 0 {
					t.Fatalf("agent %s idles although group %v waits and its build is there", a.ID, g.ID)
				}
				if len(s.crew(g)) == 0 {
					t.Fatalf("agent %s idles although nobody goes on serving group %v", a.ID, g.ID)
				}
			}
			if c.Refused[NotWorthIt] == 0 && slices.ContainsFunc(s.groups, func(g Group) bool { return s.able(a, g) }) {
				t.Fatalf("agent %s idles without a reason: %v", a.ID, c.Refused)
			}
		})
	})
}

func TestPickForgetsTheOrderOfTheData(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := scenes.Draw(t, "scene")
		shuffled := scene{uploads: s.uploads, load: s.load, now: s.now}
		r := rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed")))
		for _, i := range r.Perm(len(s.orgs)) {
			shuffled.orgs = append(shuffled.orgs, s.orgs[i])
		}
		for _, i := range r.Perm(len(s.groups)) {
			shuffled.groups = append(shuffled.groups, s.groups[i])
		}
		for _, i := range r.Perm(len(s.agents)) {
			shuffled.agents = append(shuffled.agents, s.agents[i])
		}
		one, two := s.state(), shuffled.state()
		for _, a := range s.agents {
			for _, rule := range Rules {
				p := DefaultPolicy()
				p.Rule = rule
				x, rx := Explain(one, a.ID, s.now, p)
				y, ry := Explain(two, a.ID, s.now, p)
				if x != y || !slices.Equal(rx, ry) {
					t.Fatalf("%s: agent %s takes %+v (%v), shuffled %+v (%v)", rule, a.ID, x, rx, y, ry)
				}
			}
		}
		if w, v := WakeOrder(one), WakeOrder(two); !slices.Equal(w, v) {
			t.Fatalf("agents are woken as %v, shuffled as %v", w, v)
		}
	})
}

// TestPickAgain: deciding changes nothing, so asking twice gives one answer,
// and asking for one agent does not change another's.
func TestPickAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := scenes.Draw(t, "scene")
		st := s.state()
		var first []Choice
		for _, a := range s.agents {
			first = append(first, Pick(st, a.ID, s.now, DefaultPolicy()))
		}
		for i := len(s.agents) - 1; i >= 0; i-- {
			if again := Pick(st, s.agents[i].ID, s.now, DefaultPolicy()); again != first[i] {
				t.Fatalf("agent %s took %+v and takes %+v", s.agents[i].ID, first[i], again)
			}
		}
	})
}

// TestExplainAgrees: explaining never changes the choice, and gives exactly
// one reason for each group that waits and is not taken.
func TestExplainAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := scenes.Draw(t, "scene")
		st, p := s.state(), DefaultPolicy()
		s.eachFree(func(a Agent) {
			picked := Pick(st, a.ID, s.now, p)
			choice, why := Explain(st, a.ID, s.now, p)
			if picked.Group != choice.Group || picked.Score != choice.Score || picked.Install != choice.Install {
				t.Fatalf("agent %s takes %+v, explained %+v", a.ID, picked, choice)
			}
			said := map[qgjob.GroupID]int{choice.Group: 1}
			for _, r := range why {
				said[r.Group]++
				if r.Reason == 0 || r.Agent != a.ID {
					t.Fatalf("refusal %+v of agent %s", r, a.ID)
				}
				if r.Text(st, s.now) == "" {
					t.Fatalf("refusal %+v has no text", r)
				}
			}
			for _, g := range s.groups {
				if g.Waiting > 0 && said[g.ID] != 1 {
					t.Fatalf("agent %s takes %v and gives %d reasons against %v", a.ID, choice.Group, said[g.ID], g.ID)
				}
			}
		})
	})
}

// TestPickMorePriorityNeverHurts: raising a group's priority cannot make an
// agent drop it for another group.
func TestPickMorePriorityNeverHurts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := scenes.Draw(t, "scene")
		st := s.state()
		s.eachFree(func(a Agent) {
			c := Pick(st, a.ID, s.now, DefaultPolicy())
			g := s.group(c.Group)
			if c.Group == 0 || g.HeadPriority == 10 {
				return
			}
			g.HeadPriority++
			st.SetGroup(g)
			again := Pick(st, a.ID, s.now, DefaultPolicy())
			if h := s.group(again.Group); again.Group != c.Group && h.Build.Org != g.Build.Org {
				t.Fatalf("agent %s took %v at priority %d and takes %v at %d", a.ID, c.Group, g.HeadPriority-1, again.Group, g.HeadPriority)
			}
			g.HeadPriority--
			st.SetGroup(g)
		})
	})
}

// step is one change to a scene and to the state that mirrors it.
func (s *scene) step(t *rapid.T, st *State) {
	number := func(label string, from, to int) int { return rapid.IntRange(from, to).Draw(t, label) }
	switch number("step", 0, 6) {
	case 0, 1:
		if len(s.groups) > 0 {
			g := &s.groups[number("group", 0, len(s.groups)-1)]
			if g.Queue = (Queue{}); number("refill", 0, 2) > 0 {
				n := number("n", 1, 20)
				g.Queue = Queue{Waiting: n, Work: float64(60 * n), Runs: 1, HeadPriority: number("priority", 1, 10), HeadSubmitted: float64(number("at", 0, 10_000))}
			}
			if !st.SetQueue(g.ID, g.Queue) {
				t.Fatalf("group %v is not known", g.ID)
			}
		}
	case 2, 3:
		a := &s.agents[number("agent", 0, len(s.agents)-1)]
		a.Serving, a.Installed = 0, Build{}
		if len(s.groups) > 0 && number("works", 0, 1) == 0 {
			g := s.groups[number("on", 0, len(s.groups)-1)]
			a.Serving, a.Installed, a.FreeAt = g.ID, g.Build, float64(number("until", 9900, 10_400))
		}
		a.Up, a.Draining, a.Speed = number("up", 0, 4) > 0, number("draining", 0, 4) == 0, float64(number("speed", 1, 4))/2
		st.SetAgent(*a)
	case 4:
		o := &s.orgs[number("org", 0, len(s.orgs)-1)]
		o.Used = Usage{Seconds: float64(number("used", 0, 3000)), At: 10_000}
		o.Running = number("running", 0, 3)
		st.SetOrg(*o)
	case 5:
		if len(s.groups) > 1 {
			i := number("gone", 0, len(s.groups)-1)
			st.RemoveGroup(s.groups[i].ID)
			s.groups = slices.Delete(slices.Clone(s.groups), i, i+1)
		}
	case 6:
		if len(s.agents) > 1 {
			i := number("gone", 0, len(s.agents)-1)
			st.RemoveAgent(s.agents[i].ID)
			s.agents = slices.Delete(slices.Clone(s.agents), i, i+1)
		} else {
			s.agents = append(s.agents, Agent{ID: qgjob.AgentID(fmt.Sprint("b", number("new", 0, 99))), Target: qgjob.TargetDevice, Speed: 1, InstallFactor: 1, Up: true})
			st.SetAgent(s.agents[len(s.agents)-1])
		}
	}
}

// TestStateMirrors: after any changes the state decides as one that is built
// anew from the same data, to the last bit.
func TestStateMirrors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := scenes.Draw(t, "scene")
		s.groups, s.agents, s.orgs = slices.Clone(s.groups), slices.Clone(s.agents), slices.Clone(s.orgs)
		st := s.state()
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			s.step(t, st)
			fresh := s.state()
			for _, a := range s.agents {
				x, rx := Explain(st, a.ID, s.now, DefaultPolicy())
				y, ry := Explain(fresh, a.ID, s.now, DefaultPolicy())
				if x != y || !slices.Equal(rx, ry) {
					t.Fatalf("agent %s takes %+v, from a fresh state %+v\n%v\n%v", a.ID, x, y, rx, ry)
				}
			}
			if st.Waiting() != fresh.Waiting() {
				t.Fatalf("%d groups wait, in a fresh state %d", st.Waiting(), fresh.Waiting())
			}
		}
	})
}
