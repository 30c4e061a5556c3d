package report

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// keep is for looking at the page: go test ./internal/report -run TestWriteHTML -args -keep page.html
var keep = flag.String("keep", "", "write the sample page to this file")

func html(t testing.TB, run qgjob.Run, jobs []JobReport) string {
	t.Helper()
	var b bytes.Buffer
	if err := writePainted(&b, run, jobs); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// writePainted is WriteHTML with a picture for each that is asked for.
func writePainted(w io.Writer, run qgjob.Run, jobs []JobReport) error {
	return WriteHTML(w, run, jobs, painted)
}

// painted gives bytes for every picture, other ones for each.
func painted(a qgjob.Artifact) []byte { return []byte("picture " + string(a.LeaseID) + "/" + a.Name) }

// source is how painted's picture of a stands in the page.
func source(a qgjob.Artifact) string {
	return `<img src="data:` + a.ContentType + `;base64,` + base64.StdEncoding.EncodeToString(painted(a)) + `"`
}

func TestWriteHTML(t *testing.T) {
	run, jobs := sampleRun()
	got := html(t, run, jobs)
	if *keep != "" {
		if err := os.WriteFile(*keep, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantInOrder(t, got,
		"<title>1 of 8 test files failed · run_7 · qgjob</title>", `class="card hero failed"`, "<h1>1 of 8 test files failed</h1>", "23 Nov 2026, 14:00:00 UTC · took 31.0 s",
		"branch: release/1.5", "commit: 4be1c0d",
		"<b>3</b><span>installs done, 2.2 s each", "<b>5</b><span>installs avoided, about 11.0 s saved",
		"v1.5.0</td><td>5</td><td>2</td><td>3</td><td>2</td><td>3</td>",
		"<h2>Failed", "tests/checkout.spec.js", "cart › shows the total", "tests/checkout.spec.js:10", "Expected: &#34;£9.99 &amp; &lt;b&gt;&#34;",
		`<a href="/v1/artifacts/11111111111111111111111111111111/cart-shows-the-total/test-failed-1.png">`+source(jobs[0].Attempts[0].Artifacts[0]), "trace.zip</a> <small>1.5 MB", "cart › opens", "not in this version",
		"Attempt 1", "install 2.2 s, exit code 1", "/v1/jobs/job_1/log?attempt=1", "report%20%231.json",
		"<h2>Flaky", "tests/login.spec.js", "Failed in an earlier attempt:", "Test timeout of 5000ms exceeded.", "Attempt 1", "Attempt 2", "install avoided",
		"<h2>Errored", "tests/onboarding.spec.js", "browserType.launch", "lost", "agent_lost",
		"<h2>Cancelled", "tests/search.spec.js", "<h2>Passed", "product-page.spec.js", "Who did what when", "browser-1", "browser-3", "31.0 s",
	)
	wantPage(t, got, len(jobs))
	if n := strings.Count(got, source(jobs[0].Attempts[0].Artifacts[0])); n != 1 {
		t.Errorf("the screenshot is shown %d times", n)
	}
}

func wantInOrder(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, ok := strings.Cut(rest, part)
		switch {
		case ok:
			rest = after
		case strings.Contains(text, part):
			t.Errorf("%q stands too early", part)
		default:
			t.Errorf("%q is missing", part)
		}
	}
}

// wantPage reads the page as a browser would: well nested, self-contained, without a script, every job in it.
func wantPage(t *testing.T, page string, jobs int) {
	t.Helper()
	dec := xml.NewDecoder(strings.NewReader(page))
	dec.Strict, dec.AutoClose, dec.Entity = false, slices.Concat(xml.HTMLAutoClose, []string{"meta"}), xml.HTMLEntity
	cards, open := 0, []string{}
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			open = append(open, token.Name.Local)
			cards += wantElement(t, token)
		case xml.EndElement:
			if last := open[len(open)-1]; last != token.Name.Local {
				t.Fatalf("</%s> ends <%s>", token.Name.Local, last)
			}
			open = open[:len(open)-1]
		}
	}
	if cards != jobs || len(open) != 0 {
		t.Errorf("%d cards for %d jobs; left open: %v", cards, jobs, open)
	}
}

// inPage is a picture that needs neither a server nor a file.
var inPage = regexp.MustCompile(`^data:image/(png|jpeg|webp);base64,[A-Za-z0-9+/]+=*$`)

// wantElement refuses what could run, load or lead elsewhere, and gives 1 for a job's card.
func wantElement(t *testing.T, e xml.StartElement) int {
	t.Helper()
	allowed := []string{
		"html", "head", "meta", "title", "style", "body", "main", "header", "div", "p", "h1", "h2", "span", "i", "b", "ul", "ol", "li", "pre", "code", "small",
		"details", "summary", "section", "table", "tr", "th", "td", "a", "img", "footer",
	}
	if !slices.Contains(allowed, e.Name.Local) {
		t.Errorf("<%s> in the page", e.Name.Local)
	}
	card := 0
	for _, a := range e.Attr {
		name := strings.ToLower(a.Name.Local)
		switch {
		case strings.HasPrefix(name, "on"):
			t.Errorf("<%s %s=%q>", e.Name.Local, name, a.Value)
		case name == "href" && !strings.HasPrefix(a.Value, "/v1/"):
			t.Errorf("<%s %s=%q> leads elsewhere", e.Name.Local, name, a.Value)
		case name == "src" && (e.Name.Local != "img" || !inPage.MatchString(a.Value)):
			t.Errorf("<%s %s=%q> is not in the page", e.Name.Local, name, a.Value)
		case name == "class" && e.Name.Local == "details" && strings.HasPrefix(a.Value, "job "):
			card = 1
		}
	}
	return card
}

func TestWriteHTMLEscapes(t *testing.T) {
	nasty := `</pre></style></title><script>alert(1)</script><img src=x onerror=alert(2)>" onmouseover="x' javascript:alert(3) {{.}} ${x}` + "\x1b[31m"
	j := JobReport{Job: job(1, nasty, qgjob.AppVersionID(nasty), qgjob.Failed, qgjob.AgentID(nasty))}
	j.Job.Reason, j.Job.Message, j.Job.Target, j.Job.BuildSHA256 = qgjob.Reason(nasty), nasty+"\n"+nasty, qgjob.Target(nasty), qgjob.Sum(nasty)
	a := attempt(1, 1, qgjob.AgentID(nasty), qgjob.OutcomeFailed, 1, 2)
	a.Message, a.Reason, a.LeaseID = nasty, qgjob.Reason(nasty), qgjob.LeaseID("../"+nasty)
	a.Tests = []qgjob.TestResult{{File: nasty, Title: []string{nasty}, Project: nasty, Status: qgjob.TestFailed, Message: nasty, ErrorFile: nasty, ErrorLine: 2, Attachment: []string{nasty}}}
	a.Artifacts = []qgjob.Artifact{
		{LeaseID: a.LeaseID, Name: nasty, ContentType: "image/png", Size: 10},
		{LeaseID: a.LeaseID, Name: "javascript:alert(1)//" + nasty, ContentType: nasty},
		{LeaseID: a.LeaseID, Name: "drawing.svg", ContentType: "image/svg+xml"},
	}
	j.Attempts = []qgjob.Attempt{a}
	page := html(t, qgjob.Run{RunID: 1, OrgID: qgjob.OrgID(nasty), Labels: map[string]string{nasty: nasty}, SubmittedAt: submitted}, []JobReport{j})
	wantPage(t, page, 1)
	for _, bad := range []string{"<script", "<img src=x", "\x1b", `href="javascript`, `src="drawing`} {
		if strings.Contains(page, bad) {
			t.Errorf("%q came through", bad)
		}
	}
	if strings.Count(page, "<img") != 1 || !strings.Contains(page, "drawing.svg</a>") {
		t.Error("an SVG is a link, not a picture")
	}
}

func TestVerdictHeadline(t *testing.T) {
	for _, test := range []struct {
		tally          qgjob.Tally
		word, headline string
	}{
		{qgjob.Tally{}, "queued", "Nothing was tested"},
		{qgjob.Tally{Total: 1, Passed: 1}, "passed", "The test file passed"},
		{qgjob.Tally{Total: 3, Passed: 3}, "passed", "All 3 test files passed"},
		{
			qgjob.Tally{Total: 3, Passed: 3, Flaky: 1},
			"passed",
			"All 3 test files passed, 1 only after a retry",
		},
		{
			qgjob.Tally{Total: 3, Passed: 1, Failed: 2},
			"failed", "2 of 3 test files failed",
		},
		{qgjob.Tally{Total: 1, Failed: 1}, "failed", "1 of 1 test file failed"},
		{
			qgjob.Tally{Total: 3, Passed: 2, Errored: 1},
			"errored",
			"1 of 3 test files could not be tested: infrastructure",
		},
		{
			qgjob.Tally{Total: 3, Passed: 1, Errored: 1, Cancelled: 1},
			"cancelled", "1 of 3 test files cancelled",
		},
		{
			qgjob.Tally{Total: 3, Passed: 2, Running: 1},
			"running",
			"Not finished: 2 of 3 test files ended",
		},
	} {
		word, headline := verdict(test.tally)
		if word != test.word || headline != test.headline {
			t.Errorf("%+v: %s, %q; want %s, %q", test.tally, word, headline, test.word, test.headline)
		}
	}
}

// TestWriteHTMLUnfinished: a page of a run that goes on says so, and an unheard-of state is no pass.
func TestWriteHTMLUnfinished(t *testing.T) {
	run, jobs := sampleRun()
	run.FinishedAt, run.Conclusion = nil, ""
	jobs = jobs[4:7]
	jobs[1].Job.Status, jobs[2].Job.Status = qgjob.Running, qgjob.Queued
	a := &jobs[1].Attempts[0]
	a.EndedAt, a.Outcome = nil, ""
	page := html(t, run, jobs)
	wantInOrder(t, page, "Not finished: 1 of 3 test files ended", "<h2>Not finished", "has not ended: running", "<h2>Passed")
	wantPage(t, page, 3)
	jobs[0].Job.Status = "unheard-of"
	if page := html(t, run, jobs); strings.Contains(page, "<h2>Passed") {
		t.Error("an unheard-of state is listed as passed")
	}
}

// TestWriteHTMLLarge: many jobs and many tests stay in bounds, and the failed test is among those shown.
func TestWriteHTMLLarge(t *testing.T) {
	var jobs []JobReport
	for i := range 500 {
		jobs = append(jobs, JobReport{Job: job(qgjob.JobID(i+1), fmt.Sprintf("tests/%d.spec.js", i), "v1", qgjob.Passed, "a1")})
	}
	big := JobReport{Job: job(501, "tests/big.spec.js", "v1", qgjob.Failed, "a1"), Attempts: []qgjob.Attempt{attempt(501, 1, "a1", qgjob.OutcomeFailed, 1, 2)}}
	for i := range 1000 {
		big.Attempts[0].Tests = append(big.Attempts[0].Tests, qgjob.TestResult{Title: []string{fmt.Sprintf("number %d", i)}, Status: qgjob.TestPassed})
	}
	big.Attempts[0].Tests[999].Status = qgjob.TestFailed
	page := html(t, qgjob.Run{RunID: 1, SubmittedAt: submitted}, append(jobs, big))
	wantPage(t, page, 501)
	wantInOrder(t, page, "number 999", "number 0<", "and 800 tests more", `<details class="fold">`)
	if strings.Contains(page, "number 998<") {
		t.Error("all tests are listed")
	}
}

func TestHuman(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 ms", 0: "0 ms", 840 * time.Millisecond: "840 ms", time.Second: "1.0 s", 59*time.Second + 990*time.Millisecond: "59.9 s",
		185 * time.Second: "3 min 05 s", 62 * time.Minute: "1 h 02 min",
	} {
		if got := human(d); got != want {
			t.Errorf("human(%s) = %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{-1: "0 B", 999: "999 B", 48_211: "48.2 kB", 1_482_113: "1.5 MB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestBars(t *testing.T) {
	run, jobs := sampleRun()
	s := newScale(run, jobs)
	if s.span != 31*time.Second {
		t.Fatalf("span %s", s.span)
	}
	got := s.bar(&jobs[0].Attempts[0])
	if got != (barView{Left: 3.23, Width: 22.58, Install: 31.43, Word: "failed"}) {
		t.Errorf("%+v", got)
	}
	for _, lane := range lanes(s, jobs) {
		for _, b := range lane.Bars {
			if b.Left < 0 || b.Left+b.Width > 100.01 || b.Install < 0 || b.Install > 100 || b.Tip == "" {
				t.Errorf("%s: %+v", lane.Agent, b)
			}
		}
	}
	// A clock that stands before the submission draws nothing outside the page.
	early := attempt(1, 1, "a1", "", -50, -40)
	if b := s.bar(&early); b.Left != 0 || b.Width != 0 {
		t.Errorf("%+v", b)
	}
	if b := (scale{from: submitted}).bar(&early); b.Width != 0 {
		t.Errorf("a run without length: %+v", b)
	}
}
