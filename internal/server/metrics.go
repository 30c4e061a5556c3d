package server

import (
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store"
)

// metrics counts what commits tell of and what HTTP was asked. Everything is
// counted after it is on disk; counters begin at 0 with the process, as
// Prometheus expects.
type metrics struct {
	registry *prometheus.Registry

	claims      *prometheus.CounterVec
	installs    *prometheus.CounterVec
	installTime prometheus.Histogram
	attemptTime *prometheus.HistogramVec
	jobWait     prometheus.Histogram
	drift       prometheus.Counter
	expiries    prometheus.Counter
	retries     *prometheus.CounterVec
	finished    *prometheus.CounterVec
	requests    *prometheus.CounterVec
	requestTime *prometheus.HistogramVec

	mu        sync.Mutex
	submitted map[qgjob.RunID]time.Time // runs that go on
	started   map[qgjob.JobID]time.Time // attempts that go on
}

// newMetrics makes the metrics with a registry of their own. The queue and the
// agents are read from the store when somebody asks.
func newMetrics(st *store.Store, version string, log *slog.Logger) *metrics {
	seconds := []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		claims: counters("qgjob_claims_total", "Claims of agents: offered a job, or empty when none came in time. A claim of several jobs counts once for each.",
			"result", "offered", "empty"),
		installs: counters("qgjob_installs_total", "App installs that attempts reported: done, avoided because the device held the build, or failed.",
			"outcome", "done", "avoided", "failed"),
		installTime: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "qgjob_install_duration_seconds",
			Help: "How long installs took that were done.", Buckets: seconds}),
		attemptTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "qgjob_attempt_duration_seconds",
			Help: "How long attempts took from their start to their end, installs included.", Buckets: seconds}, []string{"outcome"}),
		jobWait: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "qgjob_job_wait_seconds",
			Help: "How long jobs waited from their submission to their first offer.", Buckets: seconds}),
		expiries: prometheus.NewCounter(prometheus.CounterOpts{Name: "qgjob_lease_expiries_total",
			Help: "Leases whose agent was not heard of, and offers that were never started."}),
		retries: counters("qgjob_retries_total", "Jobs that wait again after an attempt, by the budget that it burnt: test, infrastructure, or none because it was interrupted.",
			"kind", "test", "infrastructure", "interrupted"),
		finished: counters("qgjob_jobs_finished_total", "Jobs that entered their terminal state.",
			"status", "passed", "failed", "errored", "cancelled"),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "qgjob_http_requests_total",
			Help: "HTTP requests answered, by route pattern."}, []string{"method", "route", "code"}),
		requestTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "qgjob_http_request_duration_seconds",
			Help:    "How long HTTP requests took, by route pattern. Live streams and claims, which wait on purpose, are left out.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, []string{"method", "route"}),
		drift: prometheus.NewCounter(prometheus.CounterOpts{Name: "qgjob_group_drift_total",
			Help: "Groups whose aggregates did not agree with their jobs and were mended. Anything but 0 is a bug."}),
		submitted: map[qgjob.RunID]time.Time{},
		started:   map[qgjob.JobID]time.Time{},
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "qgjob_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()}})
	build.Set(1)
	m.registry.MustRegister(m.claims, m.installs, m.installTime, m.attemptTime, m.jobWait, m.expiries, m.retries, m.finished, m.requests, m.requestTime, m.drift, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &fleet{store: st, log: log})
	return m
}

// counters makes a counter with one label, all of whose values show from the
// start: a rate over a series that appears with its first count misses it.
func counters(name, help, label string, values ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	for _, v := range values {
		c.WithLabelValues(v)
	}
	return c
}

// metricsRoutes is where Prometheus looks.
func (s *Server) metricsRoutes() []route {
	return []route{{Method: http.MethodGet, Pattern: "/metrics", Scope: scopeRead, Owner: ownerAll, Handler: s.metrics.handler().ServeHTTP}}
}

// handler shows the metrics. When a part cannot be read the rest is shown.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4})
}

// claimEmpty counts a claim that waited and got nothing.
func (m *metrics) claimEmpty() { m.claims.WithLabelValues("empty").Inc() }

// observe counts what a commit has told. It runs on the store's writer and
// only touches memory.
func (m *metrics) observe(n store.Note) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range n.Events {
		m.count(&n.Events[i])
	}
	if len(m.submitted) > mostPending { // other servers ended them, and did not say
		clear(m.submitted)
	}
	if len(m.started) > mostPending {
		clear(m.started)
	}
}

// mostPending is how many runs, and attempts, are remembered for their times.
const mostPending = 200_000

func (m *metrics) count(e *qgjob.Event) {
	switch e.Kind {
	case qgjob.EventRunSubmitted:
		m.submitted[e.RunID] = e.At
	case qgjob.EventRunFinished:
		delete(m.submitted, e.RunID)
	case qgjob.EventJobAssigned:
		m.claims.WithLabelValues("offered").Inc()
		if at, ok := m.submitted[e.RunID]; ok && e.Attempt == 1 {
			m.jobWait.Observe(e.At.Sub(at).Seconds())
		}
	case qgjob.EventJobStarted:
		if e.JobID != nil {
			m.started[*e.JobID] = e.At
		}
	case qgjob.EventJobRequeued:
		m.countAttempt(e)
		if kind := retryKind(e.Outcome); kind != "" {
			m.retries.WithLabelValues(kind).Inc()
		}
	case qgjob.EventJobFinished:
		m.countAttempt(e)
		m.finished.WithLabelValues(string(e.Status)).Inc()
	}
}

// countAttempt counts an attempt that ended, when the event is about one: a
// job that is cancelled while it waits ends without.
func (m *metrics) countAttempt(e *qgjob.Event) {
	switch e.Install {
	case qgjob.InstallDone:
		m.installs.WithLabelValues("done").Inc()
		m.installTime.Observe(float64(e.InstallMS) / 1000)
	case qgjob.InstallAvoided:
		m.installs.WithLabelValues("avoided").Inc()
	case qgjob.InstallFailed:
		m.installs.WithLabelValues("failed").Inc()
	}
	if e.Outcome == qgjob.OutcomeLost || e.Outcome == qgjob.OutcomeReleased && e.Reason == qgjob.ReasonOfferExpired {
		m.expiries.Inc()
	}
	if e.JobID == nil || e.Outcome == "" {
		return
	}
	if at, ok := m.started[*e.JobID]; ok {
		delete(m.started, *e.JobID)
		m.attemptTime.WithLabelValues(string(e.Outcome)).Observe(e.At.Sub(at).Seconds())
	} else if ms := e.InstallMS + e.TestMS; ms > 0 {
		// It began before this process did: take the agent's word.
		m.attemptTime.WithLabelValues(string(e.Outcome)).Observe(float64(ms) / 1000)
	}
}

// retryKind is the budget that an attempt burnt which its job survived; "" for
// an offer that never started, which was no attempt at anything.
func retryKind(o qgjob.Outcome) string {
	switch o {
	case qgjob.OutcomeFailed:
		return "test"
	case qgjob.OutcomeErrored, qgjob.OutcomeLost:
		return "infrastructure"
	case qgjob.OutcomeInterrupted, qgjob.OutcomeCancelled:
		return "interrupted"
	}
	return ""
}

// patientRoutes take as long as their caller likes: their durations say
// nothing about the server.
var patientRoutes = []string{"/events", "/log", "/claim"}

// middleware counts requests by the pattern of their route, never by raw path:
// a scanner must not fill the memory of whoever keeps the metrics. It reads
// the pattern that the mux leaves in the request, so it must stand around the
// mux with nothing between them that copies the request.
func (m *metrics) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			method, route := methodLabel(r.Method), routeLabel(r.Pattern)
			m.requests.WithLabelValues(method, route, strconv.Itoa(seen.status)).Inc()
			for _, end := range patientRoutes {
				if strings.HasSuffix(route, end) {
					return
				}
			}
			m.requestTime.WithLabelValues(method, route).Observe(time.Since(begun).Seconds())
		}()
		next.ServeHTTP(seen, r)
	})
}

func routeLabel(pattern string) string {
	if _, path, ok := strings.Cut(pattern, " "); ok {
		pattern = path
	}
	if pattern == "" {
		return "unmatched"
	}
	return pattern
}

func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
	begun  bool
}

// WriteHeader notes the final status.
func (w *statusWriter) WriteHeader(status int) {
	if !w.begun && status >= 200 {
		w.status, w.begun = status, true
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write notes that the answer has begun.
func (w *statusWriter) Write(b []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
