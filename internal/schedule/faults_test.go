package schedule

import (
	"testing"

	"github.com/qualgent/qgjob"
)

// Each test here is named after a fault that other schedulers have, and proves
// the rule free of it.

// twoGroups is a fleet of one free agent before two groups that wait.
func twoGroups(first, second Group) *State {
	st := NewState(0)
	st.SetAgent(Agent{ID: "a1", Target: qgjob.TargetBrowser, Up: true})
	for _, g := range []Group{first, second} {
		g.Target, g.Install = qgjob.TargetBrowser, 30
		st.SetGroup(g)
	}
	return st
}

func waits(id qgjob.GroupID, org qgjob.OrgID, version qgjob.AppVersionID, jobs, priority int, since float64) Group {
	return Group{ID: id, Build: Build{Org: org, Version: version},
		Queue: Queue{Waiting: jobs, Work: 60 * float64(jobs), Runs: 1, HeadPriority: priority, HeadSubmitted: since}}
}

func TestFault_OneTenantFillsEveryDevice(t *testing.T) {
	const now = 10_000
	st := twoGroups(waits(1, "flood", "v1", 1000, 5, now-600), waits(2, "quiet", "v2", 1, 5, now-5))
	st.SetOrg(Org{ID: "flood", Weight: 1, Running: 30, Used: Usage{Seconds: 20_000, At: now}})
	if c := Pick(st, "a1", now, DefaultPolicy()); c.Group != 2 {
		t.Errorf("the agent takes %s; want the group of the org that has used nothing", c.Group)
	}
}

func TestFault_StrictPriorityWithoutAgeing(t *testing.T) {
	const now = 10_000
	old, urgent := waits(1, "acme", "v1", 1, 1, now-DefaultPolicy().MaxWait-60), waits(2, "acme", "v2", 50, 9, now-60)
	if c := Pick(twoGroups(old, urgent), "a1", now, DefaultPolicy()); c.Group != 1 {
		t.Errorf("the agent takes %s; want the group that has waited too long", c.Group)
	}
	old.HeadSubmitted = now - 600
	if c := Pick(twoGroups(old, urgent), "a1", now, DefaultPolicy()); c.Group != 2 {
		t.Errorf("the agent takes %s; want the urgent group while nobody waits too long", c.Group)
	}
}

func TestFault_GroupsGoInTheOrderTheyWereMade(t *testing.T) {
	const now = 10_000
	young, old := waits(1, "acme", "v1", 5, 5, now-10), waits(2, "acme", "v2", 5, 5, now-900)
	for _, st := range []*State{twoGroups(young, old), twoGroups(old, young)} {
		if c := Pick(st, "a1", now, DefaultPolicy()); c.Group != 2 {
			t.Errorf("the agent takes %s; want the group whose head waits longest", c.Group)
		}
	}
}
