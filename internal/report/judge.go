package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
)

// Ended is how an attempt's process came to its end.
type Ended int

// The ends. The zero value is no end at all and is never a pass.
const (
	EndUnknown    Ended = iota
	EndExited           // by itself, with Evidence.ExitCode
	EndSignalled        // by a signal that was not ours: a crash, the OOM killer, a person
	EndTimeout          // we stopped it: it ran longer than the job's timeout
	EndCancelled        // we stopped it: someone cancelled the job
	EndReturned         // we stopped it: the agent gives the job back
	EndNotStarted       // nothing ran; Evidence.Err says why
)

// Evidence is everything that is known about an attempt when it is over.
type Evidence struct {
	Ended          Ended
	ExitCode       int           // with EndExited
	Signal         string        // with EndSignalled: its name, when known
	Err            error         // with EndNotStarted: why
	Timeout        time.Duration // the job's, for the message
	Report         *Report       // nil when there is none or it cannot be read
	ReportErr      error         // why the report cannot be read
	ReportExpected bool          // the runner always leaves a report (Playwright, AppWright); without one there is no verdict
	Serves         []string      // "host:port" that the agent itself serves to the test: the app, Appium
}

// Verdict is what an attempt's evidence amounts to. Message is for people: the first line says what happened.
type Verdict struct {
	Outcome qgjob.Outcome
	Reason  qgjob.Reason
	Message string // at most qgjob.MaxMessage bytes
}

// exitTempFail is EX_TEMPFAIL of sysexits.h: a runner's word that its surroundings broke, not the test.
const exitTempFail = 75

// exitInterrupted is what runners leave with after SIGINT.
const exitInterrupted = 130

// Judge gives the verdict over an attempt. It says passed in one case only: the process left by itself with code 0, and its report, where one
// is expected or there, can be read, holds at least one test, and has no test that failed, was cut short or never got its turn.
//
//	process                          report                                    verdict
//	stopped for its timeout          any                                       failed(timeout)
//	stopped for a cancel             any                                       cancelled(cancelled)
//	stopped to give the job back     any                                       interrupted(agent_returned)
//	not started                      any                                       errored(setup)
//	signal not ours, code 75         any                                       errored(killed)
//	any code                         expected, and missing or unreadable       errored(no_report)
//	code 0                           not expected, there and unreadable        errored(no_report)
//	code 0                           not expected and missing                  passed
//	code not 0                       not expected                              failed(exit_code)
//	any code                         the suite's own time ran out              failed(timeout)
//	code 130                         readable                                  errored(killed)
//	any code                         tests cut short and none failed           errored(killed)
//	any code                         a test failed by its own fault            failed(assertion)
//	any code                         every failure is infrastructure's         errored(device, setup, killed: the table in infra.go)
//	any code                         errors outside the tests                  errored(setup); "No tests found" is no_tests
//	any code                         no test                                   errored(no_tests)
//	any code                         tests that never got their turn           errored(setup)
//	code not 0                       all passed, some flaky                    failed(assertion): the runner was told to refuse flaky tests
//	code not 0                       all passed or skipped                     errored(exit_code): they contradict each other
//	code 0                           all passed, flaky or skipped              passed
func Judge(e Evidence) Verdict {
	v := e.judge()
	v.Message = clip(Clean(v.Message), qgjob.MaxMessage)
	return v
}

func (e Evidence) judge() Verdict {
	switch e.Ended {
	case EndTimeout:
		return Verdict{qgjob.OutcomeFailed, qgjob.ReasonTimeout, e.timeoutMessage()}
	case EndCancelled:
		return Verdict{qgjob.OutcomeCancelled, qgjob.ReasonCancelled, "stopped because the job was cancelled"}
	case EndReturned:
		return Verdict{qgjob.OutcomeInterrupted, qgjob.ReasonAgentReturned, "stopped because the agent gives the job back"}
	case EndNotStarted:
		return Verdict{qgjob.OutcomeErrored, qgjob.ReasonSetup, "the test runner could not start: " + errorText(e.Err)}
	case EndSignalled:
		return Verdict{qgjob.OutcomeErrored, qgjob.ReasonKilled, "the test runner was killed by " + orDefault(e.Signal, "a signal") + ", which the agent did not send"}
	case EndExited:
		if e.ExitCode == exitTempFail {
			return Verdict{qgjob.OutcomeErrored, qgjob.ReasonInfrastructure, "the test runner left with code 75: its surroundings broke (EX_TEMPFAIL)"}
		}
		if e.ReportExpected {
			return e.judgeReport()
		}
		return e.judgeExit()
	}
	return Verdict{qgjob.OutcomeErrored, qgjob.ReasonSetup, "it is not known how the test runner ended"}
}

// judgeExit is for runners whose exit code is their word; a report is read when there is one.
func (e Evidence) judgeExit() Verdict {
	unread := ""
	if e.ReportErr != nil {
		unread = "; its report cannot be read: " + errorText(e.ReportErr)
	}
	if e.ExitCode != 0 {
		why := fmt.Sprintf("the test runner left with code %d", e.ExitCode)
		if e.Report != nil && e.ReportErr == nil {
			if first := e.Report.firstProblem(); first != "" {
				why = first + "\n" + why
			}
		}
		return Verdict{qgjob.OutcomeFailed, qgjob.ReasonExit, why + unread}
	}
	if e.Report == nil && e.ReportErr == nil {
		return Verdict{qgjob.OutcomePassed, qgjob.ReasonNone, ""}
	}
	return e.judgeReport()
}

// judgeReport is for processes that left by themselves, with any code but 75.
func (e Evidence) judgeReport() Verdict {
	if e.ReportErr != nil || e.Report == nil {
		why := "it left no report"
		if e.ReportErr != nil {
			why = errorText(e.ReportErr)
		}
		return Verdict{qgjob.OutcomeErrored, qgjob.ReasonNoReport, fmt.Sprintf("the test runner left with code %d and no usable report: %s", e.ExitCode, why)}
	}
	_, failed, flaky, skipped := e.Report.Count()
	switch {
	case e.Report.suiteTimedOut() != "":
		return Verdict{qgjob.OutcomeFailed, qgjob.ReasonTimeout, e.Report.suiteTimedOut()}
	case e.ExitCode == exitInterrupted || e.Report.Interrupted > 0 && failed == 0:
		// Playwright cuts tests short by itself, too, when maxFailures is reached: then it leaves with 1 and a failed test to show.
		return Verdict{qgjob.OutcomeErrored, qgjob.ReasonKilled, fmt.Sprintf("the test run was interrupted by someone else (exit code %d, %s cut short)",
			e.ExitCode, count(e.Report.Interrupted, "test"))}
	case failed > 0:
		return e.judgeFailures(failed)
	case len(e.Report.Errors) > 0:
		return e.judgeErrors()
	case len(e.Report.Tests) == 0:
		return Verdict{qgjob.OutcomeErrored, qgjob.ReasonNoTests, "the test runner found no test in the file"}
	case e.Report.NotRun > 0:
		return Verdict{qgjob.OutcomeErrored, qgjob.ReasonSetup, fmt.Sprintf("%d of %s never ran, though nobody skipped them", e.Report.NotRun, count(len(e.Report.Tests), "test"))}
	case e.ExitCode != 0 && flaky > 0:
		return Verdict{qgjob.OutcomeFailed, qgjob.ReasonAssertion, fmt.Sprintf("%s flaky, and the test runner left with code %d (it was told to fail on flaky tests)\n%s",
			count(flaky, "test"), e.ExitCode, e.Report.firstProblem())}
	case e.ExitCode != 0:
		return Verdict{qgjob.OutcomeErrored, qgjob.ReasonExit, fmt.Sprintf("the report contradicts the exit code: %s passed or skipped and none failed, but the test runner left with code %d",
			count(len(e.Report.Tests), "test"), e.ExitCode)}
	case skipped == 1 && len(e.Report.Tests) == 1:
		return Verdict{qgjob.OutcomePassed, qgjob.ReasonNone, "the only test was skipped"}
	case skipped == len(e.Report.Tests):
		return Verdict{qgjob.OutcomePassed, qgjob.ReasonNone, fmt.Sprintf("all %s skipped", count(skipped, "test"))}
	}
	return Verdict{qgjob.OutcomePassed, qgjob.ReasonNone, e.Report.headline()}
}

// judgeFailures tells the tests' own failures from those that broken surroundings made. One failure of a test's own is enough: the test said no.
func (e Evidence) judgeFailures(failed int) Verdict {
	var infra, own *qgjob.TestResult
	reason := qgjob.ReasonNone
	for i := range e.Report.Tests {
		t := &e.Report.Tests[i]
		if t.Status != qgjob.TestFailed {
			continue
		}
		if r := infrastructure(t.Message, e.Serves); r == qgjob.ReasonNone {
			if own == nil {
				own = t
			}
		} else if infra == nil {
			infra, reason = t, r
		}
	}
	// Without an expected report (exec) the exit code has the last word, and the table of infra.go, which is Playwright's, does not apply.
	if own == nil && e.ReportExpected {
		return Verdict{qgjob.OutcomeErrored, reason, "infrastructure: " + failureLine(infra, failed)}
	}
	if own == nil {
		own = infra
	}
	message := failureLine(own, failed)
	if e.ExitCode == 0 {
		message += "\nthe test runner left with code 0 all the same; its report counts"
	}
	if len(e.Report.Errors) > 0 {
		message += "\noutside the tests: " + e.Report.Errors[0]
	}
	return Verdict{qgjob.OutcomeFailed, qgjob.ReasonAssertion, message}
}

// judgeErrors is for errors outside any test when no test failed: a file that does not load, a broken global setup, a dead worker.
func (e Evidence) judgeErrors() Verdict {
	var kept []string
	for _, text := range e.Report.Errors {
		if !noTestsFound(text) {
			kept = append(kept, text)
		}
	}
	if len(kept) == 0 {
		return Verdict{qgjob.OutcomeErrored, qgjob.ReasonNoTests, "the test runner found no test in the file"}
	}
	reason := infrastructure(kept[0], e.Serves)
	if reason == qgjob.ReasonNone {
		reason = qgjob.ReasonSetup
	}
	if !e.ReportExpected {
		return Verdict{qgjob.OutcomeFailed, qgjob.ReasonAssertion, strings.Join(kept, "\n\n")}
	}
	return Verdict{qgjob.OutcomeErrored, reason, strings.Join(kept, "\n\n")}
}

func (e Evidence) timeoutMessage() string {
	if e.Timeout <= 0 {
		return "ran longer than its timeout and was stopped"
	}
	return fmt.Sprintf("ran longer than its timeout of %s and was stopped", e.Timeout)
}

// suiteTimedOut gives the error of Playwright's --global-timeout, or "".
func (r *Report) suiteTimedOut() string {
	for _, text := range r.Errors {
		if suiteTimeout.MatchString(firstLine(text)) {
			return text
		}
	}
	return ""
}

// headline counts the tests by status: "3 passed, 1 flaky, 2 skipped".
func (r *Report) headline() string {
	passed, failed, flaky, skipped := r.Count()
	var parts []string
	for _, p := range []struct {
		n    int
		word string
	}{{passed, "passed"}, {failed, "failed"}, {flaky, "flaky"}, {skipped, "skipped"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	return strings.Join(parts, ", ")
}

// firstProblem gives the first failed or flaky test in a line, else the first error outside the tests, else "".
func (r *Report) firstProblem() string {
	for _, want := range []qgjob.TestStatus{qgjob.TestFailed, qgjob.TestFlaky} {
		for i := range r.Tests {
			if t := &r.Tests[i]; t.Status == want {
				return failureLine(t, 1)
			}
		}
	}
	if len(r.Errors) > 0 {
		return r.Errors[0]
	}
	return ""
}

// failureLine writes "login › wrong password: expect(locator).toHaveText failed (and 2 more tests failed)".
func failureLine(t *qgjob.TestResult, failed int) string {
	line := clip(strings.Join(t.Title, " › "), 500)
	if first := strings.TrimPrefix(firstLine(t.Message), "Error: "); first != "" {
		line += ": " + clip(first, 1000)
	}
	if failed > 1 {
		line += fmt.Sprintf(" (and %s failed)", count(failed-1, "more test"))
	}
	return line
}

func errorText(err error) string {
	if err == nil {
		return "no cause is known"
	}
	return err.Error()
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
