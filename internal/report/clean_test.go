package report

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"plain", "tests/login.spec.js: 3 passed\n\tat line 4", "tests/login.spec.js: 3 passed\n\tat line 4"},
		{"empty", "", ""},
		{"other scripts", "价格 £3.50 – ça va 🎉", "价格 £3.50 – ça va 🎉"},
		{"colours", "\x1b[31m\x1b[1mred\x1b[22m\x1b[39m", "red"},
		{"true colour", "\x1b[38;2;255;0;0mred\x1b[0m", "red"},
		{"private mode", "\x1b[?25lhidden cursor\x1b[?25h", "hidden cursor"},
		{"cursor moves", "abc\x1b[2K\x1b[1Gdef", "abcdef"},
		{"intermediate bytes", "\x1b[1 qx", "x"},
		{"window title, BEL", "\x1b]0;rm -rf\x07after", "after"},
		{"window title, ST", "\x1b]0;rm -rf\x1b\\after", "after"},
		{"link", "\x1b]8;;https://evil.example\x1b\\text\x1b]8;;\x1b\\", "text"},
		{"clipboard", "\x1b]52;c;ZXZpbA==\x07ok", "ok"},
		{"8-bit CSI", "\u009b31mred\u009b0m", "red"},
		{"8-bit OSC with 8-bit ST", "\u009d0;title\u009cafter", "after"},
		{"device control string", "\x1bPq#0;2;0;0;0\x1b\\after", "after"},
		{"privacy message", "\x1b^secret\x1b\\after", "after"},
		{"application command", "\x1b_Gf=100;AAAA\x1b\\after", "after"},
		{"character set", "\x1b(Bx\x1b)0y", "xy"},
		{"reset terminal", "\x1bcx", "x"},
		{"save cursor", "\x1b7x\x1b8", "x"},
		{"unfinished OSC ends with its line", "\x1b]0;swallow\nthe verdict", "\nthe verdict"},
		{"unfinished CSI ends before what does not belong", "\x1b[31\nnext", "\nnext"},
		{"OSC ended by the next sequence", "\x1b]0;a\x1b[1mb", "b"},
		{"escape at the end", "x\x1b", "x"},
		{"CSI at the end", "x\x1b[", "x"},
		{"escape before a control", "x\x1b\x01y", "xy"},
		{"controls", "a\x00b\x07c\x08d\x7fe\x0bf\x0cg", "abcdefg"},
		{"carriage return, line feed", "a\r\nb", "a\nb"},
		{"progress by carriage return", "10%\r20%", "10%\n20%"},
		{"not UTF-8", "a\xffb", "a\ufffdb"},
		{"cut rune", "caf\xc3", "caf\ufffd"},
		{"C1 controls", "a\u0085b\u0080c", "abc"},
		{"turned around", "user\u202etxt.exe\u202c and \u2066this\u2069", "usertxt.exe and this"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Clean(test.in); got != test.want {
				t.Errorf("Clean(%q) = %q, want %q", test.in, got, test.want)
			}
		})
	}
}

func TestClip(t *testing.T) {
	for _, test := range []struct {
		in   string
		n    int
		want string
	}{
		{"short", 10, "short"},
		{"exactly10!", 10, "exactly10!"},
		{"one too many", 11, "one too …"},
		{"££££££", 8, "££…"},
		{"🎉🎉🎉", 10, "🎉…"},
		{"", 5, ""},
	} {
		got := clip(test.in, test.n)
		if got != test.want || len(got) > test.n || !utf8.ValidString(got) {
			t.Errorf("clip(%q, %d) = %q (%d bytes), want %q", test.in, test.n, got, len(got), test.want)
		}
	}
}

func TestFirstLine(t *testing.T) {
	for in, want := range map[string]string{"": "", "\n \n": "", "a": "a", "\n  a  \nb": "a", "a\r\nb": "a"} {
		if got := firstLine(in); got != want {
			t.Errorf("firstLine(%q) = %q, want %q", in, got, want)
		}
	}
}

// wantClean fails when text could still move a cursor.
func wantClean(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Errorf("not UTF-8: %q", s)
	}
	if at := strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }); at >= 0 {
		t.Errorf("a control character at byte %d of %q", at, s)
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b[31mred\x1b[0m", "\x1b]0;t\x07x", "\x1b]8;;u\x1b\\t", "\u009b31m", "a\r\nb\rc", "\xff\xfe", "\x1b", "\x1b[", "\x1bP\x1b\\", "\u202ex"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Clean(s)
		wantClean(t, got)
		if again := Clean(got); again != got {
			t.Errorf("not settled: Clean(%q) = %q, then %q", s, got, again)
		}
		if len(got) > 3*len(s) {
			t.Errorf("%d bytes became %d", len(s), len(got))
		}
		if got, want := strings.Count(got, "\n"), strings.Count(s, "\n"); got < want {
			t.Errorf("Clean(%q) lost lines: %d of %d", s, got, want)
		}
	})
}
