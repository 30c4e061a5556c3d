package hook

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

var commit = strings.Repeat("a", 40)

func TestPlaceOf(t *testing.T) {
	for _, c := range []struct {
		repository, commit, pull, context string
		ok                                bool
		want                              Place
	}{
		{"acme/shop", commit, "7", "e2e", true, Place{"acme/shop", commit, 7, "qgjob / e2e"}},
		{"acme/shop.js", commit, "", "", true, Place{"acme/shop.js", commit, 0, "qgjob"}},
		{"acme/shop", commit, "-1", "", true, Place{"acme/shop", commit, 0, "qgjob"}},
		{"acme/shop", commit, "7/../../x", "", true, Place{"acme/shop", commit, 0, "qgjob"}},
		{"acme", commit, "", "", false, Place{}},
		{"acme/..", commit, "", "", false, Place{}},
		{"../shop", commit, "", "", false, Place{}},
		{"acme/shop/x", commit, "", "", false, Place{}},
		{"acme/shop?x", commit, "", "", false, Place{}},
		{"acme/shop", "main", "", "", false, Place{}},
		{"acme/shop", commit[:39], "", "", false, Place{}},
		{"", "", "", "", false, Place{}},
	} {
		got, ok := PlaceOf(qgjob.Run{Labels: map[string]string{LabelRepository: c.repository, LabelCommit: c.commit, LabelPull: c.pull, LabelContext: c.context}})
		if ok != c.ok || (ok && got != c.want) {
			t.Errorf("%q %q %q: %+v, %v", c.repository, c.commit, c.pull, got, ok)
		}
	}
}

func TestStatusOf(t *testing.T) {
	for _, c := range []struct {
		tally      qgjob.Tally
		conclusion qgjob.Conclusion
		state      string
		says       string
	}{
		{qgjob.Tally{Total: 3, Passed: 1}, "", "pending", "1 of 3 ended"},
		{qgjob.Tally{Total: 3, Passed: 3, Flaky: 1}, "passed", "success", "3 passed, 1 flaky"},
		{qgjob.Tally{Total: 3, Passed: 1, Failed: 1, Errored: 1}, "failed", "failure", "1 failed, 1 errored, 1 passed"},
		{qgjob.Tally{Total: 2, Passed: 1, Errored: 1}, "errored", "error", "1 errored, 1 passed"},
		{qgjob.Tally{Total: 1, Cancelled: 1}, "cancelled", "failure", "1 cancelled"},
	} {
		s := StatusOf(qgjob.Run{Tally: c.tally, Conclusion: c.conclusion}, "qgjob", "")
		if s.State != c.state || !strings.HasPrefix(s.Description, c.says) || len(s.Description) > maxDescription {
			t.Errorf("%+v: %+v", c.tally, s)
		}
	}
}

func TestClipKeepsCharactersWhole(t *testing.T) {
	if got := clip("aäöü", 4); got != "aä" {
		t.Errorf("%q", got)
	}
}

// TestGitHubRefusals: what stays refused, and what may be tried again.
func TestGitHubRefusals(t *testing.T) {
	for _, c := range []struct {
		status  int
		header  string
		refused bool
	}{
		{404, "", true}, {422, "", true}, {403, "", true}, {403, "Retry-After: 60", false}, {403, "X-RateLimit-Remaining: 0", false},
		{429, "", false}, {500, "", false}, {401, "", false},
	} {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if name, value, ok := strings.Cut(c.header, ": "); ok {
				w.Header().Set(name, value)
			}
			w.WriteHeader(c.status)
			fmt.Fprint(w, `{"message":"because\nof this"}`)
		}))
		g, err := NewGitHub(GitHubOptions{API: web.URL, Token: "t", Allow: loopback})
		if err != nil {
			t.Fatal(err)
		}
		err = g.SetStatus(t.Context(), Place{Repository: "a/b", Commit: commit}, Status{})
		if err == nil || errors.Is(err, ErrRefused) != c.refused || !strings.Contains(err.Error(), "because") {
			t.Errorf("%d %s: %v", c.status, c.header, err)
		}
		web.Close()
	}
}

// TestCommentKeepsToTheNewestRun, and to the oldest comment that bears the mark.
func TestCommentKeepsToTheNewestRun(t *testing.T) {
	g, calls := commentServer(t, "<!-- qgjob:o%2Fqgjob run_9 -->\nnine", "<!-- qgjob:o%2Fqgjob run_12 -->\ncopied by somebody")
	place := Place{Repository: "a/b", Commit: commit, Pull: 7, Context: "qgjob"}
	if err := g.Comment(t.Context(), place, "o", 8, "eight"); err != nil || len(*calls) != 1 {
		t.Errorf("an older run: %v, %v", *calls, err)
	}
	if err := g.Comment(t.Context(), place, "o", 10, strings.Repeat("ä", maxComment)); err != nil || len(*calls) != 3 || !strings.HasPrefix((*calls)[2], "PATCH /repos/a/b/issues/comments/1 ") {
		t.Errorf("a newer run: %v, %v", len(*calls), err)
	}
	if len((*calls)[2]) > maxComment+1000 {
		t.Errorf("a comment of %d bytes", len((*calls)[2]))
	}
	if err := g.Comment(t.Context(), place, "p", 1, "other org"); err != nil || !strings.HasPrefix((*calls)[4], "POST /repos/a/b/issues/7/comments ") {
		t.Errorf("another org: %v, %v", *calls, err)
	}
}

func commentServer(t *testing.T, bodies ...string) (*GitHub, *[]string) {
	t.Helper()
	var calls []string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		_ = json.NewDecoder(r.Body).Decode(&in)
		calls = append(calls, r.Method+" "+r.URL.Path+" "+in["body"])
		var list []comment
		for i, b := range bodies {
			list = append(list, comment{int64(i + 1), b})
		}
		if r.Method == http.MethodGet {
			_ = json.NewEncoder(w).Encode(list)
		}
	}))
	t.Cleanup(web.Close)
	g, err := NewGitHub(GitHubOptions{API: web.URL, Token: "t", Allow: loopback})
	if err != nil {
		t.Fatal(err)
	}
	return g, &calls
}

// TestAppToken: an app proves itself with its key, and keeps the token it got.
func TestAppToken(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	parsed, err := ParseAppKey(text)
	if err != nil || !parsed.Equal(key) {
		t.Fatal(err)
	}
	var asked, told int
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if r.URL.Path == "/app/installations/5/access_tokens" {
			asked++
			var claims struct{ Iss, Iat, Exp int64 }
			parts := strings.Split(bearer, ".")
			body, _ := base64.RawURLEncoding.DecodeString(parts[1])
			if err := json.Unmarshal(body, &claims); err != nil || claims.Iss != 4 || claims.Exp-claims.Iat > 600 {
				t.Errorf("claims %s, %v", body, err)
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"token": "ghs_1", "expires_at": time.Now().Add(time.Hour)})
			return
		}
		if told++; bearer != "ghs_1" {
			t.Errorf("bearer %s", bearer)
		}
	}))
	defer web.Close()
	g, err := NewGitHub(GitHubOptions{API: web.URL, App: &App{ID: 4, Installation: 5, Key: parsed}, Allow: loopback})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := g.SetStatus(t.Context(), Place{Repository: "a/b", Commit: commit}, Status{}); err != nil {
			t.Error(err)
		}
	}
	if asked != 1 || told != 2 {
		t.Errorf("asked for a token %d times, told %d times", asked, told)
	}
	for _, bad := range []string{"", "no pem", "-----BEGIN X-----\nAAAA\n-----END X-----\n"} {
		if _, err := ParseAppKey([]byte(bad)); qgjob.KindOf(err) != qgjob.KindInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestNewGitHubRefusals(t *testing.T) {
	for _, o := range []GitHubOptions{{}, {API: "api.github.com", Token: "t"}, {API: "https://x", Token: "t", App: &App{}}, {API: "https://x"}, {API: "https://u:p@x", Token: "t"}} {
		if _, err := NewGitHub(o); qgjob.KindOf(err) != qgjob.KindInvalid {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
