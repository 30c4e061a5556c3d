package schedule

import (
	"math"
	"testing"

	"github.com/qualgent/qgjob"
	"pgregory.net/rapid"
)

// TestJoinGain computes by hand by how much a group ends sooner.
func TestJoinGain(t *testing.T) {
	for _, c := range []struct {
		name                 string
		work                 float64
		crew                 crew
		speed, install, want float64
	}{
		// One agent would need 600 s. Two: 60 s of install while the first does 60, then 540 by two. 330 s: 270 sooner.
		{"one serves, free at once", 600, crew{speed: 1}, 1, 60, 270},
		{"no install to pay", 600, crew{speed: 1}, 1, 0, 300},
		{"the install takes as long as the work", 60, crew{speed: 1}, 1, 60, 0},
		{"the install takes longer", 30, crew{speed: 1}, 1, 60, -15},
		// Two need 300 s; three: 60 s while two do 120, then 480 by three: 220.
		{"two serve", 600, crew{speed: 2}, 1, 60, 80},
		// A fast one joins: 60 s, then 540 by speed 3: 240.
		{"a fast agent joins", 600, crew{speed: 1}, 2, 60, 360},
		{"a slow agent joins", 600, crew{speed: 1}, 0.5, 60, 180},
		// The one that serves is in a test for 900 s. Alone it ends at 1500; with help it is over at 900 at the soonest.
		// As a fluid the gain is 270; the smaller counts.
		{"stuck behind a long test", 600, crew{speed: 1, rest: 900, work: 900, longest: 900}, 1, 60, 270},
		// The group ends with the running test whatever happens.
		{"it ends with a test that runs", 60, crew{speed: 2, rest: 1500, work: 1500, longest: 1500}, 1, 20, 0},
		{"it nearly ends with a test that runs", 400, crew{speed: 2, rest: 500, work: 500, longest: 440}, 1, 30, 10},
		{"nothing waits", 0, crew{speed: 1, rest: 50, work: 50, longest: 50}, 1, 60, -30},
	} {
		t.Run(c.name, func(t *testing.T) {
			near(t, "the gain", joinGain(c.work, c.crew, c.speed, c.install), c.want)
		})
	}
}

// aCrew draws agents that serve a group.
var aCrew = rapid.Custom(func(t *rapid.T) crew {
	var c crew
	for range rapid.IntRange(1, 6).Draw(t, "agents") {
		speed, left := rapid.Float64Range(0.25, 4).Draw(t, "speed"), rapid.Float64Range(0, 2000).Draw(t, "left")
		c.speed, c.rest, c.work, c.longest = c.speed+speed, c.rest+left, c.work+left*speed, math.Max(c.longest, left)
	}
	return c
})

// TestJoinGainFallsWithTheInstall: a longer install never gains more.
func TestJoinGainFallsWithTheInstall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, work, speed := aCrew.Draw(t, "crew"), rapid.Float64Range(0, 1e5).Draw(t, "work"), rapid.Float64Range(0.25, 4).Draw(t, "speed")
		short := rapid.Float64Range(0, 500).Draw(t, "install")
		long := short + rapid.Float64Range(0, 500).Draw(t, "more")
		if a, b := joinGain(work, c, speed, short), joinGain(work, c, speed, long); b > a+1e-6 {
			t.Fatalf("an install of %v s gains %v s, one of %v s gains %v s", short, a, long, b)
		}
	})
}

// TestJoinGainGrowsWithTheWork: more waiting work never gains less.
func TestJoinGainGrowsWithTheWork(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, speed, install := aCrew.Draw(t, "crew"), rapid.Float64Range(0.25, 4).Draw(t, "speed"), rapid.Float64Range(0, 500).Draw(t, "install")
		little := rapid.Float64Range(0, 1e5).Draw(t, "work")
		much := little + rapid.Float64Range(0, 1e5).Draw(t, "more")
		a, b := joinGain(little, c, speed, install), joinGain(much, c, speed, install)
		// Below the install's worth of work a longer queue can lose a little more; a gain never shrinks.
		if a > 0 && b < a-1e-6 {
			t.Fatalf("%v s of work gain %v s, %v s gain %v s", little, a, much, b)
		}
	})
}

// TestJoinGainIsNeverMoreThanThereIs: nobody ends sooner by more than the whole
// time that is left.
func TestJoinGainIsNeverMoreThanThereIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, work := aCrew.Draw(t, "crew"), rapid.Float64Range(0, 1e6).Draw(t, "work")
		gain := joinGain(work, c, rapid.Float64Range(0.25, 4).Draw(t, "speed"), rapid.Float64Range(0, 500).Draw(t, "install"))
		if left := math.Max(c.longest, (work+c.rest)/c.speed); gain > left {
			t.Fatalf("a group that ends in %v s gains %v s", left, gain)
		}
	})
}

// joins gives gain and price of a cold agent against group 1; the price makes
// it refuse, so a thousandfold one is set to see both figures.
func joins(t *testing.T, build func(w *world), p Policy) Refusal {
	t.Helper()
	w := newWorld(t)
	w.agent("s", serves(w.group(1), 1000))
	build(w)
	w.agent("a")
	_, why := Explain(w.st, "a", w.now, p)
	for _, r := range why {
		if r.Group == 1 && r.Reason == NotWorthIt {
			return r
		}
	}
	t.Fatalf("agent a does not refuse to join: %+v", why)
	return Refusal{}
}

// TestPrice computes the price of an install by hand:
// Thrift * install * (weight of the others + load) / (own weight * speed of the fleet).
func TestPrice(t *testing.T) {
	dear := func(load float64) Policy { return Policy{Rule: RuleQgjob, MaxWait: 1e9, Thrift: 1000, LoadShare: load} }
	for _, c := range []struct {
		name  string
		p     Policy
		build func(w *world)
		want  float64
	}{
		{"one other run of equal priority", dear(0), func(w *world) { w.group(2) }, 1000 * 60 * 1 / 2.0},
		{"three others", dear(0), func(w *world) { w.group(2); w.group(3); w.group(4) }, 1000 * 60 * 3 / 2.0},
		{"a group of two runs counts two", dear(0), func(w *world) { w.group(2, runs(2)) }, 1000 * 60 * 2 / 2.0},
		{"own runs share the price", dear(0), func(w *world) { w.group(1, runs(4)); w.group(2) }, 1000 * 60 / 4.0 / 2},
		{"a more urgent other", dear(0), func(w *world) { w.group(2, priority(6)) }, 1000 * 60 * 1.5 / 2},
		{"own urgency", dear(0), func(w *world) { w.group(1, priority(6)); w.group(2) }, 1000 * 60 / 1.5 / 2},
		{"all at priority 1 is as all at 5", dear(0), func(w *world) { w.group(1, priority(1)); w.group(2, priority(1)) }, 1000 * 60 * 1 / 2.0},
		{"a larger fleet", dear(0), func(w *world) { w.group(2); w.agent("f", speed(2)) }, 1000 * 60 * 1 / 4.0},
		{"a draining fleet is none", dear(0), func(w *world) { w.group(2); w.agent("f", speed(2), draining()) }, 1000 * 60 * 1 / 2.0},
		{"a shorter install", dear(0), func(w *world) { w.group(1, install(30)); w.group(2) }, 1000 * 30 * 1 / 2.0},
		{"what the agent cannot take does not wait for it", dear(0), func(w *world) { w.group(2); w.group(3, onTarget(qgjob.TargetBrowser)) }, 1000 * 60 * 1 / 2.0},
		{"an org that used more does not count", dear(0), func(w *world) {
			w.group(2)
			w.group(3, ofOrg("greedy"))
			w.st.SetOrg(Org{ID: "greedy", Used: Usage{Seconds: 10, At: 1000}})
		}, 1000 * 60 * 1 / 2.0},
		{"an org that used less does", dear(0), func(w *world) {
			w.group(3, ofOrg("modest"))
			w.st.SetOrg(Org{ID: "o", Used: Usage{Seconds: 10, At: 1000}})
		}, 1000 * 60 * 1 / 2.0},
		{"an org that used as much does", dear(0), func(w *world) { w.group(3, ofOrg("equal")) }, 1000 * 60 * 1 / 2.0},
		{"a full fleet", dear(1), func(w *world) { w.st.Arrive(1000, 1e9, 5) }, 1000 * 60 * maxLoad / (1 - maxLoad) / 2},
		{"a fleet full of urgent work", dear(1), func(w *world) { w.st.Arrive(1000, 1e9, 6) }, 1000 * 60 * 1.5 * maxLoad / (1 - maxLoad) / 2},
		{"all work at priority 1, own too", dear(1), func(w *world) { w.group(1, priority(1)); w.st.Arrive(1000, 1e9, 1) }, 1000 * 60 * maxLoad / (1 - maxLoad) / 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			near(t, "the price", joins(t, c.build, c.p).Price, c.want)
		})
	}
}

// TestPriceOfNothing: with nobody else waiting and nothing arriving an install
// costs nothing, so any gain is worth it.
func TestPriceOfNothing(t *testing.T) {
	w := newWorld(t)
	w.agent("s", serves(w.group(1, waiting(2, 61)), 1000))
	w.agent("a")
	w.want("a", 1)
	w.group(1, waiting(2, 60))
	r := w.wantReason("a", 1, NotWorthIt)
	if r.Gain != 0 || r.Price != 0 {
		t.Errorf("gain %v, price %v; want none of either, which is not worth an install", r.Gain, r.Price)
	}
}

// TestWarmAgentsJoinFree: an agent that has the app, or a shared upload that is
// done, joins whatever the price.
func TestWarmAgentsJoinFree(t *testing.T) {
	p := DefaultPolicy()
	p.Thrift = 1e9
	for name, change := range map[string]func(w *world, g Group){
		"installed": func(w *world, g Group) { w.agent("a", has(g)) },
		"uploaded":  func(w *world, g Group) { w.st.SetUpload(g.Build, 10); w.agent("a", sharing()) },
		"no time":   func(w *world, g Group) { w.group(1, install(0)); w.agent("a") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			g := w.group(1, waiting(1, 1))
			w.agent("s", serves(g, 1000))
			change(w, g)
			if c := Pick(w.st, "a", w.now, p); c.Group != 1 || c.Install != 0 {
				t.Errorf("takes %+v, want group 1 without install", c)
			}
		})
	}
}

// TestUploadInProgressIsAPrice: while the one upload runs, a second shared
// agent pays what remains of it.
func TestUploadInProgressIsAPrice(t *testing.T) {
	w := newWorld(t)
	g := w.group(1, waiting(2, 30))
	w.st.SetUpload(g.Build, w.now+50)
	w.agent("s", sharing(), func(a *Agent) { a.Serving, a.FreeAt = 1, w.now+55 })
	w.agent("a", sharing())
	w.wantReason("a", 1, NotWorthIt)
	w.st.SetUpload(g.Build, w.now+5)
	if c := w.want("a", 1); c.Install != 5 {
		t.Errorf("waits %v s for the upload, want 5", c.Install)
	}
}
