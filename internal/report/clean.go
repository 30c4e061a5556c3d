package report

import (
	"strings"
	"unicode/utf8"
)

// Clean makes text from a test safe to show on a terminal and anywhere else: without escape sequences (ECMA-48 CSI, OSC, DCS and their 8-bit
// forms), without control characters but newline and tab, without the characters that turn the direction of text around, in valid UTF-8. A
// carriage return ends a line. What was not UTF-8 becomes U+FFFD.
func Clean(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		if n := escape(s); n > 0 {
			s = s[n:]
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == '\r':
			if !strings.HasPrefix(s[n:], "\n") {
				b.WriteByte('\n')
			}
		case hidden(r):
		default:
			b.WriteRune(r)
		}
		s = s[n:]
	}
	return b.String()
}

// plain holds for text that Clean would give back as it is; most text is.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\n' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

// hidden names the runes that Clean drops: C0 and C1 controls, DEL, and bidirectional overrides and isolates.
func hidden(r rune) bool {
	switch {
	case r == '\n' || r == '\t':
		return false
	case r < ' ', r >= 0x7f && r <= 0x9f:
		return true
	}
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// introducers of the 8-bit forms, as they stand in UTF-8, with their 7-bit second byte.
var c1 = map[byte]byte{0x90: 'P', 0x98: 'X', 0x9b: '[', 0x9d: ']', 0x9e: '^', 0x9f: '_'}

// escape gives the length of the escape sequence that s begins with, 0 when it begins with none. A sequence that is not finished ends before
// the byte that does not belong to it, so that it never swallows the next line.
func escape(s string) int {
	kind, at := byte(0), 0
	switch {
	case s[0] == 0x1b && len(s) == 1:
		return 1
	case s[0] == 0x1b:
		kind, at = s[1], 2
	case s[0] == 0xc2 && len(s) > 1 && c1[s[1]] != 0:
		kind, at = c1[s[1]], 2
	default:
		return 0
	}
	switch {
	case kind == '[':
		at += span(s[at:], 0x30, 0x3f)
		at += span(s[at:], 0x20, 0x2f)
		return at + min(1, span(s[at:], 0x40, 0x7e))
	case strings.IndexByte("]PX^_", kind) >= 0:
		return at + controlString(s[at:])
	case kind >= 0x20 && kind <= 0x2f:
		at += span(s[at:], 0x20, 0x2f)
		return at + min(1, span(s[at:], 0x30, 0x7e))
	case kind >= 0x30 && kind <= 0x7e:
		return at
	}
	return 1
}

// span counts the leading bytes from lo to hi.
func span(s string, lo, hi byte) int {
	n := 0
	for n < len(s) && s[n] >= lo && s[n] <= hi {
		n++
	}
	return n
}

// controlString gives the length of an OSC's, DCS's, SOS's, PM's or APC's content with its end: BEL, ST, or just before the end of the line or
// the next escape sequence.
func controlString(s string) int {
	for i := range len(s) {
		switch {
		case s[i] == 0x07:
			return i + 1
		case s[i] == 0x1b && strings.HasPrefix(s[i:], "\x1b\\"), strings.HasPrefix(s[i:], "\u009c"):
			return i + 2
		case s[i] == 0x1b || s[i] == '\n' || s[i] == '\r':
			return i
		}
	}
	return len(s)
}

// clip cuts s to at most n bytes at a rune's border; what was cut shows as "…". Every n in use is larger than the three bytes of that.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const mark = "…"
	cut := max(0, n-len(mark))
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + mark
}

// firstLine gives the first line that is not blank, without blanks around it.
func firstLine(s string) string {
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return ""
}
