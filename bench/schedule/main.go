// Command schedule is the benchmark of the scheduling rule.
//
//	go run ./bench/schedule                 the workloads of bench/workloads, beside the prototype's figures
//	go run ./bench/schedule -seeds 20       workloads of the same shapes of one's own making
//
// The first form verifies every schedule and leaves with 1 when the rule
// breaks a rule of the game, or when a workload is more than 2 % worse than the
// prototype in makespan or time to result, or more than 10 % in installs or in
// what a noisy neighbour does to its victims. Tune on the second form only: the
// rule is judged on workloads that are not published.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/qualgent/qgjob/internal/schedule"
	"github.com/qualgent/qgjob/internal/sim"
)

func main() {
	dir := flag.String("workloads", "bench/workloads", "folder of the workload files")
	seeds := flag.Int("seeds", 0, "play workloads of so many seeds instead of the files")
	first := flag.Uint64("first", 1, "the first seed")
	policy := schedule.DefaultPolicy()
	flag.Float64Var(&policy.PerLevel, "per-level", policy.PerLevel, "seconds of waiting that a priority level is worth")
	flag.Float64Var(&policy.Affinity, "affinity", policy.Affinity, "seconds of waiting that a second of install is worth")
	flag.Float64Var(&policy.Keep, "keep", policy.Keep, "seconds of waiting that keeping the installed build is worth")
	flag.Float64Var(&policy.Nearness, "nearness", policy.Nearness, "seconds of waiting that a second less of remaining work is worth")
	flag.Float64Var(&policy.Nearest, "nearest", policy.Nearest, "the most that nearness may cost")
	flag.Float64Var(&policy.Smallness, "smallness", policy.Smallness, "how much more the waiting of a small run counts")
	flag.Float64Var(&policy.Tolerance, "tolerance", policy.Tolerance, "seconds of lag that are forgiven")
	flag.Float64Var(&policy.Fairness, "fairness", policy.Fairness, "weight of an org's lag")
	flag.Float64Var(&policy.Thrift, "thrift", policy.Thrift, "price of an install")
	flag.Float64Var(&policy.LoadShare, "load-share", policy.LoadShare, "runs that a full fleet adds to the price of an install")
	flag.Parse()
	if *seeds > 0 {
		exit(playSeeds(os.Stdout, policy, *first, *seeds))
	}
	exit(playFiles(os.Stdout, policy, *dir))
}

func exit(ok bool, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/schedule:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
	os.Exit(0)
}

// play runs a workload under a rule, verifies the schedule and measures it.
func play(w *sim.Workload, b sim.Bounds, p schedule.Policy) (sim.Metrics, []sim.Fault, error) {
	r, err := sim.Run(w, p)
	if err != nil {
		return sim.Metrics{}, nil, err
	}
	s := r.Schedule()
	var faults []sim.Fault
	if p.Rule != schedule.RuleFIFO { // which ignores priorities by intent
		faults = sim.Verify(w, s)
	}
	return sim.MeasureWith(w, s, b), faults, nil
}

const header = "| workload | policy | makespan/bound | installs | ttr/bound | slowdown p95 | urgent slowdown | longest wait s | victims p95 |\n|---|---|---|---|---|---|---|---|---|\n"

func line(out io.Writer, name, policy string, f figures) {
	fmt.Fprintf(out, "| %s | %s | %.3f | %.1f | %.2f | %.2f | %.2f | %.0f | %.2f |\n",
		name, policy, f.makespan, f.installs, f.ttr, f.slowdown, f.urgent, f.wait, f.victims)
}
