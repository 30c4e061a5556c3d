package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
)

// The parts of a JUnit file, as the schema of Jenkins's xUnit plugin (junit-10.xsd) has them, and nothing more: a validating reader refuses a file
// for one attribute that it does not know. junitschema_test.go holds the schema's rules.
type (
	xmlSuite struct {
		XMLName   xml.Name      `xml:"testsuite"`
		Name      string        `xml:"name,attr"`
		Tests     int           `xml:"tests,attr"`
		Failures  int           `xml:"failures,attr"`
		Errors    int           `xml:"errors,attr"`
		Skipped   int           `xml:"skipped,attr"`
		Time      string        `xml:"time,attr"`
		Timestamp string        `xml:"timestamp,attr"`
		Hostname  string        `xml:"hostname,attr,omitempty"`
		File      string        `xml:"file,attr"`
		Props     []xmlProperty `xml:"properties>property"`
		Cases     []xmlCase     `xml:"testcase"`
		Out       *xmlText      `xml:"system-out"`
	}
	xmlText struct {
		Body string `xml:",cdata"`
	}
	xmlProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	xmlCase struct {
		Name    string      `xml:"name,attr"`
		Class   string      `xml:"classname,attr"` // the spec file: the schema has no attribute for it on a testcase
		Time    string      `xml:"time,attr"`
		Failure *xmlProblem `xml:"failure"`
		Error   *xmlProblem `xml:"error"`
		Skipped *xmlSkip    `xml:"skipped"`
		Flaky   *xmlProblem `xml:"flakyFailure"`
	}
	xmlProblem struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Body    string `xml:",cdata"`
	}
	xmlSkip struct {
		Message string `xml:"message,attr,omitempty"`
	}
)

// WriteJUnit writes a run as JUnit XML that Jenkins, GitLab and GitHub's reporters read: a testsuite for each job, a testcase for each test of the
// attempt that decided it. A job that did not pass always shows as a failure or an error, also when it never came to run a test, and also while
// it has not ended; nothing is left out and nothing passes by absence. A test that failed in an earlier attempt, or before the runner's own
// retry, carries a flakyFailure. The only errors are those of w.
func WriteJUnit(w io.Writer, run qgjob.Run, jobs []JobReport) error {
	suites := make([]xmlSuite, len(jobs))
	sum := xmlSuite{}
	for i := range jobs {
		suites[i] = jobs[i].junit()
		sum.Tests += suites[i].Tests
		sum.Failures += suites[i].Failures
		sum.Errors += suites[i].Errors
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	root := xml.StartElement{Name: xml.Name{Local: "testsuites"}, Attr: []xml.Attr{
		xmlAttr("name", run.RunID.String()),
		xmlAttr("tests", strconv.Itoa(sum.Tests)),
		xmlAttr("failures", strconv.Itoa(sum.Failures)),
		xmlAttr("errors", strconv.Itoa(sum.Errors)),
		xmlAttr("time", inSeconds(took(run).Milliseconds())),
	}}
	if err := enc.EncodeToken(root); err != nil {
		return err
	}
	for i := range suites {
		if err := enc.Encode(suites[i]); err != nil {
			return err
		}
	}
	if err := enc.EncodeToken(root.End()); err != nil {
		return err
	}
	if err := enc.Close(); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func xmlAttr(name, value string) xml.Attr { return xml.Attr{Name: xml.Name{Local: name}, Value: value} }

func (j JobReport) junit() xmlSuite {
	s := xmlSuite{
		Name: Clean(j.Job.TestPath), File: Clean(j.Job.TestPath), Time: inSeconds(j.testMS()),
		Timestamp: j.Job.SubmittedAt.UTC().Format("2006-01-02T15:04:05"), Hostname: Clean(string(j.Job.AgentID)),
		Props: j.properties(), Out: j.story(),
	}
	if j.Job.StartedAt != nil {
		s.Timestamp = j.Job.StartedAt.UTC().Format("2006-01-02T15:04:05")
	}
	before := j.failedBefore()
	for _, t := range j.tests() {
		s.Cases = append(s.Cases, j.testcase(&t, before[testKey(&t)]))
	}
	if own, needed := j.ownCase(s.Cases); needed {
		s.Cases = append(s.Cases, own)
	}
	for i := range s.Cases {
		c := &s.Cases[i]
		s.Tests++
		switch {
		case c.Failure != nil:
			s.Failures++
		case c.Error != nil:
			s.Errors++
		case c.Skipped != nil:
			s.Skipped++
		}
	}
	return s
}

// testcase writes one test; before is its failure in an earlier attempt, or nil.
func (j JobReport) testcase(t, before *qgjob.TestResult) xmlCase {
	file := orDefault(Clean(t.File), Clean(j.Job.TestPath))
	name := strings.Join(t.Title, " › ")
	if t.Project != "" {
		name = "[" + t.Project + "] " + name
	}
	c := xmlCase{Name: orDefault(title(name), "a test without a title"), Class: file, Time: inSeconds(t.DurationMS)}
	switch t.Status {
	case qgjob.TestFailed:
		problem := newProblem("failed", t.Message, place(Clean(t.ErrorFile), t.ErrorLine))
		if j.Job.Status == qgjob.Errored {
			problem.Type, c.Error = orDefault(title(string(j.Job.Reason)), "errored"), problem
		} else {
			problem.Type, c.Failure = string(qgjob.ReasonAssertion), problem
		}
	case qgjob.TestSkipped:
		c.Skipped = &xmlSkip{Message: firstLine(Clean(t.Message))}
	case qgjob.TestFlaky:
		c.Flaky = newProblem("failed before the runner's retry", t.Message, place(Clean(t.ErrorFile), t.ErrorLine))
		c.Flaky.Type = string(qgjob.ReasonAssertion)
	case qgjob.TestPassed:
		if before != nil {
			c.Flaky = newProblem("failed in an earlier attempt", before.Message, place(Clean(before.ErrorFile), before.ErrorLine))
			c.Flaky.Type = string(qgjob.ReasonAssertion)
		}
	default:
		c.Error = &xmlProblem{Message: "the test has the unknown status " + strconv.Quote(title(string(t.Status))), Type: "unknown"}
	}
	return c
}

// ownCase gives the testcase that stands for the job itself. It is needed when the job has no tests, and when it did not pass and none of its
// tests shows that.
func (j JobReport) ownCase(cases []xmlCase) (c xmlCase, needed bool) {
	name := title(j.Job.TestPath)
	c = xmlCase{Name: orDefault(name, j.Job.JobID.String()), Class: name, Time: inSeconds(j.testMS())}
	if j.Job.Status == qgjob.Passed {
		return c, len(cases) == 0
	}
	for i := range cases {
		if cases[i].Failure != nil && j.Job.Status == qgjob.Failed && j.Job.Reason != qgjob.ReasonTimeout || cases[i].Error != nil && j.Job.Status == qgjob.Errored {
			return c, false
		}
	}
	problem := newProblem(j.headline(), j.Job.Message, "")
	problem.Type = title(orDefault(string(j.Job.Reason), string(j.Job.Status)))
	if j.Job.Status == qgjob.Failed {
		c.Failure = problem
	} else {
		c.Error = problem
	}
	return c, true
}

// newProblem writes a failure: its first line as the message, all of it as the body.
func newProblem(otherwise, message, at string) *xmlProblem {
	body := Clean(message)
	if at != "" && !strings.Contains(body, at) {
		body += "\nat " + at
	}
	return &xmlProblem{Message: orDefault(clip(firstLine(body), 500), Clean(otherwise)), Body: strings.TrimSpace(inCDATA.Replace(body))}
}

// inCDATA takes out the two runes that Clean leaves and XML does not know; encoding/xml replaces them everywhere but in CDATA.
var inCDATA = strings.NewReplacer("\ufffe", "\ufffd", "\uffff", "\ufffd")

func (j JobReport) properties() []xmlProperty {
	out := []xmlProperty{
		{"job_id", j.Job.JobID.String()},
		{"run_id", j.Job.RunID.String()},
		{"app_version_id", string(j.Job.AppVersionID)},
		{"target", string(j.Job.Target)},
		{"status", string(j.Job.Status)},
		{"reason", string(j.Job.Reason)},
		{"flaky", strconv.FormatBool(j.Job.Flaky)},
		{"attempts", strconv.Itoa(j.Job.Attempts)},
	}
	if j.Job.BuildSHA256 != "" {
		out = append(out, xmlProperty{"build", string(j.Job.BuildSHA256)})
	}
	if j.Job.ReusedFrom != nil {
		out = append(out, xmlProperty{"reused_from", j.Job.ReusedFrom.String()})
	}
	if a := j.deciding(); a != nil {
		out = append(out, xmlProperty{"attempt", strconv.Itoa(a.Number)}, xmlProperty{"agent", string(a.AgentID)}, xmlProperty{"install", string(a.Install)})
	} else if j.Job.AgentID != "" {
		out = append(out, xmlProperty{"agent", string(j.Job.AgentID)})
	}
	for i := range out {
		out[i].Value = Clean(out[i].Value)
	}
	return out
}

// story tells of the attempts that went before the deciding one, a paragraph each; nil when there are none.
func (j JobReport) story() *xmlText {
	var b strings.Builder
	for _, a := range j.earlier() {
		fmt.Fprintf(&b, "attempt %d on %s: %s", a.Number, Clean(string(a.AgentID)), a.Outcome)
		if a.Reason != qgjob.ReasonNone {
			fmt.Fprintf(&b, " (%s)", a.Reason)
		}
		fmt.Fprintf(&b, " after %s", (time.Duration(a.TestMS) * time.Millisecond).String())
		if text := strings.TrimSpace(Clean(a.Message)); text != "" {
			b.WriteString("\n  " + strings.ReplaceAll(clip(text, qgjob.MaxMessage), "\n", "\n  "))
		}
		b.WriteByte('\n')
	}
	if b.Len() == 0 {
		return nil
	}
	return &xmlText{Body: inCDATA.Replace(Clean(b.String()))}
}

// inSeconds writes milliseconds as JUnit's seconds.
func inSeconds(ms int64) string {
	if ms < 0 {
		ms = 0
	}
	return strconv.FormatFloat(float64(ms)/1000, 'f', 3, 64)
}
