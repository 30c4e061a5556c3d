package lease_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

// sweep is one look of a Watch: when, at what, and which leases it expires.
// Leases are written "name.version" for offers and "name.version!" for what
// was started.
type sweep struct {
	at      time.Duration
	held    string
	expired string
}

func heldLeases(t *testing.T, text string) (out []lease.Held) {
	t.Helper()
	for _, one := range strings.Fields(text) {
		h := lease.Held{}
		plain := strings.TrimSuffix(one, "!")
		h.Started = plain != one
		name, ver, ok := strings.Cut(plain, ".")
		if _, err := fmt.Sscan(ver, &h.Ver); !ok || err != nil {
			t.Fatalf("not a lease: %s", one)
		}
		h.LeaseID = qgjob.LeaseID(name)
		out = append(out, h)
	}
	return out
}

// every makes sweeps at a steady pace, all but the last without an expiry.
func every(step, from, to time.Duration, held, last string) (out []sweep) {
	for at := from; at < to; at += step {
		out = append(out, sweep{at, held, ""})
	}
	return append(out, sweep{to, held, last})
}

func sweeps(parts ...[]sweep) (out []sweep) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// TestWatch: TTL 30 s, so offers live 10 s and a Watch is blind after a gap of
// more than 10 s.
func TestWatch(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	one := func(at time.Duration, held, expired string) []sweep { return []sweep{{at, held, expired}} }
	for _, test := range []struct {
		name   string
		sweeps []sweep
	}{
		{"a started lease lives exactly the TTL", sweeps(
			every(s, 0, 29*s, "x.1!", ""), one(30*s-1, "x.1!", ""), one(30*s, "x.1!", "x"))},
		{"an offer lives a third of it", sweeps(
			every(s, 0, 9*s, "x.0", ""), one(10*s-1, "x.0", ""), one(10*s, "x.0", "x"))},
		{"counting begins with the first sight, not with the lease", sweeps(
			every(s, 0, 100*s, "", ""), every(s, 101*s, 131*s, "x.1!", "x"))},
		{"a renewal begins it anew", sweeps(
			every(s, 0, 29*s, "x.1!", ""), every(s, 30*s, 60*s, "x.2!", "x"))},
		{"a renewal between two looks is seen by its version alone", sweeps(
			one(0, "x.1!", ""), every(s, s, 31*s, "x.5!", "x"))},
		{"a start is a renewal", sweeps(
			every(s, 0, 9*s, "x.0", ""), every(s, 10*s, 40*s, "x.1!", "x"))},
		{"a renewed offer lives on", sweeps(
			every(s, 0, 9*s, "x.0", ""), every(s, 10*s, 20*s, "x.1", "x"))},
		{"what expired is named until it is gone", sweeps(
			every(s, 0, 30*s, "x.1!", "x"), one(31*s, "x.1!", "x"), one(32*s, "", ""))},
		{"what is gone is forgotten", sweeps(
			every(s, 0, 29*s, "x.1!", ""), one(30*s, "", ""), every(s, 31*s, 61*s, "x.1!", "x"))},
		{"each by its own time, in the order given", sweeps(
			every(s, 0, 4*s, "x.1!", ""), every(s, 5*s, 29*s, "y.1! x.1!", ""), one(30*s, "y.1! x.1!", "x"),
			every(s, 31*s, 34*s, "y.1!", ""), one(35*s, "z.0 y.1!", "y"), every(s, 36*s, 45*s, "z.0", "z"))},
		{"two at once in the order given", sweeps(
			every(s, 0, 10*s, "b.0 a.0 c.1!", "b a"))},
		{"a sweep that was stopped begins anew: no outage expires anything", sweeps(
			every(s, 0, 9*s, "x.1! y.0", ""), one(1000*s, "x.1! y.0", ""), every(s, 1001*s, 1009*s, "x.1! y.0", ""),
			one(1010*s, "x.1! y.0", "y"), every(s, 1011*s, 1030*s, "x.1!", "x"))},
		{"a gap of just a third is no outage", sweeps(
			every(10*s, 0, 30*s, "x.1!", "x"))},
		{"a gap of a moment more is one", sweeps(
			every(10*s+ms, 0, 300*s, "x.1!", ""))},
		{"never a sweep before: the first expires nothing", one(1_000_000*s, "x.1! y.0", "")},
		{"nothing held", sweeps(every(s, 0, 100*s, "", ""))},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := lease.NewWatch(30 * s)
			for _, step := range watched(test.sweeps) {
				var names []string
				for _, h := range w.Observe(heldLeases(t, step.held), at.Add(step.at)) {
					names = append(names, string(h.LeaseID))
				}
				if got := strings.Join(names, " "); got != step.expired {
					t.Fatalf("at %s with %q: expired %q, want %q", step.at, step.held, got, step.expired)
				}
			}
		})
	}
}

// TestWatchStartsOver: TTL 30 s. After StartOver a lease has its whole time
// again, and what was seen before counts for nothing.
func TestWatchStartsOver(t *testing.T) {
	const s = time.Second
	w := lease.NewWatch(30 * s)
	held := heldLeases(t, "x.1! y.0")
	for now := time.Duration(0); now <= 9*s; now += s {
		w.Observe(held, at.Add(now))
	}
	w.StartOver()
	for now := 10 * s; now <= 40*s; now += s {
		var names []string
		for _, h := range w.Observe(held, at.Add(now)) {
			names = append(names, string(h.LeaseID))
		}
		want := map[bool]string{now >= 20*s: "y", now == 40*s: "x y"}[true]
		if got := strings.Join(names, " "); got != want {
			t.Fatalf("at %s: expired %q, want %q", now, got, want)
		}
	}
}

// TestWatchDoubts: TTL 30 s. A lease is doubted after 10 s, an offer after
// 3⅓ s, and neither when it was renewed or nothing was seen.
func TestWatchDoubts(t *testing.T) {
	const s = time.Second
	for _, test := range []struct {
		name   string
		sweeps []sweep
		at     time.Duration
		want   bool
	}{
		{"nothing was ever seen", nil, 100 * s, false},
		{"nothing is held", every(s, 0, 20*s, "", ""), 20 * s, false},
		{"a lease before a third of its time", every(s, 0, 9*s, "x.1!", ""), 10*s - 1, false},
		{"a lease after a third of its time", every(s, 0, 9*s, "x.1!", ""), 10 * s, true},
		{"an offer before a third of its time", every(s, 0, 3*s, "x.0", ""), 10*s/3 - 1, false},
		{"an offer after a third of its time", every(s, 0, 3*s, "x.0", ""), 10*s/3 + 1, true},
		{"one of two", sweeps(every(s, 0, 4*s, "x.1!", ""), every(s, 5*s, 9*s, "x.1! y.1!", "")), 10 * s, true},
		{"renewed", sweeps(every(s, 0, 4*s, "x.1!", ""), every(s, 5*s, 9*s, "x.2!", "")), 14 * s, false},
		{"gone", sweeps(every(s, 0, 9*s, "x.1!", ""), every(s, 10*s, 11*s, "", "")), 100 * s, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := lease.NewWatch(30 * s)
			for _, step := range test.sweeps {
				w.Observe(heldLeases(t, step.held), at.Add(step.at))
			}
			if got := w.Doubts(at.Add(test.at)); got != test.want {
				t.Errorf("doubts %v", got)
			}
			w.StartOver()
			if w.Doubts(at.Add(test.at)) {
				t.Error("doubts after it started over")
			}
		})
	}
}

// watched drops a repeated instant at a seam of two pieces.
func watched(in []sweep) (out []sweep) {
	for _, s := range in {
		if len(out) == 0 || s.at > out[len(out)-1].at {
			out = append(out, s)
		}
	}
	return out
}

// TestWatchGivesBackWhatItSaw: an expiry carries the version that was seen,
// so that Expire refuses when a renewal came in between.
func TestWatchGivesBackWhatItSaw(t *testing.T) {
	w := lease.NewWatch(3 * time.Second)
	job := lease.Job{State: qgjob.Running, LeaseID: cur, LeaseVer: 4, Agent: "a", Started: true, Starts: 1, MaxTestAttempts: 1}
	seen := lease.Held{JobID: 7, LeaseID: cur, Ver: 4, Started: true}
	var expired []lease.Held
	for i := range 31 {
		expired = w.Observe([]lease.Held{seen}, at.Add(time.Duration(i)*100*time.Millisecond))
	}
	if len(expired) != 1 || expired[0] != seen {
		t.Fatalf("expired %+v, want %+v", expired, seen)
	}
	renewed, answer := lease.Renew(job, cur)
	if answer != qgjob.LeaseOK {
		t.Fatal(answer)
	}
	if _, err := lease.Expire(renewed, expired[0].LeaseID, expired[0].Ver, at); qgjob.CodeOf(err) != qgjob.CodeStaleLease {
		t.Errorf("a lease renewed after the sweep's look: %v", err)
	}
	if c, err := lease.Expire(job, expired[0].LeaseID, expired[0].Ver, at); err != nil || c.Job.State != qgjob.Queued {
		t.Errorf("a lease not renewed: %+v %v", c, err)
	}
}

// TestWatchNeverExpiresTheLiving: a lease renewed at least every 6 s (5 s and
// a fifth of jitter) is never expired, however the sweeps come.
func TestWatchNeverExpiresTheLiving(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := lease.NewWatch(lease.DefaultTTL)
		now, renewed, ver := at, at, int64(0)
		started := rapid.Bool().Draw(t, "started")
		for range rapid.IntRange(1, 200).Draw(t, "sweeps") {
			now = now.Add(time.Duration(rapid.Int64Range(1, 60_000).Draw(t, "gap")) * time.Millisecond)
			for now.Sub(renewed) >= 6*time.Second {
				renewed = renewed.Add(6 * time.Second)
				ver++
			}
			if got := w.Observe([]lease.Held{{LeaseID: cur, Ver: ver, Started: started}}, now); got != nil {
				t.Fatalf("expired %+v, renewed %s ago", got, now.Sub(renewed))
			}
		}
	})
}

// TestWatchExpiresTheDead: swept at its pace, a lease that nobody renews is
// expired at its time and at most one sweep later, whatever the TTL.
func TestWatchExpiresTheDead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ttl := time.Duration(rapid.Int64Range(300, 3_600_000).Draw(t, "ttl")) * time.Millisecond
		step := lease.SweepEvery(ttl)
		held := lease.Held{LeaseID: cur, Started: rapid.Bool().Draw(t, "started")}
		limit := ttl
		if !held.Started {
			limit = ttl / 3
		}
		w := lease.NewWatch(ttl)
		for lived := time.Duration(0); ; lived += step {
			if len(w.Observe([]lease.Held{held}, at.Add(lived))) == 0 {
				if lived > limit {
					t.Fatalf("still there %s after its limit of %s", lived-limit, limit)
				}
				continue
			}
			if lived < limit || lived >= limit+step {
				t.Fatalf("expired after %s, its limit is %s and a sweep %s", lived, limit, step)
			}
			return
		}
	})
}

func TestTimingFor(t *testing.T) {
	for _, test := range []struct {
		ttl  time.Duration
		want qgjob.Timing
		pace time.Duration
	}{
		{lease.DefaultTTL, qgjob.Timing{LeaseTTLMS: 30_000, RenewMS: 5_000, OfferTTLMS: 10_000, PollMS: 25_000}, time.Second},
		{3 * time.Second, qgjob.Timing{LeaseTTLMS: 3_000, RenewMS: 500, OfferTTLMS: 1_000, PollMS: 25_000}, 100 * time.Millisecond},
		{10 * time.Minute, qgjob.Timing{LeaseTTLMS: 600_000, RenewMS: 100_000, OfferTTLMS: 200_000, PollMS: 25_000}, 20 * time.Second},
		{150 * time.Millisecond, qgjob.Timing{LeaseTTLMS: 150, RenewMS: 25, OfferTTLMS: 50, PollMS: 25_000}, 10 * time.Millisecond},
	} {
		if got := lease.TimingFor(test.ttl); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.ttl, got, test.want)
		}
		if got := lease.SweepEvery(test.ttl); got != test.pace {
			t.Errorf("%s: swept every %s, want %s", test.ttl, got, test.pace)
		}
	}
}

// TestBackoff: the ceilings are 2, 4, 8, 16, 32 s, then a minute.
func TestBackoff(t *testing.T) {
	for n, ceiling := range map[int]time.Duration{-1: 2, 0: 2, 1: 2, 2: 4, 3: 8, 4: 16, 5: 32, 6: 60, 7: 60, 64: 60, 1 << 40: 60} {
		ceiling *= time.Second
		for jitter, want := range map[float64]time.Duration{0: 0, 0.25: ceiling / 4, 0.5: ceiling / 2} {
			if got := lease.Backoff(n, jitter); got != want {
				t.Errorf("Backoff(%d, %v) = %s, want %s", n, jitter, got, want)
			}
		}
		if got := lease.Backoff(n, 0.999999); got >= ceiling || got < ceiling*99/100 {
			t.Errorf("Backoff(%d, almost 1) = %s, want just under %s", n, got, ceiling)
		}
	}
}
