package main

import (
	"strings"
	"testing"
)

// ruleNamed gives the rule of that name.
func ruleNamed(t *testing.T, name string) lineRule {
	t.Helper()
	for _, rule := range lineRules {
		if rule.name == name {
			return rule
		}
	}
	t.Fatalf("no rule %q", name)
	return lineRule{}
}

// The lines are put together here, because the rules read this file too.
func TestLineRules(t *testing.T) {
	slash := "/"
	for _, test := range []struct {
		rule, line string
		want       bool
	}{
		{"unfinished work", "// TO" + "DO: later", true},
		{"unfinished work", "x() // FIX" + "ME", true},
		{"unfinished work", `errors.New("not ` + `implemented")`, true},
		{"unfinished work", "// Not " + "implemented yet", true},
		{"unfinished work", "http.StatusNotImplemented", false},
		{"unfinished work", "// mastodons and TODOS", false},
		{"machine paths", `open("` + slash + `tmp/x")`, true},
		{"machine paths", `dir=` + slash + `tmp`, true},
		{"machine paths", `"file": "` + slash + `work/main/a.spec.js"`, true},
		{"machine paths", slash + "root/.cache", true},
		{"machine paths", "see " + slash + "home/somebody/x", true},
		{"machine paths", `"` + slash + `Users/somebody/Library"`, true},
		{"machine paths", "file://" + slash + "tmp/x", false},
		{"machine paths", "https://host" + slash + "work/item", false},
		{"machine paths", "${RUNNER}" + slash + "work/a", false},
		{"machine paths", "." + slash + "work/a", false},
		{"machine paths", `"` + slash + `rootless"`, false},
		{"machine paths", `"` + slash + `tmpfs"`, false},
		{"machine paths", `t.TempDir()`, false},
		{"registry hosts", "https://registry." + "npmjs.org/left-pad", true},
		{"registry hosts", "GOPROXY=https://proxy." + "golang.org", true},
		{"registry hosts", "sum." + "golang.org", true},
		{"registry hosts", `"resolved"` + `: "https://mirror.example/a.tgz"`, true},
		{"registry hosts", `registry` + `=https://mirror.example`, true},
		{"registry hosts", `  @scope:registry` + ` = "https://mirror.example"`, true},
		{"registry hosts", "\tregistry = prometheus.NewRegistry()", false},
		{"registry hosts", `"resolved": true`, false},
		{"registry hosts", `import "golang.org/x/sync/errgroup"`, false},
		{"registry hosts", "omit-lockfile-registry-resolved=true", false},
	} {
		t.Run(test.rule+" "+test.line, func(t *testing.T) {
			broken, waived := ruleNamed(t, test.rule).match(textFile{"a.go", []string{"first", test.line}})
			if (len(broken) == 1) != test.want || len(waived) != 0 {
				t.Fatalf("broken %v, waived %v, want broken %v", broken, waived, test.want)
			}
			if test.want && (broken[0].line != 2 || broken[0].path != "a.go") {
				t.Errorf("found at %s:%d, want a.go:2", broken[0].path, broken[0].line)
			}
		})
	}
}

func TestWaiver(t *testing.T) {
	rule := ruleNamed(t, "machine paths")
	path := "/" + "tmp/x"
	for line, want := range map[string]bool{
		path + " //budget:allow the kernel's own place":  true,
		path + " // budget:allow the kernel's own place": true,
		path + " # budget:allow the kernel's own place":  true,
		path + " //budget:allow":                         false, // a waiver needs its reason
		path + " //budget:allow ":                        false,
		path + " //budget:allowed by me":                 false,
	} {
		broken, waived := rule.match(textFile{"run.sh", []string{line}})
		if got := len(waived) == 1; got != want || len(broken)+len(waived) != 1 {
			t.Errorf("%q: broken %d, waived %d, want waived %v", line, len(broken), len(waived), want)
		}
	}
}

func TestRulesByFile(t *testing.T) {
	unfinished, host := "TO"+"DO", "proxy."+"golang.org"
	for _, test := range []struct {
		rule, path, line string
		want             int
	}{
		{"unfinished work", "a.go", unfinished, 1},
		{"unfinished work", "README.md", unfinished, 0},
		{"registry hosts", "package-lock.json", host, 1},
		{"registry hosts", "tools/go.sum", host, 0},
		{"registry hosts", "web/htmx.min.js", host, 0},
	} {
		broken, _ := ruleNamed(t, test.rule).match(textFile{test.path, []string{test.line}})
		if len(broken) != test.want {
			t.Errorf("%s in %s: %d found, want %d", test.rule, test.path, len(broken), test.want)
		}
	}
}

func TestClip(t *testing.T) {
	if got := clip("short"); got != "short" {
		t.Errorf("clip(short) = %q", got)
	}
	// 99 bytes and a rune of two: the cut must not leave half of it.
	got := clip(strings.Repeat("a", 99) + "é" + "tail")
	if want := strings.Repeat("a", 99) + "…"; got != want {
		t.Errorf("clip cut a rune: %q, want %q", got, want)
	}
}

func TestDirectDependencies(t *testing.T) {
	for _, test := range []struct {
		name, gomod string
		want        int
	}{
		{"none", "module m\n\ngo 1.26\n", 0},
		{"block", "module m\nrequire (\n\ta v1\n\tb v2\n)\n", 2},
		{"indirect", "module m\nrequire (\n\ta v1\n\tb v2 // indirect\n)\nrequire (\n\tc v1 // indirect\n)\n", 1},
		{"single lines", "module m\nrequire a v1\nrequire b v1 // indirect\n", 1},
		{"other blocks", "module m\nrequire (\n\n\t// words\n\ta v1\n)\nreplace (\n\ta v1 => b v1\n)\ntool (\n\tx/y\n)\n", 1},
		{"reason", "module m\nrequire a v1 // pinned\n", 1},
	} {
		if got := directDependencies(test.gomod); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}
