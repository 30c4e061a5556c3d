// Package oidctest is GitHub's part in tests: an issuer of id-tokens with a
// real key, and the address where a job of GitHub Actions asks for one, in the
// form that GitHub documents.
//
// It imports nothing of ours.
package oidctest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// RequestToken is what a job shows when it asks for an id-token.
const RequestToken = "the-request-token-of-this-job"

// The numbers of the repository whose jobs ask.
const (
	RepositoryID      = "74"
	RepositoryOwnerID = "65"
)

var key = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// GitHub issues id-tokens. It is an http.Handler, and an http.RoundTripper for
// tests in a bubble of testing/synctest, which have no network.
type GitHub struct {
	URL    string                 // the issuer
	Change func(c map[string]any) // changes the claims, if set before the first token is asked for

	Down     atomic.Bool  // the issuer's keys cannot be had
	Mute     atomic.Bool  // the address for jobs answers with an error
	Asked    atomic.Int64 // id-tokens that were asked for, by jobs with the right to
	Audience atomic.Value // string: of the last one
}

// New gives a GitHub that is reached by its RoundTrip only.
func New() *GitHub { return &GitHub{URL: "http://127.0.0.1:1"} }

// Start gives a GitHub that listens on loopback until stop is called.
func Start() (g *GitHub, stop func()) {
	g = New()
	s := httptest.NewServer(g)
	g.URL = s.URL
	return g, s.Close
}

// Environment is what the runner gives to a job with the permission id-token:
// write.
func (g *GitHub) Environment() []string {
	return []string{"ACTIONS_ID_TOKEN_REQUEST_URL=" + g.RequestURL(), "ACTIONS_ID_TOKEN_REQUEST_TOKEN=" + RequestToken}
}

// RequestURL is where jobs ask.
func (g *GitHub) RequestURL() string { return g.URL + "/request/token?api-version=2.0" }

// Config is a server's --oidc-config that trusts a repository for an org.
func (g *GitHub) Config(audience, repositoryID, org string) string {
	return "issuer: " + g.URL + "\naudience: " + audience + "\ntrust:\n- repository_id: \"" + repositoryID + "\"\n  repository_owner_id: \"" + RepositoryOwnerID + "\"\n  org_id: " + org + "\n"
}

// ServeHTTP answers servers, which want keys, and jobs, which want id-tokens.
func (g *GitHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/request/token":
		g.serveJob(w, r)
	case g.Down.Load():
		w.WriteHeader(http.StatusBadGateway)
	case r.URL.Path == "/.well-known/openid-configuration":
		give(w, map[string]any{"issuer": g.URL, "jwks_uri": g.URL + "/.well-known/jwks"})
	case r.URL.Path == "/.well-known/jwks":
		pub := key().PublicKey
		give(w, map[string]any{"keys": []any{map[string]string{"kid": "k1", "kty": "RSA", "use": "sig", "alg": "RS256",
			"n": b64(pub.N.Bytes()), "e": b64(big.NewInt(int64(pub.E)).Bytes())}}})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (g *GitHub) serveJob(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodGet || r.Header.Get("Authorization") != "Bearer "+RequestToken || r.URL.Query().Get("api-version") != "2.0":
		w.WriteHeader(http.StatusForbidden)
	case g.Mute.Load():
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		g.Asked.Add(1)
		audience := r.URL.Query().Get("audience")
		g.Audience.Store(audience)
		give(w, map[string]any{"count": 1, "value": g.Token(audience, time.Now())})
	}
}

// Token issues an id-token of a push to the main branch.
func (g *GitHub) Token(audience string, now time.Time) string {
	c := map[string]any{"iss": g.URL, "aud": audience, "sub": "repo:octo/app:ref:refs/heads/main", "jti": rand.Text(),
		"exp": now.Add(5 * time.Minute).Unix(), "nbf": now.Unix(), "iat": now.Unix(),
		"repository": "octo/app", "repository_id": RepositoryID, "repository_owner": "octo", "repository_owner_id": RepositoryOwnerID, "event_name": "push", "ref": "refs/heads/main",
		"job_workflow_ref": "octo/app/.github/workflows/e2e.yml@refs/heads/main", "run_id": "1001", "run_attempt": "2"}
	if g.Change != nil {
		g.Change(c)
	}
	payload, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	text := b64([]byte(`{"typ":"JWT","alg":"RS256","kid":"k1"}`)) + "." + b64(payload)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key(), crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return text + "." + b64(sig)
}

// RoundTrip answers a request without a network.
func (g *GitHub) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(r.URL.String(), g.URL+"/") {
		return nil, http.ErrNotSupported
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	res := w.Result()
	res.Request = r
	return res, nil
}

func give(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

var b64 = base64.RawURLEncoding.EncodeToString
