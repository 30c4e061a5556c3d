package sim

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"

	"github.com/qualgent/qgjob/internal/schedule"
)

func TestScaleFleet(t *testing.T) {
	w := tiny(Job{DurationS: 1})
	w.Agents[1].ID = "a-2" // the name that a clone of a would get
	for _, c := range []struct {
		by   int
		want string
	}{{0, "a a-2"}, {-1, "a"}, {1, "a a-2 a-3"}, {4, "a a-2 a-3 a-2-3 a-4 a-2-4"}} {
		got, err := ScaleFleet(w, c.by)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, a := range got.Agents {
			ids = append(ids, a.ID)
		}
		if len(ids) != 2+c.by {
			t.Errorf("%+d gives %d agents", c.by, len(ids))
		}
		if err := got.Check(); err != nil {
			t.Errorf("%+d: %v", c.by, err)
		}
		if c.by <= 1 && strings.Join(ids, " ") != c.want {
			t.Errorf("%+d gives %v, want %s", c.by, ids, c.want)
		}
	}
	if len(w.Agents) != 2 {
		t.Errorf("the fleet that was scaled has %d agents itself now", len(w.Agents))
	}
	for _, by := range []int{-2, -3, 1 << 30} {
		if _, err := ScaleFleet(w, by); err == nil {
			t.Errorf("%+d is a fleet", by)
		}
	}
}

func TestScaleFleetClonesInTurn(t *testing.T) {
	w := generate(t, "hetero", 1)
	big, err := ScaleFleet(w, 30)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range big.Agents {
		if of := w.Agents[i%len(w.Agents)]; a.Speed != of.Speed || a.SharedInstall != of.SharedInstall || len(a.Labels) != len(of.Labels) {
			t.Errorf("agent %d is %+v, a clone of %+v is wanted", i, a, of)
		}
	}
	play(t, big, schedule.RuleQgjob)
}

func TestSmallestFleet(t *testing.T) {
	w := generate(t, "prstorm", 2)
	p := schedule.DefaultPolicy()
	f, err := SmallestFleet(w, p, 900)
	if err != nil {
		t.Fatal(err)
	}
	if f.TTRP95S > 900 || f.DeviceHours <= f.BusyHours || f.Change != f.Agents-20 || f.Installs == 0 {
		t.Errorf("fleet %+v", f)
	}
	smaller, err := ScaleFleet(w, f.Change-1)
	if err != nil {
		t.Fatal(err)
	}
	if m := Measure(smaller, play(t, smaller, schedule.RuleQgjob).Schedule()); m.TTRP95S <= 900 {
		t.Errorf("%d agents are said to be needed, with one less the p95 is %v s", f.Agents, m.TTRP95S)
	}
	same, err := ScaleFleet(w, f.Change)
	if err != nil {
		t.Fatal(err)
	}
	if m := Measure(same, play(t, same, schedule.RuleQgjob).Schedule()); m.TTRP95S > 900 {
		t.Errorf("with %d agents the p95 is %v s, the search said %v s", f.Agents, m.TTRP95S, f.TTRP95S)
	}
}

func TestSmallestFleetImpossible(t *testing.T) {
	w := tiny(Job{DurationS: 500})
	_, err := SmallestFleet(w, schedule.DefaultPolicy(), 100)
	if err == nil || !strings.Contains(err.Error(), "p95 of 100 s") || !strings.Contains(err.Error(), "530 s") {
		t.Errorf("error %v, want one that says how close it came", err)
	}
	if _, err := SmallestFleet(w, schedule.DefaultPolicy(), 0); err == nil {
		t.Error("a target of 0 s is searched for")
	}
}

// TestSmallestFleetKeepsWhatIsNeeded: an agent that alone can serve a job is
// not dropped, even when the p95 would allow it.
func TestSmallestFleetKeepsWhatIsNeeded(t *testing.T) {
	w := tiny(Job{Requires: on("14"), DurationS: 10}, Job{Requires: on("15"), DurationS: 10}, Job{Requires: on("99"), DurationS: 10})
	f, err := SmallestFleet(w, schedule.DefaultPolicy(), 1e6)
	if err != nil || f.Agents != 2 {
		t.Errorf("%d agents, %v; want both", f.Agents, err)
	}
}

func TestWriteTimeline(t *testing.T) {
	w := tiny(Job{Requires: on("14"), DurationS: 100, Test: `<script>alert("x")</script>`}, Job{Requires: on("15"), DurationS: 10})
	w.Name = `a & <b>`
	w.Agents[0].Outages = [][2]float64{{50, 70}}
	var b bytes.Buffer
	if err := WriteTimeline(&b, w, play(t, w, schedule.RuleQgjob).Schedule()); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, bad := range []string{"<script", "<b>", "http://", "https://"} {
		if strings.Contains(strings.Replace(page, `xmlns="http://www.w3.org/2000/svg"`, "", 1), bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	for _, c := range []struct {
		what string
		n    int
	}{{`class="install"`, 3}, {`class="lost"`, 1}, {`class="outage"`, 1}, {`fill="#0072b2"`, 2}} {
		if got := strings.Count(page, c.what); got != c.n {
			t.Errorf("%d bars with %s, want %d", got, c.what, c.n)
		}
	}
	svg := page[strings.Index(page, "<svg"):strings.Index(page, "</body>")]
	if err := xml.Unmarshal([]byte(svg), new(struct{})); err != nil {
		t.Errorf("the picture is not well formed: %v", err)
	}
}

func TestWriteTimelineOfAll(t *testing.T) {
	for _, shape := range Shapes {
		w := generate(t, shape, 1)
		r := play(t, w, schedule.RuleQgjob)
		var b bytes.Buffer
		if err := WriteTimeline(&b, w, r.Schedule()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(b.String(), "<rect"); got < len(w.Jobs) {
			t.Errorf("%s: %d bars for %d jobs", shape, got, len(w.Jobs))
		}
	}
}

func TestClock(t *testing.T) {
	for at, want := range map[float64]string{0: "0:00:00", 61: "0:01:01", 3599.9: "0:59:59", 90061: "25:01:01"} {
		if got := clock(at); got != want {
			t.Errorf("%v s is %s, want %s", at, got, want)
		}
	}
}
