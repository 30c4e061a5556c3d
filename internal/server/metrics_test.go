package server

import (
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store"
)

// scrape reads /metrics as Prometheus does: series to value.
func (h *house) scrape() map[string]float64 {
	h.Helper()
	status, body := h.get("/metrics")
	if status != 200 {
		h.Fatalf("/metrics: %d %s", status, body)
	}
	all := map[string]float64{}
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || line[0] == '#' {
			continue
		}
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			h.Errorf("%q: %v", line, err)
		}
		all[line[:i]] = v
	}
	return all
}

func (h *house) wantMetrics(got map[string]float64, want map[string]float64) {
	h.Helper()
	for _, series := range qgjob.SortedKeys(want) {
		if v, ok := got[series]; !ok || v != want[series] {
			h.Errorf("%s is %v (there: %t), want %v", series, v, ok, want[series])
		}
	}
}

func installed(outcome qgjob.InstallOutcome, ms int64) func(*qgjob.CompleteRequest) {
	return func(r *qgjob.CompleteRequest) { r.Install, r.InstallMS, r.TestMS = outcome, ms, 1500 }
}

// TestMetricsFromSubmitToEnd follows jobs through the real store and checks
// every number on the way.
func TestMetricsFromSubmitToEnd(t *testing.T) {
	h := newHouse(t)
	h.wantMetrics(h.scrape(), map[string]float64{ // the series are there before their first count
		`qgjob_claims_total{result="offered"}`: 0, `qgjob_claims_total{result="empty"}`: 0, `qgjob_installs_total{outcome="done"}`: 0,
		`qgjob_retries_total{kind="test"}`: 0, `qgjob_jobs_finished_total{status="failed"}`: 0, `qgjob_lease_expiries_total`: 0, `qgjob_agents{status="idle"}`: 0,
	})
	h.submit("v1", 0, "a.js", "b.js", "c.js", "d.js", "e.js")
	w := h.agent("b1")
	o := w.start()
	h.wantMetrics(h.scrape(), map[string]float64{
		`qgjob_queue_depth{org="acme",status="queued",target="browser"}`:  4,
		`qgjob_queue_depth{org="acme",status="running",target="browser"}`: 1,
		`qgjob_claims_total{result="offered"}`:                            1,
		`qgjob_job_wait_seconds_count`:                                    1,
		`qgjob_agents{status="busy"}`:                                     1,
		`qgjob_agents{status="idle"}`:                                     0,
	})
	w.complete(o, qgjob.OutcomePassed, installed(qgjob.InstallDone, 3000))
	w.complete(o, qgjob.OutcomePassed, installed(qgjob.InstallDone, 3000)) // its answer was lost: told again, counted once
	w.complete(w.start(), qgjob.OutcomePassed, installed(qgjob.InstallAvoided, 0))
	w.complete(w.start(), qgjob.OutcomeFailed, installed(qgjob.InstallAvoided, 0))
	w.complete(w.start(), qgjob.OutcomeErrored, installed(qgjob.InstallFailed, 200)) // waits again
	if _, err := h.store.CancelJob(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	h.wantMetrics(h.scrape(), map[string]float64{
		`qgjob_queue_depth{org="acme",status="queued",target="browser"}`: 1,
		`qgjob_claims_total{result="offered"}`:                           4,
		`qgjob_job_wait_seconds_count`:                                   4,
		`qgjob_installs_total{outcome="done"}`:                           1,
		`qgjob_installs_total{outcome="avoided"}`:                        2,
		`qgjob_installs_total{outcome="failed"}`:                         1,
		`qgjob_install_duration_seconds_count`:                           1,
		`qgjob_install_duration_seconds_sum`:                             3,
		`qgjob_attempt_duration_seconds_count{outcome="passed"}`:         2,
		`qgjob_attempt_duration_seconds_count{outcome="failed"}`:         1,
		`qgjob_attempt_duration_seconds_count{outcome="errored"}`:        1,
		`qgjob_jobs_finished_total{status="passed"}`:                     2,
		`qgjob_jobs_finished_total{status="failed"}`:                     1,
		`qgjob_jobs_finished_total{status="errored"}`:                    0,
		`qgjob_jobs_finished_total{status="cancelled"}`:                  1,
		`qgjob_retries_total{kind="infrastructure"}`:                     1,
		`qgjob_retries_total{kind="test"}`:                               0,
		`qgjob_lease_expiries_total`:                                     0,
		`qgjob_agents{status="idle"}`:                                    1,
	})
	w.complete(w.start(), qgjob.OutcomePassed)
	h.srv.metrics.mu.Lock()
	defer h.srv.metrics.mu.Unlock()
	if runs, jobs := len(h.srv.metrics.submitted), len(h.srv.metrics.started); runs+jobs != 0 {
		t.Errorf("of a finished run %d runs and %d jobs are remembered", runs, jobs)
	}
}

func TestMetricsOfRetriesAndExpiries(t *testing.T) {
	h := newHouse(t)
	h.submit("v1", 3, "a.js")
	w := h.agent("b1")
	o := w.start()
	w.complete(o, qgjob.OutcomeInterrupted)
	w.start()
	held, err := h.store.Held(t.Context())
	if err != nil || len(held) != 1 {
		t.Fatalf("%d leases held, %v", len(held), err)
	}
	if expired, err := h.store.Expire(t.Context(), held[0].Held); err != nil || !expired {
		t.Fatalf("expired %t, %v", expired, err)
	}
	w.claim() // and never started
	if held, err = h.store.Held(t.Context()); err != nil || len(held) != 1 {
		t.Fatalf("%d leases held, %v", len(held), err)
	}
	if _, err := h.store.Expire(t.Context(), held[0].Held); err != nil {
		t.Fatal(err)
	}
	o = w.start()
	w.complete(o, qgjob.OutcomeFailed)
	h.srv.metrics.claimEmpty()
	h.wantMetrics(h.scrape(), map[string]float64{
		`qgjob_retries_total{kind="interrupted"}`:                     1,
		`qgjob_retries_total{kind="infrastructure"}`:                  1,
		`qgjob_retries_total{kind="test"}`:                            1,
		`qgjob_lease_expiries_total`:                                  2,
		`qgjob_attempt_duration_seconds_count{outcome="lost"}`:        1,
		`qgjob_attempt_duration_seconds_count{outcome="interrupted"}`: 1,
		`qgjob_attempt_duration_seconds_count{outcome="failed"}`:      1,
		`qgjob_claims_total{result="offered"}`:                        4,
		`qgjob_claims_total{result="empty"}`:                          1,
		`qgjob_job_wait_seconds_count`:                                1, // of the first offer only
	})
}

// TestMetricsAfterARestart: what began before the process is measured by the
// agent's own word, and unknown waits are left out instead of made up.
func TestMetricsAfterARestart(t *testing.T) {
	h := newHouse(t)
	m := h.srv.metrics
	job := qgjob.JobID(77)
	m.observe(store.Note{Events: []qgjob.Event{
		{Kind: qgjob.EventJobAssigned, JobID: &job, RunID: 7, Attempt: 1, At: time.Now()},
		{Kind: qgjob.EventJobFinished, JobID: &job, RunID: 7, Status: qgjob.Passed, Outcome: qgjob.OutcomePassed, InstallMS: 500, TestMS: 1500, At: time.Now()},
		{Kind: "some.day", JobID: &job, RunID: 7},
	}})
	h.wantMetrics(h.scrape(), map[string]float64{
		`qgjob_attempt_duration_seconds_sum{outcome="passed"}`: 2, `qgjob_job_wait_seconds_count`: 0, `qgjob_jobs_finished_total{status="passed"}`: 1,
	})
}

func TestMetricsCountRequestsByRoute(t *testing.T) {
	h := newHouse(t)
	for i := range 3 {
		h.get(fmt.Sprintf("/jobs/status/job_%d", i+1))
	}
	h.get("/.git/config")
	h.get("/wp-login.php")
	h.read(h.send("GET", "/agents/register", ""))
	h.read(h.send("POST", "/jobs/submit", goodJob))
	if _, err := http.DefaultTransport.RoundTrip(h.request(t.Context(), "BREW", "/agents", "")); err != nil {
		t.Fatal(err)
	}
	h.get("/v1/runs/run_1/events", "Last-Event-ID: x")
	got := h.scrape()
	h.wantMetrics(got, map[string]float64{
		`qgjob_http_requests_total{code="404",method="GET",route="/jobs/status/{job_id}"}`:      3,
		`qgjob_http_requests_total{code="404",method="GET",route="unmatched"}`:                  2,
		`qgjob_http_requests_total{code="405",method="GET",route="/agents/register"}`:           1,
		`qgjob_http_requests_total{code="405",method="other",route="/agents"}`:                  1,
		`qgjob_http_requests_total{code="200",method="POST",route="/jobs/submit"}`:              1,
		`qgjob_http_requests_total{code="422",method="GET",route="/v1/runs/{run_id}/events"}`:   1,
		`qgjob_http_request_duration_seconds_count{method="GET",route="/jobs/status/{job_id}"}`: 3,
		`qgjob_http_request_duration_seconds_count{method="POST",route="/jobs/submit"}`:         1,
		fmt.Sprintf(`qgjob_build_info{go_version="%s",version="test"}`, runtime.Version()):      1,
	})
	for series := range got {
		if strings.Contains(series, "wp-login") || strings.Contains(series, "job_1") || strings.Contains(series, "BREW") {
			t.Errorf("a raw word of a client became a series: %s", series)
		}
		if strings.Contains(series, "duration") && strings.Contains(series, "/events") {
			t.Errorf("a stream counts as slow: %s", series)
		}
	}
}

func TestMetricsAreClean(t *testing.T) {
	h := newHouse(t)
	h.submit("v1", 0, "a.js")
	w := h.agent("b1")
	w.complete(w.start(), qgjob.OutcomePassed, installed(qgjob.InstallDone, 10))
	h.get("/healthz")
	problems, err := testutil.GatherAndLint(h.srv.metrics.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestMetricsWithoutTheDatabase: counters are shown all the same.
func TestMetricsWithoutTheDatabase(t *testing.T) {
	gone, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	h := newHouse(t)
	h.srv.metrics.registry.Unregister(&fleet{store: h.store})
	h.srv.metrics.registry.MustRegister(&fleet{store: gone, log: h.srv.Log})
	h.wantMetrics(h.scrape(), map[string]float64{`qgjob_claims_total{result="offered"}`: 0})
}

// Orgs are as many as clients name; series are bounded, and nothing is lost.
func TestMetricsFoldManyOrgs(t *testing.T) {
	var depths []store.Depth
	total := 0
	for i := range 1000 {
		depths = append(depths, store.Depth{Org: qgjob.OrgID(fmt.Sprintf("org%d", i)), Target: qgjob.TargetDevice, State: qgjob.Queued, Jobs: i + 1},
			store.Depth{Org: qgjob.OrgID(fmt.Sprintf("org%d", i)), Target: qgjob.TargetDevice, State: qgjob.Running, Jobs: 1})
		total += i + 2
	}
	depths = append(depths, store.Depth{Org: "other", Target: qgjob.TargetDevice, State: qgjob.Queued, Jobs: 5000})
	total += 5000
	folded := foldOrgs(depths, 200)
	orgs, sum, seen := map[qgjob.OrgID]bool{}, 0, map[store.Depth]bool{}
	for _, d := range folded {
		orgs[d.Org] = true
		sum += d.Jobs
		d.Jobs = 0
		if seen[d] {
			t.Errorf("two lines for %+v", d)
		}
		seen[d] = true
	}
	if len(orgs) != 200 || sum != total || !orgs["org999"] || orgs["org1"] {
		t.Errorf("%d orgs with %d jobs of %d", len(orgs), sum, total)
	}
	if few := foldOrgs(depths[:4], 200); len(few) != 4 || few[0] != depths[0] {
		t.Errorf("few orgs became %+v", few)
	}
	if len(foldOrgs(nil, 200)) != 0 {
		t.Error("something of nothing")
	}
}
