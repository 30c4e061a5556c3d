package schedule

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-6*math.Max(1, math.Abs(want)) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestEstimate(t *testing.T) {
	for _, c := range []struct {
		name string
		seen []float64
		mean float64
		n    int
	}{
		{"nothing", nil, 0, 0},
		{"once", []float64{30}, 30, 1},
		{"the first are averaged", []float64{30, 60}, 45, 2},
		{"three", []float64{30, 60, 90}, 60, 3},
		{"four", []float64{10, 20, 30, 40}, 25, 4},
		{"five", []float64{10, 20, 30, 40, 50}, 30, 5},
		{"then a fifth counts", []float64{10, 10, 10, 10, 10, 60}, 20, 6},
		{"and a fifth again", []float64{10, 10, 10, 10, 10, 60, 60}, 28, 7},
		{"zero is a time", []float64{0}, 0, 1},
		{"below zero is none", []float64{30, -1}, 30, 1},
		{"not a number is none", []float64{30, math.NaN()}, 30, 1},
	} {
		var e Estimate
		for _, x := range c.seen {
			e = e.Observe(x)
		}
		near(t, c.name, e.Mean, c.mean)
		if e.N != c.n {
			t.Errorf("%s: n is %d, want %d", c.name, e.N, c.n)
		}
	}
}

func TestEstimateExpect(t *testing.T) {
	for _, c := range []struct {
		e           Estimate
		prior, want float64
	}{
		{Estimate{}, 60, 60},
		{Estimate{N: 1, Mean: 20}, 60, 40},
		{Estimate{N: 3, Mean: 20}, 60, 30},
		{Estimate{N: 9, Mean: 20}, 60, 24},
	} {
		near(t, "expectation", c.e.Expect(c.prior), c.want)
	}
}

func TestEstimateFollows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Estimate{N: rapid.IntRange(0, 100).Draw(t, "n"), Mean: rapid.Float64Range(0, 1000).Draw(t, "mean")}
		x := rapid.Float64Range(0, 1000).Draw(t, "x")
		got := e.Observe(x)
		if got.N != e.N+1 {
			t.Fatalf("n goes from %d to %d", e.N, got.N)
		}
		low, high := math.Min(e.Mean, x), math.Max(e.Mean, x)
		if e.N > 0 && (got.Mean < low-1e-9 || got.Mean > high+1e-9) {
			t.Fatalf("mean %v of %v and %v is not between them", got.Mean, e.Mean, x)
		}
		for range 40 {
			got = got.Observe(x)
		}
		if math.Abs(got.Mean-x) > 0.01*math.Max(1, high) {
			t.Fatalf("after 40 times %v the mean is still %v", x, got.Mean)
		}
	})
}

func TestAverage(t *testing.T) {
	var a Average
	near(t, "of nothing", a.Or(DefaultEstimate), 60)
	a = a.Observe(30)
	near(t, "of one", a.Or(DefaultEstimate), 30)
	a = a.Observe(50).Observe(-5).Observe(math.NaN())
	near(t, "of two", a.Or(DefaultEstimate), 40)
	if a.N != 2 {
		t.Errorf("n is %d, want 2: what is no time is not observed", a.N)
	}
}

func TestUsage(t *testing.T) {
	u := Usage{}.Charge(100, 60, 1)
	near(t, "at once", u.Now(100), 60)
	near(t, "after a half-life", u.Now(100+HalfLife), 30)
	near(t, "after two", u.Now(100+2*HalfLife), 15)
	near(t, "before it was charged", u.Now(50), 60)
	u = u.Charge(100+HalfLife, 60, 2)
	near(t, "charged again at weight 2", u.Now(100+HalfLife), 60)
	near(t, "weight 0 counts as 1", Usage{}.Charge(0, 60, 0).Now(0), 60)
	late := u.Charge(0, 10, 1)
	if late.At != u.At {
		t.Errorf("a late charge moves the instant back to %v", late.At)
	}
	near(t, "a late charge", late.Now(late.At), 70)
}

func TestUsageOrderKeeps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one := Usage{Seconds: rapid.Float64Range(0, 1e5).Draw(t, "one"), At: rapid.Float64Range(0, 1e4).Draw(t, "at")}
		more := Usage{Seconds: one.Seconds + rapid.Float64Range(1, 1e5).Draw(t, "more"), At: one.At}
		now := one.At + rapid.Float64Range(0, 1e5).Draw(t, "later")
		if one.Now(now) > more.Now(now) {
			t.Fatalf("decay turned %v < %v round: %v, %v", one.Seconds, more.Seconds, one.Now(now), more.Now(now))
		}
	})
}

func TestLoad(t *testing.T) {
	var l Load
	near(t, "of nothing", l.Rate(500), 0)
	l = l.Arrive(0, 3600, 5)
	if r := l.Rate(0); r < 1 || r > 5 {
		t.Errorf("at the start an hour of work gives a rate of %v, want one that is neither hidden by the window nor taken for a rate", r)
	}
	steady := Load{}
	for at := 0.0; at < 8*LoadWindow; at += 10 {
		steady = steady.Arrive(at, 5, 5)
	}
	if r := steady.Rate(8 * LoadWindow); math.Abs(r-0.5) > 0.01 {
		t.Errorf("5 s of work every 10 s is a rate of %v, want 0.5", r)
	}
	early := Load{}
	for at := 0.0; at < LoadWindow/4; at += 10 {
		early = early.Arrive(at, 5, 5)
	}
	if r := early.Rate(LoadWindow / 4); r < 0.25 || r > 0.5 {
		t.Errorf("after a quarter of a window the rate is %v, want near 0.5, less the quiet that is taken to lie before", r)
	}
	if r := steady.Rate(20 * LoadWindow); r > 0.001 {
		t.Errorf("half a day after the last job the rate is %v", r)
	}
	since := Load{Since: 1000}.Arrive(1000, 60, 5)
	near(t, "late arrival keeps its instant", since.Arrive(500, 0, 5).At, 1000)
}

func TestOffered(t *testing.T) {
	l := Load{}
	for at := 0.0; at < 8*LoadWindow; at += 10 {
		l = l.Arrive(at, 5, 5)
	}
	now := 8 * LoadWindow
	if rho := l.offered(now, 1); math.Abs(rho-0.5) > 0.01 {
		t.Errorf("half a device of work on one device is a load of %v", rho)
	}
	near(t, "no fleet", l.offered(now, 0), maxLoad)
	near(t, "too small a fleet", l.offered(now, 0.1), maxLoad)
}

func TestStateKeepsLoad(t *testing.T) {
	st := NewState(100)
	if st.Load().Since != 100 {
		t.Errorf("the load is watched since %v, want 100", st.Load().Since)
	}
	st.Arrive(200, 60, 5)
	kept := st.Load()
	other := NewState(0)
	other.SetLoad(kept)
	near(t, "rate over a restart", other.Load().Rate(300), st.Load().Rate(300))
}

func TestJobLess(t *testing.T) {
	first := Job{Priority: 5, Run: 2, Rank: 1, Estimate: 60, Seq: 7}
	for _, c := range []struct {
		name string
		then Job
	}{
		{"lower priority, everything else better", Job{Priority: 4, Run: 1, Rank: 0, Estimate: 90, Seq: 1}},
		{"later run, the rest better", Job{Priority: 5, Run: 3, Rank: 0, Estimate: 90, Seq: 1}},
		{"higher rank, the rest better", Job{Priority: 5, Run: 2, Rank: 2, Estimate: 90, Seq: 1}},
		{"shorter", Job{Priority: 5, Run: 2, Rank: 1, Estimate: 59, Seq: 1}},
		{"later", Job{Priority: 5, Run: 2, Rank: 1, Estimate: 60, Seq: 8}},
	} {
		if !first.Less(c.then) || c.then.Less(first) {
			t.Errorf("%s: %+v should go after %+v", c.name, c.then, first)
		}
	}
	if first.Less(first) {
		t.Error("a job goes before itself")
	}
}

func TestJobLessIsAnOrder(t *testing.T) {
	job := rapid.Custom(func(t *rapid.T) Job {
		return Job{
			Priority: rapid.IntRange(1, 3).Draw(t, "priority"), Run: rapid.Int64Range(1, 3).Draw(t, "run"),
			Rank: rapid.IntRange(0, 1).Draw(t, "rank"), Estimate: float64(rapid.IntRange(1, 3).Draw(t, "estimate")),
			Seq: rapid.Int64Range(1, 4).Draw(t, "seq"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := job.Draw(t, "a"), job.Draw(t, "b"), job.Draw(t, "c")
		if a.Less(b) && b.Less(a) {
			t.Fatal("both go first")
		}
		if a.Less(b) && b.Less(c) && !a.Less(c) {
			t.Fatal("not transitive")
		}
		if a != b && !a.Less(b) && !b.Less(a) {
			t.Fatal("two different jobs have no order")
		}
	})
}
