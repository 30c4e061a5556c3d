package schedule

import (
	"testing"

	"github.com/qualgent/qgjob"
)

// TestPickLeavingAgentsDoNotServe: an agent that takes no further job of the
// group is no reason to leave its other jobs waiting, however long the job in
// its hands still takes.
func TestPickLeavingAgentsDoNotServe(t *testing.T) {
	for _, c := range []struct {
		name   string
		change changeAgent
		taken  bool // by the cold idle agent
	}{
		{"it goes on serving", func(*Agent) {}, false},
		{"it drains", draining(), true},
		{"it is not heard of", down(), true},
		{"it is pinned to another app version", pinned("v9"), true},
		{"it is pinned to this app version", pinned("vgroup_1"), false},
		{"the build broke on it", func(a *Agent) { a.Blocked = []Build{a.Installed} }, true},
		{"another build broke on it", func(a *Agent) { a.Blocked = []Build{{Org: "o", Version: "v9"}} }, false},
		{"its labels changed", labels("os", "13"), true},
		{"its target changed", func(a *Agent) { a.Target = qgjob.TargetBrowser }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			g := w.group(1, waiting(1, 60), needs("os", "14"))
			w.agent("leaving", labels("os", "14"), serves(g, 1050))
			w.agent("leaving", labels("os", "14"), serves(g, 1050), c.change)
			w.agent("cold", labels("os", "14"))
			if c.taken {
				w.want("cold", 1)
				return
			}
			w.want("cold", 0)
			w.wantReason("cold", 1, NotWorthIt)
		})
	}
}

// TestPickLeavingAgentsDoNotHelp: with one agent that stays and one that
// leaves, the gain is that of joining the one that stays.
func TestPickLeavingAgentsDoNotHelp(t *testing.T) {
	build := func(second changeAgent) Refusal {
		w := newWorld(t)
		g := w.group(1, waiting(3, 170))
		w.agent("stays", serves(g, 1010))
		w.agent("b", serves(g, 1900), second)
		w.agent("cold")
		for i := range 30 {
			w.group(qgjob.GroupID(10 + i))
		}
		return w.wantReason("cold", 1, NotWorthIt)
	}
	alone := build(func(a *Agent) { a.Serving = 0; a.Installed = Build{}; a.Draining = true })
	for name, change := range map[string]changeAgent{"draining": draining(), "down": down()} {
		got := build(change)
		if got.Gain <= 0 {
			t.Errorf("%s: the gain is %v s, want that of joining the agent that stays", name, got.Gain)
		}
		if name == "draining" && got.Gain != alone.Gain {
			t.Errorf("beside a draining agent the gain is %v s, beside none %v s", got.Gain, alone.Gain)
		}
	}
	if both := build(func(*Agent) {}); both.Gain >= alone.Gain {
		t.Errorf("beside an agent that stays with a long test the gain is %v s, without it %v s; want less", both.Gain, alone.Gain)
	}
}

// TestServingNamesLeavingAgents: what is in hand is still told, for people.
func TestServingNamesLeavingAgents(t *testing.T) {
	w := newWorld(t)
	g := w.group(1)
	w.agent("leaving", serves(g, 1100), draining())
	if ids := w.st.Serving(1); len(ids) != 1 || ids[0] != "leaving" {
		t.Errorf("group 1 is in the hands of %v, want the draining agent", ids)
	}
}
