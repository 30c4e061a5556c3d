// Package report is reading results and writing them: Playwright's JSON and JUnit's XML in, a verdict over an attempt, JUnit, a web page and a
// Markdown summary out.
//
// It is pure: bytes and values in, values and bytes out, no clock, no files, no network. Everything it reads was written by somebody's test
// and is bounded, checked and cleaned; everything it writes is escaped. Its one promise: what is missing, cut short, contradictory or not
// understood is an error, never a pass.
package report

import (
	"fmt"
	"path"
	"strings"

	"github.com/qualgent/qgjob"
)

// Report is what a test runner said about one test file, in the project's own words.
type Report struct {
	Tests       []qgjob.TestResult // in the order of the report
	Errors      []string           // what went wrong outside any test, cleaned, each at most qgjob.MaxMessage bytes
	Attachments []Attachment       // files that the tests left
	Interrupted int                // tests that were cut short: their TestSkipped is no verdict
	NotRun      int                // tests that nobody skipped and that never ran: their TestSkipped is no verdict
	DurationMS  int64              // of the whole run, by the runner's own clock
}

// Attachment is a file or a piece of text that a test left. Path and Body come from the test: whoever opens the path does it through os.Root.
type Attachment struct {
	Test        int    // index into Report.Tests
	Name        string // as the test called it; not unique
	Path        string // on the machine that ran the test; empty when Body holds the content
	Body        []byte // content given inside the report
	ContentType string
}

// Limits bounds what a parser accepts. Zero fields take the defaults.
type Limits struct {
	MaxBytes int // of the whole report; default 64 MiB
	MaxTests int // default qgjob.MaxTestsPerReport
	MaxDepth int // of nested JSON values or XML elements; default 256
	// Project is the absolute folder of the test project. File names of the report are given relative to it, and it is cut out of messages.
	// Empty: file names stay as the report has them.
	Project string
}

// Bounds inside a report that need no knob.
const (
	maxObjects     = 1 << 20 // JSON objects, XML elements: what makes memory of bytes
	maxErrors      = 100     // top-level errors kept; the last one says how many more there were
	maxTitle       = 1024    // bytes of one part of a title
	maxAttachments = 20_000
	maxAttributes  = 256  // of one XML element; each is compared with all others
	maxPathLen     = 4096 // bytes of a file name
)

func (l Limits) withDefaults() Limits {
	if l.MaxBytes <= 0 {
		l.MaxBytes = 64 << 20
	}
	if l.MaxTests <= 0 {
		l.MaxTests = qgjob.MaxTestsPerReport
	}
	if l.MaxDepth <= 0 {
		l.MaxDepth = 256
	}
	l.Project = strings.TrimSuffix(slashed(l.Project), "/")
	return l
}

// Count gives how many tests of the report have each status.
func (r *Report) Count() (passed, failed, flaky, skipped int) {
	for i := range r.Tests {
		switch r.Tests[i].Status {
		case qgjob.TestPassed:
			passed++
		case qgjob.TestFailed:
			failed++
		case qgjob.TestFlaky:
			flaky++
		case qgjob.TestSkipped:
			skipped++
		}
	}
	return passed, failed, flaky, skipped
}

// addError keeps a top-level error, cleaned, up to maxErrors of them.
func (r *Report) addError(text string) {
	switch {
	case len(r.Errors) < maxErrors:
		r.Errors = append(r.Errors, text)
	case len(r.Errors) == maxErrors:
		r.Errors = append(r.Errors, fmt.Sprintf("more than %d errors; the rest is left out", maxErrors))
	}
}

// unreadable is the error of every parser: the report cannot be used, and why.
func unreadable(kind, format string, a ...any) error {
	return qgjob.Invalid("report", kind+" report: "+fmt.Sprintf(format, a...))
}

// inProject gives a file's name relative to the project, slash-separated. A relative name stands in dir. A file outside the project keeps its
// base name only: where a machine keeps its tools is nobody's business.
func (l Limits) inProject(dir, name string) string {
	name, dir = Clean(slashed(name)), slashed(dir)
	if name == "" || len(name) > maxPathLen {
		return ""
	}
	if !absolute(name) {
		if !absolute(dir) || l.Project == "" {
			return strings.TrimPrefix(path.Clean("/"+name), "/")
		}
		name = dir + "/" + name
	}
	name = path.Clean(name)
	if rest, ok := strings.CutPrefix(name, l.Project+"/"); ok && l.Project != "" {
		return rest
	}
	return path.Base(name)
}

// message cleans a failure's text, cuts the project's folder out of it, and clips it.
func (l Limits) message(s string) string {
	s = strings.TrimSpace(Clean(clip(s, 8*qgjob.MaxMessage)))
	if len(l.Project) > 1 {
		s = strings.ReplaceAll(s, l.Project+"/", "")
	}
	return clip(s, qgjob.MaxMessage)
}

// title cleans one part of a title: one line, bounded.
func title(s string) string {
	return clip(strings.Join(strings.Fields(Clean(clip(s, 8*maxTitle))), " "), maxTitle)
}

func slashed(name string) string { return strings.ReplaceAll(name, `\`, "/") }

// absolute holds for /a, and for C:/a, which a report from another system may name.
func absolute(name string) bool {
	return strings.HasPrefix(name, "/") || len(name) > 2 && name[1] == ':' && name[2] == '/'
}
