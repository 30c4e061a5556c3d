package main

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// The limits. They are those of loved Go projects, measured: see docs/ARCHITECTURE.md.
const (
	maxFileLines    = 800
	maxMedianLines  = 200
	longFunction    = 80   // lines from which a function counts as long
	maxLongShare    = 0.01 // of all functions
	minTestRatio    = 1.2  // lines of test per line of code
	minPureRatio    = 3.0  // the same in the rooms that decide
	maxDependencies = 25
)

// pureRooms are held to minPureRatio.
var pureRooms = []string{"internal/schedule", "internal/lease"}

// row is one line of the table.
type row struct {
	name   string
	figure string
	limit  string
	broken bool
	ratio  bool      // of the kind that a young tree is forgiven
	note   string    // stands in the last column instead of "ok"
	list   []finding // shown under the table
	waived []finding
}

// measure gives all rows in a fixed order.
func measure(t *tree) []row {
	rows := append(sizes(t), docs(t)...)
	rows = append(rows, ratio("test:code, all", t.golang, minTestRatio))
	for _, room := range pureRooms {
		inside := slices.DeleteFunc(slices.Clone(t.golang), func(f *goFile) bool { return !strings.HasPrefix(f.path, room+"/") })
		rows = append(rows, ratio("test:code, "+path.Base(room), inside, minPureRatio))
	}
	deps := directDependencies(t.gomod)
	rows = append(rows, row{name: "direct dependencies", figure: fmt.Sprint(deps), limit: fmt.Sprintf("≤ %d", maxDependencies),
		broken: deps > maxDependencies || t.gomod == ""})
	rows = append(rows, lineRows(t)...)
	changelog := row{name: "CHANGELOG.md", figure: "present", limit: "present"}
	if !t.paths["CHANGELOG.md"] {
		changelog.figure, changelog.broken = "missing", true
	}
	return append(rows, changelog)
}

// sizes measures files and functions, tests included.
func sizes(t *tree) []row {
	var written []*goFile
	var long []finding
	functions := 0
	for _, f := range t.golang {
		if f.generated {
			continue
		}
		written = append(written, f)
		for _, function := range f.funcs {
			functions++
			if function.lines > longFunction {
				long = append(long, finding{f.path, function.line, fmt.Sprintf("%s has %d lines", function.name, function.lines)})
			}
		}
	}
	if len(written) == 0 {
		return []row{{name: "Go files", figure: "0", limit: "≥ 1", broken: true}}
	}
	slices.SortStableFunc(written, func(a, b *goFile) int { return cmp.Compare(a.lines, b.lines) })
	median, largest := written[len(written)/2].lines, written[len(written)-1]
	var tooLong []finding
	for _, f := range written {
		if f.lines > maxFileLines {
			tooLong = append(tooLong, finding{f.path, f.lines, fmt.Sprintf("file has %d lines", f.lines)})
		}
	}
	share := 0.0
	if functions > 0 {
		share = float64(len(long)) / float64(functions)
	}
	return []row{
		{name: "largest file, lines", figure: fmt.Sprintf("%d", largest.lines), limit: fmt.Sprintf("≤ %d", maxFileLines), broken: len(tooLong) > 0, list: tooLong},
		{name: "median file, lines", figure: fmt.Sprint(median), limit: fmt.Sprintf("≤ %d", maxMedianLines), broken: median > maxMedianLines},
		{name: fmt.Sprintf("functions > %d lines", longFunction), figure: fmt.Sprintf("%d of %d (%.1f %%)", len(long), functions, share*100),
			limit: fmt.Sprintf("≤ %g %%", maxLongShare*100), broken: share > maxLongShare, list: long},
	}
}

// docs looks for exported names and packages without a comment.
func docs(t *tree) []row {
	var names, packages []finding
	first := map[string]string{}
	documented := map[string]bool{}
	for _, f := range t.golang {
		names = append(names, f.undocumented...)
		if strings.HasSuffix(f.path, "_test.go") || f.generated {
			continue
		}
		dir := path.Dir(f.path)
		if first[dir] == "" {
			first[dir] = f.path
		}
		documented[dir] = documented[dir] || f.hasDoc
	}
	for dir, file := range first {
		if !documented[dir] {
			packages = append(packages, finding{file, 1, "package " + dir + " has no comment"})
		}
	}
	slices.SortFunc(packages, func(a, b finding) int { return cmp.Compare(a.path, b.path) })
	return []row{none("exported names undocumented", names, nil), none("packages uncommented", packages, nil)}
}

// ratio compares lines of test with lines of code. No code at all breaks it: a check that finds nothing must not pass.
func ratio(name string, files []*goFile, least float64) row {
	code, test := 0, 0
	for _, f := range files {
		switch {
		case f.test:
			test += f.lines
		case !f.generated:
			code += f.lines
		}
	}
	r := row{name: name, limit: fmt.Sprintf("≥ %g", least), ratio: true}
	if code == 0 {
		r.figure, r.broken = "no code", true
		return r
	}
	got := float64(test) / float64(code)
	r.figure = fmt.Sprintf("%.2f (%d:%d)", got, test, code)
	r.broken = got < least
	return r
}

// lineRows applies the rules about single lines.
func lineRows(t *tree) []row {
	byPath := map[string]textFile{}
	for _, file := range t.text {
		byPath[file.path] = file
	}
	var rows []row
	for _, rule := range lineRules {
		var broken, waived []finding
		for _, file := range t.text {
			b, w := rule.match(file)
			broken, waived = append(broken, b...), append(waived, w...)
		}
		rows = append(rows, none(rule.name, broken, waived))
	}
	var sleeps, shells []finding
	for _, f := range t.golang {
		sleeps, shells = append(sleeps, f.sleeps...), append(shells, f.shells...)
	}
	for _, found := range []struct {
		name string
		all  []finding
	}{{"sleeps", sleeps}, {"shells", shells}} {
		var broken, waived []finding
		for _, at := range found.all {
			if waiver.MatchString(byPath[at.path].lines[at.line-1]) {
				waived = append(waived, at)
			} else {
				broken = append(broken, at)
			}
		}
		rows = append(rows, none(found.name, broken, waived))
	}
	return rows
}

// none is a row whose only good figure is 0.
func none(name string, broken, waived []finding) row {
	return row{name: name, figure: fmt.Sprint(len(broken)), limit: "0", broken: len(broken) > 0, list: broken, waived: waived}
}

// forgiveRatios keeps the ratios in the table without letting them fail.
func forgiveRatios(rows []row) {
	for i := range rows {
		if rows[i].ratio && rows[i].broken {
			rows[i].broken, rows[i].note = false, "below, forgiven by -young"
		}
	}
}
