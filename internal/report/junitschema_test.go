package report

import (
	"slices"
	"testing"
)

// common are the rules of junit-10.xsd, the schema of Jenkins's xUnit plugin, for every element: which children it may have and which
// attributes it must and may have. Read from src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd/junit-10.xsd of jenkinsci/xunit-plugin
// at 031e285ef3b60dee7aaf36e9096d7dcd95ffae83; its flaky and rerun elements are Maven Surefire's.
var common = map[string]struct{ children, must, may []string }{
	"testsuites": {[]string{"testsuite"}, nil, []string{"name", "time", "tests", "failures", "errors"}},
	"testsuite": {[]string{"testsuite", "properties", "testcase", "system-out", "system-err"}, []string{"name", "tests", "failures", "errors"},
		[]string{"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"}},
	"properties": {[]string{"property"}, nil, nil},
	"property":   {nil, []string{"name", "value"}, nil},
	"testcase": {[]string{"skipped", "error", "failure", "rerunFailure", "rerunError", "flakyFailure", "flakyError", "system-out", "system-err"},
		[]string{"name"}, []string{"time", "classname", "group"}},
	"failure":      {nil, nil, []string{"type", "message"}},
	"error":        {nil, nil, []string{"type", "message"}},
	"skipped":      {nil, nil, []string{"type", "message"}},
	"flakyFailure": {[]string{"stackTrace", "system-out", "system-err"}, []string{"type"}, []string{"message"}},
	"system-out":   {},
}

// TestSchemaIsTheCommonOne: what our own rules allow, the common schema allows, and what it wants we always write.
func TestSchemaIsTheCommonOne(t *testing.T) {
	for name, ours := range schema {
		theirs, ok := common[name]
		if !ok {
			t.Errorf("<%s> is not in the common schema", name)
			continue
		}
		for _, child := range ours.children {
			if !slices.Contains(theirs.children, child) {
				t.Errorf("<%s> may not hold <%s>", name, child)
			}
		}
		for _, a := range append(slices.Clone(ours.must), ours.may...) {
			if !slices.Contains(theirs.must, a) && !slices.Contains(theirs.may, a) {
				t.Errorf("<%s> may not have %s", name, a)
			}
		}
		for _, a := range theirs.must {
			if !slices.Contains(ours.must, a) {
				t.Errorf("<%s> must have %s", name, a)
			}
		}
	}
}

// TestJUnitCarriesProperties: what a reader of a suite wants to know about the job behind it.
func TestJUnitCarriesProperties(t *testing.T) {
	run, jobs := sampleRun()
	suites := tree(t, written(t, run, jobs)).all("testsuite")
	for n, want := range []map[string]string{
		{"job_id": "job_1", "run_id": "run_7", "attempt": "1", "agent": "browser-1", "flaky": "false", "status": "failed"},
		{"job_id": "job_2", "run_id": "run_7", "attempt": "2", "agent": "browser-2", "flaky": "true", "status": "passed"},
	} {
		got := map[string]string{}
		for _, p := range suites[n].all("property") {
			got[p.attr("name")] = p.attr("value")
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("suite %d: %s is %q, want %q", n, name, got[name], value)
			}
		}
	}
}
