package sim

import (
	"strings"
	"testing"

	"github.com/qualgent/qgjob/internal/schedule"
)

// order gives the jobs in the order in which one agent took them.
func order(r *Result) []int {
	var jobs []int
	for _, a := range r.Attempts {
		jobs = append(jobs, a.Job)
	}
	return jobs
}

// TestRunLearns: what a test took the first time decides where it stands the
// second time: longest first.
func TestRunLearns(t *testing.T) {
	w := tiny(
		Job{Requires: on("14"), DurationS: 10, Test: "quick", Run: "r1"}, Job{Requires: on("14"), DurationS: 300, Test: "slow", Run: "r1"},
		Job{Requires: on("14"), DurationS: 10, Test: "quick", Run: "r2", AtS: 2000}, Job{Requires: on("14"), DurationS: 300, Test: "slow", Run: "r2", AtS: 2000},
	)
	if got := order(play(t, w, schedule.RuleQgjob)); got[0] != 0 || got[2] != 3 || got[3] != 2 {
		t.Errorf("taken in the order %v; want the first run as submitted and the second longest first", got)
	}
	for _, rule := range []schedule.Rule{schedule.RuleFIFO, schedule.RulePriority, schedule.RulePin} {
		if got := order(play(t, w, rule)); got[2] != 2 {
			t.Errorf("%s takes %v; it knows nothing of durations", rule, got)
		}
	}
}

// TestRunLearnsNothingFromWhatIsLost: a test that an outage cut short says
// nothing of how long it takes.
func TestRunLearnsNothingFromWhatIsLost(t *testing.T) {
	w := tiny(
		Job{Requires: on("14"), DurationS: 100, Test: "cut", Run: "r1"},
		Job{Requires: on("14"), DurationS: 65, Test: "known", Run: "r2", AtS: 1000},
		Job{Requires: on("14"), DurationS: 100, Test: "cut", Run: "r3", AtS: 2000}, Job{Requires: on("14"), DurationS: 65, Test: "known", Run: "r3", AtS: 2000},
	)
	w.Agents[0].Outages = [][2]float64{{31, 40}}
	r := play(t, w, schedule.RuleQgjob)
	if len(r.Attempts) != 5 || r.Attempts[0].Outcome != Lost {
		t.Fatalf("attempts %+v", r.Attempts)
	}
	if r.Attempts[3].Job != 2 {
		t.Errorf("job %d goes first; a second of the cut test was taken for its length", r.Attempts[3].Job)
	}
}

// TestRunLearnsWork: a slow agent's long test is a short test's work.
func TestRunLearnsWork(t *testing.T) {
	w := tiny(
		Job{Requires: on("14"), DurationS: 40, Test: "on the slow", Run: "r1"}, Job{Requires: on("15"), DurationS: 60, Test: "on the fast", Run: "r1"},
		Job{Requires: on("15"), DurationS: 40, Test: "on the slow", Run: "r2", AtS: 3000}, Job{Requires: on("15"), DurationS: 60, Test: "on the fast", Run: "r2", AtS: 3000},
	)
	w.Agents[0].Speed = 0.25 // 160 s
	r := play(t, w, schedule.RuleQgjob)
	if r.Attempts[2].Job != 3 {
		t.Errorf("job %d goes first, want the one of 60 s of work", r.Attempts[2].Job)
	}
}

// TestRunHistoryOfOthers: the history of a test that no job is of makes the
// mean of its org, which stands for what is unknown.
func TestRunHistoryOfOthers(t *testing.T) {
	w := tiny(Job{Requires: on("14"), DurationS: 10, Test: "unknown", Run: "r"}, Job{Requires: on("14"), DurationS: 10, Test: "minute", Run: "r"})
	w.History = []History{{Org: "o", Test: "gone", N: 100, MeanS: 500}, {Org: "o", Test: "minute", N: 5, MeanS: 60}}
	if r := play(t, w, schedule.RuleQgjob); r.Attempts[0].Job != 0 {
		t.Errorf("job %d goes first, want the unknown one: its org's tests take long", r.Attempts[0].Job)
	}
}

// TestRunClaimsBeforeItIsWoken: an agent that ends a test takes the next of its
// app before a cold one is asked.
func TestRunClaimsBeforeItIsWoken(t *testing.T) {
	w := tiny(Job{Requires: on("14"), DurationS: 20}, Job{DurationS: 20, AtS: 50})
	r := play(t, w, schedule.RuleQgjob)
	same(t, "the second begins", attempt(t, r, 1).BeginS, 50)
	if a := attempt(t, r, 1); a.Agent != "a" {
		t.Errorf("the cold agent %s takes it", a.Agent)
	}
}

// TestRunSimultaneous: what happens at one instant happens in a fixed order:
// ends, outages, returns, arrivals, then decisions.
func TestRunSimultaneous(t *testing.T) {
	w := tiny(Job{Requires: on("14"), DurationS: 20}, Job{Requires: on("14"), DurationS: 10, AtS: 50}, Job{Requires: on("14"), DurationS: 10, AtS: 50, Priority: 9})
	r := play(t, w, schedule.RuleQgjob)
	if got := order(r); got[1] != 2 || r.Attempts[1].AtS != 50 {
		t.Errorf("at 50 s a test ends, and two arrive; %+v is next, want job 2 at once", r.Attempts[1])
	}
	w.Agents[0].Outages = [][2]float64{{40, 50}}
	r = play(t, w, schedule.RuleQgjob)
	if r.Attempts[0].Outcome != Lost || r.Attempts[1].AtS != 50 {
		t.Errorf("the agent is back at 50 s: %+v", r.Attempts)
	}
}

// TestRunOutageAtTheStart: an agent that is away when the workload starts
// takes its first job when it comes.
func TestRunOutageAtTheStart(t *testing.T) {
	w := tiny(Job{Requires: on("14"), DurationS: 20})
	w.Agents[0].Outages = [][2]float64{{0, 100}}
	same(t, "taken", attempt(t, play(t, w, schedule.RuleQgjob), 0).AtS, 100)
}

// TestRunPinnedGroupIsFreed: under pin, the agent that holds a group goes
// away; another takes the group over.
func TestRunPinnedGroupIsFreed(t *testing.T) {
	w := tiny(Job{DurationS: 50, Run: "r"}, Job{DurationS: 50, Run: "r"}, Job{DurationS: 50, Run: "r"})
	w.Agents[0].Outages = [][2]float64{{40, 5000}}
	r := play(t, w, schedule.RulePin)
	for _, a := range r.Attempts[1:] {
		if a.Agent != "b" {
			t.Errorf("attempt %+v, want agent b to take over", a)
		}
	}
	if m := Measure(w, r.Schedule()); m.MakespanS > 1000 {
		t.Errorf("the group waits for its holder until %v s", m.MakespanS)
	}
}

// TestRunSharedUploadOutlivesAnOutage: what was uploaded to a device cloud is
// there when the agent is back.
func TestRunSharedUploadOutlivesAnOutage(t *testing.T) {
	w := tiny(Job{Requires: on("14"), DurationS: 100})
	w.Agents[0].SharedInstall = true
	w.Agents[0].Outages = [][2]float64{{50, 90}}
	r := play(t, w, schedule.RuleQgjob)
	again := attempt(t, r, 0)
	same(t, "begins again at once", again.BeginS-again.AtS, 0)
	if m := Measure(w, r.Schedule()); m.Installs != 1 {
		t.Errorf("%d uploads, want 1", m.Installs)
	}
}

// TestLoadScheduleRefuses: a schedule file from elsewhere is not trusted.
func TestLoadScheduleRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":               ``,
		"a list":              `[]`,
		"cut off":             `{"attempts":[{"job":1}`,
		"unknown member":      `{"attempts":[{"job":1,"device":"a"}]}`,
		"twice":               `{"attempts":[],"attempts":[]}`,
		"a word for a number": `{"attempts":[{"job":1,"at_s":"now"}]}`,
		"more behind it":      `{"attempts":[]} {}`,
	} {
		if s, err := LoadSchedule(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "schedule") {
			t.Errorf("%s: read as %+v, %v", name, s, err)
		}
	}
}
