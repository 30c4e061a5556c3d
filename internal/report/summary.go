package report

import (
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
)

// MaxSummary is what GitHub accepts as one step's summary, in bytes; a longer one is dropped whole.
const MaxSummary = 1 << 20

const (
	lastLine     = 512  // bytes kept for what says that something is left out
	noteOverlong = 200  // bytes of a note in a table
	leastRoom    = 2048 // bytes without which a summary says nothing worth reading

	maxJobFailures = 48 << 10 // bytes of one job's failures; the test that reaches it is the last one shown
)

// SummaryOptions are what a summary needs to know besides the run. The zero value is a summary without links in a file of its own.
type SummaryOptions struct {
	Server string // the server's address, for links; "" is no links
	Taken  int    // bytes that the file holds already
	Note   string // a line under the headline, such as why the wait ended early; "" for none
}

// WriteSummary writes a run as GitHub Flavored Markdown for $GITHUB_STEP_SUMMARY: the verdict, a table of what did not plainly pass (failed,
// errored, cancelled, not ended, flaky), the failures, and what passed, with durations, installs and links. Text from tests is escaped. All of
// it, with what the file holds already, is at most MaxSummary bytes; what finds no room is counted in the last line. Where there is no room to
// say anything nothing is written. The only errors are those of w.
func WriteSummary(w io.Writer, run qgjob.Run, jobs []JobReport, o SummaryOptions) error {
	s := &summaryWriter{run: run, jobs: rankJobs(jobs), links: linksOf(o.Server), room: MaxSummary - o.Taken - lastLine}
	if s.room < leastRoom-lastLine {
		return nil
	}
	s.head(o.Note)
	s.table(func(word string) bool { return word != "passed" }, "", s.room/2)
	s.failures(s.room * 4 / 5)
	s.passed(s.room)
	if s.left > 0 {
		fmt.Fprintf(&s.b, "\n%d more are left out: a summary holds 1 MiB at most. All of them are in the JUnit file and in the report.\n", s.left)
	}
	_, err := io.WriteString(w, s.b.String())
	return err
}

type summaryWriter struct {
	b     strings.Builder
	run   qgjob.Run
	jobs  []JobReport
	links links
	room  int // bytes
	left  int // entries that found no room
}

var icons = map[string]string{"passed": "✅", "failed": "❌", "errored": "⚠️", "cancelled": "🚫", "flaky": "🔁", "running": "⏳", "queued": "⏳"}

// reading is the order in which people read a result.
var reading = []string{"failed", "errored", "cancelled", "running", "flaky", "passed"}

// rankJobs sorts jobs by how much they want to be read, then by id.
func rankJobs(jobs []JobReport) []JobReport {
	jobs = slices.Clone(jobs)
	slices.SortStableFunc(jobs, func(a, b JobReport) int {
		if d := slices.Index(reading, sectionOf(a.Job)) - slices.Index(reading, sectionOf(b.Job)); d != 0 {
			return d
		}
		return int(a.Job.JobID - b.Job.JobID)
	})
	return jobs
}

func (s *summaryWriter) head(note string) {
	t := tally(s.jobs)
	word, headline := verdict(t)
	fmt.Fprintf(&s.b, "## %s %s\n\n", icons[word], escapeMarkdown(headline))
	if note != "" {
		fmt.Fprintf(&s.b, "%s\n\n", escapeMarkdown(clip(note, 1000)))
	}
	fmt.Fprintf(&s.b, "%s: %d passed (%d flaky), %d failed, %d errored, %d cancelled", s.run.RunID, t.Passed, t.Flaky, t.Failed, t.Errored, t.Cancelled)
	if open := t.Queued + t.Running; open > 0 {
		fmt.Fprintf(&s.b, ", %d not ended", open)
	}
	if d := took(s.run); d > 0 {
		fmt.Fprintf(&s.b, " in %s", human(d))
	}
	fmt.Fprintf(&s.b, ". Installs: %d done", s.run.Installs)
	if s.run.InstallMS > 0 {
		fmt.Fprintf(&s.b, " (%s)", human(time.Duration(s.run.InstallMS)*time.Millisecond))
	}
	fmt.Fprintf(&s.b, ", %d avoided.%s\n", s.run.InstallsAvoided, s.links.ofRun(s.run.RunID))
}

// table writes a row for each job whose word is wanted, up to a number of bytes in all.
func (s *summaryWriter) table(wanted func(word string) bool, before string, upTo int) (rows int) {
	for i := range s.jobs {
		word := sectionOf(s.jobs[i].Job)
		if !wanted(word) {
			continue
		}
		text := s.row(word, &s.jobs[i])
		if rows == 0 {
			text = before + "\n| | Test file | App version | Time | Attempts | Agent | Why | Look at |\n|---|---|---|---|---|---|---|---|\n" + text
		}
		if s.b.Len()+len(text) > upTo {
			s.left++
			continue
		}
		rows++
		s.b.WriteString(text)
	}
	return rows
}

func (s *summaryWriter) row(word string, j *JobReport) string {
	why := ""
	if word != "passed" || j.Job.ReusedFrom != nil {
		why = clip(Clean(j.headline()), noteOverlong)
	}
	return fmt.Sprintf("| %s %s | %s | %s | %s | %d | %s | %s | %s |\n", icons[word], word, escapeMarkdown(j.Job.TestPath),
		escapeMarkdown(string(j.Job.AppVersionID)), j.ran(), j.Job.Attempts, escapeMarkdown(string(j.Job.AgentID)), escapeMarkdown(why), s.links.ofJob(j))
}

// ran is how long the newest attempt of an ended job took.
func (j *JobReport) ran() string {
	switch a := j.deciding(); {
	case j.Job.StartedAt != nil && j.Job.FinishedAt != nil:
		return human(j.Job.FinishedAt.Sub(*j.Job.StartedAt))
	case a != nil && a.TestMS > 0:
		return human(time.Duration(a.TestMS) * time.Millisecond)
	}
	return "–"
}

// failures writes the failed tests of each job, folded.
func (s *summaryWriter) failures(upTo int) {
	for i := range s.jobs {
		text := summaryFailures(s.jobs[i])
		if text == "" {
			continue
		}
		if s.b.Len()+len(text) > upTo {
			s.left++
			continue
		}
		s.b.WriteString(text)
	}
}

// passed writes what plainly passed, folded.
func (s *summaryWriter) passed(upTo int) {
	t := tally(s.jobs)
	open := fmt.Sprintf("\n<details><summary>%s passed</summary>\n", count(t.Passed-t.Flaky, "test file"))
	const end = "\n</details>\n"
	if s.table(func(word string) bool { return word == "passed" }, open, upTo-len(end)) > 0 {
		s.b.WriteString(end)
	}
}

// summaryFailures writes the failed tests of one job, folded; "" when there are none.
func summaryFailures(j JobReport) string {
	if j.Job.Status != qgjob.Failed && j.Job.Status != qgjob.Errored {
		return ""
	}
	var b strings.Builder
	more := 0
	for _, t := range j.tests() {
		if t.Status != qgjob.TestFailed {
			continue
		}
		if b.Len() > maxJobFailures {
			more++
			continue
		}
		name := escapeMarkdown(title(strings.Join(t.Title, " › ")))
		if t.ErrorFile != "" {
			name += " (" + escapeMarkdown(place(t.ErrorFile, t.ErrorLine)) + ")"
		}
		fmt.Fprintf(&b, "\n**%s** after %s\n\n%s\n", name, human(time.Duration(t.DurationMS)*time.Millisecond), fenced(t.Message))
	}
	if more > 0 {
		fmt.Fprintf(&b, "\nand %s of this file.\n", count(more, "more failed test"))
	}
	if b.Len() == 0 {
		if j.Job.Message == "" {
			return ""
		}
		fmt.Fprintf(&b, "\n%s\n", fenced(j.Job.Message))
	}
	return fmt.Sprintf("\n<details><summary>%s</summary>\n%s\n</details>\n", escapeMarkdown(j.Job.TestPath), b.String())
}

// links makes the addresses of what a reader wants to open; "" makes none.
type links string

// linksOf takes an http or https address, and nothing else, as the head of links.
func linksOf(server string) links {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil {
		return ""
	}
	return links(strings.TrimRight(u.String(), "/"))
}

func (l links) ofRun(id qgjob.RunID) string {
	if l == "" {
		return ""
	}
	return fmt.Sprintf(" %s · %s", l.link("report", "/v1/runs/"+id.String()+"/report"), l.link("JUnit", "/v1/runs/"+id.String()+"/junit"))
}

// ofJob links a job's log, and the first picture and trace of its deciding attempt.
func (l links) ofJob(j *JobReport) string {
	if l == "" {
		return j.Job.JobID.String()
	}
	ran := j.Job.JobID
	if j.Job.ReusedFrom != nil {
		ran = *j.Job.ReusedFrom // it has no log of its own
	}
	job := "/v1/jobs/" + ran.String()
	parts := []string{l.link("log", job+"/log")}
	if a := j.deciding(); a != nil && len(a.Artifacts) > 0 {
		for _, kind := range []struct{ label, content, ending string }{{"picture", "image/", ""}, {"trace", "", "trace.zip"}} {
			at := slices.IndexFunc(a.Artifacts, func(f qgjob.Artifact) bool {
				return strings.HasPrefix(f.ContentType, kind.content) && strings.HasSuffix(f.Name, kind.ending)
			})
			if at >= 0 {
				parts = append(parts, l.link(kind.label, artifactURL(a.Artifacts[at])))
			}
		}
		parts = append(parts, l.link("artifacts", job+"/artifacts"))
	}
	return strings.Join(parts, " · ")
}

// link is a Markdown link; its address holds nothing that could end it or a table's cell.
func (l links) link(label, path string) string {
	return "[" + label + "](" + inLink.Replace(string(l)+path) + ")"
}

var inLink = strings.NewReplacer("(", "%28", ")", "%29", "|", "%7C", "<", "%3C", ">", "%3E", " ", "%20", "`", "%60", "\"", "%22", "\\", "%5C", "\n", "%0A")

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
