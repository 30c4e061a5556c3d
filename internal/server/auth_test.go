package server

import (
	"net/http"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

func TestToken(t *testing.T) {
	const token = "correct horse battery staple"
	r := newRig(t, rigOptions{token: token})
	for _, header := range []string{"Bearer " + token, "bearer " + token, "BEARER  " + token} {
		must[list[qgjob.Agent]](r, 200, "GET", "/v1/agents", nil, "Authorization", header)
	}
	for _, header := range []string{"", "Bearer", "Bearer ", "Bearer wrong", "Bearer " + token + "x", "Bearer " + token[1:], "Basic " + token, token, "Bearer\t" + token} {
		p := r.ask("GET", "/v1/agents", nil, "Authorization", header)
		if p.Status != 401 || !strings.HasPrefix(p.Header.Get("Www-Authenticate"), "Bearer") || !strings.Contains(string(p.Body), `"code":"unauthenticated"`) {
			t.Errorf("Authorization %q: %s, WWW-Authenticate %q", header, p, p.Header.Get("Www-Authenticate"))
		}
		if strings.Contains(string(p.Body), "correct horse") {
			t.Errorf("the answer repeats the token: %s", p.Body)
		}
	}
	if log := r.logs.String(); strings.Contains(log, "horse") {
		t.Errorf("the log has the token: %s", log)
	}
}

// Every route but health and docs asks for the token, before it looks at
// anything else.
func TestEveryRouteNeedsTheToken(t *testing.T) {
	r := newRig(t, rigOptions{token: "secret"})
	open := map[string]bool{}
	for _, route := range r.routes() {
		path := strings.NewReplacer("{", "", "}", "", "...", "").Replace(route.Pattern)
		if strings.HasSuffix(route.Pattern, "$}") {
			path = strings.TrimSuffix(route.Pattern, "{$}")
		}
		if route.Scope == scopeOpen {
			if route.Method != "" { // without one: says only which method it would be
				open[route.Pattern] = true
			}
			continue
		}
		p := r.ask(route.Method, path, nil)
		if p.Status != http.StatusUnauthorized {
			t.Errorf("%s %s without a token: %d; want 401", route.Method, path, p.Status)
		}
	}
	for pattern := range open {
		if strings.HasPrefix(pattern, "/v1/") && !strings.HasPrefix(pattern, "/v1/oidc") || strings.HasPrefix(pattern, "/jobs") || strings.HasPrefix(pattern, "/agents") {
			t.Errorf("%s is open to everybody", pattern)
		}
	}
	for _, pattern := range []string{"/openapi.json", "/healthz"} {
		if !open[pattern] {
			t.Errorf("%s asks for a token", pattern)
		}
	}
}

func TestNoTokenConfigured(t *testing.T) {
	r := newRig(t, rigOptions{})
	must[list[qgjob.Agent]](r, 200, "GET", "/v1/agents", nil)
	must[list[qgjob.Agent]](r, 200, "GET", "/v1/agents", nil, "Authorization", "Bearer whatever")
}
