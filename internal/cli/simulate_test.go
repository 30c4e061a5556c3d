package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qualgent/qgjob/internal/schedule"
	"github.com/qualgent/qgjob/internal/sim"
)

// workload is a small workload whose names want escaping.
func workload() *sim.Workload {
	w := &sim.Workload{
		Name:   "<b>small</b>",
		Orgs:   []sim.Org{{ID: "acme & sons", Weight: 1}},
		Agents: []sim.Agent{{ID: "a<1>", Labels: map[string]string{"os": "14"}, Speed: 1, InstallFactor: 1}, {ID: "a2", Labels: map[string]string{"os": "15"}, Speed: 1, InstallFactor: 1}},
		Apps:   []sim.App{{Org: "acme & sons", Version: "v1", InstallS: 30}, {Org: "acme & sons", Version: "v\"2\"", InstallS: 20}},
	}
	for i := range 12 {
		run := i / 4
		w.Jobs = append(w.Jobs, sim.Job{ID: i, AtS: float64(60 * run), Run: fmt.Sprint("r", run), Org: "acme & sons", Version: w.Apps[run%2].Version,
			Requires: map[string]string{}, Test: fmt.Sprintf("tests/<script>%d.js", i), Priority: 5, DurationS: float64(20 + 10*i)})
	}
	return w
}

func (p *program) workload(name string, w *sim.Workload) {
	p.t.Helper()
	var b strings.Builder
	if err := w.Write(&b); err != nil {
		p.t.Fatal(err)
	}
	p.write(name, b.String())
}

// simulate runs the command on a workload, with a server that is not there:
// it needs none.
func simulate(t *testing.T, w *sim.Workload, args ...string) (p *program, code int, out, err string) {
	t.Helper()
	p = newProgram(t, "http://127.0.0.1:1")
	p.workload("w.json", w)
	code, out, err = p.run(append([]string{"simulate", "--workload=w.json"}, args...)...)
	return p, code, out, err
}

func TestSimulateTable(t *testing.T) {
	_, code, out, err := simulate(t, workload())
	if code != 0 || err != "" {
		t.Fatalf("exit %d, %s", code, err)
	}
	for _, want := range []string{"<b>small</b> on 2 agents, policy qgjob: 12 jobs, no rule broken", "FIGURE", "last result after", "mean time to result of a run",
		"95 of 100 runs within", "slowdown, 95th percentile", "longest wait of a job", "installs", "fairness between orgs (Jain)", "times"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

// schedcheckKeys are what the checker of the scheduling rule prints.
var schedcheckKeys = []string{"workload", "makespan_s", "makespan_over_bound", "installs", "mean_ttr_s", "ttr_over_bound", "slowdown_p95", "urgent_slowdown",
	"urgent_start_p95_s", "longest_wait_s", "victims_slowdown_p95", "jain"}

// TestSimulatePolicies: all four policies play, tell their name and the
// figures that sim.Measure finds, and write the schedule that they measured.
func TestSimulatePolicies(t *testing.T) {
	for _, rule := range schedule.Rules {
		w := workload()
		p, code, out, err := simulate(t, w, "--json", "--policy="+string(rule), "--schedule=plan.json")
		if code != 0 || !strings.Contains(err, "schedule written to plan.json") {
			t.Fatalf("%s: exit %d, %s", rule, code, err)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%s: %v in %s", rule, err, out)
		}
		for _, key := range append(slices.Clone(schedcheckKeys), "policy") {
			if _, ok := got[key]; !ok {
				t.Errorf("%s: key %s is missing", rule, key)
			}
			delete(got, key)
		}
		delete(got, "ttr_p95_s")
		if len(got) > 0 {
			t.Errorf("%s: further keys %v", rule, got)
		}
		var told struct {
			sim.Metrics
			Policy string `json:"policy"`
		}
		if err := json.Unmarshal([]byte(out), &told); err != nil {
			t.Fatal(err)
		}
		f, fail := os.Open(filepath.Join(p.dir, "plan.json"))
		if fail != nil {
			t.Fatal(fail)
		}
		plan, fail := sim.LoadSchedule(f)
		_ = f.Close()
		if fail != nil {
			t.Fatal(fail)
		}
		if faults := sim.Verify(w, plan); len(faults) > 0 && rule != schedule.RuleFIFO {
			t.Errorf("%s: the schedule written has faults: %v", rule, faults)
		}
		if want := sim.Measure(w, plan); told.Metrics != want || told.Policy != string(rule) {
			t.Errorf("%s: told %+v; the schedule written has %+v", rule, told, want)
		}
	}
}

// TestSimulateFIFOIgnoresPriority: fifo is measured too where an urgent job
// comes later; that it takes older jobs first is what it is for, not a fault.
func TestSimulateFIFOIgnoresPriority(t *testing.T) {
	w := workload()
	for i := range w.Jobs {
		w.Jobs[i].Version, w.Jobs[i].Priority = "v1", 1+w.Jobs[i].ID%10
	}
	for _, rule := range schedule.Rules {
		if _, code, out, err := simulate(t, w, "--policy="+string(rule)); code != 0 || !strings.Contains(out, "12 jobs") {
			t.Errorf("%s: exit %d\n%s%s", rule, code, out, err)
		}
	}
}

func TestSimulateSameSeedSameBytes(t *testing.T) {
	var texts [2]string
	for i := range texts {
		p, code, out, err := simulate(t, workload(), "--schedule=plan.json", "--html=t.html", "--json")
		if code != 0 {
			t.Fatal(err)
		}
		for _, name := range []string{"plan.json", "t.html"} {
			text, err := os.ReadFile(filepath.Join(p.dir, name))
			if err != nil || len(text) == 0 {
				t.Fatalf("%s: %d bytes, %v", name, len(text), err)
			}
			texts[i] += string(text)
		}
		texts[i] += out
	}
	if texts[0] != texts[1] {
		t.Error("two simulations of one workload differ")
	}
}

func TestSimulateTimelineIsEscaped(t *testing.T) {
	p, code, _, err := simulate(t, workload(), "--html=t.html")
	if code != 0 || !strings.Contains(err, "timeline written to t.html") {
		t.Fatalf("exit %d, %s", code, err)
	}
	text, fail := os.ReadFile(filepath.Join(p.dir, "t.html"))
	if fail != nil {
		t.Fatal(fail)
	}
	page := string(text)
	for _, never := range []string{"<b>small", "<script>", "a<1>", "acme & sons", `v"2"`} {
		if strings.Contains(page, never) {
			t.Errorf("the page holds %q as it is", never)
		}
	}
	for _, want := range []string{"&lt;b&gt;small", "a&lt;1&gt;", "acme &amp; sons", "<svg", "</html>", `class="install"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if tests := strings.Count(page, "&lt;script&gt;"); tests != 12 {
		t.Errorf("the page shows %d tests; want 12", tests)
	}
}

func TestSimulateOtherFleets(t *testing.T) {
	spans := map[string]float64{}
	for change, agents := range map[string]string{"+0": "2", "+4": "6", "-1": "1"} {
		w := workload()
		if change == "-1" { // the labels of the one that stays are nobody's need
			w.Agents[0].Labels = nil
		}
		_, code, out, err := simulate(t, w, "--agents="+change)
		if code != 0 || !strings.Contains(out, "on "+agents+" agents") {
			t.Errorf("%s: exit %d\n%s%s", change, code, out, err)
		}
		_, _, out, _ = simulate(t, w, "--agents="+change, "--json")
		var m sim.Metrics
		if err := json.Unmarshal([]byte(out), &m); err != nil {
			t.Fatal(err)
		}
		spans[change] = m.MakespanS
	}
	if !(spans["+4"] < spans["+0"] && spans["+0"] < spans["-1"]) {
		t.Errorf("makespans by change of the fleet: %v", spans)
	}
	for change, says := range map[string]string{"5": "+5 or -2", "+": "+5 or -2", "+x": "+5 or -2", "-2": "allowed: 1 to", "+100000": "allowed: 1 to", "+99999999999999999999": "+5 or -2"} {
		if _, code, out, err := simulate(t, workload(), "--agents="+change); code != exitUsage || !strings.Contains(err, "--agents") || !strings.Contains(err, says) || out != "" {
			t.Errorf("--agents=%s: exit %d, %q, %q", change, code, out, err)
		}
	}
}

func TestSimulateFindsAFleet(t *testing.T) {
	_, code, out, err := simulate(t, workload(), "--target-p95=4m")
	if code != 0 || !strings.Contains(out, "agents (") || !strings.Contains(out, "are enough: 95 of 100 runs") || !strings.Contains(out, "device-hours") {
		t.Fatalf("exit %d\n%s%s", code, out, err)
	}
	_, code, out, err = simulate(t, workload(), "--target-p95=4m", "--json")
	var f sim.Fleet
	if fail := json.Unmarshal([]byte(out), &f); code != 0 || fail != nil || f.Agents < 2 || f.TTRP95S > 240 || f.DeviceHours <= 0 {
		t.Fatalf("exit %d, %v\n%s%s", code, fail, out, err)
	}
	// One fewer is too few.
	smaller, fail := sim.ScaleFleet(workload(), f.Change-1)
	if fail != nil {
		t.Fatal(fail)
	}
	r, fail := sim.Run(smaller, schedule.DefaultPolicy())
	if fail != nil {
		t.Fatal(fail)
	}
	if m := sim.Measure(smaller, r.Schedule()); m.TTRP95S <= 240 {
		t.Errorf("%d agents are said to be needed, and %d reach %g s", f.Agents, f.Agents-1, m.TTRP95S)
	}
	if _, code, _, err = simulate(t, workload(), "--target-p95=1s"); code == 0 || !strings.Contains(err, "no fleet of up to") {
		t.Errorf("what no fleet reaches: exit %d, %q", code, err)
	}
}

// TestSimulateReportsImpossibleJobs: they are told, left out, and nothing
// hangs on them; not even when there is nothing else.
func TestSimulateReportsImpossibleJobs(t *testing.T) {
	w := workload()
	w.Jobs[3].Requires, w.Jobs[7].Requires = map[string]string{"os": "99"}, map[string]string{"cable": "yes"}
	_, code, out, err := simulate(t, w)
	if code != 0 || !strings.Contains(err, "2 jobs can be run by no agent") || !strings.Contains(err, "job 3") || !strings.Contains(out, "10 jobs, no rule broken") {
		t.Errorf("exit %d\n%s%s", code, out, err)
	}
	_, _, out, _ = simulate(t, w, "--json")
	var told struct {
		Impossible []int `json:"impossible_jobs"`
	}
	if fail := json.Unmarshal([]byte(out), &told); fail != nil || !slices.Equal(told.Impossible, []int{3, 7}) {
		t.Errorf("%v: %s", fail, out)
	}
	if _, code, out, err = simulate(t, w, "--target-p95=6m"); code != 0 || !strings.Contains(out, "are enough") {
		t.Errorf("looking for a fleet: exit %d\n%s%s", code, out, err)
	}
	for i := range w.Jobs {
		w.Jobs[i].Requires = map[string]string{"os": "99"}
	}
	if _, code, out, err = simulate(t, w, "--html=t.html"); code != 0 || !strings.Contains(err, "12 jobs can be run by no agent") || !strings.Contains(out, "0 jobs") {
		t.Errorf("only impossible jobs: exit %d\n%s%s", code, out, err)
	}
}

func TestSimulateRefuses(t *testing.T) {
	var good strings.Builder
	if err := workload().Write(&good); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, from, to string
		says           []string
	}{
		{"not JSON", `"jobs":[`, `"jobs":{[`, []string{"line", "jobs"}},
		{"unknown member", `"test":"tests/`, `"prio":3,"test":"tests/`, []string{"jobs[0].prio", "line"}},
		{"a string for a number", `"duration_s":20`, `"duration_s":"20"`, []string{"jobs[0].duration_s", "line"}},
		{"priority 11", `"priority":5`, `"priority":11`, []string{"jobs[0].priority", "1 to 10"}},
		{"no speed", `"speed":1`, `"speed":0`, []string{"agents[0].speed"}},
		{"another org's app", `"version":"v1","requires"`, `"version":"v9","requires"`, []string{"jobs[0].version", "v9"}},
		{"endless duration", `"duration_s":20`, `"duration_s":1e300`, []string{"jobs[0].duration_s"}},
	} {
		text := strings.Replace(good.String(), c.from, c.to, 1)
		if text == good.String() {
			t.Fatalf("%s: %q is not in the workload", c.name, c.from)
		}
		p := newProgram(t, "http://127.0.0.1:1")
		p.write("bad.json", text)
		code, out, err := p.run("simulate", "--workload=bad.json")
		if code != exitUsage || out != "" || strings.Count(strings.TrimSpace(err), "\n") > 1 {
			t.Errorf("%s: exit %d, %q, %q", c.name, code, out, err)
		}
		for _, want := range append(c.says, "bad.json", "--workload") {
			if !strings.Contains(err, want) {
				t.Errorf("%s: %q does not say %q", c.name, err, want)
			}
		}
	}
	for args, says := range map[string]string{
		"":                                   "--workload=FILE or --replay",
		"--workload=w.json --replay":         "not both",
		"--workload=missing.json":            "missing.json",
		"--workload=.":                       "--workload",
		"--workload=w.json --policy=best":    "allowed: qgjob, fifo, priority, pin",
		"--workload=w.json --thrift=-1":      "0 to 1000",
		"--workload=w.json --thrift=NaN":     "0 to 1000",
		"--workload=w.json --target-p95=-1s": "less than nothing",
		"--workload=w.json --agents=-9":      "--agents",
		"--workload=w.json --thrift=1e9":     "0 to 1000",
	} {
		p := newProgram(t, "http://127.0.0.1:1")
		p.workload("w.json", workload())
		if code, out, err := p.run(append([]string{"simulate"}, strings.Fields(args)...)...); code != exitUsage || out != "" || !strings.Contains(err, says) {
			t.Errorf("simulate %s: exit %d, %q, %q; want %q", args, code, out, err, says)
		}
	}
	if _, code, _, err := simulate(t, workload(), "--schedule=no/such/folder/plan.json"); code == 0 || !strings.Contains(err, "write the schedule") {
		t.Errorf("a schedule that cannot be written: exit %d, %q", code, err)
	}
}

// TestSimulateBench plays the workloads that the project brings along.
func TestSimulateBench(t *testing.T) {
	files, err := filepath.Glob("../../bench/workloads/*.json")
	if err != nil || len(files) < 11 {
		t.Fatalf("%d workloads, %v", len(files), err)
	}
	for _, name := range files {
		full, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			p := newProgram(t, "http://127.0.0.1:1")
			code, out, err := p.run("simulate", "--workload="+full, "--json")
			var m sim.Metrics
			if fail := json.Unmarshal([]byte(out), &m); code != 0 || fail != nil || err != "" {
				t.Fatalf("exit %d, %v\n%s%s", code, fail, out, err)
			}
			if m.MakespanOverBound < 1-1e-9 || m.TTROverBound < 1-1e-9 || m.Installs == 0 {
				t.Errorf("better than the bound: %+v", m)
			}
		})
	}
}

func TestSimulateFromStandardInput(t *testing.T) {
	p := newProgram(t, "http://127.0.0.1:1")
	if code, _, err := p.run("simulate", "--workload=-"); code != exitUsage || !strings.Contains(err, "line 1") {
		t.Errorf("nothing on standard input: exit %d, %q", code, err)
	}
}
