package main

import (
	"encoding/json"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qualgent/qgjob/internal/schedule"
	"github.com/qualgent/qgjob/internal/sim"
)

const workloads = "../workloads"

// TestNoWorse is the bar: no file more than 2 % worse than the prototype, and
// better on the whole.
func TestNoWorse(t *testing.T) {
	var out strings.Builder
	ok, err := playFiles(&out, schedule.DefaultPolicy(), workloads)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		t.Error(out.String())
	}
	if n := strings.Count(out.String(), "| prototype |"); n != len(prototype) {
		t.Errorf("%d workloads stand beside the prototype, want %d", n, len(prototype))
	}
}

// TestNoWorseCanFail: a rule that pays any price for fewer installs is found
// out.
func TestNoWorseCanFail(t *testing.T) {
	p := schedule.DefaultPolicy()
	p.Thrift = 1000
	var out strings.Builder
	if ok, err := playFiles(&out, p, workloads); err != nil || ok {
		t.Errorf("ok %v, %v", ok, err)
	}
	if !strings.Contains(out.String(), "WORSE") {
		t.Error("nothing is called worse")
	}
}

func TestWorse(t *testing.T) {
	had := figures{makespan: 1, installs: 100, ttr: 2, victims: 3}
	for _, c := range []struct {
		name string
		got  figures
		n    int
	}{
		{"the same", had, 0},
		{"a little worse", figures{makespan: 1.019, installs: 109, ttr: 2.03, victims: 3.2}, 0},
		{"makespan", figures{makespan: 1.03, installs: 1, ttr: 1, victims: 1}, 1},
		{"time to result", figures{makespan: 1, installs: 1, ttr: 2.05, victims: 1}, 1},
		{"installs", figures{makespan: 1, installs: 111, ttr: 1, victims: 1}, 1},
		{"victims", figures{makespan: 1, installs: 1, ttr: 1, victims: 3.4}, 1},
		{"all", figures{makespan: 2, installs: 200, ttr: 4, victims: 6}, 4},
	} {
		if got := c.got.worse(had); len(got) != c.n {
			t.Errorf("%s: %q, want %d complaints", c.name, got, c.n)
		}
	}
}

func TestPlayFilesElsewhere(t *testing.T) {
	if _, err := playFiles(&strings.Builder{}, schedule.DefaultPolicy(), t.TempDir()); err == nil {
		t.Error("an empty folder is played")
	}
}

func TestPlaySeeds(t *testing.T) {
	var out strings.Builder
	ok, err := playSeeds(&out, schedule.DefaultPolicy(), 1, 1)
	if err != nil || !ok {
		t.Fatalf("ok %v, %v: %s", ok, err, out.String())
	}
	for _, shape := range sim.Shapes {
		if !strings.Contains(out.String(), "| "+shape+" | qgjob |") {
			t.Errorf("no line for %s", shape)
		}
	}
}

// TestChecker holds our verifier and bounds against an independent one, where
// its source lies beside the project.
func TestChecker(t *testing.T) {
	source, err := filepath.Abs("../../../shared/schedcheck")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(source, "go.mod")); err != nil {
		t.Skip("schedcheck is not beside the project")
	}
	checker := filepath.Join(t.TempDir(), "schedcheck")
	build := exec.Command("go", "build", "-o", checker, ".")
	build.Dir = source
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build schedcheck: %v\n%s", err, text)
	}
	names, err := filepath.Glob(filepath.Join(workloads, "*.json"))
	if err != nil || len(names) != len(prototype) {
		t.Fatalf("%d workloads, %v", len(names), err)
	}
	for _, name := range names {
		agree(t, checker, name)
	}
	dir := t.TempDir()
	for _, shape := range sim.Shapes {
		w, err := sim.Generate(shape, 77)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, shape+".json")
		write(t, name, w.Write)
		agree(t, checker, name)
	}
}

func write(t *testing.T, name string, to func(io.Writer) error) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := to(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// agree plays a workload and wants the checker to find no fault and to measure
// the same, to the third decimal.
func agree(t *testing.T, checker, name string) {
	t.Helper()
	w, err := load(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range []schedule.Rule{schedule.RuleQgjob, schedule.RulePriority, schedule.RulePin} {
		p := schedule.DefaultPolicy()
		p.Rule = rule
		r, err := sim.Run(w, p)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "schedule.json")
		write(t, file, r.Schedule().Write)
		text, err := exec.Command(checker, name, file).CombinedOutput()
		if err != nil {
			t.Errorf("%s under %s: %v\n%s", w.Name, rule, err, text)
			continue
		}
		theirs, ours := map[string]any{}, map[string]any{}
		mine, err := json.Marshal(sim.Measure(w, r.Schedule()))
		if err == nil {
			err = json.Unmarshal(mine, &ours)
		}
		if err == nil {
			err = json.Unmarshal(text, &theirs)
		}
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range theirs {
			a, okA := ours[key].(float64)
			b, okB := want.(float64)
			if okA && okB && math.Abs(a-b) < 1e-9 || ours[key] == want {
				continue
			}
			t.Errorf("%s under %s: %s is %v, by schedcheck %v", w.Name, rule, key, ours[key], want)
		}
	}
}
