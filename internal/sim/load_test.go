package sim

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

const good = `{"name":"w",
"orgs":[{"id":"o","weight":1}],
"agents":[{"id":"a","labels":{"os":"14"},"speed":1,"install_factor":1,"shared_install":false,"outages":[[1,2],[3,4]]}],
"apps":[{"org":"o","version":"v","install_s":30}],
"history":[{"org":"o","test":"t","n":2,"mean_s":20}],
"jobs":[{"id":0,"at_s":1,"run":"r","org":"o","version":"v","requires":{},"test":"t","priority":5,"duration_s":10},
{"id":1,"at_s":1,"run":"r","org":"o","version":"v","requires":{"os":"14"},"test":"t","priority":5,"duration_s":10}]}
`

func TestLoad(t *testing.T) {
	w, err := Load(strings.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	if len(w.Jobs) != 2 || w.Jobs[1].Requires["os"] != "14" || w.Agents[0].Outages[1] != [2]float64{3, 4} || w.History[0].N != 2 {
		t.Errorf("read %+v", w)
	}
}

// TestLoadRefuses spoils the good workload; each error has to name the place.
func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		says           []string
	}{
		{"not JSON", `"jobs":[`, `"jobs":{[`, []string{"line 6", "jobs"}},
		{"cut off", `"duration_s":10}]}`, `"duration_s":10}`, []string{"line 8"}},
		{"data after the end", "10}]}\n", "10}]} x", []string{"line 7"}},
		{"unknown member", `"test":"t","priority":5`, `"test":"t","prio":5`, []string{"line 6", "jobs[0].prio"}},
		{"other case", `"speed"`, `"Speed"`, []string{"line 3", "agents[0].Speed"}},
		{"member twice", `"n":2`, `"n":2,"n":3`, []string{"line 5", "history[0].n"}},
		{"a string for a number", `"at_s":1`, `"at_s":"soon"`, []string{"line 6", "jobs[0].at_s", "string"}},
		{"a list for an object", `"labels":{"os":"14"}`, `"labels":["os"]`, []string{"agents[0].labels"}},
		{"a fraction for a priority", `"priority":5`, `"priority":5.5`, []string{"jobs[0].priority"}},
		{"no agents", `"agents":[{"id":"a","labels":{"os":"14"},"speed":1,"install_factor":1,"shared_install":false,"outages":[[1,2],[3,4]]}]`, `"agents":[]`, []string{"agents"}},
		{"org without id", `{"id":"o","weight":1}`, `{"id":"","weight":1}`, []string{"orgs[0].id"}},
		{"weight 0", `"weight":1`, `"weight":0`, []string{"orgs[0].weight"}},
		{"org twice", `{"id":"o","weight":1}`, `{"id":"o","weight":1},{"id":"o","weight":1}`, []string{"orgs[1].id"}},
		{"agent without id", `{"id":"a",`, `{"id":"",`, []string{"agents[0].id"}},
		{"speed missing", `"speed":1,`, ``, []string{"agents[0].speed"}},
		{"negative factor", `"install_factor":1`, `"install_factor":-1`, []string{"agents[0].install_factor"}},
		{"outage backwards", `[1,2]`, `[2,1]`, []string{"agents[0].outages[0]"}},
		{"outages overlap", `[3,4]`, `[1.5,4]`, []string{"agents[0].outages[1]"}},
		{"app of no org", `{"org":"o","version":"v","install_s":30}`, `{"org":"x","version":"v","install_s":30}`, []string{"apps[0].org"}},
		{"app without version", `"version":"v","install_s"`, `"version":"","install_s"`, []string{"apps[0].version"}},
		{"app twice", `"install_s":30}`, `"install_s":30},{"org":"o","version":"v","install_s":30}`, []string{"apps[1].version"}},
		{"negative install", `"install_s":30`, `"install_s":-30`, []string{"apps[0].install_s"}},
		{"history of no org", `{"org":"o","test":"t","n"`, `{"org":"x","test":"t","n"`, []string{"history[0].org"}},
		{"history of no test", `"test":"t","n"`, `"test":"","n"`, []string{"history[0].test"}},
		{"history of nothing", `"n":2`, `"n":0`, []string{"history[0].n"}},
		{"history below zero", `"mean_s":20`, `"mean_s":-1`, []string{"history[0].mean_s"}},
		{"job id twice", `{"id":1,`, `{"id":0,`, []string{"jobs[1].id"}},
		{"job before the start", `"id":0,"at_s":1`, `"id":0,"at_s":-1`, []string{"jobs[0].at_s"}},
		{"job after a year", `"id":0,"at_s":1`, `"id":0,"at_s":1e9`, []string{"jobs[0].at_s"}},
		{"job without run", `"id":0,"at_s":1,"run":"r"`, `"id":0,"at_s":1,"run":""`, []string{"jobs[0].run"}},
		{"job of no org", `"run":"r","org":"o"`, `"run":"r","org":"x"`, []string{"jobs[0].org", `"x"`}},
		{"job of no app", `"version":"v","requires":{},`, `"version":"v9","requires":{},`, []string{"jobs[0].version", `"v9"`}},
		{"job without test", `"requires":{},"test":"t"`, `"requires":{},"test":""`, []string{"jobs[0].test"}},
		{"priority 11", `"priority":5`, `"priority":11`, []string{"jobs[0].priority"}},
		{"negative duration", `"duration_s":10}`, `"duration_s":-10}`, []string{"jobs[0].duration_s"}},
		{"run at two times", `"id":1,"at_s":1`, `"id":1,"at_s":2`, []string{"jobs[1].run"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(good, c.from, c.to, 1)
			if text == good {
				t.Fatalf("%q is not in the workload", c.from)
			}
			_, err := Load(strings.NewReader(text))
			if err == nil {
				t.Fatal("it is read")
			}
			for _, want := range append(c.says, "workload") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestWriteReadsBack(t *testing.T) {
	for _, shape := range Shapes {
		w := generate(t, shape, 2)
		var b bytes.Buffer
		if err := w.Write(&b); err != nil {
			t.Fatal(err)
		}
		again, err := Load(&b)
		if err != nil {
			t.Fatalf("%s: %v", shape, err)
		}
		if !reflect.DeepEqual(w, again) {
			t.Errorf("%s does not read back as it was", shape)
		}
	}
}

func TestScheduleReadsBack(t *testing.T) {
	s := play(t, generate(t, "failures", 2), "qgjob").Schedule()
	again, err := LoadSchedule(bytes.NewReader(bytesOf(t, s)))
	if err != nil || !reflect.DeepEqual(s, again) {
		t.Errorf("the schedule does not read back: %v", err)
	}
	if _, err := LoadSchedule(strings.NewReader(`{"attempt":[]}`)); err == nil {
		t.Error("a schedule with an unknown member is read")
	}
}

func TestGenerate(t *testing.T) {
	for _, shape := range Shapes {
		w := generate(t, shape, 4)
		if err := w.Check(); err != nil {
			t.Errorf("%s: %v", shape, err)
		}
		if !reflect.DeepEqual(w, generate(t, shape, 4)) {
			t.Errorf("%s with one seed is two workloads", shape)
		}
		if reflect.DeepEqual(w.Jobs, generate(t, shape, 5).Jobs) {
			t.Errorf("%s with two seeds is one workload", shape)
		}
	}
	if _, err := Generate("sunny", 1); err == nil {
		t.Error("an unknown shape is made")
	}
}

// FuzzLoadSchedule: whatever is read can be written and read again.
func FuzzLoadSchedule(f *testing.F) {
	f.Add(`{"attempts":[{"job":1,"agent":"a"}]}`)
	f.Add(`{"attempts":null}`)
	f.Add(`{"attempts":{}}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := LoadSchedule(strings.NewReader(text))
		if err != nil {
			return
		}
		var b strings.Builder
		if err := s.Write(&b); err != nil {
			t.Fatal(err)
		}
		again, err := LoadSchedule(strings.NewReader(b.String()))
		if err != nil || len(again.Attempts) != len(s.Attempts) {
			t.Errorf("%q came back as %q: %v", text, b.String(), err)
		}
	})
}

// FuzzLoad: whatever is read is a workload that passes its own check, and
// nothing makes Load panic.
func FuzzLoad(f *testing.F) {
	f.Add(good)
	f.Add(`{"name":1}`)
	f.Add(`{"jobs":[{"id":0}`)
	f.Fuzz(func(t *testing.T, text string) {
		w, err := Load(strings.NewReader(text))
		if err != nil {
			return
		}
		if err := w.Check(); err != nil {
			t.Errorf("a workload is read that is refused: %v", err)
		}
	})
}
