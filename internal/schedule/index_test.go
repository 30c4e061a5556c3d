package schedule

import (
	"fmt"
	"slices"
	"testing"

	"github.com/qualgent/qgjob"
	"pgregory.net/rapid"
)

// audit recomputes every index of a state from its records and reports what
// differs.
func (st *State) audit() error {
	var queue []qgjob.GroupID
	refs, classes := map[Build]int{}, map[int]int{}
	for id, g := range st.groups {
		if g.ID != id || g.org != st.orgs[g.Build.Org] || g.build != st.builds[g.Build] {
			return fmt.Errorf("group %v points elsewhere: %+v", id, g)
		}
		if g.Waiting > 0 {
			queue = append(queue, id)
		}
		refs[g.Build]++
		classes[g.class]++
		if c := st.classes[g.class]; c == nil || c.target != g.Target || !sameLabels(c.requires, g.Requires) {
			return fmt.Errorf("group %v has class %+v", id, c)
		}
		var serving []qgjob.AgentID
		for _, a := range g.serving {
			serving = append(serving, a.ID)
		}
		if !slices.Equal(serving, st.Serving(id)) {
			return fmt.Errorf("group %v has %v in its hands, %v by the index", id, serving, st.Serving(id))
		}
	}
	slices.Sort(queue)
	for i, g := range st.queue {
		if i >= len(queue) || g.ID != queue[i] {
			return fmt.Errorf("the queue is not %v", queue)
		}
	}
	if len(st.queue) != len(queue) || st.Waiting() != len(queue) {
		return fmt.Errorf("%d groups are queued, %d wait", len(st.queue), len(queue))
	}
	serving := map[qgjob.GroupID]int{}
	for i, a := range st.fleet {
		if i > 0 && st.fleet[i-1].ID >= a.ID || st.agents[a.ID] != a {
			return fmt.Errorf("the fleet is out of order at %s", a.ID)
		}
		refs[a.Installed]++
		if a.build != st.builds[a.Installed] {
			return fmt.Errorf("agent %s has %v and points elsewhere", a.ID, a.Installed)
		}
		if a.Serving != 0 {
			serving[a.Serving]++
			if !slices.Contains(st.Serving(a.Serving), a.ID) {
				return fmt.Errorf("agent %s serves %v and is not listed", a.ID, a.Serving)
			}
		}
		for n, c := range st.classes {
			if want := c != nil && a.Target == c.target && hasLabels(a.Labels, c.requires); c != nil && a.match[n] != want {
				return fmt.Errorf("agent %s matches class %d: %v, want %v", a.ID, n, a.match[n], want)
			}
		}
	}
	return st.auditCounts(refs, classes, serving)
}

func (st *State) auditCounts(refs map[Build]int, classes map[int]int, serving map[qgjob.GroupID]int) error {
	if len(st.fleet) != len(st.agents) || len(serving) != len(st.serving) {
		return fmt.Errorf("%d agents in the fleet of %d; %d groups served, %d listed", len(st.fleet), len(st.agents), len(serving), len(st.serving))
	}
	for b, have := range st.builds {
		want := refs[b]
		if have.uploaded {
			want++
		}
		if have.refs != want || want == 0 {
			return fmt.Errorf("build %v is named %d times, counted %d", b, want, have.refs)
		}
	}
	for n, c := range st.classes {
		if c != nil && c.refs != classes[n] {
			return fmt.Errorf("class %d has %d groups, counted %d", n, classes[n], c.refs)
		}
		speed := 0.0
		for _, a := range st.fleet {
			if c != nil && a.Up && !a.Draining && a.match[n] {
				speed += a.Speed
			}
		}
		if c != nil && st.speedOf(n) != speed {
			return fmt.Errorf("class %d has speed %v, summed %v", n, st.speedOf(n), speed)
		}
	}
	return nil
}

// TestStateIndexes changes a state at random, whole records and all, and
// audits it after every change.
func TestStateIndexes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		st := NewState(0)
		number := func(label string, from, to int) int { return rapid.IntRange(from, to).Draw(t, label) }
		build := func() Build {
			return Build{Org: qgjob.OrgID(fmt.Sprint("o", number("org", 0, 1))), Version: qgjob.AppVersionID(fmt.Sprint("v", number("version", 0, 2)))}
		}
		kinds := []map[string]string{nil, {"os": "14"}, {"os": "15"}, {"os": "14", "gpu": "yes"}}
		targets := []qgjob.Target{qgjob.TargetDevice, qgjob.TargetBrowserStack}
		for range number("steps", 1, 40) {
			group := qgjob.GroupID(number("group", 1, 4))
			agent := qgjob.AgentID(fmt.Sprint("a", number("agent", 0, 3)))
			switch number("step", 0, 8) {
			case 0, 1:
				st.SetGroup(Group{
					ID: group, Build: build(), Target: targets[number("target", 0, 1)], Requires: kinds[number("requires", 0, 3)], Install: 60,
					Queue: Queue{Waiting: number("waiting", 0, 2), Work: 60, Runs: 1, HeadPriority: 5},
				})
			case 2:
				st.RemoveGroup(group)
			case 3:
				_, known := st.Group(group)
				if st.SetQueue(group, Queue{Waiting: number("now waiting", 0, 2)}) != known {
					t.Fatalf("group %v known: %v", group, known)
				}
			case 4, 5:
				a := Agent{
					ID: agent, Target: targets[number("of target", 0, 1)], Labels: kinds[number("labels", 0, 3)], Speed: float64(number("speed", 1, 3)),
					Up: number("up", 0, 3) > 0, Draining: number("drains", 0, 3) == 0,
				}
				if number("has one", 0, 1) == 0 {
					a.Installed = build()
				}
				if number("works", 0, 1) == 0 {
					a.Serving = group
				}
				st.SetAgent(a)
			case 6:
				st.RemoveAgent(agent)
			case 7:
				st.SetUpload(build(), 10)
			case 8:
				st.ForgetUpload(build())
			}
			if err := st.audit(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestStateAuditCanFail: an audit that finds nothing wrong in what is wrong is
// worth nothing.
func TestStateAuditCanFail(t *testing.T) {
	for name, spoil := range map[string]func(st *State){
		"a group is not queued":     func(st *State) { st.queue = nil },
		"an agent is lost":          func(st *State) { st.fleet = st.fleet[1:] },
		"a build is counted twice":  func(st *State) { st.hold(st.groups[1].Build) },
		"a class is miscounted":     func(st *State) { st.classes[0].refs++ },
		"a speed is remembered":     func(st *State) { st.classes[0].speed, st.classes[0].fresh = 99, true },
		"a match is wrong":          func(st *State) { st.fleet[0].match[0] = false },
		"an agent serves in secret": func(st *State) { st.agents["a"].Serving = 1 },
	} {
		w := newWorld(t)
		w.group(1)
		w.agent("a")
		w.agent("b")
		if err := w.st.audit(); err != nil {
			t.Fatalf("a sound state: %v", err)
		}
		spoil(w.st)
		if err := w.st.audit(); err == nil {
			t.Errorf("%s, and nothing is found", name)
		}
	}
}
