package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"sync"

	"github.com/qualgent/qgjob/internal/schedule"
	"github.com/qualgent/qgjob/internal/sim"
)

var bcache sync.Map

type row struct{ ms, inst, ttr, s95, urg, wait, vic float64 }

func evaluate(p schedule.Policy, shapes []string, seeds []uint64) map[string][]row {
	out := map[string][]row{}
	for _, s := range shapes {
		out[s] = make([]row, len(seeds))
	}
	var wg sync.WaitGroup
	sem := make(chan bool, runtime.NumCPU())
	for _, s := range shapes {
		for i, seed := range seeds {
			wg.Add(1)
			sem <- true
			go func() {
				defer func() { <-sem; wg.Done() }()
				type wb struct {
					w *sim.Workload
					b sim.Bounds
				}
				key := fmt.Sprint(s, seed)
				v, ok := bcache.Load(key)
				if !ok {
					w, err := sim.Generate(s, seed)
					if err != nil {
						panic(err)
					}
					v = wb{w, sim.Bound(w)}
					bcache.Store(key, v)
				}
				x := v.(wb)
				r, err := sim.Run(x.w, p)
				if err != nil {
					fmt.Println(err)
					os.Exit(1)
				}
				m := sim.MeasureWith(x.w, r.Schedule(), x.b)
				out[s][i] = row{m.MakespanOverBound, float64(m.Installs), m.TTROverBound, m.SlowdownP95, m.UrgentSlowdown, m.LongestWaitS, m.VictimsP95}
			}()
		}
	}
	wg.Wait()
	return out
}

func avg(rs []row, f func(row) float64) float64 {
	s := 0.0
	for _, r := range rs {
		s += f(r)
	}
	return s / float64(len(rs))
}

// compare prints candidate/base per shape.
func compare(name string, base, cand map[string][]row, detail bool) {
	g, gw := 0.0, 0.0
	n := 0.0
	line := ""
	worst := 0.0
	for _, s := range sim.Shapes {
		b, c := base[s], cand[s]
		if b == nil {
			continue
		}
		rt := func(f func(row) float64) float64 {
			x, y := avg(c, f), avg(b, f)
			if y == 0 {
				return 1
			}
			return x / y
		}
		pm := 0.0
		bad := 0
		for i := range b {
			pm += math.Log(c[i].ttr / b[i].ttr)
			if c[i].ttr > 1.02*b[i].ttr || c[i].ms > 1.02*b[i].ms {
				bad++
			}
		}
		t := math.Exp(pm / float64(len(b)))
		g += math.Log(t)
		n++
		gw += math.Log(rt(func(r row) float64 { return r.inst }))
		worst = math.Max(worst, t)
		if detail {
			line += fmt.Sprintf("  %-9s ttr %.3f(%.3f->%.3f) ms %.3f inst %.3f s95 %.3f urg %.3f wait %.3f vic %.3f bad %d/%d\n", s, t, avg(b, func(r row) float64 { return r.ttr }), avg(c, func(r row) float64 { return r.ttr }),
				rt(func(r row) float64 { return r.ms }), rt(func(r row) float64 { return r.inst }), rt(func(r row) float64 { return r.s95 }), rt(func(r row) float64 { return r.urg }), rt(func(r row) float64 { return r.wait }), rt(func(r row) float64 { return r.vic }), bad, len(b))
		} else {
			line += fmt.Sprintf(" %.3f/%.2f", t, rt(func(r row) float64 { return r.inst }))
		}
	}
	sep := ""
	if detail {
		sep = "\n"
	}
	fmt.Printf("%-34s G %.4f inst %.3f worst %.3f%s%s\n", name, math.Exp(g/n), math.Exp(gw/n), worst, sep, line)
}
