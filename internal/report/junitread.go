package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/qualgent/qgjob"
)

// ParseJUnit reads JUnit's XML as the usual runners write it: testsuites or one testsuite, nested at will, testcases with failure, error,
// skipped, flakyFailure and rerunFailure (Maven Surefire's words). An error means that the report says nothing: not XML to its end, a document
// type (and so any entity of its own), an attribute twice, a testcase without a name, or counts that contradict the content. The error is a
// *qgjob.Error of KindInvalid.
//
// JUnit has no place for what went wrong outside a test; a failure or error that stands outside a testcase goes to Report.Errors.
func ParseJUnit(data []byte, limits Limits) (Report, error) {
	limits = limits.withDefaults()
	if len(data) > limits.MaxBytes {
		return Report{}, unreadable("JUnit", "it is %d bytes long; allowed: %d", len(data), limits.MaxBytes)
	}
	p := junitParser{dec: xml.NewDecoder(bytes.NewReader(data)), limits: limits}
	root, err := p.root()
	if err != nil {
		return Report{}, err
	}
	if root.Name.Local == "testsuites" || root.Name.Local == "testsuite" {
		if _, err := p.suite(root, "", 1); err != nil {
			return Report{}, err
		}
	} else {
		return Report{}, unreadable("JUnit", "it begins with <%s>, not with <testsuites> or <testsuite>", clip(root.Name.Local, 60))
	}
	if err := p.end(); err != nil {
		return Report{}, err
	}
	return p.out, nil
}

type junitParser struct {
	dec      *xml.Decoder
	limits   Limits
	out      Report
	elements int
}

// next gives the next token, with everything refused that no JUnit report needs.
func (p *junitParser) next() (xml.Token, error) {
	token, err := p.dec.Token()
	switch {
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	case err != nil && strings.Contains(err.Error(), "unexpected EOF"):
		return nil, unreadable("JUnit", "it is cut short after %d bytes", p.dec.InputOffset())
	case err != nil:
		return nil, unreadable("JUnit", "%s", clip(Clean(err.Error()), 300))
	}
	switch token := token.(type) {
	case xml.Directive:
		return nil, unreadable("JUnit", "it has a document type, which is not accepted (entities can fill a machine)")
	case xml.StartElement:
		if p.elements++; p.elements > maxObjects {
			return nil, unreadable("JUnit", "it holds more than %d elements", maxObjects)
		}
		if len(token.Attr) > maxAttributes {
			return nil, unreadable("JUnit", "<%s> has more than %d attributes", clip(token.Name.Local, 60), maxAttributes)
		}
		for i, a := range token.Attr {
			if slices.ContainsFunc(token.Attr[:i], func(b xml.Attr) bool { return a.Name == b.Name }) {
				return nil, unreadable("JUnit", "<%s> has the attribute %s twice", clip(token.Name.Local, 60), clip(a.Name.Local, 60))
			}
		}
	}
	return token, nil
}

// root skips what may stand before the first element.
func (p *junitParser) root() (xml.StartElement, error) {
	for {
		token, err := p.next()
		if errors.Is(err, io.EOF) {
			return xml.StartElement{}, unreadable("JUnit", "it is empty")
		}
		if err != nil {
			return xml.StartElement{}, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			return token, nil
		case xml.CharData:
			// A byte order mark is allowed at the very start.
			if text := bytes.TrimSpace(bytes.TrimPrefix(token, []byte("\ufeff"))); len(text) > 0 {
				return xml.StartElement{}, unreadable("JUnit", "it begins with text, not with <testsuites>")
			}
		}
	}
}

// end wants nothing but blanks and comments after the last element.
func (p *junitParser) end() error {
	for {
		token, err := p.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch token := token.(type) {
		case xml.StartElement:
			return unreadable("JUnit", "there is a second report after its end")
		case xml.CharData:
			if len(bytes.TrimSpace(token)) > 0 {
				return unreadable("JUnit", "there is text after its end")
			}
		}
	}
}

// children calls each for every child element of the one that was just opened; each consumes its element. It gives the text between them.
func (p *junitParser) children(of xml.StartElement, depth int, each func(xml.StartElement) error) (string, error) {
	if depth > p.limits.MaxDepth {
		return "", unreadable("JUnit", "it is nested more than %d deep", p.limits.MaxDepth)
	}
	var text strings.Builder
	for {
		token, err := p.next()
		if errors.Is(err, io.EOF) {
			return "", unreadable("JUnit", "it is cut short: <%s> does not end", clip(of.Name.Local, 60))
		}
		if err != nil {
			return "", err
		}
		switch token := token.(type) {
		case xml.StartElement:
			if err := each(token); err != nil {
				return "", err
			}
		case xml.CharData:
			if text.Len() < 8*qgjob.MaxMessage {
				text.Write(token)
			}
		case xml.EndElement:
			return text.String(), nil
		}
	}
}

// skip consumes an element of no interest.
func (p *junitParser) skip(start xml.StartElement, depth int) error {
	_, err := p.children(start, depth, func(inner xml.StartElement) error { return p.skip(inner, depth+1) })
	return err
}

// suite reads a testsuites or testsuite element and holds its counts against what it holds.
func (p *junitParser) suite(start xml.StartElement, file string, depth int) (total junitCount, err error) {
	own := junitCount{}
	name := attr(start, "name")
	if f := attr(start, "file"); f != "" {
		file = f
	} else if file == "" && looksLikeFile(name) {
		file = name
	}
	_, err = p.children(start, depth, func(child xml.StartElement) error {
		switch child.Name.Local {
		case "testsuite", "testsuites":
			inner, err := p.suite(child, file, depth+1)
			total.add(inner)
			return err
		case "testcase":
			return p.testcase(child, file, depth+1, &own)
		case "failure", "error":
			text, err := p.failure(child, depth+1)
			own.outside++
			p.out.addError(orDefault(text, "an "+child.Name.Local+" outside any test"))
			return err
		}
		return p.skip(child, depth+1)
	})
	if err != nil {
		return total, err
	}
	total.add(own)
	if depth == 1 {
		p.out.DurationMS = seconds(attr(start, "time"))
	}
	return total, checkCounts(start, own, total)
}

// testcase reads one test. Whatever says that it went wrong outweighs whatever says that it did not.
func (p *junitParser) testcase(start xml.StartElement, file string, depth int, own *junitCount) error {
	out, err := p.newTest(start, file)
	if err != nil {
		return err
	}
	var bad, flaky, skipped int
	var message string
	_, err = p.children(start, depth, func(child xml.StartElement) error {
		counter := &flaky
		switch child.Name.Local {
		case "failure", "error", "rerunFailure", "rerunError":
			counter = &bad
		case "flakyFailure", "flakyError":
		case "skipped", "disabled", "ignored":
			counter = &skipped
		default:
			return p.skip(child, depth+1)
		}
		*counter++
		if child.Name.Local == "failure" || child.Name.Local == "error" {
			own.badElements++
		}
		text, err := p.failure(child, depth+1)
		if message == "" {
			message = text
		}
		return err
	})
	if err != nil {
		return err
	}
	out.Message = message
	own.tests++
	switch {
	case bad > 0:
		out.Status = qgjob.TestFailed
		own.bad++
	case skipped > 0:
		out.Status = qgjob.TestSkipped
		own.skipped++
	case notRun(start):
		out.Status = qgjob.TestSkipped
		own.notRun++
	case flaky > 0:
		out.Status = qgjob.TestFlaky
	default:
		out.Status = qgjob.TestPassed
	}
	p.out.Tests = append(p.out.Tests, out)
	return nil
}

func (p *junitParser) newTest(start xml.StartElement, file string) (qgjob.TestResult, error) {
	if len(p.out.Tests) >= p.limits.MaxTests {
		return qgjob.TestResult{}, unreadable("JUnit", "it holds more than %d tests", p.limits.MaxTests)
	}
	name, class := attr(start, "name"), attr(start, "classname")
	if strings.TrimSpace(name) == "" {
		return qgjob.TestResult{}, unreadable("JUnit", "a testcase has no name")
	}
	out := qgjob.TestResult{DurationMS: seconds(attr(start, "time"))}
	if f := attr(start, "file"); f != "" {
		file = f
	}
	switch {
	case class == "" || class == file || class == name:
	case looksLikeFile(class):
		file = orDefault(file, class)
	default:
		out.Title = append(out.Title, title(class))
	}
	out.File = p.limits.inProject("", file)
	for part := range strings.SplitSeq(name, " › ") {
		out.Title = append(out.Title, title(part))
	}
	if line, err := strconv.Atoi(attr(start, "line")); err == nil && line > 0 && line <= math.MaxInt32 {
		out.Line = line
	}
	return out, nil
}

// failure consumes a failure, error or skipped element and gives its text: the message attribute, then the body where it says more.
func (p *junitParser) failure(start xml.StartElement, depth int) (string, error) {
	body, err := p.children(start, depth, func(inner xml.StartElement) error { return p.skip(inner, depth+1) })
	if err != nil {
		return "", err
	}
	head, body := p.limits.message(attr(start, "message")), p.limits.message(body)
	switch {
	case head == "":
		return body, nil
	case body == "" || strings.Contains(head, body):
		return head, nil
	case strings.Contains(body, head):
		return body, nil
	}
	return clip(head+"\n"+body, qgjob.MaxMessage), nil
}

// notRun knows GoogleTest's way to say that a test was not run.
func notRun(start xml.StartElement) bool {
	return attr(start, "status") == "notrun" || slices.Contains([]string{"suppressed", "skipped"}, attr(start, "result"))
}

func attr(start xml.StartElement, name string) string {
	for _, a := range start.Attr {
		if a.Name.Local == name && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}

// seconds reads a time attribute ("0.25", "1,024.5") as milliseconds; what is no time is 0, for no verdict hangs on it.
func seconds(s string) int64 {
	f, err := strconv.ParseFloat(strings.ReplaceAll(strings.TrimSpace(s), ",", ""), 64)
	if err != nil {
		return 0
	}
	return millis(f * 1000)
}

// looksLikeFile tells a file's name from a class's: the two share one attribute in JUnit.
func looksLikeFile(name string) bool {
	if strings.ContainsAny(name, " \n\t") {
		return false
	}
	if strings.ContainsAny(name, `/\`) {
		return true
	}
	at := strings.LastIndexByte(name, '.')
	return at > 0 && slices.Contains([]string{".js", ".jsx", ".ts", ".tsx", ".mjs", ".cjs", ".mts", ".cts", ".py", ".rb", ".kt", ".dart", ".yaml", ".yml", ".robot", ".sh"}, name[at:])
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
