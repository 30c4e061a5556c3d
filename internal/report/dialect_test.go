package report

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

// older is a report in the shape of Playwright 1.40: no annotations on results, no errorLocation, nested describes, two projects merged.
const older = `{
  "config": {
    "configFile": "/ci/shop/playwright.config.js",
    "rootDir": "/ci/shop/e2e",
    "version": "1.40.1"
  },
  "suites": [
    {
      "title": "deep/login.spec.ts",
      "file": "deep/login.spec.ts",
      "column": 0,
      "line": 0,
      "specs": [],
      "suites": [
        {
          "title": "login",
          "file": "deep/login.spec.ts",
          "line": 3,
          "column": 6,
          "specs": [],
          "suites": [
            {
              "title": "",
              "file": "deep/login.spec.ts",
              "line": 4,
              "column": 8,
              "specs": [
                {
                  "title": "wrong password",
                  "ok": true,
                  "tags": [],
                  "file": "deep/login.spec.ts",
                  "line": 5,
                  "column": 5,
                  "id": "x",
                  "tests": [
                    {
                      "timeout": 30000,
                      "annotations": [],
                      "expectedStatus": "passed",
                      "projectId": "chromium",
                      "projectName": "chromium",
                      "results": [
                        {
                          "workerIndex": 0,
                          "status": "passed",
                          "duration": 11.5,
                          "errors": [],
                          "stdout": [{"text": "hello\n"}],
                          "stderr": [{"buffer": "aGk="}],
                          "retry": 0,
                          "startTime": "2024-01-01T00:00:00.000Z",
                          "attachments": []
                        }
                      ],
                      "status": "expected"
                    },
                    {
                      "timeout": 30000,
                      "annotations": [],
                      "expectedStatus": "passed",
                      "projectId": "webkit",
                      "projectName": "webkit",
                      "results": [
                        {
                          "workerIndex": 1,
                          "status": "timedOut",
                          "duration": 30000,
                          "error": {"message": "Test timeout of 30000ms exceeded."},
                          "errors": [],
                          "stdout": [],
                          "stderr": [],
                          "retry": 0,
                          "startTime": "2024-01-01T00:00:00.000Z",
                          "attachments": []
                        },
                        {
                          "workerIndex": 2,
                          "status": "failed",
                          "duration": 100,
                          "errors": [{"value": "'thrown text'"}],
                          "stdout": [],
                          "stderr": [],
                          "retry": 1,
                          "startTime": "2024-01-01T00:00:31.000Z",
                          "attachments": []
                        }
                      ],
                      "status": "unexpected"
                    }
                  ]
                }
              ]
            }
          ]
        }
      ]
    }
  ],
  "errors": [],
  "stats": {
    "startTime": "2024-01-01T00:00:00.000Z",
    "duration": 32000.25,
    "expected": 1,
    "skipped": 0,
    "unexpected": 1,
    "flaky": 0
  }
}`

func TestParsePlaywrightOlder(t *testing.T) {
	r, err := ParsePlaywright([]byte(older), inShop)
	if err != nil {
		t.Fatal(err)
	}
	want := "passed e2e/deep/login.spec.ts › login › wrong password\nfailed e2e/deep/login.spec.ts › login › wrong password\n"
	if got := lines(&r); got != want {
		t.Errorf("tests:\n%swant:\n%s", got, want)
	}
	if r.DurationMS != 32000 || r.Tests[0].DurationMS != 12 || r.Tests[1].DurationMS != 30100 {
		t.Errorf("durations %d, %d, %d", r.DurationMS, r.Tests[0].DurationMS, r.Tests[1].DurationMS)
	}
	if got := r.Tests[1]; got.Project != "webkit" || got.Message != "Test timeout of 30000ms exceeded." || got.ErrorFile != "" || got.ErrorLine != 0 {
		t.Errorf("%+v", got)
	}
	v := Judge(Evidence{Ended: EndExited, ExitCode: 1, Report: &r, ReportExpected: true})
	wantVerdict(t, v, qgjob.OutcomeFailed, qgjob.ReasonAssertion, "login › wrong password: Test timeout of 30000ms exceeded.")
}

// TestParsePlaywrightThrownValue: a test may throw what is no Error at all.
func TestParsePlaywrightThrownValue(t *testing.T) {
	for _, test := range []struct{ name, errors, want string }{
		{"message", `[{"message":"Error: m","stack":"s","value":"v"}]`, "Error: m"},
		{"stack alone", `[{"stack":"Error: s\n at x"}]`, "Error: s\n at x"},
		{"value alone", `[{"value":"'thrown text'"}]`, "'thrown text'"},
		{"nothing", `[{}]`, "expected to end as passed, but it failed"},
		{"no errors", `[]`, "expected to end as passed, but it failed"},
		{"two", `[{"message":"one"},{"message":"two"}]`, "one\n\ntwo"},
		{"an empty one first", `[{"message":""},{"message":"two"}]`, "two"},
		{
			"colours alone",
			`[{"message":"\u001b[31m\u001b[0m"}]`,
			"expected to end as passed, but it failed",
		},
	} {
		in := pw("unexpected", "passed", `{"status":"failed","errors":`+test.errors+`}`)
		r, err := ParsePlaywright([]byte(in), Limits{})
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got := r.Tests[0].Message; got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// TestParsePlaywrightPlaces: lines and columns come from JavaScript, where every number is a float.
func TestParsePlaywrightPlaces(t *testing.T) {
	for line, want := range map[string]int{"10": 10, "10.0": 10, "1e1": 10, "0": 0, "-3": 0, "1.5": 0, "1e300": 0} {
		in := pw("unexpected", "passed", `{"status":"failed","errors":[{"message":"m","location":{"file":"/ci/shop/tests/x.spec.js","line":`+line+`,"column":1}}]}`)
		r, err := ParsePlaywright([]byte(in), inShop)
		if err != nil {
			t.Errorf("line %s: %v", line, err)
			continue
		}
		if got := r.Tests[0]; got.ErrorLine != want || got.ErrorFile != "tests/x.spec.js" {
			t.Errorf("line %s: %s:%d, want %d", line, got.ErrorFile, got.ErrorLine, want)
		}
	}
}

// TestParsePlaywrightAttachments: what a test calls its files is text, and where they are is somebody else's decision to follow.
func TestParsePlaywrightAttachments(t *testing.T) {
	many := strings.Repeat(`{"name":"a","path":"/x"},`, maxAttachments)
	for _, test := range []struct {
		name, list string
		want       string
		err        string
	}{
		{name: "none", list: ``, want: ``},
		{
			name: "a path",
			list: `{"name":"trace","path":"/x/trace.zip","contentType":"application/zip"}`,
			want: `trace|/x/trace.zip||application/zip;`,
		},
		{
			name: "a body",
			list: `{"name":"note","body":"aGk=","contentType":"text/plain"}`,
			want: `note||hi|text/plain;`,
		},
		{name: "an empty body", list: `{"name":"note","body":""}`, want: `note|||;`},
		{name: "neither", list: `{"name":"note"}`, want: ``},
		{
			name: "a name with colours",
			list: `{"name":"\u001b[31mred\nname","path":"/x"}`,
			want: `red name|/x||;`,
		},
		{
			name: "a path too long",
			list: `{"name":"x","path":"/` + strings.Repeat("x", maxPathLen) + `"}`,
			want: ``,
		},
		{
			name: "a body cut short",
			list: `{"name":"x","body":"aGk"}`, err: "is not base64",
		},
		{
			name: "too many",
			list: many + `{"name":"one more","path":"/x"}`,
			err:  "more than 20000 attachments",
		},
	} {
		in := pw("expected", "passed", `{"status":"passed","attachments":[`+test.list+`]}`)
		r, err := ParsePlaywright([]byte(in), Limits{})
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: %v, want %q", test.name, err, test.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		got := ""
		for _, a := range r.Attachments {
			got += fmt.Sprintf("%s|%s|%s|%s;", a.Name, a.Path, a.Body, a.ContentType)
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// TestCheckCounts is every reading of a count that is accepted, and what is not.
func TestCheckCounts(t *testing.T) {
	own := junitCount{tests: 4, bad: 1, badElements: 2, skipped: 1, notRun: 1}
	total := junitCount{tests: 10, bad: 3, badElements: 4, skipped: 2, notRun: 1, outside: 1}
	for _, test := range []struct {
		attribute string
		good      []int
	}{
		{"tests", []int{2, 3, 4, 7, 8, 10}},
		{"failures", []int{1, 2, 3, 4, 5}},
		{"errors", []int{1, 2, 3, 4, 5}},
		{"skipped", []int{1, 2, 3}},
	} {
		for n := range 15 {
			start := xml.StartElement{Name: xml.Name{Local: "testsuite"}, Attr: []xml.Attr{xmlAttr(test.attribute, fmt.Sprint(n))}}
			good := false
			for _, g := range test.good {
				good = good || g == n
			}
			if err := checkCounts(start, own, total); (err == nil) != good {
				t.Errorf("%s=%d: %v, want accepted: %t", test.attribute, n, err, good)
			}
		}
	}
}

func TestLooksLikeFile(t *testing.T) {
	for name, want := range map[string]bool{
		"tests/login.spec.js": true,
		"login.spec.ts":       true,
		`tests\login.py`:      true,
		"flow.yaml":           true,
		"suite.robot":         true,
		"com.shop.LoginTest":  false,
		"tests.test_login":    false,
		"Cart › total":        false,
		"a sentence/with it":  false,
		".js":                 false,
		"js":                  false,
		"":                    false,
		"trailing.":           false,
	} {
		if got := looksLikeFile(name); got != want {
			t.Errorf("looksLikeFile(%q) = %t", name, got)
		}
	}
}

func TestOutcomeWord(t *testing.T) {
	for outcome, want := range map[qgjob.Outcome]string{
		qgjob.OutcomePassed:      "passed",
		qgjob.OutcomeFailed:      "failed",
		qgjob.OutcomeErrored:     "errored",
		qgjob.OutcomeLost:        "errored",
		qgjob.OutcomeCancelled:   "cancelled",
		qgjob.OutcomeInterrupted: "cancelled",
		qgjob.OutcomeReleased:    "cancelled",
		qgjob.OutcomeStale:       "cancelled",
		"":                       "running",
		"unheard-of":             "cancelled",
	} {
		if got := outcomeWord(outcome); got != want {
			t.Errorf("%q is shown as %s, want %s", outcome, got, want)
		}
	}
	for status, want := range map[qgjob.TestStatus]string{pass: "passed", fail: "failed", flaky: "flaky", skip: "skipped", "": "failed", "unheard-of": "failed"} {
		if got := testWord(status); got != want {
			t.Errorf("test status %q is shown as %s, want %s", status, got, want)
		}
	}
}

// TestFirstProblem: what an exec runner's report adds to "left with code 2".
func TestFirstProblem(t *testing.T) {
	for _, test := range []struct {
		name   string
		report *Report
		want   string
	}{
		{"nothing", of(pass, skip), ""},
		{
			"a failure after a flaky test",
			of(pass, flaky, fail),
			"t2: expect(received).toBe(expected)",
		},
		{"a flaky test", of(pass, flaky), "t1: expect(received).toBe(expected)"},
		{
			"an error outside",
			of(pass).with(func(r *Report) { r.Errors = []string{"boom", "bang"} }),
			"boom",
		},
		{"a failure without a message", failing(""), "t0"},
		{
			"both",
			of(fail).with(func(r *Report) { r.Errors = []string{"boom"} }),
			"t0: expect(received).toBe(expected)",
		},
	} {
		if got := test.report.firstProblem(); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
