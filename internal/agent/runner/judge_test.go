//go:build unix

package runner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/proc"
)

// outputs are what Playwright 1.56.1 really left (internal/report/testdata).
const outputs = "../../report/testdata"

// left puts a real output where a task's runner would have left it.
func left(t *testing.T, tk Task, from, as string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(outputs, from))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tk.Report, as), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFault_RealReportsAreJudgedWhole: one passed line makes no run pass, and
// nothing that is missing, cut short or never ran counts as passed.
func TestFault_RealReportsAreJudgedWhole(t *testing.T) {
	tests := []struct {
		output  string
		code    int
		outcome qgjob.Outcome
		reason  qgjob.Reason
	}{
		{"a", 0, qgjob.OutcomePassed, ""},
		{"a", 1, qgjob.OutcomeErrored, qgjob.ReasonExit},
		{"b", 1, qgjob.OutcomeFailed, qgjob.ReasonAssertion},
		{"b", 0, qgjob.OutcomeFailed, qgjob.ReasonAssertion},
		{"c_syntax", 1, qgjob.OutcomeErrored, qgjob.ReasonSetup},
		{"c_throw", 1, qgjob.OutcomeErrored, qgjob.ReasonSetup},
		{"d_no_such_file", 1, qgjob.OutcomeErrored, qgjob.ReasonNoTests},
		{"d_empty_file", 1, qgjob.OutcomeErrored, qgjob.ReasonNoTests},
		{"e_unexpected_pass", 1, qgjob.OutcomeFailed, qgjob.ReasonAssertion},
		{"f_timeout", 1, qgjob.OutcomeFailed, qgjob.ReasonAssertion},
		{"f_global_timeout", 1, qgjob.OutcomeFailed, qgjob.ReasonTimeout},
		{"g_sigint", 130, qgjob.OutcomeErrored, qgjob.ReasonKilled},
		{"h_flaky", 0, qgjob.OutcomePassed, ""},
		{"i_before_all", 1, qgjob.OutcomeFailed, qgjob.ReasonAssertion},
		{"j_no_browser", 1, qgjob.OutcomeErrored, qgjob.ReasonSetup},
	}
	for _, c := range tests {
		tk := task(t, "/p", "tests/a.spec.js")
		left(t, tk, c.output+".json", resultsJSON)
		got := Playwright{}.Judge(tk, exited(c.code))
		if got.Outcome != c.outcome || got.Reason != c.reason {
			t.Errorf("%s with code %d: %s(%s) %q, want %s(%s)", c.output, c.code, got.Outcome, got.Reason, got.Message, c.outcome, c.reason)
		}
		// The same report of a runner that we stopped is no verdict of its own.
		stopped := Playwright{}.Judge(tk, Ending{Result: proc.Result{End: proc.Stopped}, Cancelled: true})
		if stopped.Outcome != qgjob.OutcomeCancelled {
			t.Errorf("%s, cancelled: %s", c.output, stopped.Outcome)
		}
	}
}

// TestReportsKeepTheirTests also when the verdict comes from elsewhere.
func TestReportsKeepTheirTests(t *testing.T) {
	tk := task(t, "/p", "tests/b.spec.js")
	left(t, tk, "b.json", resultsJSON)
	got := Playwright{}.Judge(tk, Ending{Result: proc.Result{End: proc.Stopped}, TimedOut: true})
	if got.Outcome != qgjob.OutcomeFailed || got.Reason != qgjob.ReasonTimeout || len(got.Tests) == 0 || len(got.Attachments) == 0 {
		t.Errorf("%s(%s), %d tests, %d attachments", got.Outcome, got.Reason, len(got.Tests), len(got.Attachments))
	}
	for _, a := range got.Attachments {
		if a.Test < 0 || a.Test >= len(got.Tests) {
			t.Errorf("the attachment %s belongs to test %d of %d", a.Name, a.Test, len(got.Tests))
		}
	}
}

// TestJUnitFilesAreOneReport: tests add up, a failure in any of them counts,
// and attachments stay with their tests.
func TestJUnitFilesAreOneReport(t *testing.T) {
	tk := task(t, "/p", "tests/a.spec.js")
	left(t, tk, "a.junit.xml", "1.xml")
	left(t, tk, "a.junit.xml", "2.xml")
	both := Exec{}.Judge(tk, exited(0))
	if both.Outcome != qgjob.OutcomePassed || len(both.Tests) != 4 {
		t.Errorf("%s %q, %d tests", both.Outcome, both.Message, len(both.Tests))
	}
	left(t, tk, "b.junit.xml", "3.xml")
	bad := Exec{}.Judge(tk, exited(0))
	if bad.Outcome != qgjob.OutcomeFailed || bad.Reason != qgjob.ReasonAssertion || len(bad.Tests) <= len(both.Tests) {
		t.Errorf("%s(%s) %q, %d tests", bad.Outcome, bad.Reason, bad.Message, len(bad.Tests))
	}
	for _, a := range bad.Attachments {
		if a.Test < 0 || a.Test >= len(bad.Tests) || bad.Tests[a.Test].Status != qgjob.TestFailed {
			t.Errorf("the attachment %s moved to test %d", a.Name, a.Test)
		}
	}
	if err := os.WriteFile(filepath.Join(tk.Report, "4.xml"), []byte("<testsuite"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := Exec{}.Judge(tk, exited(0))
	if broken.Outcome != qgjob.OutcomeErrored || !strings.Contains(broken.Message, "4.xml") {
		t.Errorf("%s %q, want one that names the file", broken.Outcome, broken.Message)
	}
}

// TestJUnitBelowTheReportDir is an artifact, not a verdict.
func TestJUnitBelowTheReportDir(t *testing.T) {
	tk := task(t, "/p", "tests/a.spec.js")
	if err := os.Mkdir(filepath.Join(tk.Report, "old.xml"), 0o700); err != nil {
		t.Fatal(err)
	}
	left(t, tk, "b.junit.xml", "old.xml/b.xml")
	if got := (Exec{}).Judge(tk, exited(0)); got.Outcome != qgjob.OutcomePassed {
		t.Errorf("%s %q", got.Outcome, got.Message)
	}
}
