package report

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/qualgent/qgjob"
)

// The JSON reporter's types, as far as they are read (playwright: packages/playwright/types/testReporter.d.ts, JSONReport). Pointers are
// members that must be there.
type (
	pwReport struct {
		Config struct {
			RootDir string `json:"rootDir"`
		} `json:"config"`
		Suites *[]pwSuite `json:"suites"`
		Errors *[]pwError `json:"errors"`
		Stats  *pwStats   `json:"stats"`
	}
	pwStats struct {
		Duration   float64 `json:"duration"`
		Expected   *int    `json:"expected"`
		Unexpected *int    `json:"unexpected"`
		Flaky      *int    `json:"flaky"`
		Skipped    *int    `json:"skipped"`
	}
	pwSuite struct {
		Title  string    `json:"title"`
		File   string    `json:"file"`
		Specs  []pwSpec  `json:"specs"`
		Suites []pwSuite `json:"suites"`
	}
	pwSpec struct {
		Title *string   `json:"title"`
		OK    *bool     `json:"ok"`
		File  string    `json:"file"`
		Line  float64   `json:"line"`
		Tests *[]pwTest `json:"tests"`
	}
	pwTest struct {
		ExpectedStatus *string        `json:"expectedStatus"`
		Status         *string        `json:"status"`
		ProjectName    string         `json:"projectName"`
		Annotations    []pwAnnotation `json:"annotations"`
		Results        *[]pwResult    `json:"results"`
	}
	pwResult struct {
		Status      *string        `json:"status"`
		Duration    float64        `json:"duration"`
		Error       *pwError       `json:"error"`
		Errors      []pwError      `json:"errors"`
		Annotations []pwAnnotation `json:"annotations"`
		Attachments []pwAttachment `json:"attachments"`
	}
	pwAnnotation struct {
		Type        string `json:"type"`
		Description string `json:"description"`
	}
	pwError struct {
		Message  string `json:"message"`
		Stack    string `json:"stack"`
		Value    string `json:"value"`
		Location *struct {
			File string  `json:"file"`
			Line float64 `json:"line"`
		} `json:"location"`
	}
	pwAttachment struct {
		Name        string  `json:"name"`
		Path        string  `json:"path"`
		Body        *string `json:"body"`
		ContentType string  `json:"contentType"`
	}
)

// ParsePlaywright reads what Playwright's JSON reporter wrote (1.40 to 1.6x). An error means that the report says nothing: it is cut short, not
// JSON, holds a member twice, lacks suites, errors, stats or a status, has a status that is not known, or contradicts itself. The error is a
// *qgjob.Error of KindInvalid.
//
// A test that was skipped on purpose and one that never got its turn look the same in "status"; the second kind is counted in NotRun or
// Interrupted.
func ParsePlaywright(data []byte, limits Limits) (Report, error) {
	limits = limits.withDefaults()
	if err := scanJSON(data, limits); err != nil {
		return Report{}, err
	}
	var in pwReport
	if err := json.Unmarshal(data, &in, jsontext.AllowInvalidUTF8(true)); err != nil {
		if wrong, ok := errors.AsType[*json.SemanticError](err); ok {
			return Report{}, unreadable("Playwright", "there is a %s at %q, where none belongs", wrong.JSONKind, clip(Clean(string(wrong.JSONPointer)), 200))
		}
		return Report{}, unreadable("Playwright", "%s", clip(Clean(err.Error()), 300))
	}
	switch {
	case in.Suites == nil:
		return Report{}, unreadable("Playwright", "it has no suites")
	case in.Errors == nil:
		return Report{}, unreadable("Playwright", "it has no errors member")
	case in.Stats == nil:
		return Report{}, unreadable("Playwright", "it has no stats")
	}
	w := pwWalk{limits: limits, root: in.Config.RootDir}
	for _, e := range *in.Errors {
		w.out.addError(w.topLevel(e))
	}
	for i := range *in.Suites {
		// The outermost suites are the files; their titles are the files' names again.
		if err := w.suite(&(*in.Suites)[i], nil); err != nil {
			return Report{}, err
		}
	}
	if err := w.checkStats(in.Stats); err != nil {
		return Report{}, err
	}
	w.out.DurationMS = millis(in.Stats.Duration)
	return w.out, nil
}

// scanJSON goes over the tokens once: it refuses what is not one whole JSON value and what would need much more memory than its bytes.
func scanJSON(data []byte, limits Limits) error {
	if len(data) > limits.MaxBytes {
		return unreadable("Playwright", "it is %d bytes long; allowed: %d", len(data), limits.MaxBytes)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return unreadable("Playwright", "it is empty")
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowInvalidUTF8(true))
	objects, values := 0, 0
	for {
		token, err := dec.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return unreadable("Playwright", "it is cut short after %d bytes", len(data))
		case err != nil:
			return unreadable("Playwright", "%s", clip(Clean(err.Error()), 300))
		}
		if dec.StackDepth() > limits.MaxDepth {
			return unreadable("Playwright", "it is nested more than %d deep", limits.MaxDepth)
		}
		if token.Kind() == '{' {
			objects++
		}
		if dec.StackDepth() == 0 {
			values++
		}
		if objects > maxObjects {
			return unreadable("Playwright", "it holds more than %d objects", maxObjects)
		}
		if values > 1 {
			return unreadable("Playwright", "there is something after its end, at byte %d", dec.InputOffset())
		}
	}
}

// pwWalk gathers the tests of nested suites.
type pwWalk struct {
	limits Limits
	root   string // config.rootDir: what file names are relative to
	out    Report
	stats  map[string]int // tests by Playwright's own status
}

func (w *pwWalk) suite(s *pwSuite, titles []string) error {
	for i := range s.Specs {
		if err := w.spec(&s.Specs[i], s.File, titles); err != nil {
			return err
		}
	}
	for i := range s.Suites {
		inner := &s.Suites[i]
		path := titles
		if inner.Title != "" {
			path = append(slices.Clone(titles), title(inner.Title))
		}
		if err := w.suite(inner, path); err != nil {
			return err
		}
	}
	return nil
}

func (w *pwWalk) spec(s *pwSpec, file string, titles []string) error {
	if s.Title == nil || s.OK == nil || s.Tests == nil {
		return unreadable("Playwright", "a test in %s lacks its title, ok or tests", orUnknown(w.limits.inProject(w.root, file)))
	}
	if s.File != "" {
		file = s.File
	}
	path := append(slices.Clone(titles), title(*s.Title))
	unexpected := false
	for i := range *s.Tests {
		if len(w.out.Tests) >= w.limits.MaxTests {
			return unreadable("Playwright", "it holds more than %d tests", w.limits.MaxTests)
		}
		t := qgjob.TestResult{File: w.limits.inProject(w.root, file), Title: path, Line: lineNumber(s.Line)}
		if err := w.test(&(*s.Tests)[i], t); err != nil {
			return err
		}
		unexpected = unexpected || *(*s.Tests)[i].Status == "unexpected"
	}
	// Playwright takes ok from the first project alone when it merges projects, so only the other contradiction is one.
	if !*s.OK && !unexpected {
		return unreadable("Playwright", "it contradicts itself: the test %q is not ok, and none of its runs failed", clip(strings.Join(path, " › "), 200))
	}
	return nil
}

// topLevel writes an error that belongs to no test, with the place it came from.
func (w *pwWalk) topLevel(e pwError) string {
	text := w.limits.message(e.text())
	if text == "" {
		text = "the runner reported an error without a message"
	}
	if e.Location != nil && e.Location.File != "" {
		if at := place(w.limits.inProject(w.root, e.Location.File), lineNumber(e.Location.Line)); !strings.Contains(text, at) {
			text = clip(text+"\nat "+at, qgjob.MaxMessage)
		}
	}
	return text
}

// checkStats holds the report's own totals against what it contains.
func (w *pwWalk) checkStats(stats *pwStats) error {
	for _, row := range []struct {
		name string
		says *int
	}{{"expected", stats.Expected}, {"unexpected", stats.Unexpected}, {"flaky", stats.Flaky}, {"skipped", stats.Skipped}} {
		if row.says == nil {
			return unreadable("Playwright", "its stats lack %s", row.name)
		}
		if *row.says != w.stats[row.name] {
			return unreadable("Playwright", "it contradicts itself: stats say %d %s, it holds %d", *row.says, row.name, w.stats[row.name])
		}
	}
	return nil
}

// attach keeps the attachments of one result for the test that comes next.
func (w *pwWalk) attach(list []pwAttachment) error {
	for _, a := range list {
		if len(w.out.Attachments) >= maxAttachments {
			return unreadable("Playwright", "it names more than %d attachments", maxAttachments)
		}
		out := Attachment{Test: len(w.out.Tests), Name: title(a.Name), Path: a.Path, ContentType: title(a.ContentType)}
		if a.Body != nil {
			body, err := base64.StdEncoding.DecodeString(*a.Body)
			if err != nil {
				return unreadable("Playwright", "the attachment %q is not base64", clip(out.Name, 100))
			}
			out.Body = body
		}
		if len(out.Path) <= maxPathLen && (out.Path != "" || out.Body != nil) {
			w.out.Attachments = append(w.out.Attachments, out)
		}
	}
	return nil
}

func (e pwError) text() string {
	switch {
	case e.Message != "":
		return e.Message
	case e.Stack != "":
		return e.Stack
	}
	return e.Value
}

// lineNumber takes a line as JSON has it; what is no line is 0.
func lineNumber(f float64) int {
	if f < 1 || f > math.MaxInt32 || f != math.Trunc(f) {
		return 0
	}
	return int(f)
}

// millis takes a duration as JSON has it. Playwright writes -1 for what never ended.
func millis(f float64) int64 {
	if !(f > 0) || f > math.MaxInt32*1000 {
		return 0
	}
	return int64(math.Round(f))
}

func orUnknown(file string) string {
	if file == "" {
		return "a file without a name"
	}
	return file
}
