package lease_test

import (
	"fmt"
	"hash/maphash"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

// rules is the protocol that an explorer plays: the real transitions and
// what agents and server do around them, or a variant that leaves out one
// guard.
type rules struct {
	offer    func(lease.Job, qgjob.LeaseID, qgjob.AgentID, int64, time.Time) (lease.Change, error)
	start    func(lease.Job, qgjob.LeaseID, time.Time) (lease.Change, qgjob.LeaseAnswer, error)
	renew    func(lease.Job, qgjob.LeaseID) (lease.Job, qgjob.LeaseAnswer)
	cancel   func(lease.Job) (lease.Change, error)
	release  func(lease.Job, qgjob.LeaseID, qgjob.Reason, time.Time) (lease.Change, error)
	expire   func(lease.Job, qgjob.LeaseID, int64, time.Time) (lease.Change, error)
	timeout  func(lease.Job, qgjob.LeaseID, time.Time) (lease.Change, error)
	complete func(lease.Job, lease.Attempt, lease.Result, time.Time, float64) (lease.Change, error)

	fence          func(serial, number uint8) qgjob.LeaseID // rule 1
	startUnasked   bool                                     // rule 3 left out: agents begin with the offer
	orphans        bool                                     // rule 5 left out: tests outlive their agent
	anyIncarnation bool                                     // rule 6 left out: late registrations count
	noHold         bool                                     // rule 9 left out: claims right after a failover

	harm string // look only for breaches that begin so; "" for all
}

// theRules are the real ones.
func theRules() rules {
	return rules{offer: lease.Offer, start: lease.Start, renew: lease.Renew, cancel: func(j lease.Job) (lease.Change, error) { return lease.Cancel(j, qgjob.ReasonCancelled, "") }, release: lease.Release,
		expire: lease.Expire, timeout: lease.Timeout, complete: lease.Complete,
		fence: func(serial, _ uint8) qgjob.LeaseID { return randomIDs[serial] }}
}

// randomIDs stand for the random fences: one for each lease ever given.
var randomIDs = [maxLeases + 1]qgjob.LeaseID{"", "first", "second", "third", "fourth"}

// bounds is what an exploration may inject.
type bounds struct {
	leases, renews                                            uint8
	expiries, releases, crashes, cancels, timeouts, failovers uint8
	tests                                                     int     // test attempts allowed
	verdicts                                                  []uint8 // how a test may end
}

// node is a world that was reached, and how.
type node struct {
	world
	parent int32
	step   step
}

// explorer walks every world that the rules can reach, breadth first.
type explorer struct {
	rules   rules
	bounds  bounds
	nodes   []node
	known   map[uint64]struct{} // hashes: a collision among 2 million of 64 bits is a chance of 1 in 9 million
	seed    maphash.Seed
	edges   int
	late    int // results taken from a lease that had expired (rule 8)
	moved   [moves]int
	endings map[qgjob.JobState]int
	rescued map[record]bool
}

// explore walks until all is seen, limit worlds were found, or something is
// broken; then it tells what, and the shortest way there.
func explore(r rules, b bounds, limit int) (x *explorer, breach string, path []step) {
	x = &explorer{rules: r, bounds: b, known: map[uint64]struct{}{}, seed: maphash.MakeSeed(), endings: map[qgjob.JobState]int{}, rescued: map[record]bool{}}
	first := x.begin()
	x.nodes = append(x.nodes, node{world: first, parent: -1})
	x.known[maphash.Comparable(x.seed, first)] = struct{}{}
	for at := 0; at < len(x.nodes) && len(x.nodes) < limit && breach == ""; at++ {
		x.successors(x.nodes[at].world, func(s step, to world, wrong string) {
			x.edges++
			x.moved[s.move]++
			key := maphash.Comparable(x.seed, to)
			if _, seen := x.known[key]; breach != "" || (seen && wrong == "") {
				return
			}
			x.nodes = append(x.nodes, node{world: to, parent: int32(at), step: s})
			x.known[key] = struct{}{}
			if wrong = x.first(wrong, x.wrong(&to), x.unfinishable(&to)); wrong != "" {
				breach, path = wrong, x.path(len(x.nodes)-1)
			}
		})
	}
	return x, breach, path
}

// first is the first breach of those that are looked for.
func (x *explorer) first(breaches ...string) string {
	for _, b := range breaches {
		if b != "" && strings.HasPrefix(b, x.rules.harm) {
			return b
		}
	}
	return ""
}

// path is how a world was reached.
func (x *explorer) path(at int) (steps []step) {
	for ; x.nodes[at].parent >= 0; at = int(x.nodes[at].parent) {
		steps = append([]step{x.nodes[at].step}, steps...)
	}
	return steps
}

// unfinishable: from wherever a job stands the server can bring it to its end
// by itself with one agent that works (I1).
func (x *explorer) unfinishable(w *world) string {
	j := x.job(w)
	if j.State.Terminal() {
		x.endings[j.State]++
		return ""
	}
	if x.rescued[w.now.job] {
		return ""
	}
	x.rescued[w.now.job] = true
	if j.State.Leased() {
		c, err := x.rules.expire(j, j.LeaseID, j.LeaseVer, epoch)
		if err != nil {
			return "I1: a leased job cannot expire: " + err.Error()
		}
		if j = c.Job; j.State.Terminal() {
			return ""
		}
	}
	const rescue qgjob.LeaseID = "rescue"
	c, err := x.rules.offer(j, rescue, "c", 1, epoch)
	if err != nil {
		return "I1: a waiting job cannot be offered: " + err.Error()
	}
	if c, _, err = x.rules.start(c.Job, rescue, epoch); err != nil {
		return "I1: an offer cannot be started: " + err.Error()
	}
	c, err = x.rules.complete(c.Job, lease.Attempt{LeaseID: rescue}, lease.Result{Outcome: qgjob.OutcomePassed, Digest: "r"}, epoch, 0)
	if err != nil || c.Job.State != qgjob.Passed {
		return fmt.Sprintf("I1: a running test cannot pass: %v", err)
	}
	return ""
}

// exploration is a bounded piece of the whole: everything at once would be too
// many worlds for a fast test. Deep is used with QGJOB_SLOW.
type exploration struct {
	name       string
	fast, deep bounds
	reaches    []qgjob.JobState // endings that it must come to
	late       bool             // it must come to a late result
}

var explorations = []exploration{
	{
		name:    "expiry and cancel",
		fast:    bounds{leases: 3, renews: 1, expiries: 2, cancels: 1, tests: 1, verdicts: []uint8{passed, failed}},
		deep:    bounds{leases: 3, renews: 1, expiries: 2, releases: 1, cancels: 1, tests: 2, verdicts: []uint8{passed, failed}},
		reaches: []qgjob.JobState{qgjob.Passed, qgjob.Failed, qgjob.Cancelled}, late: true,
	},
	{
		name:    "crash and expiry",
		fast:    bounds{leases: 3, expiries: 1, crashes: 2, tests: 1, verdicts: []uint8{passed, failed}},
		deep:    bounds{leases: 4, renews: 1, expiries: 1, crashes: 2, cancels: 1, tests: 1, verdicts: []uint8{passed, failed}},
		reaches: []qgjob.JobState{qgjob.Passed, qgjob.Failed}, late: true,
	},
	{
		name:    "budgets",
		fast:    bounds{leases: 4, expiries: 3, tests: 1, verdicts: []uint8{passed, errored}},
		deep:    bounds{leases: 4, expiries: 3, timeouts: 1, cancels: 1, tests: 2, verdicts: []uint8{passed, failed, errored, interrupted}},
		reaches: []qgjob.JobState{qgjob.Passed, qgjob.Errored}, late: true,
	},
	{
		name:    "retries and returns",
		fast:    bounds{leases: 3, expiries: 1, releases: 1, timeouts: 1, tests: 2, verdicts: []uint8{passed, failed, interrupted}},
		deep:    bounds{leases: 4, expiries: 1, releases: 1, timeouts: 1, cancels: 1, tests: 3, verdicts: []uint8{passed, failed, interrupted, cancelled}},
		reaches: []qgjob.JobState{qgjob.Passed, qgjob.Failed}, late: true,
	},
	{
		name:    "failover",
		fast:    bounds{leases: 3, renews: 1, expiries: 1, failovers: 1, tests: 1, verdicts: []uint8{passed, failed}},
		deep:    bounds{leases: 4, renews: 1, expiries: 2, failovers: 1, tests: 1, verdicts: []uint8{passed, failed}},
		reaches: []qgjob.JobState{qgjob.Passed}, late: true,
	},
}

// TestExplorer finds nothing wrong with the real transitions.
func TestExplorer(t *testing.T) {
	slow := os.Getenv("QGJOB_SLOW") != ""
	for _, e := range explorations {
		t.Run(e.name, func(t *testing.T) {
			b, limit := e.fast, 400_000
			if slow {
				b, limit = e.deep, 2_000_000
			}
			x, breach, path := explore(theRules(), b, limit)
			t.Logf("%d worlds, %d steps, %d late results, endings %v, all seen: %t", len(x.nodes), x.edges, x.late, x.endings, len(x.nodes) < limit)
			if breach != "" {
				t.Fatalf("%s\n%s", breach, tellPath(path))
			}
			if !slow && len(x.nodes) >= limit {
				t.Errorf("more than %d worlds: the bounds are too wide to see all of them", limit)
			}
			for _, end := range e.reaches {
				if x.endings[end] == 0 {
					t.Errorf("no history ends %s: the exploration sees too little", end)
				}
			}
			if e.late && x.late == 0 {
				t.Error("no late result was taken: the exploration sees too little")
			}
		})
	}
}

// TestExplorerMoves: every move that the model knows happens in some
// exploration, so that none of them is dead wood.
func TestExplorerMoves(t *testing.T) {
	var moved [moves]int
	for _, e := range explorations {
		x, _, _ := explore(theRules(), e.fast, 400_000)
		for m, n := range x.moved {
			moved[m] += n
		}
	}
	for m, n := range moved {
		if n == 0 {
			t.Errorf("never happened: %s", moveNames[m])
		}
	}
}

// TestExplorerWithoutLoss is I12 in full: when nothing is lost, returned or
// retried, a job is started exactly once and ends by that start.
func TestExplorerWithoutLoss(t *testing.T) {
	x, breach, path := explore(theRules(), bounds{leases: 3, renews: 1, releases: 2, tests: 1, verdicts: []uint8{passed, failed}}, 400_000)
	if breach != "" {
		t.Fatalf("%s\n%s", breach, tellPath(path))
	}
	ended := 0
	for i := range x.nodes {
		j := x.nodes[i].now.job
		if j.starts > 1 {
			t.Fatalf("started %d times without a loss\n%s", j.starts, tellPath(x.path(i)))
		}
		if qgjob.JobStates[j.state].Terminal() {
			ended++
			if j.starts != 1 {
				t.Fatalf("ended after %d starts\n%s", j.starts, tellPath(x.path(i)))
			}
		}
	}
	if ended == 0 {
		t.Error("no history ends")
	}
}

// TestExplorerKeepsEverything: what the explorer stores of a job is all that
// the transitions read, so storing and reading loses nothing.
func TestExplorerKeepsEverything(t *testing.T) {
	x, _, _ := explore(theRules(), bounds{leases: 2, renews: 1, expiries: 1, cancels: 1, tests: 2, verdicts: []uint8{passed, failed}}, 20_000)
	for i := range x.nodes {
		w := x.nodes[i].world
		before := w
		x.keep(&w, x.job(&w))
		if w != before {
			t.Fatalf("a world changed by being read and written: %+v, was %+v", w.now.job, before.now.job)
		}
	}
}

func tellPath(path []step) string {
	var b strings.Builder
	for i, s := range path {
		fmt.Fprintf(&b, "  %2d %s\n", i+1, s)
	}
	return b.String()
}
