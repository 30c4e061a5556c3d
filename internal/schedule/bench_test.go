package schedule

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/qualgent/qgjob"
)

// crowd makes a state of so many groups of a tenth as many orgs, half of them
// served, on 200 agents.
func crowd(groups int) *State {
	r := rand.New(rand.NewPCG(1, uint64(groups)))
	st := NewState(0)
	st.Arrive(5000, 100_000, 5)
	for i := range groups {
		id := qgjob.GroupID(i + 1)
		org := qgjob.OrgID(fmt.Sprintf("org%d", i%max(1, groups/10)))
		g := Group{
			ID: id, Build: Build{Org: org, Version: qgjob.AppVersionID(fmt.Sprintf("v%d", i))}, Target: qgjob.TargetDevice,
			Install: 20 + 80*r.Float64(), Requires: map[string]string{"platform": []string{"android", "ios"}[i%2]},
			Queue: Queue{Waiting: 1 + r.IntN(50), Work: 60 + 3000*r.Float64(), Runs: 1 + r.IntN(2), HeadPriority: 1 + r.IntN(10), HeadSubmitted: 9000 * r.Float64()},
		}
		st.SetGroup(g)
		st.SetOrg(Org{ID: org, Weight: 1, Used: Usage{Seconds: 1000 * r.Float64(), At: 9000}})
	}
	for i := range 200 {
		a := Agent{
			ID: qgjob.AgentID(fmt.Sprintf("a%03d", i)), Target: qgjob.TargetDevice, Speed: 1, InstallFactor: 1, Up: true,
			Labels: map[string]string{"platform": []string{"android", "ios"}[i%2]},
		}
		if i > 0 && i < groups {
			g, _ := st.Group(qgjob.GroupID(1 + r.IntN(groups)))
			a.Installed, a.Serving, a.FreeAt = g.Build, g.ID, 10_000+200*r.Float64()
		}
		st.SetAgent(a)
	}
	return st
}

// BenchmarkPick is one decision. The budget is 100 µs at 1,000 groups.
func BenchmarkPick(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 5000} {
		b.Run(fmt.Sprintf("groups=%d", n), func(b *testing.B) {
			st, p := crowd(n), DefaultPolicy()
			b.ReportAllocs()
			for b.Loop() {
				if c := Pick(st, "a000", 10_000, p); c.Group == 0 {
					b.Fatal("nothing picked")
				}
			}
		})
	}
}

// BenchmarkClaim is a decision with the changes to the state that follow it.
func BenchmarkClaim(b *testing.B) {
	st, p := crowd(1000), DefaultPolicy()
	b.ReportAllocs()
	for b.Loop() {
		c := Pick(st, "a000", 10_000, p)
		g, _ := st.Group(c.Group)
		st.SetQueue(g.ID, g.Queue)
		a, _ := st.Agent("a000")
		a.Serving = g.ID
		st.SetAgent(a)
		o := st.Org(g.Build.Org)
		o.Running++
		st.SetOrg(o)
		a.Serving = 0
		st.SetAgent(a)
	}
}

// BenchmarkExplain is a decision with a reason for every group.
func BenchmarkExplain(b *testing.B) {
	st, p := crowd(1000), DefaultPolicy()
	b.ReportAllocs()
	for b.Loop() {
		Explain(st, "a000", 10_000, p)
	}
}
