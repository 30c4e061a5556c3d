package report

import (
	"cmp"
	"fmt"
	"math"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
)

// newJobView prepares one job's card. Cards of what did not plainly pass are open.
func newJobView(scale scale, j JobReport) jobView {
	v := jobView{
		Job: j.Job, Word: sectionOf(j.Job), Headline: Clean(j.headline()), Detail: strings.TrimSpace(Clean(j.Job.Message)),
		Took: human(time.Duration(j.testMS()) * time.Millisecond), Agent: Clean(string(j.Job.AgentID)),
	}
	v.Open = v.Word != "passed"
	if len(j.Attempts) == 0 {
		v.Took = ""
	}
	if v.Detail == v.Headline {
		v.Detail = ""
	}
	if v.Word == "passed" && j.Job.Message == "" {
		v.Headline = ""
	}
	taken := map[string]bool{} // artifacts shown beside a test, by lease and name
	before := j.failedBefore()
	if last := j.deciding(); last != nil {
		for i := range last.Tests {
			v.Tests = append(v.Tests, newTestView(&last.Tests[i], last, before[testKey(&last.Tests[i])], taken))
		}
	}
	slices.SortStableFunc(v.Tests, func(a, b testView) int { return cmp.Compare(rank(a.Word), rank(b.Word)) })
	v.TestCount = len(v.Tests)
	if v.TestCount > maxShown {
		v.Tests, v.Hidden = v.Tests[:maxShown], v.TestCount-maxShown
	}
	for i := range j.Attempts {
		a := newAttemptView(scale, &j.Attempts[i], taken)
		if a.Message == v.Headline || a.Message == v.Detail {
			a.Message = "" // said above already
		}
		v.Attempts = append(v.Attempts, a)
	}
	return v
}

// testWord gives the word that colours a test; a status that is not known is not taken for a pass.
func testWord(s qgjob.TestStatus) string {
	if s == qgjob.TestPassed || s == qgjob.TestFlaky || s == qgjob.TestSkipped {
		return string(s)
	}
	return "failed"
}

// rank puts failures before flaky, passed and skipped tests.
func rank(word string) int {
	return slices.Index([]string{"failed", "flaky", "passed", "skipped"}, word)
}

func newTestView(t *qgjob.TestResult, a *qgjob.Attempt, before *qgjob.TestResult, taken map[string]bool) testView {
	v := testView{
		Name: title(strings.Join(t.Title, " › ")), Project: title(t.Project), Word: testWord(t.Status), MS: t.DurationMS,
		Message: strings.TrimSpace(Clean(t.Message)),
	}
	if t.ErrorFile != "" {
		v.Where = Clean(place(t.ErrorFile, t.ErrorLine))
	} else if t.Status == qgjob.TestFailed {
		v.Where = Clean(place(t.File, t.Line))
	}
	if before != nil && t.Status == qgjob.TestPassed {
		v.Word, v.Before = "flaky", strings.TrimSpace(Clean(before.Message))
	}
	for _, f := range a.Artifacts {
		if slices.Contains(t.Attachment, f.Name) {
			taken[string(f.LeaseID)+"/"+f.Name] = true
			v.Shots, v.Files = addFile(v.Shots, v.Files, f)
		}
	}
	return v
}

func newAttemptView(scale scale, a *qgjob.Attempt, taken map[string]bool) attemptView {
	v := attemptView{
		A: *a, Word: outcomeWord(a.Outcome), Bar: scale.bar(a), Took: human(time.Duration(a.TestMS) * time.Millisecond),
		Message: strings.TrimSpace(Clean(a.Message)),
	}
	if a.LogBytes > 0 {
		v.Log = logURL(a.JobID, a.Number)
	}
	for _, f := range a.Artifacts {
		if !taken[string(f.LeaseID)+"/"+f.Name] {
			v.Shots, v.Files = addFile(v.Shots, v.Files, f)
		}
	}
	return v
}

// addFile puts an artifact among the pictures or among the links.
func addFile(shots, files []fileView, a qgjob.Artifact) ([]fileView, []fileView) {
	v := fileView{Name: Clean(path.Base(a.Name)), URL: artifactURL(a), Size: size(a.Size), from: a}
	if slices.Contains(pictureTypes, a.ContentType) {
		return append(shots, v), files
	}
	return shots, append(files, v)
}

// outcomeWord gives the word that colours an attempt.
func outcomeWord(o qgjob.Outcome) string {
	switch o {
	case qgjob.OutcomePassed, qgjob.OutcomeFailed, qgjob.OutcomeErrored, qgjob.OutcomeCancelled:
		return string(o)
	case qgjob.OutcomeLost:
		return "errored"
	case "":
		return "running"
	}
	return "cancelled"
}

// scale maps instants to percent of the run, from its submission to the last thing known of it.
type scale struct {
	from time.Time
	span time.Duration
}

func newScale(run qgjob.Run, jobs []JobReport) scale {
	s := scale{from: run.SubmittedAt}
	end := run.SubmittedAt
	later := func(t *time.Time) {
		if t != nil && t.After(end) {
			end = *t
		}
	}
	later(run.FinishedAt)
	for i := range jobs {
		for k := range jobs[i].Attempts {
			a := &jobs[i].Attempts[k]
			later(&a.OfferedAt)
			later(a.StartedAt)
			later(a.EndedAt)
		}
	}
	s.span = end.Sub(s.from)
	return s
}

// percent places an instant on the run, from 0 to 100 with two decimals.
func (s scale) percent(t time.Time) float64 {
	if s.span <= 0 {
		return 0
	}
	return round(100 * float64(t.Sub(s.from)) / float64(s.span))
}

func round(f float64) float64 { return math.Round(min(max(f, 0), 100)*100) / 100 }

// bar gives an attempt's stretch of the run, the install as its first part.
func (s scale) bar(a *qgjob.Attempt) barView {
	from := a.OfferedAt
	if a.StartedAt != nil {
		from = *a.StartedAt
	}
	to := s.from.Add(s.span)
	if a.EndedAt != nil {
		to = *a.EndedAt
	}
	v := barView{Left: s.percent(from), Word: outcomeWord(a.Outcome)}
	v.Width = round(s.percent(to) - v.Left)
	if length := to.Sub(from); length > 0 && a.Install == qgjob.InstallDone {
		v.Install = round(100 * float64(time.Duration(a.InstallMS)*time.Millisecond) / float64(length))
	}
	return v
}

// lanes gives one row of bars for each agent: who did what when.
func lanes(s scale, jobs []JobReport) []laneView {
	byAgent := map[string][]barView{}
	for i := range jobs {
		for k := range jobs[i].Attempts {
			a := &jobs[i].Attempts[k]
			if a.AgentID == "" || a.StartedAt == nil {
				continue
			}
			bar := s.bar(a)
			bar.Tip = Clean(fmt.Sprintf("%s, %s, attempt %d: %s", jobs[i].Job.TestPath, jobs[i].Job.AppVersionID, a.Number, orDefault(string(a.Outcome), "running")))
			byAgent[string(a.AgentID)] = append(byAgent[string(a.AgentID)], bar)
		}
	}
	var out []laneView
	for _, agent := range qgjob.SortedKeys(byAgent) {
		bars := byAgent[agent]
		slices.SortStableFunc(bars, func(a, b barView) int { return cmp.Compare(a.Left, b.Left) })
		out = append(out, laneView{Agent: Clean(agent), Bars: bars})
	}
	return out
}

// human writes a duration as people say it: "840 ms", "12.3 s", "3 min 05 s", "1 h 02 min".
func human(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", max(d, 0).Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", math.Floor(d.Seconds()*10)/10)
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}

// size writes bytes as people say them.
func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", max(n, 0))
	case n < 1000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1000_000)
}

func plainNumber(n int) string { return strconv.Itoa(n) }

func urlPart(s string) string { return url.PathEscape(s) }

func logURL(job qgjob.JobID, attempt int) string {
	return fmt.Sprintf("/v1/jobs/%s/log?attempt=%d", job, attempt)
}
