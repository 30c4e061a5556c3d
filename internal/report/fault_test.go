package report

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

// Each test here is named after a fault of another system (docs: "False verdicts") that this room could have.

// playwrightVerdict judges bytes as an agent does after Playwright left with a code.
func playwrightVerdict(data []byte, code int) Verdict {
	r, err := ParsePlaywright(data, Limits{})
	return Judge(Evidence{Ended: EndExited, ExitCode: code, Report: &r, ReportErr: err, ReportExpected: true})
}

func execVerdict(junit []byte) Verdict {
	r, err := ParseJUnit(junit, Limits{})
	return Judge(Evidence{Ended: EndExited, Report: &r, ReportErr: err})
}

// TestFault_TruncatedReportIsNotAPass cuts a report of passed tests at every byte.
func TestFault_TruncatedReportIsNotAPass(t *testing.T) {
	whole := bytes.TrimSpace(sample(t, "a.json"))
	if v := playwrightVerdict(whole, 0); v.Outcome != qgjob.OutcomePassed {
		t.Fatalf("whole: %+v", v)
	}
	for n := range whole {
		if v := playwrightVerdict(whole[:n], 0); v.Outcome != qgjob.OutcomeErrored || v.Reason != qgjob.ReasonNoReport {
			t.Fatalf("after %d of %d bytes: %+v", n, len(whole), v)
		}
	}
	junit := bytes.TrimSpace(sample(t, "a.junit.xml"))
	for n := range junit {
		if v := execVerdict(junit[:n]); v.Outcome != qgjob.OutcomeErrored || v.Reason != qgjob.ReasonNoReport {
			t.Fatalf("JUnit after %d of %d bytes: %+v", n, len(junit), v)
		}
	}
}

func TestFault_MissingReportIsNotAPass(t *testing.T) {
	for _, code := range []int{0, 1, 130} {
		v := Judge(Evidence{Ended: EndExited, ExitCode: code, ReportExpected: true})
		wantVerdict(t, v, qgjob.OutcomeErrored, qgjob.ReasonNoReport, fmt.Sprintf("code %d", code))
	}
}

func TestFault_UnparsableReportIsNotAPass(t *testing.T) {
	for _, in := range []string{"", "ok", "null", "[]", "{}", "true", `"passed"`, `{"status":"passed"}`, `{"suites":[]}`, "<html>", "\x00"} {
		if v := playwrightVerdict([]byte(in), 0); v.Outcome != qgjob.OutcomeErrored {
			t.Errorf("%q: %+v", in, v)
		}
		if v := execVerdict([]byte(in)); v.Outcome != qgjob.OutcomeErrored {
			t.Errorf("JUnit %q: %+v", in, v)
		}
	}
}

// TestFault_OneTickIsNotAPass: one ✓ in the output, one passed test, one "expected" somewhere, and a failure elsewhere.
func TestFault_OneTickIsNotAPass(t *testing.T) {
	v := playwrightVerdict(sample(t, "b.json"), 0)
	wantVerdict(t, v, qgjob.OutcomeFailed, qgjob.ReasonAssertion, "shows the wrong total")
	v = execVerdict([]byte(`<testsuite name="✓ 1 passed"><system-out>✓ all passed</system-out><testcase name="✓ passed"/><testcase name="b"><failure/></testcase></testsuite>`))
	wantVerdict(t, v, qgjob.OutcomeFailed, qgjob.ReasonAssertion, "b")
}

// TestFault_RunnerErrorIsNotCompleted: the runner's own trouble is told as such, whatever the tests said before.
func TestFault_RunnerErrorIsNotCompleted(t *testing.T) {
	for _, name := range []string{"c_syntax", "c_throw", "d_no_such_file", "d_empty_file", "f_global_timeout"} {
		for _, code := range []int{0, 1} {
			if v := playwrightVerdict(sample(t, name+".json"), code); v.Outcome == qgjob.OutcomePassed {
				t.Errorf("%s with code %d: %+v", name, code, v)
			}
		}
	}
}

func TestFault_TimeoutIsNotAPass(t *testing.T) {
	for _, report := range []*Report{nil, of(), of(pass), of(fail)} {
		wantVerdict(t, Judge(Evidence{Ended: EndTimeout, Report: report}), qgjob.OutcomeFailed, qgjob.ReasonTimeout, "timeout")
	}
}

// TestFault_TestsThatNeverRanAreNotSkipped: Playwright calls them skipped and ok, and its JUnit shows nothing but <skipped>.
func TestFault_TestsThatNeverRanAreNotSkipped(t *testing.T) {
	for _, name := range []string{"f_global_timeout", "g_sigint"} {
		for _, code := range []int{0, 1, 130} {
			if v := playwrightVerdict(sample(t, name+".json"), code); v.Outcome == qgjob.OutcomePassed {
				t.Errorf("%s with code %d: %+v", name, code, v)
			}
		}
	}
}

// TestFault_ResultStatusAloneIsNotTheVerdict: a test announced to fail that passes has the result "passed".
func TestFault_ResultStatusAloneIsNotTheVerdict(t *testing.T) {
	v := playwrightVerdict(sample(t, "e_unexpected_pass.json"), 0)
	wantVerdict(t, v, qgjob.OutcomeFailed, qgjob.ReasonAssertion, "expected to end as failed, but it passed")
}

// TestFault_EditedReportIsNotAPass flips the words of a failed report one at a time.
func TestFault_EditedReportIsNotAPass(t *testing.T) {
	whole := string(sample(t, "b.json"))
	for _, edit := range [][2]string{
		{`"status": "unexpected"`, `"status": "expected"`},
		{`"status": "unexpected"`, `"status": "skipped"`},
		{`"status": "unexpected"`, `"status": "flaky"`},
		{`"status": "failed"`, `"status": "passed"`},
		{`"unexpected": 1`, `"unexpected": 0`},
		{`"ok": false`, `"ok": true`},
	} {
		edited := strings.Replace(whole, edit[0], edit[1], 1)
		if edited == whole {
			t.Fatalf("%s is not in the sample", edit[0])
		}
		if v := playwrightVerdict([]byte(edited), 0); v.Outcome == qgjob.OutcomePassed {
			t.Errorf("%s → %s: %+v", edit[0], edit[1], v)
		}
	}
}

// TestFault_UnknownIsNotAPass: a word that this version does not know is no pass.
func TestFault_UnknownIsNotAPass(t *testing.T) {
	whole := string(sample(t, "a.json"))
	for _, word := range []string{`"status": "expected"`, `"status": "passed"`, `"expectedStatus": "passed"`} {
		for _, other := range []string{`"great"`, `""`, `null`, `1`, `true`, `["passed"]`, `"PASSED"`} {
			key, _, _ := strings.Cut(word, ":")
			edited := strings.Replace(whole, word, key+": "+other, 1)
			if v := playwrightVerdict([]byte(edited), 0); v.Outcome != qgjob.OutcomeErrored {
				t.Errorf("%s as %s: %+v", word, other, v)
			}
		}
	}
	run, _ := sampleRun()
	j := JobReport{Job: job(1, "x.spec.js", "v1", "unheard-of", "a1")}
	if data := written(t, run, []JobReport{j}); !bytes.Contains(data, []byte("<error")) {
		t.Errorf("a job in an unknown state passes:\n%s", data)
	}
}

// TestFault_BatchHasNoSingleVerdict: every job of a run keeps its own.
func TestFault_BatchHasNoSingleVerdict(t *testing.T) {
	run, jobs := sampleRun()
	suites := tree(t, written(t, run, jobs)).all("testsuite")
	for i, want := range []int{1, 0, 1, 1, 0, 0, 0, 0} {
		if got := len(suites[i].all("failure")) + len(suites[i].all("error")); got != want {
			t.Errorf("job %d shows %d failures, want %d", i+1, got, want)
		}
	}
}

// TestFault_LostFailuresInJUnit: counts that say more than the content are a report that lost something.
func TestFault_LostFailuresInJUnit(t *testing.T) {
	v := execVerdict([]byte(`<testsuites failures="2"><testsuite failures="2" tests="3"><testcase name="a"/><testcase name="b"/><testcase name="c"/></testsuite></testsuites>`))
	wantVerdict(t, v, qgjob.OutcomeErrored, qgjob.ReasonNoReport, "contradicts itself")
}
