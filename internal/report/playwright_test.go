package report

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/qualgent/qgjob"
)

// inShop is where the samples' project stood.
var inShop = Limits{Project: "/ci/shop"}

func sample(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parsed(t testing.TB, name string) *Report {
	t.Helper()
	r, err := ParsePlaywright(sample(t, name+".json"), inShop)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return &r
}

// lines writes a report's tests as "status file › title" for comparison.
func lines(r *Report) string {
	var b strings.Builder
	for _, t := range r.Tests {
		fmt.Fprintf(&b, "%s %s › %s\n", t.Status, t.File, strings.Join(t.Title, " › "))
	}
	return b.String()
}

// TestParsePlaywrightSamples reads what Playwright 1.56.1 really wrote.
func TestParsePlaywrightSamples(t *testing.T) {
	for _, test := range []struct {
		name                string
		want                string
		errors, cut, notRun int
		files               int
	}{
		{
			name: "a",
			want: "passed tests/a_passed.spec.js › cart › shows the title\npassed tests/a_passed.spec.js › cart › shows the total\n",
		},
		{
			name:  "b",
			want:  "passed tests/b_failed.spec.js › cart › shows the title\nfailed tests/b_failed.spec.js › cart › shows the wrong total\n",
			files: 3,
		},
		{name: "c_syntax", errors: 2},
		{name: "c_throw", errors: 1},
		{name: "d_no_such_file", errors: 1},
		{name: "d_empty_file", errors: 1},
		{name: "e_skipped", want: "passed tests/e_skipped.spec.js › plain\nskipped tests/e_skipped.spec.js › skipped by name\n" +
			"skipped tests/e_skipped.spec.js › skipped with a reason\nskipped tests/e_skipped.spec.js › to be fixed\npassed tests/e_skipped.spec.js › expected to fail\n"},
		{
			name: "e_all_skipped",
			want: "skipped tests/e_all_skipped.spec.js › skipped by name\n",
		},
		{
			name:  "e_unexpected_pass",
			want:  "failed tests/e_unexpected_pass.spec.js › expected to fail but passes\n",
			files: 1,
		},
		{name: "f_timeout", want: "failed tests/f_timeout.spec.js › hangs\n", files: 3},
		{name: "f_global_timeout", want: "passed tests/f_global_timeout.spec.js › first\nskipped tests/f_global_timeout.spec.js › hangs past the global timeout\n" +
			"skipped tests/f_global_timeout.spec.js › never starts\n", errors: 2, notRun: 2},
		{name: "g_sigint", want: "passed tests/g_interrupted.spec.js › first\nskipped tests/g_interrupted.spec.js › is running when SIGINT comes\n" +
			"skipped tests/g_interrupted.spec.js › never starts\n", cut: 1, notRun: 1, files: 2},
		{
			name:  "h_flaky",
			want:  "flaky tests/h_flaky.spec.js › passes the second time\n",
			files: 1,
		},
		{
			name:   "i_before_all",
			want:   "failed tests/i_setup_error.spec.js › one\nskipped tests/i_setup_error.spec.js › two\n",
			notRun: 1, files: 1,
		},
		{
			name:  "j_no_browser",
			want:  "failed tests/a_passed.spec.js › cart › shows the title\nfailed tests/a_passed.spec.js › cart › shows the total\n",
			files: 2,
		},
		{
			name:  "k_app_unreachable",
			want:  "failed tests/a_passed.spec.js › cart › shows the title\nfailed tests/a_passed.spec.js › cart › shows the total\n",
			files: 6,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := parsed(t, test.name)
			if got := lines(r); got != test.want {
				t.Errorf("tests:\n%swant:\n%s", got, test.want)
			}
			if len(r.Errors) != test.errors || r.Interrupted != test.cut || r.NotRun != test.notRun {
				t.Errorf("%d errors, %d interrupted, %d not run; want %d, %d, %d", len(r.Errors), r.Interrupted, r.NotRun, test.errors, test.cut, test.notRun)
			}
			if len(r.Attachments) != test.files {
				t.Errorf("%d attachments, want %d: %+v", len(r.Attachments), test.files, r.Attachments)
			}
			if r.DurationMS == 0 {
				t.Error("no duration")
			}
			wantSound(t, r)
		})
	}
}

// wantSound holds every report against what the package promises of all of them.
func wantSound(t *testing.T, r *Report) {
	t.Helper()
	for i, test := range r.Tests {
		switch test.Status {
		case qgjob.TestPassed, qgjob.TestFailed, qgjob.TestFlaky, qgjob.TestSkipped:
		default:
			t.Errorf("test %d has status %q", i, test.Status)
		}
		if len(test.Title) == 0 {
			t.Errorf("test %d has no title", i)
		}
		if len(test.Message) > qgjob.MaxMessage {
			t.Errorf("message of %d bytes", len(test.Message))
		}
		if strings.HasPrefix(test.File, "/") || strings.HasPrefix(test.File, "../") || test.DurationMS < 0 || test.Line < 0 || test.ErrorLine < 0 {
			t.Errorf("test %d: %+v", i, test)
		}
		for _, s := range append([]string{test.File, test.Project, test.Message, test.ErrorFile}, test.Title...) {
			wantClean(t, s)
		}
	}
	for _, s := range r.Errors {
		wantClean(t, s)
		if len(s) > qgjob.MaxMessage || s == "" {
			t.Errorf("top-level error of %d bytes", len(s))
		}
	}
	for _, a := range r.Attachments {
		if a.Test < 0 || a.Test >= len(r.Tests) {
			t.Errorf("attachment of test %d of %d", a.Test, len(r.Tests))
		}
	}
}

func TestParsePlaywrightFailure(t *testing.T) {
	r := parsed(t, "b")
	got := r.Tests[1]
	if got.Line != 7 || got.ErrorFile != "tests/b_failed.spec.js" || got.ErrorLine != 10 || got.DurationMS != 1293 {
		t.Errorf("places and time: %+v", got)
	}
	if !strings.HasPrefix(got.Message, "Error: expect(locator).toHaveText(expected) failed\n\nLocator:  getByTestId('total')\nExpected: \"£9.99 & <b>\"\nReceived: \"£3.50\"") {
		t.Errorf("message: %s", got.Message)
	}
	if strings.Contains(got.Message, inShop.Project) || !strings.Contains(got.Message, "at tests/b_failed.spec.js:10:47") {
		t.Errorf("the project's folder is not cut out of:\n%s", got.Message)
	}
	want := Attachment{Test: 1, Name: "screenshot", Path: "/ci/shop/test-results/b_failed-cart-shows-the-wrong-total/test-failed-1.png", ContentType: "image/png"}
	if a := r.Attachments[0]; a.Test != want.Test || a.Name != want.Name || a.Path != want.Path || a.ContentType != want.ContentType {
		t.Errorf("attachment %+v, want %+v", a, want)
	}
}

func TestParsePlaywrightMessages(t *testing.T) {
	for name, want := range map[string]string{
		"e_unexpected_pass": "expected to end as failed, but it passed",
		"f_timeout":         "Test timeout of 1500ms exceeded.\n\nError: locator.click: Test timeout of 1500ms exceeded.",
		"h_flaky":           "Error: expect(received).toBe(expected) // Object.is equality",
		"i_before_all":      "Error: beforeAll broke",
	} {
		if got := parsed(t, name).Tests[0].Message; !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want it to begin with %q", name, got, want)
		}
	}
	skipped := parsed(t, "e_skipped")
	if got := skipped.Tests[2].Message; got != "not in this version" {
		t.Errorf("reason for the skip: %q", got)
	}
	cut := parsed(t, "g_sigint")
	if got := cut.Tests[2].Message; got != "never ran" {
		t.Errorf("a test that never ran says %q", got)
	}
	if got := parsed(t, "c_throw").Errors[0]; got != "Error: fixture data is missing\nat tests/c_throw.spec.js:3" {
		t.Errorf("top-level error: %q", got)
	}
}

// pw wraps specs into a whole report. Stats are what its one test of the given status wants.
func pw(status, expected, results string) string {
	stats := map[string]int{status: 1}
	return fmt.Sprintf(`{"config":{"rootDir":"/ci/shop/tests"},"suites":[{"title":"x.spec.js","file":"x.spec.js","specs":[
		{"title":"t","ok":%t,"file":"x.spec.js","line":3,"tests":[{"expectedStatus":%q,"projectName":"Pixel 7","status":%q,"results":[%s]}]}]}],
		"errors":[],"stats":{"duration":12.5,"expected":%d,"unexpected":%d,"flaky":%d,"skipped":%d}}`,
		status != "unexpected", expected, status, results, stats["expected"], stats["unexpected"], stats["flaky"], stats["skipped"])
}

const (
	okResult   = `{"status":"passed","duration":5}`
	badResult  = `{"status":"failed","duration":7,"errors":[{"message":"Error: no"}]}`
	skipResult = `{"status":"skipped","duration":0}`
)

func TestParsePlaywrightStatus(t *testing.T) {
	for _, test := range []struct {
		name, status, expected, results string
		want                            qgjob.TestStatus
		notRun, cut                     int
	}{
		{"passed", "expected", "passed", okResult, qgjob.TestPassed, 0, 0},
		{"failed", "unexpected", "passed", badResult, qgjob.TestFailed, 0, 0},
		{
			"failed twice",
			"unexpected", "passed", badResult + "," + badResult, qgjob.TestFailed, 0, 0,
		},
		{
			"timed out",
			"unexpected", "passed", `{"status":"timedOut","duration":9}`, qgjob.TestFailed, 0, 0,
		},
		{"flaky", "flaky", "passed", badResult + "," + okResult, qgjob.TestFlaky, 0, 0},
		{
			"failed, then skipped itself",
			"flaky", "skipped", badResult + "," + skipResult, qgjob.TestFailed, 0, 0,
		},
		{"failed as announced", "expected", "failed", badResult, qgjob.TestPassed, 0, 0},
		{
			"passed against its announcement",
			"unexpected", "failed", okResult, qgjob.TestFailed, 0, 0,
		},
		{"skipped", "skipped", "skipped", skipResult, qgjob.TestSkipped, 0, 0},
		{"skipped before it began", "skipped", "skipped", "", qgjob.TestSkipped, 0, 0},
		{
			"skipped by annotation",
			"skipped", "passed",
			`{"status":"skipped","annotations":[{"type":"skip","description":"later"}]}`,
			qgjob.TestSkipped, 0, 0,
		},
		{"never ran", "skipped", "passed", "", qgjob.TestSkipped, 1, 0},
		{"given up", "skipped", "passed", skipResult, qgjob.TestSkipped, 1, 0},
		{
			"cut short",
			"skipped", "passed",
			`{"status":"interrupted","duration":-1}`,
			qgjob.TestSkipped, 0, 1,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := ParsePlaywright([]byte(pw(test.status, test.expected, test.results)), inShop)
			if err != nil {
				t.Fatal(err)
			}
			got := r.Tests[0]
			if got.Status != test.want || r.NotRun != test.notRun || r.Interrupted != test.cut {
				t.Errorf("%s, %d not run, %d cut short; want %s, %d, %d", got.Status, r.NotRun, r.Interrupted, test.want, test.notRun, test.cut)
			}
			if got.Project != "Pixel 7" || got.File != "tests/x.spec.js" || got.Line != 3 {
				t.Errorf("%+v", got)
			}
			wantSound(t, &r)
		})
	}
}

// TestParsePlaywrightMergedProjects: Playwright takes a spec's ok from the first project only, so ok true with a failed second run is real.
func TestParsePlaywrightMergedProjects(t *testing.T) {
	in := `{"suites":[{"title":"x.spec.js","file":"x.spec.js","specs":[{"title":"t","ok":true,"tests":[
		{"expectedStatus":"passed","projectName":"one","status":"expected","results":[` + okResult + `]},
		{"expectedStatus":"passed","projectName":"two","status":"unexpected","results":[` + badResult + `]}]}]}],
		"errors":[],"stats":{"expected":1,"unexpected":1,"flaky":0,"skipped":0}}`
	r, err := ParsePlaywright([]byte(in), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Tests) != 2 || r.Tests[0].Status != qgjob.TestPassed || r.Tests[1].Status != qgjob.TestFailed || r.Tests[1].Project != "two" {
		t.Errorf("%+v", r.Tests)
	}
}

// whole is a sound report of one passed test.
var whole = pw("expected", "passed", okResult)

// unusable is whole with one thing wrong in each row, and what was never a report.
var unusable = []struct{ name, in, want string }{
	{"nothing", "", "it is empty"},
	{"blanks", " \n\t", "it is empty"},
	{"not JSON", "Error: Cannot find module", "invalid character"},
	{"HTML", "<!doctype html>", "invalid character"},
	{"null", "null", "it has no suites"},
	{"a list", "[]", `a [ at ""`},
	{"a number", "1", `a number at ""`},
	{"no members", "{}", "it has no suites"},
	{"no suites", `{"errors":[],"stats":{}}`, "it has no suites"},
	{"null suites", `{"suites":null,"errors":[],"stats":{}}`, "it has no suites"},
	{
		"suites of another type",
		`{"suites":{},"errors":[],"stats":{}}`,
		`a { at "/suites"`,
	},
	{
		"suites spelled otherwise",
		strings.Replace(whole, `"suites"`, `"Suites"`, 1),
		"it has no suites",
	},
	{"no errors", `{"suites":[],"stats":{}}`, "no errors member"},
	{"no stats", `{"suites":[],"errors":[]}`, "no stats"},
	{
		"half the stats",
		`{"suites":[],"errors":[],"stats":{"expected":0}}`,
		"stats lack unexpected",
	},
	{"cut short", whole[:len(whole)-40], "it is cut short"},
	{"trailing garbage", whole + "x", "invalid character"},
	{"two reports", whole + whole, "something after its end"},
	{
		"suites twice",
		strings.Replace(whole, `"errors":[]`, `"errors":[],"suites":[]`, 1),
		"duplicate",
	},
	{
		"status twice",
		strings.Replace(whole, `"status":"expected"`, `"status":"unexpected","status":"expected"`, 1),
		"duplicate",
	},
	{
		"unknown status",
		strings.Replace(whole, `"status":"expected"`, `"status":"great"`, 1),
		`unknown status "great"`,
	},
	{
		"unknown result",
		strings.Replace(whole, `"status":"passed"`, `"status":"ok"`, 1),
		`unknown status "ok"`,
	},
	{
		"unknown expectation",
		strings.Replace(whole, `"expectedStatus":"passed"`, `"expectedStatus":"any"`, 1),
		`unknown expectedStatus "any"`,
	},
	{
		"no status",
		strings.Replace(whole, `"status":"expected",`, ``, 1),
		"lacks its results, status",
	},
	{
		"null status",
		strings.Replace(whole, `"status":"expected"`, `"status":null`, 1),
		"lacks its results, status",
	},
	{
		"no result status",
		strings.Replace(whole, `"status":"passed"`, `"state":"passed"`, 1),
		"lacks its status",
	},
	{
		"no results",
		strings.Replace(whole, `"results"`, `"result"`, 1),
		"lacks its results",
	},
	{
		"no title",
		strings.Replace(whole, `"title":"t"`, `"name":"t"`, 1),
		"lacks its title",
	},
	{
		"no tests",
		strings.Replace(whole, `"tests"`, `"test"`, 1),
		"lacks its title, ok or tests",
	},
	{
		"status of another type",
		strings.Replace(whole, `"status":"expected"`, `"status":1`, 1),
		`a number at "/suites/0/specs/0/tests/0/status"`,
	},
	{
		"expected though it failed",
		pw("expected", "passed", badResult), "contradicts itself",
	},
	{
		"expected after a failure",
		pw("expected", "passed", badResult+","+okResult),
		"contradicts itself",
	},
	{"expected without a result", pw("expected", "passed", ""), "contradicts itself"},
	{
		"expected though skipped",
		pw("expected", "passed", skipResult), "contradicts itself",
	},
	{
		"skipped though it failed",
		pw("skipped", "passed", badResult), "contradicts itself",
	},
	{
		"flaky though it never passed",
		pw("flaky", "passed", badResult), "contradicts itself",
	},
	{
		"unexpected though it passed",
		pw("unexpected", "passed", okResult), "contradicts itself",
	},
	{
		"not ok, none failed",
		strings.Replace(whole, `"ok":true`, `"ok":false`, 1),
		"none of its runs failed",
	},
	{
		"stats claim a failure",
		strings.Replace(whole, `"unexpected":0`, `"unexpected":1`, 1),
		"stats say 1 unexpected, it holds 0",
	},
	{
		"stats claim more passes",
		strings.Replace(whole, `"expected":1`, `"expected":9`, 1),
		"stats say 9 expected, it holds 1",
	},
	{
		"attachment not base64",
		pw("expected", "passed", `{"status":"passed","attachments":[{"name":"a","body":"%%"}]}`),
		"is not base64",
	},
	{
		"nested too deep",
		strings.Repeat("[", 300) + strings.Repeat("]", 300),
		"nested more than 256 deep",
	},
	{
		"nested for ever",
		strings.Repeat(`{"suites":[`, 100_000),
		"nested more than 256 deep",
	},
	{
		"too many objects",
		"[" + strings.Repeat("{},", maxObjects+1) + "{}]",
		"more than 1048576 objects",
	},
}

// TestParsePlaywrightRefuses: what cannot be trusted is an error that says why.
func TestParsePlaywrightRefuses(t *testing.T) {
	for _, test := range unusable {
		t.Run(test.name, func(t *testing.T) {
			r, err := ParsePlaywright([]byte(test.in), inShop)
			if err == nil {
				t.Fatalf("accepted: %+v", r)
			}
			if !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "Playwright report: ") {
				t.Errorf("error %q, want it to hold %q", err, test.want)
			}
			if e, ok := errors.AsType[*qgjob.Error](err); !ok || e.Kind != qgjob.KindInvalid {
				t.Errorf("error of kind %s", qgjob.KindOf(err))
			}
			if len(r.Tests) > 0 {
				t.Error("tests beside an error")
			}
		})
	}
}

func TestParsePlaywrightLimits(t *testing.T) {
	data := sample(t, "a.json")
	for _, test := range []struct {
		limits Limits
		want   string
	}{
		{Limits{MaxBytes: len(data) - 1}, "bytes long; allowed"},
		{Limits{MaxTests: 1}, "more than 1 tests"},
		{Limits{MaxDepth: 4}, "nested more than 4 deep"},
	} {
		if _, err := ParsePlaywright(data, test.limits); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.limits, err, test.want)
		}
	}
	if _, err := ParsePlaywright(data, Limits{MaxBytes: len(data), MaxTests: 2}); err != nil {
		t.Errorf("at its limits: %v", err)
	}
}

func TestParsePlaywrightText(t *testing.T) {
	long := strings.Repeat("£", 3*qgjob.MaxMessage)
	in := pw("unexpected", "passed", `{"status":"failed","errors":[{"message":"\u001b[31m\ud83d lone\u001b]0;title\u0007`+long+`"}],
		"attachments":[{"name":"note","contentType":"text/plain","body":"aGVsbG8="},{"name":"nothing"}]}`)
	r, err := ParsePlaywright([]byte(in), inShop)
	if err != nil {
		t.Fatal(err)
	}
	got := r.Tests[0].Message
	if len(got) > qgjob.MaxMessage || len(got) < qgjob.MaxMessage-8 || !utf8.ValidString(got) || !strings.HasSuffix(got, "£…") {
		t.Errorf("message of %d bytes ends in %q", len(got), got[len(got)-8:])
	}
	if !strings.HasPrefix(got, "\ufffd lone£") {
		t.Errorf("message begins with %q", got[:20])
	}
	if len(r.Attachments) != 1 || string(r.Attachments[0].Body) != "hello" {
		t.Errorf("attachments: %+v", r.Attachments)
	}
}

func TestInProject(t *testing.T) {
	for _, test := range []struct{ project, dir, name, want string }{
		{"/ci/shop", "/ci/shop/tests", "a.spec.js", "tests/a.spec.js"},
		{"/ci/shop/", "/ci/shop/tests", "deep/a.spec.js", "tests/deep/a.spec.js"},
		{"/ci/shop", "/ci/shop/tests", "../other/a.spec.js", "other/a.spec.js"},
		{"/ci/shop", "/ci/shop/tests", "../../elsewhere/a.spec.js", "a.spec.js"},
		{"/ci/shop", "", "/ci/shop/tests/a.spec.js", "tests/a.spec.js"},
		{"/ci/shop", "", "/ci/shopping/a.spec.js", "a.spec.js"},
		{"/ci/shop", "", "/usr/lib/node_modules/x/index.js", "index.js"},
		{"", "/ci/shop/tests", "a.spec.js", "a.spec.js"},
		{"", "", "../../etc/passwd", "etc/passwd"},
		{`C:\ci\shop`, `C:\ci\shop\tests`, `deep\a.spec.js`, "tests/deep/a.spec.js"},
		{"/ci/shop", "/ci/shop/tests", "", ""},
		{"/ci/shop", "/ci/shop/tests", "a\x1b[31m.js", "tests/a.js"},
		{"/ci/shop", "", strings.Repeat("a", 5000), ""},
	} {
		l := Limits{Project: test.project}.withDefaults()
		if got := l.inProject(test.dir, test.name); got != test.want {
			t.Errorf("inProject(%q, %q) in %q = %q, want %q", test.dir, test.name, test.project, got, test.want)
		}
	}
}

func TestTopLevelErrorsAreBounded(t *testing.T) {
	one := `{"message":"Error: again"},`
	in := `{"suites":[],"errors":[` + strings.Repeat(one, 5000) + `{}],"stats":{"expected":0,"unexpected":0,"flaky":0,"skipped":0}}`
	r, err := ParsePlaywright([]byte(in), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Errors) != maxErrors+1 || !strings.Contains(r.Errors[maxErrors], "more than 100 errors") {
		t.Errorf("%d errors, the last %q", len(r.Errors), r.Errors[len(r.Errors)-1])
	}
}

func FuzzParsePlaywright(f *testing.F) {
	for _, name := range []string{"a", "b", "c_throw", "d_no_such_file", "e_skipped", "e_unexpected_pass", "f_global_timeout", "g_sigint", "h_flaky", "i_before_all"} {
		f.Add(sample(f, name+".json"))
	}
	for _, s := range []string{"", "{}", "null", pw("expected", "passed", okResult), pw("flaky", "passed", badResult+","+okResult)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParsePlaywright(data, inShop)
		if err != nil {
			if v := Judge(Evidence{Ended: EndExited, ReportErr: err, ReportExpected: true}); v.Outcome == qgjob.OutcomePassed {
				t.Errorf("an unreadable report is a pass")
			}
			return
		}
		wantSound(t, &r)
		wantHonest(t, Evidence{Ended: EndExited, Report: &r, ReportExpected: true})
	})
}
