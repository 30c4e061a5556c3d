package cli

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/qualgent/qgjob"
)

func at(s int) time.Time { return day.Add(time.Duration(s) * time.Second) }

func ev(kind qgjob.EventKind, job qgjob.JobID, s int, change func(*qgjob.Event)) qgjob.Event {
	e := qgjob.Event{Seq: int64(s), Kind: kind, At: at(s), RunID: 1, JobID: &job, TestPath: fmt.Sprintf("tests/%c.spec.js", 'a'+rune(job-1))}
	if change != nil {
		change(&e)
	}
	return e
}

func sampleProgress() *progress {
	p := newProgress(1, 0)
	p.began = at(0)
	var jobs []qgjob.Job
	for id := range qgjob.JobID(4) {
		jobs = append(jobs, qgjob.Job{JobID: id + 1, RunID: 1, TestPath: fmt.Sprintf("tests/%c.spec.js", 'a'+rune(id)), Status: qgjob.Queued})
	}
	p.load(jobs)
	p.apply(ev(qgjob.EventJobAssigned, 1, 1, func(e *qgjob.Event) { e.Status, e.AgentID = qgjob.Assigned, "a1" }))
	p.apply(ev(qgjob.EventJobStarted, 1, 2, func(e *qgjob.Event) { e.Status, e.AgentID, e.Attempt = qgjob.Running, "a1", 1 }))
	p.apply(ev(qgjob.EventJobFinished, 1, 5, func(e *qgjob.Event) {
		e.Status, e.AgentID, e.Install, e.InstallMS, e.TestMS = qgjob.Passed, "a1", qgjob.InstallDone, 1500, 3000
	}))
	p.apply(ev(qgjob.EventJobStarted, 2, 6, func(e *qgjob.Event) { e.Status, e.AgentID = qgjob.Running, "a1" }))
	p.apply(ev(qgjob.EventJobAssigned, 3, 7, func(e *qgjob.Event) { e.Status, e.AgentID = qgjob.Assigned, "a2" }))
	return p
}

func TestFrame(t *testing.T) {
	p := sampleProgress()
	got := p.frame(at(66), 100, paint{})
	want := []string{
		"run_1  ██████░░░░░░░░░░░░░░░░░░  1/4  1 passed, 2 running, 1 queued  1m06s",
		"  a1  job_2  tests/b.spec.js  1m00s",
		"  a2  job_3  tests/c.spec.js  waiting for its start",
		"  installs: 1 done (1.5s), 0 avoided",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	p.lost, p.lostAt, p.note = "no answer from the server at http://x", at(60), "cancelling run_1"
	got = p.frame(at(66), 100, paint{})
	if !slices.Equal(got[4:], []string{"  cancelling run_1", "  no answer from the server at http://x; trying again for 6.0s now"}) {
		t.Errorf("got %q", got[4:])
	}
}

// TestFrameFits: no line is wider than the terminal, however long the names
// are and whatever they hold, and the region has a bounded height.
func TestFrameFits(t *testing.T) {
	p := newProgress(1, 0)
	p.began = at(0)
	for id := range qgjob.JobID(500) {
		p.apply(ev(qgjob.EventJobStarted, id+1, 1, func(e *qgjob.Event) {
			e.Status, e.AgentID = qgjob.Running, qgjob.AgentID(strings.Repeat("手机", 30))
			e.TestPath = strings.Repeat("x\x1b[31m\n", 60)
		}))
	}
	p.lost = strings.Repeat("lost ", 50)
	for _, cols := range []int{20, 40, 80, 200} {
		for _, on := range []bool{false, true} {
			frame := p.frame(at(10), cols, paint{on: on})
			if len(frame) > maxShownRunning+4 {
				t.Errorf("%d lines", len(frame))
			}
			for _, l := range frame {
				if w := lipgloss.Width(l); w > cols || strings.Contains(l, "\n") {
					t.Errorf("%d columns of %d: %q", w, cols, l)
				}
				if !on && strings.ContainsRune(l, 0x1b) {
					t.Errorf("an escape sequence in %q", l)
				}
			}
		}
	}
}

func TestHeartbeat(t *testing.T) {
	p := sampleProgress()
	if got := p.heartbeat(at(95)); got != "run_1: 1 passed, 2 running, 1 queued of 4 after 1m35s" {
		t.Error(got)
	}
	p.lost = "no answer"
	if got := p.heartbeat(at(95)); !strings.HasSuffix(got, "; no answer, trying again") {
		t.Error(got)
	}
}

func TestLines(t *testing.T) {
	for _, test := range []struct {
		name string
		e    qgjob.Event
		want string // "" for none
		loud bool
	}{
		{"passed", ev(qgjob.EventJobFinished, 2, 9, func(e *qgjob.Event) { e.Status, e.AgentID, e.TestMS = qgjob.Passed, "a1", 1234 }),
			"passed     job_2  tests/b.spec.js  1.2s  on a1", false},
		{"flaky", ev(qgjob.EventJobFinished, 2, 9, func(e *qgjob.Event) { e.Status, e.Flaky = qgjob.Passed, true }),
			"passed     job_2  tests/b.spec.js  flaky", true},
		{"failed", ev(qgjob.EventJobFinished, 2, 9, func(e *qgjob.Event) {
			e.Status, e.Reason, e.Message = qgjob.Failed, qgjob.ReasonAssertion, "\x1b[2Kexpected\x07 1\nsecond line"
		}), "failed     job_2  tests/b.spec.js  assertion: expected 1", true},
		{"again", ev(qgjob.EventJobRequeued, 2, 9, func(e *qgjob.Event) { e.Status, e.Reason = qgjob.Queued, qgjob.ReasonAgentLost }),
			"again      job_2  tests/b.spec.js  agent_lost", true},
		{"evil name", ev(qgjob.EventJobFinished, 2, 9, func(e *qgjob.Event) { e.Status, e.TestPath = qgjob.Passed, "a\x1b]0;x\x07\nb" }),
			"passed     job_2  a b", false},
		{"started", ev(qgjob.EventJobStarted, 2, 9, nil), "", false},
		{"of tomorrow", ev("job.paused", 2, 9, nil), "", false},
	} {
		l, ok := sampleProgress().apply(test.e)
		if ok != (test.want != "") || (ok && (l.text(paint{}) != test.want || l.loud() != test.loud)) {
			t.Errorf("%s: %q %v, want %q", test.name, l.text(paint{}), l.loud(), test.want)
		}
	}
}

// TestReplayDoesNotUndo: the list knows that a job has ended; its older events
// come again, and move nothing.
func TestReplayDoesNotUndo(t *testing.T) {
	p := newProgress(1, 0)
	p.load([]qgjob.Job{{JobID: 1, RunID: 1, Status: qgjob.Passed}})
	p.apply(ev(qgjob.EventJobStarted, 1, 1, func(e *qgjob.Event) { e.Status = qgjob.Running }))
	if got := p.tally(); got.Passed != 1 || got.Running != 0 {
		t.Errorf("%+v", got)
	}
	p.apply(ev(qgjob.EventJobFinished, 1, 2, func(e *qgjob.Event) { e.Status = qgjob.Failed }))
	if got := p.tally(); got.Passed != 1 || got.Failed != 0 {
		t.Errorf("a terminal state was left: %+v", got)
	}
}

func TestOnlyOneJob(t *testing.T) {
	p := newProgress(1, 2)
	p.load([]qgjob.Job{{JobID: 1, Status: qgjob.Failed}, {JobID: 2, Status: qgjob.Queued}})
	if _, ok := p.apply(ev(qgjob.EventJobFinished, 1, 2, nil)); ok || p.tally().Total != 1 {
		t.Errorf("another job counts: %+v", p.tally())
	}
}

func TestRanked(t *testing.T) {
	r := newResult(qgjob.Run{}, []qgjob.Job{
		{JobID: 1, Status: qgjob.Passed}, {JobID: 10, Status: qgjob.Failed}, {JobID: 8, Status: qgjob.Failed}, {JobID: 3, Status: qgjob.Cancelled},
		{JobID: 4, Status: qgjob.Errored}, {JobID: 5, Status: qgjob.Passed, Flaky: true}, {JobID: 6, Status: qgjob.Queued},
	})
	var got []string
	for _, j := range r.ranked() {
		got = append(got, j.JobID.String())
	}
	if strings.Join(got, " ") != "job_8 job_10 job_4 job_3 job_6 job_5 job_1" {
		t.Error(got)
	}
}

func TestSummaryOfAGreatRun(t *testing.T) {
	out := newWatched()
	a := &app{printer: newPrinter(out, newWatched(), nil)}
	var jobs []qgjob.Job
	for id := range qgjob.JobID(1000) {
		jobs = append(jobs, qgjob.Job{JobID: id + 1, RunID: 1, Status: qgjob.Passed, TestPath: "t", SubmittedAt: at(0)})
	}
	jobs[500].Status, jobs[500].Message = qgjob.Failed, strings.Repeat("line\n", 100)
	a.summary(newResult(qgjob.Run{RunID: 1}, jobs), subject{run: 1})
	text := out.String()
	if !strings.Contains(text, "failed  job_501") || !strings.Contains(text, "and 999 jobs that passed") || strings.Count(text, "\n") > 30 {
		t.Errorf("%d lines\n%s", strings.Count(text, "\n"), text)
	}
}

func TestScreen(t *testing.T) {
	out := newWatched()
	s := &screen{p: newPrinter(newWatched(), out, nil)}
	s.draw(nil, []string{"one", "two"})
	s.draw([]string{"kept"}, []string{"three"})
	s.draw(nil, nil)
	if got := out.String(); got != "one\ntwo\n\x1b[2A\r\x1b[Jkept\nthree\n\x1b[1A\r\x1b[J" {
		t.Errorf("%q", got)
	}
}

// TestReusedIsMarked: a pass that ran nothing says so, while one waits and in the end.
func TestReusedIsMarked(t *testing.T) {
	from, id := qgjob.JobID(3), qgjob.JobID(9)
	if got := noteOf(qgjob.Job{JobID: id, Status: qgjob.Passed, Reason: qgjob.ReasonReused, ReusedFrom: &from}); got != "taken over from job_3" {
		t.Errorf("in the table: %q", got)
	}
	p := newProgress(7, 0)
	p.load([]qgjob.Job{{JobID: id, RunID: 7, Status: qgjob.Queued}})
	l, ok := p.apply(qgjob.Event{Kind: qgjob.EventJobFinished, RunID: 7, JobID: &id, Status: qgjob.Passed, Reason: qgjob.ReasonReused, Message: "taken over from job_3"})
	if !ok || !strings.Contains(l.note, "taken over from job_3") {
		t.Errorf("on the way: %+v", l)
	}
}
