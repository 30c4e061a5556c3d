package lease_test

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

// The leases of the table. cur is the newest lease of the job in every state
// but queued, where nobody was given it yet.
const (
	old  qgjob.LeaseID = "0000000000000000000000000000000a"
	cur  qgjob.LeaseID = "0000000000000000000000000000000b"
	next qgjob.LeaseID = "0000000000000000000000000000000c"
)

// at is the instant of the events of the table.
var at = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// situation is a job in one of the table's states, and the attempt of cur.
type situation struct {
	job lease.Job
	cur lease.Attempt
}

// situations are the states that testdata/transitions.txt describes.
func situations() map[string]situation {
	fresh := lease.Job{State: qgjob.Queued, MaxTestAttempts: 3, Timeout: 10 * time.Minute}
	held := fresh
	held.LeaseID, held.LeaseNo, held.LeaseVer, held.Agent, held.Incarnation = cur, 1, 2, "a", 7
	ran := held
	ran.Starts, ran.StartedAt = 1, at.Add(-time.Minute)
	with := func(j lease.Job, a lease.Attempt, edit func(*lease.Job)) situation {
		edit(&j)
		a.LeaseID = cur
		return situation{j, a}
	}
	ended := func(o qgjob.Outcome) lease.Attempt { return lease.Attempt{Outcome: o, Digest: "digest of cur"} }
	live, gone := lease.Attempt{}, lease.Attempt{Outcome: qgjob.OutcomeLost}
	finish := func(s qgjob.JobState, why qgjob.Reason) func(*lease.Job) {
		return func(j *lease.Job) { j.State, j.Reason, j.DoneLease, j.Started = s, why, cur, true }
	}
	waits := func(j *lease.Job, why qgjob.Reason, ready time.Time) {
		j.LeaseID, j.LeaseVer, j.Reason, j.ReadyAt = "", 0, why, ready
	}
	lost := func(j *lease.Job) {
		j.InfraFails, j.Reason, j.ReadyAt, j.AvoidAgent, j.AvoidUntil = 1, qgjob.ReasonAgentLost, at.Add(-time.Second), "a", at.Add(29*time.Second)
	}
	run := func(j *lease.Job) { j.State, j.Started = qgjob.Running, true }
	return map[string]situation{
		"queued": with(fresh, lease.Attempt{Outcome: qgjob.OutcomeReleased}, func(*lease.Job) {}),
		"backoff": with(ran, ended(qgjob.OutcomeFailed), func(j *lease.Job) {
			waits(j, qgjob.ReasonAssertion, at.Add(time.Second))
			j.TestAttempts, j.AvoidAgent, j.AvoidUntil = 1, "a", at.Add(20*time.Second)
		}),
		"returned": with(ran, ended(qgjob.OutcomeInterrupted), func(j *lease.Job) { waits(j, qgjob.ReasonAgentReturned, at.Add(-time.Second)) }),
		"released": with(held, lease.Attempt{Outcome: qgjob.OutcomeReleased}, func(j *lease.Job) { waits(j, qgjob.ReasonOfferExpired, at.Add(-time.Second)) }),
		"lost":     with(ran, gone, lost),
		"lost-last": with(ran, gone, func(j *lease.Job) {
			lost(j)
			j.LeaseNo, j.Starts, j.InfraFails, j.TestAttempts = 4, 4, 2, 2
		}),
		"assigned":      with(held, live, func(j *lease.Job) { j.State = qgjob.Assigned }),
		"running":       with(ran, live, run),
		"running-last":  with(ran, live, func(j *lease.Job) { run(j); j.LeaseNo, j.Starts, j.TestAttempts = 3, 3, 2 }),
		"running-infra": with(ran, live, func(j *lease.Job) { run(j); j.LeaseNo, j.Starts, j.InfraFails, j.AvoidAgent = 3, 3, 2, "a" }),
		"cancelling":    with(held, live, func(j *lease.Job) { j.State, j.CancelRequested = qgjob.Cancelling, true }),
		"cancelling-started": with(ran, live, func(j *lease.Job) {
			j.State, j.CancelRequested, j.Started = qgjob.Cancelling, true, true
		}),
		"passed":    with(ran, ended(qgjob.OutcomePassed), finish(qgjob.Passed, qgjob.ReasonNone)),
		"failed":    with(ran, ended(qgjob.OutcomeFailed), finish(qgjob.Failed, qgjob.ReasonAssertion)),
		"cancelled": with(ran, ended(qgjob.OutcomeCancelled), finish(qgjob.Cancelled, qgjob.ReasonCancelled)),
		"errored": with(ran, gone, func(j *lease.Job) {
			finish(qgjob.Errored, qgjob.ReasonPoison)(j)
			j.DoneLease, j.LeaseNo, j.Starts, j.InfraFails = "", 3, 3, 3
		}),
		"cancelled-lost": with(ran, gone, func(j *lease.Job) {
			lost(j)
			j.State, j.Reason, j.CancelRequested = qgjob.Cancelled, qgjob.ReasonCancelled, true
		}),
	}
}

// answered is what came of an event.
type answered struct {
	lease.Change
	answer qgjob.LeaseAnswer
	err    error
	never  bool
}

func got(c lease.Change, err error) answered { return answered{Change: c, err: err} }

func started(c lease.Change, a qgjob.LeaseAnswer, err error) answered {
	return answered{Change: c, answer: a, err: err}
}

func renewed(j lease.Job, a qgjob.LeaseAnswer) answered {
	return answered{Change: lease.Change{Job: j}, answer: a}
}

// completed makes an event of a result; jitter 1/2.
func completed(r lease.Result) func(s situation, now time.Time) answered {
	return func(s situation, now time.Time) answered { return got(lease.Complete(s.job, s.cur, r, now, 0.5)) }
}

// completedOlder makes an event of a result of the lost lease before cur.
func completedOlder(a lease.Attempt, r lease.Result) func(s situation, now time.Time) answered {
	a.LeaseID = old
	return func(s situation, now time.Time) answered { return got(lease.Complete(s.job, a, r, now, 0.5)) }
}

// again makes an event of a second result for an attempt that has one.
func again(digest string) func(s situation, now time.Time) answered {
	return func(s situation, now time.Time) answered {
		if s.cur.Digest == "" {
			return answered{never: true}
		}
		return got(lease.Complete(s.job, s.cur, lease.Result{Outcome: s.cur.Outcome, Digest: digest}, now, 0.5))
	}
}

// occurrence is an event of the table: when it comes, counted from at, and
// what it asks of the code.
type occurrence struct {
	after time.Duration
	play  func(s situation, now time.Time) answered
}

// deadline is when the server ends an attempt that began a minute before at.
const deadline = 10*time.Minute + qgjob.InstallAllowance - time.Minute

func occurrences() map[string]occurrence {
	lostOne, interrupted := lease.Attempt{Outcome: qgjob.OutcomeLost}, lease.Attempt{Outcome: qgjob.OutcomeInterrupted, Digest: "digest of old"}
	offer := func(s situation, now time.Time) answered { return got(lease.Offer(s.job, next, "b", 8, now)) }
	expire := func(id qgjob.LeaseID, behind int64) func(situation, time.Time) answered {
		return func(s situation, now time.Time) answered {
			return got(lease.Expire(s.job, id, s.job.LeaseVer-behind, now))
		}
	}
	timeout := func(id qgjob.LeaseID) func(situation, time.Time) answered {
		return func(s situation, now time.Time) answered { return got(lease.Timeout(s.job, id, now)) }
	}
	result := func(o qgjob.Outcome, why qgjob.Reason) lease.Result {
		return lease.Result{Outcome: o, Reason: why, Digest: "digest of a new result"}
	}
	passed, failed := result(qgjob.OutcomePassed, ""), result(qgjob.OutcomeFailed, qgjob.ReasonAssertion)
	returned := result(qgjob.OutcomeInterrupted, qgjob.ReasonAgentReturned)
	return map[string]occurrence{
		"offer":                    {0, offer},
		"offer after the back-off": {time.Second, offer},
		"start":                    {0, func(s situation, now time.Time) answered { return started(lease.Start(s.job, cur, now)) }},
		"start of the older lease": {0, func(s situation, now time.Time) answered { return started(lease.Start(s.job, old, now)) }},
		"renew":                    {0, func(s situation, _ time.Time) answered { return renewed(lease.Renew(s.job, cur)) }},
		"renew of the older lease": {0, func(s situation, _ time.Time) answered { return renewed(lease.Renew(s.job, old)) }},
		"cancel":                   {0, func(s situation, _ time.Time) answered { return got(lease.Cancel(s.job, qgjob.ReasonCancelled, "")) }},
		"release": {0, func(s situation, now time.Time) answered {
			return got(lease.Release(s.job, cur, qgjob.ReasonOfferExpired, now))
		}},
		"release of the older lease": {0, func(s situation, now time.Time) answered {
			return got(lease.Release(s.job, old, qgjob.ReasonOfferExpired, now))
		}},
		"expire": {0, expire(cur, 0)},
		"expire after a renewal that the sweeper did not see": {0, expire(cur, 1)},
		"expire of the older lease":                           {0, expire(old, 0)},
		"timeout":                                             {deadline, timeout(cur)},
		"timeout a moment too early":                          {deadline - 1, timeout(cur)},
		"timeout of the older lease":                          {deadline, timeout(old)},
		"complete passed":                                     {0, completed(passed)},
		"complete failed":                                     {0, completed(failed)},
		"complete failed, without a reason":                   {0, completed(result(qgjob.OutcomeFailed, ""))},
		"complete errored":                                    {0, completed(result(qgjob.OutcomeErrored, qgjob.ReasonDevice))},
		"complete interrupted":                                {0, completed(returned)},
		"complete cancelled":                                  {0, completed(result(qgjob.OutcomeCancelled, qgjob.ReasonCancelled))},
		"complete of the older lease, passed":                 {0, completedOlder(lostOne, passed)},
		"complete of the older lease, failed":                 {0, completedOlder(lostOne, failed)},
		"complete of the older lease, interrupted":            {0, completedOlder(lostOne, returned)},
		"complete again, same digest":                         {0, again("digest of cur")},
		"complete again, other digest":                        {0, again("digest of a new result")},
		"complete of the older lease again, same digest": {0, completedOlder(interrupted,
			lease.Result{Outcome: qgjob.OutcomeInterrupted, Digest: "digest of old"})},
		"complete of the older lease again, other digest": {0, completedOlder(interrupted, passed)},
	}
}

// row is one line of the table for one state.
type row struct {
	event, state, want string
	line               int
}

// readTable parses testdata/transitions.txt.
func readTable(t *testing.T) []row {
	t.Helper()
	text, err := os.ReadFile("testdata/transitions.txt")
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	event := ""
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		if name, ok := strings.CutPrefix(line, "== "); ok {
			event = name
			continue
		}
		states, want, ok := strings.Cut(line, ": ")
		if !ok || event == "" {
			t.Fatalf("transitions.txt:%d: not a row: %s", i+1, line)
		}
		for _, state := range strings.Split(states, ", ") {
			rows = append(rows, row{event, state, want, i + 1})
		}
	}
	return rows
}

// TestTransitions plays every row of the table.
func TestTransitions(t *testing.T) {
	states, events := situations(), occurrences()
	for _, r := range readTable(t) {
		t.Run(r.event+"/"+r.state, func(t *testing.T) {
			s, known := states[r.state]
			o, happens := events[r.event]
			if !known || !happens {
				t.Fatalf("transitions.txt:%d: no such state or event", r.line)
			}
			now := at.Add(o.after)
			if got := tell(s.job, o.play(s, now), now); got != r.want {
				t.Errorf("transitions.txt:%d\n got  %s\n want %s", r.line, got, r.want)
			}
		})
	}
}

// TestTransitionsComplete counts the rows: every event in every state once,
// and every state of a job among the states.
func TestTransitionsComplete(t *testing.T) {
	seen := map[string]int{}
	for _, r := range readTable(t) {
		seen[r.event+" / "+r.state]++
	}
	covered := map[qgjob.JobState]bool{}
	for state, s := range situations() {
		covered[s.job.State] = true
		for event := range occurrences() {
			if n := seen[event+" / "+state]; n != 1 {
				t.Errorf("%s / %s: %d rows, want 1", event, state, n)
			}
		}
	}
	for _, state := range qgjob.JobStates {
		if !covered[state] {
			t.Errorf("state %s is missing", state)
		}
	}
	if want := len(situations()) * len(occurrences()); len(seen) != want {
		t.Errorf("the table names %d pairs, want %d", len(seen), want)
	}
}

// tell writes what came of an event in the words of the table.
func tell(before lease.Job, a answered, now time.Time) string {
	if a.never {
		return "never"
	}
	answer := ""
	if a.answer != "" {
		answer = " answer " + string(a.answer)
	}
	if a.err != nil {
		if qgjob.KindOf(a.err) != qgjob.KindConflict || !reflect.ValueOf(a.Change).IsZero() {
			return fmt.Sprintf("wrong refusal: %v %+v", a.err, a.Change)
		}
		code := qgjob.CodeOf(a.err)
		if code == "" {
			code = "conflict"
		}
		return "refused " + code
	}
	changes := differences(before, a.Job, now)
	if changes == "" && a.Attempt == nil && a.Event == "" {
		return "nothing" + answer
	}
	attempt := "-"
	if a.Attempt != nil {
		attempt = fmt.Sprintf("attempt %s %s", a.Attempt.Outcome, orNone(string(a.Attempt.Reason)))
		if a.Attempt.LeaseID != before.LeaseID {
			attempt += " of another lease"
		}
	}
	return fmt.Sprintf("%s | %s | %s", changes, attempt, strings.TrimSpace(string(a.Event)+answer))
}

// differences names every field of a job that changed but its message, whose
// wording has tests of its own.
func differences(before, after lease.Job, now time.Time) string {
	var out []string
	b, a := reflect.ValueOf(before), reflect.ValueOf(after)
	for i := range b.NumField() {
		name := b.Type().Field(i).Name
		was, is := b.Field(i).Interface(), a.Field(i).Interface()
		if name == "Message" || was == is {
			continue
		}
		switch is := is.(type) {
		case int:
			out = append(out, fmt.Sprintf("%s%+d", name, is-was.(int)))
		case int64:
			if d := is - was.(int64); d == 1 && name != "Incarnation" {
				out = append(out, name+"+1")
			} else {
				out = append(out, fmt.Sprintf("%s=%d", name, is))
			}
		case time.Time:
			out = append(out, name+"="+instant(is, now))
		case qgjob.LeaseID:
			out = append(out, name+"="+map[qgjob.LeaseID]string{"": "none", old: "old", cur: "cur", next: "new"}[is])
		default:
			out = append(out, name+"="+orNone(fmt.Sprint(is)))
		}
	}
	return strings.Join(out, " ")
}

func instant(t, now time.Time) string {
	switch d := t.Sub(now); {
	case t.IsZero():
		return "none"
	case d == 0:
		return "now"
	default:
		return "now+" + d.String()
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
