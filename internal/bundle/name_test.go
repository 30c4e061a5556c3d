package bundle

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/qualgent/qgjob"
)

func TestCheckName(t *testing.T) {
	for _, c := range []struct{ name, says string }{
		{"a", ""},
		{"a/b/c.ts", ""},
		{".hidden", ""},
		{"...", ""},
		{"a..b", ""},
		{"-rf", ""},
		{"with space", ""},
		{"日本/ü.ts", ""},
		{"a:b/c", "absolute"},
		{"ab:c", ""},
		{"1:b", ""},
		{strings.Repeat("n", 255), ""},
		{strings.Repeat("n", 256), "longer than 255"},
		{strings.Repeat("n/", 63) + "n", ""},
		{strings.Repeat("n/", 64) + "n", "deeper than 64"},
		{strings.Repeat(strings.Repeat("n", 204)+"/", 5) + "n", "longer than 1024"},
		{"", "without a name"},
		{".", "not clean"},
		{"./a", "not clean"},
		{"a/", "not clean"},
		{"a/.", "not clean"},
		{"a//b", "not clean"},
		{"..", "leads out"},
		{"a/..", "leads out"},
		{"a/../b", "leads out"},
		{"/", "absolute"},
		{"/a", "absolute"},
		{`a\b`, "backslash"},
		{`..\a`, "backslash"},
		{"a\x00", "control"},
		{"a\r", "control"},
		{"a\u0085", "control"},
		{"\xc3", "UTF-8"},
	} {
		err := checkName(c.name)
		if c.says == "" {
			if err != nil {
				t.Errorf("%q is refused: %v", c.name, err)
			}
			continue
		}
		wantKind(t, err, qgjob.KindInvalid, c.says)
	}
}

func TestLinkTarget(t *testing.T) {
	for _, c := range []struct{ name, target, clean, says string }{
		{"l", "a", "a", ""},
		{"l", ".", ".", ""},
		{"l", "./a//b/", "a/b", ""},
		{"a/l", "..", "..", ""},
		{"a/l", "../b", "../b", ""},
		{"a/l", ".././/b", "../b", ""},
		{"a/b/l", "../../c", "../../c", ""},
		{"l", "missing/one", "missing/one", ""},
		{"l", "l", "l", ""}, // a loop harms nobody outside
		{"l", "...", "...", ""},
		{"l", "..", "", "outside"},
		{"a/l", "../..", "", "outside"},
		{"a/b/l", "../../../x", "", "outside"},
		{"l", "a/..", "", "down and up"},
		{"l", "a/../../x", "", "down and up"},
		{"a/b/l", "../c/../../x", "", "down and up"},
		{"l", "/", "", "absolute"},
		{"l", "/etc", "", "absolute"},
		{"l", "C:/x", "", "unsafe"},
		{"l", `a\b`, "", "unsafe"},
		{"l", "a\nb", "", "unsafe"},
		{"l", "", "", "0 bytes"},
		{"l", strings.Repeat("a/", 513), "", "1026 bytes"},
	} {
		clean, err := linkTarget(c.name, c.target)
		if c.says == "" {
			if err != nil || clean != c.clean {
				t.Errorf("%s -> %s: %q, %v; want %q", c.name, c.target, clean, err, c.clean)
			}
			continue
		}
		wantKind(t, err, qgjob.KindInvalid, c.says, `"`+c.name+`"`)
	}
}

func TestTree(t *testing.T) {
	type name struct {
		name string
		as   kind
	}
	for _, c := range []struct {
		what  string
		names []name
		says  string
		dirs  string
	}{
		{"parents come first", []name{{"a/b/c", aFile}, {"a/d", aLink}}, "", "a a/b"},
		{"directories twice", []name{{"a", aDir}, {"a", aDir}, {"a/b", aFile}, {"a", aDir}}, "", "a"},
		{"file twice", []name{{"a", aFile}, {"a", aFile}}, "twice", ""},
		{"link and file", []name{{"a", aLink}, {"a", aFile}}, "twice", ""},
		{"file, then directory", []name{{"a", aFile}, {"a", aDir}}, "twice", ""},
		{"directory, then file", []name{{"a", aDir}, {"a", aFile}}, "twice", ""},
		{"below a file", []name{{"a", aFile}, {"a/b", aFile}}, "not a directory", ""},
		{"deep below a link", []name{{"a", aLink}, {"a/b/c", aFile}}, "not a directory", ""},
		{"case", []name{{"Ä/x", aFile}, {"ä/y", aFile}}, "case", ""},
		{"sigma", []name{{"σ", aFile}, {"ς", aFile}}, "case", ""},
		{"no case", []name{{"ß", aFile}, {"ss", aFile}}, "", ""},
		{"files over the limit", []name{{"a", aFile}, {"b", aFile}, {"c", aLink}, {"d", aFile}}, "more than 3", ""},
		{"directories over the limit", []name{{"a/b/c/d", aDir}}, "more than 3", ""},
		{"at both limits", []name{{"a/b/c", aDir}, {"1", aFile}, {"2", aFile}, {"3", aFile}}, "", "a a/b a/b/c"},
	} {
		t.Run(c.what, func(t *testing.T) {
			all := newTree(Limits{MaxFiles: 3})
			var err error
			for _, n := range c.names {
				if err = all.add(n.name, n.as); err != nil {
					break
				}
			}
			if c.says != "" {
				wantKind(t, err, qgjob.KindInvalid, c.says)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(all.dirs, " "); got != c.dirs {
				t.Errorf("directories %q, want %q", got, c.dirs)
			}
		})
	}
}

func FuzzCheckName(f *testing.F) {
	for _, name := range []string{"a/b", "../x", "/x", `a\b`, "a//b", "./a", "K", "\u212a", "a\x00"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if fold(fold(name)) != fold(name) {
			t.Errorf("fold of %q is not stable", name)
		}
		if utf8.ValidString(name) && fold(strings.ToLower(name)) != fold(name) && strings.ToUpper(strings.ToLower(name)) == name {
			t.Errorf("%q and its lower case differ", name)
		}
		if checkName(name) != nil {
			return
		}
		for segment := range strings.SplitSeq(name, "/") {
			if segment == "" || segment == "." || segment == ".." || strings.ContainsAny(segment, "\\\x00\n") {
				t.Errorf("%q passed", name)
			}
		}
	})
}

func TestIsEnv(t *testing.T) {
	for name, want := range map[string]bool{
		".env": true, "a/.env": true, ".env.local": true, ".env.production.local": true, ".envrc": true,
		".env.example": false, ".env.sample": false, ".env.local.template": false, ".env.dist": false, ".env.schema": false,
		".environment": false, "env": false, "x.env": false, ".env/file": false, ".envs": false,
	} {
		if got := isEnv(name); got != want {
			t.Errorf("isEnv(%q) = %v", name, got)
		}
	}
}

func TestIsLeftOut(t *testing.T) {
	for name, want := range map[string]bool{
		".git": true, "a/.git": true, "node_modules/x/y": true, "a/node_modules/b": true, ".qgjob/x": true,
		"test-results": true, "playwright-report/index.html": true,
		".gitignore": false, ".github/x": false, ".qgjob.yaml": false, "my_node_modules": false, "test-results.ts": false,
	} {
		if got := isLeftOut(name); got != want {
			t.Errorf("isLeftOut(%q) = %v", name, got)
		}
	}
}

func TestErrorsQuoteForeignNames(t *testing.T) {
	err := checkName("\x1b]0;owned\a" + strings.Repeat("x", 5000))
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\a") || len(err.Error()) > 600 {
		t.Errorf("error %q", err)
	}
}
