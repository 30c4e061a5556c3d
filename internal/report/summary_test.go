package report

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

func summary(t testing.TB, run qgjob.Run, jobs []JobReport) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteSummary(&b, run, jobs); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWriteSummary(t *testing.T) {
	run, jobs := sampleRun()
	got := summary(t, run, jobs)
	wantInOrder(t, got, "## ❌ 1 of 8 test files failed\n", "run_7: 5 passed (1 flaky), 1 failed, 1 errored, 1 cancelled in 31.0 s. Installs: 3 done, 5 avoided.",
		"| | Test file |", "| ❌ failed | tests/checkout&#46;spec&#46;js | v1&#46;5&#46;0 |", "| 🔁 flaky |", "| ⚠️ errored |", "| 🚫 cancelled |",
		"<details><summary>tests/checkout&#46;spec&#46;js</summary>", "**cart › shows the total (tests/checkout&#46;spec&#46;js&#58;10)** after 1.2 s",
		"```\nError: expect(locator).toHaveText(expected) failed", "</details>", "tests/onboarding", "browserType.launch")
	if strings.Contains(got, "catalogue") {
		t.Error("a passed job is listed")
	}
	passed := summary(t, run, jobs[4:])
	if strings.Contains(passed, "|") || !strings.HasPrefix(passed, "## ✅ All 4 test files passed\n") {
		t.Errorf("of a passed run:\n%s", passed)
	}
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
		if strings.HasPrefix(line, "| ❌") && strings.Count(line, "|") != 7 {
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
