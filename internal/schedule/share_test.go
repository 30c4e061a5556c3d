package schedule

import (
	"math"
	"testing"

	"github.com/qualgent/qgjob"
)

// tenant is an org whose work never ends, in a play of many claims.
type tenant struct {
	org    qgjob.OrgID
	weight float64
	quota  int
	prio   int
	lasts  float64 // seconds of each of its tests
	got    float64 // device-seconds
	most   int     // jobs at once
}

// share plays an hour of claims on a few agents and notes who got how much.
// Installs take no time, so that shares are those of the tests.
func share(t *testing.T, agents int, until float64, tenants ...*tenant) {
	t.Helper()
	w := newWorld(t)
	w.now = 0
	for i, x := range tenants {
		w.st.SetOrg(Org{ID: x.org, Weight: x.weight, Quota: x.quota})
		w.group(qgjob.GroupID(i+1), ofOrg(x.org), install(0), priority(x.prio), waiting(100, 100*x.lasts), submitted(0))
	}
	type slot struct {
		id    qgjob.AgentID
		until float64
		of    *tenant
	}
	slots := make([]slot, agents)
	for i := range slots {
		slots[i].id = qgjob.AgentID(string(rune('a' + i)))
		w.agent(slots[i].id)
	}
	for w.now < until {
		next := math.Inf(1)
		for i := range slots {
			s := &slots[i]
			if s.of != nil && s.until <= w.now {
				o := w.st.Org(s.of.org)
				o.Running--
				w.st.SetOrg(o)
				w.agent(s.id)
				s.of = nil
			}
			if s.of == nil {
				if c := Pick(w.st, s.id, w.now, DefaultPolicy()); c.Group != 0 {
					x := tenants[c.Group-1]
					o := w.st.Org(x.org)
					o.Running++
					o.Used = o.Used.Charge(w.now, x.lasts, o.Weight)
					w.st.SetOrg(o)
					s.of, s.until, x.got, x.most = x, w.now+x.lasts, x.got+x.lasts, max(x.most, o.Running)
					g, _ := w.st.Group(c.Group)
					w.agent(s.id, serves(g, s.until))
					w.group(c.Group, ofOrg(x.org), install(0), priority(x.prio), waiting(100, 100*x.lasts), submitted(w.now))
				}
			}
			if s.of != nil {
				next = min(next, s.until)
			} else {
				next = min(next, w.now+10)
			}
		}
		w.now = next
	}
}

// TestShareByWeight: of two orgs with work without end, the fleet is shared as
// their weights are, however long their tests are.
func TestShareByWeight(t *testing.T) {
	for _, c := range []struct {
		name       string
		a, b       tenant
		least, top float64 // what a gets for one second of b
	}{
		{"equal", tenant{weight: 1, lasts: 60}, tenant{weight: 1, lasts: 60}, 0.8, 1.25},
		{"equal, of long and short tests", tenant{weight: 1, lasts: 300}, tenant{weight: 1, lasts: 20}, 0.7, 1.4},
		{"one to three", tenant{weight: 3, lasts: 60}, tenant{weight: 1, lasts: 60}, 2, 3.6},
		{"weights not set", tenant{lasts: 60}, tenant{lasts: 60}, 0.8, 1.25},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := c.a, c.b
			a.org, b.org, a.prio, b.prio = "a", "b", 5, 5
			share(t, 4, 4*3600, &a, &b)
			if r := a.got / b.got; r < c.least || r > c.top {
				t.Errorf("a gets %.0f s and b %.0f s, which is %.2f to 1; want %.2f to %.2f", a.got, b.got, r, c.least, c.top)
			}
		})
	}
}

// TestShareOutweighsPriority: priorities are an org's own; one that calls all
// its work urgent does not starve another.
func TestShareOutweighsPriority(t *testing.T) {
	loud, quiet := &tenant{org: "loud", weight: 1, prio: 10, lasts: 60}, &tenant{org: "quiet", weight: 1, prio: 1, lasts: 60}
	share(t, 4, 4*3600, loud, quiet)
	if quiet.got < 0.15*loud.got {
		t.Errorf("the loud org gets %.0f s, the quiet one %.0f s", loud.got, quiet.got)
	}
	if loud.got < quiet.got {
		t.Errorf("urgent work gets %.0f s, work that can wait %.0f s", loud.got, quiet.got)
	}
}

// TestShareOfAQuota: a quota holds at every moment, and what it leaves free
// goes to the others.
func TestShareOfAQuota(t *testing.T) {
	small, other := &tenant{org: "small", weight: 1, quota: 1, prio: 9, lasts: 60}, &tenant{org: "other", weight: 1, prio: 1, lasts: 60}
	share(t, 4, 3600, small, other)
	if small.most != 1 {
		t.Errorf("a quota of 1 ran %d at once", small.most)
	}
	if other.got < 2.5*small.got || small.got < 3000 {
		t.Errorf("one of four agents got %.0f s, the others %.0f s", small.got, other.got)
	}
}

// TestShareOfAQuotaAlone: agents idle rather than break a quota.
func TestShareOfAQuotaAlone(t *testing.T) {
	only := &tenant{org: "only", weight: 1, quota: 2, prio: 5, lasts: 30}
	share(t, 4, 1800, only)
	if only.most != 2 {
		t.Errorf("a quota of 2 ran %d at once", only.most)
	}
}

// TestShareOfANewcomer: an org that comes late is served first and does not
// have to wait for what others got before it came; nor does it get it back.
func TestShareOfANewcomer(t *testing.T) {
	w := newWorld(t)
	w.st.SetOrg(Org{ID: "old", Used: Usage{Seconds: 4000, At: 1000}})
	w.group(1, ofOrg("old"), submitted(900), install(0))
	w.group(2, ofOrg("new"), submitted(999), install(0))
	w.agent("a")
	turns := 0
	for ; turns < 1000; turns++ {
		c := Pick(w.st, "a", w.now, DefaultPolicy())
		if c.Group == 1 {
			break
		}
		o := w.st.Org("new")
		o.Used = o.Used.Charge(w.now, 60, 1)
		w.st.SetOrg(o)
	}
	if turns == 0 || turns*60 > 4000 {
		t.Errorf("the newcomer got %d tests before the old org's turn came again", turns)
	}
}
