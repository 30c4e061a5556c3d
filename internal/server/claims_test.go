package server

import (
	"fmt"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store"
)

// waiterFor enlists a claim that has looked once and got nothing.
func waiterFor(h *Hub, id string, target qgjob.Target, version qgjob.AppVersionID, labels map[string]string) *claimWaiter {
	w := h.enlist(qgjob.AgentID(id))
	round := h.begin(w)
	a := qgjob.Agent{Target: target, Labels: labels}
	if version != "" {
		a.Installed = &qgjob.Installed{OrgID: "acme", AppVersionID: version}
	}
	h.describe(w, a)
	h.missed(w, round)
	return w
}

func group(version qgjob.AppVersionID, target qgjob.Target, waiting int, requires map[string]string) qgjob.Group {
	return qgjob.Group{OrgID: "acme", AppVersionID: version, Target: target, Waiting: waiting, Requires: requires}
}

// rungNames are the waiters whose bell rings, in order.
func rungNames(ws ...*claimWaiter) string {
	var names []string
	for _, w := range ws {
		select {
		case <-w.wake:
			names = append(names, string(w.agent))
		default:
		}
	}
	return strings.Join(names, " ")
}

func TestWakeFor(t *testing.T) {
	emu, dev := qgjob.TargetEmulator, qgjob.TargetDevice
	os14 := map[string]string{"os": "14"}
	for _, test := range []struct {
		name   string
		groups []qgjob.Group
		want   string
	}{
		{"nothing waits", []qgjob.Group{group("v1", emu, 0, nil)}, ""},
		{"one job wakes the longest waiting", []qgjob.Group{group("v9", emu, 1, nil)}, "cold"},
		{"the warm one goes first", []qgjob.Group{group("v2", emu, 1, nil)}, "warm2"},
		{"two jobs wake two", []qgjob.Group{group("v2", emu, 2, nil)}, "cold warm2"},
		{"many jobs wake all that suit", []qgjob.Group{group("v1", emu, 99, nil)}, "cold warm1 warm2 os14"},
		{"another target", []qgjob.Group{group("v1", dev, 5, nil)}, "device"},
		{"requirements", []qgjob.Group{group("v1", emu, 5, os14)}, "os14"},
		{"nobody suits", []qgjob.Group{group("v1", qgjob.TargetBrowser, 5, nil)}, ""},
		{"each group its warm one", []qgjob.Group{group("v1", emu, 1, nil), group("v2", emu, 1, nil)}, "warm1 warm2"},
		{"a full group does not take from another", []qgjob.Group{group("v1", emu, 1, os14), group("v2", emu, 1, nil)}, "warm2 os14"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := NewHub()
			all := []*claimWaiter{waiterFor(h, "cold", emu, "", nil), waiterFor(h, "warm1", emu, "v1", nil), waiterFor(h, "device", dev, "v1", nil),
				waiterFor(h, "warm2", emu, "v2", nil), waiterFor(h, "os14", emu, "", os14)}
			h.Notify(store.Note{Work: true})
			h.wakeFor(test.groups)
			if got := rungNames(all...); got != test.want {
				t.Errorf("woke %q; want %q", got, test.want)
			}
		})
	}
}

// One job, many agents: the turn of a claim that gets nothing goes to the
// next, each tries once, and then it is quiet.
func TestTurnIsHandedOn(t *testing.T) {
	h := NewHub()
	var all []*claimWaiter
	for i := range 5 {
		all = append(all, waiterFor(h, fmt.Sprint("a", i), qgjob.TargetEmulator, "", nil))
	}
	waiting := []qgjob.Group{group("v1", qgjob.TargetEmulator, 1, nil)}
	h.Notify(store.Note{Work: true})
	<-h.claims.work.wake
	for i := range 5 {
		if woken := h.wakeFor(waiting); woken != 1 {
			t.Fatalf("round %d woke %d; want 1", i, woken)
		}
		if got, want := rungNames(all...), fmt.Sprint("a", i); got != want {
			t.Fatalf("round %d woke %q; want %q", i, got, want)
		}
		h.missed(all[i], h.begin(all[i]))
		select {
		case <-h.claims.work.wake:
		default:
			t.Fatalf("round %d: the turn was not handed on", i)
		}
	}
	if h.anyWaiting() || h.wakeFor(waiting) != 0 {
		t.Error("claims are woken again without news")
	}
	h.Notify(store.Note{Work: true})
	if h.wakeFor(waiting) != 1 {
		t.Error("news wakes nobody")
	}
}

func TestLeavingHandsTheTurnOn(t *testing.T) {
	for _, test := range []struct {
		name   string
		leave  func(*Hub, *claimWaiter)
		handed bool
	}{
		{"woken and gone before it looked", func(h *Hub, w *claimWaiter) { h.leave(w, false) }, true},
		{"looked, and its answer failed", func(h *Hub, w *claimWaiter) { h.begin(w); h.leave(w, false) }, true},
		{"looked and got it", func(h *Hub, w *claimWaiter) { h.begin(w); h.leave(w, true) }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := NewHub()
			w := waiterFor(h, "a1", qgjob.TargetEmulator, "", nil)
			h.Notify(store.Note{Work: true})
			<-h.claims.work.wake
			h.wakeFor([]qgjob.Group{group("v1", qgjob.TargetEmulator, 1, nil)})
			test.leave(h, w)
			if handed := len(h.claims.work.wake) == 1; handed != test.handed {
				t.Errorf("handed on: %v; want %v", handed, test.handed)
			}
			if len(h.claims.list) != 0 {
				t.Error("it is still listed")
			}
		})
	}
}

// News between a claim's look and its wait is not lost.
func TestNewsDuringALook(t *testing.T) {
	h := NewHub()
	w := waiterFor(h, "a1", qgjob.TargetEmulator, "", nil)
	round := h.begin(w)
	h.Notify(store.Note{Work: true})
	h.missed(w, round)
	if !h.anyWaiting() {
		t.Fatal("the claim counts as having seen the news")
	}
	fresh := h.enlist("a2") // has not looked at all: nobody knows what it takes
	h.wakeFor(nil)
	if got := rungNames(w, fresh); got != "a2" {
		t.Errorf("woke %q; want a2, whose look may have come too early", got)
	}
}

func TestSubscriptions(t *testing.T) {
	h := NewHub()
	var observed int
	h.Observe(func(store.Note) { observed++ })
	run, cancelRun := h.SubscribeRun(7)
	log, cancelLog := h.SubscribeLog("abc")
	other, cancelOther := h.SubscribeRun(8)
	defer cancelOther()
	for range 3 { // rings that nobody heard are one
		h.Notify(store.Note{Events: []qgjob.Event{{RunID: 7}, {RunID: 7}}, Logs: []qgjob.LeaseID{"abc"}})
	}
	if len(run) != 1 || len(log) != 1 || len(other) != 0 || observed != 3 {
		t.Errorf("rings: run %d, log %d, other %d, observed %d", len(run), len(log), len(other), observed)
	}
	<-run
	cancelRun()
	cancelLog()
	h.Notify(store.Note{Events: []qgjob.Event{{RunID: 7}}, Logs: []qgjob.LeaseID{"abc"}})
	if len(run) != 0 || len(h.runs) != 1 || len(h.logs) != 0 {
		t.Errorf("after the end: rings %d, runs %d, logs %d", len(run), len(h.runs), len(h.logs))
	}
}
