package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"charm.land/lipgloss/v2"
	"github.com/qualgent/qgjob"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain ✓ ünï 手机":     "plain ✓ ünï 手机",
		"\x1b[31mred\x1b[0m": "red", "\x1b[2J\x1b[H": "", "\x1b]0;title\x07x": "x", "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\": "link",
		"\u009b31mred": "red", "\u009d0;title\u009cx": "x", "\x1bP1;2|data\x1b\\x": "x", "\x1bcreset": "reset", "\x1b(Bx": "x",
		"a\nb\tc\rd": "a b cd", "bell\x07": "bell", "back\x08space": "backspace", "del\x7f": "del", "\x1b": "", "\x1b[": "", "\x1b[31": "",
		"left\u200e right\u200f\u061c": "left right", "##[add-mask]x": "# #[add-mask]x", "##vso[task.x]": "# #vso[task.x]", "#\x1b[m#[x": "# #[x",
		"\x1b]never ends": "never ends", "turn \u202eback": "turn back", "bad \xff byte": "bad � byte", "\x1b[\x1b[31mx": "x",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestInert: no line of others is a workflow command of GitHub Actions.
func TestInert(t *testing.T) {
	for in, want := range map[string]string{
		"::error::x": ": :error::x", "  \t::set-output name=a::b": ": :set-output name=a::b", "::": ": :", ":": ":", "": "", "std::vector": "std::vector",
		"plain": "plain", " x ::error::": " x ::error::", ":::x": ": ::x",
	} {
		if got := inert(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestScrubKeepsColoursAndLines(t *testing.T) {
	for in, want := range map[string]string{
		"\x1b[31mred\x1b[0m\n\ttab\r\n": "\x1b[31mred\x1b[0m\n\ttab\r\n", "\x1b[2Jgone": "gone", "\x1b]0;t\x07x\n": "x\n", "\x1b[38;5;1mx": "\x1b[38;5;1mx",
		"\x1b[?25lx": "x",
	} {
		if got := scrub(in, true); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestScrubber: sequences that come in two pieces are still found.
func TestScrubber(t *testing.T) {
	out := newWatched()
	s := &scrubber{w: out}
	for _, piece := range strings.Split("one\x1b|[2J two\n\x1b[3|1mred\x1b[0m|\nno end\x1b]0;|x\x07", "|") {
		if n, err := s.Write([]byte(piece)); n != len(piece) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "one two\n\x1b[31mred\x1b[0m\nno end\n" {
		t.Errorf("%q", got)
	}
	if (&scrubber{w: brokenPipe{}}).Close() != nil {
		t.Error("nothing to hand on, and yet an error")
	}
}

// TestScrubberCalms: in a log that is obeyed, no line of a test begins a command; what is no command stays as it is.
func TestScrubberCalms(t *testing.T) {
	out := newWatched()
	s := &scrubber{w: out, calm: true}
	for _, piece := range []string{"a::b\n:", ":error::x\n  ::add-mask::y\r::set-output name=a::b\r\n\x1b[2J::debug::z\n\x1b[31mred\x1b[0m ##", "[add-mask]q ##vso[x]\n::stop-commands::t"} {
		if _, err := s.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want := "a::b\n: :error::x\n: :add-mask::y\n: :set-output name=a::b\n: :debug::z\n\x1b[31mred\x1b[0m # #[add-mask]q # #vso[x]\n: :stop-commands::t\n"
	if got := out.String(); got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	if got := commands(out.String()); len(got) > 0 {
		t.Errorf("obeyed: %q", got)
	}
}

// FuzzClean: nothing that a terminal obeys comes through.
func FuzzClean(f *testing.F) {
	for _, s := range []string{"\x1b[31mx", "\u009b1m", "\x1b]0;\x07", "\x1b\x1b[", "a\nb", "\xff\xfe", "\x1bP\x1b\\", "\u202e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got := clean(in)
		if strings.ContainsFunc(got, hostile) || !utf8.ValidString(got) {
			t.Errorf("%q: %q", in, got)
		}
		if clean(got) != got {
			t.Errorf("%q: cleaned twice it is %q, once %q", in, clean(got), got)
		}
		log := scrub(in, true)
		for rest := log; ; {
			i := strings.IndexByte(rest, 0x1b)
			if i < 0 {
				break
			}
			n := escapeLen(rest[i:])
			if !isColour(rest[i : i+n]) {
				t.Fatalf("%q: %q holds %q", in, log, rest[i:i+n])
			}
			rest = rest[i+n:]
		}
	})
}

func TestFit(t *testing.T) {
	for _, s := range []string{"", "short", "a longer text than that", "手机手机手机手机", "ü̈ü̈ü̈ü̈ü̈ü̈ü̈"} {
		for cols := range 12 {
			if got := fit(s, cols); lipgloss.Width(got) > cols || (lipgloss.Width(s) <= cols && got != s) {
				t.Errorf("fit(%q, %d) = %q", s, cols, got)
			}
		}
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "0s", 0: "0ms", 850 * time.Millisecond: "850ms", 4250 * time.Millisecond: "4.2s", 59900 * time.Millisecond: "59s",
		65 * time.Second: "1m05s", 2*time.Hour + 3*time.Minute + 59*time.Second: "2h03m", 49 * time.Hour: "49h00m",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 12_345_678: "12.3 MB", 4 << 30: "4.3 GB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	if count(1, "job")+count(0, "job")+count(2, "job") != "1 job0 jobs2 jobs" {
		t.Error("count")
	}
	if ago(time.Time{}, day) != "-" || ago(day, day.Add(90*time.Second)) != "1m30s ago" || ago(day.Add(time.Hour), day) != "0ms ago" {
		t.Error("ago")
	}
}

func TestExitCode(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, 0}, {verdict(8), 8}, {fmt.Errorf("x: %w", verdict(1)), 1}, {errInterrupted, 130},
		{qgjob.Invalid("x", "y"), 2}, {qgjob.NotFound("x"), 2}, {qgjob.Conflict("", "x"), 2}, {&qgjob.Error{Kind: qgjob.KindDenied}, 4},
		{qgjob.Unavailable(nil, "x"), 3}, {&qgjob.Error{Kind: qgjob.KindInternal}, 3}, {errors.New("anything"), 3},
		{fmt.Errorf("upload: %w", &qgjob.Error{Kind: qgjob.KindDenied}), 4}, {&qgjob.Error{Kind: "kind of tomorrow"}, 3},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("%v: %d, want %d", test.err, got, test.want)
		}
	}
}

func TestFailIsOneLine(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{&qgjob.Error{Kind: qgjob.KindUnavailable, Message: "no answer from http://x", Hint: "is it running?", Err: errors.New("connection refused")},
			"qgjob: no answer from http://x: connection refused (is it running?)\n"},
		{fmt.Errorf("upload app build: %w", &qgjob.Error{Kind: qgjob.KindDenied, Message: "not yours"}), "qgjob: upload app build: not yours\n"},
		{&qgjob.Error{Kind: qgjob.KindInvalid, Message: "validation failed", Fields: []qgjob.FieldError{{Field: "org_id", Message: "too long"}, {Message: "bad"}}},
			"qgjob: validation failed; org_id: too long; bad\n"},
		{qgjob.Invalid("jobs[3].test_path", "it is \x1b[31mbad\n"), "qgjob: --test: it is bad \n"},
		{qgjob.Invalid("requires.os", "too long"), "qgjob: --requires: too long\n"},
		{verdict(1), ""}, {nil, ""},
	} {
		p := newProgram(t, "")
		a := &app{printer: newPrinter(p.out, p.err, nil)}
		cmd := a.submitCmd()
		a.fail(cmd, test.err)
		if got := p.err.String(); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

// TestColoursOnTerminalsOnly: tables of a terminal are the plain ones when
// what is not text is taken away.
func TestColoursOnTerminalsOnly(t *testing.T) {
	print := func(tty, colours bool) string {
		out := newWatched()
		p := &printer{out: out, err: newWatched(), outTTY: tty, colours: colours}
		p.table([]string{"JOB", "STATUS", "TEST"}, [][]string{{"job_1", "passed", "手机.js"}, {"job_10", "failed", "b\x1b[1m.js"}})
		return out.String()
	}
	plain := print(false, true)
	if plain != "JOB     STATUS  TEST\njob_1   passed  手机.js\njob_10  failed  b.js\n" {
		t.Errorf("%q", plain)
	}
	if got := print(true, false); got != plain {
		t.Errorf("NO_COLOR: %q", got)
	}
	if got := print(true, true); got == plain || scrubAll(got) != plain {
		t.Errorf("%q", got)
	}
}

func scrubAll(s string) string {
	var lines []string
	for _, l := range strings.Split(s, "\n") {
		lines = append(lines, clean(l))
	}
	return strings.Join(lines, "\n")
}
