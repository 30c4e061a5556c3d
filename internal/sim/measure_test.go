package sim

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/qualgent/qgjob/internal/schedule"
)

// done is a finished attempt of a job on an agent.
func done(job int, agent string, at, begin, end float64) Attempt {
	return Attempt{Job: job, Agent: agent, AtS: at, BeginS: begin, EndS: end, Outcome: Done}
}

// TestMeasureByHand computes one metric after the other on schedules that fit
// on a sheet of paper.
func TestMeasureByHand(t *testing.T) {
	two := func() *Workload {
		return tiny(Job{Requires: on("14"), DurationS: 10, AtS: 5, Run: "x"}, Job{Requires: on("15"), DurationS: 30, AtS: 20, Run: "y", Priority: 9})
	}
	lost := two()
	lost.Agents[0].Outages = [][2]float64{{38, 39}}
	shared := two()
	shared.Agents[0].SharedInstall, shared.Agents[1].SharedInstall = true, true
	for _, c := range []struct {
		name string
		w    *Workload
		s    []Attempt
		want func(m Metrics) (string, float64, float64)
	}{
		{"the makespan is from the start of the workload", two(), []Attempt{done(0, "a", 5, 35, 45), done(1, "b", 20, 50, 80)},
			func(m Metrics) (string, float64, float64) { return "makespan", m.MakespanS, 80 }},
		{"a time to result is from the run's submission", two(), []Attempt{done(0, "a", 5, 35, 45), done(1, "b", 20, 50, 80)},
			func(m Metrics) (string, float64, float64) { return "mean", m.MeanTTRS, 50 }},
		{"of two runs, 95 of 100 are both", two(), []Attempt{done(0, "a", 5, 35, 45), done(1, "b", 20, 50, 80)},
			func(m Metrics) (string, float64, float64) { return "p95", m.TTRP95S, 60 }},
		{"a wait is until the test begins", two(), []Attempt{done(0, "a", 5, 35, 45), done(1, "b", 40, 70, 100)},
			func(m Metrics) (string, float64, float64) { return "longest wait", m.LongestWaitS, 50 }},
		{"urgent is priority 8 and above", two(), []Attempt{done(0, "a", 5, 35, 45), done(1, "b", 40, 70, 100)},
			func(m Metrics) (string, float64, float64) { return "urgent start", m.UrgentStartP95S, 50 }},
		{"a job that is not done is left out", two(), []Attempt{done(0, "a", 5, 35, 45)},
			func(m Metrics) (string, float64, float64) { return "makespan", m.MakespanS, 45 }},
		{"nothing done is nothing", two(), nil,
			func(m Metrics) (string, float64, float64) {
				return "all", m.MakespanS + m.MeanTTRS + m.TTRP95S + m.Jain, 0
			}},
		{"an install for each agent", two(), []Attempt{done(0, "a", 5, 35, 45), done(1, "b", 20, 50, 80)},
			func(m Metrics) (string, float64, float64) { return "installs", float64(m.Installs), 2 }},
		{"an outage wipes the agent", lost, []Attempt{
			{Job: 0, Agent: "a", AtS: 5, BeginS: 35, EndS: 38, Outcome: Lost}, done(0, "a", 68, 98, 108), done(1, "b", 20, 50, 80),
		}, func(m Metrics) (string, float64, float64) { return "installs", float64(m.Installs), 3 }},
		{"one upload serves all", shared, []Attempt{done(0, "a", 5, 35, 45), done(1, "b", 20, 35, 65)},
			func(m Metrics) (string, float64, float64) { return "installs", float64(m.Installs), 1 }},
		{"no victims, no figure", two(), []Attempt{done(0, "a", 5, 35, 45)},
			func(m Metrics) (string, float64, float64) { return "victims", m.VictimsP95, 0 }},
		{"one org is fair to itself", two(), []Attempt{done(0, "a", 5, 35, 45), done(1, "b", 20, 50, 80)},
			func(m Metrics) (string, float64, float64) { return "fairness", m.Jain, 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			what, got, want := c.want(Measure(c.w, Schedule{Attempts: c.s}))
			same(t, what, got, want)
		})
	}
}

// TestMeasureForgetsTheOrderOfAttempts: a schedule is a set; a file may list it
// in any order.
func TestMeasureForgetsTheOrderOfAttempts(t *testing.T) {
	w := generate(t, "failures", 12)
	s := play(t, w, schedule.RuleQgjob).Schedule()
	turned := Schedule{}
	for i := range s.Attempts {
		turned.Attempts = append(turned.Attempts, s.Attempts[len(s.Attempts)-1-i])
	}
	b := Bound(w)
	if x, y := MeasureWith(w, s, b), MeasureWith(w, turned, b); x != y {
		t.Errorf("in order %+v, turned %+v", x, y)
	}
	if faults := Verify(w, turned); len(faults) > 0 {
		t.Errorf("turned it has faults: %q", faults[0])
	}
}

// TestVerifyAllowsRounding: schedules are written with rounding; a thousandth
// of a second is no fault, a hundredth is.
func TestVerifyAllowsRounding(t *testing.T) {
	w := tiny(Job{Requires: on("14"), DurationS: 10}, Job{Requires: on("14"), DurationS: 10})
	for _, c := range []struct {
		off    float64
		faults bool
	}{{0, false}, {0.0009, false}, {0.01, true}} {
		s := Schedule{Attempts: []Attempt{done(0, "a", 0, 30-c.off, 40-c.off), done(1, "a", 40-2*c.off, 40-2*c.off, 50-2*c.off)}}
		if faults := Verify(w, s); (len(faults) > 0) != c.faults {
			t.Errorf("off by %v s: faults %q", c.off, faults)
		}
	}
}

// TestVerifySharedInstalls: a second agent of a device cloud waits for the
// upload that runs, and not for one of its own.
func TestVerifySharedInstalls(t *testing.T) {
	w := tiny(Job{DurationS: 10, Run: "r"}, Job{DurationS: 10, Run: "r"})
	w.Agents[0].SharedInstall, w.Agents[1].SharedInstall = true, true
	for _, c := range []struct {
		name   string
		second Attempt
		says   string
	}{
		{"waits for what remains", done(1, "b", 20, 30, 40), ""},
		{"waits for a whole upload", done(1, "b", 20, 50, 60), ""},
		{"does not wait", done(1, "b", 20, 20, 30), "its install ends at 30.000"},
	} {
		faults := Verify(w, Schedule{Attempts: []Attempt{done(0, "a", 0, 30, 40), c.second}})
		if c.says == "" && len(faults) > 0 || c.says != "" && (len(faults) != 1 || !strings.Contains(string(faults[0]), c.says)) {
			t.Errorf("%s: faults %q, want %q", c.name, faults, c.says)
		}
	}
}

// TestVerifyBlankAfterAnOutage: an agent that was away has no app any more.
func TestVerifyBlankAfterAnOutage(t *testing.T) {
	w := tiny(Job{Requires: on("14"), DurationS: 10}, Job{Requires: on("14"), DurationS: 10, AtS: 100})
	w.Agents[0].Outages = [][2]float64{{60, 70}}
	first := done(0, "a", 0, 30, 40)
	if faults := Verify(w, Schedule{Attempts: []Attempt{first, done(1, "a", 100, 100, 110)}}); len(faults) != 1 || !strings.Contains(string(faults[0]), "its install ends at 130") {
		t.Errorf("without an install after the outage: faults %q", faults)
	}
	if faults := Verify(w, Schedule{Attempts: []Attempt{first, done(1, "a", 100, 130, 140)}}); len(faults) != 0 {
		t.Errorf("with one: faults %q", faults)
	}
}

// TestTimelineEscapesEverything: every name of a workload is somebody's text.
func TestTimelineEscapesEverything(t *testing.T) {
	const evil = `"><script>alert('x')</script>&`
	w := tiny(Job{DurationS: 10, Test: evil, Run: evil, Version: evil})
	w.Name, w.Orgs[0].ID, w.Agents[0].ID, w.Apps[0].Version = evil, evil, evil, evil
	for i := range w.Apps {
		w.Apps[i].Org = evil
	}
	w.Jobs[0].Org = evil
	w.Agents[1].ID = evil + "2"
	w.Agents[0].Outages = [][2]float64{{500, 600}}
	var b bytes.Buffer
	if err := WriteTimeline(&b, w, play(t, w, schedule.RuleQgjob).Schedule()); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, bad := range []string{"<script", `"><`, "alert('"} {
		if n := strings.Count(page, bad); n > 0 && bad != `"><` || bad == `"><` && strings.Contains(page, evil) {
			t.Errorf("the page holds %q %d times", bad, n)
		}
	}
	if !strings.Contains(page, "&lt;script&gt;") || !strings.Contains(page, "&amp;") {
		t.Error("the names are not shown at all")
	}
}

// TestTimelineOfStrangers: attempts of jobs and agents that the workload does
// not have are left out, and an empty schedule is an empty page.
func TestTimelineOfStrangers(t *testing.T) {
	w := tiny(Job{DurationS: 10})
	for _, s := range []Schedule{{}, {Attempts: []Attempt{done(7, "a", 0, 0, 1), done(0, "zz", 0, 0, 1)}}} {
		var b bytes.Buffer
		if err := WriteTimeline(&b, w, s); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.String(), "<rect"); n != 0 {
			t.Errorf("%d bars for %+v", n, s)
		}
	}
}

// TestTimelineTellsItsWriter: a full disk is an error, not half a page.
func TestTimelineTellsItsWriter(t *testing.T) {
	w := generate(t, "lowload", 1)
	if err := WriteTimeline(full{}, w, play(t, w, schedule.RuleQgjob).Schedule()); err == nil {
		t.Error("nothing is said of a disk that is full")
	}
	if err := w.Write(full{}); err == nil {
		t.Error("a workload is written to a full disk")
	}
	if err := (Schedule{}).Write(full{}); err == nil {
		t.Error("a schedule is written to a full disk")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, fmt.Errorf("no space left") }

// TestSmallestFleetGrows: where the given fleet is too small the answer is
// larger, and a laxer target never needs more agents.
func TestSmallestFleetGrows(t *testing.T) {
	w := fresh(60, 2, 5, 60)
	last := 1 << 30
	for _, within := range []float64{200, 400, 1000, 4000, 1e5} {
		f, err := SmallestFleet(w, schedule.DefaultPolicy(), within)
		if err != nil {
			t.Fatal(err)
		}
		if f.Agents > last || f.TTRP95S > within || f.Change != f.Agents-2 {
			t.Errorf("within %v s: %+v, after %d agents for a stricter target", within, f, last)
		}
		last = f.Agents
	}
	if last != 1 {
		t.Errorf("with all the time in the world %d agents are wanted", last)
	}
}

// TestSmallestFleetOfOtherPolicies: the search plays the policy that is asked
// about.
func TestSmallestFleetOfOtherPolicies(t *testing.T) {
	w := fresh(60, 4, 5, 60)
	p := schedule.DefaultPolicy()
	ours, err := SmallestFleet(w, p, 1500)
	if err != nil {
		t.Fatal(err)
	}
	p.Rule = schedule.RulePin
	if pin, err := SmallestFleet(w, p, 1500); err == nil {
		t.Errorf("one group pinned to one agent is done in time by %d agents; qgjob needs %d", pin.Agents, ours.Agents)
	}
}
