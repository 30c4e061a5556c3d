package schedule

import (
	"testing"

	"github.com/qualgent/qgjob"
)

func TestPickNothing(t *testing.T) {
	w := newWorld(t)
	w.agent("a")
	if c := w.want("a", 0); c != (Choice{}) {
		t.Errorf("with nothing waiting the choice is %+v", c)
	}
	w.want("nobody", 0)
}

func TestPickOnlyForFreeAgents(t *testing.T) {
	w := newWorld(t)
	g := w.group(1)
	w.agent("down", down())
	w.agent("draining", draining())
	w.agent("busy", serves(g, 1100))
	w.agent("free")
	w.want("down", 0)
	w.want("draining", 0)
	w.want("busy", 0)
	w.want("free", 1)
}

func TestPickEmptyGroup(t *testing.T) {
	w := newWorld(t)
	w.group(1, waiting(0, 0))
	w.agent("a")
	w.want("a", 0)
	w.group(1, waiting(1, 60))
	w.want("a", 1)
	w.st.RemoveGroup(1)
	w.want("a", 0)
}

// TestPickPrefers gives an agent two groups; the second is to be taken.
func TestPickPrefers(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, second []changeGroup
	}{
		{"the higher priority", []changeGroup{priority(5)}, []changeGroup{priority(6)}},
		{"the higher priority, though younger", []changeGroup{priority(5), submitted(500)}, []changeGroup{priority(6), submitted(999)}},
		{"the older head", []changeGroup{submitted(900)}, []changeGroup{submitted(899)}},
		{"the shorter install", []changeGroup{install(60)}, []changeGroup{install(30)}},
		{"the run that is nearer to its end", []changeGroup{waiting(10, 600)}, []changeGroup{waiting(5, 300)}},
		{"waiting outweighs priority in the end", []changeGroup{priority(6), submitted(999)}, []changeGroup{priority(5), submitted(0)}},
		{"an overdue head gets its org's priority", []changeGroup{priority(9), submitted(1000)}, []changeGroup{priority(1), submitted(-6300)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.group(1, c.first...)
			w.group(2, c.second...)
			w.agent("a")
			w.want("a", 2)
			w.wantReason("a", 1, Outranked)
		})
	}
}

func TestPickTie(t *testing.T) {
	w := newWorld(t)
	w.group(7)
	w.group(3)
	w.group(5)
	w.agent("a")
	w.want("a", 3)
}

func TestPickOverdueOnlyWithinItsOrg(t *testing.T) {
	w := newWorld(t)
	w.now = 10_000
	w.group(1, ofOrg("x"), priority(10), submitted(9999))
	w.group(2, ofOrg("y"), priority(1), submitted(2500))
	w.group(3, ofOrg("y"), priority(3), submitted(9000))
	w.agent("a")
	w.want("a", 2) // 7,500 s of waiting and its org's priority 3 outweigh the fresh 10
	w.group(1, ofOrg("x"), priority(10), submitted(5000))
	w.want("a", 1) // what is overdue is not lifted to another org's 10
}

func TestPickKeepsItsBuild(t *testing.T) {
	w := newWorld(t)
	g := w.group(1, submitted(990))
	w.group(2, submitted(100))
	w.agent("warm", has(g))
	w.agent("cold")
	if c := w.want("warm", 1); c.Install != 0 {
		t.Errorf("a warm agent is to install for %v s", c.Install)
	}
	if c := w.want("cold", 2); c.Install != 60 {
		t.Errorf("a cold agent is to install for %v s, want 60", c.Install)
	}
}

func TestPickBreaksOffForHigherPriority(t *testing.T) {
	w := newWorld(t)
	g := w.group(1, priority(5))
	w.group(2, priority(5), submitted(0))
	w.agent("warm", has(g))
	w.want("warm", 1)
	w.group(2, priority(8), submitted(999))
	w.want("warm", 2)
	w.group(2, priority(5), submitted(-4500))
	w.want("warm", 2) // in the end waiting outweighs even what is installed
}

func TestPickKeepCountsOnlyWarmWorkThatWaits(t *testing.T) {
	w := newWorld(t)
	empty := w.group(1, waiting(0, 0))
	w.group(2, priority(1), submitted(950))
	w.agent("a", has(empty))
	w.want("a", 2)
}

func TestPickTarget(t *testing.T) {
	w := newWorld(t)
	w.group(1, onTarget(qgjob.TargetEmulator))
	w.agent("a")
	w.want("a", 0)
	w.wantReason("a", 1, WrongTarget)
}

func TestPickRequirements(t *testing.T) {
	for _, c := range []struct {
		name   string
		labels []string
		want   qgjob.GroupID
		reason Reason
	}{
		{"none", nil, 0, MissingLabel},
		{"another key", []string{"model", "14"}, 0, MissingLabel},
		{"another value", []string{"os", "15"}, 0, MissingLabel},
		{"the label", []string{"os", "14"}, 1, 0},
		{"the label and more", []string{"os", "14", "model", "pixel8"}, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.group(1, needs("os", "14"))
			w.agent("a", labels(c.labels...))
			w.want("a", c.want)
			if c.reason != 0 {
				w.wantReason("a", 1, c.reason)
			}
		})
	}
}

func TestPickEmptyLabelIsNoLabel(t *testing.T) {
	w := newWorld(t)
	w.group(1, needs("os", ""))
	w.agent("without")
	w.agent("with", labels("os", ""))
	w.want("without", 0)
	w.want("with", 1)
}

func TestPickPinned(t *testing.T) {
	w := newWorld(t)
	w.group(1, priority(10))
	mine := w.group(2, priority(1))
	w.agent("a", pinned(mine.Build.Version))
	w.want("a", 2)
	w.wantReason("a", 1, PinnedElsewhere)
	w.st.RemoveGroup(2)
	w.want("a", 0)
}

func TestPickQuota(t *testing.T) {
	w := newWorld(t)
	w.group(1, ofOrg("x"), priority(9))
	w.group(2, ofOrg("y"), priority(1))
	w.agent("a")
	for _, c := range []struct {
		quota, running int
		want           qgjob.GroupID
	}{{0, 100, 1}, {2, 0, 1}, {2, 1, 1}, {2, 2, 2}, {2, 3, 2}} {
		w.st.SetOrg(Org{ID: "x", Quota: c.quota, Running: c.running})
		w.want("a", c.want)
		if c.want == 2 {
			w.wantReason("a", 1, OverQuota)
		}
	}
}

func TestPickBlockedBuild(t *testing.T) {
	w := newWorld(t)
	bad := w.group(1, priority(9))
	w.group(2, priority(1))
	w.agent("burnt", blocks(bad))
	w.agent("other")
	w.want("burnt", 2)
	w.wantReason("burnt", 1, BuildBlocked)
	w.want("other", 1)
}

// TestPickJoin is the split rule: whether a cold agent joins a group that is
// served already.
func TestPickJoin(t *testing.T) {
	for _, c := range []struct {
		name    string
		group   []changeGroup
		freeAt  []float64 // of the agents that serve it
		others  int       // groups that wait besides
		arrived float64   // work that arrived, which makes the load
		want    bool
	}{
		{"much work, nobody else waits", []changeGroup{waiting(20, 1200)}, []float64{1030}, 0, 0, true},
		{"little work is not worth an install", []changeGroup{waiting(1, 50)}, []float64{1030}, 0, 0, false},
		{"two serve it, a third helps", []changeGroup{waiting(20, 1200)}, []float64{1030, 1030}, 0, 0, true},
		{"six serve it, nobody waits", []changeGroup{waiting(20, 1200)}, []float64{1030, 1030, 1030, 1030, 1030, 1030}, 0, 0, true},
		{"six serve it, ten others wait", []changeGroup{waiting(20, 1200)}, []float64{1030, 1030, 1030, 1030, 1030, 1030}, 10, 0, false},
		{"six serve it, the fleet is loaded", []changeGroup{waiting(20, 1200)}, []float64{1030, 1030, 1030, 1030, 1030, 1030}, 0, 1e6, false},
		{"a long install", []changeGroup{waiting(5, 300), install(400)}, []float64{1030}, 0, 0, false},
		{"it ends with a test that runs already", []changeGroup{waiting(3, 100)}, []float64{3000, 1001}, 0, 0, false},
		{"everyone is stuck behind long tests", []changeGroup{waiting(20, 2000)}, []float64{1500, 1600}, 0, 0, true},
		{"expected ends in the past count as now", []changeGroup{waiting(20, 1200)}, []float64{10}, 0, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			g := w.group(1, c.group...)
			for i, at := range c.freeAt {
				w.agent(qgjob.AgentID([]string{"s0", "s1", "s2", "s3", "s4", "s5"}[i]), serves(g, at))
			}
			for i := range c.others {
				// They want the same agents and are of the same org.
				w.group(qgjob.GroupID(10+i), priority(1), submitted(1000))
			}
			w.st.Arrive(1000, c.arrived, 5)
			w.agent("a")
			_, why := Explain(w.st, "a", w.now, DefaultPolicy())
			refused := false
			for _, r := range why {
				refused = refused || r.Group == 1 && r.Reason == NotWorthIt
				if r.Reason == NotWorthIt && r.Gain > r.Price {
					t.Errorf("refused with a gain of %v s above the price of %v s", r.Gain, r.Price)
				}
			}
			if refused == c.want {
				t.Errorf("joins: %v, want %v; refusals %+v", !refused, c.want, why)
			}
		})
	}
}

func TestPickJoinsForUrgency(t *testing.T) {
	join := func(prio, waitingRuns int) bool {
		w := newWorld(t)
		g := w.group(1, waiting(12, 700), priority(prio), runs(waitingRuns))
		for i := range 3 {
			w.agent(qgjob.AgentID(string(rune('p'+i))), serves(g, 1030))
		}
		for i := range 5 {
			w.group(qgjob.GroupID(10+i), priority(5))
		}
		w.agent("a")
		_, why := Explain(w.st, "a", w.now, DefaultPolicy())
		for _, r := range why {
			if r.Group == 1 && r.Reason == NotWorthIt {
				return false
			}
		}
		return true
	}
	if join(5, 1) || !join(10, 1) {
		t.Errorf("joins at priority 5: %v, at 10: %v; want only the urgent one", join(5, 1), join(10, 1))
	}
	if !join(5, 8) {
		t.Error("eight runs that wait for the group are not worth an install that one is not")
	}
}

func TestPickNeverIdleWhenNobodyServes(t *testing.T) {
	w := newWorld(t)
	w.group(1, waiting(1, 1), install(3600))
	w.agent("a")
	w.want("a", 1)
}

func TestPickThrift(t *testing.T) {
	w := newWorld(t)
	g := w.group(1, waiting(30, 1800))
	w.agent("s", serves(g, 1030))
	w.group(2, priority(1))
	w.agent("a")
	p := DefaultPolicy()
	if c := Pick(w.st, "a", w.now, p); c.Group != 1 {
		t.Fatalf("at the default price the agent takes %v, want to join group 1", c.Group)
	}
	p.Thrift = 1000
	if c := Pick(w.st, "a", w.now, p); c.Group != 2 || c.Refused[NotWorthIt] != 1 {
		t.Errorf("at a thousandfold price the agent takes %+v, want group 2, which nobody serves", c)
	}
}

func TestPickSharedInstall(t *testing.T) {
	w := newWorld(t)
	g := w.group(1)
	w.agent("cloud", sharing(), factor(0.5))
	if c := w.want("cloud", 1); c.Install != 30 {
		t.Errorf("the first upload is expected to take %v s, want 30", c.Install)
	}
	w.st.SetUpload(g.Build, 1020)
	if c := w.want("cloud", 1); c.Install != 20 {
		t.Errorf("an upload in progress leaves %v s, want 20", c.Install)
	}
	w.st.SetUpload(g.Build, 900)
	if c := w.want("cloud", 1); c.Install != 0 {
		t.Errorf("once uploaded the install takes %v s, want 0", c.Install)
	}
	if ready, ok := w.st.Upload(g.Build); !ok || ready != 900 {
		t.Errorf("the upload is ready at %v (%v), want 900", ready, ok)
	}
	w.st.ForgetUpload(g.Build)
	if c := w.want("cloud", 1); c.Install != 30 {
		t.Errorf("a forgotten upload takes %v s, want 30 again", c.Install)
	}
	w.agent("phone", has(g))
	w.st.SetUpload(g.Build, 5000)
	if c := w.want("phone", 1); c.Install != 0 {
		t.Errorf("an upload in progress holds a warm phone up for %v s", c.Install)
	}
}

func TestPickFairness(t *testing.T) {
	w := newWorld(t)
	w.group(1, ofOrg("loud"), submitted(500))
	w.group(2, ofOrg("quiet"), submitted(900))
	w.agent("a")
	w.want("a", 1)
	w.st.SetOrg(Org{ID: "loud", Used: Usage{Seconds: 5000, At: 1000}})
	w.want("a", 2)
	w.st.SetOrg(Org{ID: "loud", Used: Usage{Seconds: 5000, At: 1000 - 10*HalfLife}})
	w.want("a", 1) // forgotten
	w.st.SetOrg(Org{ID: "loud", Used: Usage{Seconds: 50, At: 1000}})
	w.want("a", 1) // within what is tolerated
	w.st.SetOrg(Org{ID: "quiet", Used: Usage{Seconds: 5000, At: 1000}})
	w.st.SetOrg(Org{ID: "loud", Used: Usage{Seconds: 5000, At: 1000}})
	w.want("a", 1) // both used as much
}

func TestPickLagNeedsTwoOrgs(t *testing.T) {
	w := newWorld(t)
	w.group(1, ofOrg("loud"), submitted(500))
	w.agent("a")
	alone := w.want("a", 1)
	w.st.SetOrg(Org{ID: "loud", Used: Usage{Seconds: 1e6, At: 1000}})
	if got := w.want("a", 1); got.Score != alone.Score {
		t.Errorf("an org alone pays %v for what it used", alone.Score-got.Score)
	}
}

func TestPickBatch(t *testing.T) {
	w := newWorld(t)
	g := w.group(1, waiting(3, 6))
	w.agent("a", has(g))
	for n := 3; n > 0; n-- {
		w.want("a", 1)
		w.st.SetQueue(1, Queue{Waiting: n - 1, Work: float64(2 * (n - 1)), Runs: 1, HeadPriority: 5, HeadSubmitted: 900})
	}
	w.want("a", 0)
}

func TestBaselines(t *testing.T) {
	build := func() *world {
		w := newWorld(t)
		g := w.group(1, priority(3), submitted(100))
		w.group(2, priority(5), submitted(800))
		w.group(3, priority(5), submitted(700))
		w.agent("warm", has(g))
		w.agent("cold")
		return w
	}
	for _, c := range []struct {
		rule Rule
		want qgjob.GroupID
	}{{RuleFIFO, 1}, {RulePriority, 3}, {RulePin, 3}} {
		w, p := build(), DefaultPolicy()
		p.Rule = c.rule
		for _, a := range []qgjob.AgentID{"warm", "cold"} {
			got := Pick(w.st, a, w.now, p)
			if got.Group != c.want {
				t.Errorf("%s: agent %s takes %v, want %v", c.rule, a, got.Group, c.want)
			}
		}
		if got := Pick(w.st, "cold", w.now, p); got.Install != 60 {
			t.Errorf("%s: the install is expected to take %v s, want 60", c.rule, got.Install)
		}
	}
}

func TestPinHolds(t *testing.T) {
	w, p := newWorld(t), DefaultPolicy()
	p.Rule = RulePin
	g := w.group(1, priority(1))
	w.agent("holder", has(g), func(a *Agent) { a.Holds = 1 })
	w.agent("other")
	if c := Pick(w.st, "other", w.now, p); c.Group != 0 || c.Refused[HeldByOther] != 1 {
		t.Errorf("the only group is held, the other agent takes %+v", c)
	}
	w.group(2, priority(10))
	if c := Pick(w.st, "holder", w.now, p); c.Group != 1 {
		t.Errorf("the holder leaves its group for %v", c.Group)
	}
	if c := Pick(w.st, "other", w.now, p); c.Group != 2 {
		t.Errorf("the other agent takes %v, want 2", c.Group)
	}
	w.agent("holder", has(g), down(), func(a *Agent) { a.Holds = 1 })
	w.st.RemoveGroup(2)
	if c := Pick(w.st, "other", w.now, p); c.Group != 1 {
		t.Errorf("an agent that is down holds its group against %v", c.Group)
	}
}

func TestParseRule(t *testing.T) {
	for _, r := range Rules {
		if got, err := ParseRule(string(r)); err != nil || got != r {
			t.Errorf("rule %q reads as %q, %v", r, got, err)
		}
	}
	for _, s := range []string{"", "QGJOB", "fair"} {
		if _, err := ParseRule(s); err == nil {
			t.Errorf("rule %q is read", s)
		}
	}
}
