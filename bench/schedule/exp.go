package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"

	"github.com/qualgent/qgjob/internal/schedule"
	"github.com/qualgent/qgjob/internal/sim"
)

func cost(base, cand map[string][]row) (float64, float64) {
	g, pen := 0.0, 0.0
	for _, s := range sim.Shapes {
		b, c := base[s], cand[s]
		t := 0.0
		for i := range b {
			t += math.Log(c[i].ttr/b[i].ttr) / float64(len(b))
		}
		g += t / 11
		pen += math.Max(0, t-0.002)
		r := func(f func(row) float64) float64 { return math.Log((avg(c, f) + 1e-9) / (avg(b, f) + 1e-9)) }
		pen += 2 * math.Max(0, r(func(r row) float64 { return r.ms })-0.003)
		pen += math.Max(0, r(func(r row) float64 { return r.inst })-0.04)
		pen += math.Max(0, r(func(r row) float64 { return r.vic })-0.03)
		pen += math.Max(0, r(func(r row) float64 { return r.urg })-0.03)
	}
	return g + pen, g
}

func tune(args []string) {
	seed, _ := strconv.Atoi(args[0])
	iters, _ := strconv.Atoi(args[1])
	var seeds []uint64
	for i := uint64(1); i <= 12; i++ {
		seeds = append(seeds, 1000+i)
	}
	base := evaluate(schedule.DefaultPolicy(), sim.Shapes, seeds)
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	lg := func(a, b float64) float64 { return math.Exp(math.Log(a) + r.Float64()*math.Log(b/a)) }
	best := 1.0
	bp := schedule.DefaultPolicy()
	for n := 0; n < iters; n++ {
		q := bp
		draw := func(p float64) bool { return n < iters/3 || r.Float64() < p }
		if draw(.3) {
			q.Affinity = lg(5, 60)
		}
		if draw(.3) {
			q.Thrift = lg(1, 4)
		}
		if draw(.3) {
			q.LoadShare = lg(0.05, 1.5)
		}
		if draw(.3) {
			q.Fairness = lg(2, 8)
		}
		if draw(.2) {
			q.X[3] = float64(r.IntN(4))
		}
		if draw(.3) {
			q.X[10] = lg(0.5, 20)
		}
		if draw(.2) {
			q.X[11] = lg(200, 4000)
		}
		if draw(.2) {
			q.X[12] = float64(r.IntN(2))
		}
		if draw(.2) {
			q.X[13] = float64(r.IntN(2))
		}
		if draw(.3) {
			q.X[2] = 0
			if r.IntN(2) == 0 {
				q.X[2] = lg(100, 3000)
			}
		}
		if draw(.3) {
			q.X[7] = 0
			if r.IntN(2) == 0 {
				q.X[7] = lg(20, 1000)
			}
		}
		if draw(.2) {
			q.X[9] = lg(0.3, 3)
		}
		c := evaluate(q, sim.Shapes, seeds)
		if v, g := cost(base, c); v < best {
			best, bp = v, q
			fmt.Printf("n %d v %.4f g %.4f aff %.1f P %.2f load %.2f phi %.2f X %v\n", n, v, math.Exp(g), q.Affinity, q.Thrift, q.LoadShare, q.Fairness, q.X[:14])
			compare("", base, c, false)
		}
	}
}
