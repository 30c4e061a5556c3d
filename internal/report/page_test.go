package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// one wraps a job with its attempts into a page.
func one(t *testing.T, j qgjob.Job, attempts ...qgjob.Attempt) string {
	t.Helper()
	page := html(t, qgjob.Run{RunID: 1, OrgID: "o", SubmittedAt: submitted, FinishedAt: after(60)}, []JobReport{{j, attempts}})
	wantPage(t, page, 1)
	return pageWords(page)
}

// seven is an exit code.
func seven() *int {
	n := 7
	return &n
}

// attemptTexts is what the page says of an attempt's install, exit code, log and end.
var attemptTexts = []struct {
	name   string
	change func(*qgjob.Attempt)
	want   []string
	not    []string
}{
	{
		"installed",
		func(a *qgjob.Attempt) { a.Install, a.InstallMS = qgjob.InstallDone, 61_000 },
		[]string{"install 1 min 01 s"},
		[]string{"avoided,", "install failed"},
	},
	{
		"install avoided",
		func(a *qgjob.Attempt) { a.Install, a.InstallMS = qgjob.InstallAvoided, 0 },
		[]string{", install avoided"},
		[]string{"install failed"},
	},
	{
		"install failed",
		func(a *qgjob.Attempt) { a.Install = qgjob.InstallFailed },
		[]string{", install failed"},
		[]string{", install avoided"},
	},
	{
		"no notion of installs",
		func(a *qgjob.Attempt) { a.Install = qgjob.InstallNone },
		[]string{"test 3.0 s"},
		[]string{", install avoided", ", install failed"},
	},
	{
		"exit code 0 is a code",
		func(a *qgjob.Attempt) { a.ExitCode = new(int) },
		[]string{"exit code 0"},
		nil,
	},
	{
		"exit code 7",
		func(a *qgjob.Attempt) { a.ExitCode = seven() },
		[]string{"exit code 7"},
		nil,
	},
	{
		"no exit code",
		func(a *qgjob.Attempt) { a.ExitCode = nil },
		nil,
		[]string{"exit code"},
	},
	{
		"no log",
		func(a *qgjob.Attempt) { a.LogBytes = 0 },
		nil,
		[]string{"log"},
	},
	{
		"still going on",
		func(a *qgjob.Attempt) { a.Outcome, a.EndedAt = "", nil },
		[]string{"Attempt 1   running"},
		nil,
	},
	{
		"its own message",
		func(a *qgjob.Attempt) { a.Message = "the device went away" },
		[]string{"the device went away"},
		nil,
	},
}

func TestPageAttempts(t *testing.T) {
	for _, test := range attemptTexts {
		t.Run(test.name, func(t *testing.T) {
			a := attempt(1, 1, "a1", qgjob.OutcomeErrored, 1, 4)
			test.change(&a)
			j := job(1, "x.spec.js", "v1", qgjob.Errored, "a1")
			j.Reason = qgjob.ReasonDevice
			got := one(t, j, a)
			got, _, _ = strings.Cut(got, "Who did what when")
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q is missing in\n%s", want, got)
				}
			}
			_, inside, _ := strings.Cut(got, "x.spec.js")
			for _, not := range test.not {
				if strings.Contains(inside, not) {
					t.Errorf("%q is said in\n%s", not, inside)
				}
			}
		})
	}
}

// TestPageSaysThingsOnce: the message of the attempt that decided is the job's, and is not printed again.
func TestPageSaysThingsOnce(t *testing.T) {
	for _, message := range []string{"the device went away", "the device went away\nand here is why"} {
		j := job(1, "x.spec.js", "v1", qgjob.Errored, "a1")
		j.Reason, j.Message = qgjob.ReasonDevice, message
		a := attempt(1, 1, "a1", qgjob.OutcomeErrored, 1, 4)
		a.Message = message
		if got := one(t, j, a); strings.Count(got, "the device went away") != 1 {
			t.Errorf("%q is said %d times in\n%s", message, strings.Count(got, "the device went away"), got)
		}
	}
}

// TestPageArtifacts: a test's own artifacts stand beside it, the others beside their attempt, each once.
func TestPageArtifacts(t *testing.T) {
	first, second := attempt(1, 1, "a1", qgjob.OutcomeErrored, 1, 4), attempt(1, 2, "a1", qgjob.OutcomeFailed, 5, 9)
	for _, a := range []*qgjob.Attempt{&first, &second} {
		a.Artifacts = []qgjob.Artifact{
			{LeaseID: a.LeaseID, Name: "shot.png", ContentType: "image/png", Size: 10},
			{LeaseID: a.LeaseID, Name: "log/cat.txt", ContentType: "text/plain", Size: 20},
		}
	}
	failing := qgjob.TestResult{Title: []string{"a"}, Status: fail, Message: "no", Attachment: []string{"shot.png", "not-uploaded.zip"}}
	second.Tests = []qgjob.TestResult{failing}
	j := job(1, "x.spec.js", "v1", qgjob.Failed, "a1")
	j.Reason = qgjob.ReasonAssertion
	page := html(t, qgjob.Run{RunID: 1, SubmittedAt: submitted}, []JobReport{{j, []qgjob.Attempt{first, second}}})
	for url, want := range map[string]int{
		source(first.Artifacts[0]):                                        1,
		source(second.Artifacts[0]):                                       1,
		`href="/v1/artifacts/` + string(first.LeaseID) + `/shot.png"`:     1,
		`href="/v1/artifacts/` + string(second.LeaseID) + `/shot.png"`:    1,
		`href="/v1/artifacts/` + string(first.LeaseID) + `/log/cat.txt"`:  1,
		`href="/v1/artifacts/` + string(second.LeaseID) + `/log/cat.txt"`: 1,
		"not-uploaded.zip": 0,
	} {
		if got := strings.Count(page, url); got != want {
			t.Errorf("%s stands %d times, want %d", url, got, want)
		}
	}
	wantInOrder(t, page, string(second.LeaseID)+`/shot.png`, "Attempt 1", string(first.LeaseID)+`/shot.png`, "Attempt 2", string(second.LeaseID)+`/log/cat.txt`)
}

// TestPageInstalls: savings are counted installs times a measured mean, and nothing is claimed that was not measured.
func TestPageInstalls(t *testing.T) {
	for _, test := range []struct {
		name                    string
		installs, avoided       int
		ms                      int64
		want                    string
		claimsMean, claimsSaved bool
	}{
		{"none", 0, 0, 0, "0  installs avoided", false, false},
		{"avoided only: no mean to count with", 0, 5, 0, "5  installs avoided", false, false},
		{"done only", 2, 0, 9000, "2  installs done, 4.5 s each", true, false},
		{"both", 2, 10, 9000, "10  installs avoided, about 45.0 s saved", true, true},
		{"done, not timed", 2, 10, 0, "2  installs done", false, false},
	} {
		run := qgjob.Run{RunID: 1, SubmittedAt: submitted, Installs: test.installs, InstallsAvoided: test.avoided, InstallMS: test.ms}
		got := pageWords(html(t, run, nil))
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: %q is missing in\n%s", test.name, test.want, got)
		}
		if strings.Contains(got, " each") != test.claimsMean || strings.Contains(got, "saved") != test.claimsSaved {
			t.Errorf("%s: claims what was not measured:\n%s", test.name, got)
		}
	}
}

// TestPageRetryOf: a run that repeats another says so.
func TestPageRetryOf(t *testing.T) {
	of := qgjob.RunID(3)
	page := pageWords(html(t, qgjob.Run{RunID: 4, RetryOf: &of, SubmittedAt: submitted}, nil))
	if !strings.Contains(page, "repeats what did not pass of run_3") {
		t.Error(page)
	}
}

// TestCleanEveryEscape goes through every byte after ESC and every 8-bit control: the text around a sequence survives, the sequence does not.
func TestCleanEveryEscape(t *testing.T) {
	for b := range 256 {
		got := Clean("before\x1b" + string([]byte{byte(b)}) + "\x07\nafter")
		wantClean(t, got)
		if !strings.HasPrefix(got, "before") || !strings.HasSuffix(got, "\nafter") {
			t.Errorf("ESC %#x: %q", b, got)
		}
	}
	for r := rune(0x80); r <= 0x9f; r++ {
		got := Clean("before" + string(r) + "\x07\nafter")
		wantClean(t, got)
		if !strings.HasPrefix(got, "before") || !strings.HasSuffix(got, "\nafter") {
			t.Errorf("C1 %#x: %q", r, got)
		}
	}
	for final := byte(0x40); final <= 0x7e; final++ {
		for _, args := range []string{"", "1", "1;2", "?25", "38;2;1;2;3", ">0", "1 ", "!"} {
			if got := Clean(fmt.Sprintf("a\x1b[%s%cb", args, final)); got != "ab" {
				t.Errorf("CSI %s%c: %q", args, final, got)
			}
		}
	}
}

// TestParsersEndQuickly: hostile shapes within the limits cost no more than their size. No clock is read here: the test binary's own timeout
// would tell of a parser that is worse than linear.
func TestParsersEndQuickly(t *testing.T) {
	const n = 200_000
	for name, in := range map[string]string{
		"escapes":        pw("unexpected", "passed", `{"status":"failed","errors":[{"message":"`+strings.Repeat(`\u001b[`, n)+`"}]}`),
		"one long title": strings.Replace(pw("expected", "passed", okResult), `"title":"t"`, `"title":"`+strings.Repeat("x ", n)+`"`, 1),
		"many results":   pw("unexpected", "passed", strings.TrimSuffix(strings.Repeat(badResult+",", n/10), ",")),
		"many members":   `{"suites":[],` + members(n/10) + `"errors":[],"stats":{}}`,
		"attributes":     `<testsuite ` + attributes(n) + `/>`,
		"siblings":       `<testsuite>` + strings.Repeat(`<x/>`, n) + `</testsuite>`,
		"long failure":   `<testsuite><testcase name="a"><failure>` + strings.Repeat("&lt;", n) + `</failure></testcase></testsuite>`,
		"many suites":    `<testsuites>` + strings.Repeat(`<testsuite tests="0"/>`, n/4) + `</testsuites>`,
	} {
		if strings.HasPrefix(in, "<") {
			r, err := ParseJUnit([]byte(in), Limits{})
			if refused := err != nil; refused != (name == "attributes") {
				t.Errorf("%s: %v", name, err)
			}
			wantSound(t, &r)
			continue
		}
		r, err := ParsePlaywright([]byte(in), Limits{})
		if refused := err != nil; refused != (name == "many members") {
			t.Errorf("%s: %v", name, err)
		}
		wantSound(t, &r)
	}
}

func members(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"m%d":0,`, i)
	}
	return b.String()
}

func attributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `a%d="" `, i)
	}
	return b.String()
}

// TestVersionsInOrder: app versions are listed in the order in which they were submitted, with their installs.
func TestVersionsInOrder(t *testing.T) {
	_, jobs := sampleRun()
	got := versions(jobs)
	want := []versionView{
		{Name: "v1.5.0", Jobs: 5, Passed: 2, Bad: 3, Done: 2, Not: 3},
		{Name: "v1.4.0", Jobs: 3, Passed: 3, Bad: 0, Done: 1, Not: 3},
	}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestScaleHoldsEverything: the axis reaches to the last thing known, also when the run has no end yet.
func TestScaleHoldsEverything(t *testing.T) {
	run, jobs := sampleRun()
	for _, test := range []struct {
		name string
		end  *time.Time
		want time.Duration
	}{
		{"no end", nil, 29900 * time.Millisecond},
		{"an end before the last attempt's", after(3), 29900 * time.Millisecond},
		{"an end after it", after(100), 100 * time.Second},
	} {
		run.FinishedAt = test.end
		if got := newScale(run, jobs).span; got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	if got := newScale(qgjob.Run{SubmittedAt: submitted}, nil).span; got != 0 {
		t.Errorf("of nothing: %s", got)
	}
}
