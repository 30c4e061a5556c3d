package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"charm.land/lipgloss/v2"
)

// clean makes text of others fit to be shown in one line: escape sequences are
// dropped, line ends and tabs become blanks, other control characters and
// those that turn the direction of writing vanish.
func clean(s string) string { return disarm.Replace(scrub(s, false)) }

// disarm breaks what CI systems obey anywhere in a line of a log: commands of
// the GitHub Actions runner (its first form) and of Azure Pipelines.
var disarm = strings.NewReplacer("##[", "# #[", "##vso[", "# #vso[")

// inert makes a line of others one that GitHub Actions does not obey: a
// workflow command begins a line, blanks left aside.
func inert(line string) string {
	if rest := strings.TrimLeftFunc(line, unicode.IsSpace); strings.HasPrefix(rest, "::") {
		return ": " + rest[1:]
	}
	return line
}

// scrub drops what a terminal would obey. With lines it keeps line ends, tabs
// and colours (CSI … m), which a log may have.
func scrub(s string, lines bool) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return hostile(r) || r == utf8.RuneError }) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == 0x1b || r == 0x9b || r == 0x9d || r == 0x90:
			n = escapeLen(s[i:])
			if lines && isColour(s[i:i+n]) {
				b.WriteString(s[i : i+n])
			}
		case r == '\n' || r == '\t' || r == '\r':
			if lines {
				b.WriteRune(r)
			} else if r != '\r' {
				b.WriteByte(' ')
			}
		case r == utf8.RuneError && n == 1:
			b.WriteRune(utf8.RuneError)
		case !hostile(r):
			b.WriteRune(r)
		}
		i += n
	}
	return b.String()
}

func hostile(r rune) bool {
	return unicode.IsControl(r) || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069) || r == 0x200e || r == 0x200f || r == 0x061c || r == 0x2028 || r == 0x2029
}

func isColour(seq string) bool {
	rest, ok := strings.CutPrefix(seq, "\x1b[")
	return ok && strings.HasSuffix(rest, "m") && strings.Trim(rest[:len(rest)-1], "0123456789;:") == ""
}

// escapeLen is how many bytes the escape sequence at the beginning of s takes
// (ECMA-48: CSI to its final byte, strings to BEL or ST). One that never ends
// takes only its introducer, so that it cannot swallow the rest of the text.
func escapeLen(s string) int {
	r, n := utf8.DecodeRuneInString(s)
	if r == 0x1b {
		if len(s) < 2 {
			return 1
		}
		r, n = rune(s[1])+0x40, 2 // ESC [ is CSI (0x9b), and so on
		if s[1] < 0x40 || s[1] > 0x5f {
			return plainEscape(s)
		}
	}
	switch r {
	case 0x9b: // CSI
		for i := n; i < len(s); i++ {
			if s[i] >= 0x40 && s[i] <= 0x7e {
				return i + 1
			}
			if s[i] < 0x20 || s[i] > 0x3f {
				return i
			}
		}
		return len(s)
	case 0x90, 0x98, 0x9d, 0x9e, 0x9f: // DCS, SOS, OSC, PM, APC
		for i := n; i < len(s); i++ {
			if s[i] == 0x07 {
				return i + 1
			}
			if strings.HasPrefix(s[i:], "\x1b\\") || strings.HasPrefix(s[i:], "\u009c") {
				return i + 2
			}
			if s[i] == '\n' {
				break
			}
		}
	}
	return n
}

// plainEscape is ESC, intermediate bytes and one final byte.
func plainEscape(s string) int {
	for i := 1; i < len(s); i++ {
		if s[i] >= 0x30 && s[i] <= 0x7e {
			return i + 1
		}
		if s[i] < 0x20 || s[i] > 0x2f {
			return i
		}
	}
	return len(s)
}

// scrubber cleans a log on its way to a terminal, line by line so that no
// sequence is cut in two.
type scrubber struct {
	w    io.Writer
	calm bool // whoever reads this obeys lines: GitHub's runner
	rest []byte
}

// Write hands on whole lines.
func (s *scrubber) Write(b []byte) (int, error) {
	s.rest = append(s.rest, b...)
	end := strings.LastIndexByte(string(s.rest), '\n') + 1
	if end == 0 && len(s.rest) < 64<<10 {
		return len(b), nil
	}
	if end == 0 {
		end = len(s.rest)
	}
	_, err := io.WriteString(s.w, s.text(s.rest[:end]))
	s.rest = append([]byte{}, s.rest[end:]...)
	return len(b), err
}

// Close hands on a last line without an end.
func (s *scrubber) Close() error {
	if len(s.rest) == 0 {
		return nil
	}
	_, err := io.WriteString(s.w, s.text(s.rest)+"\n")
	s.rest = nil
	return err
}

func (s *scrubber) text(b []byte) string {
	text := scrub(string(b), true)
	if !s.calm {
		return text
	}
	var out strings.Builder
	for line := range strings.Lines(lineEnds.Replace(text)) { // a carriage return ends a line for the runner
		out.WriteString(inert(disarm.Replace(line)))
	}
	return out.String()
}

var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// fit cuts text to so many columns.
func fit(s string, cols int) string {
	if lipgloss.Width(s) <= cols {
		return s
	}
	if cols < 1 {
		return ""
	}
	runes := []rune(s)
	for len(runes) > 0 && lipgloss.Width(string(runes)) > cols-1 {
		runes = runes[:len(runes)-1]
	}
	return string(runes) + "…"
}

// span is a duration as people say it: 850ms, 4.2s, 1m05s, 2h03m.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// size is bytes as people say them.
func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000*1000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1000*1000*1000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// count is "1 job", "3 jobs".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// or is the first text that is not empty.
func or(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// ago is how long ago an instant was; "-" for none.
func ago(t time.Time, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return span(max(now.Sub(t), 0)) + " ago"
}
