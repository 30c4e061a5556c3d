package schedule

import (
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

// TestReasonText gives each reason a situation; its text has to name the thing
// and what would change it.
func TestReasonText(t *testing.T) {
	for _, c := range []struct {
		reason Reason
		build  func(w *world)
		word   string
		says   []string
	}{
		{0, func(w *world) { w.group(1); w.agent("a") }, "", []string{"agent a takes it next"}},
		{WrongTarget, func(w *world) { w.group(1, onTarget(qgjob.TargetBrowser)); w.agent("a") }, "wrong_target", []string{"device", "browser", "--target browser"}},
		{MissingLabel, func(w *world) {
			w.group(1, func(g *Group) { g.Requires = map[string]string{"os": "14", "model": "pixel8", "gpu": "yes"} })
			w.agent("a", labels("gpu", "yes", "os", "13"))
		}, "missing_label", []string{"lacks model=pixel8, os=14", "an agent with that label"}},
		{PinnedElsewhere, func(w *world) { w.group(1); w.agent("a", pinned("xyz")) }, "pinned", []string{"pinned to app version xyz"}},
		{OverQuota, func(w *world) {
			w.group(1)
			w.agent("a")
			w.st.SetOrg(Org{ID: "o", Quota: 2, Running: 2})
		}, "over_quota", []string{"org o runs 2 jobs", "quota is 2", "qgjob org set"}},
		{BuildBlocked, func(w *world) { w.agent("a", blocks(w.group(1))) }, "build_blocked", []string{"app version vgroup_1 broke on agent a"}},
		{NotWorthIt, func(w *world) {
			w.agent("s", serves(w.group(1, waiting(1, 30)), 1010))
			w.agent("a")
		}, "install_not_worth_it", []string{"would not end the group sooner", "waits for an agent that has app version vgroup_1"}},
		{Outranked, func(w *world) { w.group(1); w.group(2, priority(9)); w.agent("a") }, "outranked", []string{"takes group_2 first", "higher priority or more agents"}},
		{NothingWaiting, func(w *world) { w.group(1, waiting(0, 0)); w.agent("a") }, "nothing_waiting", []string{"group_1 has no waiting job"}},
		{AgentDown, func(w *world) { w.group(1); w.agent("a", down()) }, "agent_offline", []string{"offline", "start it"}},
		{AgentDraining, func(w *world) { w.group(1); w.agent("a", draining()) }, "agent_draining", []string{"draining", "another agent"}},
		{AgentBusy, func(w *world) { w.agent("a", serves(w.group(1), 1042)) }, "agent_busy", []string{"busy for about 42 s"}},
	} {
		t.Run(c.reason.String(), func(t *testing.T) {
			w := newWorld(t)
			c.build(w)
			var got Refusal
			for _, r := range ExplainGroup(w.st, 1, w.now, DefaultPolicy()) {
				if r.Agent == "a" {
					got = r
				}
			}
			if got.Reason != c.reason || got.Group != 1 {
				t.Fatalf("agent a says %+v, want reason %v", got, c.reason)
			}
			if got.Reason.String() != c.word {
				t.Errorf("the word is %q, want %q", got.Reason, c.word)
			}
			text := got.Text(w.st, w.now)
			for _, want := range c.says {
				if !strings.Contains(text, want) {
					t.Errorf("text %q does not say %q", text, want)
				}
			}
		})
	}
}

func TestReasonHeld(t *testing.T) {
	w, p := newWorld(t), DefaultPolicy()
	p.Rule = RulePin
	w.group(1)
	w.agent("a")
	w.agent("b", func(a *Agent) { a.Holds = 1 })
	got := ExplainGroup(w.st, 1, w.now, p)
	if got[0].Reason != HeldByOther || !strings.Contains(got[0].Text(w.st, w.now), "until it is empty") {
		t.Errorf("against a held group agent a says %+v: %s", got[0], got[0].Text(w.st, w.now))
	}
	if got[1].Reason != 0 {
		t.Errorf("the holder says %+v", got[1])
	}
	p.Rule = RuleQgjob
	if again := ExplainGroup(w.st, 1, w.now, p); again[0].Reason == HeldByOther {
		t.Error("what another rule holds is still held under qgjob")
	}
}

func TestReasonTextOfWhatIsGone(t *testing.T) {
	w := newWorld(t)
	text := Refusal{Agent: "gone", Group: 9, Reason: AgentBusy}.Text(w.st, w.now)
	if !strings.Contains(text, "group_9 is not known any more") {
		t.Errorf("text %q", text)
	}
}

func TestReasonUnknown(t *testing.T) {
	if got := Reason(200).String(); got != "reason_200" {
		t.Errorf("an unknown reason is called %q", got)
	}
	seen := map[string]bool{}
	for r := Reason(0); r < reasons; r++ {
		if seen[r.String()] {
			t.Errorf("the word %q is there twice", r)
		}
		seen[r.String()] = true
	}
}

func TestExplainGroupOfAll(t *testing.T) {
	w := newWorld(t)
	g := w.group(1)
	w.agent("c")
	w.agent("b", serves(g, 1100))
	w.agent("a", down())
	got := ExplainGroup(w.st, 1, w.now, DefaultPolicy())
	want := []struct {
		id     qgjob.AgentID
		reason Reason
	}{{"a", AgentDown}, {"b", AgentBusy}, {"c", 0}}
	if len(got) != len(want) {
		t.Fatalf("%d agents answer, want %d", len(got), len(want))
	}
	for i, r := range got {
		if r.Agent != want[i].id || r.Reason != want[i].reason {
			t.Errorf("answer %d is %+v, want %+v", i, r, want[i])
		}
	}
	if list := ExplainGroup(w.st, 77, w.now, DefaultPolicy()); list[0].Reason != NothingWaiting {
		t.Errorf("of an unknown group agent a says %v", list[0].Reason)
	}
}

func TestReasonTextOfAPrice(t *testing.T) {
	w := newWorld(t)
	g := w.group(1, waiting(10, 400))
	for _, id := range []qgjob.AgentID{"p", "q", "r"} {
		w.agent(id, serves(g, 1030))
	}
	for i := range 20 {
		w.group(qgjob.GroupID(10+i), priority(5))
	}
	w.agent("a")
	r := w.wantReason("a", 1, NotWorthIt)
	if r.Gain <= 0 || r.Price <= r.Gain {
		t.Fatalf("refusal %+v, want a gain below the price", r)
	}
	text := r.Text(w.st, w.now)
	for _, want := range []string{"s sooner and has to save more than", "lower price of installs", "more jobs"} {
		if !strings.Contains(text, want) {
			t.Errorf("text %q does not say %q", text, want)
		}
	}
}
