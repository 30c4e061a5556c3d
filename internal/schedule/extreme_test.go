package schedule

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/qualgent/qgjob"
	"pgregory.net/rapid"
)

// edges are numbers at which arithmetic goes wrong: none, tiny, huge.
var edges = []float64{0, 1e-300, 1e-9, 1, 59.999, 1e6, 1e12, 1e18}

// wild draws a scene of extreme numbers: everything that a store could hold
// after a bug, a clock that jumps, or an operator's typing error.
var wild = rapid.Custom(func(t *rapid.T) scene {
	number := func(label string) float64 { return rapid.SampledFrom(edges).Draw(t, label) }
	instant := func(label string) float64 {
		return rapid.SampledFrom([]float64{-1e12, 0, 9999, 10_000, 10_001, 1e12}).Draw(t, label)
	}
	s := scene{now: 10_000, uploads: map[Build]float64{}, load: Load{Since: instant("since"), At: instant("load at"), Sum: number("sum"), Urgent: number("urgent")}}
	for i := range 2 {
		s.orgs = append(s.orgs, Org{
			ID: qgjob.OrgID(fmt.Sprint("o", i)), Weight: number("weight"), Quota: rapid.SampledFrom([]int{-1, 0, 1, math.MaxInt}).Draw(t, "quota"),
			Running: rapid.SampledFrom([]int{-1, 0, 1, math.MaxInt}).Draw(t, "running"), Used: Usage{Seconds: number("used"), At: instant("used at")},
		})
	}
	for i := range rapid.IntRange(1, 5).Draw(t, "groups") {
		s.groups = append(s.groups, Group{
			ID: qgjob.GroupID(i + 1), Build: Build{Org: s.orgs[i%2].ID, Version: qgjob.AppVersionID(fmt.Sprint("v", i))}, Target: qgjob.TargetDevice,
			Install: number("install"),
			Queue: Queue{
				Waiting: rapid.SampledFrom([]int{1, 2, math.MaxInt}).Draw(t, "waiting"), Work: number("work"), Runs: rapid.SampledFrom([]int{-1, 0, 1, math.MaxInt}).Draw(t, "runs"),
				HeadPriority: rapid.SampledFrom([]int{-1, 0, 1, 10, 1000}).Draw(t, "priority"), HeadSubmitted: instant("submitted"),
			},
		})
	}
	for i := range rapid.IntRange(1, 5).Draw(t, "agents") {
		a := Agent{
			ID: qgjob.AgentID(fmt.Sprint("a", i)), Target: qgjob.TargetDevice, Speed: number("speed"), InstallFactor: number("factor"), Up: true,
			SharedInstall: rapid.Bool().Draw(t, "shared"),
		}
		if rapid.Bool().Draw(t, "busy") {
			a.Serving, a.FreeAt = s.groups[0].ID, instant("free at")
		}
		s.agents = append(s.agents, a)
	}
	return s
})

// TestPickIsFinite: whatever the numbers, a score is a number, and what is
// refused as not worth it was really compared.
func TestPickIsFinite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, p := wild.Draw(t, "scene"), DefaultPolicy()
		st := s.state()
		for _, a := range s.agents {
			c, why := Explain(st, a.ID, s.now, p)
			if math.IsNaN(c.Score) || math.IsInf(c.Score, 0) || math.IsNaN(c.Install) || c.Install < 0 {
				t.Fatalf("agent %+v takes %+v", a, c)
			}
			for _, r := range why {
				if math.IsNaN(r.Gain) || math.IsNaN(r.Price) {
					t.Fatalf("agent %s refuses with %+v", a.ID, r)
				}
				if r.Text(st, s.now) == "" {
					t.Fatalf("refusal %+v has no text", r)
				}
			}
			if again := Pick(st, a.ID, s.now, p); again.Group != c.Group {
				t.Fatalf("agent %s takes %v, and %v when it explains itself", a.ID, again.Group, c.Group)
			}
		}
	})
}

// TestPickTakesUnservedWorkWhateverTheNumbers: no arithmetic may leave an
// agent idle beside a group that nobody serves and that it may take.
func TestPickTakesUnservedWorkWhateverTheNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := wild.Draw(t, "scene")
		st := s.state()
		s.eachFree(func(a Agent) {
			if Pick(st, a.ID, s.now, DefaultPolicy()).Group != 0 {
				return
			}
			for _, g := range s.groups {
				if s.able(a, g) && len(s.crew(g)) == 0 {
					t.Fatalf("agent %+v leaves %+v to nobody", a, g)
				}
			}
		})
	})
}

// TestPickForgetsTheOrderOfWildData: with extreme numbers, sums depend most on
// their order; the answer must not.
func TestPickForgetsTheOrderOfWildData(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := wild.Draw(t, "scene")
		turned := s
		turned.agents, turned.groups, turned.orgs = slices.Clone(s.agents), slices.Clone(s.groups), slices.Clone(s.orgs)
		slices.Reverse(turned.agents)
		slices.Reverse(turned.groups)
		slices.Reverse(turned.orgs)
		one, two := s.state(), turned.state()
		for _, a := range s.agents {
			x, y := Pick(one, a.ID, s.now, DefaultPolicy()), Pick(two, a.ID, s.now, DefaultPolicy())
			if x != y {
				t.Fatalf("agent %s takes %+v, from turned lists %+v", a.ID, x, y)
			}
		}
	})
}

// TestPickWithoutAFleet: an agent that is asked for a moment after it was the
// last that could serve a class divides by what is left of the fleet.
func TestPickWithoutAFleet(t *testing.T) {
	w := newWorld(t)
	w.group(1)
	w.agent("a", down())
	for _, r := range ExplainGroup(w.st, 1, w.now, DefaultPolicy()) {
		if r.Reason != AgentDown || math.IsNaN(r.Gain) {
			t.Errorf("refusal %+v", r)
		}
	}
	w.agent("a", speed(1e-9))
	if c := w.want("a", 1); math.IsNaN(c.Score) || math.IsInf(c.Score, 0) {
		t.Errorf("a fleet of almost no speed scores %v", c.Score)
	}
}

// TestPickAtTheEdgeOfPriorities: a priority outside 1 to 10 is a bug of the
// caller; it orders as it should and breaks nothing.
func TestPickAtTheEdgeOfPriorities(t *testing.T) {
	w := newWorld(t)
	w.group(1, priority(-5))
	w.group(2, priority(0))
	w.group(3, priority(11))
	w.agent("a")
	w.want("a", 3)
	w.st.RemoveGroup(3)
	w.want("a", 2)
	w.st.RemoveGroup(2)
	w.want("a", 1)
}

// TestPickWhenTheClockJumps: a head from the future, an upload long past and a
// usage of tomorrow do no harm.
func TestPickWhenTheClockJumps(t *testing.T) {
	w := newWorld(t)
	g := w.group(1, submitted(1e9))
	w.group(2, submitted(900))
	w.st.SetOrg(Org{ID: "o", Used: Usage{Seconds: 500, At: 1e9}})
	w.st.SetUpload(g.Build, -1e9)
	w.agent("a", sharing())
	if c := Pick(w.st, "a", w.now, DefaultPolicy()); c.Group != 2 || c.Install != 60 {
		t.Errorf("takes %+v, want the group that has waited", c)
	}
	w.st.RemoveGroup(2)
	if c := Pick(w.st, "a", w.now, DefaultPolicy()); c.Group != 1 || c.Install != 0 {
		t.Errorf("takes %+v, want the group of the future, whose upload is done", c)
	}
	if r := w.st.Load().Rate(-1e9); math.IsNaN(r) || math.IsInf(r, 0) || r < 0 {
		t.Errorf("before all time the load is %v", r)
	}
}

// TestAgentFactorsAreSane: an agent reports its own speed, so nonsense has to
// end at the door.
func TestAgentFactorsAreSane(t *testing.T) {
	for _, c := range []struct{ got, want float64 }{
		{0, 1}, {-3, 1}, {math.NaN(), 1}, {math.Inf(-1), 1}, {math.Inf(1), 1000}, {1e-300, 0.001}, {5000, 1000}, {0.7, 0.7}, {1, 1},
	} {
		w := newWorld(t)
		w.agent("a", speed(c.got), factor(c.got))
		if a, _ := w.st.Agent("a"); a.Speed != c.want || a.InstallFactor != c.want {
			t.Errorf("speed and factor %v are taken for %v and %v, want %v", c.got, a.Speed, a.InstallFactor, c.want)
		}
	}
}
