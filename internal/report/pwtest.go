package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/qualgent/qgjob"
)

// pwStatuses are what one result of a test may say.
var pwStatuses = []string{"passed", "failed", "timedOut", "skipped", "interrupted"}

// pwCount is how the results of one test went, without what was skipped or cut short.
type pwCount struct {
	asExpected, notExpected int
	skipped, interrupted    int
}

// test adds one test of one project. Its status is not believed alone: it must follow from its results.
func (w *pwWalk) test(t *pwTest, out qgjob.TestResult) error {
	name := clip(strings.Join(out.Title, " › "), 200)
	if t.Results == nil || t.ExpectedStatus == nil || t.Status == nil {
		return unreadable("Playwright", "the test %q lacks its results, status or expectedStatus", name)
	}
	if !slices.Contains(pwStatuses, *t.ExpectedStatus) {
		return unreadable("Playwright", "the test %q has the unknown expectedStatus %q", name, clip(Clean(*t.ExpectedStatus), 40))
	}
	n, err := countResults(t, name)
	if err != nil {
		return err
	}
	if out.Status, err = n.status(*t.Status, name); err != nil {
		return err
	}
	out.Project = title(t.ProjectName)
	for _, r := range *t.Results {
		out.DurationMS += millis(r.Duration)
		if err := w.attach(r.Attachments); err != nil {
			return err
		}
	}
	w.explain(t, n, &out)
	if w.stats == nil {
		w.stats = map[string]int{}
	}
	w.stats[*t.Status]++
	w.out.Tests = append(w.out.Tests, out)
	return nil
}

func countResults(t *pwTest, name string) (n pwCount, err error) {
	for _, r := range *t.Results {
		switch {
		case r.Status == nil:
			return n, unreadable("Playwright", "a result of the test %q lacks its status", name)
		case !slices.Contains(pwStatuses, *r.Status):
			return n, unreadable("Playwright", "a result of the test %q has the unknown status %q", name, clip(Clean(*r.Status), 40))
		case *r.Status == "interrupted":
			n.interrupted++
		case *r.Status == "skipped":
			n.skipped++
		case *r.Status == *t.ExpectedStatus:
			n.asExpected++
		default:
			n.notExpected++
		}
	}
	return n, nil
}

// status translates Playwright's outcome, and refuses one that its results do not bear out (playwright: TestCase.outcome()). A test.fail that
// passed is "unexpected" though its result says "passed"; one that failed as announced is "expected".
func (n pwCount) status(says, name string) (qgjob.TestStatus, error) {
	switch {
	case says == "expected" && n.asExpected > 0 && n.notExpected == 0:
		return qgjob.TestPassed, nil
	case says == "flaky" && n.notExpected > 0 && n.asExpected > 0:
		return qgjob.TestFlaky, nil
	case says == "flaky" && n.notExpected > 0 && n.skipped > 0:
		// Failed first, skipped itself on the retry: Playwright's flaky, but nobody ever saw it pass.
		return qgjob.TestFailed, nil
	case says == "unexpected" && n.notExpected > 0:
		return qgjob.TestFailed, nil
	case says == "skipped" && n.asExpected == 0 && n.notExpected == 0:
		return qgjob.TestSkipped, nil
	case !slices.Contains([]string{"expected", "unexpected", "flaky", "skipped"}, says):
		return "", unreadable("Playwright", "the test %q has the unknown status %q", name, clip(Clean(says), 40))
	}
	return "", unreadable("Playwright", "it contradicts itself: the test %q is %s, but %d of its results went as expected and %d did not",
		name, says, n.asExpected, n.notExpected)
}

// explain fills in the message and the place of a failure, or why a test did not run.
func (w *pwWalk) explain(t *pwTest, n pwCount, out *qgjob.TestResult) {
	if n.interrupted > 0 {
		w.out.Interrupted++
	}
	switch out.Status {
	case qgjob.TestFailed, qgjob.TestFlaky:
		w.firstFailure(t, out)
	case qgjob.TestSkipped:
		why, onPurpose := skipReason(t)
		switch {
		case n.interrupted > 0:
			out.Message = "interrupted while it ran"
			w.firstFailure(t, out)
		case onPurpose:
			out.Message = w.limits.message(why)
		default:
			out.Message = "never ran"
			w.out.NotRun++
		}
	}
}

// firstFailure takes the errors of the first result that did not go as expected.
func (w *pwWalk) firstFailure(t *pwTest, out *qgjob.TestResult) {
	for _, r := range *t.Results {
		if *r.Status == *t.ExpectedStatus || *r.Status == "skipped" {
			continue
		}
		list := r.Errors
		if len(list) == 0 && r.Error != nil {
			list = []pwError{*r.Error}
		}
		var texts []string
		for _, e := range list {
			if text := w.limits.message(e.text()); text != "" {
				texts = append(texts, text)
			}
			if e.Location != nil && out.ErrorLine == 0 {
				out.ErrorFile = w.limits.inProject(w.root, e.Location.File)
				out.ErrorLine = lineNumber(e.Location.Line)
			}
		}
		if len(texts) == 0 {
			texts = []string{fmt.Sprintf("expected to end as %s, but it %s", *t.ExpectedStatus, ended[*r.Status])}
		}
		out.Message = clip(strings.Join(texts, "\n\n"), qgjob.MaxMessage)
		return
	}
}

var ended = map[string]string{"passed": "passed", "failed": "failed", "timedOut": "timed out", "interrupted": "was interrupted"}

// skipReason says whether somebody skipped the test, and the reason given. A test that was meant to run and whose turn never came has neither
// the expectation nor an annotation.
func skipReason(t *pwTest) (why string, onPurpose bool) {
	onPurpose = *t.ExpectedStatus == "skipped"
	lists := [][]pwAnnotation{t.Annotations}
	for _, r := range *t.Results {
		lists = append(lists, r.Annotations)
	}
	for _, a := range slices.Concat(lists...) {
		if a.Type == "skip" || a.Type == "fixme" {
			onPurpose = true
			if why == "" {
				why = a.Description
			}
		}
	}
	return why, onPurpose
}

// place writes "file:line", or the file alone.
func place(file string, line int) string {
	if line > 0 {
		return file + ":" + strconv.Itoa(line)
	}
	return file
}
