package server

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

func names(events []sseEvent) string {
	var out []string
	for _, e := range events {
		out = append(out, e.name)
	}
	return strings.Join(out, " ")
}

// TestRunEventsAreLive: each event comes when it happens, the last one ends
// the stream.
func TestRunEventsAreLive(t *testing.T) {
	h := newHouse(t)
	run := h.submit("v1", 0, "a.js").RunID
	w := h.agent("b1")
	f := h.follow("/v1/runs/" + run.String() + "/events")
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"} {
		if got := f.res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if e := f.must(); e.name != "run.submitted" {
		t.Fatalf("first event %+v", e)
	}
	o := w.start() // only now: the stream was open and silent
	assigned := f.must()
	if body := decode[qgjob.Event](t, assigned.data); assigned.name != "job.assigned" || body.AgentID != "b1" || strconv.FormatInt(body.Seq, 10) != assigned.id || body.RunID != run {
		t.Errorf("%+v holds %+v", assigned, body)
	}
	w.complete(o, qgjob.OutcomePassed)
	rest := f.rest()
	if got := names(rest); got != "job.started job.finished run.finished" {
		t.Errorf("then came %q", got)
	}
	if e := decode[qgjob.Event](t, rest[2].data); e.Final != qgjob.ConclusionPassed {
		t.Errorf("the last event concludes %q", e.Final)
	}
}

func TestRunEventsResume(t *testing.T) {
	h := newHouse(t)
	run := h.submit("v1", 0, "a.js").RunID
	h.submit("v2", 0, "b.js") // another run's events lie between
	w := h.agent("b1")
	for range 2 {
		w.complete(w.start(), qgjob.OutcomePassed)
	}
	path := "/v1/runs/" + run.String() + "/events"
	all := h.follow(path).rest()
	if got := names(all); got != "run.submitted job.assigned job.started job.finished run.finished" {
		t.Fatalf("events %q", got)
	}
	for i, e := range all[:4] {
		got := h.follow(path, "Last-Event-ID: "+e.id).rest()
		if len(got) != len(all)-i-1 || got[0] != all[i+1] {
			t.Errorf("after %s came %q", e.name, names(got))
		}
	}
	if status, body := h.get(path, "Last-Event-ID: "+all[4].id); status != 204 || body != "" {
		t.Errorf("a client that had everything: %d %q, want 204", status, body)
	}
	for header, want := range map[string]int{"Last-Event-ID: x": 422, "Last-Event-ID: -1": 422} {
		if status, body := h.get(path, header); status != want || !strings.Contains(body, "Last-Event-ID") {
			t.Errorf("%s: %d %s", header, status, body)
		}
	}
	if status, _ := h.get("/v1/runs/run_99/events"); status != 404 {
		t.Errorf("an unknown run: %d, want 404", status)
	}
	if status, _ := h.get("/v1/runs/nonsense/events"); status != 422 {
		t.Errorf("a malformed id: %d, want 422", status)
	}
}

// TestRunEventsOfALongRun: more events than a page holds, none twice, in order.
func TestRunEventsOfALongRun(t *testing.T) {
	h := newHouse(t)
	paths := make([]string, qgjob.MaxPage+40)
	for i := range paths {
		paths[i] = "t" + strconv.Itoa(i) + ".js"
	}
	run := h.submit("v1", 0, paths...).RunID
	if _, err := h.store.CancelRun(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	events := h.follow("/v1/runs/" + run.String() + "/events").rest()
	if len(events) != len(paths)+2 {
		t.Fatalf("%d events, want %d", len(events), len(paths)+2)
	}
	for i := 1; i < len(events); i++ {
		a, _ := strconv.Atoi(events[i-1].id)
		b, _ := strconv.Atoi(events[i].id)
		if a >= b {
			t.Fatalf("event %d follows %d", b, a)
		}
	}
}

func TestStreamsEndWithTheServer(t *testing.T) {
	h := newHouse(t)
	run := h.submit("v1", 0, "a.js")
	w := h.agent("b1")
	w.start()
	streams := []*follower{
		h.follow("/v1/runs/" + run.RunID.String() + "/events"),
		h.follow("/v1/jobs/job_1/log/events"),
		h.follow("/v1/jobs/job_1/log?follow=true"),
	}
	h.stop()
	for _, f := range streams {
		f.rest()
		if err := f.lines.Err(); err != nil {
			t.Errorf("%s did not end well: %v", f.res.Request.URL.Path, err)
		}
	}
}

// TestStreamsLetGo: a client that leaves takes its subscription with it.
func TestStreamsLetGo(t *testing.T) {
	h := newHouse(t)
	run := h.submit("v1", 0, "a.js").RunID
	o := h.agent("b1").start()
	a, b := h.follow("/v1/runs/"+run.String()+"/events"), h.follow("/v1/jobs/job_1/log/events")
	a.must()
	b.must()
	hub := h.srv.Hub
	hub.mu.Lock()
	runs, logs := len(hub.runs[run]), len(hub.logs[o.LeaseID])
	hub.mu.Unlock()
	if runs != 2 || logs != 1 {
		t.Errorf("%d subscriptions to the run and %d to the log, want 2 and 1", runs, logs)
	}
	a.cancel()
	b.cancel()
	gone := func() bool {
		hub.mu.Lock()
		defer hub.mu.Unlock()
		return len(hub.runs)+len(hub.logs) == 0
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !gone() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("the subscriptions stay")
		}
	}
}

// TestSlowClientHoldsUpNobody: one client reads nothing while a run goes on;
// the store's writer, and another client, do not notice.
func TestSlowClientHoldsUpNobody(t *testing.T) {
	h := newHouse(t)
	h.submit("v1", 0, "a.js")
	w := h.agent("b1")
	o := w.start()
	h.follow("/v1/jobs/job_1/log/events") // and nobody reads it
	h.follow("/v1/runs/run_1/events")
	quick := h.follow("/v1/jobs/job_1/log/events")
	quick.must()
	chunk := strings.Repeat("all work and no play\n", 10_000)
	for i := range 40 { // 8 MiB: more than sockets hold
		h.appendLog(o, i*len(chunk), chunk)
	}
	w.complete(o, qgjob.OutcomePassed)
	total := 0
	for _, e := range quick.rest() {
		if e.name == "log" {
			total += len(decode[logChunk](t, e.data).Text)
		}
	}
	if total != 40*len(chunk) {
		t.Errorf("the quick client got %d bytes of %d", total, 40*len(chunk))
	}
}

// TestStreamsThroughAProxy: nothing is held back on the way.
func TestStreamsThroughAProxy(t *testing.T) {
	h := newHouse(t)
	h.submit("v1", 0, "a.js")
	w := h.agent("b1")
	o := w.start()
	direct, err := url.Parse(h.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(httputil.NewSingleHostReverseProxy(direct))
	t.Cleanup(proxy.Close)
	through := *h
	through.url = proxy.URL
	f := through.follow("/v1/jobs/job_1/log/events")
	f.must() // attempt
	h.appendLog(o, 0, "hello")
	if e := f.must(); !strings.Contains(e.data, `"hello"`) {
		t.Errorf("through the proxy came %+v", e)
	}
	w.complete(o, qgjob.OutcomePassed)
	if got := names(f.rest()); got != "end" {
		t.Errorf("then %q", got)
	}
	if f.res.StatusCode != http.StatusOK {
		t.Error(f.res.Status)
	}
}
