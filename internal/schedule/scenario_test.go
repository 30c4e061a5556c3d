package schedule

import (
	"fmt"
	"slices"
	"testing"

	"github.com/qualgent/qgjob"
)

// claim lets an agent ask and brings the world up to date, as an owner does:
// one job of 60 s leaves the group.
func (w *world) claim(id qgjob.AgentID) Choice {
	w.t.Helper()
	c := Pick(w.st, id, w.now, DefaultPolicy())
	if c.Group == 0 {
		return c
	}
	g, _ := w.st.Group(c.Group)
	q := g.Queue
	if q.Waiting--; q.Waiting == 0 {
		q = Queue{}
	} else {
		q.Work -= 60
	}
	w.st.SetQueue(g.ID, q)
	a, _ := w.st.Agent(id)
	a.Serving, a.Installed, a.FreeAt = g.ID, g.Build, w.now+c.Install+60/a.Speed
	w.st.SetAgent(a)
	o := w.st.Org(g.Build.Org)
	o.Running++
	o.Used = o.Used.Charge(w.now, c.Install+60, o.Weight)
	w.st.SetOrg(o)
	return c
}

// end ends what an agent has in hand.
func (w *world) end(id qgjob.AgentID) {
	w.t.Helper()
	a, _ := w.st.Agent(id)
	g, _ := w.st.Group(a.Serving)
	o := w.st.Org(g.Build.Org)
	o.Running--
	w.st.SetOrg(o)
	a.Serving = 0
	w.st.SetAgent(a)
}

// TestScenarioFirstSubmit is what a newcomer sees: a server that has just
// started, idle agents, one run. Every agent works as long as each has a test
// to run after an install that all pay alike.
func TestScenarioFirstSubmit(t *testing.T) {
	for _, agents := range []int{2, 3, 4} {
		for _, specs := range []int{10, 12, 40, 100} {
			for _, prio := range []int{1, 5, 8, 10} {
				w := newWorld(t)
				w.st.SetLoad(Load{Since: w.now - 3})
				for range specs {
					w.st.Arrive(w.now, 60, prio)
				}
				w.group(1, waiting(specs, float64(60*specs)), priority(prio), submitted(w.now))
				for i := range agents {
					w.agent(qgjob.AgentID(fmt.Sprint("a", i)))
				}
				for _, id := range WakeOrder(w.st) {
					if c := w.claim(id); c.Group != 1 {
						_, why := Explain(w.st, id, w.now, DefaultPolicy())
						t.Errorf("%d specs at priority %d: agent %s of %d idles: %s", specs, prio, id, agents, why[0].Text(w.st, w.now))
					}
				}
			}
		}
	}
}

// TestScenarioTwoVersions: two versions of one app, two agents: each keeps to
// its own until it is done, then helps or not, but never swaps.
func TestScenarioTwoVersions(t *testing.T) {
	w := newWorld(t)
	w.group(1, waiting(6, 360))
	w.group(2, waiting(6, 360))
	w.agent("a")
	w.agent("b")
	installs := 0
	for range 6 {
		for _, id := range []qgjob.AgentID{"a", "b"} {
			if c := w.claim(id); c.Install > 0 {
				installs++
			}
		}
		w.now += 60
		w.end("a")
		w.end("b")
	}
	if installs != 2 || w.st.Waiting() != 0 {
		t.Errorf("%d installs and %d groups left, want 2 and none", installs, w.st.Waiting())
	}
}

// TestScenarioHotfix: while a fleet works on a large run, ten urgent tests
// come. The next agents that end a test take them, and then go back.
func TestScenarioHotfix(t *testing.T) {
	w := newWorld(t)
	big := w.group(1, waiting(100, 6000), priority(3))
	ids := []qgjob.AgentID{"a", "b", "c"}
	for _, id := range ids {
		w.agent(id, has(big))
		if c := w.claim(id); c.Group != 1 {
			t.Fatalf("agent %s takes %v", id, c.Group)
		}
	}
	w.now += 60
	w.group(2, waiting(10, 600), priority(10), submitted(w.now))
	w.end("a")
	if c := w.claim("a"); c.Group != 2 || c.Install != 60 {
		t.Errorf("the first agent that is free takes %+v, want the hotfix after an install", c)
	}
	took := 1
	for _, id := range ids[1:] {
		w.end(id)
		if c := w.claim(id); c.Group == 2 {
			took++
		}
	}
	if took < 2 {
		t.Errorf("%d of three agents takes ten urgent tests", took)
	}
	for {
		w.now += 60
		w.end("a")
		c := w.claim("a")
		if c.Group == 1 {
			break
		}
		if c.Group != 2 || c.Install != 0 {
			t.Fatalf("in the middle of the hotfix agent a takes %+v", c)
		}
	}
	if g, _ := w.st.Group(2); g.Waiting != 0 {
		t.Errorf("agent a goes back while %d urgent tests wait", g.Waiting)
	}
}

// TestScenarioDrainingHost: the host of two agents drains in the middle of a
// run; the third does not wait for their last tests.
func TestScenarioDrainingHost(t *testing.T) {
	w := newWorld(t)
	w.group(1, waiting(4, 240))
	for _, id := range []qgjob.AgentID{"x", "y"} {
		w.agent(id)
		w.claim(id)
		a, _ := w.st.Agent(id)
		a.Draining, a.FreeAt = true, w.now+1800
		w.st.SetAgent(a)
	}
	w.agent("z")
	if c := w.claim("z"); c.Group != 1 || c.Install != 60 {
		t.Errorf("agent z takes %+v, want the group that the draining ones leave", c)
	}
	w.now += 60
	w.end("z")
	if c := w.claim("z"); c.Group != 1 || c.Install != 0 {
		t.Errorf("then it takes %+v", c)
	}
}

// TestScenarioBrokenBuild: a build that breaks on one agent after another is
// left to the one on which it did not.
func TestScenarioBrokenBuild(t *testing.T) {
	w := newWorld(t)
	bad := w.group(1, waiting(5, 300), priority(9))
	w.group(2, waiting(5, 300), priority(1))
	for _, id := range []qgjob.AgentID{"a", "b"} {
		w.agent(id)
		if c := w.claim(id); c.Group != 1 && id == "a" {
			t.Fatalf("agent %s takes %v", id, c.Group)
		}
		w.end(id)
		w.agent(id, blocks(bad))
		if c := w.claim(id); c.Group != 2 {
			t.Errorf("agent %s takes %v after the build broke on it", id, c.Group)
		}
	}
	w.agent("c")
	if c := w.claim("c"); c.Group != 1 {
		t.Errorf("agent c takes %v, want the build that it was not broken by", c.Group)
	}
}

// TestScenarioOrderInsideAGroup sorts a queue as the owner of a state does and
// wants the order that people are told: priority, run, rank, longest, oldest.
func TestScenarioOrderInsideAGroup(t *testing.T) {
	jobs := []Job{
		{Seq: 1, Run: 1, Priority: 5, Estimate: 30},
		{Seq: 2, Run: 1, Priority: 5, Estimate: 90},
		{Seq: 3, Run: 1, Priority: 5, Estimate: 30, Rank: 1},
		{Seq: 4, Run: 2, Priority: 5, Estimate: 300},
		{Seq: 5, Run: 3, Priority: 9, Estimate: 10},
		{Seq: 6, Run: 3, Priority: 9, Estimate: 10},
		{Seq: 7, Run: 4, Priority: 1, Estimate: 999},
	}
	want := []int64{5, 6, 2, 1, 3, 4, 7}
	for turn := range len(jobs) {
		queue := append(slices.Clone(jobs[turn:]), jobs[:turn]...)
		slices.SortFunc(queue, func(a, b Job) int {
			if a.Less(b) {
				return -1
			}
			return 1
		})
		for i, j := range queue {
			if j.Seq != want[i] {
				t.Fatalf("turned by %d, place %d is job %d, want %d", turn, i, j.Seq, want[i])
			}
		}
	}
}
