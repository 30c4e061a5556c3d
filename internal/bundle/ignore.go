package bundle

import (
	"path"
	"strings"
)

// patterns are the lines of one .gitignore file, as gitignore(5) reads them.
// They hold for the directory that the file lies in. (The usual Go library
// was tried and refused: it knows neither nested files nor "?" nor anchored
// patterns as git does.)
type patterns struct {
	base  string // directory of the file, "" for the top
	lines []pattern
}

type pattern struct {
	negated  bool
	dirOnly  bool
	prefix   string   // comes before the segments, and may end within a name
	segments []string // one segment: matches the last name at any depth
	anchored bool
}

func parsePatterns(base, text string) patterns {
	out := patterns{base: base}
	for line := range strings.SplitSeq(strings.TrimPrefix(text, "\ufeff"), "\n") {
		if p, ok := parsePattern(strings.TrimSuffix(line, "\r")); ok {
			out.lines = append(out.lines, p)
		}
	}
	return out
}

func parsePattern(line string) (pattern, bool) {
	var p pattern
	if strings.HasPrefix(line, "#") {
		return p, false
	}
	line = trimSpaces(line)
	line, p.negated = strings.CutPrefix(line, "!")
	line, p.dirOnly = strings.CutSuffix(line, "/")
	p.anchored = strings.Contains(line, "/")
	line = strings.TrimPrefix(line, "/")
	if line == "" {
		return p, false
	}
	if p.anchored {
		p.prefix, line = cutLetters(line)
	}
	p.segments = strings.Split(line, "/")
	for i, segment := range p.segments {
		if len(segment) > 2 && strings.Trim(segment, "*") == "" {
			p.segments[i] = "**" // more stars mean no more
		}
	}
	// A "**" at the end means everything below, but not the directory itself.
	if last := len(p.segments) - 1; p.anchored && p.segments[last] == "**" {
		p.segments = append(p.segments, "*")
	}
	return p, true
}

// cutLetters cuts off what git compares before it looks for stars, where that
// makes a difference: "b**/x" is "b" and then "**/x" (match_pathname in git's
// dir.c), so that its stars cross slashes.
func cutLetters(line string) (prefix, rest string) {
	i := strings.IndexAny(line, `*?[\`)
	if i <= 0 || line[i-1] == '/' {
		return "", line
	}
	stars, _, _ := strings.Cut(line[i:], "/")
	if len(stars) < 2 || strings.Trim(stars, "*") != "" {
		return "", line
	}
	return line[:i], line[i:]
}

// trimSpaces cuts spaces at the end, but for one behind a backslash.
func trimSpaces(line string) string {
	end := len(line)
	for end > 0 && line[end-1] == ' ' {
		end--
	}
	slashes := 0
	for slashes < end && line[end-1-slashes] == '\\' {
		slashes++
	}
	if end < len(line) && slashes%2 == 1 {
		end++
	}
	return line[:end]
}

// ignored says whether the files decide against a name; the nearest file and
// in it the last line that matches has the word. Whether a directory above is
// ignored is the walker's business: it does not go in there.
func ignored(files []patterns, name string, isDir bool) bool {
	for i := len(files) - 1; i >= 0; i-- {
		rel := name
		if base := files[i].base; base != "" {
			var inside bool
			if rel, inside = strings.CutPrefix(name, base+"/"); !inside {
				continue
			}
		}
		for j := len(files[i].lines) - 1; j >= 0; j-- {
			if p := files[i].lines[j]; p.matches(rel, isDir) {
				return !p.negated
			}
		}
	}
	return false
}

func (p pattern) matches(name string, isDir bool) bool {
	if p.dirOnly && !isDir {
		return false
	}
	if !p.anchored {
		return matchSegment(p.segments[0], path.Base(name))
	}
	rest, found := strings.CutPrefix(name, p.prefix)
	return found && matchSegments(p.segments, strings.Split(rest, "/"))
}

// matchSegments lets "**" stand for any number of segments. When a later part
// does not fit, only the last "**" needs to take one more, so the time is
// bounded by the product of the lengths.
func matchSegments(pat, name []string) bool {
	var p, n int
	backP, backN := -1, 0
	for n < len(name) {
		switch {
		case p < len(pat) && pat[p] == "**":
			backP, backN = p, n
			p++
		case p < len(pat) && matchSegment(pat[p], name[n]):
			p++
			n++
		case backP >= 0:
			backN++
			p, n = backP+1, backN
		default:
			return false
		}
	}
	for p < len(pat) && pat[p] == "**" {
		p++
	}
	return p == len(pat)
}

// matchSegment matches one name byte by byte, as git does: "*", "?", "[…]" and
// the backslash are special.
func matchSegment(pat, name string) bool {
	var p, n int
	backP, backN := -1, 0
	for n < len(name) {
		if p < len(pat) && pat[p] == '*' {
			backP, backN = p, n
			p++
			continue
		}
		if width, ok := matchByte(pat[p:], name[n]); ok {
			p += width
			n++
			continue
		}
		if backP < 0 {
			return false
		}
		backN++
		p, n = backP+1, backN
	}
	return strings.Trim(pat[p:], "*") == ""
}

// matchByte matches the first element of a pattern, which is not "*", and
// returns its width.
func matchByte(pat string, c byte) (int, bool) {
	switch {
	case pat == "":
		return 0, false
	case pat[0] == '?':
		return 1, true
	case pat[0] == '[':
		return matchClass(pat, c)
	case pat[0] == '\\':
		return 2, len(pat) > 1 && pat[1] == c
	}
	return 1, pat[0] == c
}

// matchClass matches "[a-z]", "[!a-z]", "[^…]" and "[[:digit:]]". A class
// without its end matches nothing.
func matchClass(pat string, c byte) (int, bool) {
	i, negated, hit := 1, false, false
	if i < len(pat) && (pat[i] == '!' || pat[i] == '^') {
		negated = true
		i++
	}
	for first := true; i < len(pat) && (first || pat[i] != ']'); first = false {
		if name, ok := strings.CutPrefix(pat[i:], "[:"); ok {
			if name, _, ok = strings.Cut(name, ":]"); ok {
				hit = hit || inPosixClass(name, c)
				i += len(name) + 4
				continue
			}
		}
		low, after := classByte(pat, i)
		high := low
		if after+1 < len(pat) && pat[after] == '-' && pat[after+1] != ']' {
			high, after = classByte(pat, after+1)
		}
		hit = hit || low <= c && c <= high
		i = after
	}
	return i + 1, i < len(pat) && hit != negated
}

func classByte(pat string, i int) (byte, int) {
	if pat[i] == '\\' && i+1 < len(pat) {
		i++
	}
	return pat[i], i + 1
}

func inPosixClass(name string, c byte) bool {
	lower, upper, digit := 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9'
	graph := '!' <= c && c <= '~'
	switch name {
	case "alpha":
		return lower || upper
	case "alnum":
		return lower || upper || digit
	case "digit":
		return digit
	case "lower":
		return lower
	case "upper":
		return upper
	case "xdigit":
		return digit || 'a' <= c|0x20 && c|0x20 <= 'f'
	case "blank":
		return c == ' ' || c == '\t'
	case "space":
		return c == ' ' || '\t' <= c && c <= '\r'
	case "punct":
		return graph && !lower && !upper && !digit
	case "graph":
		return graph
	case "print":
		return graph || c == ' '
	case "cntrl":
		return c < ' ' || c == 0x7f
	}
	return false
}
