//go:build unix

package faults_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// report counts what rounds did and found. It is printed whatever happens.
type report struct {
	mu     sync.Mutex
	name   string
	rounds int
	faults map[string]int
	latest []string // faults since they were last asked for
	counts map[string]int
	times  map[string][]time.Duration
}

// The counts that every report prints, in this order.
const (
	accepted     = "jobs accepted"
	lost         = "lost"
	endedTwice   = "ended twice"
	wrongVerdict = "wrong verdicts"
	staleOffered = "stale completions offered"
	staleRefused = "stale completions refused"
	staleZombies = "  of them by agents that came back"
	staleTaken   = "stale completions accepted"
	duplicates   = "jobs that ran more than once"
	lostAttempts = "attempts lost"
	poisoned     = "jobs errored after three lost agents"
	cancelled    = "jobs cancelled"
	sameKey      = "submits repeated with the same key"
	wholeLogs    = "logs found whole"
	cliRuns      = "runs waited for by the command line"
	promotes     = "standbys promoted"
	writesIn     = "from the kill of a primary to all servers ready, with a new standby"
	settledIn    = "from the end of the faults to the end of the last job"
	elsewhereIn  = "from the kill of an agent to its job running elsewhere"
)

var order = []string{accepted, lost, endedTwice, wrongVerdict, staleOffered, staleRefused, staleZombies, staleTaken, duplicates, lostAttempts, poisoned, cancelled, sameKey, wholeLogs, cliRuns, promotes}

func newReport(t *testing.T, name string) *report {
	r := &report{name: name, faults: map[string]int{}, counts: map[string]int{}, times: map[string][]time.Duration{}}
	t.Cleanup(func() { t.Log(r.String()) })
	return r
}

func (r *report) fault(kind string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latest = append(r.latest, kind)
	r.faults[kind]++
}

func (r *report) count(what string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[what] += n
}

func (r *report) took(what string, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times[what] = append(r.times[what], d)
}

// since gives the faults since it was last asked.
func (r *report) since() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.latest
	r.latest = nil
	return out
}

// String is the report as people read it.
func (r *report) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "report of %s: %d rounds\n", r.name, r.rounds)
	total := 0
	for _, n := range r.faults {
		total += n
	}
	if total > 0 {
		fmt.Fprintf(&b, "  faults injected: %d\n", total)
	}
	for _, kind := range slices.Sorted(maps.Keys(r.faults)) {
		fmt.Fprintf(&b, "    %-44s %6d\n", kind, r.faults[kind])
	}
	if r.rounds > 0 {
		for _, what := range order {
			fmt.Fprintf(&b, "  %-46s %6d\n", what, r.counts[what])
		}
	}
	for _, what := range slices.Sorted(maps.Keys(r.times)) {
		d := slices.Sorted(slices.Values(r.times[what]))
		fmt.Fprintf(&b, "  %s: %d times, median %v, 95 %% %v, max %v\n", what, len(d),
			d[len(d)/2].Round(time.Millisecond), d[len(d)*95/100].Round(time.Millisecond), d[len(d)-1].Round(time.Millisecond))
	}
	return b.String()
}
