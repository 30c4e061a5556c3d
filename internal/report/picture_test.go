package report

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

// gallery is a run of one job for each status given, with one failed attempt each, whose one test left a picture; with an earlier
// attempt that left one more.
func gallery(sizes int64, statuses ...qgjob.JobState) []JobReport {
	var jobs []JobReport
	for i, status := range statuses {
		id := qgjob.JobID(i + 1)
		a, before := attempt(id, 2, "a1", qgjob.Outcome(status), 5, 8), attempt(id, 1, "a1", qgjob.OutcomeFailed, 1, 4)
		a.Artifacts = []qgjob.Artifact{{LeaseID: a.LeaseID, Name: fmt.Sprintf("shot%d.png", id), ContentType: "image/png", Size: sizes}}
		before.Artifacts = []qgjob.Artifact{{LeaseID: before.LeaseID, Name: fmt.Sprintf("before%d.png", id), ContentType: "image/png", Size: sizes}}
		word := fail
		if status == qgjob.Passed {
			word = pass
		}
		a.Tests = []qgjob.TestResult{{Title: []string{"t"}, Status: word, Attachment: []string{a.Artifacts[0].Name}}}
		jobs = append(jobs, JobReport{job(id, fmt.Sprintf("%d.spec.js", id), "v1", status, "a1"), []qgjob.Attempt{before, a}})
	}
	return jobs
}

// shown writes a page with these pictures and gives the names in the order in which they were asked for.
func shown(t *testing.T, jobs []JobReport, read Pictures) (page string, asked []string) {
	t.Helper()
	var b bytes.Buffer
	err := WriteHTML(&b, qgjob.Run{RunID: 1, SubmittedAt: submitted}, jobs, func(a qgjob.Artifact) []byte {
		asked = append(asked, a.Name)
		return read(a)
	})
	if err != nil {
		t.Fatal(err)
	}
	wantPage(t, b.String(), len(jobs))
	return b.String(), asked
}

// TestPicturesOfFailedTestsComeFirst: they explain the verdict. A job that plainly passed needs no picture in the page.
func TestPicturesOfFailedTestsComeFirst(t *testing.T) {
	jobs := gallery(10, qgjob.Passed, qgjob.Errored, qgjob.Failed, qgjob.Passed)
	jobs[3].Job.Flaky = true
	page, asked := shown(t, jobs, painted)
	if got, want := strings.Join(asked, " "), "shot3.png shot2.png before3.png shot4.png before4.png before2.png"; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
	if n := strings.Count(page, "<img "); n != len(asked) {
		t.Errorf("%d pictures of %d", n, len(asked))
	}
	for _, name := range []string{"shot1.png", "before1.png"} {
		if !strings.Contains(page, name+`</a> <small>10 B`) {
			t.Errorf("%s of the passed job is no link", name)
		}
	}
}

// TestPicturesStayInBounds: what is too large, or one too many, is a link, whatever its record said of its size.
func TestPicturesStayInBounds(t *testing.T) {
	bytesOf := func(n int) Pictures { return func(qgjob.Artifact) []byte { return make([]byte, n) } }
	many := func(n int) []JobReport {
		statuses := make([]qgjob.JobState, n)
		for i := range statuses {
			statuses[i] = qgjob.Failed
		}
		return gallery(MaxPicture, statuses...)
	}
	for _, test := range []struct {
		name  string
		jobs  []JobReport
		read  Pictures
		asked int
		want  int
	}{
		{"as large as may be", gallery(MaxPicture, qgjob.Failed), bytesOf(MaxPicture), 2, 2},
		{"a byte too large", gallery(MaxPicture+1, qgjob.Failed), bytesOf(MaxPicture), 0, 0},
		{"larger than it said", gallery(10, qgjob.Failed), bytesOf(MaxPicture + 1), 2, 0},
		{"empty", gallery(0, qgjob.Failed), bytesOf(1), 0, 0},
		{"not to be had", gallery(10, qgjob.Failed), bytesOf(0), 2, 0},
		{"all there is room for", many(MaxPictures / MaxPicture / 2), bytesOf(MaxPicture), 16, 16},
		{"more than there is room for", many(100), bytesOf(MaxPicture), 16, 16},
		{"small ones after large ones", append(many(1), gallery(1, qgjob.Failed)...), bytesOf(1), 4, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			page, asked := shown(t, test.jobs, test.read)
			pictures := strings.Count(page, "<img ")
			if pictures != test.want || len(asked) != test.asked {
				t.Errorf("%d pictures, asked for %d; want %d and %d", pictures, len(asked), test.want, test.asked)
			}
			if links := strings.Count(page, ".png</a> <small>"); links != 2*len(test.jobs)-test.want {
				t.Errorf("%d links to pictures of %d that are not in the page", links, 2*len(test.jobs)-test.want)
			}
			if most := MaxPictures*4/3 + 1<<20; len(page) > most {
				t.Errorf("the page has %d bytes, want at most %d", len(page), most)
			}
		})
	}
}

// TestPictureInTwoPlacesCountsTwice: one file that a test names a thousand times must not make a page of gigabytes.
func TestPictureInTwoPlacesCountsTwice(t *testing.T) {
	jobs := gallery(MaxPicture, qgjob.Failed)
	a := &jobs[0].Attempts[1]
	for len(a.Tests) < maxShown {
		a.Tests = append(a.Tests, a.Tests[0])
	}
	page, _ := shown(t, jobs, func(qgjob.Artifact) []byte { return make([]byte, MaxPicture) })
	if n := strings.Count(page, "<img "); n != MaxPictures/MaxPicture {
		t.Errorf("%d pictures of %d bytes in %d", n, MaxPicture, MaxPictures)
	}
}

// TestPicturesWithoutASource: a page without pictures has links to all of them and no broken image.
func TestPicturesWithoutASource(t *testing.T) {
	var b bytes.Buffer
	run, jobs := sampleRun()
	if err := WriteHTML(&b, run, jobs, nil); err != nil {
		t.Fatal(err)
	}
	wantPage(t, b.String(), len(jobs))
	if strings.Contains(b.String(), "<img ") || !strings.Contains(b.String(), "test-failed-1.png</a> <small>48.2 kB") {
		t.Error("the screenshot is not a link")
	}
}

// TestPictureTypes: only plain pictures are shown; what can run scripts, or only says to be an image, is a link.
func TestPictureTypes(t *testing.T) {
	for kind, want := range map[string]bool{
		"image/png": true, "image/jpeg": true, "image/webp": true,
		"image/svg+xml": false, "image/gif": false, "text/html": false, "": false, "image/png;x=\"><script>": false, "IMAGE/PNG": false,
	} {
		jobs := gallery(10, qgjob.Failed)
		jobs[0].Attempts[1].Artifacts[0].ContentType = kind
		page, asked := shown(t, jobs, painted)
		got := strings.Contains(page, source(jobs[0].Attempts[1].Artifacts[0]))
		if got != want || (strings.Contains(strings.Join(asked, " "), "shot1.png")) != want {
			t.Errorf("%q: shown %t, want %t; asked for %v", kind, got, want, asked)
		}
	}
}
