package report

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/qualgent/qgjob"
)

// TestMessage: cleaned, trimmed, without the project's folder, bounded.
func TestMessage(t *testing.T) {
	for _, test := range []struct {
		name, project, in, want string
	}{
		{"plain", "", "Error: no", "Error: no"},
		{"blanks around it", "", "\n\n  Error: no \n", "Error: no"},
		{"colours", "", "\x1b[31mError\x1b[39m: no", "Error: no"},
		{"the project's folder", "/ci/shop", "at /ci/shop/tests/a.js:1 and /ci/shop/b.js", "at tests/a.js:1 and b.js"},
		{"a folder with the same beginning", "/ci/shop", "at /ci/shopping/a.js", "at /ci/shopping/a.js"},
		{"no project", "", "at /ci/shop/a.js", "at /ci/shop/a.js"},
		{"the root as project", "/", "at /ci/shop/a.js", "at /ci/shop/a.js"},
		{"nothing but colours", "", "\x1b[0m", ""},
	} {
		if got := (Limits{Project: test.project}).withDefaults().message(test.in); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	for _, unit := range []string{"a", "£", "€", "🎉", "\x1b[31ma", "\xff"} {
		got := (Limits{}).message(strings.Repeat(unit, 10*qgjob.MaxMessage))
		if len(got) > qgjob.MaxMessage || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
			t.Errorf("many %q: %d bytes, ends in %q", unit, len(got), got[max(0, len(got)-6):])
		}
	}
}

// TestTitle: one line, bounded.
func TestTitle(t *testing.T) {
	for in, want := range map[string]string{
		"shows the total":       "shows the total",
		"  two \n lines\t here": "two lines here",
		"\x1b[1mbold\x1b[0m":    "bold",
		"":                      "",
		"\n":                    "",
	} {
		if got := title(in); got != want {
			t.Errorf("title(%q) = %q, want %q", in, got, want)
		}
	}
	if got := title(strings.Repeat("£", 5000)); len(got) > maxTitle || !utf8.ValidString(got) {
		t.Errorf("a long title has %d bytes", len(got))
	}
}

// TestFailureLine: the one line that a job's list shows.
func TestFailureLine(t *testing.T) {
	for _, test := range []struct {
		titles  []string
		message string
		failed  int
		want    string
	}{
		{[]string{"cart", "total"}, "Error: no", 1, "cart › total: no"},
		{[]string{"cart"}, "", 1, "cart"},
		{[]string{"cart"}, "\n\nTypeError: x\nat y", 1, "cart: TypeError: x"},
		{[]string{"cart"}, "no", 2, "cart: no (and 1 more test failed)"},
		{[]string{"cart"}, "no", 12, "cart: no (and 11 more tests failed)"},
	} {
		got := failureLine(&qgjob.TestResult{Title: test.titles, Message: test.message}, test.failed)
		if got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
	long := failureLine(&qgjob.TestResult{Title: []string{strings.Repeat("t", 9000)}, Message: strings.Repeat("m", 9000)}, 2)
	if len(long) > 2000 || !strings.HasSuffix(long, "(and 1 more test failed)") {
		t.Errorf("%d bytes, ends in %q", len(long), long[len(long)-30:])
	}
}

// TestFenced: a fence is longer than any in the text, so the text cannot leave its block.
func TestFenced(t *testing.T) {
	for in, want := range map[string]string{
		"plain":           "```\nplain\n```",
		"```":             "````\n```\n````",
		"a ````` b":       "``````\na ````` b\n``````",
		"`one`":           "```\n`one`\n```",
		"":                "```\n\n```",
		"\x1b[31mred\n\n": "```\nred\n```",
	} {
		if got := fenced(in); got != want {
			t.Errorf("fenced(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestSummaryOfWhatIsNotOver: nothing that has not ended is counted as passed.
func TestSummaryOfWhatIsNotOver(t *testing.T) {
	run, jobs := sampleRun()
	jobs = jobs[4:6]
	jobs[0].Job.Status = qgjob.Running
	run.FinishedAt = nil
	got := summary(t, run, jobs)
	wantInOrder(t, got, "## ⏳ Not finished&#58; 1 of 2 test files ended", "run_7: 1 passed (0 flaky), 0 failed", "| ⏳ running |", "has not ended&#58; running")
	if got := summary(t, qgjob.Run{RunID: 2}, nil); !strings.HasPrefix(got, "## ⏳ Nothing was tested\n") {
		t.Errorf("of nothing:\n%s", got)
	}
}
