package qgjob_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// room is one row of the import table of docs/ARCHITECTURE.md. A folder belongs to the room with the longest matching path,
// so internal/agent/device is part of internal/agent, and folders of one room may import each other.
type room struct {
	path  string   // folder from the module's root; "." is the root package
	may   []string // rooms it may import; "*" is all of them
	never []string // packages of the standard library it may not import, with everything under them
	pure  bool     // no clock and no goroutine either
}

// deciding is what a pure room stays away from: input and output, logs, randomness, locks.
var deciding = []string{"net", "os", "log", "math/rand", "crypto/rand", "database/sql", "sync"}

// rooms is the allow-list. What is not in it may not exist.
var rooms = []room{
	{path: ".", never: []string{"net/http", "database/sql", "os"}},
	{path: "internal/schedule", may: []string{"."}, never: deciding, pure: true},
	{path: "internal/lease", may: []string{"."}, never: deciding, pure: true},
	{path: "internal/report", may: []string{"."}, never: []string{"net/http", "os", "database/sql"}},
	{path: "internal/store", may: []string{".", "internal/lease", "internal/schedule"}},
	{path: "internal/client", may: []string{"."}},
	{path: "internal/blob", may: []string{"."}},
	{path: "internal/bundle", may: []string{"."}},
	{path: "internal/sim", may: []string{".", "internal/schedule"}},
	{path: "internal/server", may: []string{".", "internal/schedule", "internal/lease", "internal/store", "internal/blob", "internal/report", "internal/hook"}},
	{path: "internal/hook", may: []string{"."}},
	{path: "internal/agent", may: []string{".", "internal/client", "internal/report", "internal/bundle"}},
	{path: "internal/cli", may: []string{"*"}},
	{path: "cmd/qgjob", may: []string{"internal/cli"}},
	// Not part of the program: measuring it and building it.
	{path: "bench", may: []string{"*"}},
	{path: "script", may: []string{"*"}},
}

// drawers are package names that say nothing about what is inside.
var drawers = []string{"util", "utils", "common", "helper", "helpers", "model", "models", "shared", "mock", "mocks", "config"}

// clocks are the names of package time that read the clock or wait for it.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// maxDepth is the longest chain of imports, in steps from one package of ours to the next.
const maxDepth = 5

// pkg is one folder's Go files without the tests.
type pkg struct {
	dir     string // "." or a slash path
	name    string
	imports []string // all import paths, sorted, each once
	clock   []string // "file.go:7: time.Now"
	spawns  []string // "file.go:9: go statement"
}

// readTree parses every Go file of the module but tests, test data, hidden folders and modules of their own. Build tags are not looked at:
// a rule that a tag can switch off is no rule.
func readTree(tree fs.FS) (module string, pkgs []*pkg, err error) {
	gomod, err := fs.ReadFile(tree, "go.mod")
	if err != nil {
		return "", nil, err
	}
	first, _, _ := strings.Cut(string(gomod), "\n")
	module = strings.TrimSpace(strings.TrimPrefix(first, "module "))
	byDir := map[string]*pkg{}
	err = fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return enter(tree, name)
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		dir := path.Dir(name)
		if byDir[dir] == nil {
			byDir[dir] = &pkg{dir: dir}
			pkgs = append(pkgs, byDir[dir])
		}
		return byDir[dir].read(tree, name)
	})
	return module, pkgs, err
}

// enter answers fs.SkipDir for folders that hold no package of this module.
func enter(tree fs.FS, dir string) error {
	if dir == "." {
		return nil
	}
	base := path.Base(dir)
	if base == "testdata" || base == "node_modules" || base == "vendor" || base[0] == '.' || base[0] == '_' {
		return fs.SkipDir
	}
	if _, err := fs.Stat(tree, path.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// read adds one file. Bodies are parsed in pure rooms only, which keeps the whole test in milliseconds.
func (p *pkg) read(tree fs.FS, name string) error {
	src, err := fs.ReadFile(tree, name)
	if err != nil {
		return err
	}
	mode := parser.ImportsOnly
	if at := roomOf(p.dir); at != nil && at.pure {
		mode = parser.SkipObjectResolution
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, src, mode)
	if err != nil {
		return err
	}
	p.name = file.Name.Name
	timeName := ""
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		p.imports = append(p.imports, imported)
		if imported == "time" {
			timeName = "time"
			if spec.Name != nil {
				timeName = spec.Name.Name
			}
		}
	}
	slices.Sort(p.imports)
	p.imports = slices.Compact(p.imports)
	ast.Inspect(file, func(node ast.Node) bool {
		p.look(files, node, timeName)
		return true
	})
	return nil
}

// look notes a goroutine or the use of the clock. timeName is what the file calls package time, "" when it does not import it.
func (p *pkg) look(files *token.FileSet, node ast.Node, timeName string) {
	switch node := node.(type) {
	case *ast.GoStmt:
		p.spawns = append(p.spawns, fmt.Sprintf("%s: go statement", files.Position(node.Pos())))
	case *ast.ImportSpec:
		if timeName == "." && node.Path.Value == `"time"` {
			p.clock = append(p.clock, fmt.Sprintf("%s: dot import of time hides the clock", files.Position(node.Pos())))
		}
	case *ast.SelectorExpr:
		from, ok := node.X.(*ast.Ident)
		if ok && timeName != "" && from.Name == timeName && slices.Contains(clocks, node.Sel.Name) {
			p.clock = append(p.clock, fmt.Sprintf("%s: time.%s", files.Position(node.Pos()), node.Sel.Name))
		}
	}
}

// roomOf gives the room with the longest path that holds dir, nil when there is none.
func roomOf(dir string) *room {
	var best *room
	for i := range rooms {
		r := &rooms[i]
		if (dir == r.path || strings.HasPrefix(dir, r.path+"/")) && (best == nil || len(r.path) > len(best.path)) {
			best = r
		}
	}
	return best
}

// breaches gives one line for every rule that a package breaks, in the order of the folders.
func breaches(module string, pkgs []*pkg) []string {
	var out []string
	for _, p := range pkgs {
		if slices.Contains(drawers, p.name) || slices.Contains(drawers, path.Base(p.dir)) {
			out = append(out, fmt.Sprintf("%s: package %s: a name that says nothing; name it for what it does", p.dir, p.name))
		}
		at := roomOf(p.dir)
		if at == nil {
			out = append(out, fmt.Sprintf("%s: unknown room: add it to the table in arch_test.go and docs/ARCHITECTURE.md, with what it may import", p.dir))
			continue
		}
		out = append(out, p.imported(module, at)...)
		if at.pure {
			for _, found := range slices.Concat(p.clock, p.spawns) {
				out = append(out, fmt.Sprintf("%s: pure room: %s", p.dir, found))
			}
		}
	}
	return append(out, tooDeep(module, pkgs)...)
}

// imported gives the breaches among a package's imports.
func (p *pkg) imported(module string, at *room) []string {
	var out []string
	for _, name := range p.imports {
		dir, ours := folder(module, name)
		if !ours {
			for _, never := range at.never {
				if name == never || strings.HasPrefix(name, never+"/") {
					out = append(out, fmt.Sprintf("%s: may not import %s", p.dir, name))
				}
			}
			continue
		}
		to := roomOf(dir)
		switch {
		case to == nil:
			out = append(out, fmt.Sprintf("%s: imports %s, which is in no room", p.dir, dir))
		case to != at && !slices.Contains(at.may, to.path) && !slices.Contains(at.may, "*"):
			out = append(out, fmt.Sprintf("%s: may not import %s (allowed: %s)", p.dir, dir, strings.Join(at.may, ", ")))
		}
	}
	return out
}

// folder turns an import path of this module into its folder.
func folder(module, imported string) (dir string, ours bool) {
	if imported == module {
		return ".", true
	}
	return strings.CutPrefix(imported, module+"/")
}

// tooDeep follows the imports from every package and names the chains that are longer than maxDepth.
func tooDeep(module string, pkgs []*pkg) []string {
	byDir := map[string]*pkg{}
	for _, p := range pkgs {
		byDir[p.dir] = p
	}
	longest := map[string][]string{}
	var chain func(dir string) []string
	chain = func(dir string) []string {
		if known, ok := longest[dir]; ok {
			return known
		}
		longest[dir] = []string{dir} // also ends a cycle, which the compiler refuses anyway
		if byDir[dir] == nil {
			return longest[dir]
		}
		best := []string{}
		for _, name := range byDir[dir].imports {
			if to, ours := folder(module, name); ours {
				if next := chain(to); len(next) > len(best) {
					best = next
				}
			}
		}
		longest[dir] = append([]string{dir}, best...)
		return longest[dir]
	}
	var out []string
	for _, p := range pkgs {
		if steps := chain(p.dir); len(steps)-1 > maxDepth {
			out = append(out, fmt.Sprintf("%s: imports %d deep, at most %d: %s", p.dir, len(steps)-1, maxDepth, strings.Join(steps, " → ")))
		}
	}
	return out
}

// TestArchitecture holds the tree against the import table.
func TestArchitecture(t *testing.T) {
	module, pkgs, err := readTree(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if module != "github.com/qualgent/qgjob" {
		t.Fatalf("module %q read from go.mod: the test runs in the wrong folder", module)
	}
	if !slices.ContainsFunc(pkgs, func(p *pkg) bool { return p.dir == "." }) {
		t.Fatal("no root package found: the walk sees nothing")
	}
	for _, breach := range breaches(module, pkgs) {
		t.Error(breach)
	}
}

// TestArchitectureRefuses gives every rule a source that breaks it, so that no rule can rot into one that always says yes.
func TestArchitectureRefuses(t *testing.T) {
	const ours = "github.com/qualgent/qgjob"
	in := func(name string) string { return `import "` + name + `"` }
	for _, test := range []struct{ name, file, body, want string }{
		{"root imports ours", "a.go", in(ours + "/internal/store"), ".: may not import internal/store"},
		{"root serves", "a.go", in("net/http"), ".: may not import net/http"},
		{"root queries", "a.go", in("database/sql"), ".: may not import database/sql"},
		{"root touches files", "a.go", in("os"), ".: may not import os"},
		{"root runs programs", "a.go", in("os/exec"), ".: may not import os/exec"},
		{"schedule remembers", "internal/schedule/a.go", in(ours + "/internal/store"), "internal/schedule: may not import internal/store"},
		{"schedule knows leases", "internal/schedule/a.go", in(ours + "/internal/lease"), "internal/schedule: may not import internal/lease"},
		{"schedule dials", "internal/schedule/a.go", in("net"), "internal/schedule: may not import net"},
		{"schedule serves", "internal/schedule/a.go", in("net/http"), "internal/schedule: may not import net/http"},
		{"schedule logs", "internal/schedule/a.go", in("log/slog"), "internal/schedule: may not import log/slog"},
		{"schedule prints logs", "internal/schedule/a.go", in("log"), "internal/schedule: may not import log"},
		{"schedule rolls dice", "internal/schedule/a.go", in("math/rand/v2"), "internal/schedule: may not import math/rand/v2"},
		{"schedule rolls old dice", "internal/schedule/a.go", in("math/rand"), "internal/schedule: may not import math/rand"},
		{"lease draws secrets", "internal/lease/a.go", in("crypto/rand"), "internal/lease: may not import crypto/rand"},
		{"lease locks", "internal/lease/a.go", in("sync"), "internal/lease: may not import sync"},
		{"lease reads files", "internal/lease/a.go", in("os"), "internal/lease: may not import os"},
		{"lease queries", "internal/lease/a.go", in("database/sql"), "internal/lease: may not import database/sql"},
		{"report reads files", "internal/report/a.go", in("os"), "internal/report: may not import os"},
		{"report fetches", "internal/report/a.go", in("net/http"), "internal/report: may not import net/http"},
		{"report queries", "internal/report/a.go", in("database/sql"), "internal/report: may not import database/sql"},
		{"store answers", "internal/store/a.go", in(ours + "/internal/server"), "internal/store: may not import internal/server"},
		{"client remembers", "internal/client/a.go", in(ours + "/internal/store"), "internal/client: may not import internal/store"},
		{"blob asks", "internal/blob/a.go", in(ours + "/internal/client"), "internal/blob: may not import internal/client"},
		{"bundle keeps", "internal/bundle/a.go", in(ours + "/internal/blob"), "internal/bundle: may not import internal/blob"},
		{"sim remembers", "internal/sim/a.go", in(ours + "/internal/store"), "internal/sim: may not import internal/store"},
		{"server meets agent", "internal/server/a.go", in(ours + "/internal/agent/device"), "internal/server: may not import internal/agent/device"},
		{"agent meets server", "internal/agent/a.go", in(ours + "/internal/server"), "internal/agent: may not import internal/server"},
		{"agent's folder remembers", "internal/agent/device/a.go", in(ours + "/internal/store"), "internal/agent/device: may not import internal/store"},
		{"a folder of store answers", "internal/store/storetest/a.go", in(ours + "/internal/server"), "internal/store/storetest: may not import internal/server"},
		{"main skips the cli", "cmd/qgjob/main.go", in(ours + "/internal/server"), "cmd/qgjob: may not import internal/server"},
		{"main uses the words", "cmd/qgjob/main.go", in(ours), "cmd/qgjob: may not import ."},
		{"second program", "cmd/other/main.go", "", "cmd/other: unknown room: add it to the table"},
		{"unknown room", "internal/magic/a.go", "", "internal/magic: unknown room: add it to the table"},
		{"unknown room imported", "internal/cli/a.go", in(ours + "/internal/magic"), "internal/cli: imports internal/magic, which is in no room"},
		{"room with a longer name", "internal/storeroom/a.go", "", "internal/storeroom: unknown room"},
		{"drawer by folder", "internal/server/helpers/a.go", "", "a name that says nothing"},
		{"clock read", "internal/schedule/a.go", in("time") + "\nvar t = time.Now()", "a.go:2:9: time.Now"},
		{"clock under another name", "internal/lease/a.go", "import clock \"time\"\nvar t = clock.Since", "time.Since"},
		{"clock by dot import", "internal/lease/a.go", "import . \"time\"\nvar t = Now()", "dot import of time"},
		{"sleep", "internal/lease/a.go", in("time") + "\nfunc f() { time.Sleep(1) }", "time.Sleep"},
		{"wait", "internal/schedule/a.go", in("time") + "\nfunc f() { <-time.After(1) }", "time.After"},
		{"goroutine", "internal/schedule/a.go", "func f() { go f() }", "a.go:1:30: go statement"},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := path.Base(path.Dir(test.file))
			wantBreach(t, fstest.MapFS{test.file: source(name, test.body)}, test.want)
		})
	}
	// Written out once more: a name that leaves the list by mistake is missed here.
	for _, name := range strings.Fields("util utils common helper helpers model models shared mock mocks config") {
		t.Run("drawer "+name, func(t *testing.T) {
			wantBreach(t, fstest.MapFS{"internal/server/bits/a.go": source(name, "")}, "package "+name+": a name that says nothing")
		})
	}
}

// TestArchitectureClocks names every way to the clock once more.
func TestArchitectureClocks(t *testing.T) {
	for _, name := range strings.Fields("Now Since Until Sleep After AfterFunc Tick NewTimer NewTicker") {
		for _, dir := range []string{"schedule", "lease"} {
			body := "import \"time\"\nvar hand = time." + name
			wantBreach(t, fstest.MapFS{"internal/" + dir + "/a.go": source(dir, body)}, "internal/"+dir+": pure room: internal/"+dir+"/a.go:2:12: time."+name)
		}
	}
}

// TestArchitectureDepth builds chains inside one room, where only their length can be wrong.
func TestArchitectureDepth(t *testing.T) {
	tower := func(steps int) fstest.MapFS {
		tree := fstest.MapFS{}
		for i := range steps + 1 {
			body := ""
			if i < steps {
				body = fmt.Sprintf(`import "github.com/qualgent/qgjob/internal/store/s%d"`, i+1)
			}
			tree[fmt.Sprintf("internal/store/s%d/a.go", i)] = source("s", body)
		}
		return tree
	}
	if found := inspect(t, tower(maxDepth)); len(found) != 0 {
		t.Errorf("a chain of %d steps is refused: %q", maxDepth, found)
	}
	wantBreach(t, tower(maxDepth+1), "internal/store/s0: imports 6 deep, at most 5: internal/store/s0 → internal/store/s1")
}

// TestArchitectureAllows shows that what the table permits, and what is exempt from it, passes.
func TestArchitectureAllows(t *testing.T) {
	const ours = "github.com/qualgent/qgjob"
	in := func(name string) string { return `import "` + name + `"` }
	tree := fstest.MapFS{
		"a.go":                          source("qgjob", in("time")+"\nvar t = time.Now()"),
		"a_test.go":                     source("qgjob", in("os")),
		"internal/schedule/a.go":        source("schedule", in(ours)+"\n"+in("time")+"\nvar t time.Time\nvar u = t.After(t)"),
		"internal/schedule/b_test.go":   source("schedule", in("math/rand")+"\nfunc f() { go f() }"),
		"internal/store/a.go":           source("store", in(ours+"/internal/lease")),
		"internal/store/storetest/a.go": source("storetest", in(ours+"/internal/store")),
		"internal/agent/device/a.go":    source("device", in(ours+"/internal/agent/proc")+"\n"+in("os/exec")),
		"internal/cli/a.go":             source("cli", in(ours+"/internal/server")+"\n"+in(ours+"/internal/agent")),
		"cmd/qgjob/main.go":             source("main", in(ours+"/internal/cli")),
		"internal/magic/testdata/a.go":  source("magic", ""),
		"tools/go.mod":                  {Data: []byte("module elsewhere\n")},
		"tools/util/a.go":               source("util", ""),
		"examples/node_modules/x/a.go":  source("util", ""),
		".hidden/a.go":                  source("util", ""),
	}
	if found := inspect(t, tree); len(found) != 0 {
		t.Errorf("allowed things are refused: %q", found)
	}
}

// source is a Go file of one package clause and a body.
func source(name, body string) *fstest.MapFile {
	if name == "." {
		name = "qgjob"
	}
	return &fstest.MapFile{Data: []byte("package " + name + "; " + body + "\n")}
}

// inspect reads a tree made in memory and gives its breaches.
func inspect(t *testing.T, tree fstest.MapFS) []string {
	t.Helper()
	tree["go.mod"] = &fstest.MapFile{Data: []byte("module github.com/qualgent/qgjob\n\ngo 1.26.0\n")}
	module, pkgs, err := readTree(tree)
	if err != nil {
		t.Fatal(err)
	}
	return breaches(module, pkgs)
}

// wantBreach fails unless the tree breaks exactly one rule, with want in its line.
func wantBreach(t *testing.T, tree fstest.MapFS, want string) {
	t.Helper()
	found := inspect(t, tree)
	if len(found) != 1 || !strings.Contains(found[0], want) {
		t.Errorf("breaches %q, want exactly one with %q", found, want)
	}
}
