package schedule

import (
	"math"
	"testing"

	"github.com/qualgent/qgjob"
)

// scoreOf is what the agent's best group scores; tests of one term leave one
// group, so that it is that one's.
func (w *world) scoreOf(id qgjob.AgentID, p Policy) float64 {
	w.t.Helper()
	c := Pick(w.st, id, w.now, p)
	if c.Group == 0 {
		w.t.Fatalf("agent %s takes nothing: %v", id, c.Refused)
	}
	return c.Score
}

// only gives a policy in which every term but those set by the changes is
// switched off.
func only(changes ...func(*Policy)) Policy {
	p := Policy{Rule: RuleQgjob, MaxWait: 1e9}
	for _, c := range changes {
		c(&p)
	}
	return p
}

// TestTermsAlone computes every term of the score by hand, with all others
// switched off. What is left when all are off is plain waiting.
func TestTermsAlone(t *testing.T) {
	for _, c := range []struct {
		name  string
		p     Policy
		build func(w *world)
		want  float64
	}{
		{"waiting alone", only(), func(w *world) { w.group(1, submitted(740)) }, 260},
		{"a head from the future waits less than nothing", only(), func(w *world) { w.group(1, submitted(1010)) }, -10},
		{"priority 1", only(func(p *Policy) { p.PerLevel = 900 }), func(w *world) { w.group(1, priority(1), submitted(1000)) }, 900},
		{"priority 10", only(func(p *Policy) { p.PerLevel = 900 }), func(w *world) { w.group(1, priority(10), submitted(1000)) }, 9000},
		{"install of 60 s", only(func(p *Policy) { p.Affinity = 20 }), func(w *world) { w.group(1, submitted(1000)) }, -1200},
		{"install of 0 s", only(func(p *Policy) { p.Affinity = 20 }), func(w *world) { w.group(1, submitted(1000), install(0)) }, 0},
		// 600 s of work on one agent of speed 1: saturate(7*600, 1800) = 1800*4200/6000
		{"remaining work", only(func(p *Policy) { p.Nearness, p.Nearest = 7, 1800 }), func(w *world) { w.group(1, submitted(1000)) }, -1260},
		// a second agent could help: 300 s each
		{"remaining work over two", only(func(p *Policy) { p.Nearness, p.Nearest = 7, 1800 }), func(w *world) {
			w.group(1, submitted(1000))
			w.agent("b")
		}, -1800 * 2100.0 / 3900},
		{"a draining second does not help", only(func(p *Policy) { p.Nearness, p.Nearest = 7, 1800 }), func(w *world) {
			w.group(1, submitted(1000))
			w.agent("b", draining())
		}, -1260},
		// what the crew has in hand counts as remaining: 600 + 300 of one that stays, over speed 2
		{"remaining work in hand", only(func(p *Policy) { p.Nearness, p.Nearest = 7, 1800 }), func(w *world) {
			w.agent("b", serves(w.group(1, submitted(1000)), 1300))
		}, -1800 * 3150.0 / 4950},
		// 600 s alone with 1 run and an install of 60 s: 100 s of waiting count 1 + 66/660
		{"a small run's waiting", only(func(p *Policy) { p.Smallness = 66 }), func(w *world) { w.group(1) }, 110},
		// ten runs: 60 s each and the install
		{"many small runs", only(func(p *Policy) { p.Smallness = 60 }), func(w *world) { w.group(1, runs(10)) }, 150},
		{"a tiny run counts as one minute", only(func(p *Policy) { p.Smallness = 60 }), func(w *world) { w.group(1, waiting(1, 1), install(0)) }, 200},
		{"runs that nobody counted are one", only(func(p *Policy) { p.Smallness = 66 }), func(w *world) { w.group(1, runs(0)) }, 110},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.build(w)
			w.agent("a")
			near(t, "the score", w.scoreOf("a", c.p), c.want)
		})
	}
}

// TestTermKeep: leaving the build that is on the agent costs Keep only while
// that build has work of this or a higher priority.
func TestTermKeep(t *testing.T) {
	p := only(func(p *Policy) { p.Keep, p.PerLevel = 3000, 900 })
	for _, c := range []struct {
		name        string
		warm, other int
		waits       bool
		want        qgjob.GroupID
	}{
		{"equal priority", 5, 5, true, 1},
		{"lower priority", 5, 4, true, 1},
		{"one level more", 5, 6, true, 2},
		{"nothing of its own waits", 5, 1, false, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			g := w.group(1, priority(c.warm))
			if !c.waits {
				w.group(1, waiting(0, 0))
			}
			w.group(2, priority(c.other), submitted(0))
			w.agent("a", has(g))
			if got := Pick(w.st, "a", w.now, p); got.Group != c.want {
				t.Errorf("takes %v, want %v", got.Group, c.want)
			}
		})
	}
	w := newWorld(t)
	g := w.group(1, submitted(999))
	w.group(2, submitted(-2000))
	w.agent("a", has(g))
	if got := Pick(w.st, "a", w.now, p); got.Group != 1 {
		t.Errorf("3,000 s of waiting outweigh what is kept: takes %v", got.Group)
	}
	w.group(2, submitted(-2002))
	if got := Pick(w.st, "a", w.now, p); got.Group != 2 {
		t.Errorf("3,002 s of waiting do not outweigh what is kept: takes %v", got.Group)
	}
}

// TestTermLag computes lag by hand: what an org used above the org that used
// least, over its share of the fleet, less what is forgiven.
func TestTermLag(t *testing.T) {
	p := only(func(p *Policy) { p.Fairness, p.Tolerance = 8, 200 })
	for _, c := range []struct {
		name   string
		agents int
		used   float64 // by the org of the group that is asked for; the other used 100
		other  bool    // the other org has waiting work
		want   float64
	}{
		{"alone", 1, 5000, false, 0},
		{"the other used more", 1, 50, true, 0},
		{"equal", 1, 100, true, 0},
		{"within the tolerance", 1, 200, true, 0},             // (200-100)/(1/2) = 200
		{"above it", 1, 300, true, -8 * 200},                  // 400 - 200
		{"a larger fleet makes it less", 4, 900, true, -1600}, // 800/(4/2) = 400
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.group(1, ofOrg("x"), submitted(1000))
			if c.other {
				w.group(2, ofOrg("y"), submitted(1000))
			}
			w.st.SetOrg(Org{ID: "x", Used: Usage{Seconds: c.used, At: w.now}})
			w.st.SetOrg(Org{ID: "y", Used: Usage{Seconds: 100, At: w.now}})
			for i := range c.agents {
				w.agent(qgjob.AgentID(string(rune('a' + i))))
			}
			d := decision{st: w.st, agent: w.st.agents["a"], now: w.now, policy: p}
			d.gather()
			d.weigh()
			x := &w.st.scratch.candidates[0]
			near(t, "the score", d.score(x, crew{}, w.st.speedOf(x.group.class)), c.want)
		})
	}
}

// TestTermLagWeights: an org of weight 3 has used as much as one of weight 1
// when it used three times the seconds.
func TestTermLagWeights(t *testing.T) {
	light, heavy := Usage{}.Charge(1000, 600, 1), Usage{}.Charge(1000, 1800, 3)
	near(t, "virtual time", heavy.Now(1000), light.Now(1000))
	w := newWorld(t)
	w.group(1, ofOrg("light"), submitted(899))
	w.group(2, ofOrg("heavy"), submitted(900))
	w.agent("a")
	w.st.SetOrg(Org{ID: "light", Weight: 1, Used: light})
	w.st.SetOrg(Org{ID: "heavy", Weight: 3, Used: heavy})
	w.want("a", 1)
	w.st.SetOrg(Org{ID: "light", Weight: 1, Used: light.Charge(1000, 600, 1)})
	w.want("a", 2)
}

// TestTermOverdue walks a head of low priority over MaxWait.
func TestTermOverdue(t *testing.T) {
	for _, c := range []struct {
		name   string
		waits  float64
		orgTop int // priority of another group of the same org; 0 for none
		want   int
	}{
		{"not yet", 7200, 9, 1},
		{"just now", 7200.001, 9, 9},
		{"long ago", 1e6, 9, 9},
		{"nothing more urgent", 1e6, 0, 1},
		{"the others are less urgent than itself", 1e6, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.now = 2e6
			w.group(1, priority(1), submitted(w.now-c.waits))
			if c.orgTop > 0 {
				w.group(2, priority(c.orgTop), submitted(w.now))
			}
			w.group(3, ofOrg("stranger"), priority(10), submitted(w.now))
			w.agent("a")
			d := decision{st: w.st, agent: w.st.agents["a"], now: w.now, policy: DefaultPolicy()}
			d.gather()
			d.weigh()
			if got := d.st.scratch.candidates[0].prio; got != c.want {
				t.Errorf("the head counts as priority %d, want %d", got, c.want)
			}
			near(t, "its weight", d.st.scratch.candidates[0].weight, math.Pow(1.5, float64(c.want-5)))
		})
	}
}

// TestTermPriorityAgainstWaiting is the exchange rate between the two: 900 s
// of waiting are one level, when nothing else differs.
func TestTermPriorityAgainstWaiting(t *testing.T) {
	p := only(func(p *Policy) { p.PerLevel = 900 })
	for levels := 1; levels <= 9; levels++ {
		for _, c := range []struct {
			more float64
			want qgjob.GroupID
		}{{-1, 1}, {0, 1}, {1, 2}} {
			w := newWorld(t)
			w.group(1, priority(10), submitted(w.now))
			w.group(2, priority(10-levels), submitted(w.now-900*float64(levels)-c.more))
			w.agent("a")
			if got := Pick(w.st, "a", w.now, p); got.Group != c.want {
				t.Errorf("%d levels against %v s of waiting: takes %v, want %v", levels, 900*float64(levels)+c.more, got.Group, c.want)
			}
		}
	}
}

func TestUrgency(t *testing.T) {
	for prio, want := range map[int]float64{1: 16.0 / 81, 4: 2.0 / 3, 5: 1, 6: 1.5, 10: 7.59375, 11: 7.59375, 99: 7.59375, -3: 32.0 / 243} {
		near(t, "urgency", urgency(prio), want)
	}
}

func TestSaturate(t *testing.T) {
	for _, c := range []struct{ x, limit, want float64 }{
		{0, 1800, 0}, {-5, 1800, 0}, {1800, 1800, 900}, {600, 1800, 450}, {1e12, 1800, 1800 * 1e12 / (1800 + 1e12)},
	} {
		near(t, "saturate", saturate(c.x, c.limit), c.want)
	}
	last := -1.0
	for x := 0.0; x < 1e5; x += 137 {
		got := saturate(x, 1800)
		if got <= last || got > 1800 || got > x {
			t.Fatalf("saturate(%v) is %v after %v; want it to rise and to stay below the limit and x", x, got, last)
		}
		last = got
	}
}
