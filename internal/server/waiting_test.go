package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

// TestWaiting: alive in the very words of a server that runs, not ready, and
// every other call refused so that it is made again.
func TestWaiting(t *testing.T) {
	h := newHouse(t)
	why := qgjob.Unavailable(nil, "the database is read-only")
	why.Hint = "the server goes on by itself"
	waiting := Waiting(func() *qgjob.Error { return why })
	for _, path := range []string{"/healthz", "/health"} {
		running := h.send("GET", path, "")
		_, body := h.read(running)
		w := httptest.NewRecorder()
		waiting.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != http.StatusOK || w.Body.String() != body || w.Header().Get("Content-Type") != running.Header.Get("Content-Type") {
			t.Errorf("%s: %d %q, running %q", path, w.Code, w.Body.String(), body)
		}
	}
	for _, call := range []string{"GET /readyz", "GET /metrics", "GET /docs", "GET /", "GET /no/such/path", "GET /v1/runs", "POST /v1/runs", "POST /jobs/submit",
		"POST /v1/agents/a1/claim", "PATCH /v1/blobs/0", "POST /healthz", "DELETE /v1/tokens/1"} {
		method, path, _ := strings.Cut(call, " ")
		w := httptest.NewRecorder()
		waiting.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader("{}")))
		body, head := w.Body.String(), w.Header()
		if w.Code != http.StatusServiceUnavailable || head.Get("Content-Type") != "application/problem+json" || head.Get("Retry-After") == "" || head.Get("X-Request-Id") == "" {
			t.Errorf("%s: %d %v", call, w.Code, head)
		}
		if !strings.Contains(body, `"kind":"unavailable"`) || !strings.Contains(body, why.Message) || !strings.Contains(body, why.Hint) || strings.Contains(body, "not ready: ") != (path == "/readyz") {
			t.Errorf("%s: %s", call, body)
		}
	}
}
