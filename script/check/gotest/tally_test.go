package main

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"
)

// replay feeds events to a tally and gives what it showed meanwhile.
func replay(t *testing.T, events ...event) (*tally, string) {
	t.Helper()
	var stream, out bytes.Buffer
	for _, e := range events {
		if err := json.NewEncoder(&stream).Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	tally := newTally(&out)
	if err := tally.read(&stream); err != nil {
		t.Fatal(err)
	}
	return tally, out.String()
}

// TestFailureShowsOnlyItself interleaves two parallel tests.
func TestFailureShowsOnlyItself(t *testing.T) {
	_, shown := replay(t,
		event{"output", "p", "TestA", "a says\n"},
		event{"output", "p", "TestB", "b says\n"},
		event{"fail", "p", "TestA", ""},
		event{"pass", "p", "TestB", ""},
	)
	if shown != "a says\n" {
		t.Errorf("shown %q, want what a says alone", shown)
	}
}

// TestSamePackageNames keeps tests of one name in two packages apart.
func TestSamePackageNames(t *testing.T) {
	tally, shown := replay(t,
		event{"output", "p", "TestA", "p says\n"},
		event{"output", "q", "TestA", "q says\n"},
		event{"pass", "p", "TestA", ""},
		event{"fail", "q", "TestA", ""},
	)
	if shown != "q says\n" || tally.passed != 1 || len(tally.failed) != 1 {
		t.Errorf("shown %q, %d passed, %d failed", shown, tally.passed, len(tally.failed))
	}
}

// TestUnfinishedTestsFail covers a timeout: the package fails and its tests never get a verdict.
func TestUnfinishedTestsFail(t *testing.T) {
	tally, shown := replay(t,
		event{"output", "p", "TestB", "stack of b\n"},
		event{"output", "p", "TestA", "stack of a\n"},
		event{"output", "q", "TestC", "still going\n"},
		event{"fail", "p", "", ""},
	)
	if shown != "stack of a\nstack of b\n" || len(tally.failed) != 2 {
		t.Errorf("shown %q, failed %v", shown, tally.failed)
	}
}

func TestWhatIsNoEventIsShown(t *testing.T) {
	var out bytes.Buffer
	tally := newTally(&out)
	if err := tally.read(strings.NewReader("go: cannot start\n{\"x\":1}\n{\"Action\":\"pass\",\"Package\":\"p\",\"Test\":\"T\"}\nlast")); err != nil {
		t.Fatal(err)
	}
	if out.String() != "go: cannot start\n{\"x\":1}\nlast" || tally.passed != 1 {
		t.Errorf("shown %q, %d passed", out.String(), tally.passed)
	}
}

func TestEndlessOutputIsCut(t *testing.T) {
	line := strings.Repeat("x", 1<<10) + "\n"
	events := make([]event, 0, 3000)
	for range 2500 {
		events = append(events, event{"output", "p", "TestA", line})
	}
	events = append(events, event{"output", "p", "TestA", "--- FAIL: TestA (1s)\n"}, event{"fail", "p", "TestA", ""})
	_, shown := replay(t, events...)
	if len(shown) > maxOutput+4<<10 {
		t.Errorf("%d bytes shown of a test that says 2.5 MB, want about %d", len(shown), maxOutput)
	}
	if !strings.Contains(shown, "more output left out") || !strings.HasSuffix(shown, "--- FAIL: TestA (1s)\n") {
		t.Error("the cut is not said, or the verdict is lost")
	}
}

func TestReport(t *testing.T) {
	at := key{"p", "TestA"}
	for _, test := range []struct {
		name     string
		tally    tally
		required string
		code     int
		want     string
	}{
		{"all well", tally{passed: 3, packages: 2}, "", 0, "tests: 3 passed, 0 failed, 0 skipped in 2 packages, 1.2s\n"},
		{"one failed", tally{passed: 3, failed: []key{at}, packages: 1}, "", 1, "failed: p TestA\n"},
		{"nothing ran", tally{}, "", 1, "no test ran"},
		{"skip allowed", tally{passed: 1, skipped: []skipped{{at, "slow"}}}, "chromium", 0, "skipped: p TestA: slow\n"},
		{"skip refused by reason", tally{passed: 1, skipped: []skipped{{at, "no chromium"}}}, "chromium", 1, "SKIPPED, but must run here: p TestA: no chromium\n"},
		{"skip excused: it runs elsewhere", tally{passed: 1, skipped: []skipped{{at, "a farm: set QGJOB_SLOW=1"}}}, "TestA", 0, "skipped: p TestA"},
		{"skip refused by name", tally{passed: 1, skipped: []skipped{{at, ""}}}, "TestA", 1, "SKIPPED"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var required *regexp.Regexp
			if test.required != "" {
				required = regexp.MustCompile(test.required)
			}
			var out bytes.Buffer
			if code := test.tally.report(&out, required, regexp.MustCompile("set QGJOB_SLOW=1"), 1234*time.Millisecond); code != test.code {
				t.Errorf("code %d, want %d", code, test.code)
			}
			if !strings.Contains(out.String(), test.want) {
				t.Errorf("output %q lacks %q", out.String(), test.want)
			}
		})
	}
}

func TestReason(t *testing.T) {
	for said, want := range map[string]string{
		"    a_test.go:7: no browser here\n--- SKIP: TestA (0.00s)\n": "a_test.go:7: no browser here",
		"    a_test.go:7: first\n        second\n":                    "a_test.go:7: first second",
		"--- SKIP: TestA (0.00s)\n":                                   "",
		"":                                                            "",
	} {
		if got := reason(said); got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}

// TestEmptyPackagesSaySoOnce: go test says "no tests to run" twice, on a line of its own and beside the package.
func TestEmptyPackagesSaySoOnce(t *testing.T) {
	const verdict = "ok  \tp\t0.01s [no tests to run]\n"
	_, shown := replay(t,
		event{"output", "p", "", "testing: warning: no tests to run\n"},
		event{"output", "p", "", "PASS\n"},
		event{"output", "p", "", verdict},
		event{"pass", "p", "", ""},
	)
	if shown != verdict {
		t.Errorf("shown %q, want %q", shown, verdict)
	}
}
