package report

import (
	"encoding/xml"
	"slices"
	"strconv"
	"strings"
)

// junitCount is what a suite really holds.
type junitCount struct {
	tests       int // testcases
	bad         int // testcases that failed or erred
	badElements int // failure and error elements in testcases; some writers count these
	outside     int // failure and error elements outside testcases
	skipped     int // testcases marked skipped
	notRun      int // testcases that only their status attribute calls not run
}

func (c *junitCount) add(d junitCount) {
	c.tests += d.tests
	c.bad += d.bad
	c.badElements += d.badElements
	c.outside += d.outside
	c.skipped += d.skipped
	c.notRun += d.notRun
}

// checkCounts holds the count attributes of a suite against its content. Writers differ in whether a suite counts the suites inside it, whether
// tests includes the skipped ones, and whether a test that both failed and erred counts once or twice; every such reading is accepted, and
// nothing else is: a report that says "2 failures" and shows none has lost them.
func checkCounts(start xml.StartElement, own, total junitCount) error {
	tests, err := countAttr(start, "tests")
	if err != nil {
		return err
	}
	skipped, err := countAttr(start, "skipped")
	if err != nil {
		return err
	}
	failures, err := countAttr(start, "failures")
	if err != nil {
		return err
	}
	errs, err := countAttr(start, "errors")
	if err != nil {
		return err
	}
	bad := -1
	if failures >= 0 || errs >= 0 {
		bad = max(failures, 0) + max(errs, 0)
	}
	for _, row := range []struct {
		name  string
		says  int
		holds func(junitCount) []int
	}{
		{"tests", tests, func(c junitCount) []int { return []int{c.tests, c.tests - c.skipped, c.tests - c.skipped - c.notRun} }},
		{"failures and errors", bad, func(c junitCount) []int {
			return []int{c.bad, c.badElements, c.bad + c.outside, c.badElements + c.outside}
		}},
		{"skipped", skipped, func(c junitCount) []int { return []int{c.skipped, c.skipped + c.notRun} }},
	} {
		if row.says >= 0 && !slices.Contains(row.holds(own), row.says) && !slices.Contains(row.holds(total), row.says) {
			return unreadable("JUnit", "it contradicts itself: <%s name=%q> says %d %s, it holds %d",
				start.Name.Local, clip(Clean(attr(start, "name")), 100), row.says, row.name, row.holds(total)[0])
		}
	}
	return nil
}

// countAttr reads a count; -1 when the attribute is not there.
func countAttr(start xml.StartElement, name string) (int, error) {
	for _, a := range start.Attr {
		if a.Name.Local != name || a.Name.Space != "" {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(a.Value))
		if err != nil || n < 0 {
			return 0, unreadable("JUnit", "<%s> has %s=%q, which is no count", start.Name.Local, name, clip(Clean(a.Value), 40))
		}
		return n, nil
	}
	return -1, nil
}
