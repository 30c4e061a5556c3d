package report

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
	"pgregory.net/rapid"
)

// genTest draws a test as a parser could give it.
func genTest(t *rapid.T) qgjob.TestResult {
	return qgjob.TestResult{
		File:       rapid.SampledFrom([]string{"", "a.spec.js", "tests/b.spec.js"}).Draw(t, "file"),
		Title:      rapid.SliceOfN(rapid.StringMatching(`[a-z£ ]{1,12}`), 1, 3).Draw(t, "title"),
		Status:     rapid.SampledFrom([]qgjob.TestStatus{pass, pass, pass, fail, flaky, skip}).Draw(t, "status"),
		DurationMS: rapid.Int64Range(0, 100_000).Draw(t, "ms"),
		Message: rapid.SampledFrom([]string{
			"", "Error: expect(a).toBe(b)", launch, "Error: Failed to create session.", "Error: connect ECONNREFUSED 127.0.0.1:4723",
		}).Draw(t, "message"),
	}
}

func genReport(t *rapid.T) *Report {
	return &Report{
		Tests:       rapid.SliceOfN(rapid.Custom(genTest), 0, 6).Draw(t, "tests"),
		Errors:      rapid.SliceOfN(rapid.SampledFrom([]string{"Error: No tests found", "Error: boom", launch}), 0, 2).Draw(t, "errors"),
		Interrupted: rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "interrupted"),
		NotRun:      rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "not run"),
	}
}

func genEvidence(t *rapid.T) Evidence {
	e := Evidence{
		Ended:          rapid.SampledFrom([]Ended{EndUnknown, EndExited, EndExited, EndExited, EndExited, EndSignalled, EndTimeout, EndCancelled, EndReturned, EndNotStarted}).Draw(t, "ended"),
		ExitCode:       rapid.SampledFrom([]int{0, 0, 0, 1, 2, 75, 130}).Draw(t, "code"),
		ReportExpected: rapid.Bool().Draw(t, "expected"),
		Serves:         rapid.SampledFrom([][]string{nil, {"127.0.0.1:4723"}}).Draw(t, "serves"),
	}
	if rapid.IntRange(0, 4).Draw(t, "report") > 0 {
		e.Report = genReport(t)
	}
	if rapid.IntRange(0, 6).Draw(t, "unreadable") == 0 {
		e.ReportErr = errCut
	}
	return e
}

// TestJudgeProperties: a pass keeps its promise, and no bad news makes a verdict better.
func TestJudgeProperties(t *testing.T) {
	passes := 0
	rapid.Check(t, func(rt *rapid.T) {
		e := genEvidence(rt)
		wantHonest(t, e)
		if Judge(e).Outcome == qgjob.OutcomePassed {
			passes++
		}
		for name, worse := range worsened(e) {
			if got := Judge(worse); got.Outcome == qgjob.OutcomePassed {
				rt.Fatalf("%s: %+v, from %+v", name, got, worse)
			}
		}
	})
	if passes == 0 {
		t.Error("no evidence of a pass was drawn: nothing is proved")
	}
}

// worsened gives the evidence with one piece of bad news added, for each piece there is.
func worsened(e Evidence) map[string]Evidence {
	out := map[string]Evidence{}
	unread := e
	unread.ReportErr = errCut
	out["report cannot be read"] = unread
	lost := e
	lost.Report, lost.ReportErr, lost.ReportExpected = nil, nil, true
	out["expected report is missing"] = lost
	code := e
	code.ExitCode = 3
	out["left with 3"] = code
	for _, ended := range []Ended{EndUnknown, EndSignalled, EndTimeout, EndCancelled, EndReturned, EndNotStarted} {
		stopped := e
		stopped.Ended = ended
		out["ended otherwise"] = stopped
	}
	if e.Report == nil {
		return out
	}
	change := func(name string, f func(*Report)) {
		r, worse := *e.Report, e
		r.Tests, r.Errors = slices.Clone(r.Tests), slices.Clone(r.Errors)
		f(&r)
		worse.Report = &r
		out[name] = worse
	}
	change("one more failed test", func(r *Report) { r.Tests = append(r.Tests, of(fail).Tests...) })
	change("one more failure by infrastructure", func(r *Report) { r.Tests = append(r.Tests, failing(launch).Tests...) })
	change("an error outside the tests", func(r *Report) { r.Errors = append(r.Errors, "boom") })
	change("a test cut short", func(r *Report) { r.Interrupted++ })
	change("a test that never ran", func(r *Report) { r.NotRun++ })
	change("no tests at all", func(r *Report) { r.Tests = nil })
	if len(e.Report.Tests) > 0 {
		change("the first test failed", func(r *Report) { r.Tests[0].Status = fail })
	}
	return out
}

func genJob(t *rapid.T) JobReport {
	state := rapid.SampledFrom(qgjob.JobStates).Draw(t, "state")
	j := JobReport{Job: job(1, rapid.SampledFrom([]string{"a.spec.js", "tests/b.spec.js"}).Draw(t, "path"), "v1", state, "a1")}
	j.Job.Message = rapid.String().Draw(t, "message")
	j.Job.Reason = rapid.SampledFrom([]qgjob.Reason{"", qgjob.ReasonAssertion, qgjob.ReasonTimeout, qgjob.ReasonDevice}).Draw(t, "reason")
	outcomes := []qgjob.Outcome{
		"", qgjob.OutcomePassed, qgjob.OutcomeFailed, qgjob.OutcomeErrored, qgjob.OutcomeCancelled,
		qgjob.OutcomeLost, qgjob.OutcomeStale, qgjob.OutcomeReleased, qgjob.OutcomeInterrupted,
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "attempts") {
		a := attempt(1, i+1, "a1", rapid.SampledFrom(outcomes).Draw(t, "outcome"), float64(i), float64(i)+0.7)
		a.Tests = rapid.SliceOfN(rapid.Custom(genTest), 0, 4).Draw(t, "tests")
		a.Message = rapid.String().Draw(t, "attempt message")
		j.Attempts = append(j.Attempts, a)
	}
	return j
}

// TestWritersProperties: whatever the jobs, all three writers write, JUnit reads back with the same counts, and the page shows every job.
func TestWritersProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		jobs := rapid.SliceOfN(rapid.Custom(genJob), 0, 4).Draw(rt, "jobs")
		run := qgjob.Run{RunID: 1, OrgID: "o", SubmittedAt: submitted}
		wantRoundTrip(t, written(t, run, jobs), jobs)
		wantPage(t, html(t, run, jobs), len(jobs))
		wantClean(t, summary(t, run, jobs))
		if t.Failed() {
			rt.FailNow()
		}
	})
}

// TestWriteJUnitKeepsTests: title, time, status and message of every test of the deciding attempt survive the way out and back in. The common
// schema has no place for a test's own file and line; its class name is the file.
func TestWriteJUnitKeepsTests(t *testing.T) {
	for _, name := range []string{"a", "b", "e_skipped", "e_unexpected_pass", "f_timeout", "h_flaky", "i_before_all", "k_app_unreachable"} {
		t.Run(name, func(t *testing.T) {
			in := parsed(t, name)
			verdict := Judge(Evidence{Ended: EndExited, Report: in, ReportExpected: true})
			j := JobReport{Job: job(1, "tests/x.spec.js", "v1", qgjob.JobState(verdict.Outcome), "a1")}
			j.Job.Reason, j.Job.Message = verdict.Reason, verdict.Message
			a := attempt(1, 1, "a1", verdict.Outcome, 1, 2)
			a.Tests = in.Tests
			j.Attempts = []qgjob.Attempt{a}
			out, err := ParseJUnit(written(t, qgjob.Run{RunID: 1}, []JobReport{j}), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if len(out.Tests) != len(in.Tests) {
				t.Fatalf("%d tests became %d", len(in.Tests), len(out.Tests))
			}
			for i := range in.Tests {
				want, got := in.Tests[i], out.Tests[i]
				if !slices.Equal(got.Title, want.Title) || got.File != j.Job.TestPath || got.Status != want.Status || got.DurationMS != want.DurationMS {
					t.Errorf("%+v\nbecame %+v", want, got)
				}
				if !strings.HasPrefix(got.Message, firstLine(want.Message)) {
					t.Errorf("message %q became %q", firstLine(want.Message), firstLine(got.Message))
				}
			}
		})
	}
}

// TestJSONAndJUnitAgree: what Playwright says of one run in both formats is read the same, as far as JUnit can say it.
func TestJSONAndJUnitAgree(t *testing.T) {
	for _, name := range []string{
		"a", "b", "c_syntax", "c_throw", "d_empty_file", "d_no_such_file", "e_all_skipped", "e_skipped", "e_unexpected_pass",
		"f_global_timeout", "f_timeout", "g_sigint", "h_flaky", "i_before_all", "j_no_browser", "k_app_unreachable",
	} {
		fromJSON := parsed(t, name)
		fromXML, err := ParseJUnit(sample(t, name+".junit.xml"), inShop)
		if err != nil {
			t.Fatal(err)
		}
		passed, failed, flakes, skipped := fromJSON.Count()
		xp, xf, _, xs := fromXML.Count()
		if xp != passed+flakes || xf != failed || xs != skipped {
			t.Errorf("%s: JSON %d passed, %d failed, %d flaky, %d skipped; JUnit %d, %d, %d", name, passed, failed, flakes, skipped, xp, xf, xs)
		}
	}
}

// TestWritersAreStable: the same run is the same bytes.
func TestWritersAreStable(t *testing.T) {
	run, jobs := sampleRun()
	junit, page, short := written(t, run, jobs), html(t, run, jobs), summary(t, run, jobs)
	for range 5 {
		if !bytes.Equal(junit, written(t, run, jobs)) || page != html(t, run, jobs) || short != summary(t, run, jobs) {
			t.Fatal("two writings of one run differ")
		}
	}
}
