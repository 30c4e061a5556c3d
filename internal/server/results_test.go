package server

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

// finishedRun is a run of a passed, a failed and an errored job, each with
// hostile text where a test can put some.
func finishedRun(h *house) qgjob.RunID {
	h.Helper()
	run := h.submit("v1", 0, "pass.js", "fail.js", "break.js").RunID
	w := h.agent("b1")
	for range 5 { // the errored one takes three attempts
		o := w.start()
		switch o.Job.TestPath {
		case "pass.js":
			w.complete(o, qgjob.OutcomePassed, func(r *qgjob.CompleteRequest) {
				r.Tests = []qgjob.TestResult{{File: "pass.js", Title: []string{"opens"}, Status: qgjob.TestPassed, DurationMS: 12}}
			})
		case "fail.js":
			w.complete(o, qgjob.OutcomeFailed, func(r *qgjob.CompleteRequest) {
				r.Reason = qgjob.ReasonAssertion
				r.Tests = []qgjob.TestResult{{File: "fail.js", Title: []string{"]]><script>alert(1)</script>"}, Status: qgjob.TestFailed, Message: "expected <b>1</b> & got \x00\x1b[31m2"}}
			})
		default:
			w.complete(o, qgjob.OutcomeErrored, func(r *qgjob.CompleteRequest) { r.Reason, r.Message = qgjob.ReasonNoReport, "no report" })
		}
	}
	return run
}

func TestRunResults(t *testing.T) {
	h := newHouse(t)
	run := finishedRun(h)
	res := h.send("GET", "/v1/runs/"+run.String()+"/junit", "")
	status, body := h.read(res)
	var suites struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Suites   []struct {
			Name string `xml:"name,attr"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(body), &suites); err != nil || status != 200 {
		t.Fatalf("%d, %v:\n%s", status, err, body)
	}
	if suites.Tests != 3 || suites.Failures != 1 || suites.Errors != 1 || len(suites.Suites) != 3 {
		t.Errorf("%+v", suites)
	}
	if kind := res.Header.Get("Content-Type"); kind != "application/xml; charset=utf-8" {
		t.Errorf("Content-Type %s", kind)
	}
	res = h.send("GET", "/v1/runs/"+run.String()+"/report", "")
	status, body = h.read(res)
	if status != 200 || strings.Contains(body, "<script>alert") || !strings.Contains(body, "fail.js") || !strings.Contains(body, "</html>") {
		t.Errorf("%d:\n%.400s", status, body)
	}
	policy := res.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "script-src") {
		t.Errorf("policy %s", policy)
	}
	for _, what := range []string{"junit", "report"} {
		for path, want := range map[string]int{"/v1/runs/run_99/" + what: 404, "/v1/runs/x/" + what: 422} {
			if status, _ := h.get(path); status != want {
				t.Errorf("%s: %d, want %d", path, status, want)
			}
		}
	}
}

// One verdict for a whole batch; a job that never ran shown as passed by
// absence: a run of more than one page of jobs shows each of them, and what
// has not ended is no success.
func TestFault_results_leave_jobs_out(t *testing.T) {
	h := newHouse(t)
	paths := make([]string, qgjob.MaxPage+7)
	for i := range paths {
		paths[i] = fmt.Sprintf("t%d.js", i)
	}
	run := h.submit("v1", 0, paths...).RunID
	w := h.agent("b1")
	w.complete(w.start(), qgjob.OutcomePassed)
	_, body := h.get("/v1/runs/" + run.String() + "/junit")
	if n := strings.Count(body, "<testsuite "); n != len(paths) {
		t.Errorf("%d suites of %d jobs", n, len(paths))
	}
	if want := fmt.Sprintf(`errors="%d"`, len(paths)-1); !strings.Contains(body, want) {
		t.Errorf("the jobs that have not ended do not show: no %s in %.300s", want, body)
	}
}
