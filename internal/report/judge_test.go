package report

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// TestJudgeSamples judges what Playwright 1.56.1 really left, with the exit codes it really had.
func TestJudgeSamples(t *testing.T) {
	for _, test := range []struct {
		name    string
		code    int
		outcome qgjob.Outcome
		reason  qgjob.Reason
		message string
	}{
		{"a", 0, qgjob.OutcomePassed, qgjob.ReasonNone, "2 passed"},
		{
			"b",
			1, qgjob.OutcomeFailed, qgjob.ReasonAssertion,
			"cart › shows the wrong total: expect(locator).toHaveText(expected) failed",
		},
		{
			"c_syntax",
			1, qgjob.OutcomeErrored, qgjob.ReasonSetup,
			"SyntaxError: tests/c_syntax.spec.js: Unexpected token (2:32)",
		},
		{
			"c_throw",
			1, qgjob.OutcomeErrored, qgjob.ReasonSetup, "Error: fixture data is missing",
		},
		{
			"d_no_such_file",
			1, qgjob.OutcomeErrored, qgjob.ReasonNoTests, "found no test in the file",
		},
		{
			"d_empty_file",
			1, qgjob.OutcomeErrored, qgjob.ReasonNoTests, "found no test in the file",
		},
		{"e_skipped", 0, qgjob.OutcomePassed, qgjob.ReasonNone, "2 passed, 3 skipped"},
		{
			"e_all_skipped",
			0, qgjob.OutcomePassed, qgjob.ReasonNone, "the only test was skipped",
		},
		{
			"e_unexpected_pass",
			1, qgjob.OutcomeFailed, qgjob.ReasonAssertion,
			"expected to end as failed, but it passed",
		},
		{
			"f_timeout",
			1, qgjob.OutcomeFailed, qgjob.ReasonAssertion,
			"hangs: Test timeout of 1500ms exceeded.",
		},
		{
			"f_global_timeout",
			1, qgjob.OutcomeFailed, qgjob.ReasonTimeout,
			"Timed out waiting 4s for the test suite to run",
		},
		{
			"g_sigint",
			130, qgjob.OutcomeErrored, qgjob.ReasonKilled, "interrupted by someone else",
		},
		{"h_flaky", 0, qgjob.OutcomePassed, qgjob.ReasonNone, "1 flaky"},
		{
			"i_before_all",
			1, qgjob.OutcomeFailed, qgjob.ReasonAssertion, "one: beforeAll broke",
		},
		{
			"j_no_browser",
			1, qgjob.OutcomeErrored, qgjob.ReasonSetup,
			"infrastructure: cart › shows the title: browserType.launch",
		},
		{
			"k_app_unreachable",
			1, qgjob.OutcomeFailed, qgjob.ReasonAssertion, "net::ERR_UNSAFE_PORT",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Judge(Evidence{Ended: EndExited, ExitCode: test.code, Report: parsed(t, test.name), ReportExpected: true})
			wantVerdict(t, got, test.outcome, test.reason, test.message)
		})
	}
}

func wantVerdict(t *testing.T, got Verdict, outcome qgjob.Outcome, reason qgjob.Reason, message string) {
	t.Helper()
	if got.Outcome != outcome || got.Reason != reason || !strings.Contains(got.Message, message) {
		t.Errorf("%s(%s) %q\nwant %s(%s) with %q", got.Outcome, got.Reason, got.Message, outcome, reason, message)
	}
	if len(got.Message) > qgjob.MaxMessage {
		t.Errorf("message of %d bytes", len(got.Message))
	}
	wantClean(t, got.Message)
}

// of builds a report of tests with these statuses.
func of(statuses ...qgjob.TestStatus) *Report {
	r := &Report{}
	for i, s := range statuses {
		one := qgjob.TestResult{File: "x.spec.js", Title: []string{fmt.Sprintf("t%d", i)}, Status: s}
		if s == qgjob.TestFailed || s == qgjob.TestFlaky {
			one.Message = "Error: expect(received).toBe(expected)\n\nmore"
		}
		r.Tests = append(r.Tests, one)
	}
	return r
}

func (r *Report) with(change func(*Report)) *Report {
	change(r)
	return r
}

// failing builds a report with one failed test for each message.
func failing(messages ...string) *Report {
	r := &Report{}
	for i, m := range messages {
		r.Tests = append(r.Tests, qgjob.TestResult{Title: []string{fmt.Sprintf("t%d", i)}, Status: qgjob.TestFailed, Message: m})
	}
	return r
}

const (
	pass  = qgjob.TestPassed
	fail  = qgjob.TestFailed
	flaky = qgjob.TestFlaky
	skip  = qgjob.TestSkipped
)

var errCut = unreadable("Playwright", "it is cut short after %d bytes", 100)

const launch = "Error: browserType.launch: Failed to launch the browser process"

// verdicts is the table of Judge, row by row.
var verdicts = []struct {
	name    string
	e       Evidence
	outcome qgjob.Outcome
	reason  qgjob.Reason
	message string
}{
	{
		"nothing known",
		Evidence{}, qgjob.OutcomeErrored, qgjob.ReasonSetup, "not known how",
	},
	{
		"nothing known, all passed",
		Evidence{Report: of(pass), ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonSetup, "not known how",
	},
	{
		"unknown end",
		Evidence{Ended: 99, Report: of(pass)},
		qgjob.OutcomeErrored, qgjob.ReasonSetup, "not known how",
	},
	{
		"timeout",
		Evidence{Ended: EndTimeout, Timeout: 90 * time.Second, ReportExpected: true},
		qgjob.OutcomeFailed, qgjob.ReasonTimeout, "timeout of 1m30s",
	},
	{
		"timeout of unknown length",
		Evidence{Ended: EndTimeout}, qgjob.OutcomeFailed, qgjob.ReasonTimeout, "longer than its timeout",
	},
	{
		"timeout, report all passed",
		Evidence{Ended: EndTimeout, Report: of(pass), ReportExpected: true},
		qgjob.OutcomeFailed, qgjob.ReasonTimeout, "",
	},
	{
		"cancel",
		Evidence{Ended: EndCancelled, ReportExpected: true},
		qgjob.OutcomeCancelled, qgjob.ReasonCancelled, "cancelled",
	},
	{
		"cancel, report all passed",
		Evidence{Ended: EndCancelled, Report: of(pass)},
		qgjob.OutcomeCancelled, qgjob.ReasonCancelled, "",
	},
	{
		"given back",
		Evidence{Ended: EndReturned, Report: of(fail)},
		qgjob.OutcomeInterrupted, qgjob.ReasonAgentReturned, "gives the job back",
	},
	{
		"not started",
		Evidence{Ended: EndNotStarted, Err: errors.New("node: not found")},
		qgjob.OutcomeErrored, qgjob.ReasonSetup, "could not start: node: not found",
	},
	{
		"not started, no cause",
		Evidence{Ended: EndNotStarted}, qgjob.OutcomeErrored, qgjob.ReasonSetup, "no cause is known",
	},
	{
		"killed",
		Evidence{Ended: EndSignalled, Signal: "SIGKILL", Report: of(pass)},
		qgjob.OutcomeErrored, qgjob.ReasonKilled, "killed by SIGKILL",
	},
	{
		"killed somehow",
		Evidence{Ended: EndSignalled}, qgjob.OutcomeErrored, qgjob.ReasonKilled, "killed by a signal",
	},
	{
		"code 75",
		Evidence{Ended: EndExited, ExitCode: 75, Report: of(pass), ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonInfrastructure, "code 75",
	},
	{
		"code 75 of exec",
		Evidence{Ended: EndExited, ExitCode: 75},
		qgjob.OutcomeErrored, qgjob.ReasonInfrastructure, "code 75",
	},

	{
		"no report",
		Evidence{Ended: EndExited, ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonNoReport,
		"code 0 and no usable report: it left no report",
	},
	{
		"no report, code 1",
		Evidence{Ended: EndExited, ExitCode: 1, ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonNoReport, "code 1",
	},
	{
		"report cut short",
		Evidence{Ended: EndExited, ReportErr: errCut, ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonNoReport, "cut short",
	},
	{
		"report cut short, half of it given",
		Evidence{Ended: EndExited, Report: of(pass), ReportErr: errCut, ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonNoReport, "cut short",
	},
	{
		"no test",
		Evidence{Ended: EndExited, Report: of(), ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonNoTests, "no test",
	},
	{
		"passed",
		Evidence{Ended: EndExited, Report: of(pass, pass, skip), ReportExpected: true},
		qgjob.OutcomePassed, qgjob.ReasonNone, "2 passed, 1 skipped",
	},
	{
		"flaky by the runner's retry",
		Evidence{Ended: EndExited, Report: of(pass, flaky), ReportExpected: true},
		qgjob.OutcomePassed, qgjob.ReasonNone, "1 passed, 1 flaky",
	},
	{
		"flaky and told to refuse it",
		Evidence{Ended: EndExited, ExitCode: 1, Report: of(pass, flaky), ReportExpected: true},
		qgjob.OutcomeFailed, qgjob.ReasonAssertion, "1 test flaky",
	},
	{
		"all skipped",
		Evidence{Ended: EndExited, Report: of(skip, skip), ReportExpected: true},
		qgjob.OutcomePassed, qgjob.ReasonNone, "all 2 tests skipped",
	},
	{
		"all skipped, code 1",
		Evidence{Ended: EndExited, ExitCode: 1, Report: of(skip), ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonExit, "contradicts",
	},
	{
		"all passed, code 1",
		Evidence{Ended: EndExited, ExitCode: 1, Report: of(pass, pass), ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonExit,
		"2 tests passed or skipped and none failed, but the test runner left with code 1",
	},
	{
		"failed, code 0",
		Evidence{Ended: EndExited, Report: of(pass, fail), ReportExpected: true},
		qgjob.OutcomeFailed, qgjob.ReasonAssertion, "left with code 0 all the same",
	},
	{
		"failed",
		Evidence{Ended: EndExited, ExitCode: 1, Report: of(fail, fail, fail), ReportExpected: true},
		qgjob.OutcomeFailed, qgjob.ReasonAssertion,
		"t0: expect(received).toBe(expected) (and 2 more tests failed)",
	},
	{
		"some never ran",
		Evidence{Ended: EndExited, Report: of(pass, skip).with(func(r *Report) { r.NotRun = 1 }), ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonSetup, "1 of 2 tests never ran",
	},
	{
		"failed, the rest never ran",
		Evidence{Ended: EndExited, ExitCode: 1, Report: of(fail, skip).with(func(r *Report) { r.NotRun = 1 }), ReportExpected: true},
		qgjob.OutcomeFailed, qgjob.ReasonAssertion, "t0",
	},
	{
		"cut short",
		Evidence{Ended: EndExited, ExitCode: 1, Report: of(pass, skip).with(func(r *Report) { r.Interrupted = 1 }), ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonKilled, "interrupted",
	},
	{
		"cut short, code 0",
		Evidence{Ended: EndExited, Report: of(pass, skip).with(func(r *Report) { r.Interrupted = 1 }), ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonKilled, "interrupted",
	},
	{
		"code 130 after a failure",
		Evidence{Ended: EndExited, ExitCode: 130, Report: of(fail), ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonKilled, "interrupted",
	},
	{
		"maxFailures reached",
		Evidence{Ended: EndExited, ExitCode: 1, Report: of(fail, skip).with(func(r *Report) { r.Interrupted = 1 }), ReportExpected: true},
		qgjob.OutcomeFailed, qgjob.ReasonAssertion, "t0",
	},

	{
		"file does not load",
		Evidence{Ended: EndExited, ExitCode: 1, Report: of().with(func(r *Report) { r.Errors = []string{"SyntaxError: x", "Error: No tests found."} }), ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonSetup, "SyntaxError: x",
	},
	{
		"nothing matches",
		Evidence{Ended: EndExited, ExitCode: 1, Report: of().with(func(r *Report) { r.Errors = []string{"Error: No tests found.\nMake sure"} }), ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonNoTests, "no test",
	},
	{
		"teardown broke, code 1",
		Evidence{Ended: EndExited, ExitCode: 1, Report: of(pass).with(func(r *Report) { r.Errors = []string{"Error: teardown"} }), ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonSetup, "teardown",
	},
	{
		"teardown broke, code 0",
		Evidence{Ended: EndExited, Report: of(pass).with(func(r *Report) { r.Errors = []string{"Error: teardown"} }), ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonSetup, "teardown",
	},
	{"worker died outside tests", Evidence{Ended: EndExited, ExitCode: 1, Report: of().with(func(r *Report) {
		r.Errors = []string{"Error: worker process exited unexpectedly (code=null, signal=SIGKILL)"}
	}), ReportExpected: true}, qgjob.OutcomeErrored, qgjob.ReasonKilled, "SIGKILL"},
	{
		"failed, and teardown broke",
		Evidence{Ended: EndExited, ExitCode: 1, Report: of(fail).with(func(r *Report) { r.Errors = []string{"Error: teardown"} }), ReportExpected: true},
		qgjob.OutcomeFailed, qgjob.ReasonAssertion, "outside the tests: Error: teardown",
	},
	{
		"global timeout",
		Evidence{Ended: EndExited, ExitCode: 1, Report: of(pass).with(func(r *Report) { r.Errors = []string{"Timed out waiting 60s for the test suite to run"} }), ReportExpected: true},
		qgjob.OutcomeFailed, qgjob.ReasonTimeout, "Timed out waiting 60s",
	},
	{
		"global setup timed out",
		Evidence{Ended: EndExited, ExitCode: 1, Report: of().with(func(r *Report) { r.Errors = []string{"Timed out waiting 60s for the global setup to run"} }), ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonSetup, "global setup",
	},
	{
		"all by infrastructure",
		Evidence{Ended: EndExited, ExitCode: 1, Report: failing(launch, launch), ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonDevice,
		"infrastructure: t0: browserType.launch",
	},
	{
		"one by infrastructure, one by itself",
		Evidence{Ended: EndExited, ExitCode: 1, Report: failing(launch, "Error: expect(a).toBe(b)"), ReportExpected: true},
		qgjob.OutcomeFailed, qgjob.ReasonAssertion, "t1: expect(a)",
	},
	{
		"infrastructure, code 0",
		Evidence{Ended: EndExited, Report: failing(launch), ReportExpected: true},
		qgjob.OutcomeErrored, qgjob.ReasonDevice, "",
	},
	{
		"our app server is gone",
		Evidence{Ended: EndExited, ExitCode: 1, Report: failing("Error: page.goto: net::ERR_CONNECTION_REFUSED at http://127.0.0.1:4100/cart"), ReportExpected: true, Serves: []string{"127.0.0.1:4100"}},
		qgjob.OutcomeErrored, qgjob.ReasonDevice, "",
	},
	{
		"their back end is gone",
		Evidence{Ended: EndExited, ExitCode: 1, Report: failing("Error: page.goto: net::ERR_CONNECTION_REFUSED at http://127.0.0.1:9999/"), ReportExpected: true, Serves: []string{"127.0.0.1:4100"}},
		qgjob.OutcomeFailed, qgjob.ReasonAssertion, "",
	},

	{
		"exec passed",
		Evidence{Ended: EndExited}, qgjob.OutcomePassed, qgjob.ReasonNone, "",
	},
	{
		"exec failed",
		Evidence{Ended: EndExited, ExitCode: 3},
		qgjob.OutcomeFailed, qgjob.ReasonExit, "code 3",
	},
	{
		"exec passed with JUnit",
		Evidence{Ended: EndExited, Report: of(pass, skip)},
		qgjob.OutcomePassed, qgjob.ReasonNone, "1 passed, 1 skipped",
	},
	{
		"exec code 0, JUnit failed",
		Evidence{Ended: EndExited, Report: of(pass, fail)},
		qgjob.OutcomeFailed, qgjob.ReasonAssertion, "t1: expect",
	},
	{
		"exec code 0, JUnit cut short",
		Evidence{Ended: EndExited, ReportErr: errCut},
		qgjob.OutcomeErrored, qgjob.ReasonNoReport, "cut short",
	},
	{
		"exec code 0, JUnit without a test",
		Evidence{Ended: EndExited, Report: of()},
		qgjob.OutcomeErrored, qgjob.ReasonNoTests, "no test",
	},
	{
		"exec code 0, JUnit error outside a test",
		Evidence{Ended: EndExited, Report: of(pass).with(func(r *Report) { r.Errors = []string{"boom"} })},
		qgjob.OutcomeFailed, qgjob.ReasonAssertion, "boom",
	},
	{
		"exec failed, JUnit says where",
		Evidence{Ended: EndExited, ExitCode: 2, Report: of(pass, fail)},
		qgjob.OutcomeFailed, qgjob.ReasonExit,
		"t1: expect(received).toBe(expected)\nthe test runner left with code 2",
	},
	{
		"exec failed, JUnit all passed",
		Evidence{Ended: EndExited, ExitCode: 2, Report: of(pass)},
		qgjob.OutcomeFailed, qgjob.ReasonExit, "code 2",
	},
	{
		"exec failed, JUnit cut short",
		Evidence{Ended: EndExited, ExitCode: 2, ReportErr: errCut},
		qgjob.OutcomeFailed, qgjob.ReasonExit,
		"cannot be read: Playwright report: it is cut short",
	},
	{
		"exec's own words about a browser",
		Evidence{Ended: EndExited, Report: failing(launch)},
		qgjob.OutcomeFailed, qgjob.ReasonAssertion, "browserType.launch",
	},
}

func TestJudge(t *testing.T) {
	for _, test := range verdicts {
		t.Run(test.name, func(t *testing.T) {
			wantVerdict(t, Judge(test.e), test.outcome, test.reason, test.message)
			wantHonest(t, test.e)
		})
	}
}

// wantHonest is the promise: passed needs every single one of these.
func wantHonest(t *testing.T, e Evidence) {
	t.Helper()
	v := Judge(e)
	if v.Outcome == "" || (v.Outcome != qgjob.OutcomePassed) != (v.Reason != qgjob.ReasonNone) || v.Outcome != qgjob.OutcomePassed && v.Message == "" {
		t.Errorf("%+v: verdict %+v: an ending but passed has a reason and a message, passed has no reason", e, v)
	}
	if v.Outcome != qgjob.OutcomePassed {
		return
	}
	switch {
	case e.Ended != EndExited || e.ExitCode != 0:
		t.Errorf("%+v: passed without leaving with 0", e)
	case e.ReportErr != nil:
		t.Errorf("%+v: passed with a report that cannot be read", e)
	case e.Report == nil && e.ReportExpected:
		t.Errorf("%+v: passed without the report that was expected", e)
	}
	if e.Report == nil {
		return
	}
	_, failed, _, _ := e.Report.Count()
	if failed > 0 || len(e.Report.Tests) == 0 || len(e.Report.Errors) > 0 || e.Report.NotRun > 0 || e.Report.Interrupted > 0 {
		t.Errorf("%+v: passed with %d failed of %d tests, %d errors, %d not run, %d cut short", e, failed, len(e.Report.Tests), len(e.Report.Errors), e.Report.NotRun, e.Report.Interrupted)
	}
}

// TestJudgeNeverLies goes through every combination of what can be known.
func TestJudgeNeverLies(t *testing.T) {
	reports := []*Report{nil}
	statuses := [][]qgjob.TestStatus{{}, {pass}, {fail}, {flaky}, {skip}, {pass, fail}, {pass, skip}, {flaky, fail}, {skip, skip}, {fail, fail}}
	for _, s := range statuses {
		for _, errs := range [][]string{nil, {"Error: No tests found"}, {"Error: boom"}, {"Timed out waiting 9s for the test suite to run"}} {
			for _, odd := range [][2]int{{0, 0}, {1, 0}, {0, 1}} {
				reports = append(reports, of(s...).with(func(r *Report) { r.Errors, r.NotRun, r.Interrupted = errs, odd[0], odd[1] }))
			}
		}
	}
	seen, outcomes := 0, map[qgjob.Outcome]int{}
	for _, ended := range []Ended{EndUnknown, EndExited, EndSignalled, EndTimeout, EndCancelled, EndReturned, EndNotStarted, 99} {
		for _, code := range []int{0, 1, 2, 75, 130, 137, -1} {
			for _, report := range reports {
				for _, err := range []error{nil, errCut} {
					for _, expected := range []bool{true, false} {
						e := Evidence{Ended: ended, ExitCode: code, Report: report, ReportErr: err, ReportExpected: expected}
						wantHonest(t, e)
						seen++
						outcomes[Judge(e).Outcome]++
					}
				}
			}
		}
	}
	if seen < 25_000 || outcomes[qgjob.OutcomePassed] == 0 || outcomes[qgjob.OutcomeFailed] == 0 || outcomes[qgjob.OutcomeErrored] == 0 {
		t.Errorf("%d combinations, %v: too few to prove anything", seen, outcomes)
	}
}

type infraExample struct {
	message string
	want    qgjob.Reason
}

// infraExamples are failures as people have seen them; every row of infraSigns has one.
var infraExamples = []infraExample{
	{
		"Error: Failed to create session.\nAn unknown server-side error",
		qgjob.ReasonDevice,
	},
	{"WebDriverError: Failed to create a session", qgjob.ReasonDevice},
	{
		"Error: browserType.launch: Executable doesn't exist at /x/chrome",
		qgjob.ReasonSetup,
	},
	{
		"Error: browserType.launch: Failed to launch chromium because executable doesn't exist at /nonexistent",
		qgjob.ReasonSetup,
	},
	{
		"browserType.launch: Target page, context or browser has been closed",
		qgjob.ReasonDevice,
	},
	{
		"Error: browserType.connectOverCDP: connect ECONNREFUSED 127.0.0.1:9222",
		qgjob.ReasonDevice,
	},
	{
		"Error: browser.newContext: Target page, context or browser has been closed",
		qgjob.ReasonDevice,
	},
	{
		"Error: browserContext.newPage: Target page, context or browser has been closed",
		qgjob.ReasonDevice,
	},
	{
		"Error: worker process exited unexpectedly (code=null, signal=SIGKILL)",
		qgjob.ReasonKilled,
	},
	{
		`Test timeout of 30000ms exceeded while setting up "browser".`,
		qgjob.ReasonDevice,
	},
	{
		`WebDriverError: Unable to connect to "http://127.0.0.1:4723/session"`,
		qgjob.ReasonDevice,
	},
	{
		"WebDriverError: Request failed with error code ECONNREFUSED",
		qgjob.ReasonDevice,
	},
	{
		"WebDriverError: An unknown error. Original error: The instrumentation process is not running",
		qgjob.ReasonDevice,
	},
	{
		"WebDriverError: Could not proxy command to the remote server. Original error: socket hang up",
		qgjob.ReasonDevice,
	},
	{
		"invalid session id: A session is either terminated or not started",
		qgjob.ReasonDevice,
	},
	{"adb: device 'emulator-5554' not found", qgjob.ReasonDevice},
	{"Error: connect ECONNREFUSED 127.0.0.1:4723", qgjob.ReasonDevice},
	{
		"Error: page.goto: net::ERR_CONNECTION_REFUSED at http://127.0.0.1:4100/",
		qgjob.ReasonDevice,
	},

	{"", qgjob.ReasonNone},
	{"Error: expect(locator).toBeVisible() failed", qgjob.ReasonNone},
	{
		"Error: page.click: Target page, context or browser has been closed",
		qgjob.ReasonNone,
	},
	{
		"Error: apiRequestContext.get: connect ECONNREFUSED 127.0.0.1:9999",
		qgjob.ReasonNone,
	},
	{
		"Error: page.goto: net::ERR_CONNECTION_REFUSED at http://127.0.0.1:41000/",
		qgjob.ReasonNone,
	},
	{
		"Error: page.goto: net::ERR_NAME_NOT_RESOLVED at https://shop.example/",
		qgjob.ReasonNone,
	},
	{
		`Error: expect("connect ECONNREFUSED 127.0.0.1:4723").toBe("ok")`,
		qgjob.ReasonNone,
	},
	{"Error: the page says: Failed to create session", qgjob.ReasonNone},
	{
		"Error: expect(received).toBe(expected)\n\nReceived: \"browserType.launch: Executable doesn't exist\"",
		qgjob.ReasonNone,
	},
	{`Test timeout of 30000ms exceeded while setting up "page".`, qgjob.ReasonNone},
	{"Test timeout of 30000ms exceeded.", qgjob.ReasonNone},
}

func TestInfrastructure(t *testing.T) {
	serves := []string{"127.0.0.1:4723", "127.0.0.1:4100"}
	for _, test := range infraExamples {
		if got := infrastructure(test.message, serves); got != test.want {
			t.Errorf("%q: %q, want %q", test.message, got, test.want)
		}
	}
	for _, row := range infraSigns {
		if !slices.ContainsFunc(infraExamples, func(e infraExample) bool {
			return e.want == row.reason && row.sign.MatchString(errorNames.ReplaceAllString(firstLine(e.message), ""))
		}) {
			t.Errorf("no example matches %s (%s)", row.sign, row.source)
		}
	}
	if got := infrastructure("Error: connect ECONNREFUSED 127.0.0.1:4723", nil); got != qgjob.ReasonNone {
		t.Errorf("refused by an address that nobody vouches for: %q", got)
	}
}

func TestJudgeMessageIsCleanAndBounded(t *testing.T) {
	nasty := &Report{Errors: []string{"\x1b]0;title\x07" + strings.Repeat("£", qgjob.MaxMessage)}}
	v := Judge(Evidence{Ended: EndExited, ExitCode: 1, Report: nasty, ReportExpected: true})
	wantVerdict(t, v, qgjob.OutcomeErrored, qgjob.ReasonSetup, "££££…")
}
