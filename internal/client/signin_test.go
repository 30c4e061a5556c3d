package client

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
)

const anIDToken = "eyJ0.eyJh.c2ln"

// TestActions: how GitHub is asked, and what its answers mean.
func TestActions(t *testing.T) {
	var asked, elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, test := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		kind   qgjob.Kind // empty: it is given
		says   string
	}{
		{"given", func(w http.ResponseWriter) { io.WriteString(w, `{"count":1,"value":"`+anIDToken+`"}`) }, "", ""},
		{"no permission", func(w http.ResponseWriter) { w.WriteHeader(403) }, qgjob.KindDenied, "id-token: write"},
		{"unknown job", func(w http.ResponseWriter) { w.WriteHeader(401) }, qgjob.KindDenied, "id-token: write"},
		{"down", func(w http.ResponseWriter) { w.WriteHeader(503); io.WriteString(w, "secret") }, qgjob.KindUnavailable, "answered 503"},
		{"limited", func(w http.ResponseWriter) { w.WriteHeader(429) }, qgjob.KindUnavailable, "answered 429"},
		{"elsewhere", func(w http.ResponseWriter) { w.Header().Set("Location", other.URL); w.WriteHeader(307) }, qgjob.KindUnavailable, "redirects"},
		{"a page", func(w http.ResponseWriter) { io.WriteString(w, "<html>secret") }, qgjob.KindUnavailable, "holds no id-token"},
		{"empty", func(http.ResponseWriter) {}, qgjob.KindUnavailable, "holds no id-token"},
		{"no value", func(w http.ResponseWriter) { io.WriteString(w, `{"value":""}`) }, qgjob.KindUnavailable, "holds no id-token"},
		{"a number", func(w http.ResponseWriter) { io.WriteString(w, `{"value":7}`) }, qgjob.KindUnavailable, "holds no id-token"},
		{"two parts", func(w http.ResponseWriter) { io.WriteString(w, `{"value":"secret.b"}`) }, qgjob.KindUnavailable, "holds no id-token"},
		{"a header", func(w http.ResponseWriter) { io.WriteString(w, `{"value":"a.b.c\r\nsecret: 1"}`) }, qgjob.KindUnavailable, "holds no id-token"},
		{"too long a token", func(w http.ResponseWriter) { io.WriteString(w, `{"value":"a.b.`+strings.Repeat("c", maxIDToken)+`"}`) }, qgjob.KindUnavailable, "holds no id-token"},
		{"endless", func(w http.ResponseWriter) {
			for range 2 * maxActions / 1024 {
				io.WriteString(w, strings.Repeat(" ", 1024))
			}
			io.WriteString(w, `{"value":"`+anIDToken+`"}`)
		}, qgjob.KindUnavailable, "holds no id-token"},
		{"cut", func(w http.ResponseWriter) { w.Header().Set("Content-Length", "900"); io.WriteString(w, `{"value":"`) }, qgjob.KindUnavailable, "gives no id-token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			github := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				if r.Method != "GET" || r.URL.RawQuery != "api-version=2.0&audience=https%3A%2F%2Fq.example%2Fa%26b" || r.Header.Get("Authorization") != "Bearer request-secret" {
					t.Errorf("%s %s with %q", r.Method, r.URL, r.Header)
				}
				test.answer(w)
			}))
			defer github.Close()
			got, err := Actions{URL: github.URL + "/x?api-version=2.0&audience=another", Token: "request-secret", Audience: "https://q.example/a&b"}.IDToken(t.Context())
			if test.kind == "" {
				if err != nil || got != anIDToken {
					t.Errorf("%q %v", got, err)
				}
				return
			}
			if got != "" || qgjob.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), anIDToken) {
				t.Errorf("%q %v", got, err)
			}
		})
	}
	if elsewhere.Load() != 0 {
		t.Error("a redirect was followed")
	}
	before := asked.Load()
	for _, bad := range []string{"http://github.example/x", "ftp://127.0.0.1/x", "http://127.0.0.1@github.example/x", "https://user:pw-secret@127.0.0.1/x", "127.0.0.1/x", "", "http://%zz"} {
		_, err := Actions{URL: bad, Token: "request-secret", Audience: "a"}.IDToken(t.Context())
		if qgjob.KindOf(err) != qgjob.KindInvalid || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	_, err := Actions{URL: gone.URL + "/x?key=secret", Token: "request-secret", Audience: "a"}.IDToken(t.Context())
	if qgjob.KindOf(err) != qgjob.KindUnavailable || strings.Contains(err.Error(), "secret") || asked.Load() != before {
		t.Errorf("nobody there: %v", err)
	}
}

// mute is a transport whose peer takes a request and never answers.
type mute struct{}

func (mute) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestActionsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := Actions{URL: "https://g.example/", Token: "x", Audience: "a", HTTP: mute{}}.IDToken(t.Context())
		if took := time.Since(began); qgjob.KindOf(err) != qgjob.KindUnavailable || took != actionsTimeout {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestPrivate(t *testing.T) {
	for address, want := range map[string]bool{"https://q.example": true, "http://127.0.0.1:8000": true, "http://[::1]:1": true, "http://localhost/x": true,
		"http://q.example": false, "http://127.0.0.1.q.example": false, "http://10.0.0.1": false, "http://localhost.q.example": false, "ws://127.0.0.1": false, "": false, "http:///x": false} {
		if got := Private(address); got != want {
			t.Errorf("%q: %t", address, got)
		}
	}
}

// gate is a server that takes a call with a token that it gave, as often as
// each is good for.
type gate struct {
	idTokens, exchanges, done atomic.Int64
	good                      int64 // calls that a token is good for; 0: any number
	refusal                   string
	exchange                  func(w http.ResponseWriter) bool
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, _ := io.ReadAll(r.Body)
	if r.URL.Path == "/v1/oidc/token" {
		n := g.exchanges.Add(1)
		if r.Header.Get("Authorization") != "" || !strings.Contains(string(text), anIDToken) {
			reply(w, 500, map[string]string{"detail": "not an exchange: " + string(text)})
			return
		}
		if g.exchange != nil && g.exchange(w) {
			return
		}
		reply(w, 201, qgjob.OIDCResponse{Token: "given-" + strings.Repeat("i", int(n)), OrgID: "o", ExpiresAt: time.Now().Add(15 * time.Minute)})
		return
	}
	token, given := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer given-")
	if !given || int64(len(token)) != g.exchanges.Load() || g.good > 0 && g.done.Load() >= g.good*g.exchanges.Load() {
		reply(w, 401, map[string]string{"kind": "denied", "code": g.refusal, "detail": "refused here"})
		return
	}
	if want := `{"n":1}`; r.Method == http.MethodPost && string(text) != want {
		reply(w, 500, map[string]string{"detail": "the body is " + string(text)})
		return
	}
	g.done.Add(1)
	reply(w, 200, map[string]string{})
}

func (g *gate) client(t *testing.T, r Retry, idToken func(context.Context) (string, error)) *Client {
	t.Helper()
	srv := httptest.NewServer(g)
	t.Cleanup(srv.Close)
	if idToken == nil {
		idToken = func(context.Context) (string, error) { g.idTokens.Add(1); return anIDToken, nil }
	}
	c, err := New(srv.URL, Options{IDToken: idToken, Retry: r})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestSignInRepeatsTheRefusedCall: once, whole, and also a call that must not
// be sent twice: what was refused was not begun.
func TestSignInRepeatsTheRefusedCall(t *testing.T) {
	g := &gate{good: 2, refusal: qgjob.CodeTokenExpired}
	c := g.client(t, NoRetry, nil)
	what := call{method: http.MethodPost, path: "/v1/x", json: map[string]int{"n": 1}}
	for range 6 {
		if err := c.With(NoRetry).send(t.Context(), what, nil); err != nil {
			t.Fatal(err)
		}
	}
	if g.done.Load() != 6 || g.exchanges.Load() != 3 || g.idTokens.Load() != 3 {
		t.Errorf("%d calls, %d exchanges of %d id-tokens", g.done.Load(), g.exchanges.Load(), g.idTokens.Load())
	}
	if err := c.WithToken("given-x").send(t.Context(), what, nil); qgjob.KindOf(err) != qgjob.KindDenied || g.exchanges.Load() != 3 {
		t.Errorf("a token of one's own is not replaced: %v", err)
	}
}

func TestSignInFails(t *testing.T) {
	down := func(context.Context) (string, error) {
		return "", &qgjob.Error{Kind: qgjob.KindUnavailable, Message: "no id-token today"}
	}
	for _, test := range []struct {
		name      string
		gate      *gate
		idToken   func(context.Context) (string, error)
		kind      qgjob.Kind
		says      string
		exchanges int64
	}{
		{"revoked is for good", &gate{refusal: qgjob.CodeTokenRevoked}, nil, qgjob.KindDenied, "refused here", 0},
		{"the scope is lacking", &gate{refusal: qgjob.CodeScope}, nil, qgjob.KindDenied, "refused here", 0},
		{"GitHub is down", &gate{refusal: qgjob.CodeUnauthenticated}, down, qgjob.KindUnavailable, "no id-token today", 0},
		{"the new one is refused, too", &gate{refusal: qgjob.CodeUnauthenticated, exchange: func(w http.ResponseWriter) bool {
			reply(w, 201, qgjob.OIDCResponse{Token: "another", ExpiresAt: time.Now().Add(time.Minute)})
			return true
		}}, nil, qgjob.KindDenied, "refused here", 1},
		{"no token in the answer", &gate{refusal: qgjob.CodeUnauthenticated, exchange: func(w http.ResponseWriter) bool { reply(w, 201, qgjob.OIDCResponse{}); return true }}, nil, qgjob.KindInternal, "gave no token", 1},
		{"no header can hold it", &gate{refusal: qgjob.CodeUnauthenticated, exchange: func(w http.ResponseWriter) bool {
			reply(w, 201, qgjob.OIDCResponse{Token: "a\r\nb"})
			return true
		}}, nil, qgjob.KindInternal, "gave no token", 1},
		{"no id-tokens are taken", &gate{refusal: qgjob.CodeUnauthenticated, exchange: func(w http.ResponseWriter) bool {
			reply(w, 404, map[string]string{"kind": "not_found", "detail": "this server trusts no id-tokens"})
			return true
		}}, nil, qgjob.KindDenied, "--oidc-config", 1},
		{"the issuer is down", &gate{refusal: qgjob.CodeUnauthenticated, exchange: func(w http.ResponseWriter) bool {
			reply(w, 503, map[string]string{"kind": "unavailable", "detail": "the issuer does not answer"})
			return true
		}}, nil, qgjob.KindUnavailable, "the issuer does not answer", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := test.gate.client(t, NoRetry, test.idToken)
			err := c.send(t.Context(), get("/v1/x"), nil)
			if qgjob.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), anIDToken) {
				t.Errorf("%v", err)
			}
			if n := test.gate.exchanges.Load(); n != test.exchanges {
				t.Errorf("%d exchanges, want %d", n, test.exchanges)
			}
		})
	}
}

// TestSignInAgain: an id-token whose answer was lost is not sent again: each is
// good once. A call that must not be sent twice is tried again nevertheless: it
// was refused before.
func TestSignInAgain(t *testing.T) {
	lost := atomic.Int64{}
	g := &gate{refusal: qgjob.CodeUnauthenticated, exchange: func(w http.ResponseWriter) bool {
		if lost.Add(1) > 2 {
			return false
		}
		reply(w, 503, map[string]string{"kind": "unavailable"})
		return true
	}}
	c := g.client(t, Retry{Budget: time.Minute, Base: time.Millisecond, Max: time.Millisecond}, nil)
	if err := c.send(t.Context(), call{method: http.MethodPost, path: "/v1/x", json: map[string]int{"n": 1}}, nil); err != nil {
		t.Fatal(err)
	}
	if g.idTokens.Load() != 3 || g.done.Load() != 1 {
		t.Errorf("%d id-tokens for %d calls", g.idTokens.Load(), g.done.Load())
	}
}

// TestPassKeepsTime: clocks of two machines differ, and a token is renewed
// neither all the time nor never.
func TestPassKeepsTime(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, test := range []struct{ says, lives time.Duration }{
		{15 * time.Minute, 15 * time.Minute}, {10 * time.Minute, 10 * time.Minute}, {40 * time.Minute, 15 * time.Minute}, {-time.Hour, minLife}, {0, minLife}, {time.Second, minLife},
	} {
		p := newPass(func(context.Context) (string, error) { return "", nil })
		p.keep(qgjob.OIDCResponse{Token: "t", ExpiresAt: now.Add(test.says)}, now)
		if _, until, renew := p.held(); until.Sub(now) != test.lives || until.Sub(renew) != renewAhead {
			t.Errorf("%v: until %v, renewed at %v", test.says, until.Sub(now), renew.Sub(now))
		}
	}
}

// FuzzIDToken: what GitHub answers is an id-token in its form, or none.
func FuzzIDToken(f *testing.F) {
	f.Add(200, []byte(`{"value":"`+anIDToken+`"}`))
	f.Add(200, []byte(`{"value":"a.b.c.d"}`))
	f.Add(302, []byte(`{"value":"a.b.c"}`))
	f.Fuzz(func(t *testing.T, status int, text []byte) {
		got, err := readIDToken("g.example", status, text)
		if (err == nil) != (got != "") || got != "" && (status != 200 || strings.Count(got, ".") != 2 || badToken(got) || len(got) > maxIDToken) {
			t.Errorf("%d %q: %q %v", status, text, got, err)
		}
	})
}
