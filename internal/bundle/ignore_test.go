package bundle

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// ignoreTree is what the pattern tables are tried on.
var ignoreTree = spec{
	"a.txt": "", "b.log": "", "keep.log": "", "#hash": "", "!bang": "", "sp ace ": "", "[x]": "", "a1.txt": "", "ab.txt": "",
	"dist/x.js": "", "dist/sub/y.js": "", "src/dist/z.js": "", "src/a.txt": "", "src/b.log": "",
	"src/deep/er/a.txt": "", "src/deep/er/b.log": "", "docs/Doc.html": "", "docs/ppc/ppc.html": "",
	"tools/docs/q.html": "", "foo/bar/baz.txt": "", "x/foo/bar/baz.txt": "", "fo/o": "", "build": "", "sub/build/o": "", "é.txt": "",
}

var ignoreCases = []struct{ name, patterns string }{
	{"none", ""},
	{"comment and blank", "# a.txt\n\n   \nb.log\n"},
	{"star", "*.log\n"},
	{"negation", "*.log\n!keep.log\n"},
	{"order matters", "!keep.log\n*.log\n"},
	{"directory only", "dist/\n"},
	{"file named like a directory pattern", "build/\n"},
	{"both", "build\n"},
	{"anchored", "/dist\n"},
	{"anchored by a middle slash", "docs/*.html\n"},
	{"star does not cross", "src/*/a.txt\n"},
	{"leading double star", "**/docs\n"},
	{"double star in front", "**/foo/bar\n"},
	{"double star inside", "src/**/a.txt\n"},
	{"double star behind letters", "b**/*\n"},
	{"double star behind letters and a folder", "src/b**/*.txt\nsrc/d**\n"},
	{"double star behind a class", "[b]**/*\n"},
	{"double star at the end", "src/**\n!src/a.txt\n"},
	{"whole tree but one", "/*\n!/src\n/src/*\n!/src/deep\n"},
	{"cannot come back from below", "dist/\n!dist/x.js\n"},
	{"can come back from a star", "dist/*\n!dist/x.js\n"},
	{"question mark", "a?.txt\n"},
	{"class", "a[0-9].txt\n"},
	{"negated class", "a[!0-9].txt\n"},
	{"caret class", "a[^a-c].txt\n"},
	{"posix class", "a[[:alpha:]].txt\n"},
	{"escaped bracket", "\\[x\\]\n"},
	{"open bracket", "[x\n"},
	{"escaped hash", "\\#hash\n"},
	{"escaped bang", "\\!bang\n"},
	{"trailing space kept", "sp\\ ace\\ \n"},
	{"trailing space cut", "a.txt  \n"},
	{"carriage returns", "*.log\r\ndist/\r\n"},
	{"byte order mark", "\ufeffa.txt\n"},
	{"not utf-8 aware", "??.txt\n"},
	{"no newline at the end", "a.txt"},
	{"lone star", "*\n!*/\n!*.txt\n"},
	{"stars in a name", "**.log\n"},
	{"double star alone", "**\n"},
	{"many stars", "****/*?b\nsrc/***/a.txt\n"},
	{"slash alone", "/\n"},
	{"bang alone", "!\n"},
	{"backslash at the end", "a.txt\\\n"},
	{"class at the end", "a[a-\n"},
	{"bracket in class", "[]x[]x*\n"},
}

// byFiles and byGit list the same tree in the two ways.
func byFiles(t *testing.T, dir string) []string {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var out []string
	files, prefix := filesAbove(dir)
	w := walker{ctx: t.Context(), root: root, prefix: prefix, keep: func(name string) error {
		out = append(out, name)
		return nil
	}}
	if err := w.walk(".", files); err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func byGit(t *testing.T, dir string) []string {
	t.Helper()
	out := strings.Split(strings.TrimSuffix(runGit(t, dir, "ls-files", "-co", "--exclude-standard", "-z"), "\x00"), "\x00")
	out = slices.DeleteFunc(out, func(name string) bool { return name == "" })
	slices.Sort(out)
	return out
}

func TestIgnoreAgainstRealGit(t *testing.T) {
	dir := t.TempDir()
	runGit(t, dir, "init", "-q")
	build(t, dir, ignoreTree)
	for _, c := range ignoreCases {
		for _, where := range []string{"", "src", "x/foo"} {
			file := filepath.Join(dir, where, ignoreFile)
			if err := os.WriteFile(file, []byte(c.patterns), 0o644); err != nil {
				t.Fatal(err)
			}
			if got, want := byFiles(t, dir), byGit(t, dir); !slices.Equal(got, want) {
				t.Errorf("%s in %q:\n got %q\nwant %q", c.name, where, got, want)
			}
			for _, sub := range []string{"src", "x/foo"} {
				here := filepath.Join(dir, sub)
				if got, want := byFiles(t, here), byGit(t, here); len(want) > 0 && !slices.Equal(got, want) {
					t.Errorf("%s in %q, seen from %s:\n got %q\nwant %q", c.name, where, sub, got, want)
				}
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestIgnoreNestedFilesAgainstRealGit(t *testing.T) {
	dir := t.TempDir()
	runGit(t, dir, "init", "-q")
	build(t, dir, ignoreTree)
	build(t, dir, spec{
		".gitignore": "*.log\ndist\n", "src/.gitignore": "!b.log\n/dist\n*.txt\n", "src/deep/.gitignore": "!a.txt\nb.log\n",
		"x/.gitignore": "foo/*\n", "x/foo/.gitignore": "!bar\n", "docs/.gitignore/odd": "a directory of that name",
		".git/info/exclude": "fo/\n",
	})
	if got, want := byFiles(t, dir), byGit(t, dir); !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

// Property: random patterns in two nested files mean to us what they mean to git.
func TestIgnoreAnyPatternsAgainstRealGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	dir := t.TempDir()
	runGit(t, dir, "init", "-q")
	build(t, dir, ignoreTree)
	piece := rapid.SampledFrom([]string{"*", "**", "/", "?", "[a-c]", "[!a]", "a", "b", "foo", "bar", "dist", "src", ".txt", ".log", "\\a", "deep", "!"})
	rounds := 0
	rapid.Check(t, func(rt *rapid.T) {
		if rounds++; rounds > 60 { // each asks git three times
			return
		}
		for _, where := range []string{"", "src"} {
			var text strings.Builder
			for range rapid.IntRange(0, 4).Draw(rt, "lines") {
				text.WriteString(strings.Join(rapid.SliceOfN(piece, 1, 6).Draw(rt, "line"), "") + "\n")
			}
			if err := os.WriteFile(filepath.Join(dir, where, ignoreFile), []byte(text.String()), 0o644); err != nil {
				rt.Fatal(err)
			}
		}
		if got, want := byFiles(t, dir), byGit(t, dir); !slices.Equal(got, want) {
			a, _ := os.ReadFile(filepath.Join(dir, ignoreFile))
			b, _ := os.ReadFile(filepath.Join(dir, "src", ignoreFile))
			rt.Fatalf("patterns %q and %q:\n got %q\nwant %q", a, b, got, want)
		}
	})
}

// Patterns of an attacker must not take forever.
func FuzzMatchSegments(f *testing.F) {
	for _, c := range ignoreCases {
		f.Add(c.patterns, "src/deep/er/a.txt")
	}
	f.Add(strings.Repeat("*a", 500)+"b", strings.Repeat("a", 4000))
	f.Add(strings.Repeat("**/a/", 200)+"b", strings.Repeat("a/", 2000)+"c")
	f.Fuzz(func(t *testing.T, text, name string) {
		file := parsePatterns("", text)
		want := ignored([]patterns{file}, name, true)
		// Comments change nothing, wherever they stand.
		if got := ignored([]patterns{parsePatterns("", "# x\n"+strings.TrimPrefix(text, "\ufeff")+"\n# y")}, name, true); got != want {
			t.Errorf("a comment changed the answer for %q to %v", name, got)
		}
	})
}

func TestChooseWithGit(t *testing.T) {
	base := t.TempDir()
	other := filepath.Join(base, "other")
	build(t, other, spec{"in-module.txt": "m", "skip.tmp": "s", ".gitignore": "*.tmp\n"})
	runGit(t, other, "init", "-q")
	runGit(t, other, "add", ".")
	runGit(t, other, "commit", "-qm", "x")
	dir := filepath.Join(base, "project")
	build(t, dir, spec{
		".gitignore": "*.gen\nout/\n", "tracked.gen": "forced", "untracked.gen": "no", "a.spec.ts": "a", "gone.ts": "g",
		"out/report.txt": "r", "node_modules/m/index.js": "n", "tests/node_modules/m.js": "n", "new.ts": "untracked",
		"test-results/r.json": "r", "playwright-report/index.html": "h", ".qgjob/state": "s", ".qgjob.yaml": "kept",
		"swap/one.ts": "1", "real/one.ts": "1",
	})
	runGit(t, dir, "init", "-q")
	runGit(t, dir, "submodule", "--quiet", "add", other, "module")
	runGit(t, dir, "add", "--force", "tracked.gen", "node_modules")
	runGit(t, dir, "add", ".")
	runGit(t, dir, "commit", "-qm", "x")
	build(t, dir, spec{"module/skip.tmp": "no", "module/untracked.txt": "u"})
	for _, name := range []string{"gone.ts", "swap"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	build(t, dir, spec{"swap": "-> real"})

	got, manifest := packed(t, dir, Options{})
	want := []string{
		".gitignore", ".gitmodules", ".qgjob.yaml", "a.spec.ts", "module/.gitignore", "module/in-module.txt", "module/untracked.txt",
		"new.ts", "real/one.ts", "swap", "tracked.gen",
	}
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
		t.Errorf("packed\n got %q\nwant %q", names, want)
	}
	if manifest.Chooser != ChosenByGit || manifest.Files != len(want) {
		t.Errorf("manifest %+v", manifest)
	}

	// A directory that is ignored as a whole is packed when it is named.
	got, manifest = packed(t, filepath.Join(dir, "out"), Options{})
	if len(got) != 1 || got["report.txt"] != "r" || manifest.Chooser != ChosenByFiles {
		t.Errorf("ignored directory: %v, %+v", got, manifest)
	}
}

func TestChooseInsideAGitHook(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	runGit(t, dir, "init", "-q")
	runGit(t, other, "init", "-q")
	build(t, dir, spec{"mine.ts": "m"})
	build(t, other, spec{"theirs.ts": "t"})
	t.Setenv("GIT_DIR", filepath.Join(other, ".git"))
	t.Setenv("GIT_WORK_TREE", other)
	if got, _ := packed(t, dir, Options{}); len(got) != 1 || got["mine.ts"] != "m" {
		t.Errorf("packed %v", got)
	}
}

func packed(t *testing.T, dir string, opts Options) (spec, Manifest) {
	t.Helper()
	var out bytes.Buffer
	manifest, err := Pack(t.Context(), dir, &out, opts)
	if err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(t.TempDir(), "out")
	if _, err := Unpack(t.Context(), bytes.NewReader(out.Bytes()), int64(out.Len()), dest, opts.Limits); err != nil {
		t.Fatal(err)
	}
	return read(t, dest), manifest
}
