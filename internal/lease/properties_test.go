package lease_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

// given is a lease that the job once had: what the server keeps of it, and
// what a client of the protocol believes.
type given struct {
	lease.Attempt
	looked  int64 // the lease's version when a sweep last looked
	looks   bool
	started bool
	result  lease.Result // the one that was taken
}

// ledger is an independent book of one job's life, kept from what was asked
// and answered, never from how the transitions work.
type ledger struct {
	job     lease.Job
	now     time.Time
	leases  []*given
	starts  int
	events  []qgjob.EventKind
	results int // taken, by attempts that ended so
	asked   bool
}

func newLedger(t *rapid.T) *ledger {
	return &ledger{now: at, job: lease.Job{State: qgjob.Queued, MaxTestAttempts: rapid.IntRange(1, 4).Draw(t, "test attempts"), Timeout: time.Minute}}
}

// some draws a lease, the newest as often as all others together.
func (l *ledger) some(t *rapid.T) *given {
	if rapid.Bool().Draw(t, "newest") {
		return l.leases[len(l.leases)-1]
	}
	return rapid.SampledFrom(l.leases).Draw(t, "lease")
}

// took writes down what an event made of the job, and checks the change.
func (l *ledger) took(t *rapid.T, c lease.Change, err error) bool {
	before := l.job
	if err != nil {
		if qgjob.KindOf(err) != qgjob.KindConflict || c.Event != "" || c.Attempt != nil || c.Job != (lease.Job{}) {
			t.Fatalf("a refusal with effects or of a wrong kind: %v %+v", err, c)
		}
		return false
	}
	moved := c.Job.State != before.State
	if moved && !qgjob.CanMove(before.State, c.Job.State) {
		t.Fatalf("illegal move %s → %s", before.State, c.Job.State)
	}
	if before.State.Terminal() && c.Job != before {
		t.Fatalf("I2: changed after its end:\n%+v\n%+v", before, c.Job)
	}
	if changed := moved || c.Attempt != nil; changed != (c.Event != "") {
		t.Fatalf("event %q of a change from %s to %s", c.Event, before.State, c.Job.State)
	}
	if want := l.eventFor(before, c); c.Event != want {
		t.Fatalf("event %q, want %q for %s → %s", c.Event, want, before.State, c.Job.State)
	}
	if c.Event != "" {
		l.events = append(l.events, c.Event)
	}
	if c.Attempt != nil {
		l.end(t, c.Attempt)
	}
	l.job = c.Job
	return true
}

// eventFor is the event that tells of a state, by the state alone.
func (l *ledger) eventFor(before lease.Job, c lease.Change) qgjob.EventKind {
	if c.Job.State == before.State && c.Attempt == nil {
		return ""
	}
	switch c.Job.State {
	case qgjob.Queued:
		return qgjob.EventJobRequeued
	case qgjob.Assigned:
		return qgjob.EventJobAssigned
	case qgjob.Running:
		return qgjob.EventJobStarted
	case qgjob.Cancelling:
		return qgjob.EventJobCancelling
	}
	return qgjob.EventJobFinished
}

func (l *ledger) end(t *rapid.T, e *lease.Ended) {
	for _, g := range l.leases {
		if g.LeaseID != e.LeaseID {
			continue
		}
		if g.Outcome != "" && g.Outcome != qgjob.OutcomeLost {
			t.Fatalf("attempt %s ended as %s and again as %s", g.LeaseID, g.Outcome, e.Outcome)
		}
		if g.Outcome == qgjob.OutcomeLost && g != l.leases[len(l.leases)-1] {
			t.Fatalf("I3: the lost attempt %s was taken back though a newer one was given", g.LeaseID)
		}
		g.Outcome = e.Outcome
		return
	}
	t.Fatalf("an attempt ended that nobody was given: %+v", e)
}

// actions are everything that can be said to the protocol, sensible or not.
func (l *ledger) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"wait":    func(t *rapid.T) { l.now = l.now.Add(time.Duration(rapid.Int64Range(1, 90).Draw(t, "s")) * time.Second) },
		"offer":   l.offer,
		"start":   l.start,
		"renew":   l.renew,
		"look":    func(*rapid.T) { l.look() },
		"expire":  l.expire,
		"lose":    func(t *rapid.T) { l.look(); l.expire(t) },
		"release": l.release,
		"timeout": l.timeout,
		"cancel":  l.cancel,
		"result":  l.result,
		"go":      func(t *rapid.T) { l.offer(t); l.start(t) },
		"repeat":  l.repeat,
	}
}

func (l *ledger) offer(t *rapid.T) {
	id := qgjob.LeaseID(fmt.Sprintf("%032x", len(l.leases)+1))
	c, err := lease.Offer(l.job, id, rapid.SampledFrom([]qgjob.AgentID{"a", "b"}).Draw(t, "agent"), 1, l.now)
	if may := l.job.State == qgjob.Queued && !l.now.Before(l.job.ReadyAt); may != (err == nil) {
		t.Fatalf("offer of a job that is %s, ready %s: %v", l.job.State, l.job.ReadyAt.Sub(l.now), err)
	}
	if err == nil {
		l.leases = append(l.leases, &given{Attempt: lease.Attempt{LeaseID: id}})
	}
	l.took(t, c, err)
}

func (l *ledger) start(t *rapid.T) {
	g := l.some(t)
	before := l.job
	c, answer, err := lease.Start(l.job, g.LeaseID, l.now)
	ok := l.took(t, c, err)
	if live := g.Outcome == ""; live != ok || ok == (answer == qgjob.LeaseStale) {
		t.Fatalf("start of an attempt that is %q: %s %v", g.Outcome, answer, err)
	}
	if ok && answer == qgjob.LeaseOK && !g.started {
		g.started = true
		l.starts++
	}
	if ok && answer == qgjob.LeaseCancel != (before.State == qgjob.Cancelling) {
		t.Fatalf("%s answered with %s", before.State, answer)
	}
}

func (l *ledger) renew(t *rapid.T) {
	g := l.some(t)
	j, answer := lease.Renew(l.job, g.LeaseID)
	want := qgjob.LeaseStale
	switch {
	case g.Outcome == "" && l.job.CancelRequested:
		want = qgjob.LeaseCancel
	case g.Outcome == "":
		want = qgjob.LeaseOK
	}
	if answer != want {
		t.Fatalf("renewal of an attempt that is %q of a job that is %s: %s, want %s", g.Outcome, l.job.State, answer, want)
	}
	l.job.LeaseVer = j.LeaseVer
	if j != l.job {
		t.Fatalf("a renewal changed more than the version: %+v", j)
	}
}

func (l *ledger) look() {
	if len(l.leases) == 0 {
		return
	}
	g := l.leases[len(l.leases)-1]
	g.looked, g.looks = l.job.LeaseVer, g.Outcome == ""
}

func (l *ledger) expire(t *rapid.T) {
	g := l.some(t)
	if !g.looks {
		return // no sweep saw it live
	}
	fresh := g.Outcome == "" && g.looked == l.job.LeaseVer
	started := g.started
	c, err := lease.Expire(l.job, g.LeaseID, g.looked, l.now)
	if ok := l.took(t, c, err); ok != fresh {
		t.Fatalf("expiry of an attempt that is %q, seen at version %d of %d: %v", g.Outcome, g.looked, l.job.LeaseVer, err)
	}
	if fresh && started != (g.Outcome == qgjob.OutcomeLost) {
		t.Fatalf("an attempt (started: %t) expired as %s", started, g.Outcome)
	}
}

func (l *ledger) release(t *rapid.T) {
	g := l.some(t)
	live := g.Outcome == "" && !g.started
	c, err := lease.Release(l.job, g.LeaseID, qgjob.ReasonAgentReturned, l.now)
	if ok := l.took(t, c, err); ok != live {
		t.Fatalf("release of an attempt that is %q, started %t: %v", g.Outcome, g.started, err)
	}
}

func (l *ledger) timeout(t *rapid.T) {
	g := l.some(t)
	late := g.Outcome == "" && g.started && !l.now.Before(lease.Deadline(l.job))
	c, err := lease.Timeout(l.job, g.LeaseID, l.now)
	if ok := l.took(t, c, err); ok != late {
		t.Fatalf("timeout %s after the deadline: %v", l.now.Sub(lease.Deadline(l.job)), err)
	}
}

func (l *ledger) cancel(t *rapid.T) {
	before := l.job.State
	c, err := lease.Cancel(l.job, qgjob.ReasonCancelled, "")
	if ok := l.took(t, c, err); ok == before.Terminal() {
		t.Fatalf("cancel of a job that is %s: %v", before, err)
	}
	l.asked = l.asked || err == nil
}

// result completes some attempt with a result that no attempt had before.
func (l *ledger) result(t *rapid.T) {
	g := l.some(t)
	l.results++
	r := lease.Result{Digest: fmt.Sprintf("result %d", l.results), Outcome: rapid.SampledFrom([]qgjob.Outcome{qgjob.OutcomePassed,
		qgjob.OutcomeFailed, qgjob.OutcomeErrored, qgjob.OutcomeCancelled, qgjob.OutcomeInterrupted}).Draw(t, "outcome")}
	before, newest := l.job, g == l.leases[len(l.leases)-1]
	late := g.Outcome == qgjob.OutcomeLost && before.State == qgjob.Queued
	live := g.Outcome == "" && (g.started || before.State == qgjob.Cancelling || r.Outcome == qgjob.OutcomeCancelled || r.Outcome == qgjob.OutcomeInterrupted)
	c, err := lease.Complete(l.job, g.Attempt, r, l.now, rapid.Float64Range(0, 0.999).Draw(t, "jitter"))
	ok := l.took(t, c, err)
	if want := g.Digest == "" && newest && (live || late); ok != want {
		t.Fatalf("I3: a result of an attempt (newest %t, live %t, late %t, had a result %t) of a job that was %s: %v", newest, live, late, g.Digest != "", before.State, err)
	}
	if !ok {
		return
	}
	g.Digest, g.result = r.Digest, r
	if l.job.State == qgjob.Passed && (r.Outcome != qgjob.OutcomePassed || l.job.DoneLease != g.LeaseID) {
		t.Fatalf("passed by %+v", r)
	}
	if late && r.Outcome != qgjob.OutcomeErrored && l.job.InfraFails != before.InfraFails-1 {
		t.Fatalf("a late result left %d of %d infrastructure failures", l.job.InfraFails, before.InfraFails)
	}
}

// repeat sends a result again that was taken before.
func (l *ledger) repeat(t *rapid.T) {
	g := l.some(t)
	if g.Digest == "" {
		return // no result of it was taken
	}
	c, err := lease.Complete(l.job, g.Attempt, g.result, l.now, 0.5)
	if err != nil || c.Job != l.job || c.Event != "" || c.Attempt != nil {
		t.Fatalf("a repeated result changed something or was refused: %+v %v", c, err)
	}
}

// check compares the job with the book after every step.
func (l *ledger) check(t *rapid.T) {
	j := l.job
	burnt := map[qgjob.Outcome]int{}
	live := 0
	for _, g := range l.leases {
		burnt[g.Outcome]++
		if g.Outcome == "" {
			live++
		}
	}
	if live > 1 || (live == 1) != j.State.Leased() {
		t.Fatalf("I4: %d live leases of a job that is %s", live, j.State)
	}
	if j.Starts != l.starts || j.LeaseNo != len(l.leases) {
		t.Fatalf("%d starts and %d leases counted, %d and %d were", j.Starts, j.LeaseNo, l.starts, len(l.leases))
	}
	if l.asked && j.State != qgjob.Cancelling && j.State != qgjob.Cancelled || l.asked != j.CancelRequested {
		t.Fatalf("I5: cancel was acknowledged, the job is %s", j.State)
	}
	if j.TestAttempts > j.MaxTestAttempts || j.InfraFails > qgjob.MaxInfraFails || j.InfraFails < 0 || j.TestAttempts+j.InfraFails > j.Starts {
		t.Fatalf("I8: %d of %d test and %d of %d infrastructure attempts in %d starts", j.TestAttempts, j.MaxTestAttempts, j.InfraFails, qgjob.MaxInfraFails, j.Starts)
	}
	if j.State == qgjob.Errored && (j.InfraFails != qgjob.MaxInfraFails || j.Starts < qgjob.MaxInfraFails) {
		t.Fatalf("I6: errored with %d failures in %d starts", j.InfraFails, j.Starts)
	}
	if j.State == qgjob.Failed && j.TestAttempts != j.MaxTestAttempts {
		t.Fatalf("failed with %d of %d attempts", j.TestAttempts, j.MaxTestAttempts)
	}
	if !l.asked && (j.TestAttempts != burnt[qgjob.OutcomeFailed] || j.InfraFails != burnt[qgjob.OutcomeLost]+burnt[qgjob.OutcomeErrored]) {
		t.Fatalf("I8: the budgets say %d and %d, the attempts %v", j.TestAttempts, j.InfraFails, burnt)
	}
	if j.Flaky != (j.State == qgjob.Passed && j.TestAttempts > 0) {
		t.Fatalf("flaky is %t after %d failed attempts and %s", j.Flaky, j.TestAttempts, j.State)
	}
	if j.ReadyAt.After(l.now.Add(lease.BackoffLimit)) {
		t.Fatalf("waits %s", j.ReadyAt.Sub(l.now))
	}
	finished := 0
	for _, e := range l.events {
		if e == qgjob.EventJobFinished {
			finished++
		}
	}
	if want := map[bool]int{true: 1, false: 0}[j.State.Terminal()]; finished != want {
		t.Fatalf("I2: told %d times that the job ended, it is %s", finished, j.State)
	}
	if j.State.Terminal() && j.State != qgjob.Passed && j.Reason == qgjob.ReasonNone {
		t.Fatalf("%s without a reason", j.State)
	}
	if j.State.Leased() && j.State != qgjob.Cancelling && j.Reason != qgjob.ReasonNone {
		t.Fatalf("%s and still %q", j.State, j.Reason)
	}
}

// TestInvariants plays random sequences of everything that can be said, stale
// and repeated things included, against the book.
func TestInvariants(t *testing.T) {
	endings := map[qgjob.JobState]int{}
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(t)
		actions := l.actions()
		// Not rapid's Repeat: it gives up on a history as soon as most of its
		// actions do nothing, which after a job's end is what they should do.
		cancels := rapid.SampledFrom([]int{0, 5, 20, 40, 80, 1000, 1000, 1000}).Draw(t, "no cancel before")
		for i := range rapid.SampledFrom([]int{10, 50, 150, 250}).Draw(t, "steps") {
			name := rapid.SampledFrom(qgjob.SortedKeys(actions)).Draw(t, "action")
			if name == "cancel" && i < cancels {
				name = "result"
			}
			if len(l.leases) == 0 && name != "wait" && name != "cancel" {
				name = "offer"
			}
			actions[name](t)
			l.check(t)
		}
		endings[l.job.State]++
	})
	for _, state := range []qgjob.JobState{qgjob.Passed, qgjob.Failed, qgjob.Errored, qgjob.Cancelled} {
		if endings[state] == 0 && !t.Failed() {
			t.Errorf("no history ended %s: %v", state, endings)
		}
	}
}

// TestUnchangedBySelf: the transitions write to nothing but their answer, so
// the same event on the same record is answered the same again.
func TestUnchangedBySelf(t *testing.T) {
	for state, s := range situations() {
		for event, o := range occurrences() {
			now := at.Add(o.after)
			first, second := tell(s.job, o.play(s, now), now), tell(s.job, o.play(s, now), now)
			if first != second {
				t.Errorf("%s in %s: first %s, then %s", event, state, first, second)
			}
		}
	}
}

// TestUnknownLeaseMovesNothing: who does not hold the fence moves no job,
// whatever state it is in and whatever is said.
func TestUnknownLeaseMovesNothing(t *testing.T) {
	states := situations()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(qgjob.SortedKeys(states)).Draw(t, "state")
		j := states[name].job
		id := qgjob.LeaseID(rapid.StringMatching(`[0-9a-f]{32}|`).Draw(t, "lease"))
		if id == j.LeaseID && id != "" {
			t.Skip("that is the current one")
		}
		if _, _, err := lease.Start(j, id, at); qgjob.CodeOf(err) != qgjob.CodeStaleLease {
			t.Fatalf("start: %v", err)
		}
		if after, answer := lease.Renew(j, id); answer != qgjob.LeaseStale || after != j {
			t.Fatalf("renew: %s", answer)
		}
		if _, err := lease.Expire(j, id, j.LeaseVer, at); qgjob.CodeOf(err) != qgjob.CodeStaleLease {
			t.Fatalf("expire: %v", err)
		}
		if _, err := lease.Release(j, id, "", at); qgjob.CodeOf(err) != qgjob.CodeStaleLease {
			t.Fatalf("release: %v", err)
		}
		if _, err := lease.Timeout(j, id, at.Add(1000*time.Hour)); qgjob.CodeOf(err) != qgjob.CodeStaleLease {
			t.Fatalf("timeout: %v", err)
		}
	})
}
