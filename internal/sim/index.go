package sim

import (
	"sort"
	"strings"
)

// index numbers the names of a workload, so that playing and measuring work on
// slices.
type index struct {
	org, app, run, test, class []int // by job
	runs, tests                int
	tested                     map[[2]string]int   // (org, test) to number
	classes                    []map[string]string // distinct requirements
	over                       [][]bool            // [c][m]: class c requires all that class m does
	serves                     [][]bool            // [class][agent]
	orgs                       map[string]int
	shared                     []bool // by class: agents can serve it, and all of them share installs
}

func newIndex(w *Workload) *index {
	n := len(w.Jobs)
	ix := &index{
		org: make([]int, n), app: make([]int, n), run: make([]int, n), test: make([]int, n), class: make([]int, n),
		tested: map[[2]string]int{}, orgs: map[string]int{},
	}
	for i, o := range w.Orgs {
		ix.orgs[o.ID] = i
	}
	apps := map[[2]string]int{}
	for i, a := range w.Apps {
		apps[[2]string{a.Org, a.Version}] = i
	}
	runs, classes := map[string]int{}, map[string]int{}
	ix.addClass(classes, nil)
	for i, j := range w.Jobs {
		ix.org[i] = ix.orgs[j.Org]
		ix.app[i] = apps[[2]string{j.Org, j.Version}]
		ix.run[i] = number(runs, j.Run)
		ix.test[i] = number(ix.tested, [2]string{j.Org, j.Test})
		ix.class[i] = ix.addClass(classes, j.Requires)
	}
	ix.runs, ix.tests = len(runs), len(ix.tested)
	ix.relate(w)
	return ix
}

func (ix *index) addClass(known map[string]int, requires map[string]string) int {
	keys := make([]string, 0, len(requires))
	for k, v := range requires {
		keys = append(keys, k+"\x00"+v)
	}
	sort.Strings(keys)
	n := number(known, strings.Join(keys, "\x01"))
	if n == len(ix.classes) {
		ix.classes = append(ix.classes, requires)
	}
	return n
}

func (ix *index) relate(w *Workload) {
	for _, c := range ix.classes {
		over := make([]bool, len(ix.classes))
		for m := range ix.classes {
			over[m] = covers(c, ix.classes[m])
		}
		serves, any, all := make([]bool, len(w.Agents)), false, true
		for i, a := range w.Agents {
			serves[i] = covers(a.Labels, c)
			any = any || serves[i]
			all = all && (!serves[i] || a.SharedInstall)
		}
		ix.over = append(ix.over, over)
		ix.serves = append(ix.serves, serves)
		ix.shared = append(ix.shared, any && all)
	}
}

// served reports whether any agent can serve the class.
func (ix *index) served(class int) bool {
	for _, ok := range ix.serves[class] {
		if ok {
			return true
		}
	}
	return false
}

func covers(have, want map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}

func number[K comparable](known map[K]int, key K) int {
	n, ok := known[key]
	if !ok {
		n = len(known)
		known[key] = n
	}
	return n
}
