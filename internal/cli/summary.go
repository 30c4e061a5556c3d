package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
)

// maxPassedRows is how many passed jobs the final table names; more are only
// counted.
const maxPassedRows = 30

// summary prints the final table, failed first, what to look at, and the
// figures.
func (a *app) summary(r result, s subject) {
	var rows [][]string
	var failures []string
	hidden := 0
	for _, j := range r.ranked() {
		quiet := j.Status == qgjob.Passed && !j.Flaky
		if quiet && r.Passed-r.Flaky > maxPassedRows {
			hidden++
			continue
		}
		rows = append(rows, []string{string(j.Status), j.JobID.String(), j.TestPath, or(string(j.AgentID), "-"), took(j), noteOf(j)})
		if j.Status == qgjob.Failed || j.Status == qgjob.Errored {
			failures = append(failures, failure(j)...)
		}
	}
	if len(rows) > 0 {
		a.table([]string{"STATUS", "JOB", "TEST", "AGENT", "TIME", "NOTE"}, rows)
	}
	if hidden > 0 {
		a.answer("and %s that passed", count(hidden, "job"))
	}
	if len(failures) > 0 {
		a.answer("")
		for _, l := range failures {
			a.answer("%s", l)
		}
	}
	a.answer("")
	for _, l := range figures(r, s) {
		a.answer("%s", l)
	}
}

// figures are the last lines of a summary.
func figures(r result, s subject) []string {
	word := or(string(r.Conclusion), "not ended")
	text := fmt.Sprintf("%v %s: %s", s, word, r.tally())
	if r.took > 0 && r.ended() {
		text += " in " + span(r.took)
	}
	return []string{
		text,
		installs{r.Installs, r.InstallsAvoided, r.InstallMS}.text(),
		fmt.Sprintf("reports: qgjob report %v --junit=results.xml --html=results.html", r.RunID),
	}
}

const maxFailureLines = 12 // of one job's message

// failure is a failed job's message and where to look.
func failure(j qgjob.Job) []string {
	head := fmt.Sprintf("%v %s %s", j.JobID, j.TestPath, j.Status)
	if j.Reason != "" {
		head += fmt.Sprintf(" (%s)", j.Reason)
	}
	out := []string{head}
	if text := strings.TrimSpace(j.Message); text != "" {
		lines := strings.Split(text, "\n")
		if len(lines) > maxFailureLines {
			lines = append(lines[:maxFailureLines], "…")
		}
		for _, l := range lines {
			out = append(out, fit("    "+inert(clean(l)), 300))
		}
	}
	return append(out, fmt.Sprintf("    see: qgjob logs %v", j.JobID))
}

func noteOf(j qgjob.Job) string {
	switch {
	case j.Flaky:
		return fmt.Sprintf("flaky: passed on attempt %d", j.Attempts)
	case j.ReusedFrom != nil:
		return fmt.Sprintf("taken over from %v", *j.ReusedFrom)
	case j.Status == qgjob.Passed:
		return ""
	}
	note := string(j.Reason)
	if j.Attempts > 1 {
		note = strings.TrimPrefix(note+", "+count(j.Attempts, "attempt"), ", ")
	}
	return note
}

// took is how long the newest attempt of an ended job ran.
func took(j qgjob.Job) string {
	if j.StartedAt == nil || j.FinishedAt == nil {
		return "-"
	}
	return span(max(j.FinishedAt.Sub(*j.StartedAt), time.Millisecond))
}
