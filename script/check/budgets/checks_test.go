package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// sound is the smallest tree within all limits.
func sound() fstest.MapFS {
	code := "// Package p is.\npackage p\n\n// Open opens.\nfunc Open() {}\n"
	test := "package p\n" + strings.Repeat("// one more line\n", 20)
	tree := fstest.MapFS{
		"go.mod":       {Data: []byte("module m\n\nrequire a v1\n")},
		"CHANGELOG.md": {Data: []byte("# Changes\n")},
	}
	for _, dir := range append([]string{"internal/store"}, pureRooms...) {
		tree[dir+"/p.go"] = &fstest.MapFile{Data: []byte(code)}
		tree[dir+"/p_test.go"] = &fstest.MapFile{Data: []byte(test)}
	}
	return tree
}

// table measures a tree made in memory; rows by name.
func table(t *testing.T, files fstest.MapFS) map[string]row {
	t.Helper()
	var names []string
	for name := range files {
		names = append(names, name)
	}
	loaded, err := load(files, names)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]row{}
	for _, r := range measure(loaded) {
		rows[r.name] = r
	}
	return rows
}

func TestSoundTree(t *testing.T) {
	rows := table(t, sound())
	for name, r := range rows {
		if r.broken {
			t.Errorf("%s is broken: %s, limit %s, %v", name, r.figure, r.limit, r.list)
		}
	}
	if len(rows) != 15 {
		t.Errorf("%d rows, want 15: a new budget needs its case in TestEveryBudgetCanBreak", len(rows))
	}
}

// TestEveryBudgetCanBreak puts one fault at a time into the sound tree: its row breaks, and no other.
func TestEveryBudgetCanBreak(t *testing.T) {
	const at = "internal/store/extra.go"
	long := func(lines int) string { return "func long() {\n" + strings.Repeat("\tlong()\n", lines-2) + "}\n" }
	for _, test := range []struct {
		row, path, body, want string
	}{
		{"largest file, lines", "internal/store/extra_test.go", strings.Repeat("//\n", 800), "extra_test.go:801: file has 801 lines"},
		{"functions > 80 lines", "internal/store/extra_test.go", long(81), "extra_test.go:2: long has 81 lines"},
		{"exported names undocumented", at, "func Bare() {}", "extra.go:2: Bare has no doc comment"},
		{"packages uncommented", "internal/store/deep/extra.go", "", "extra.go:1: package internal/store/deep has no comment"},
		{"test:code, all", at, strings.Repeat("//\n", 60), ""},
		{"test:code, schedule", "internal/schedule/extra.go", strings.Repeat("//\n", 3), ""},
		{"test:code, lease", "internal/lease/extra.go", strings.Repeat("//\n", 3), ""},
		{"unfinished work", at, "// TO" + "DO", "extra.go:2: unfinished"},
		{"machine paths", at, "// /" + "tmp/x", "extra.go:2: path of a machine"},
		{"registry hosts", at, "// proxy." + "golang.org", "extra.go:2: host of a package registry"},
		{"sleeps", at, "import \"time\"\nvar _ = func() { time.Sleep(1) }", "extra.go:3: waits by time.Sleep"},
		{"shells", at, `var _ = []string{"sh", ` + `"-c"}`, "extra.go:2: runs sh -c"},
	} {
		t.Run(test.row, func(t *testing.T) {
			tree := sound()
			tree[test.path] = &fstest.MapFile{Data: []byte("package p\n" + test.body)}
			wantOnly(t, table(t, tree), test.row, test.want)
		})
	}
	t.Run("median", func(t *testing.T) {
		tree := sound()
		for i := range 8 {
			tree[fmt.Sprintf("internal/store/big%d_test.go", i)] = &fstest.MapFile{Data: []byte("package p\n" + strings.Repeat("//\n", 200))}
		}
		wantOnly(t, table(t, tree), "median file, lines", "")
	})
	t.Run("dependencies", func(t *testing.T) {
		tree := sound()
		tree["go.mod"] = &fstest.MapFile{Data: []byte("module m\nrequire (\n" + strings.Repeat("a v1\n", 26) + ")\n")}
		wantOnly(t, table(t, tree), "direct dependencies", "")
	})
	for row, path := range map[string]string{"direct dependencies": "go.mod", "CHANGELOG.md": "CHANGELOG.md"} {
		t.Run("missing "+path, func(t *testing.T) {
			tree := sound()
			delete(tree, path)
			wantOnly(t, table(t, tree), row, "")
		})
	}
	t.Run("a room that is gone", func(t *testing.T) {
		tree := sound()
		delete(tree, "internal/lease/p.go")
		wantOnly(t, table(t, tree), "test:code, lease", "")
	})
}

// wantOnly fails unless exactly the named row is broken, with want among its findings.
func wantOnly(t *testing.T, rows map[string]row, name, want string) {
	t.Helper()
	if !rows[name].broken {
		t.Errorf("%s is not broken: %s", name, rows[name].figure)
	}
	for other, r := range rows {
		if r.broken && other != name {
			t.Errorf("%s is broken too: %s %v", other, r.figure, r.list)
		}
	}
	if want == "" {
		return
	}
	for _, found := range rows[name].list {
		if strings.Contains(fmt.Sprintf("%s:%d: %s", found.path, found.line, found.what), want) {
			return
		}
	}
	t.Errorf("%s: findings %v, want one with %q", name, rows[name].list, want)
}

func TestAtTheLimit(t *testing.T) {
	tree := sound()
	// 200 functions of which two are long is one in a hundred; 80 lines are not long.
	many := "package p\n" + strings.Repeat("func a() {}\n", 197) + "func b() {\n" + strings.Repeat("//\n", 78) + "}\n"
	tree["internal/store/many_test.go"] = &fstest.MapFile{Data: []byte(many)}
	tree["internal/store/full_test.go"] = &fstest.MapFile{Data: []byte("package p\n" + strings.Repeat("//\n", 799))}
	for name, r := range table(t, tree) {
		if r.broken {
			t.Errorf("%s is broken at its limit: %s %v", name, r.figure, r.list)
		}
	}
}

func TestWaivedLinesAreShown(t *testing.T) {
	tree := sound()
	tree["internal/store/extra.go"] = &fstest.MapFile{Data: []byte("package p\n\nimport \"time\"\n\nfunc f() {\n\ttime.Sleep(1) //budget:allow the phone needs it\n}\n")}
	r := table(t, tree)["sleeps"]
	if r.broken || len(r.waived) != 1 {
		t.Fatalf("sleeps: broken %v, waived %v, want one waived", r.broken, r.waived)
	}
	var out bytes.Buffer
	if printTable(&out, []row{r}) != 0 {
		t.Error("a waived line counts as broken")
	}
	for _, want := range []string{"ok (1 allowed)", "internal/store/extra.go:6: allowed: waits by time.Sleep"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, out.String())
		}
	}
}

func TestForgiveRatios(t *testing.T) {
	rows := []row{{name: "ratio", ratio: true, broken: true}, {name: "other", broken: true}}
	forgiveRatios(rows)
	var out bytes.Buffer
	if broken := printTable(&out, rows); broken != 1 {
		t.Errorf("%d broken, want 1: only ratios are forgiven\n%s", broken, out.String())
	}
	if !strings.Contains(out.String(), "forgiven by -young") || !strings.Contains(out.String(), "BROKEN") {
		t.Errorf("output says neither:\n%s", out.String())
	}
}

func TestGeneratedFilesHaveNoSize(t *testing.T) {
	tree := sound()
	tree["internal/store/gen.go"] = &fstest.MapFile{Data: []byte("// Code generated by x. DO NOT EDIT.\n\npackage p\n" + strings.Repeat("//\n", 2000))}
	for name, r := range table(t, tree) {
		if r.broken {
			t.Errorf("%s is broken: %s %v", name, r.figure, r.list)
		}
	}
}
