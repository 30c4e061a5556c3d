package schedule

import (
	"testing"

	"github.com/qualgent/qgjob"
	"pgregory.net/rapid"
)

// first says what a baseline takes, the slow way: of the groups that the agent
// may take, the one before which none goes.
func (s scene) first(a Agent, rule Rule) qgjob.GroupID {
	before := func(g, h Group) bool {
		switch {
		case rule == RulePin && (g.ID == a.Holds) != (h.ID == a.Holds):
			return g.ID == a.Holds
		case rule != RuleFIFO && g.HeadPriority != h.HeadPriority:
			return g.HeadPriority > h.HeadPriority
		case g.HeadSubmitted != h.HeadSubmitted:
			return g.HeadSubmitted < h.HeadSubmitted
		}
		return g.ID < h.ID
	}
	held := map[qgjob.GroupID]bool{}
	for _, b := range s.agents {
		if rule == RulePin && b.ID != a.ID && b.Up {
			held[b.Holds] = true
		}
	}
	var best Group
	for _, g := range s.groups {
		if s.able(a, g) && !held[g.ID] && (best.ID == 0 || before(g, best)) {
			best = g
		}
	}
	return best.ID
}

// TestBaselinesAreTheirRules holds the rules that qgjob is compared with
// against their slow forms: a comparison with a broken rival proves nothing.
func TestBaselinesAreTheirRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := scenes.Draw(t, "scene")
		for i := range s.agents {
			if len(s.groups) > 0 && rapid.IntRange(0, 2).Draw(t, "holds") == 0 {
				s.agents[i].Holds = s.groups[rapid.IntRange(0, len(s.groups)-1).Draw(t, "held")].ID
			}
		}
		st := s.state()
		for _, rule := range []Rule{RuleFIFO, RulePriority, RulePin} {
			p := DefaultPolicy()
			p.Rule = rule
			s.eachFree(func(a Agent) {
				if got, want := Pick(st, a.ID, s.now, p), s.first(a, rule); got.Group != want {
					t.Fatalf("%s: agent %s takes %v, want %v", rule, a.ID, got.Group, want)
				} else if want != 0 && got.Install != s.install(a, s.group(want)) {
					t.Fatalf("%s: agent %s is to install for %v s, want %v", rule, a.ID, got.Install, s.install(a, s.group(want)))
				}
			})
		}
	})
}

// TestBaselinesIgnoreInstalls: FIFO and priority are what most device farms
// do; they do not look at what is on the phone.
func TestBaselinesIgnoreInstalls(t *testing.T) {
	for _, rule := range []Rule{RuleFIFO, RulePriority} {
		w, p := newWorld(t), DefaultPolicy()
		p.Rule = rule
		w.group(1, submitted(800), install(3600))
		warm := w.group(2, submitted(801))
		w.agent("a", has(warm))
		if c := Pick(w.st, "a", w.now, p); c.Group != 1 || c.Install != 3600 {
			t.Errorf("%s takes %+v, want the older group for an hour of install", rule, c)
		}
	}
}

// TestBaselinesIgnoreFairness: only qgjob weighs what an org used.
func TestBaselinesIgnoreFairness(t *testing.T) {
	for _, rule := range Rules {
		w, p := newWorld(t), DefaultPolicy()
		p.Rule = rule
		w.group(1, ofOrg("loud"), submitted(800))
		w.group(2, ofOrg("quiet"), submitted(801))
		w.st.SetOrg(Org{ID: "loud", Used: Usage{Seconds: 1e5, At: 1000}})
		w.agent("a")
		want := qgjob.GroupID(1)
		if rule == RuleQgjob {
			want = 2
		}
		if c := Pick(w.st, "a", w.now, p); c.Group != want {
			t.Errorf("%s takes %v, want %v", rule, c.Group, want)
		}
	}
}

// TestBaselinesKeepQuotasAndPins: what no number outweighs holds under every
// rule.
func TestBaselinesKeepQuotasAndPins(t *testing.T) {
	for _, rule := range Rules {
		p := DefaultPolicy()
		p.Rule = rule
		for name, build := range map[string]func(w *world){
			"quota":   func(w *world) { w.st.SetOrg(Org{ID: "o", Quota: 1, Running: 1}) },
			"pinned":  func(w *world) { w.agent("a", pinned("v9")) },
			"blocked": func(w *world) { g, _ := w.st.Group(1); w.agent("a", blocks(g)) },
			"label":   func(w *world) { w.group(1, needs("os", "14")) },
			"target":  func(w *world) { w.group(1, onTarget(qgjob.TargetBrowser)) },
			"empty":   func(w *world) { w.group(1, waiting(0, 0)) },
		} {
			w := newWorld(t)
			w.group(1)
			w.agent("a")
			if c := Pick(w.st, "a", w.now, p); c.Group != 1 {
				t.Fatalf("%s takes %v before anything stands in the way", rule, c.Group)
			}
			build(w)
			if c := Pick(w.st, "a", w.now, p); c.Group != 0 {
				t.Errorf("%s: %s: takes %v", rule, name, c.Group)
			}
		}
	}
}
