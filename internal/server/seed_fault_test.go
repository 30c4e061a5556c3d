package server

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/qualgent/qgjob"
)

// The faults of other systems (FAULTS.md, API and Order) that the seed's
// routes could have.

func TestFault_priority_null_breaks_an_endpoint_for_good(t *testing.T) {
	h := newHouse(t)
	if status, _ := h.read(h.send("POST", "/jobs/submit", with("priority", "null"))); status != 422 {
		t.Errorf("priority null: %d, want 422", status)
	}
	exchange{"POST", "/jobs/submit", goodJob, "", 200, `{"message":"Job submitted","job_id":"job_1"}`}.run(h)
	for _, path := range []string{"/jobs/group/xyz123", "/jobs/status/job_1", "/agents"} {
		if status, body := h.get(path); status != 200 {
			t.Errorf("GET %s afterwards: %d %s", path, status, body)
		}
	}
}

func TestFault_any_target_and_empty_strings_accepted(t *testing.T) {
	h := newHouse(t)
	for _, body := range []string{with("target", `"toaster"`), with("target", `""`), with("org_id", `""`), with("app_version_id", `""`), with("test_path", `""`)} {
		if status, answer := h.read(h.send("POST", "/jobs/submit", body)); status != 422 {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	for _, body := range []string{`{"agent_id":"a","target":"toaster"}`, `{"agent_id":"","target":"device"}`} {
		if status, answer := h.read(h.send("POST", "/agents/register", body)); status != 422 {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
}

func TestFault_state_changing_GETs(t *testing.T) {
	h := newHouse(t)
	for _, path := range []string{"/jobs/submit?org_id=a&app_version_id=b&test_path=c&target=device", "/agents/register?agent_id=a&target=device", "/agents/assign?agent_id=a&app_version_id=b"} {
		if status, _ := h.get(path); status != 405 {
			t.Errorf("GET %s: %d, want 405", path, status)
		}
	}
	if _, agents := h.get("/agents"); agents != `[]` {
		t.Errorf("a GET made an agent: %s", agents)
	}
}

// A status route hidden behind /:id: words that are also routes, asked as ids.
func TestFault_status_route_hidden_behind_id(t *testing.T) {
	h := newHouse(t)
	exchange{"POST", "/jobs/submit", with("app_version_id", `"status"`), "", 200, `{"message":"Job submitted","job_id":"job_1"}`}.run(h)
	if status, body := h.get("/jobs/group/status"); status != 200 || !strings.Contains(body, `"job_1"`) {
		t.Errorf("a version called status: %d %s", status, body)
	}
	exchange{"GET", "/jobs/status/group", "", "", 404, `{"detail":"Job not found"}`}.run(h)
	exchange{"GET", "/jobs/status/job_1%2F..%2Fjob_1", "", "", 404, `{"detail":"Job not found"}`}.run(h)
}

func TestFault_job_10_before_job_8(t *testing.T) {
	h := newHouse(t)
	for range 12 {
		h.read(h.send("POST", "/jobs/submit", goodJob))
	}
	h.read(h.send("POST", "/jobs/submit", with("priority", "9")))
	_, body := h.get("/jobs/group/xyz123")
	var got []string
	for _, j := range decode[[]struct {
		JobID string `json:"job_id"`
	}](t, body) {
		got = append(got, j.JobID)
	}
	want := "job_13 job_1 job_2 job_3 job_4 job_5 job_6 job_7 job_8 job_9 job_10 job_11 job_12"
	if strings.Join(got, " ") != want {
		t.Errorf("order %v\nwant %s", got, want)
	}
}

// high = low weight, or the lowest first; equal priorities without a
// tie-break.
func TestFault_priority_upside_down_or_without_tie_break(t *testing.T) {
	h := newHouse(t)
	for _, p := range []int{1, 10, 5, 10, 1} {
		h.read(h.send("POST", "/jobs/submit", with("priority", fmt.Sprint(p))))
	}
	_, body := h.get("/jobs/group/xyz123")
	var got []string
	for _, j := range decode[[]struct {
		JobID    string `json:"job_id"`
		Priority int    `json:"priority"`
	}](t, body) {
		got = append(got, fmt.Sprintf("%s:%d", j.JobID, j.Priority))
	}
	if want := "job_2:10 job_4:10 job_3:5 job_1:1 job_5:1"; strings.Join(got, " ") != want {
		t.Errorf("order %v, want %s", got, want)
	}
}

// Finished jobs stay in their group's list and are not run again with it.
func TestFault_finished_jobs_lost_from_or_rerun_with_the_group(t *testing.T) {
	h := newHouse(t)
	h.submit("v1", 0, "a.js")
	w := h.agent("b1")
	w.complete(w.start(), qgjob.OutcomePassed)
	h.submit("v1", 0, "b.js")
	_, body := h.get("/jobs/group/v1")
	if !strings.Contains(body, `"test_path":"a.js","priority":1,"target":"browser","status":"passed"`) {
		t.Errorf("the finished job is not listed: %s", body)
	}
	if o := w.claim(); o.Job.TestPath != "b.js" {
		t.Errorf("offered %s again", o.Job.TestPath)
	}
}

func TestFault_duplicate_and_case_variant_keys_taken_silently(t *testing.T) {
	h := newHouse(t)
	if status, _ := h.read(h.send("POST", "/jobs/submit", `{"org_id":"victim",`+goodJob[1:])); status != 422 {
		t.Errorf("a duplicate key: %d, want 422", status)
	}
	h.read(h.send("POST", "/jobs/submit", `{"Org_Id":"victim","ORG_ID":"victim",`+goodJob[1:]))
	if _, body := h.get("/jobs/status/job_1"); !strings.Contains(body, `"org_id":"qualgent"`) {
		t.Errorf("a case variant of a key counted: %s", body)
	}
}

func TestFault_test_path_leaves_its_project_or_becomes_an_option(t *testing.T) {
	h := newHouse(t)
	for _, path := range []string{"../x.js", "a/../../x.js", "/etc/passwd", "-rf", "--config=evil.js", "a/-x.js", `a\\b.js`, `a\u0000.js`, "C:/x.js", "a//b.js", "./a.js", "a/", " a.js", strings.Repeat("a", 513)} {
		status, body := h.read(h.send("POST", "/jobs/submit", with("test_path", `"`+path+`"`)))
		if status != 422 || !strings.Contains(body, `["body","test_path"]`) {
			t.Errorf("%q: %d %s", path, status, body)
		}
	}
	// What a shell would obey is a name like any other: nothing here goes through one.
	exchange{"POST", "/jobs/submit", with("test_path", `"tests/$(reboot);a.js"`), "", 200, `{"message":"Job submitted","job_id":"job_1"}`}.run(h)
}

// ids by the second overwrite each other.
func TestFault_ids_overwrite_each_other(t *testing.T) {
	h := newHouse(t)
	const n = 64
	ids := make([]string, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			_, body := h.read(h.send("POST", "/jobs/submit", with("test_path", fmt.Sprintf(`"t%d.js"`, i))))
			ids[i] = strings.TrimSuffix(body[strings.LastIndex(body, "job_"):], `"}`)
		})
	}
	all.Wait()
	for i, id := range ids {
		if _, body := h.get("/jobs/status/" + id); !strings.Contains(body, fmt.Sprintf(`"t%d.js"`, i)) {
			t.Errorf("%s shows another job than t%d.js: %s", id, i, body)
		}
	}
}
