package schedule

import (
	"testing"

	"github.com/qualgent/qgjob"
	"pgregory.net/rapid"
)

// rival is a world of two groups of one org and equal numbers, drawn at
// random, and one cold agent. A test makes one of them better in one respect.
func rival(t *rapid.T) (st *State, one, two Group, now float64) {
	st, now = NewState(0), 20_000
	number := func(label string, from, to int) float64 { return float64(rapid.IntRange(from, to).Draw(t, label)) }
	n := rapid.IntRange(2, 50).Draw(t, "waiting")
	one = Group{
		ID: 1, Build: Build{Org: "o", Version: "v1"}, Target: qgjob.TargetDevice, Install: number("install", 1, 120),
		Queue: Queue{
			Waiting: n, Work: float64(n) * number("work", 1, 200), Runs: rapid.IntRange(1, n).Draw(t, "runs"),
			HeadPriority: rapid.IntRange(2, 9).Draw(t, "priority"), HeadSubmitted: number("submitted", 14_000, 19_999),
		},
	}
	two = one
	two.ID, two.Build.Version = 2, "v2"
	st.SetAgent(Agent{ID: "a", Target: qgjob.TargetDevice, Up: true, Speed: number("speed", 1, 4) / 2})
	for i := range rapid.IntRange(0, 3).Draw(t, "others") {
		st.SetAgent(Agent{ID: qgjob.AgentID(string(rune('b' + i))), Target: qgjob.TargetDevice, Up: true, Speed: 1})
	}
	return st, one, two, now
}

// TestBetterGoesFirst: of two groups that are equal but for one thing, the
// better one goes first, whichever came to the state first.
func TestBetterGoesFirst(t *testing.T) {
	for name, better := range map[string]func(t *rapid.T, g *Group){
		"more urgent":         func(t *rapid.T, g *Group) { g.HeadPriority++ },
		"waits longer":        func(t *rapid.T, g *Group) { g.HeadSubmitted -= rapid.Float64Range(1, 1000).Draw(t, "longer") },
		"a shorter install":   func(t *rapid.T, g *Group) { g.Install *= rapid.Float64Range(0, 0.9).Draw(t, "of it") },
		"less remaining work": func(t *rapid.T, g *Group) { g.Work *= rapid.Float64Range(0, 0.9).Draw(t, "of it") },
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				st, one, two, now := rival(t)
				if rapid.Bool().Draw(t, "the second is better") {
					better(t, &two)
				} else {
					better(t, &one)
				}
				st.SetGroup(one)
				st.SetGroup(two)
				want := qgjob.GroupID(1)
				if two.Queue != one.Queue || two.Install != one.Install {
					if two.HeadPriority > one.HeadPriority || two.HeadSubmitted < one.HeadSubmitted || two.Install < one.Install || two.Work < one.Work {
						want = 2
					}
				}
				if c := Pick(st, "a", now, DefaultPolicy()); c.Group != want {
					t.Fatalf("takes %v, want %v: %+v and %+v", c.Group, want, one, two)
				}
			})
		})
	}
}

// TestBlockingALoserChangesNothing: an agent that may not take a group it did
// not choose chooses as before, unless that group's wait was a price.
func TestBlockingALoserChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		st, one, two, now := rival(t)
		two.HeadPriority = max(1, two.HeadPriority-rapid.IntRange(0, 3).Draw(t, "less urgent"))
		st.SetGroup(one)
		st.SetGroup(two)
		c := Pick(st, "a", now, DefaultPolicy())
		other := one
		if c.Group == 1 {
			other = two
		}
		a, _ := st.Agent("a")
		a.Blocked = []Build{other.Build}
		st.SetAgent(a)
		if again := Pick(st, "a", now, DefaultPolicy()); again.Group != c.Group || again.Refused[BuildBlocked] != 1 {
			t.Fatalf("takes %v, and %+v once it may not take the other", c.Group, again)
		}
	})
}

// TestLaterIsTheSame: moving every instant by the same amount changes no
// decision: only differences of time count.
func TestLaterIsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := scenes.Draw(t, "scene")
		by := float64(rapid.IntRange(1, 1<<30).Draw(t, "later"))
		later := scene{now: s.now + by, uploads: map[Build]float64{}, load: Load{Since: s.load.Since + by, At: s.load.At + by, Sum: s.load.Sum, Urgent: s.load.Urgent}}
		for b, ready := range s.uploads {
			later.uploads[b] = ready + by
		}
		for _, o := range s.orgs {
			o.Used.At += by
			later.orgs = append(later.orgs, o)
		}
		for _, g := range s.groups {
			g.HeadSubmitted += by
			later.groups = append(later.groups, g)
		}
		for _, a := range s.agents {
			a.FreeAt += by
			later.agents = append(later.agents, a)
		}
		one, two := s.state(), later.state()
		for _, a := range s.agents {
			if x, y := Pick(one, a.ID, s.now, DefaultPolicy()), Pick(two, a.ID, later.now, DefaultPolicy()); x.Group != y.Group {
				t.Fatalf("agent %s takes %v, %v seconds later %v", a.ID, x.Group, by, y.Group)
			}
		}
	})
}

// TestThriftOnlySavesInstalls: a higher price never makes an agent join a
// group that it did not join at a lower one.
func TestThriftOnlySavesInstalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := scenes.Draw(t, "scene")
		st := s.state()
		cheap, dear := DefaultPolicy(), DefaultPolicy()
		cheap.Thrift = rapid.Float64Range(0, 10).Draw(t, "price")
		dear.Thrift = cheap.Thrift + rapid.Float64Range(0, 100).Draw(t, "more")
		s.eachFree(func(a Agent) {
			_, few := Explain(st, a.ID, s.now, cheap)
			_, many := Explain(st, a.ID, s.now, dear)
			refused := map[qgjob.GroupID]bool{}
			for _, r := range many {
				refused[r.Group] = r.Reason == NotWorthIt
			}
			for _, r := range few {
				if r.Reason == NotWorthIt && !refused[r.Group] {
					t.Fatalf("agent %s joins %v at price %v and not at %v", a.ID, r.Group, dear.Thrift, cheap.Thrift)
				}
			}
		})
	})
}

// FuzzParseRule: whatever a person types is one of the rules or an error that
// names them all.
func FuzzParseRule(f *testing.F) {
	for _, r := range Rules {
		f.Add(string(r))
	}
	f.Add("")
	f.Add("qgjob ")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRule(s)
		if err == nil && string(r) != s {
			t.Errorf("%q is read as %q", s, r)
		}
		if err != nil && r != "" {
			t.Errorf("%q is refused and read as %q", s, r)
		}
	})
}
