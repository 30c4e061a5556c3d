package lease

import (
	"time"

	"github.com/qualgent/qgjob"
)

// DefaultTTL is how long a lease lives without a renewal.
const DefaultTTL = 30 * time.Second

// pollLimit is the longest a claim waits for work, whatever the TTL: longer
// requests are cut by proxies.
const pollLimit = 25 * time.Second

// TimingFor derives the protocol's numbers from the lease TTL, so that a
// server started with another TTL keeps every proportion.
func TimingFor(ttl time.Duration) qgjob.Timing {
	return qgjob.Timing{
		LeaseTTLMS: ttl.Milliseconds(),
		RenewMS:    (ttl / 6).Milliseconds(),
		OfferTTLMS: (ttl / 3).Milliseconds(),
		PollMS:     pollLimit.Milliseconds(),
	}
}

// SweepEvery is how often leases are looked at: a thirtieth of the TTL.
func SweepEvery(ttl time.Duration) time.Duration { return max(ttl/30, 10*time.Millisecond) }

// Held is a lease as a sweep finds it.
type Held struct {
	JobID   qgjob.JobID
	LeaseID qgjob.LeaseID
	Ver     int64
	Started bool
}

// Watch finds leases that were not renewed for their time, counting from when
// it first saw them unchanged, and anew after it was itself blind for a third
// of the TTL. An outage of the server or of its database, a stopped process
// or a jump of the wall clock therefore expires nothing by itself. The
// instants given to Observe must carry a monotonic reading (time.Now does).
type Watch struct {
	ttl, offerTTL time.Duration
	last          time.Time
	seen          map[qgjob.LeaseID]sighting
}

type sighting struct {
	ver   int64
	since time.Time
	limit time.Duration
}

// NewWatch makes a Watch for a lease TTL; offers that were never started
// expire after a third of it.
func NewWatch(ttl time.Duration) *Watch {
	return &Watch{ttl: ttl, offerTTL: ttl / 3}
}

// StartOver counts every lease anew from the next look on: its agent may have
// tried to renew it in vain.
func (w *Watch) StartOver() { w.seen = nil }

// Doubts reports that a lease was unchanged for a third of its time, which is
// twice as long as a living agent takes to renew. Before it is blamed, the
// caller makes sure that it could.
func (w *Watch) Doubts(now time.Time) bool {
	for _, s := range w.seen {
		if now.Sub(s.since) >= s.limit/3 {
			return true
		}
	}
	return false
}

// Observe takes all leases held now and returns those to expire, in the order
// given. Leases that are no longer held are forgotten.
func (w *Watch) Observe(held []Held, now time.Time) []Held {
	if now.Sub(w.last) > w.ttl/3 {
		w.seen = nil
	}
	w.last = now
	next := make(map[qgjob.LeaseID]sighting, len(held))
	var expired []Held
	for _, h := range held {
		s, ok := w.seen[h.LeaseID]
		if !ok || s.ver != h.Ver {
			s = sighting{ver: h.Ver, since: now}
		}
		s.limit = w.ttl
		if !h.Started {
			s.limit = w.offerTTL
		}
		next[h.LeaseID] = s
		if now.Sub(s.since) >= s.limit {
			expired = append(expired, h)
		}
	}
	w.seen = next
	return expired
}
