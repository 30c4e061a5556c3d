package schedule

import (
	"slices"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
	"pgregory.net/rapid"
)

// TestExplainIsPick: asking for reasons does not change the answer, and the
// tally of an agent that takes nothing counts the reasons.
func TestExplainIsPick(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, p := scenes.Draw(t, "scene"), DefaultPolicy()
		p.Rule = rapid.SampledFrom(Rules).Draw(t, "rule")
		st := s.state()
		for _, a := range s.agents {
			c := Pick(st, a.ID, s.now, p)
			e, list := Explain(st, a.ID, s.now, p)
			if c.Group != e.Group || c.Score != e.Score || c.Install != e.Install {
				t.Fatalf("agent %s takes %+v, explained %+v", a.ID, c, e)
			}
			if c.Group == 0 && c.Refused != e.Refused {
				t.Fatalf("agent %s refuses %v, explained %v", a.ID, c.Refused, e.Refused)
			}
			var count Tally
			for _, r := range list {
				count[r.Reason]++
			}
			if count != e.Refused {
				t.Fatalf("agent %s gives reasons %v and counts %v", a.ID, count, e.Refused)
			}
			if !slices.IsSortedFunc(list, func(a, b Refusal) int { return int(a.Group - b.Group) }) {
				t.Fatalf("reasons are not by group: %v", list)
			}
		}
	})
}

// TestExplainGroupAgrees: what is said of a group by its agents is what each
// agent says of it.
func TestExplainGroupAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, p := scenes.Draw(t, "scene"), DefaultPolicy()
		st := s.state()
		for _, g := range s.groups {
			answers := ExplainGroup(st, g.ID, s.now, p)
			if len(answers) != len(s.agents) {
				t.Fatalf("%d agents answer for %d", len(answers), len(s.agents))
			}
			for _, r := range answers {
				a, _ := st.Agent(r.Agent)
				c := Pick(st, a.ID, s.now, p)
				switch {
				case (r.Reason == 0) != (c.Group == g.ID):
					t.Fatalf("agent %s says %v of %v and takes %v", a.ID, r.Reason, g.ID, c.Group)
				case r.Reason == AgentBusy && a.Serving == 0, r.Reason == AgentDraining && !a.Draining, r.Reason == AgentDown && a.Up:
					t.Fatalf("agent %+v says %v", a, r.Reason)
				case r.Reason == NothingWaiting != (g.Waiting == 0):
					t.Fatalf("of %d waiting jobs agent %s says %v", g.Waiting, a.ID, r.Reason)
				case r.Reason == Outranked && r.By != c.Group:
					t.Fatalf("agent %s says that %v goes before %v and takes %v", a.ID, r.By, g.ID, c.Group)
				}
			}
		}
	})
}

// TestExplainOneLineEach: a text is one line, says who and never shows a
// number that is none.
func TestExplainOneLineEach(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := scenes.Draw(t, "scene")
		st := s.state()
		for _, g := range s.groups {
			for _, r := range ExplainGroup(st, g.ID, s.now, DefaultPolicy()) {
				text := r.Text(st, s.now)
				if text == "" || strings.ContainsAny(text, "\n\t") || strings.Contains(text, "NaN") || strings.Contains(text, "%!") {
					t.Fatalf("refusal %+v reads %q", r, text)
				}
			}
		}
	})
}

// TestExplainSeveralReasons: when several things stand in the way, the one is
// said that would last longest: what the agent is goes before what it does.
func TestExplainSeveralReasons(t *testing.T) {
	w := newWorld(t)
	g := w.group(1, needs("os", "14"), onTarget(qgjob.TargetBrowser))
	w.st.SetOrg(Org{ID: "o", Quota: 1, Running: 1})
	w.agent("a", down(), draining(), pinned("v9"), blocks(g))
	say := func() Reason { return ExplainGroup(w.st, 1, w.now, DefaultPolicy())[0].Reason }
	for _, c := range []struct {
		want   Reason
		remedy func()
	}{
		{WrongTarget, func() { g = w.group(1, needs("os", "14")) }},
		{MissingLabel, func() { w.agent("a", down(), draining(), pinned("v9"), blocks(g), labels("os", "14")) }},
		{PinnedElsewhere, func() { w.agent("a", down(), draining(), blocks(g), labels("os", "14")) }},
		{BuildBlocked, func() { w.agent("a", down(), draining(), labels("os", "14")) }},
		{OverQuota, func() { w.st.SetOrg(Org{ID: "o", Quota: 2, Running: 1}) }},
		{AgentDown, func() { w.agent("a", draining(), labels("os", "14")) }},
		{AgentDraining, func() { w.agent("a", labels("os", "14"), serves(g, 1030)) }},
		{AgentBusy, func() { w.agent("a", labels("os", "14")) }},
		{0, func() {}},
	} {
		if got := say(); got != c.want {
			t.Errorf("agent a says %v, want %v", got, c.want)
		}
		c.remedy()
	}
}

// TestExplainLeavesNothingBehind: RulePin notes what others hold; the next
// decision under another rule must not see it.
func TestExplainLeavesNothingBehind(t *testing.T) {
	w := newWorld(t)
	w.group(1)
	w.agent("holder", func(a *Agent) { a.Holds = 1 })
	w.agent("a")
	pin := DefaultPolicy()
	pin.Rule = RulePin
	for range 3 {
		ExplainGroup(w.st, 1, w.now, pin)
		w.want("a", 1)
		Explain(w.st, "a", w.now, pin)
		w.want("a", 1)
		if c := Pick(w.st, "a", w.now, pin); c.Group != 0 {
			t.Errorf("under pin agent a takes %v, which another holds", c.Group)
		}
		w.want("a", 1)
	}
}

// TestWakeOrderOffersWarmWorkFirst: no cold agent is asked before a warm one,
// each free agent is asked once, and nobody else.
func TestWakeOrderOffersWarmWorkFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := scenes.Draw(t, "scene")
		st := s.state()
		order := WakeOrder(st)
		var free []qgjob.AgentID
		s.eachFree(func(a Agent) { free = append(free, a.ID) })
		sorted := slices.Clone(order)
		slices.Sort(sorted)
		slices.Sort(free)
		if !slices.Equal(sorted, free) {
			t.Fatalf("agents %v are woken, %v are free", sorted, free)
		}
		cold := false
		for _, id := range order {
			a, _ := st.Agent(id)
			warm := slices.ContainsFunc(s.groups, func(g Group) bool { return g.Waiting > 0 && a.Installed == g.Build })
			if warm && cold {
				t.Fatalf("agent %s is warm and woken after a cold one: %v", id, order)
			}
			cold = cold || !warm
		}
	})
}

// TestWakeOrderKeepsTheRestWarm: two free agents and one job of the app that
// the second has: it goes there.
func TestWakeOrderKeepsTheRestWarm(t *testing.T) {
	w := newWorld(t)
	g := w.group(1, waiting(1, 60))
	w.agent("a")
	w.agent("b", has(g))
	if first := WakeOrder(w.st)[0]; first != "b" {
		t.Fatalf("agent %s is asked first", first)
	}
	if c := w.want("b", 1); c.Install != 0 {
		t.Errorf("agent b is to install for %v s", c.Install)
	}
}
