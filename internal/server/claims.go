package server

import (
	"slices"

	"github.com/qualgent/qgjob"
)

// claims are the claims that wait for work, oldest first. The Hub's lock
// guards them.
//
// News of work wakes no more of them than there are jobs that they could
// take, those first whose device holds the build already. A woken claim that
// gets nothing hands its turn to the next that has not tried since that news;
// so no waiting job is overlooked, and no news makes a whole fleet knock.
type claims struct {
	work  *bell // rung for the loop that wakes claims
	round int64 // rises with every news of work
	list  []*claimWaiter
}

// claimWaiter is one claim that waits for work.
type claimWaiter struct {
	*bell
	agent     qgjob.AgentID
	org       qgjob.OrgID // whose jobs it takes; empty: everybody's
	target    qgjob.Target
	labels    map[string]string
	installed qgjob.Installed
	known     bool  // target, labels and installed are filled in
	tried     int64 // the round that its last claim saw, if that got nothing
	rung      bool  // woken, and has not claimed since
	owes      bool  // claims because it was woken: a turn to hand on
}

func (c *claims) news() {
	c.round++
	if len(c.list) > 0 {
		c.work.ring()
	}
}

// enlist adds a claim to those that wait. It comes before the first look into
// the store, so that no news falls between the two.
func (h *Hub) enlist(agent qgjob.AgentID) *claimWaiter {
	w := &claimWaiter{bell: newBell(), agent: agent, tried: -1}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.claims.list = append(h.claims.list, w)
	return w
}

// describe tells what a waiting claim could take.
func (h *Hub) describe(w *claimWaiter, a qgjob.Agent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w.known, w.org, w.target, w.labels = true, a.OrgID, a.Target, a.Labels
	if a.Installed != nil {
		w.installed = *a.Installed
	}
}

// begin notes that a claim looks into the store now, and gives the round that
// it will have seen.
func (h *Hub) begin(w *claimWaiter) (round int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w.owes = w.owes || w.rung
	w.rung = false
	return h.claims.round
}

// missed notes that a claim got nothing in a round, and hands its turn on.
func (h *Hub) missed(w *claimWaiter, round int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w.tried = round
	if w.owes {
		w.owes = false
		h.claims.work.ring()
	}
}

// leave takes a claim off the list. A turn that it did not use is handed on.
func (h *Hub) leave(w *claimWaiter, served bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.claims.list = slices.DeleteFunc(h.claims.list, func(other *claimWaiter) bool { return other == w })
	if w.rung || (w.owes && !served) {
		h.claims.work.ring()
	}
}

// wakeAgent wakes the claims of one agent: it was told to drain, or a newer
// incarnation came.
func (h *Hub) wakeAgent(id qgjob.AgentID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.claims.list {
		if w.agent == id {
			w.ring()
		}
	}
}

// anyWaiting reports whether a claim waits that has not tried since the last
// news.
func (h *Hub) anyWaiting() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.claims.list, h.claims.fresh)
}

func (c *claims) fresh(w *claimWaiter) bool { return !w.rung && w.tried < c.round }

// wakeFor wakes claims for the groups that wait, and gives how many: for each
// group at most as many as it has jobs, warm ones first, then those that wait
// longest.
func (h *Hub) wakeFor(groups []qgjob.Group) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	woken := 0
	left := make([]int, len(groups))
	for i, g := range groups {
		left[i] = g.Waiting
	}
	for _, warmOnly := range []bool{true, false} {
		for _, w := range h.claims.list {
			if !h.claims.fresh(w) {
				continue
			}
			if !w.known { // on its way to its first look; that may have come too early
				w.rung = true
				w.ring()
				continue
			}
			for i, g := range groups {
				if left[i] > 0 && w.suits(g) && (!warmOnly || w.warm(g)) {
					left[i]--
					woken++
					w.rung = true
					w.ring()
					break
				}
			}
		}
	}
	return woken
}

func (w *claimWaiter) suits(g qgjob.Group) bool {
	return (w.org == "" || w.org == g.OrgID) && w.target == g.Target && qgjob.Meets(w.labels, g.Requires)
}

func (w *claimWaiter) warm(g qgjob.Group) bool {
	return w.installed == qgjob.Installed{OrgID: g.OrgID, AppVersionID: g.AppVersionID, BuildSHA256: g.BuildSHA256}
}
