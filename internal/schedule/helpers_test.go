package schedule

import (
	"testing"

	"github.com/qualgent/qgjob"
)

// world builds states for tests: short names in, a state out.
type world struct {
	t   *testing.T
	st  *State
	now float64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, st: NewState(0), now: 1000}
}

// change edits a record before it is set.
type changeGroup func(*Group)
type changeAgent func(*Agent)

// group adds a group of org o, version vN, with 10 waiting jobs of 60 s that
// came at 900, priority 5.
func (w *world) group(id qgjob.GroupID, changes ...changeGroup) Group {
	w.t.Helper()
	g := Group{
		ID: id, Build: Build{Org: "o", Version: qgjob.AppVersionID("v" + id.String())}, Target: qgjob.TargetDevice, Install: 60,
		Queue: Queue{Waiting: 10, Work: 600, Runs: 1, HeadPriority: 5, HeadSubmitted: 900},
	}
	for _, c := range changes {
		c(&g)
	}
	w.st.SetGroup(g)
	return g
}

// agent adds a free agent of speed 1 that is up.
func (w *world) agent(id qgjob.AgentID, changes ...changeAgent) Agent {
	w.t.Helper()
	a := Agent{ID: id, Target: qgjob.TargetDevice, Speed: 1, InstallFactor: 1, Up: true}
	for _, c := range changes {
		c(&a)
	}
	w.st.SetAgent(a)
	return a
}

// want fails unless the agent takes the group.
func (w *world) want(id qgjob.AgentID, group qgjob.GroupID) Choice {
	w.t.Helper()
	got := Pick(w.st, id, w.now, DefaultPolicy())
	if got.Group != group {
		_, why := Explain(w.st, id, w.now, DefaultPolicy())
		w.t.Errorf("agent %s takes %v, want %v; refusals: %+v", id, got.Group, group, why)
	}
	return got
}

// wantReason fails unless the agent refuses the group for the reason.
func (w *world) wantReason(id qgjob.AgentID, group qgjob.GroupID, want Reason) Refusal {
	w.t.Helper()
	_, why := Explain(w.st, id, w.now, DefaultPolicy())
	for _, r := range why {
		if r.Group == group {
			if r.Reason != want {
				w.t.Errorf("agent %s refuses %v for %v, want %v", id, group, r.Reason, want)
			}
			return r
		}
	}
	w.t.Errorf("agent %s gives no reason against %v, want %v", id, group, want)
	return Refusal{}
}

func submitted(at float64) changeGroup { return func(g *Group) { g.HeadSubmitted = at } }
func priority(p int) changeGroup       { return func(g *Group) { g.HeadPriority = p } }
func ofOrg(o qgjob.OrgID) changeGroup  { return func(g *Group) { g.Build.Org = o } }
func install(s float64) changeGroup    { return func(g *Group) { g.Install = s } }
func runs(n int) changeGroup           { return func(g *Group) { g.Runs = n } }
func needs(k, v string) changeGroup {
	return func(g *Group) { g.Requires = map[string]string{k: v} }
}
func onTarget(t qgjob.Target) changeGroup { return func(g *Group) { g.Target = t } }
func waiting(n int, work float64) changeGroup {
	return func(g *Group) { g.Waiting, g.Work = n, work }
}

func has(g Group) changeAgent { return func(a *Agent) { a.Installed = g.Build } }
func serves(g Group, freeAt float64) changeAgent {
	return func(a *Agent) { a.Installed, a.Serving, a.FreeAt = g.Build, g.ID, freeAt }
}
func labels(kv ...string) changeAgent {
	return func(a *Agent) {
		a.Labels = map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			a.Labels[kv[i]] = kv[i+1]
		}
	}
}
func pinned(v qgjob.AppVersionID) changeAgent { return func(a *Agent) { a.Pinned = v } }
func blocks(g Group) changeAgent              { return func(a *Agent) { a.Blocked = append(a.Blocked, g.Build) } }
func speed(s float64) changeAgent             { return func(a *Agent) { a.Speed = s } }
func sharing() changeAgent                    { return func(a *Agent) { a.SharedInstall = true } }
func factor(f float64) changeAgent            { return func(a *Agent) { a.InstallFactor = f } }
func down() changeAgent                       { return func(a *Agent) { a.Up = false } }
func draining() changeAgent                   { return func(a *Agent) { a.Draining = true } }
