package lease

import (
	"fmt"
	"hash/crc32"
	"time"
)

// Primary names the history that a database is on: the cluster by its system
// identifier, and the timeline, which a promoted standby begins anew. Two that
// differ may hold different pasts. The zero value is not known.
type Primary struct {
	System   string
	Timeline int64
}

// Reign is the time of one primary, numbered from 1 and kept in the database
// itself. Settled: some server has watched it for a whole lease TTL.
type Reign struct {
	Number  int64
	Primary Primary
	Settled bool
}

// Name tells reigns apart: no two that a farm ever had are called the same,
// though a lost one may have had the same number. It is shown to everybody.
func (r Reign) Name() string {
	return fmt.Sprintf("%08x-%d-%d", crc32.ChecksumIEEE([]byte(r.Primary.System)), r.Primary.Timeline, r.Number)
}

// Succession is what a server remembers of the primaries that it was connected
// to. After a failover neither claims nor starts go on for one lease TTL (rule
// 9): leases, starts and results that were acknowledged may be lost, and
// whoever runs a test has that time to hear that its lease is stale, or to
// report again, before anybody else is given its job.
//
// Time is counted on the server's own clock, from when it first met the
// primary; instants must carry a monotonic reading. No wall clock is compared
// with another. A server that starts in the middle of it counts anew: only
// Reign.Settled, which comes after a whole TTL, tells it that it need not.
type Succession struct {
	ttl   time.Duration
	reign Reign
	until time.Time // zero: nothing is frozen
}

// NewSuccession remembers nothing yet.
func NewSuccession(ttl time.Duration) *Succession { return &Succession{ttl: ttl} }

// FormerError refuses a primary that another one has succeeded: what it takes
// is lost, or makes two histories of one.
type FormerError struct{ Met, Seen Primary }

// Error names both timelines.
func (e *FormerError) Error() string {
	return fmt.Sprintf("it is a former primary: it is on timeline %d, and timeline %d has begun", e.Met.Timeline, e.Seen.Timeline)
}

// Former gives a FormerError when a primary is known to have had a successor.
func Former(met, seen Primary) error {
	if met.System == seen.System && met.Timeline < seen.Timeline {
		return &FormerError{met, seen}
	}
	return nil
}

// Meet takes a primary that the server has connected to, and what its database
// records of the last reign (zero: nothing yet). lost says that something is
// missing there which this server knows to be committed. It gives the reign
// that the database is to record; the same one when there is nothing to
// change. Meeting the same again changes nothing: not even the time that is
// left.
func (s *Succession) Meet(met Primary, recorded Reign, lost bool, now time.Time) (Reign, error) {
	seen := s.reign.Primary
	if err := Former(met, seen); err != nil {
		return Reign{}, err
	}
	behind := seen == met && recorded.Number < s.reign.Number
	next := recorded
	switch {
	case behind && !s.reign.Settled && !lost:
		next = s.reign // what was to be recorded was rolled back
	case lost, behind, recorded.Number > 0 && recorded.Primary != met, recorded.Number == 0 && seen != Primary{} && seen != met:
		next = Reign{Number: max(recorded.Number, s.reign.Number) + 1, Primary: met}
	case recorded.Number == 0:
		next = Reign{Number: 1, Primary: met, Settled: true}
	}
	switch {
	case next.Settled:
		s.until = time.Time{}
	case next != s.reign || s.until.IsZero():
		s.until = now.Add(s.ttl)
	}
	s.reign = next
	return next, nil
}

// Reign is the present one.
func (s *Succession) Reign() Reign { return s.reign }

// Frozen is how long claims and starts have still to wait; 0: not at all.
func (s *Succession) Frozen(now time.Time) time.Duration {
	if s.until.IsZero() {
		return 0
	}
	return max(0, s.until.Sub(now))
}

// Due reports that the TTL is over and the database has not been told: record
// the present reign as settled, then call Settle.
func (s *Succession) Due(now time.Time) bool {
	return !s.until.IsZero() && !now.Before(s.until)
}

// Settle notes that the database records the present reign as settled.
func (s *Succession) Settle() {
	s.reign.Settled, s.until = true, time.Time{}
}
