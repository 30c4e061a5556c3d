package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/qualgent/qgjob/internal/schedule"
	"github.com/qualgent/qgjob/internal/sim"
)

// figures are the columns of the table.
type figures struct{ makespan, installs, ttr, slowdown, urgent, wait, victims float64 }

func of(m sim.Metrics) figures {
	return figures{m.MakespanOverBound, float64(m.Installs), m.TTROverBound, m.SlowdownP95, m.UrgentSlowdown, m.LongestWaitS, m.VictimsP95}
}

func (f figures) plus(g figures, share float64) figures {
	return figures{
		f.makespan + g.makespan*share, f.installs + g.installs*share, f.ttr + g.ttr*share, f.slowdown + g.slowdown*share,
		f.urgent + g.urgent*share, f.wait + g.wait*share, f.victims + g.victims*share,
	}
}

// prototype is what a prototype of the rule reached on the files of
// bench/workloads, as written down when the project began.
var prototype = map[string]figures{
	"nightly":   {1.033, 54, 1.12, 2.95, 0, 4757, 0},
	"prstorm":   {1.020, 519, 1.59, 3.36, 0, 1343, 0},
	"prheavy":   {1.049, 430, 2.21, 4.82, 0, 1518, 0},
	"lowload":   {1.014, 170, 1.22, 1.90, 0, 621, 0},
	"noisy":     {1.130, 440, 1.36, 31.91, 0, 10312, 2.18},
	"hotfix":    {1.132, 100, 1.56, 9.76, 1.18, 5182, 0},
	"heavytail": {1.167, 156, 1.88, 8.72, 0, 3646, 0},
	"hetero":    {1.011, 281, 1.34, 1.89, 0, 922, 0},
	"failures":  {1.038, 484, 2.05, 4.54, 0, 1426, 0},
	"mixedday":  {1.002, 509, 1.83, 3.65, 1.26, 3590, 0},
	"starve":    {1.038, 361, 2.09, 6.45, 3.12, 6641, 0},
}

// worse names what is worse than allowed: 2 % in makespan and time to result,
// 10 % in installs and victims.
func (f figures) worse(than figures) []string {
	var list []string
	check := func(what string, got, had, allowed float64) {
		if got > had*allowed+1e-9 {
			list = append(list, fmt.Sprintf("%s %.3f is %.1f %% worse than %.3f", what, got, 100*(got/had-1), had))
		}
	}
	check("makespan", f.makespan, than.makespan, 1.02)
	check("time to result", f.ttr, than.ttr, 1.02)
	check("installs", f.installs, than.installs, 1.10)
	check("victims", f.victims, than.victims, 1.10)
	return list
}

// playFiles plays every file of a folder under every rule.
func playFiles(out io.Writer, p schedule.Policy, dir string) (ok bool, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("no workload in %s; run from the top of the repository", dir)
	}
	if err != nil {
		return false, err
	}
	fmt.Fprint(out, header)
	var complaints []string
	logs, files := 0.0, 0.0
	for _, name := range names {
		w, err := load(name)
		if err != nil {
			return false, err
		}
		b := sim.Bound(w)
		for _, rule := range schedule.Rules {
			q := p
			q.Rule = rule
			m, faults, err := play(w, b, q)
			if err != nil {
				return false, err
			}
			for _, f := range faults {
				complaints = append(complaints, fmt.Sprintf("%s under %s: %s", w.Name, rule, f))
			}
			f := of(m)
			line(out, w.Name, string(rule), f)
			if had, known := prototype[w.Name]; known && rule == schedule.RuleQgjob {
				line(out, w.Name, "prototype", had)
				for _, c := range f.worse(had) {
					complaints = append(complaints, w.Name+": "+c)
				}
				logs, files = logs+math.Log(f.ttr/had.ttr), files+1
			}
		}
	}
	if files > 0 {
		fmt.Fprintf(out, "\ntime to result beside the prototype, geometric mean of %.0f workloads: %.3f\n", files, math.Exp(logs/files))
	}
	for _, c := range complaints {
		fmt.Fprintln(out, "WORSE", c)
	}
	return len(complaints) == 0, nil
}

func load(name string) (*sim.Workload, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	w, err := sim.Load(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return w, nil
}

// playSeeds plays every shape with so many seeds and prints the means.
func playSeeds(out io.Writer, p schedule.Policy, first uint64, n int) (ok bool, err error) {
	fmt.Fprint(out, header)
	ok = true
	logs := 0.0
	for _, shape := range sim.Shapes {
		var mean figures
		for seed := range uint64(n) {
			w, err := sim.Generate(shape, first+seed)
			if err != nil {
				return false, err
			}
			m, faults, err := play(w, sim.Bound(w), p)
			if err != nil {
				return false, err
			}
			for _, f := range faults {
				ok = false
				fmt.Fprintf(out, "FAULT %s seed %d: %s\n", shape, first+seed, f)
			}
			mean = mean.plus(of(m), 1/float64(n))
			logs += math.Log(m.TTROverBound)
		}
		line(out, shape, string(p.Rule), mean)
	}
	fmt.Fprintf(out, "\ntime to result over the bound, geometric mean: %.4f\n", math.Exp(logs/float64(n*len(sim.Shapes))))
	return ok, nil
}
