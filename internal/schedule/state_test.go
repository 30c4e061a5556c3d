package schedule

import (
	"slices"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

func TestSeconds(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 250_000_000, time.UTC)
	near(t, "instant", Seconds(at)-Seconds(at.Add(-90*time.Minute)), 5400)
	near(t, "fraction", Seconds(at)-float64(at.Unix()), 0.25)
}

func TestStateRecords(t *testing.T) {
	w := newWorld(t)
	g := w.group(1)
	a := w.agent("a", has(g), labels("os", "14"))
	if got, ok := w.st.Group(1); !ok || got.Queue != g.Queue || got.Build != g.Build {
		t.Errorf("group 1 is %+v, want %+v", got, g)
	}
	if got, ok := w.st.Agent("a"); !ok || got.Installed != a.Installed || got.Labels["os"] != "14" {
		t.Errorf("agent a is %+v, want %+v", got, a)
	}
	if _, ok := w.st.Group(2); ok {
		t.Error("group 2 is known")
	}
	if _, ok := w.st.Agent("b"); ok {
		t.Error("agent b is known")
	}
	if got := w.st.Org("never set"); got.Weight != 1 || got.Quota != 0 || got.ID != "never set" {
		t.Errorf("an org that was never set is %+v", got)
	}
	w.st.SetOrg(Org{ID: "o", Quota: 3})
	if got := w.st.Org("o"); got.Weight != 1 || got.Quota != 3 {
		t.Errorf("org o is %+v, want weight 1 and quota 3", got)
	}
	if w.st.SetQueue(2, Queue{Waiting: 1}) {
		t.Error("the queue of an unknown group is taken")
	}
}

func TestStateDefaults(t *testing.T) {
	w := newWorld(t)
	w.agent("a", speed(0), factor(0))
	if got, _ := w.st.Agent("a"); got.Speed != 1 || got.InstallFactor != 1 {
		t.Errorf("agent a has speed %v and factor %v, want 1 and 1", got.Speed, got.InstallFactor)
	}
}

func TestStateServing(t *testing.T) {
	w := newWorld(t)
	g, h := w.group(1), w.group(2)
	serving := func(id qgjob.GroupID, want ...qgjob.AgentID) {
		t.Helper()
		if got := w.st.Serving(id); !slices.Equal(got, want) {
			t.Errorf("group %v is served by %v, want %v", id, got, want)
		}
	}
	w.agent("c", serves(g, 1100))
	w.agent("a", serves(g, 1100))
	w.agent("b", serves(g, 1100))
	serving(1, "a", "b", "c")
	w.agent("b", serves(h, 1100))
	serving(1, "a", "c")
	serving(2, "b")
	w.agent("a")
	serving(1, "c")
	w.st.RemoveAgent("c")
	w.st.RemoveAgent("c")
	serving(1)
	w.st.RemoveGroup(2)
	w.st.RemoveGroup(2)
	serving(2, "b")
	w.group(2)
	w.agent("x", serves(h, 1200))
	serving(2, "b", "x")
}

// TestStateServingComesBack: a group that was empty and forgotten is still
// served by the agent that has its last job in hand.
func TestStateServingComesBack(t *testing.T) {
	w := newWorld(t)
	g := w.group(1, waiting(1, 30))
	w.agent("s", serves(g, 1010))
	w.st.RemoveGroup(1)
	w.group(1, waiting(1, 30))
	w.agent("a")
	w.want("a", 0)
	w.wantReason("a", 1, NotWorthIt)
}

func TestStateGroupChangesItsDemand(t *testing.T) {
	w := newWorld(t)
	w.group(1, needs("os", "14"))
	w.agent("a", labels("os", "14"))
	w.agent("b", labels("os", "15"))
	w.want("a", 1)
	w.want("b", 0)
	w.group(1, needs("os", "15"))
	w.want("a", 0)
	w.want("b", 1)
	w.group(1, onTarget(qgjob.TargetBrowser))
	w.want("b", 0)
}

func TestStateAgentChanges(t *testing.T) {
	w := newWorld(t)
	w.group(1, needs("os", "14"))
	w.agent("a", labels("os", "13"))
	w.want("a", 0)
	w.agent("a", labels("os", "14"))
	w.want("a", 1)
	w.agent("a", labels("os", "14"), func(a *Agent) { a.Target = qgjob.TargetBrowser })
	w.want("a", 0)
	w.agent("a", labels("os", "14"), draining())
	w.want("a", 0)
	w.agent("a", labels("os", "14"))
	w.want("a", 1)
}

// TestStateForgets: builds and demands that nobody names any more take no
// room, or a server would grow with every app version it ever saw.
func TestStateForgets(t *testing.T) {
	w := newWorld(t)
	for i := range 100 {
		g := w.group(qgjob.GroupID(i+1), needs("n", string(rune('a'+i%26))), func(g *Group) { g.Build.Version = qgjob.AppVersionID(rune('A' + i)) })
		w.agent("a", serves(g, 1100))
		w.st.SetUpload(g.Build, 1)
		w.agent("a")
		w.st.ForgetUpload(g.Build)
		w.st.RemoveGroup(g.ID)
	}
	w.st.RemoveAgent("a")
	if n := len(w.st.builds) + len(w.st.groups) + len(w.st.serving) + len(w.st.agents) + len(w.st.queue) + len(w.st.fleet); n != 0 {
		t.Errorf("%d records are left: builds %v, serving %v", n, w.st.builds, w.st.serving)
	}
	if len(w.st.classes) > 1 {
		t.Errorf("%d classes are left of demands that came one after the other", len(w.st.classes))
	}
}

func TestStateMatching(t *testing.T) {
	w := newWorld(t)
	w.agent("a", labels("os", "14"))
	w.agent("b", labels("os", "14"), down())
	w.agent("c", labels("os", "14"), draining())
	w.agent("d", labels("os", "15"))
	for _, c := range []struct {
		name      string
		target    qgjob.Target
		requires  map[string]string
		up, known int
	}{
		{"anything", qgjob.TargetDevice, nil, 2, 4},
		{"os 14", qgjob.TargetDevice, map[string]string{"os": "14"}, 1, 3},
		{"os 16", qgjob.TargetDevice, map[string]string{"os": "16"}, 0, 0},
		{"a browser", qgjob.TargetBrowser, nil, 0, 0},
	} {
		if up, known := w.st.Matching("acme", c.target, c.requires); up != c.up || known != c.known {
			t.Errorf("%s: %d up of %d, want %d of %d", c.name, up, known, c.up, c.known)
		}
	}
}

func TestWakeOrder(t *testing.T) {
	w := newWorld(t)
	g := w.group(1)
	gone := w.group(2, waiting(0, 0))
	w.agent("cold")
	w.agent("fast", speed(2))
	w.agent("quick", factor(0.5))
	w.agent("other", has(gone))
	w.agent("warm", has(g))
	w.agent("busy", serves(g, 1100))
	w.agent("down", has(g), down())
	w.agent("leaving", has(g), draining())
	want := []qgjob.AgentID{"warm", "fast", "quick", "cold", "other"}
	if got := WakeOrder(w.st); !slices.Equal(got, want) {
		t.Errorf("agents are woken as %v, want %v", got, want)
	}
}
