package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

func TestProblemOf(t *testing.T) {
	for _, test := range []struct {
		name   string
		err    error
		status int
		want   string // of the body, between the braces
	}{
		{"invalid", qgjob.Invalid("target", "target \"x\" is unknown"), 422,
			`"type":"about:blank","title":"Unprocessable Entity","status":422,"detail":"target \"x\" is unknown","kind":"invalid","field":"target","errors":[{"location":"body.target","message":"target \"x\" is unknown"}]`},
		{"not found", qgjob.NotFound("job %s does not exist", qgjob.JobID(7)), 404,
			`"type":"about:blank","title":"Not Found","status":404,"detail":"job job_7 does not exist","kind":"not_found"`},
		{"conflict", qgjob.Conflict(qgjob.CodeTerminal, "ended"), 409,
			`"type":"about:blank","title":"Conflict","status":409,"detail":"ended","kind":"conflict","code":"terminal"`},
		{"offset zero", &qgjob.Error{Kind: qgjob.KindConflict, Code: qgjob.CodeOffset, Message: "gap"}, 409,
			`"type":"about:blank","title":"Conflict","status":409,"detail":"gap","kind":"conflict","code":"offset","offset":0`},
		{"offset", &qgjob.Error{Kind: qgjob.KindConflict, Code: qgjob.CodeOffset, Message: "gap", Offset: 9, Hint: "go on there"}, 409,
			`"type":"about:blank","title":"Conflict","status":409,"detail":"gap","kind":"conflict","code":"offset","hint":"go on there","offset":9`},
		{"denied", &qgjob.Error{Kind: qgjob.KindDenied, Message: "no"}, 403, `"type":"about:blank","title":"Forbidden","status":403,"detail":"no","kind":"denied"`},
		{"unauthenticated", &qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeUnauthenticated, Message: "no"}, 401,
			`"type":"about:blank","title":"Unauthorized","status":401,"detail":"no","kind":"denied","code":"unauthenticated"`},
		{"unavailable", qgjob.Unavailable(errors.New("disk on fire"), "try later"), 503, `"type":"about:blank","title":"Service Unavailable","status":503,"detail":"try later","kind":"unavailable"`},
		{"too large", tooLarge(5), 413, `"type":"about:blank","title":"Request Entity Too Large","status":413,"detail":"the request's body is over the limit of 5 bytes","kind":"invalid","code":"too_large"`},
		{"several fields", &qgjob.Error{Kind: qgjob.KindInvalid, Field: "query.a", Message: "two", Fields: []qgjob.FieldError{{Field: "query.a", Message: "x"}, {Field: "b", Message: "y"}}}, 422,
			`"type":"about:blank","title":"Unprocessable Entity","status":422,"detail":"two","kind":"invalid","field":"a","errors":[{"location":"query.a","message":"x"},{"location":"body.b","message":"y"}]`},
		{"wrapped", errors.Join(errors.New("around"), qgjob.NotFound("gone")), 404, `"type":"about:blank","title":"Not Found","status":404,"detail":"gone","kind":"not_found"`},
		{"unknown", errors.New("sql: secret is hunter2"), 500,
			`"type":"about:blank","title":"Internal Server Error","status":500,"detail":"the server could not do this: a fault of its own","kind":"internal","hint":"report it; its log has the cause under request unknown"`},
		{"internal", &qgjob.Error{Kind: qgjob.KindInternal, Message: "secret is hunter2"}, 500,
			`"type":"about:blank","title":"Internal Server Error","status":500,"detail":"the server could not do this: a fault of its own","kind":"internal","hint":"report it; its log has the cause under request unknown"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			nobody.writeProblem(w, httptest.NewRequest("GET", "/", nil), test.err)
			if got := strings.TrimSpace(w.Body.String()); got != "{"+test.want+"}" {
				t.Errorf("body\n     %s\nwant {%s}", got, test.want)
			}
			if w.Code != test.status || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("status %d as %s; want %d", w.Code, w.Header().Get("Content-Type"), test.status)
			}
			if (w.Header().Get("Retry-After") != "") != (test.status == 503) {
				t.Errorf("Retry-After %q with %d", w.Header().Get("Retry-After"), test.status)
			}
			if (w.Header().Get("Www-Authenticate") != "") != (test.status == 401) {
				t.Errorf("WWW-Authenticate %q with %d", w.Header().Get("Www-Authenticate"), test.status)
			}
		})
	}
}

// A fault of the server is logged once with its cause and the id that the
// client was given, and the client never sees the cause.
func TestInternalErrorIsLoggedOnceAndHidden(t *testing.T) {
	r := newRig(t, rigOptions{})
	boom := operation(r.Server, route{Method: "GET", Pattern: "/v1/boom", ID: "boom"}, func(context.Context, *struct{}) (*answer[qgjob.Run], error) {
		return nil, errors.New("secret is hunter2")
	})
	handlers := caught{}
	boom.operation(humaFor(handlers, r.Server), boom.describe())
	r.mux.Handle("GET /v1/boom", handlers["GET /v1/boom"])
	p := r.ask("GET", "/v1/boom", nil)
	id := p.Header.Get("X-Request-Id")
	var got problem
	if err := json.Unmarshal(p.Body, &got); err != nil || p.Status != 500 || got.Kind != qgjob.KindInternal || !strings.Contains(got.Hint, id) || id == "" {
		t.Errorf("answer %s (request %q), %v", p, id, err)
	}
	if strings.Contains(string(p.Body), "hunter2") {
		t.Errorf("the cause is shown: %s", p.Body)
	}
	log := r.logs.String()
	if strings.Count(log, "hunter2") != 1 || strings.Count(log, id) != 1 {
		t.Errorf("log %q; want the cause and %s once", log, id)
	}
}

func TestPanics(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.mux.Handle("GET /v1/panics", r.survive(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret is hunter2") })))
	r.mux.Handle("GET /v1/panics-late", r.survive(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("half of an"))
		_ = http.NewResponseController(w).Flush()
		panic("too late")
	})))
	r.refuse(500, qgjob.KindInternal, "", "GET", "/v1/panics", nil)
	if log := r.logs.String(); strings.Count(log, "hunter2") != 1 || !strings.Contains(log, "errors_test.go") {
		t.Errorf("log %q; want the panic once, with its stack", log)
	}
	// Half an answer must not look like a whole one.
	if got, err := r.send(t.Context(), "GET", "/v1/panics-late", nil); err == nil {
		t.Errorf("an answer cut by a panic arrived whole: %s", got)
	}
	must[list[qgjob.Agent]](r, 200, "GET", "/v1/agents", nil) // the server goes on
}

func TestSecurityHeaders(t *testing.T) {
	r := newRig(t, rigOptions{})
	ids := map[string]bool{}
	for _, path := range []string{"/v1/runs", "/v1/runs/run_9", "/nowhere", "/openapi.json"} {
		h := r.ask("GET", path, nil).Header
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s %q; want %q", path, name, got, want)
			}
		}
		if !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: policy %q", path, h.Get("Content-Security-Policy"))
		}
		ids[h.Get("X-Request-Id")] = true
	}
	if len(ids) != 4 || ids[""] {
		t.Errorf("request ids %v; want four different ones", ids)
	}
}
