package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
)

// progress is what a wait knows so far. It is fed by lists and events, and
// drawn by pure functions of it.
type progress struct {
	run     qgjob.RunID
	only    qgjob.JobID // 0: the whole run
	jobs    map[qgjob.JobID]*qgjob.Job
	began   time.Time
	lost    string // why the server cannot be reached; "" while it can
	lostAt  time.Time
	note    string // what an interrupt has begun
	install installs
}

// installs are counted, never computed.
type installs struct {
	done, avoided int
	ms            int64
}

func newProgress(run qgjob.RunID, only qgjob.JobID) *progress {
	return &progress{run: run, only: only, jobs: map[qgjob.JobID]*qgjob.Job{}}
}

// load takes the server's list of jobs.
func (p *progress) load(jobs []qgjob.Job) {
	for _, j := range jobs {
		if p.mine(j.JobID) {
			p.jobs[j.JobID] = &j
		}
	}
}

func (p *progress) mine(id qgjob.JobID) bool { return p.only == 0 || id == p.only }

// apply takes one event and returns the line that it is worth, if any. Events
// are replayed from the first, so one about a job that is known to have ended
// no longer moves it.
func (p *progress) apply(e qgjob.Event) (line, bool) {
	if e.JobID == nil || !p.mine(*e.JobID) {
		return line{}, false
	}
	j := p.jobs[*e.JobID]
	if j == nil {
		j = &qgjob.Job{JobID: *e.JobID, RunID: e.RunID, TestPath: e.TestPath, Status: qgjob.Queued, SubmittedAt: e.At}
		p.jobs[j.JobID] = j
	}
	if !j.Status.Terminal() {
		move(j, e)
	}
	if e.Kind != qgjob.EventJobFinished && e.Kind != qgjob.EventJobRequeued {
		return line{}, false
	}
	switch e.Install {
	case qgjob.InstallDone:
		p.install.done++
		p.install.ms += e.InstallMS
	case qgjob.InstallAvoided:
		p.install.avoided++
	}
	l := line{state: string(e.Status), id: j.JobID, test: or(e.TestPath, j.TestPath), agent: string(e.AgentID), took: time.Duration(e.TestMS) * time.Millisecond}
	if e.Kind == qgjob.EventJobRequeued {
		l.state = "again"
	}
	if e.Flaky {
		l.note = "flaky"
	}
	if e.Kind == qgjob.EventJobRequeued || e.Status != qgjob.Passed || e.Reason == qgjob.ReasonReused {
		l.note = because(e.Reason, e.Message)
	}
	return l, true
}

func move(j *qgjob.Job, e qgjob.Event) {
	if e.Status != "" {
		j.Status = e.Status
	}
	j.AgentID = qgjob.AgentID(or(string(e.AgentID), string(j.AgentID)))
	at := e.At
	switch e.Kind {
	case qgjob.EventJobStarted:
		j.StartedAt = &at
		j.Attempts = max(j.Attempts+1, e.Attempt)
	case qgjob.EventJobFinished:
		j.FinishedAt, j.Reason, j.Message, j.Flaky = &at, e.Reason, e.Message, e.Flaky
	}
}

// because joins a reason and a message into one short line.
func because(r qgjob.Reason, message string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(message), "\n")
	return fit(strings.Trim(string(r)+": "+clean(first), ": "), 200)
}

// sorted is the jobs by id.
func (p *progress) sorted() []qgjob.Job {
	out := make([]qgjob.Job, 0, len(p.jobs))
	for _, j := range p.jobs {
		out = append(out, *j)
	}
	slices.SortFunc(out, func(a, b qgjob.Job) int { return cmp.Compare(a.JobID, b.JobID) })
	return out
}

func (p *progress) tally() qgjob.Tally {
	var t qgjob.Tally
	for _, j := range p.jobs {
		add(&t, *j)
	}
	return t
}

// add counts a job. A state that this client does not know counts as running:
// it is no verdict.
func add(t *qgjob.Tally, j qgjob.Job) {
	t.Total++
	switch j.Status {
	case qgjob.Queued:
		t.Queued++
	case qgjob.Passed:
		t.Passed++
		if j.Flaky {
			t.Flaky++
		}
	case qgjob.Failed:
		t.Failed++
	case qgjob.Errored:
		t.Errored++
	case qgjob.Cancelled:
		t.Cancelled++
	default:
		t.Running++
	}
}

// tallyText is a tally in words, without what is zero.
func tallyText(t qgjob.Tally) string {
	var parts []string
	for _, c := range []struct {
		n    int
		word string
	}{{t.Passed, "passed"}, {t.Failed, "failed"}, {t.Errored, "errored"}, {t.Cancelled, "cancelled"}, {t.Running, "running"}, {t.Queued, "queued"}} {
		if c.n == 0 {
			continue
		}
		text := fmt.Sprintf("%d %s", c.n, c.word)
		if c.word == "passed" && t.Flaky > 0 {
			text += fmt.Sprintf(" (%d flaky)", t.Flaky)
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return "no jobs"
	}
	return fmt.Sprintf("%s of %d", strings.Join(parts, ", "), t.Total)
}

// line is one job's news.
type line struct {
	state string
	id    qgjob.JobID
	test  string
	took  time.Duration
	agent string
	note  string
}

// text is the line as it is printed, without anything that a terminal obeys
// but the colours of paint.
func (l line) text(paint paint) string {
	parts := []string{paint.as(l.state, fmt.Sprintf("%-9s", l.state)), l.id.String(), clean(l.test)}
	if l.took > 0 {
		parts = append(parts, span(l.took))
	}
	if l.agent != "" {
		parts = append(parts, "on "+clean(l.agent))
	}
	text := strings.Join(parts, "  ")
	if l.note != "" {
		text += "  " + clean(l.note)
	}
	return strings.TrimRight(text, " ")
}

// loud says that a line stays on a terminal, where the bar tells the rest.
func (l line) loud() bool { return l.state != string(qgjob.Passed) || l.note != "" }

const maxShownRunning = 8 // running tests shown at once

// frame draws the live region: the bar, the running tests, the installs, and
// a line when the server is out of reach. No line is wider than cols.
func (p *progress) frame(now time.Time, cols int, paint paint) []string {
	t := p.tally()
	head := fmt.Sprintf("%v  %s  %d/%d  ", p.run, bar(t, 24), t.Ended(), t.Total)
	out := []string{fit(head+p.words(t)+"  "+span(now.Sub(p.began)), cols)}
	running := slices.DeleteFunc(p.sorted(), func(j qgjob.Job) bool { return !j.Status.Leased() })
	for i, j := range running {
		if i == maxShownRunning {
			out = append(out, fit(fmt.Sprintf("  … and %d more running", len(running)-i), cols))
			break
		}
		took := "waiting for its start"
		if j.StartedAt != nil && j.Status != qgjob.Assigned {
			took = span(now.Sub(*j.StartedAt))
		}
		text := fit(fmt.Sprintf("  %s  %v  %s  %s", clean(string(j.AgentID)), j.JobID, clean(j.TestPath), took), cols)
		out = append(out, paint.as(string(j.Status), text))
	}
	if p.install != (installs{}) {
		out = append(out, paint.dim(fit("  "+p.install.text(), cols)))
	}
	if p.note != "" {
		out = append(out, fit("  "+p.note, cols))
	}
	if p.lost != "" {
		out = append(out, paint.as("failed", fit(fmt.Sprintf("  %s; trying again for %s now", clean(p.lost), span(now.Sub(p.lostAt))), cols)))
	}
	return out
}

func (p *progress) words(t qgjob.Tally) string {
	text, _, _ := strings.Cut(tallyText(t), " of ")
	return text
}

// bar is so many cells of what has ended.
func bar(t qgjob.Tally, cells int) string {
	full := 0
	if t.Total > 0 {
		full = t.Ended() * cells / t.Total
	}
	return strings.Repeat("█", full) + strings.Repeat("░", cells-full)
}

func (i installs) text() string {
	text := fmt.Sprintf("installs: %d done", i.done)
	if i.ms > 0 {
		text += fmt.Sprintf(" (%s)", span(time.Duration(i.ms)*time.Millisecond))
	}
	return text + fmt.Sprintf(", %d avoided", i.avoided)
}

// heartbeat is the line that shows a CI log that the wait goes on.
func (p *progress) heartbeat(now time.Time) string {
	text := fmt.Sprintf("%v: %s after %s", p.run, tallyText(p.tally()), span(now.Sub(p.began)))
	if p.lost != "" {
		text += "; " + p.lost + ", trying again"
	}
	return text
}
