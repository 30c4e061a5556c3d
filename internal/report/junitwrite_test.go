package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

func written(t testing.TB, run qgjob.Run, jobs []JobReport) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteJUnit(&b, run, jobs); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// node is XML without any idea of what it should be: the structure is checked from outside the writer's own types.
type node struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Text    string     `xml:",chardata"`
	Nodes   []node     `xml:",any"`
}

func (n *node) attr(name string) string {
	for _, a := range n.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (n *node) all(name string) (out []*node) {
	for i := range n.Nodes {
		if n.Nodes[i].XMLName.Local == name {
			out = append(out, &n.Nodes[i])
		}
		out = append(out, n.Nodes[i].all(name)...)
	}
	return out
}

func tree(t testing.TB, data []byte) *node {
	t.Helper()
	var root node
	if err := xml.Unmarshal(data, &root); err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	return &root
}

// schema is what we write, held inside the rules of junit-10.xsd, the schema that Jenkins's xUnit plugin refuses files by: its elements in the
// order that Surefire's schema asks for too, its attributes and no others. TestSchemaIsTheCommonOne holds the two against each other.
var schema = map[string]struct{ children, must, may []string }{
	"testsuites":   {[]string{"testsuite"}, []string{"name", "tests", "failures", "errors", "time"}, nil},
	"testsuite":    {[]string{"properties", "testcase", "system-out"}, []string{"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "file"}, []string{"hostname"}},
	"properties":   {[]string{"property"}, nil, nil},
	"property":     {nil, []string{"name", "value"}, nil},
	"testcase":     {[]string{"failure", "error", "skipped", "flakyFailure", "system-out"}, []string{"name", "classname", "time"}, nil},
	"failure":      {nil, []string{"message", "type"}, nil},
	"error":        {nil, []string{"message", "type"}, nil},
	"flakyFailure": {nil, []string{"message", "type"}, nil},
	"skipped":      {nil, nil, []string{"message"}},
	"system-out":   {nil, nil, nil},
}

func wantSchema(t *testing.T, n *node) {
	t.Helper()
	rule, ok := schema[n.XMLName.Local]
	if !ok {
		t.Errorf("<%s> is no element of JUnit", n.XMLName.Local)
		return
	}
	for _, name := range rule.must {
		if !slices.ContainsFunc(n.Attrs, func(a xml.Attr) bool { return a.Name.Local == name }) {
			t.Errorf("<%s> lacks %s", n.XMLName.Local, name)
		}
	}
	for _, a := range n.Attrs {
		if !slices.Contains(rule.must, a.Name.Local) && !slices.Contains(rule.may, a.Name.Local) {
			t.Errorf("<%s> has the unknown attribute %s", n.XMLName.Local, a.Name.Local)
		}
		if slices.Contains([]string{"tests", "failures", "errors", "skipped"}, a.Name.Local) {
			if _, err := strconv.Atoi(a.Value); err != nil {
				t.Errorf("<%s %s=%q> is no count", n.XMLName.Local, a.Name.Local, a.Value)
			}
		}
		if a.Name.Local == "time" {
			if _, err := strconv.ParseFloat(a.Value, 64); err != nil || strings.ContainsAny(a.Value, "eE+-") {
				t.Errorf("<%s time=%q> is no number of seconds", n.XMLName.Local, a.Value)
			}
		}
	}
	last, problems := 0, 0
	for i := range n.Nodes {
		child := n.Nodes[i].XMLName.Local
		at := slices.Index(rule.children, child)
		if at < last {
			t.Errorf("<%s> in <%s> is unknown or out of order", child, n.XMLName.Local)
		}
		last = max(at, last)
		if n.XMLName.Local == "testcase" && child != "system-out" {
			problems++
		}
		wantSchema(t, &n.Nodes[i])
	}
	if problems > 1 {
		t.Errorf("a testcase with %d verdicts", problems)
	}
}

// wantRoundTrip holds what was written against what a reader makes of it: no job is missing, none that did not pass looks as if it had.
func wantRoundTrip(t *testing.T, data []byte, jobs []JobReport) {
	t.Helper()
	back, err := ParseJUnit(data, Limits{MaxTests: 1 << 20})
	if err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	root := tree(t, data)
	wantSchema(t, root)
	suites := root.all("testsuite")
	if len(suites) != len(jobs) {
		t.Fatalf("%d testsuites for %d jobs", len(suites), len(jobs))
	}
	passed, failed, flaky, skipped := back.Count()
	if want := len(root.all("testcase")); passed+failed+flaky+skipped != want {
		t.Errorf("%d tests read of %d", passed+failed+flaky+skipped, want)
	}
	if want := len(root.all("failure")) + len(root.all("error")); failed != want || root.attr("tests") != strconv.Itoa(len(back.Tests)) {
		t.Errorf("%d failed read, %d written; tests=%s", failed, want, root.attr("tests"))
	}
	for i, j := range jobs {
		bad := len(suites[i].all("failure")) + len(suites[i].all("error"))
		if len(suites[i].all("testcase")) == 0 {
			t.Errorf("job %s (%s) has no testcase", j.Job.JobID, j.Job.Status)
		}
		if j.Job.Status != qgjob.Passed && bad == 0 {
			t.Errorf("job %s is %s and shows no failure:\n%s", j.Job.JobID, j.Job.Status, data)
		}
	}
}

func TestWriteJUnit(t *testing.T) {
	run, jobs := sampleRun()
	data := written(t, run, jobs)
	wantRoundTrip(t, data, jobs)
	root := tree(t, data)
	for name, want := range map[string]string{"name": "run_7", "tests": "14", "failures": "1", "errors": "2", "time": "31.000"} {
		if got := root.attr(name); got != want {
			t.Errorf("<testsuites %s=%q>, want %q", name, got, want)
		}
	}
	failed := root.all("testsuite")[0]
	for name, want := range map[string]string{
		"name": "tests/checkout.spec.js", "tests": "3", "failures": "1", "errors": "0", "skipped": "1", "time": "7.000", "timestamp": "2026-11-23T14:00:01", "hostname": "browser-1",
	} {
		if got := failed.attr(name); got != want {
			t.Errorf("<testsuite %s=%q>, want %q", name, got, want)
		}
	}
	properties := map[string]string{}
	for _, p := range failed.all("property") {
		properties[p.attr("name")] = p.attr("value")
	}
	for name, want := range map[string]string{
		"job_id": "job_1", "attempt": "1", "agent": "browser-1", "flaky": "false", "app_version_id": "v1.5.0", "reason": "assertion", "install": "installed",
		"build": "3f7e47a342393611801b75db27529de6af64408a3f7e47a342393611801b75db",
	} {
		if properties[name] != want {
			t.Errorf("property %s is %q, want %q", name, properties[name], want)
		}
	}
	c := failed.all("testcase")[1]
	if c.attr("name") != "[Pixel 7] cart › shows the total" || c.attr("classname") != "tests/checkout.spec.js" || c.attr("time") != "1.293" {
		t.Errorf("testcase %+v", c.Attrs)
	}
	f := c.all("failure")[0]
	if f.attr("message") != "Error: expect(locator).toHaveText(expected) failed" || f.attr("type") != "assertion" ||
		!strings.Contains(f.Text, `Expected: "£9.99 & <b>"`) || !strings.HasSuffix(f.Text, "at tests/checkout.spec.js:10") {
		t.Errorf("failure %q %q %q", f.attr("message"), f.attr("type"), f.Text)
	}
}

func TestWriteJUnitFlaky(t *testing.T) {
	run, jobs := sampleRun()
	suite := tree(t, written(t, run, jobs[1:2]))
	c := suite.all("testcase")[0]
	if f := c.all("flakyFailure"); len(f) != 1 || f[0].attr("message") != "Test timeout of 5000ms exceeded." {
		t.Errorf("an earlier failure is not told: %+v", c)
	}
	out := suite.all("system-out")
	if len(out) != 1 || !strings.Contains(out[0].Text, "attempt 1 on browser-2: failed (assertion) after 7.8s\n  login › keeps me signed in") {
		t.Errorf("system-out: %+v", out)
	}
}

// TestWriteJUnitNeverPassesByAbsence gives every state of a job, with and without attempts and tests.
func TestWriteJUnitNeverPassesByAbsence(t *testing.T) {
	run, _ := sampleRun()
	okTests := []qgjob.TestResult{{File: "x.spec.js", Title: []string{"a"}, Status: qgjob.TestPassed}}
	for _, state := range append(slices.Clone(qgjob.JobStates), "", "unheard-of") {
		for _, outcome := range []qgjob.Outcome{"none", "", qgjob.OutcomePassed, qgjob.OutcomeFailed, qgjob.OutcomeErrored, qgjob.OutcomeCancelled, qgjob.OutcomeLost, qgjob.OutcomeStale, qgjob.OutcomeInterrupted, qgjob.OutcomeReleased} {
			for _, tests := range [][]qgjob.TestResult{nil, okTests} {
				j := JobReport{Job: job(1, "x.spec.js", "v1", state, "a1")}
				if outcome != "none" {
					a := attempt(1, 1, "a1", outcome, 1, 2)
					a.Tests = tests
					j.Attempts = []qgjob.Attempt{a}
				}
				wantRoundTrip(t, written(t, run, []JobReport{j}), []JobReport{j})
			}
		}
	}
}

// TestWriteJUnitProblems: which element a job that did not pass gets, and what it says.
func TestWriteJUnitProblems(t *testing.T) {
	for _, test := range []struct {
		status               qgjob.JobState
		reason               qgjob.Reason
		message              string
		element, says, typed string
	}{
		{
			qgjob.Failed,
			qgjob.ReasonTimeout,
			"ran longer than its timeout of 30m0s",
			"failure",
			"ran longer than its timeout of 30m0s",
			"timeout",
		},
		{qgjob.Failed, qgjob.ReasonExit, "", "failure", "failed: exit_code", "exit_code"},
		{
			qgjob.Errored,
			qgjob.ReasonNoReport, "cut short\nmore", "error", "cut short", "no_report",
		},
		{qgjob.Errored, qgjob.ReasonPoison, "", "error", "errored: poison", "poison"},
		{qgjob.Cancelled, qgjob.ReasonCancelled, "", "error", "cancelled", "cancelled"},
		{qgjob.Queued, "", "", "error", "has not ended: queued", "queued"},
		{qgjob.Running, "", "", "error", "has not ended: running", "running"},
	} {
		j := JobReport{Job: job(1, "x.spec.js", "v1", test.status, "")}
		j.Job.Reason, j.Job.Message = test.reason, test.message
		found := tree(t, written(t, qgjob.Run{RunID: 1}, []JobReport{j})).all(test.element)
		if len(found) != 1 || found[0].attr("message") != test.says || found[0].attr("type") != test.typed {
			t.Errorf("%s(%s): %+v, want <%s message=%q type=%q>", test.status, test.reason, found, test.element, test.says, test.typed)
		}
	}
}

// TestWriteJUnitTimeoutBesideFailedTest: the timeout is told even when a test of the attempt failed before it.
func TestWriteJUnitTimeoutBesideFailedTest(t *testing.T) {
	j := JobReport{Job: job(1, "x.spec.js", "v1", qgjob.Failed, "a1")}
	j.Job.Reason, j.Job.Message = qgjob.ReasonTimeout, "ran longer than its timeout"
	a := attempt(1, 1, "a1", qgjob.OutcomeFailed, 1, 2)
	a.Tests = []qgjob.TestResult{{Title: []string{"a"}, Status: qgjob.TestFailed, Message: "no"}}
	j.Attempts = []qgjob.Attempt{a}
	failures := tree(t, written(t, qgjob.Run{RunID: 1}, []JobReport{j})).all("failure")
	if len(failures) != 2 || failures[1].attr("type") != "timeout" {
		t.Errorf("%+v", failures)
	}
}

// TestWriteJUnitShowsTheDecidingAttempt: a pass that came too late decides nothing.
func TestWriteJUnitShowsTheDecidingAttempt(t *testing.T) {
	j := JobReport{Job: job(1, "x.spec.js", "v1", qgjob.Failed, "a1")}
	j.Job.Reason = qgjob.ReasonAssertion
	failed, stale := attempt(1, 1, "a1", qgjob.OutcomeFailed, 1, 2), attempt(1, 2, "a2", qgjob.OutcomeStale, 3, 4)
	failed.Tests = []qgjob.TestResult{{Title: []string{"a"}, Status: qgjob.TestFailed, Message: "no"}}
	stale.Tests = []qgjob.TestResult{{Title: []string{"a"}, Status: qgjob.TestPassed}}
	j.Attempts = []qgjob.Attempt{failed, stale}
	root := tree(t, written(t, qgjob.Run{RunID: 1}, []JobReport{j}))
	if len(root.all("testcase")) != 1 || len(root.all("failure")) != 1 {
		t.Errorf("%+v", root)
	}
}

func TestWriteJUnitText(t *testing.T) {
	nasty := "]]> <![CDATA[ & \" ' \x00\x1b[31mred\x1b[0m \ufffe\uffff \xff <script>alert(1)</script>\nline"
	j := JobReport{Job: job(1, nasty, qgjob.AppVersionID(nasty), qgjob.Errored, qgjob.AgentID(nasty))}
	j.Job.Reason, j.Job.Message = qgjob.Reason(nasty), nasty
	a := attempt(1, 1, qgjob.AgentID(nasty), qgjob.OutcomeErrored, 1, 2)
	for _, s := range []qgjob.TestStatus{qgjob.TestPassed, qgjob.TestFailed, qgjob.TestFlaky, qgjob.TestSkipped, qgjob.TestStatus(nasty)} {
		a.Tests = append(a.Tests, qgjob.TestResult{File: nasty, Title: []string{nasty, nasty}, Project: nasty, Status: s, Message: nasty, ErrorFile: nasty, ErrorLine: 3})
	}
	j.Attempts = []qgjob.Attempt{a}
	data := written(t, qgjob.Run{RunID: 1}, []JobReport{j})
	wantRoundTrip(t, data, []JobReport{j})
	for _, bad := range []string{"\x1b", "\x00", "[31m", "\ufffe", "\uffff"} {
		if bytes.Contains(data, []byte(bad)) {
			t.Errorf("%q came through", bad)
		}
	}
	if len(tree(t, data).all("script")) > 0 {
		t.Error("text became an element")
	}
	if e := tree(t, data).all("error"); !strings.HasPrefix(e[0].Text, `]]> <![CDATA[ & " ' red `) {
		t.Errorf("the text did not survive: %q", e[0].Text)
	}
}

func TestWriteJUnitEmptyRun(t *testing.T) {
	root := tree(t, written(t, qgjob.Run{RunID: 3}, nil))
	if root.attr("name") != "run_3" || root.attr("tests") != "0" || len(root.Nodes) != 0 {
		t.Errorf("%+v", root)
	}
}

// full is a writer whose disk is full after n bytes.
type full struct{ n int }

var errFull = errors.New("disk full")

func (w *full) Write(p []byte) (int, error) {
	if len(p) > w.n {
		return 0, errFull
	}
	w.n -= len(p)
	return len(p), nil
}

func TestWritersTellOfFullDisks(t *testing.T) {
	run, jobs := sampleRun()
	for name, write := range map[string]func(io.Writer, qgjob.Run, []JobReport) error{"JUnit": WriteJUnit, "HTML": writePainted, "summary": writePlainSummary} {
		for _, n := range []int{0, 100} {
			if err := write(&full{n}, run, jobs); !errors.Is(err, errFull) {
				t.Errorf("%s with room for %d bytes: %v", name, n, err)
			}
		}
	}
}

func FuzzWriteJUnit(f *testing.F) {
	f.Add("tests/a.spec.js", "cart › total", "Error: ]]> no", "passed", "passed", "failed", int64(12))
	f.Add("", "", "", "", "", "", int64(-1))
	f.Add("\x1b[31m", " \n", "\xff\ufffe", "errored", "lost", "flaky", int64(1<<62))
	f.Fuzz(func(t *testing.T, path, title, message, state, outcome, status string, ms int64) {
		j := JobReport{Job: job(1, path, qgjob.AppVersionID(title), qgjob.JobState(state), qgjob.AgentID(path))}
		j.Job.Message, j.Job.Reason = message, qgjob.Reason(title)
		a := attempt(1, 1, qgjob.AgentID(message), qgjob.Outcome(outcome), 1, 2)
		a.Message, a.TestMS = message, ms
		a.Tests = []qgjob.TestResult{{File: path, Title: []string{title, message}, Project: title, Status: qgjob.TestStatus(status), DurationMS: ms, Message: message, ErrorFile: path, ErrorLine: 1}}
		j.Attempts = []qgjob.Attempt{a, a}
		jobs := []JobReport{j, {Job: j.Job}}
		wantRoundTrip(t, written(t, qgjob.Run{RunID: 1}, jobs), jobs)
		for _, write := range []func(io.Writer, qgjob.Run, []JobReport) error{writePainted, writePlainSummary} {
			if err := write(io.Discard, qgjob.Run{RunID: 1}, jobs); err != nil {
				t.Error(err)
			}
		}
	})
}
