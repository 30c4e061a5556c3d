package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

func summary(t testing.TB, run qgjob.Run, jobs []JobReport) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteSummary(&b, run, jobs, SummaryOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// writePlainSummary is a summary without links in a file of its own.
func writePlainSummary(w io.Writer, run qgjob.Run, jobs []JobReport) error {
	return WriteSummary(w, run, jobs, SummaryOptions{})
}

func summaryWith(t testing.TB, run qgjob.Run, jobs []JobReport, o SummaryOptions) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteSummary(&b, run, jobs, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWriteSummary(t *testing.T) {
	run, jobs := sampleRun()
	got := summary(t, run, jobs)
	wantInOrder(t, got, "## ❌ 1 of 8 test files failed\n", "run_7: 5 passed (1 flaky), 1 failed, 1 errored, 1 cancelled in 31.0 s. Installs: 3 done (6.6 s), 5 avoided.",
		"| | Test file |", "| ❌ failed | tests/checkout&#46;spec&#46;js | v1&#46;5&#46;0 |", "| ⚠️ errored |", "| 🚫 cancelled |", "| 🔁 flaky |",
		"<details><summary>tests/checkout&#46;spec&#46;js</summary>", "**cart › shows the total (tests/checkout&#46;spec&#46;js&#58;10)** after 1.2 s",
		"```\nError: expect(locator).toHaveText(expected) failed", "</details>", "tests/onboarding", "browserType.launch",
		"<details><summary>4 test files passed</summary>", "| ✅ passed | tests/catalogue", "</details>")
	passed := summary(t, run, jobs[4:])
	if strings.Count(passed, "| Test file |") != 1 || !strings.HasPrefix(passed, "## ✅ All 4 test files passed\n") {
		t.Errorf("of a passed run:\n%s", passed)
	}
	if strings.Contains(got+passed, "](") {
		t.Error("a link without a server")
	}
}

func TestWriteSummaryLinksAndNotes(t *testing.T) {
	run, jobs := sampleRun()
	got := summaryWith(t, run, jobs, SummaryOptions{Server: "https://ci.example/q(1)|<b>/", Note: "the wait ended | after 1m"})
	wantInOrder(t, got, "the wait ended &#124; after 1m",
		"[report](https://ci.example/q%281%29%7C%3Cb%3E/v1/runs/run_7/report)", "[JUnit](https://ci.example/q%281%29%7C%3Cb%3E/v1/runs/run_7/junit)",
		"[log](https://ci.example/q%281%29%7C%3Cb%3E/v1/jobs/job_1/log)", "[picture](", "test-failed-1.png)", "[trace](", "/trace.zip)", "[artifacts](", "/v1/jobs/job_1/artifacts)")
	for _, bad := range []string{"javascript:alert(1)", "https://user:pw@ci.example", "ci.example", "://"} {
		if got := summaryWith(t, run, jobs, SummaryOptions{Server: bad}); strings.Contains(got, "](") || strings.Contains(got, "pw@") {
			t.Errorf("a link to %q", bad)
		}
	}
}

// TestWriteSummaryOfWhatGoesOn: a run whose wait ran out is not shown as passed.
// TestWriteSummaryMarksWhatWasTakenOver: a pass that ran nothing says so, and
// leads to the log of the job that ran.
func TestWriteSummaryMarksWhatWasTakenOver(t *testing.T) {
	from := qgjob.JobID(3)
	jobs := []JobReport{{Job: qgjob.Job{JobID: 9, TestPath: "a", Status: qgjob.Passed, Reason: qgjob.ReasonReused, Message: "taken over from job_3", ReusedFrom: &from}}}
	got := summaryWith(t, qgjob.Run{RunID: 7}, jobs, SummaryOptions{Server: "https://ci.example"})
	wantInOrder(t, got, "| ✅ passed | a |", "taken over from job&#95;3", "/v1/jobs/job_3/log)")
}

func TestWriteSummaryOfWhatGoesOn(t *testing.T) {
	run, jobs := sampleRun()
	jobs = append([]JobReport{}, jobs[4:6]...)
	jobs[0].Job.Status, jobs[0].Job.FinishedAt, run.FinishedAt = qgjob.Running, nil, nil
	got := summary(t, run, jobs)
	wantInOrder(t, got, "## ⏳ Not finished&#58; 1 of 2 test files ended", "1 not ended", "| ⏳ running |", "1 test file passed")
}

func TestWriteSummaryEscapes(t *testing.T) {
	nasty := "| a | <script>x</script> [l](http://e) `c` ```\n# h\n@someone #12 \x1b[31m"
	j := JobReport{Job: job(1, nasty, qgjob.AppVersionID(nasty), qgjob.Failed, qgjob.AgentID(nasty))}
	j.Job.Message = nasty
	a := attempt(1, 1, "a1", qgjob.OutcomeFailed, 1, 2)
	a.Tests = []qgjob.TestResult{{Title: []string{nasty}, Status: qgjob.TestFailed, Message: "```\n</details>" + nasty, ErrorFile: nasty}}
	j.Attempts = []qgjob.Attempt{a}
	got := summary(t, qgjob.Run{RunID: 1}, []JobReport{j})
	wantClean(t, got)
	fenced := strings.Index(got, "\n````\n```\n</details>")
	if fenced < 0 || !strings.Contains(got[fenced+5:], "\n````\n") {
		t.Errorf("the fence can be left:\n%s", got)
	}
	for i, line := range strings.Split(got[:fenced], "\n") {
		if strings.Contains(line, "<script") || strings.Contains(line, "@someone") || strings.Contains(line, "](") || strings.HasPrefix(line, "# ") {
			t.Errorf("line %d: %s", i, line)
		}
		if strings.HasPrefix(line, "| ❌") && strings.Count(line, "|") != 9 {
			t.Errorf("a row of %d bars: %s", strings.Count(line, "|"), line)
		}
	}
}

func TestWriteSummaryIsBounded(t *testing.T) {
	var jobs []JobReport
	for i := range 6000 {
		j := JobReport{Job: job(qgjob.JobID(i+1), fmt.Sprintf("tests/%d.spec.js", i), "v1", qgjob.Failed, "a1")}
		j.Job.Message = strings.Repeat("£", 3000)
		jobs = append(jobs, j)
	}
	got := summary(t, qgjob.Run{RunID: 1}, jobs)
	if len(got) > 1<<20 {
		t.Errorf("%d bytes", len(got))
	}
	if !strings.Contains(got, "more are left out: a summary holds 1 MiB at most") || strings.Count(got, "<details>") != strings.Count(got, "</details>") {
		t.Errorf("what is left out is not said: …%s", got[len(got)-200:])
	}
}

// TestWriteSummaryLeavesRoom: what the file holds already counts.
func TestWriteSummaryLeavesRoom(t *testing.T) {
	run, jobs := sampleRun()
	var many []JobReport
	for i := range 20_000 {
		j := jobs[4]
		j.Job.JobID, j.Job.TestPath = qgjob.JobID(i+1), strings.Repeat("a", 100)
		many = append(many, j)
	}
	for _, taken := range []int{0, 1000, 500_000, MaxSummary - leastRoom - 1, MaxSummary - leastRoom + 1, MaxSummary, MaxSummary + 5} {
		got := summaryWith(t, run, many, SummaryOptions{Taken: taken})
		switch {
		case taken > MaxSummary-leastRoom && got != "":
			t.Errorf("%d taken: %d bytes where there is no room", taken, len(got))
		case len(got)+taken > MaxSummary && got != "":
			t.Errorf("%d taken: %d bytes too many", taken, len(got)+taken-MaxSummary)
		case taken <= MaxSummary-leastRoom && !strings.Contains(got, "more are left out"):
			t.Errorf("%d taken: what is left out is not said", taken)
		case strings.Count(got, "<details>") != strings.Count(got, "</details>"):
			t.Errorf("%d taken: a fold stays open", taken)
		}
	}
}

// TestWriteSummaryOfOneHugeFile: a file with thousands of failed tests is cut, not left out.
func TestWriteSummaryOfOneHugeFile(t *testing.T) {
	j := JobReport{Job: job(1, "tests/big.spec.js", "v1", qgjob.Failed, "a1")}
	a := attempt(1, 1, "a1", qgjob.OutcomeFailed, 1, 2)
	for i := range 5000 {
		a.Tests = append(a.Tests, qgjob.TestResult{Title: []string{fmt.Sprintf("case %d", i)}, Status: qgjob.TestFailed, Message: strings.Repeat("x", qgjob.MaxMessage)})
	}
	j.Attempts = []qgjob.Attempt{a}
	got := summary(t, qgjob.Run{RunID: 1}, []JobReport{j})
	wantInOrder(t, got, "**case 0**", "**case 4**", "more failed tests of this file.")
	if len(got) > 100_000 {
		t.Errorf("%d bytes", len(got))
	}
}
