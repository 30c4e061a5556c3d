package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// quick tries again at once, for a bounded time.
var quick = Retry{Budget: 20 * time.Second, Base: time.Millisecond, Max: 5 * time.Millisecond}

// serve starts a real server on loopback and a client of it.
func serve(t *testing.T, r Retry, h http.HandlerFunc) *Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := New(srv.URL, Options{Token: "s3cret", UserAgent: "qgjob/test", Retry: r})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func reply(w http.ResponseWriter, status int, v any) {
	kind := "application/json"
	if status >= 300 {
		kind = "application/problem+json"
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func asError(t *testing.T, err error) *qgjob.Error {
	t.Helper()
	e, ok := errors.AsType[*qgjob.Error](err)
	if !ok {
		t.Fatalf("error %v (%T) is no *qgjob.Error", err, err)
	}
	return e
}

func TestNew(t *testing.T) {
	for _, test := range []struct{ base, token, field string }{
		{"http://127.0.0.1:8000", "", ""},
		{"https://ci.example.com/qgjob/", "abc-._~+/=", ""},
		{"127.0.0.1:8000", "", "server"},
		{"localhost:8000", "", "server"},
		{"", "", "server"},
		{"ftp://x", "", "server"},
		{"http://", "", "server"},
		{"http://user:pw@x", "", "server"},
		{"http://x?y=1", "", "server"},
		{"http://x#y", "", "server"},
		{"http://x", "two words", "token"},
		{"http://x", "line\nend", "token"},
		{"http://x", "schlüssel", "token"},
	} {
		c, err := New(test.base, Options{Token: test.token})
		if test.field == "" {
			if err != nil || strings.HasSuffix(c.Base(), "/") {
				t.Errorf("New(%q): %v, %v", test.base, c, err)
			}
			continue
		}
		if e := asError(t, err); e.Kind != qgjob.KindInvalid || e.Field != test.field {
			t.Errorf("New(%q, %q): %+v, want invalid %s", test.base, test.token, e, test.field)
		}
		if strings.Contains(err.Error(), "pw") || (test.field == "token" && strings.Contains(err.Error(), test.token)) {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
}

func TestErrorsComeBackAsRaised(t *testing.T) {
	type m = map[string]any
	for _, test := range []struct {
		name   string
		status int
		body   any
		want   qgjob.Error
	}{
		{"invalid", 422, m{"detail": "priority 11 is out of range", "kind": "invalid", "field": "priority", "hint": "use 1 to 10"},
			qgjob.Error{Kind: qgjob.KindInvalid, Field: "priority", Message: "priority 11 is out of range", Hint: "use 1 to 10"}},
		{"not found", 404, m{"detail": "job_9 is not known", "kind": "not_found"},
			qgjob.Error{Kind: qgjob.KindNotFound, Message: "job_9 is not known"}},
		{"stale lease", 409, m{"detail": "stale", "kind": "conflict", "code": "stale_lease"},
			qgjob.Error{Kind: qgjob.KindConflict, Code: qgjob.CodeStaleLease, Message: "stale"}},
		{"offset", 409, m{"detail": "the log is 17 bytes long", "kind": "conflict", "code": "offset", "offset": 17},
			qgjob.Error{Kind: qgjob.KindConflict, Code: qgjob.CodeOffset, Offset: 17, Message: "the log is 17 bytes long"}},
		{"superseded", 409, m{"detail": "newer", "kind": "conflict", "code": "agent_superseded"},
			qgjob.Error{Kind: qgjob.KindConflict, Code: qgjob.CodeAgentSuperseded, Message: "newer"}},
		{"denied", 403, m{"detail": "no", "kind": "denied"}, qgjob.Error{Kind: qgjob.KindDenied, Message: "no"}},
		{"unauthenticated", 401, m{"detail": "no token", "kind": "denied", "code": "unauthenticated"},
			qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeUnauthenticated, Message: "no token"}},
		{"too large", 413, m{"detail": "too long", "kind": "invalid", "code": "too_large"},
			qgjob.Error{Kind: qgjob.KindInvalid, Code: qgjob.CodeTooLarge, Message: "too long"}},
		{"unavailable", 503, m{"detail": "busy", "kind": "unavailable"}, qgjob.Error{Kind: qgjob.KindUnavailable, Message: "busy"}},
		{"internal", 500, m{"detail": "a fault", "kind": "internal"}, qgjob.Error{Kind: qgjob.KindInternal, Message: "a fault"}},
		{"no kind: by status", 409, m{"title": "Conflict"}, qgjob.Error{Kind: qgjob.KindConflict, Message: "Conflict"}},
		{"kind of tomorrow: by status", 404, m{"detail": "gone", "kind": "vanished"}, qgjob.Error{Kind: qgjob.KindNotFound, Message: "gone"}},
		{"401 without code", 401, m{"detail": "who?"}, qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeUnauthenticated, Message: "who?"}},
		{"malformed", 400, m{"detail": "no JSON"}, qgjob.Error{Kind: qgjob.KindInvalid, Message: "no JSON"}},
		{"seed", 404, m{"detail": "Job not found"}, qgjob.Error{Kind: qgjob.KindNotFound, Message: "Job not found"}},
		{"teapot", 418, m{"detail": "short"}, qgjob.Error{Kind: qgjob.KindInvalid, Message: "short"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := serve(t, NoRetry, func(w http.ResponseWriter, _ *http.Request) { reply(w, test.status, test.body) })
			_, err := c.Job(t.Context(), 9)
			got := *asError(t, err)
			if got.Kind != test.want.Kind || got.Code != test.want.Code || got.Field != test.want.Field ||
				got.Message != test.want.Message || got.Hint != test.want.Hint || got.Offset != test.want.Offset {
				t.Errorf("got %+v\nwant %+v", got, test.want)
			}
		})
	}
}

func TestErrorFields(t *testing.T) {
	c := serve(t, NoRetry, func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 422, map[string]any{"detail": "validation failed", "errors": []map[string]string{
			{"location": "body.jobs[3].test_path", "message": "must not be empty"}, {"location": "body.org_id", "message": "too long"},
		}})
	})
	_, err := c.Submit(t.Context(), qgjob.SubmitRequest{}, "")
	e := asError(t, err)
	if len(e.Fields) != 2 || e.Fields[0] != (qgjob.FieldError{Field: "jobs[3].test_path", Message: "must not be empty"}) {
		t.Errorf("fields %+v", e.Fields)
	}
}

// TestForeignAnswers: what no qgjob server says is never a verdict about jobs.
func TestForeignAnswers(t *testing.T) {
	for _, test := range []struct {
		status int
		kind   string
		body   string
		want   qgjob.Kind
	}{
		{200, "text/html", "<h1>log in</h1>", qgjob.KindUnavailable},
		{204, "", "", qgjob.KindUnavailable},
		{404, "text/html", "<h1>nginx</h1>", qgjob.KindUnavailable},
		{409, "text/plain", "conflict", qgjob.KindUnavailable},
		{502, "text/html", "<h1>Bad Gateway</h1>", qgjob.KindUnavailable},
		{403, "text/html", "<h1>Forbidden</h1>", qgjob.KindDenied},
		{413, "text/html", "<h1>nginx</h1>", qgjob.KindInvalid},
		{500, "text/plain", "oops", qgjob.KindInternal},
		{404, "application/problem+json", "{cut", qgjob.KindUnavailable},
	} {
		t.Run(fmt.Sprint(test.status, test.kind), func(t *testing.T) {
			c := serve(t, NoRetry, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{test.kind}
				w.WriteHeader(test.status)
				io.WriteString(w, test.body)
			})
			_, err := c.Job(t.Context(), 1)
			e := asError(t, err)
			if e.Kind != test.want || strings.Contains(err.Error(), "<h1>") || strings.Count(err.Error(), c.Base()) != 1 {
				t.Errorf("%v %q, want %v", e.Kind, err, test.want)
			}
		})
	}
}

func TestAnswerThatCannotBeRead(t *testing.T) {
	for _, body := range []string{`{"job_id":"job_x"}`, `{"job_id":`, `[]`} {
		c := serve(t, NoRetry, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, body)
		})
		if _, err := c.Job(t.Context(), 1); asError(t, err).Kind != qgjob.KindInternal {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestStatesOfTomorrow(t *testing.T) {
	c := serve(t, NoRetry, func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, map[string]any{"job_id": "job_1", "run_id": "run_1", "status": "paused", "target": "watch", "new_key": 1})
	})
	j, err := c.Job(t.Context(), 1)
	if err != nil || j.Status != "paused" || j.Target != "watch" || j.Status.Terminal() {
		t.Errorf("%+v, %v", j, err)
	}
}

func TestAnswerTooLong(t *testing.T) {
	c := serve(t, NoRetry, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, strings.Repeat(" ", 101))
	})
	what := get("/v1/jobs/job_1")
	what.limit = 100
	err := c.send(t.Context(), what, &qgjob.Job{})
	if e := asError(t, err); e.Code != qgjob.CodeTooLarge {
		t.Errorf("%+v", e)
	}
}

func TestUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + listener.Addr().String()
	listener.Close()
	c, err := New(base, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Job(t.Context(), 1)
	e := asError(t, err)
	if e.Kind != qgjob.KindUnavailable || e.Code != qgjob.CodeUnreachable || strings.Count(err.Error(), listener.Addr().String()) != 1 ||
		!strings.Contains(err.Error(), "refused") {
		t.Errorf("%+v: %v", e, err)
	}
}

func TestUntrustedCertificateIsNotTriedAgain(t *testing.T) {
	var dials atomic.Int32
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = nil
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			dials.Add(1)
		}
	}
	srv.StartTLS()
	defer srv.Close()
	c, err := New(srv.URL, Options{Retry: quick})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Job(t.Context(), 1)
	if e := asError(t, err); e.Kind != qgjob.KindUnavailable || !strings.Contains(e.Message, "trusted") || dials.Load() != 1 {
		t.Errorf("%v after %d connections", err, dials.Load())
	}
}

// TestRedirects: the token goes nowhere but to the server that was named, and
// no POST becomes a GET.
func TestRedirects(t *testing.T) {
	var leaked atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaked.Add(1)
		reply(w, 200, qgjob.Job{JobID: 1, RunID: 1, GroupID: 1})
	}))
	defer other.Close()
	c := serve(t, quick, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/jobs/job_1":
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusFound)
		case "/v1/jobs/job_2":
			http.Redirect(w, r, "/v1/jobs/job_3", http.StatusMovedPermanently)
		case "/v1/jobs/job_3":
			if r.Header.Get("Authorization") != "Bearer s3cret" {
				t.Error("the token is lost on the way")
			}
			reply(w, 200, qgjob.Job{JobID: 3, RunID: 1, GroupID: 1})
		default:
			if r.Method == http.MethodGet {
				t.Error("a POST became a GET")
			}
			http.Redirect(w, r, "/v1/runs/run_1", http.StatusFound)
		}
	})
	_, err := c.Job(t.Context(), 1)
	if e := asError(t, err); e.Kind != qgjob.KindUnavailable || !strings.Contains(err.Error(), other.URL) {
		t.Errorf("another host: %v", err)
	}
	if j, err := c.Job(t.Context(), 2); err != nil || j.JobID != 3 {
		t.Errorf("same host: %v, %v", j.JobID, err)
	}
	if _, err := c.Submit(t.Context(), qgjob.SubmitRequest{}, "key"); asError(t, err).Kind != qgjob.KindUnavailable {
		t.Errorf("POST: %v", err)
	}
	if leaked.Load() != 0 {
		t.Errorf("%d requests reached the other host", leaked.Load())
	}
}

func TestSilentServer(t *testing.T) {
	stop := make(chan struct{})
	c := serve(t, NoRetry, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/runs/run_2/junit" {
			w.Write([]byte("<testsuites>"))
			w.(http.Flusher).Flush()
		}
		<-stop
	})
	t.Cleanup(func() { close(stop) })
	what := get("/v1/jobs/job_1")
	what.idle = 20 * time.Millisecond
	if e := asError(t, c.send(t.Context(), what, nil)); e.Code != qgjob.CodeUnreachable {
		t.Errorf("no answer at all: %+v", e)
	}
	what.path = "/v1/runs/run_2/junit"
	if e := asError(t, c.send(t.Context(), what, nil)); e.Code != qgjob.CodeUnreachable {
		t.Errorf("half an answer: %+v", e)
	}
}

func TestContextEndsACall(t *testing.T) {
	gone := errors.New("the caller left")
	ctx, cancel := context.WithCancelCause(t.Context())
	c := serve(t, Retry{Budget: Unlimited, Base: time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		cancel(gone)
		reply(w, 503, nil)
	})
	if _, err := c.Job(ctx, 1); !errors.Is(err, gone) {
		t.Errorf("%v, want the context's cause", err)
	}
}
