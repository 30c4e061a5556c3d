package schedule

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// TestLoadBurstIsNoRate: one submission to a fresh server is not taken for a
// stream of such submissions.
func TestLoadBurstIsNoRate(t *testing.T) {
	l := Load{Since: 1000}.Arrive(1003, 600, 1)
	if rho := l.offered(1003, 2); rho > 0.5 {
		t.Errorf("ten tests on two agents, seconds after the start, are a load of %.2f", rho)
	}
	if rho := l.offered(1003+LoadWindow, 2); rho > 0.1 {
		t.Errorf("an hour later they are still a load of %.2f", rho)
	}
}

// TestLoadWarmsUp: a steady stream is underrated at first and known after an
// hour; it is never overrated.
func TestLoadWarmsUp(t *testing.T) {
	var l Load
	last := 0.0
	for at := 0.0; at < 4*LoadWindow; at += 10 {
		l = l.Arrive(at, 5, 5)
		rate := l.Rate(at + 5)
		if rate > 0.52 {
			t.Fatalf("after %v s a stream of 0.5 is rated %v", at, rate)
		}
		if at > 60 && rate < last-0.005 {
			t.Fatalf("after %v s the rate falls from %v to %v", at, last, rate)
		}
		last = rate
	}
	if last < 0.49 {
		t.Errorf("after four hours a stream of 0.5 is rated %v", last)
	}
}

func TestLoadUrgency(t *testing.T) {
	for _, c := range []struct {
		name string
		l    Load
		want float64
	}{
		{"nothing arrived", Load{}, 1},
		{"only work that takes no time", Load{}.Arrive(10, 0, 10), 1},
		{"all at priority 5", Load{}.Arrive(10, 60, 5).Arrive(500, 30, 5), 1},
		{"all at priority 1", Load{}.Arrive(10, 60, 1).Arrive(500, 30, 1), 16.0 / 81},
		{"all at priority 10", Load{}.Arrive(10, 60, 10), 7.59375},
		{"half and half at one time", Load{}.Arrive(10, 60, 5).Arrive(10, 60, 6), 1.25},
		{"by work, not by number", Load{}.Arrive(10, 180, 5).Arrive(10, 60, 6), 1.125},
		{"sums that do not fit together", Load{Sum: 1e-300, Urgent: 1e18}, 7.59375},
		{"an urgency that was never kept", Load{Sum: 60}, 32.0 / 243},
		{"the past fades", Load{}.Arrive(0, 60, 10).Arrive(40*LoadWindow, 60, 5), 1},
	} {
		near(t, c.name, c.l.urgency(), c.want)
	}
}

// TestLoadOfPartsIsThatOfTheWhole: a run submitted job by job at one instant
// loads as one that is submitted whole.
func TestLoadOfPartsIsThatOfTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := Load{}.Arrive(0, rapid.Float64Range(0, 1e4).Draw(t, "before"), rapid.IntRange(1, 10).Draw(t, "at priority"))
		at, prio := rapid.Float64Range(0, 1e5).Draw(t, "at"), rapid.IntRange(1, 10).Draw(t, "priority")
		parts, sum := before, 0.0
		for _, work := range rapid.SliceOf(rapid.Float64Range(0, 600)).Draw(t, "jobs") {
			parts, sum = parts.Arrive(at, work, prio), sum+work
		}
		whole := before.Arrive(at, sum, prio)
		for _, later := range []float64{at, at + 100, at + 1e5} {
			if a, b := parts.Rate(later), whole.Rate(later); math.Abs(a-b) > 1e-6*math.Max(1, b) {
				t.Fatalf("in parts the rate is %v, whole %v", a, b)
			}
		}
		if sum > 0 && math.Abs(parts.urgency()-whole.urgency()) > 1e-6 {
			t.Fatalf("in parts the urgency is %v, whole %v", parts.urgency(), whole.urgency())
		}
	})
}

// TestLoadStaysWithinReason: rates are no less than nothing, loads between 0
// and the most, and the urgency between those of priorities 1 and 10.
func TestLoadStaysWithinReason(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Load{Since: rapid.Float64Range(0, 1e4).Draw(t, "since")}
		now := l.Since
		for range rapid.IntRange(0, 20).Draw(t, "submissions") {
			now += rapid.Float64Range(-50, 2000).Draw(t, "later") // clocks go back too
			l = l.Arrive(now, rapid.Float64Range(0, 1e5).Draw(t, "work"), rapid.IntRange(1, 10).Draw(t, "priority"))
			if u := l.urgency(); u < urgency(1)-1e-9 || u > urgency(10)+1e-9 {
				t.Fatalf("the mean urgency is %v", u)
			}
			for _, at := range []float64{l.Since - 10, now, now + 10, now + 1e6} {
				if rate, rho := l.Rate(at), l.offered(at, rapid.Float64Range(0, 100).Draw(t, "speed")); !(rate >= 0) || !(rho >= 0 && rho <= maxLoad) {
					t.Fatalf("at %v the rate is %v, the load %v", at, rate, rho)
				}
			}
		}
	})
}

// TestLoadFallsWhenNothingArrives: without arrivals the rate only falls.
func TestLoadFallsWhenNothingArrives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Load{}.Arrive(rapid.Float64Range(0, 1e4).Draw(t, "at"), rapid.Float64Range(1, 1e5).Draw(t, "work"), 5)
		now := l.At
		for range 10 {
			then := now + rapid.Float64Range(1, 5000).Draw(t, "later")
			if a, b := l.Rate(now), l.Rate(then); b > a {
				t.Fatalf("the rate rises from %v to %v while nothing arrives", a, b)
			}
			now = then
		}
	})
}
