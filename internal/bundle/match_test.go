package bundle

import "testing"

// These need no git, so they hold on every machine. What git says about the
// same rules is asked in ignore_test.go.
func TestIgnored(t *testing.T) {
	for _, c := range []struct {
		patterns, name string
		isDir, want    bool
	}{
		{"*.log", "a.log", false, true},
		{"*.log", "deep/er/a.log", false, true},
		{"/a.log", "deep/a.log", false, false},
		{"build/", "build", true, true},
		{"build/", "build", false, false},
		{"a/**", "a", true, false},
		{"a/**", "a/b", false, true},
		{"a/**/b", "a/b", false, true},
		{"a/**/b", "a/x/y/b", false, true},
		{"a/**/b", "ax/b", false, false},
		{"**/b", "b", false, true},
		{"a/*/b", "a/x/y/b", false, false},
		{"a*c", "abbbc", false, true},
		{"a*b*c", "abxbc", false, true},
		{"a*b*c", "abxb", false, false},
		{"[a-c]x", "bx", false, true},
		{"[!a-c]x", "bx", false, false},
		{"[]a]x", "]x", false, true},
		{"[a-]x", "-x", false, true},
		{"[\\]]x", "]x", false, true},
		{"[[:digit:]]", "7", false, true},
		{"[[:nothing:]]", "7", false, false},
		{"[[:space:][:punct:]]", "!", false, true},
		{"[[:xdigit:]]", "G", false, false},
		{"[abc", "a", false, false},
		{"\\*", "*", false, true},
		{"\\*", "a", false, false},
		{"a\\", "a", false, false},
		{"*\n!a", "a", false, false},
		{"!a\n*", "a", false, true},
		{"# a", "# a", false, false},
		{"a\\ ", "a ", false, true},
		{"a ", "a", false, true},
		{"a\\\\ ", "a\\", false, true},
		{"é?", "éa", false, true},
	} {
		if got := ignored([]patterns{parsePatterns("", c.patterns)}, c.name, c.isDir); got != c.want {
			t.Errorf("%q on %q (directory %v) = %v", c.patterns, c.name, c.isDir, got)
		}
	}
}

// The nearest file has the word, and only below its own directory.
func TestIgnoredNested(t *testing.T) {
	files := []patterns{parsePatterns("", "*.log\n/top\n"), parsePatterns("src", "!keep.log\n/top\n")}
	for name, want := range map[string]bool{
		"a.log": true, "keep.log": true, "src/a.log": true, "src/keep.log": false, "src/deep/keep.log": false,
		"srcs/keep.log": true, "top": true, "src/top": true, "other/top": false, "src/deep/top": false,
	} {
		if got := ignored(files, name, false); got != want {
			t.Errorf("%q = %v, want %v", name, got, want)
		}
	}
}
