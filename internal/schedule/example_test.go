package schedule_test

import (
	"fmt"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
)

// twoGroups is a server with one phone that has version 1 of the shop, one
// that is blank, and work for both versions.
func twoGroups() *schedule.State {
	st := schedule.NewState(0)
	for i, version := range []qgjob.AppVersionID{"v1", "v2"} {
		st.SetGroup(schedule.Group{
			ID: qgjob.GroupID(i + 1), Build: schedule.Build{Org: "shop", Version: version}, Target: qgjob.TargetDevice, Install: 45,
			Queue: schedule.Queue{Waiting: 5, Work: 300, Runs: 1, HeadPriority: 5, HeadSubmitted: 950},
		})
	}
	st.SetAgent(schedule.Agent{ID: "phone1", Target: qgjob.TargetDevice, Up: true, Installed: schedule.Build{Org: "shop", Version: "v1"}})
	st.SetAgent(schedule.Agent{ID: "phone2", Target: qgjob.TargetDevice, Up: true, InstallFactor: 2})
	return st
}

// A free agent asks; its owner then brings the state up to date.
func ExamplePick() {
	st, p := twoGroups(), schedule.DefaultPolicy()
	for _, id := range schedule.WakeOrder(st) {
		c := schedule.Pick(st, id, 1000, p)
		fmt.Printf("%s takes %v after %.0f s of install\n", id, c.Group, c.Install)

		g, _ := st.Group(c.Group)
		g.Waiting, g.Work = g.Waiting-1, g.Work-60
		st.SetQueue(g.ID, g.Queue)
		a, _ := st.Agent(id)
		a.Serving, a.Installed, a.FreeAt = g.ID, g.Build, 1000+c.Install+60
		st.SetAgent(a)
	}
	fmt.Println("version 1 is served by", st.Serving(1))
	// Output:
	// phone1 takes group_1 after 0 s of install
	// phone2 takes group_2 after 90 s of install
	// version 1 is served by [phone1]
}

// Every agent says why it does not take a group.
func ExampleExplainGroup() {
	st := twoGroups()
	for _, r := range schedule.ExplainGroup(st, 2, 1000, schedule.DefaultPolicy()) {
		fmt.Println(r.Reason, "-", r.Text(st, 1000))
	}
	// Output:
	// outranked - agent phone1 takes group_1 first, which scores higher; a higher priority or more agents would start it sooner
	// outranked - agent phone2 takes group_1 first, which scores higher; a higher priority or more agents would start it sooner
}

// What a test takes is learnt from what it took.
func ExampleEstimate() {
	var e schedule.Estimate
	fmt.Printf("unknown: %.0f s\n", e.Expect(schedule.DefaultEstimate))
	for _, took := range []float64{20, 30, 25} {
		e = e.Observe(took)
	}
	fmt.Printf("after three: %.2f s\n", e.Expect(schedule.DefaultEstimate))
	// Output:
	// unknown: 60 s
	// after three: 33.75 s
}

// A server that restarts keeps its load, or it would take the next submission
// for the first.
func ExampleState_SetLoad() {
	st := schedule.NewState(0)
	st.Arrive(7200, 1800, 5)
	restarted := schedule.NewState(7300)
	restarted.SetLoad(st.Load())
	fmt.Println(restarted.Load().Rate(7300) == st.Load().Rate(7300))
	// Output: true
}
