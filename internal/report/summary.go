package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
)

// maxSummary is what GitHub accepts as one step's summary (1 MiB), less room for the last line.
const maxSummary = 1<<20 - 256

// WriteSummary writes a run as GitHub Flavored Markdown for $GITHUB_STEP_SUMMARY: the verdict, a table of what did not pass, the failures, and
// the installs. Text from tests is escaped; when all of it does not fit in 1 MiB the failures that come last are left out, and that is said.
// The only errors are those of w.
func WriteSummary(w io.Writer, run qgjob.Run, jobs []JobReport) error {
	t := tally(jobs)
	word, headline := verdict(t)
	var b strings.Builder
	fmt.Fprintf(&b, "## %s %s\n\n", icons[word], escapeMarkdown(headline))
	fmt.Fprintf(&b, "%s: %d passed (%d flaky), %d failed, %d errored, %d cancelled", run.RunID, t.Passed, t.Flaky, t.Failed, t.Errored, t.Cancelled)
	if d := took(run); d > 0 {
		fmt.Fprintf(&b, " in %s", human(d))
	}
	fmt.Fprintf(&b, ". Installs: %d done, %d avoided.\n", run.Installs, run.InstallsAvoided)
	left := summaryTable(&b, jobs)
	for i := range jobs {
		text := summaryFailures(jobs[i])
		if text == "" {
			continue
		}
		if b.Len()+len(text) > maxSummary {
			left++
			continue
		}
		b.WriteString(text)
	}
	if left > 0 {
		fmt.Fprintf(&b, "\n%d more are left out: a summary holds 1 MiB at most. All of them are in the JUnit file and in the report.\n", left)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

var icons = map[string]string{"passed": "✅", "failed": "❌", "errored": "⚠️", "cancelled": "🚫", "flaky": "🔁", "running": "⏳", "queued": "⏳"}

// summaryTable writes a row for each job that did not plainly pass, and gives how many found no room: half of the summary is for the failures.
func summaryTable(b *strings.Builder, jobs []JobReport) (left int) {
	began := false
	for i := range jobs {
		j := &jobs[i].Job
		word := sectionOf(*j)
		if word == "passed" {
			continue
		}
		if !began {
			b.WriteString("\n| | Test file | App version | Why | Agent | Attempts |\n|---|---|---|---|---|---|\n")
			began = true
		}
		row := fmt.Sprintf("| %s %s | %s | %s | %s | %s | %d |\n", icons[word], word, escapeMarkdown(j.TestPath), escapeMarkdown(string(j.AppVersionID)),
			escapeMarkdown(clip(Clean(jobs[i].headline()), 200)), escapeMarkdown(string(j.AgentID)), j.Attempts)
		if b.Len()+len(row) > maxSummary/2 {
			left++
			continue
		}
		b.WriteString(row)
	}
	return left
}

// summaryFailures writes the failed tests of one job, folded; "" when there are none.
func summaryFailures(j JobReport) string {
	if j.Job.Status != qgjob.Failed && j.Job.Status != qgjob.Errored {
		return ""
	}
	var b strings.Builder
	for _, t := range j.tests() {
		if t.Status != qgjob.TestFailed {
			continue
		}
		name := escapeMarkdown(title(strings.Join(t.Title, " › ")))
		if t.ErrorFile != "" {
			name += " (" + escapeMarkdown(place(t.ErrorFile, t.ErrorLine)) + ")"
		}
		fmt.Fprintf(&b, "\n**%s** after %s\n\n%s\n", name, human(time.Duration(t.DurationMS)*time.Millisecond), fenced(t.Message))
	}
	if b.Len() == 0 {
		if j.Job.Message == "" {
			return ""
		}
		fmt.Fprintf(&b, "\n%s\n", fenced(j.Job.Message))
	}
	return fmt.Sprintf("\n<details><summary>%s</summary>\n%s\n</details>\n", escapeMarkdown(j.Job.TestPath), b.String())
}

// fenced puts text into a code block whose fence the text does not hold.
func fenced(text string) string {
	text = strings.TrimSpace(Clean(text))
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + "\n" + text + "\n" + fence
}

// escapeMarkdown makes one line of text that Markdown and HTML take as it is, also inside a table's cell. Mentions and issue numbers are broken
// by the entity for their first character.
func escapeMarkdown(s string) string {
	s = strings.Join(strings.Fields(Clean(s)), " ")
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune("\\`*_{}[]()<>#+-.!|~&@:=$\"'", r) {
			fmt.Fprintf(&b, "&#%d;", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
