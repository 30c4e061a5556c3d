package sim

import (
	"fmt"
	"testing"

	"github.com/qualgent/qgjob/internal/schedule"
)

// fresh is what a newcomer tries first: so many specs of one app version in
// one submission, so many agents, no history.
func fresh(specs, agents, priority int, lasts float64) *Workload {
	w := &Workload{Name: "fresh", Orgs: []Org{{ID: "o", Weight: 1}}, Apps: []App{{Org: "o", Version: "v1", InstallS: schedule.DefaultInstall}}}
	for i := range agents {
		w.Agents = append(w.Agents, Agent{ID: fmt.Sprint("a", i), Speed: 1, InstallFactor: 1})
	}
	for i := range specs {
		w.Jobs = append(w.Jobs, Job{ID: i, Run: "r", Org: "o", Version: "v1", Test: fmt.Sprint("t", i), Priority: priority, DurationS: lasts})
	}
	return w
}

// TestColdStartUsesTheFleet: on an empty server nobody stays idle while a run
// waits, whatever its priority; and an agent that has the app keeps to it.
func TestColdStartUsesTheFleet(t *testing.T) {
	for _, c := range []struct {
		specs, agents, priority int
		lasts                   float64
	}{
		{10, 2, 1, 60}, {10, 2, 5, 60}, {10, 2, 10, 60},
		{12, 2, 1, 60}, {12, 2, 5, 60}, {12, 2, 1, 5}, {12, 2, 1, 200},
		{40, 4, 1, 60}, {100, 2, 1, 60}, {500, 8, 1, 30},
	} {
		w := fresh(c.specs, c.agents, c.priority, c.lasts)
		r := play(t, w, schedule.RuleQgjob)
		did := map[string]int{}
		for _, a := range r.Attempts {
			did[a.Agent]++
		}
		if len(did) != c.agents {
			t.Errorf("%+v: only %v worked", c, did)
		}
		if m := Measure(w, r.Schedule()); m.Installs != c.agents {
			t.Errorf("%+v: %d installs, want one for each agent", c, m.Installs)
		}
	}
}

// TestColdStartLeavesLittleWorkAlone: what ends before an install would is not
// worth one, fresh or not.
func TestColdStartLeavesLittleWorkAlone(t *testing.T) {
	w := fresh(2, 2, 1, 20)
	w.Apps[0].InstallS = 120
	r := play(t, w, schedule.RuleQgjob)
	if m := Measure(w, r.Schedule()); m.Installs != 1 {
		t.Errorf("%d installs of 120 s for two tests of 60 s, want 1", m.Installs)
	}
}

// TestPriorityAloneChangesNothing: when all work has one priority, which one
// it is makes no difference.
func TestPriorityAloneChangesNothing(t *testing.T) {
	w := generate(t, "prheavy", 11)
	at := func(priority int) Schedule {
		other := *w
		other.Jobs = append([]Job(nil), w.Jobs...)
		for i := range other.Jobs {
			other.Jobs[i].Priority = priority
		}
		return play(t, &other, schedule.RuleQgjob).Schedule()
	}
	want := at(5)
	for _, priority := range []int{1, 3, 8, 10} {
		got := at(priority)
		for i := range want.Attempts {
			if got.Attempts[i] != want.Attempts[i] {
				t.Errorf("all at priority %d: attempt %d is %+v, at 5 it is %+v", priority, i, got.Attempts[i], want.Attempts[i])
				break
			}
		}
	}
}
