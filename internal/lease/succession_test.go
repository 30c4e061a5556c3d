package lease_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob/internal/lease"
	"pgregory.net/rapid"
)

// The primaries of the stories below: one cluster on three timelines, and a
// copy of it in a cluster of its own.
var (
	first  = lease.Primary{System: "7711", Timeline: 1}
	second = lease.Primary{System: "7711", Timeline: 2}
	third  = lease.Primary{System: "7711", Timeline: 3}
	other  = lease.Primary{System: "8822", Timeline: 1}
)

const oneTTL = 30 * time.Second

func reign(n int64, p lease.Primary, settled bool) lease.Reign {
	return lease.Reign{Number: n, Primary: p, Settled: settled}
}

// meeting is one connection that a server makes, and what it makes of it.
type meeting struct {
	at       int // seconds
	met      lease.Primary
	recorded lease.Reign
	lost     bool

	want   lease.Reign
	frozen int    // seconds left
	refuse string // part of the error instead
}

var stories = []struct {
	name     string
	meetings []meeting
}{
	{"a new database", []meeting{
		{met: first, want: reign(1, first, true)},
	}},
	{"the same primary again and again", []meeting{
		{met: first, want: reign(1, first, true)},
		{at: 5, met: first, recorded: reign(1, first, true), want: reign(1, first, true)},
		{at: 9, met: first, recorded: reign(1, first, true), want: reign(1, first, true)},
	}},
	{"a standby was promoted", []meeting{
		{met: first, recorded: reign(1, first, true), want: reign(1, first, true)},
		{at: 100, met: second, recorded: reign(1, first, true), want: reign(2, second, false), frozen: 30},
	}},
	{"the first flush after a promotion was rolled back, twice", []meeting{
		{met: first, recorded: reign(1, first, true), want: reign(1, first, true)},
		{at: 100, met: second, recorded: reign(1, first, true), want: reign(2, second, false), frozen: 30},
		{at: 110, met: second, recorded: reign(1, first, true), want: reign(2, second, false), frozen: 20},
		{at: 115, met: second, recorded: reign(1, first, true), want: reign(2, second, false), frozen: 15},
	}},
	{"the line broke while all was frozen", []meeting{
		{met: first, recorded: reign(1, first, true), want: reign(1, first, true)},
		{at: 100, met: second, recorded: reign(1, first, true), want: reign(2, second, false), frozen: 30},
		{at: 120, met: second, recorded: reign(2, second, false), want: reign(2, second, false), frozen: 10},
	}},
	{"another server saw it first, just now", []meeting{
		{met: first, recorded: reign(1, first, true), want: reign(1, first, true)},
		{at: 105, met: second, recorded: reign(2, second, false), want: reign(2, second, false), frozen: 30},
	}},
	{"another server saw it first, long ago", []meeting{
		{met: first, recorded: reign(1, first, true), want: reign(1, first, true)},
		{at: 500, met: second, recorded: reign(2, second, true), want: reign(2, second, true)},
	}},
	{"another server has settled it meanwhile", []meeting{
		{met: second, recorded: reign(2, second, false), want: reign(2, second, false), frozen: 30},
		{at: 5, met: second, recorded: reign(2, second, true), want: reign(2, second, true)},
	}},
	{"a server starts after a promotion that nobody saw", []meeting{
		{met: second, recorded: reign(1, first, true), want: reign(2, second, false), frozen: 30},
	}},
	{"a server starts in the middle of it", []meeting{
		{met: second, recorded: reign(2, second, false), want: reign(2, second, false), frozen: 30},
	}},
	{"a server starts after it", []meeting{
		{met: second, recorded: reign(2, second, true), want: reign(2, second, true)},
	}},
	{"the second promotion comes while the first has frozen all", []meeting{
		{met: first, recorded: reign(1, first, true), want: reign(1, first, true)},
		{at: 100, met: second, recorded: reign(1, first, true), want: reign(2, second, false), frozen: 30},
		{at: 110, met: third, recorded: reign(2, second, false), want: reign(3, third, false), frozen: 30},
	}},
	{"the second promotion loses the record of the first", []meeting{
		{met: second, recorded: reign(1, first, true), want: reign(2, second, false), frozen: 30},
		{at: 10, met: third, recorded: reign(1, first, true), want: reign(3, third, false), frozen: 30},
	}},
	{"the promotion loses the settling only", []meeting{
		{met: second, recorded: reign(2, second, true), want: reign(2, second, true)},
		{at: 10, met: third, recorded: reign(2, second, false), want: reign(3, third, false), frozen: 30},
	}},
	{"the former primary comes back", []meeting{
		{met: second, recorded: reign(2, second, true), want: reign(2, second, true)},
		{at: 10, met: first, recorded: reign(1, first, true), refuse: "timeline 1, and timeline 2 has begun"},
		{at: 20, met: second, recorded: reign(2, second, true), want: reign(2, second, true)},
	}},
	{"the former primary comes back while all is frozen", []meeting{
		{met: second, recorded: reign(1, first, true), want: reign(2, second, false), frozen: 30},
		{at: 10, met: first, recorded: reign(1, first, true), refuse: "former primary", frozen: 20},
		{at: 20, met: second, recorded: reign(2, second, false), want: reign(2, second, false), frozen: 10},
	}},
	{"a copy was put into another cluster", []meeting{
		{met: second, recorded: reign(2, second, true), want: reign(2, second, true)},
		{at: 10, met: other, recorded: reign(2, second, true), want: reign(3, other, false), frozen: 30},
	}},
	{"a server starts on a copy in another cluster", []meeting{
		{met: other, recorded: reign(2, second, true), want: reign(3, other, false), frozen: 30},
	}},
	{"an emptied database in another cluster", []meeting{
		{met: first, recorded: reign(1, first, true), want: reign(1, first, true)},
		{at: 10, met: other, want: reign(2, other, false), frozen: 30},
	}},
	{"commits are missing, on the same timeline", []meeting{
		{met: first, recorded: reign(1, first, true), want: reign(1, first, true)},
		{at: 10, met: first, recorded: reign(1, first, true), lost: true, want: reign(2, first, false), frozen: 30},
		{at: 20, met: first, recorded: reign(1, first, true), want: reign(2, first, false), frozen: 20},
		{at: 25, met: first, recorded: reign(2, first, false), want: reign(2, first, false), frozen: 15},
	}},
	{"commits are missing again, while all is frozen", []meeting{
		{met: first, recorded: reign(1, first, true), want: reign(1, first, true)},
		{at: 10, met: first, recorded: reign(1, first, true), lost: true, want: reign(2, first, false), frozen: 30},
		{at: 20, met: first, recorded: reign(1, first, true), lost: true, want: reign(3, first, false), frozen: 30},
	}},
	{"a settled reign is missing, on the same timeline", []meeting{
		{met: second, recorded: reign(2, second, true), want: reign(2, second, true)},
		{at: 10, met: second, recorded: reign(1, second, true), want: reign(3, second, false), frozen: 30},
	}},
}

func TestSuccession(t *testing.T) {
	for _, story := range stories {
		t.Run(story.name, func(t *testing.T) {
			began := time.Now()
			s := lease.NewSuccession(oneTTL)
			for i, m := range story.meetings {
				now := began.Add(time.Duration(m.at) * time.Second)
				got, err := s.Meet(m.met, m.recorded, m.lost, now)
				if m.refuse != "" {
					var former *lease.FormerError
					if !errors.As(err, &former) || !strings.Contains(err.Error(), m.refuse) {
						t.Errorf("meeting %d: %v; want one that says %q", i+1, err, m.refuse)
					}
				} else if err != nil || got != m.want || s.Reign() != m.want {
					t.Errorf("meeting %d: %+v, %v; want %+v", i+1, got, err, m.want)
				}
				if left := s.Frozen(now); left != time.Duration(m.frozen)*time.Second {
					t.Errorf("meeting %d: frozen for %s; want %d s", i+1, left, m.frozen)
				}
			}
		})
	}
}

// TestAFreezeLastsOneTTL: not a moment less, and the database is told once.
func TestAFreezeLastsOneTTL(t *testing.T) {
	began := time.Now()
	s := lease.NewSuccession(oneTTL)
	if s.Frozen(began) != 0 || s.Due(began) {
		t.Error("frozen before it met anybody")
	}
	r, err := s.Meet(second, reign(1, first, true), false, began)
	if err != nil || r.Settled {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, look := range []struct {
		after time.Duration
		left  time.Duration
		due   bool
	}{
		{0, oneTTL, false},
		{time.Second, oneTTL - time.Second, false},
		{oneTTL - time.Nanosecond, time.Nanosecond, false},
		{oneTTL, 0, true},
		{10 * oneTTL, 0, true},
	} {
		now := began.Add(look.after)
		if left, due := s.Frozen(now), s.Due(now); left != look.left || due != look.due {
			t.Errorf("after %s: %s left, due %v; want %s, %v", look.after, left, due, look.left, look.due)
		}
	}
	s.Settle()
	late := began.Add(11 * oneTTL)
	if s.Due(late) || s.Frozen(late) != 0 || !s.Reign().Settled {
		t.Errorf("settled, and: due %v, %s left, %+v", s.Due(late), s.Frozen(late), s.Reign())
	}
	if r, err := s.Meet(second, reign(2, second, true), false, late); err != nil || r != reign(2, second, true) || s.Frozen(late) != 0 {
		t.Errorf("met again: %+v, %v, frozen for %s", r, err, s.Frozen(late))
	}
}

// TestReignsHaveNamesOfTheirOwn: agents tell reigns apart by them.
func TestReignsHaveNamesOfTheirOwn(t *testing.T) {
	names := map[string]lease.Reign{}
	for _, r := range []lease.Reign{reign(1, first, true), reign(2, first, true), reign(2, second, true), reign(2, third, true), reign(1, other, true), reign(21, first, true), reign(1, lease.Primary{System: "7711", Timeline: 21}, true)} {
		if was, taken := names[r.Name()]; taken {
			t.Errorf("%+v and %+v are both called %s", was, r, r.Name())
		}
		names[r.Name()] = r
	}
	if reign(2, second, false).Name() != reign(2, second, true).Name() {
		t.Error("a reign that settles is not another one")
	}
}

// farm is several servers and the databases they meet, for the property below.
type farm struct {
	servers  []*lease.Succession
	recorded lease.Reign // of the present primary
	standby  lease.Reign // what the next primary will have recorded
	primary  lease.Primary
	promoted time.Time // when the present primary took over
	now      time.Time
}

// TestNoServerGivesOutWorkWithinATTL plays promotions, with and without loss,
// restarts and connections in any order: whoever asks a server within a TTL of
// the first meeting after a promotion finds it frozen, and after two TTLs of
// quiet everybody is free.
func TestNoServerGivesOutWorkWithinATTL(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &farm{primary: first, now: time.Now()}
		for range rapid.IntRange(1, 4).Draw(t, "servers") {
			f.servers = append(f.servers, lease.NewSuccession(oneTTL))
		}
		pick := func() int { return rapid.IntRange(0, len(f.servers)-1).Draw(t, "server") }
		t.Repeat(map[string]func(*rapid.T){
			"time goes on": func(t *rapid.T) {
				f.now = f.now.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "s")) * time.Second)
			},
			"replication": func(*rapid.T) { f.standby = f.recorded },
			"promotion": func(*rapid.T) {
				f.primary.Timeline++
				f.recorded, f.promoted = f.standby, f.now
			},
			"restart": func(*rapid.T) { f.servers[pick()] = lease.NewSuccession(oneTTL) },
			"connection": func(t *rapid.T) {
				f.connect(t, pick(), rapid.Bool().Draw(t, "rolled back"))
			},
		})
		f.now = f.now.Add(2 * oneTTL)
		for i := range f.servers {
			f.connect(t, i, false)
		}
		f.now = f.now.Add(oneTTL)
		for i, s := range f.servers {
			if left := s.Frozen(f.now); left > 0 {
				t.Fatalf("server %d is frozen for another %s", i, left)
			}
		}
	})
}

// connect has a server meet the primary, and look whether it may give out
// work. What it is to record may be rolled back.
func (f *farm) connect(t *rapid.T, n int, rolledBack bool) {
	s := f.servers[n]
	r, err := s.Meet(f.primary, f.recorded, false, f.now)
	if err != nil {
		t.Fatalf("server %d: %v", n, err)
	}
	if !rolledBack {
		f.recorded = r
	}
	if s.Due(f.now) && !rolledBack {
		s.Settle()
		f.recorded = s.Reign()
	}
	if since := f.now.Sub(f.promoted); !f.promoted.IsZero() && f.primary.Timeline > 1 && since < oneTTL && s.Frozen(f.now) == 0 && f.recordedBefore() {
		t.Fatalf("server %d gives out work %s after the promotion to timeline %d", n, since, f.primary.Timeline)
	}
}

// recordedBefore reports that some reign was recorded before this primary's: a
// database without any has nothing that could be lost.
func (f *farm) recordedBefore() bool { return f.recorded.Number > 1 }
