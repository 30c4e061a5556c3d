package sim

import (
	"slices"
	"strings"
	"testing"

	"github.com/qualgent/qgjob/internal/schedule"
)

// TestVerifyFinds breaks a sound schedule in one way at a time.
func TestVerifyFinds(t *testing.T) {
	w := tiny(
		Job{Requires: on("14"), DurationS: 10, Run: "r"},
		Job{Requires: on("14"), DurationS: 20, Run: "r", Priority: 9},
		Job{Requires: on("15"), DurationS: 15, AtS: 5, Version: "v2"},
		Job{Requires: on("15"), DurationS: 40, AtS: 100},
	)
	w.Agents[1].Outages = [][2]float64{{90, 95}, {150, 160}}
	sound := play(t, w, schedule.RuleQgjob).Schedule()
	of := func(s Schedule, job int) *Attempt {
		for i := range s.Attempts {
			if s.Attempts[i].Job == job {
				return &s.Attempts[i]
			}
		}
		t.Fatalf("no attempt of job %d", job)
		return nil
	}
	move := func(a *Attempt, by float64) { a.AtS, a.BeginS, a.EndS = a.AtS+by, a.BeginS+by, a.EndS+by }
	for _, c := range []struct {
		name  string
		spoil func(s *Schedule)
		says  string
	}{
		{"unknown job", func(s *Schedule) { of(*s, 0).Job = 77 }, "not in the workload"},
		{"unknown agent", func(s *Schedule) { of(*s, 0).Agent = "z" }, "not in the workload"},
		{"before its submission", func(s *Schedule) { move(of(*s, 2), -3) }, "before it was submitted"},
		{"on an agent without the label", func(s *Schedule) { of(*s, 2).Agent = "a" }, "lacks a requirement"},
		{"on a busy agent", func(s *Schedule) { move(of(*s, 0), -5) }, "is busy until"},
		{"through an outage", func(s *Schedule) { move(of(*s, 2), 60) }, "through its outage"},
		{"without its install", func(s *Schedule) { a := of(*s, 2); a.BeginS, a.EndS = a.BeginS-40, a.EndS-40 }, "its install ends"},
		{"too short", func(s *Schedule) { of(*s, 0).EndS -= 5 }, "should last"},
		{"too long", func(s *Schedule) { of(*s, 2).EndS += 5 }, "should last"},
		{"never", func(s *Schedule) { s.Attempts = s.Attempts[:len(s.Attempts)-1] }, "never done"},
		{"twice", func(s *Schedule) { a := *of(*s, 0); move(&a, 100); s.Attempts = append(s.Attempts, a) }, "done twice"},
		{"lost without an outage", func(s *Schedule) { of(*s, 0).Outcome = Lost }, "no outage then"},
		{"strange outcome", func(s *Schedule) { of(*s, 0).Outcome = "maybe" }, "done or lost"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Schedule{Attempts: slices.Clone(sound.Attempts)}
			c.spoil(&s)
			faults := Verify(w, s)
			if len(faults) == 0 {
				t.Fatal("no fault is found")
			}
			if !slices.ContainsFunc(faults, func(f Fault) bool { return strings.Contains(string(f), c.says) }) {
				t.Errorf("faults %q, want one that says %q", faults, c.says)
			}
		})
	}
	if faults := Verify(w, sound); len(faults) != 0 {
		t.Errorf("the sound schedule has faults: %q", faults)
	}
}

func TestVerifyPriorityOrder(t *testing.T) {
	w := tiny(Job{Requires: on("14"), DurationS: 10, AtS: 0}, Job{Requires: on("14"), DurationS: 10, AtS: 0, Priority: 5}, Job{Requires: on("14"), DurationS: 10, AtS: 1, Priority: 9})
	s := Schedule{Attempts: []Attempt{
		{Job: 0, Agent: "a", AtS: 0, BeginS: 30, EndS: 40, Outcome: Done},
		{Job: 1, Agent: "a", AtS: 40, BeginS: 40, EndS: 50, Outcome: Done},
		{Job: 2, Agent: "a", AtS: 50, BeginS: 50, EndS: 60, Outcome: Done},
	}}
	faults := Verify(w, s)
	if len(faults) != 1 || !strings.Contains(string(faults[0]), "job 1 of priority 5 is taken at 40.000, before waiting job 2 of priority 9") {
		t.Errorf("faults %q", faults)
	}
}

func TestVerifyLostJobMayBeOutOfOrder(t *testing.T) {
	w := tiny(Job{Requires: on("14"), DurationS: 10}, Job{Requires: on("14"), DurationS: 10, Priority: 9})
	w.Agents[0].Outages = [][2]float64{{35, 36}}
	s := Schedule{Attempts: []Attempt{
		{Job: 1, Agent: "a", AtS: 0, BeginS: 30, EndS: 35, Outcome: Lost},
		{Job: 0, Agent: "a", AtS: 36, BeginS: 66, EndS: 76, Outcome: Done},
		{Job: 1, Agent: "a", AtS: 76, BeginS: 76, EndS: 86, Outcome: Done},
	}}
	if faults := Verify(w, s); len(faults) != 0 {
		t.Errorf("faults %q", faults)
	}
}

func TestMeasure(t *testing.T) {
	w := tiny(
		Job{Requires: on("14"), DurationS: 10, Run: "r"},
		Job{Requires: on("14"), DurationS: 20, Run: "r"},
		Job{Requires: on("15"), DurationS: 10, Version: "v2", Priority: 8},
	)
	w.Orgs = append(w.Orgs, Org{ID: "p", Weight: 1, Victim: true})
	w.Apps[1].Org, w.Jobs[2].Org = "p", "p"
	m := Measure(w, Schedule{Attempts: []Attempt{
		{Job: 1, Agent: "a", AtS: 0, BeginS: 30, EndS: 50, Outcome: Done},
		{Job: 0, Agent: "a", AtS: 50, BeginS: 50, EndS: 60, Outcome: Done},
		{Job: 2, Agent: "b", AtS: 60, BeginS: 110, EndS: 120, Outcome: Done},
	}})
	same(t, "makespan", m.MakespanS, 120)
	same(t, "makespan over 60", m.MakespanOverBound, 2)
	same(t, "mean time to result", m.MeanTTRS, 90)
	same(t, "mean over 60", m.TTROverBound, 1.5)
	same(t, "slowdown p95", m.SlowdownP95, 2)
	same(t, "urgent slowdown", m.UrgentSlowdown, 2)
	same(t, "urgent start", m.UrgentStartP95S, 110)
	same(t, "longest wait", m.LongestWaitS, 110)
	same(t, "victims", m.VictimsP95, 2)
	same(t, "fairness", m.Jain, 0.9)
	same(t, "time to result p95", m.TTRP95S, 120)
	if m.Installs != 2 || m.Workload != "tiny" {
		t.Errorf("metrics %+v", m)
	}
}

func TestBound(t *testing.T) {
	for _, c := range []struct {
		name         string
		w            *Workload
		makespan, mu float64
	}{
		{"one job: install and test", tiny(Job{Requires: on("14"), DurationS: 10}), 40, 40},
		{"two on one agent, one install", tiny(Job{Requires: on("14"), DurationS: 10, Run: "r"}, Job{Requires: on("14"), DurationS: 20, Run: "r"}), 60, 60},
		{"two on two agents, each with its install", tiny(Job{DurationS: 100, Run: "r"}, Job{DurationS: 100, Run: "r"}), 130, 130},
		{"a late job", tiny(Job{Requires: on("14"), DurationS: 10}, Job{Requires: on("14"), DurationS: 10, AtS: 500}), 510, 35},
		{"an outage", func() *Workload {
			w := tiny(Job{Requires: on("14"), DurationS: 10})
			w.Agents[0].Outages = [][2]float64{{0, 1000}}
			return w
		}(), 1040, 40},
	} {
		b := Bound(c.w)
		if b.Makespan < c.makespan-1e-6 || b.Makespan > c.makespan+1e-6 {
			t.Errorf("%s: the makespan is bound by %v, want %v", c.name, b.Makespan, c.makespan)
		}
		if c.name != "a late job" && (b.MeanTTR < c.mu-1e-6 || b.MeanTTR > c.mu+1e-6) {
			t.Errorf("%s: the mean time to result is bound by %v, want %v", c.name, b.MeanTTR, c.mu)
		}
	}
}

func TestShortestFirst(t *testing.T) {
	// 10 at 0 is interrupted at 2 by 3, which ends at 5; the rest of 8 ends at 13.
	if got := shortestFirst(pool{{release: 0, left: 10}, {release: 2, left: 3}}, 1); got != 13+3 {
		t.Errorf("the sum of times is %v, want 16", got)
	}
	if got := shortestFirst(pool{{release: 100, left: 10}}, 2); got != 5 {
		t.Errorf("one load takes %v, want 5", got)
	}
}

func TestPercentile(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{{nil, 0}, {[]float64{7}, 7}, {[]float64{3, 1, 2}, 3}, {[]float64{20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}, 19}} {
		if got := percentile(c.of, 0.95); got != c.want {
			t.Errorf("95 of 100 of %v are within %v, want %v", c.of, got, c.want)
		}
	}
}
