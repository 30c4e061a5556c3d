// Command schedule plays workload files through a rule and prints one line of
// metrics for each.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/qualgent/qgjob/internal/schedule"
	"github.com/qualgent/qgjob/internal/sim"
)

func main() {
	if os.Args[1] == "tune" {
		tune(os.Args[2:])
		return
	}
	dir, rule, out := os.Args[1], os.Args[2], os.Args[3]
	files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
	for _, name := range files {
		f, _ := os.Open(name)
		w, err := sim.Load(f)
		if err != nil {
			fmt.Println(name, err)
			os.Exit(1)
		}
		p := schedule.DefaultPolicy()
		p.Rule = schedule.Rule(rule)
		t := time.Now()
		r, err := sim.Run(w, p)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		d := time.Since(t)
		m := sim.Measure(w, r.Schedule())
		fmt.Printf("%-10s ms %.3f inst %4d ttr %.3f slow95 %.2f urg %.2f wait %.0f vic %.2f | faults %d, %d decisions in %v\n", w.Name, m.MakespanOverBound, m.Installs, m.TTROverBound, m.SlowdownP95, m.UrgentSlowdown, m.LongestWaitS, m.VictimsP95, len(sim.Verify(w, r.Schedule())), r.Decisions, d)
		o, _ := os.Create(filepath.Join(out, filepath.Base(name)))
		r.Schedule().Write(o)
		o.Close()
	}
}
