package sim

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/qualgent/qgjob/internal/schedule"
)

// tiny is one org with two app versions and two agents; tests add jobs.
func tiny(jobs ...Job) *Workload {
	w := &Workload{
		Name: "tiny",
		Orgs: []Org{{ID: "o", Weight: 1}},
		Agents: []Agent{
			{ID: "a", Labels: map[string]string{"os": "14"}, Speed: 1, InstallFactor: 1},
			{ID: "b", Labels: map[string]string{"os": "15"}, Speed: 1, InstallFactor: 1},
		},
		Apps: []App{{Org: "o", Version: "v1", InstallS: 30}, {Org: "o", Version: "v2", InstallS: 50}},
		Jobs: jobs,
	}
	for i := range w.Jobs {
		j := &w.Jobs[i]
		j.ID, j.Org = i, "o"
		if j.Version == "" {
			j.Version = "v1"
		}
		if j.Run == "" {
			j.Run = fmt.Sprint("r", i)
		}
		if j.Test == "" {
			j.Test = fmt.Sprint("t", i)
		}
		if j.Priority == 0 {
			j.Priority = 5
		}
	}
	return w
}

func on(os string) map[string]string { return map[string]string{"os": os} }

// play runs a workload under a rule and fails on any fault of its schedule.
func play(t *testing.T, w *Workload, rule schedule.Rule) *Result {
	t.Helper()
	p := schedule.DefaultPolicy()
	p.Rule = rule
	r, err := Run(w, p)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Verify(w, r.Schedule()) {
		if rule != schedule.RuleFIFO || !strings.Contains(string(f), "before waiting job") {
			t.Errorf("%s under %s: %s", w.Name, rule, f)
		}
	}
	return r
}

func attempt(t *testing.T, r *Result, job int) Attempt {
	t.Helper()
	var found *Attempt
	for i := range r.Attempts {
		if r.Attempts[i].Job == job && r.Attempts[i].Outcome == Done {
			found = &r.Attempts[i]
		}
	}
	if found == nil {
		t.Fatalf("job %d is not done: %+v", job, r.Attempts)
	}
	return *found
}

func bytesOf(t *testing.T, s Schedule) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func generate(t testing.TB, shape string, seed uint64) *Workload {
	t.Helper()
	w, err := Generate(shape, seed)
	if err != nil {
		t.Fatal(err)
	}
	return w
}
