package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
)

//go:embed page.html.tmpl
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"took":  func(ms int64) string { return human(time.Duration(ms) * time.Millisecond) },
	"at":    func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04:05 UTC") },
	"tests": func(n int) string { return count(n, "test") },
	"clean": func(v any) string { return Clean(fmt.Sprint(v)) }, // of the words' own string types
}).Parse(pageText))

// maxShown is how many tests of one job the page lists; failed ones come first, so it is passed ones that are left out.
const maxShown = 200

// maxUnfolded is how many passed jobs are listed without a click.
const maxUnfolded = 50

// WriteHTML writes a run as one page that needs nothing else: no scripts, no fonts, no style sheets, and the screenshots of what did not pass
// are in it, as far as pictures gives them (nil: none) and MaxPictures allows. Everything else that the tests left is a link, a path of the
// server's API (/v1/artifacts/{lease}/{name}); without the server it does not open, and the text is all there. Everything that came from a
// test is escaped. The only errors are those of w.
func WriteHTML(w io.Writer, run qgjob.Run, jobs []JobReport, pictures Pictures) error {
	v := newPage(run, jobs)
	embed(v.Sections, pictures)
	return page.Execute(w, v)
}

// The page's own view of a run: what the template prints, with nothing left to compute.
type (
	pageView struct {
		Run            qgjob.Run
		Verdict        string // a state word: the colour of the headline
		Headline       string
		Took           string
		Labels         []label
		Tally          qgjob.Tally
		Bar            []slice
		Passed, Failed int // tests, not jobs
		Flaky, Skipped int
		Saved          string // time that avoided installs saved, "" when nothing was measured
		MeanInstall    string
		Versions       []versionView
		Lanes          []laneView
		Span           string
		Sections       []sectionView
	}
	label struct{ Key, Value string }
	slice struct {
		Word  string
		Count int
	}
	versionView struct {
		Name                         string
		Jobs, Passed, Bad, Done, Not int
	}
	laneView struct {
		Agent string
		Bars  []barView
	}
	barView struct {
		Left, Width, Install float64 // percent: of the run, of the run, of the bar
		Word, Tip            string
	}
	sectionView struct {
		Title, Word string
		Open        bool
		Jobs        []jobView
	}
	jobView struct {
		Job       qgjob.Job
		Word      string
		Headline  string
		Detail    string // more than the headline says
		Took      string
		Agent     string
		Tests     []testView
		Hidden    int
		Attempts  []attemptView
		Open      bool
		TestCount int
	}
	testView struct {
		Name, Project, Word string
		Where, Message      string
		MS                  int64
		Before              string // its failure in an earlier attempt
		Shots, Files        []fileView
	}
	attemptView struct {
		A            qgjob.Attempt
		Word         string
		Bar          barView
		Took         string
		Message, Log string
		Shots, Files []fileView
	}
	fileView struct {
		Name, URL, Size string
		Src             template.URL // the picture itself, "" until embed has read it
		from            qgjob.Artifact
	}
)

func newPage(run qgjob.Run, jobs []JobReport) pageView {
	v := pageView{Run: run, Took: human(took(run)), Tally: tally(jobs)}
	v.Verdict, v.Headline = verdict(v.Tally)
	for _, k := range qgjob.SortedKeys(run.Labels) {
		v.Labels = append(v.Labels, label{Clean(k), Clean(run.Labels[k])})
	}
	for _, s := range []slice{{"failed", v.Tally.Failed}, {"errored", v.Tally.Errored}, {"cancelled", v.Tally.Cancelled}, {"flaky", v.Tally.Flaky},
		{"passed", v.Tally.Passed - v.Tally.Flaky}, {"running", v.Tally.Running}, {"queued", v.Tally.Queued}} {
		if s.Count > 0 {
			v.Bar = append(v.Bar, s)
		}
	}
	for i := range jobs {
		for _, t := range jobs[i].tests() {
			switch t.Status {
			case qgjob.TestFailed:
				v.Failed++
			case qgjob.TestFlaky:
				v.Flaky++
			case qgjob.TestSkipped:
				v.Skipped++
			case qgjob.TestPassed:
				v.Passed++
			}
		}
	}
	if run.Installs > 0 && run.InstallMS > 0 {
		mean := time.Duration(run.InstallMS) * time.Millisecond / time.Duration(run.Installs)
		v.MeanInstall = human(mean)
		if run.InstallsAvoided > 0 {
			v.Saved = human(mean * time.Duration(run.InstallsAvoided))
		}
	}
	v.Versions = versions(jobs)
	scale := newScale(run, jobs)
	v.Lanes, v.Span = lanes(scale, jobs), human(scale.span)
	v.Sections = sections(scale, jobs)
	return v
}

// tally counts the jobs afresh: the page never claims more than it shows.
func tally(jobs []JobReport) qgjob.Tally {
	t := qgjob.Tally{Total: len(jobs)}
	for i := range jobs {
		switch jobs[i].Job.Status {
		case qgjob.Passed:
			t.Passed++
			if jobs[i].Job.Flaky {
				t.Flaky++
			}
		case qgjob.Failed:
			t.Failed++
		case qgjob.Errored:
			t.Errored++
		case qgjob.Cancelled:
			t.Cancelled++
		case qgjob.Queued:
			t.Queued++
		default:
			t.Running++
		}
	}
	return t
}

// verdict gives the state word and the sentence at the top of every report.
func verdict(t qgjob.Tally) (word, headline string) {
	of := " of " + count(t.Total, "test file") + " "
	switch t.Conclude() {
	case qgjob.ConclusionFailed:
		return "failed", plainNumber(t.Failed) + of + "failed"
	case qgjob.ConclusionCancelled:
		return "cancelled", plainNumber(t.Cancelled) + of + "cancelled"
	case qgjob.ConclusionErrored:
		return "errored", plainNumber(t.Errored) + of + "could not be tested: infrastructure"
	case qgjob.ConclusionPassed:
		if t.Flaky > 0 {
			return "passed", "All " + count(t.Total, "test file") + " passed, " + plainNumber(t.Flaky) + " only after a retry"
		}
		if t.Total == 1 {
			return "passed", "The test file passed"
		}
		return "passed", "All " + count(t.Total, "test file") + " passed"
	}
	if t.Total == 0 {
		return "queued", "Nothing was tested"
	}
	return "running", "Not finished: " + plainNumber(t.Ended()) + of + "ended"
}

// versions counts jobs and installs by app version, in the order in which the versions first appear.
func versions(jobs []JobReport) []versionView {
	var out []versionView
	for i := range jobs {
		j := &jobs[i]
		name := Clean(string(j.Job.AppVersionID))
		at := slices.IndexFunc(out, func(v versionView) bool { return v.Name == name })
		if at < 0 {
			at = len(out)
			out = append(out, versionView{Name: name})
		}
		out[at].Jobs++
		switch {
		case j.Job.Status == qgjob.Passed:
			out[at].Passed++
		case j.Job.Status.Terminal():
			out[at].Bad++
		}
		for _, a := range j.Attempts {
			switch a.Install {
			case qgjob.InstallDone:
				out[at].Done++
			case qgjob.InstallAvoided:
				out[at].Not++
			}
		}
	}
	return out
}

// sections sorts the jobs by what deserves a look first.
func sections(scale scale, jobs []JobReport) []sectionView {
	all := []sectionView{
		{Title: "Failed", Word: "failed", Open: true},
		{Title: "Flaky: passed only after a retry", Word: "flaky", Open: true},
		{Title: "Errored: infrastructure, not a verdict", Word: "errored", Open: true},
		{Title: "Cancelled", Word: "cancelled", Open: true},
		{Title: "Not finished", Word: "running", Open: true},
		{Title: "Passed", Word: "passed"},
	}
	for i := range jobs {
		word := sectionOf(jobs[i].Job)
		at := slices.IndexFunc(all, func(s sectionView) bool { return s.Word == word })
		all[at].Jobs = append(all[at].Jobs, newJobView(scale, jobs[i]))
	}
	all = slices.DeleteFunc(all, func(s sectionView) bool { return len(s.Jobs) == 0 })
	for i := range all {
		all[i].Open = all[i].Open || len(all[i].Jobs) <= maxUnfolded
	}
	return all
}

func sectionOf(job qgjob.Job) string {
	switch {
	case job.Status == qgjob.Passed && job.Flaky:
		return "flaky"
	case job.Status.Terminal():
		return string(job.Status)
	}
	return "running"
}

// artifactURL is the API's path of an artifact.
func artifactURL(a qgjob.Artifact) string {
	parts := strings.Split(a.Name, "/")
	for i := range parts {
		parts[i] = urlPart(parts[i])
	}
	return "/v1/artifacts/" + urlPart(string(a.LeaseID)) + "/" + strings.Join(parts, "/")
}
