package main

import (
	"path"
	"regexp"
	"strings"
)

// lineRule is a pattern that no line may hold. The brackets inside the patterns keep them from finding themselves.
type lineRule struct {
	name   string
	goOnly bool
	found  *regexp.Regexp
	what   string
}

var lineRules = []lineRule{
	{"unfinished work", true, regexp.MustCompile(`\b(TO[D]O|FIX[M]E)\b|\b[Nn]ot[ ]implemented\b`), "unfinished"},
	// A slash path of a build machine or of somebody's home, where it begins a path: not inside an address, a variable or a longer path.
	{"machine paths", false, regexp.MustCompile(`(^|[^\w./\-})])/(tm[p]|wor[k]|roo[t]|hom[e]/\w+|User[s]/\w+)(/|["'` + "`" + `\s:,;)]|$)`), "path of a machine"},
	{"registry hosts", false, regexp.MustCompile(`registry[.](npmjs|yarnpkg|npmmirror)[.]|(proxy|sum)[.]golang[.]org|(files[.]pythonhosted|pypi)[.]org|"resolved":\s*"https?:|^\s*(@[\w-]+:)?registry\s*=\s*["']?https?:`), "host of a package registry"},
}

// match finds a rule's breaches in a file and splits off those that the line itself waives.
func (r lineRule) match(file textFile) (broken, waived []finding) {
	if r.goOnly && !strings.HasSuffix(file.path, ".go") {
		return nil, nil
	}
	if path.Base(file.path) == "go.sum" || strings.HasSuffix(file.path, ".min.js") {
		return nil, nil
	}
	for i, line := range file.lines {
		if !r.found.MatchString(line) {
			continue
		}
		at := finding{file.path, i + 1, r.what + ": " + clip(strings.TrimSpace(line))}
		if waiver.MatchString(line) {
			waived = append(waived, at)
		} else {
			broken = append(broken, at)
		}
	}
	return broken, waived
}

// clip keeps a line of output readable; bytes are good enough for a hint.
func clip(line string) string {
	const most = 100
	if len(line) > most {
		return strings.ToValidUTF8(line[:most], "") + "…"
	}
	return line
}

// directDependencies counts the modules that go.mod requires without the remark "// indirect".
func directDependencies(gomod string) int {
	count, inBlock := 0, false
	for line := range strings.Lines(gomod) {
		line = strings.TrimSpace(line)
		switch {
		case line == "require (":
			inBlock = true
		case line == ")":
			inBlock = false
		case line == "" || strings.HasPrefix(line, "//") || strings.HasSuffix(line, "// indirect"):
		case inBlock || strings.HasPrefix(line, "require "):
			count++
		}
	}
	return count
}
