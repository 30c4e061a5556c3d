package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxOutput is the bytes kept of one test's output; a test that says more loses its end, but never its verdict.
const maxOutput = 1 << 20

// cut stands where output was left out.
const cut = "… more output left out …\n"

// event is one line of go test -json: https://pkg.go.dev/cmd/test2json.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// key names a test, "" as test is the package itself.
type key struct{ pkg, test string }

type skipped struct {
	key
	reason string
}

// tally follows the events of one go test.
type tally struct {
	out      io.Writer
	spoken   map[key]*strings.Builder // output of tests that have not ended
	passed   int
	failed   []key
	skipped  []skipped
	packages int
}

func newTally(out io.Writer) *tally {
	return &tally{out: out, spoken: map[key]*strings.Builder{}}
}

// read takes events until the stream ends. What is no event is shown as it is: go test speaks plainly when it cannot start.
func (t *tally) read(stream io.Reader) error {
	lines := bufio.NewReader(stream)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil && e.Action != "" {
				t.take(e)
			} else {
				fmt.Fprintf(t.out, "%s", line)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the events of go test: %w", err)
		}
	}
}

func (t *tally) take(e event) {
	at := key{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(t.out, e.Output)
	case "output":
		t.hear(at, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.endPackage(e)
		} else {
			t.endTest(at, e.Action)
		}
	}
}

// hear shows what a package says at once and keeps what a test says until its verdict.
func (t *tally) hear(at key, output string) {
	if at.test == "" {
		switch output {
		case "PASS\n", "FAIL\n", "testing: warning: no tests to run\n": // said again in the package's own line
		default:
			fmt.Fprint(t.out, output)
		}
		return
	}
	if strings.HasPrefix(output, "=== ") {
		return
	}
	if t.spoken[at] == nil {
		t.spoken[at] = &strings.Builder{}
	}
	switch kept := t.spoken[at]; {
	case kept.Len() < maxOutput || strings.HasPrefix(strings.TrimSpace(output), "--- "):
		kept.WriteString(output)
	case !strings.HasSuffix(kept.String(), cut):
		kept.WriteString(cut)
	}
}

func (t *tally) endTest(at key, verdict string) {
	said := ""
	if t.spoken[at] != nil {
		said = t.spoken[at].String()
	}
	delete(t.spoken, at)
	switch verdict {
	case "pass":
		t.passed++
	case "fail":
		t.failed = append(t.failed, at)
		fmt.Fprint(t.out, said)
	case "skip":
		t.skipped = append(t.skipped, skipped{at, reason(said)})
	}
}

// endPackage shows what the unfinished tests said: after a panic or a timeout they hold the stack.
func (t *tally) endPackage(e event) {
	if e.Action != "skip" { // a package without test files
		t.packages++
	}
	var rest []key
	for at := range t.spoken {
		if at.pkg == e.Package {
			rest = append(rest, at)
		}
	}
	slices.SortFunc(rest, func(a, b key) int { return strings.Compare(a.test, b.test) })
	for _, at := range rest {
		if e.Action == "fail" {
			t.failed = append(t.failed, at)
			fmt.Fprint(t.out, t.spoken[at])
		}
		delete(t.spoken, at)
	}
}

// reason is what a skipped test said, on one line, without its verdict.
func reason(said string) string {
	var words []string
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "--- SKIP") {
			words = append(words, line)
		}
	}
	return strings.Join(words, " ")
}

// report prints the summary and gives the exit code that the tally alone asks for.
func (t *tally) report(w io.Writer, required, excused *regexp.Regexp, took time.Duration) int {
	code := 0
	for _, s := range t.skipped {
		line := fmt.Sprintf("%s %s: %s", s.pkg, s.test, s.reason)
		if required != nil && required.MatchString(line) && (excused == nil || !excused.MatchString(s.reason)) {
			fmt.Fprintf(w, "SKIPPED, but must run here: %s\n", line)
			code = 1
		} else {
			fmt.Fprintf(w, "skipped: %s\n", line)
		}
	}
	for _, at := range t.failed {
		fmt.Fprintf(w, "failed: %s %s\n", at.pkg, at.test)
	}
	fmt.Fprintf(w, "tests: %d passed, %d failed, %d skipped in %d packages, %s\n",
		t.passed, len(t.failed), len(t.skipped), t.packages, took.Round(100*time.Millisecond))
	if t.passed+len(t.failed) == 0 {
		fmt.Fprintln(w, "gotest: no test ran; check the arguments")
		code = 1
	}
	if len(t.failed) > 0 {
		code = 1
	}
	return code
}
