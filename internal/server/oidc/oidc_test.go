package oidc

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// issuer is GitHub's issuer on loopback: real keys over real HTTP, in the form
// of its documents.
type issuer struct {
	*httptest.Server
	keys map[string]*rsa.PrivateKey // by kid; those in the set
	hits atomic.Int64               // of the set
	down atomic.Bool
}

var testKeys = map[string]*rsa.PrivateKey{}

func keyOf(t testing.TB, name string, bits int) *rsa.PrivateKey {
	t.Helper()
	if testKeys[name] == nil {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		testKeys[name] = key
	}
	return testKeys[name]
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	is := &issuer{keys: map[string]*rsa.PrivateKey{"k1": keyOf(t, "k1", 2048)}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, is.URL, is.URL+"/.well-known/jwks")
	})
	mux.HandleFunc("GET /.well-known/jwks", func(w http.ResponseWriter, _ *http.Request) {
		is.hits.Add(1)
		var set struct {
			Keys []jwk `json:"keys"`
		}
		for kid, key := range is.keys {
			set.Keys = append(set.Keys, jwk{Kid: kid, Kty: "RSA", Use: "sig", Alg: "RS256", N: part.EncodeToString(key.N.Bytes()), E: part.EncodeToString(big.NewInt(int64(key.E)).Bytes())})
		}
		set.Keys = append(set.Keys, jwk{Kid: "enc", Kty: "RSA", Use: "enc", N: set.Keys[0].N, E: set.Keys[0].E})
		if is.down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_ = json.NewEncoder(w).Encode(set)
	})
	is.Server = httptest.NewServer(mux)
	t.Cleanup(is.Close)
	return is
}

const audience = "https://qgjob.example.com"

// claims are those of a push to main.
func (is *issuer) claims(now time.Time) map[string]any {
	return map[string]any{"iss": is.URL, "aud": audience, "sub": "repo:octo/app:ref:refs/heads/main", "jti": rand.Text(),
		"exp": now.Add(5 * time.Minute).Unix(), "nbf": now.Add(-time.Minute).Unix(), "iat": now.Unix(),
		"repository": "octo/app", "repository_id": "74", "repository_owner": "octo", "repository_owner_id": "65", "event_name": "push", "ref": "refs/heads/main",
		"job_workflow_ref": "octo/app/.github/workflows/e2e.yml@refs/heads/main", "run_id": "1001", "run_attempt": "1", "actor": "mona"}
}

func sign(t testing.TB, key *rsa.PrivateKey, header, payload string) string {
	t.Helper()
	text := part.EncodeToString([]byte(header)) + "." + part.EncodeToString([]byte(payload))
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + part.EncodeToString(sig)
}

const goodHeader = `{"typ":"JWT","alg":"RS256","x5t":"abc","kid":"k1"}`

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func verifier(t testing.TB, is *issuer, change func(*Trust)) *Verifier {
	t.Helper()
	trust := Trust{RepositoryID: "74", RepositoryOwnerID: "65", OrgID: "acme"}
	if change != nil {
		change(&trust)
	}
	v, err := New(Config{Issuer: is.URL, Audience: audience, Trust: []Trust{trust}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// bad is a token that must be refused, with the check that has to catch it.
type bad struct {
	name, check string
	claims      func(map[string]any)     // changes the claims
	header      string                   // instead of the good one
	token       func(good string) string // changes the signed token
	payload     func(string) string      // changes the payload before it is signed
	trust       func(*Trust)             // what the repository is trusted for
}

func set(name string, v any) func(map[string]any) { return func(c map[string]any) { c[name] = v } }
func unset(name string) func(map[string]any)      { return func(c map[string]any) { delete(c, name) } }

func badTokens(now time.Time) []bad {
	list := []bad{
		{name: "empty", check: "form", token: func(string) string { return "" }},
		{name: "two parts", check: "form", token: func(g string) string { return g[:strings.LastIndex(g, ".")] }},
		{name: "four parts", check: "form", token: func(g string) string { return g + ".e30" }},
		{name: "truncated", check: "signature", token: func(g string) string { return g[:len(g)-6] }},
		{name: "one bit of the signature", check: "signature", token: func(g string) string {
			at := strings.LastIndex(g, ".") + 5
			c := "A"
			if g[at] == 'A' {
				c = "B"
			}
			return g[:at] + c + g[at+1:]
		}},
		{name: "no signature", check: "signature", token: func(g string) string { return g[:strings.LastIndex(g, ".")+1] }},
		{name: "padded base64", check: "encoding", token: func(g string) string { return g + "==" }},
		{name: "line end inside", check: "encoding", token: func(g string) string { return g[:20] + "\n" + g[20:] }},
		{name: "plain base64", check: "encoding", token: func(g string) string { return "+/" + g }},
		{name: "huge", check: "size", token: func(g string) string { return g + strings.Repeat("A", MaxToken) }},
		{name: "claims of another", check: "signature", token: func(g string) string {
			p := strings.Split(g, ".")
			return p[0] + "." + part.EncodeToString([]byte(`{"sub":"x"}`)) + "." + p[2]
		}},
		{name: "alg none", check: "algorithm", header: `{"typ":"JWT","alg":"none","kid":"k1"}`},
		{name: "alg None", check: "algorithm", header: `{"typ":"JWT","alg":"None","kid":"k1"}`},
		{name: "alg HS256", check: "algorithm", header: `{"typ":"JWT","alg":"HS256","kid":"k1"}`},
		{name: "alg ES256", check: "algorithm", header: `{"typ":"JWT","alg":"ES256","kid":"k1"}`},
		{name: "alg RS512", check: "algorithm", header: `{"typ":"JWT","alg":"RS512","kid":"k1"}`},
		{name: "alg PS256", check: "algorithm", header: `{"typ":"JWT","alg":"PS256","kid":"k1"}`},
		{name: "no alg", check: "algorithm", header: `{"typ":"JWT","kid":"k1"}`},
		{name: "alg twice", check: "header", header: `{"typ":"JWT","alg":"none","alg":"RS256","kid":"k1"}`},
		{name: "no typ", check: "type", header: `{"alg":"RS256","kid":"k1"}`},
		{name: "an access token", check: "type", header: `{"typ":"at+jwt","alg":"RS256","kid":"k1"}`},
		{name: "no kid", check: "key id", header: `{"typ":"JWT","alg":"RS256"}`},
		{name: "unknown kid", check: "key id", header: `{"typ":"JWT","alg":"RS256","kid":"k9"}`},
		{name: "kid of an encryption key", check: "key id", header: `{"typ":"JWT","alg":"RS256","kid":"enc"}`},
		{name: "kid is a path", check: "key id", header: `{"typ":"JWT","alg":"RS256","kid":"../../k1"}`},
		{name: "jku", check: "header", header: `{"typ":"JWT","alg":"RS256","kid":"k1","jku":"https://evil.example/jwks"}`},
		{name: "jwk", check: "header", header: `{"typ":"JWT","alg":"RS256","kid":"k1","jwk":{"kty":"RSA"}}`},
		{name: "x5u", check: "header", header: `{"typ":"JWT","alg":"RS256","kid":"k1","x5u":"https://evil.example/cert"}`},
		{name: "x5c", check: "header", header: `{"typ":"JWT","alg":"RS256","kid":"k1","x5c":["MII"]}`},
		{name: "crit", check: "header", header: `{"typ":"JWT","alg":"RS256","kid":"k1","crit":["exp"]}`},
		{name: "b64", check: "header", header: `{"typ":"JWT","alg":"RS256","kid":"k1","b64":false}`},
		{name: "header is a list", check: "header", header: `["RS256"]`},
		{name: "header is null", check: "header", header: `null`},
		{name: "another issuer", check: "issuer", claims: set("iss", "https://evil.example")},
		{name: "issuer with a slash", check: "issuer", claims: func(c map[string]any) { c["iss"] = c["iss"].(string) + "/" }},
		{name: "no issuer", check: "issuer", claims: unset("iss")},
		{name: "another audience", check: "audience", claims: set("aud", "sts.amazonaws.com")},
		{name: "audience list", check: "claims", claims: set("aud", []string{audience, "sts.amazonaws.com"})},
		{name: "audience list of one", check: "claims", claims: set("aud", []string{audience})},
		{name: "no audience", check: "audience", claims: unset("aud")},
		{name: "expired", check: "expired", claims: func(c map[string]any) {
			c["exp"], c["iat"] = now.Add(-time.Minute).Unix(), now.Add(-6*time.Minute).Unix()
		}},
		{name: "no expiry", check: "times", claims: unset("exp")},
		{name: "expiry in milliseconds", check: "times", claims: set("exp", now.UnixMilli())},
		{name: "expiry is a text", check: "claims", claims: set("exp", fmt.Sprint(now.Unix()+300))},
		{name: "expiry is infinite", check: "claims", payload: func(p string) string { return strings.Replace(p, `"exp":`, `"exp":1e999,"x":`, 1) }},
		{name: "not yet valid", check: "not before", claims: set("nbf", now.Add(2*time.Minute).Unix())},
		{name: "no nbf", check: "times", claims: unset("nbf")},
		{name: "of the future", check: "issued", claims: set("iat", now.Add(2*time.Minute).Unix())},
		{name: "no iat", check: "times", claims: unset("iat")},
		{name: "too old", check: "age", claims: set("iat", now.Add(-20*time.Minute).Unix())},
		{name: "lives for days", check: "life", claims: set("exp", now.Add(48*time.Hour).Unix())},
		{name: "no jti", check: "jti", claims: unset("jti")},
		{name: "jti is a number", check: "claims", claims: set("jti", 7)},
		{name: "long jti", check: "jti", claims: set("jti", strings.Repeat("j", 600))},
		{name: "another repository", check: "repository", claims: set("repository_id", "75")},
		{name: "another owner", check: "repository", claims: set("repository_owner_id", "66")},
		{name: "a fork's pull request", check: "repository", claims: func(c map[string]any) {
			c["repository"], c["repository_id"], c["repository_owner"], c["repository_owner_id"], c["event_name"], c["sub"] = "mallory/app", "99", "mallory", "98", "pull_request", "repo:mallory/app:pull_request"
		}},
		{name: "the name taken over", check: "repository", claims: set("repository_id", "7400")},
		{name: "repository_id is a number", check: "claims", claims: set("repository_id", 74)},
		{name: "repository_id with a zero", check: "repository_id", claims: set("repository_id", "074")},
		{name: "no repository_id", check: "repository_id", claims: unset("repository_id")},
		{name: "no owner id", check: "repository_owner_id", claims: unset("repository_owner_id")},
		{name: "no run_id", check: "run_id", claims: unset("run_id")},
		{name: "run_id is a path", check: "run_id", claims: set("run_id", "1/2")},
		{name: "no run_attempt", check: "run_attempt", claims: unset("run_attempt")},
		{name: "owner and name disagree", check: "repository", claims: set("repository_owner", "other")},
		{name: "no event", check: "missing", claims: unset("event_name")},
		{name: "pull_request_target", check: "event", claims: set("event_name", "pull_request_target")},
		{name: "workflow_run", check: "event", claims: set("event_name", "workflow_run")},
		{name: "issue_comment", check: "event", claims: set("event_name", "issue_comment")},
		{name: "event not trusted", check: "event", trust: func(t *Trust) { t.Events = []string{"schedule"} }},
		{name: "wrong ref", check: "ref", trust: func(t *Trust) { t.Refs = []string{"refs/heads/release/*", "refs/heads/mai"} }},
		{name: "no environment", check: "environment", trust: func(t *Trust) { t.Environments = []string{"staging"} }},
		{name: "another environment", check: "environment", claims: set("environment", "Staging"), trust: func(t *Trust) { t.Environments = []string{"staging"} }},
		{name: "another workflow", check: "workflow", trust: func(t *Trust) { t.Workflows = []string{"octo/app/.github/workflows/release.yml@*"} }},
		{name: "sub of another ref", check: "subject", claims: set("sub", "repo:octo/app:ref:refs/heads/dev")},
		{name: "sub of another repository", check: "subject", claims: set("sub", "repo:octo/other:ref:refs/heads/main")},
		{name: "sub hides the environment", check: "subject", claims: set("environment", "staging")},
		{name: "no sub", check: "subject", claims: unset("sub")},
		{name: "aud twice", check: "claims", payload: func(p string) string { return strings.Replace(p, `"aud":`, `"aud":"x","aud":`, 1) }},
		{name: "unknown claim twice", check: "claims", payload: func(p string) string { return strings.Replace(p, `{`, `{"z":1,"z":2,`, 1) }},
		{name: "payload with text behind", check: "claims", payload: func(p string) string { return p + "{}" }},
		{name: "payload is a text", check: "claims", payload: func(string) string { return `"me"` }},
		{name: "payload is null", check: "claims", payload: func(string) string { return `null` }},
		{name: "broken UTF-8", check: "claims", payload: func(p string) string { return strings.Replace(p, "mona", "\xff", 1) }},
	}
	return list
}

// TestBadTokens: each is refused by the check that it is meant for, the log is
// told why, and the caller what to do.
func TestBadTokens(t *testing.T) {
	is, now := newIssuer(t), time.Now()
	for _, b := range badTokens(now) {
		t.Run(b.name, func(t *testing.T) {
			claims := is.claims(now)
			if b.claims != nil {
				b.claims(claims)
			}
			header, payload := goodHeader, text(claims)
			if b.header != "" {
				header = b.header
			}
			if b.payload != nil {
				payload = b.payload(payload)
			}
			token := sign(t, is.keys["k1"], header, payload)
			if b.token != nil {
				token = b.token(token)
			}
			grant, r, err := verifier(t, is, b.trust).Verify(t.Context(), token, now)
			if err != nil || grant != nil || r == nil {
				t.Fatalf("taken: %+v, %v", grant, err)
			}
			if r.Check != b.check || r.Why == "" || r.Say == "" || r.Hint == "" {
				t.Errorf("refused by %q: %s / %s (%s); want %q", r.Check, r.Why, r.Say, r.Hint, b.check)
			}
			if said := r.Say + r.Hint; strings.Contains(said, "acme") || strings.Contains(said, "refs/heads/release") || len(token) > 40 && strings.Contains(said+r.Why, token[:40]) {
				t.Errorf("gives something away: %s", said)
			}
			if qgjob.KindOf(r.Problem()) != qgjob.KindDenied {
				t.Errorf("problem %v", r.Problem())
			}
		})
	}
	t.Logf("%d bad tokens", len(badTokens(now)))
}

// TestGoodTokens: what is refused above differs from these in one thing.
func TestGoodTokens(t *testing.T) {
	is, now := newIssuer(t), time.Now()
	for name, change := range map[string]struct {
		claims map[string]any
		trust  func(*Trust)
	}{
		"push":         {},
		"pull request": {claims: map[string]any{"event_name": "pull_request", "ref": "refs/pull/7/merge", "sub": "repo:octo/app:pull_request"}},
		"environment":  {claims: map[string]any{"environment": "staging", "sub": "repo:octo/app:environment:staging"}, trust: func(t *Trust) { t.Environments = []string{"staging"} }},
		"ref":          {trust: func(t *Trust) { t.Refs = []string{"refs/heads/*"} }},
		"workflow":     {trust: func(t *Trust) { t.Workflows = []string{"octo/app/.github/workflows/e2e.yml@*"} }},
		"subject":      {claims: map[string]any{"sub": "repository_id:74"}, trust: func(t *Trust) { t.Subject = "repository_id:74" }},
		"clock":        {claims: map[string]any{"iat": now.Add(20 * time.Second).Unix(), "nbf": now.Add(20 * time.Second).Unix()}},
	} {
		claims := is.claims(now)
		maps.Copy(claims, change.claims)
		grant, r, err := verifier(t, is, change.trust).Verify(t.Context(), sign(t, is.keys["k1"], goodHeader, text(claims)), now)
		if err != nil || r != nil {
			t.Errorf("%s: %+v, %v", name, r, err)
			continue
		}
		if grant.Org != "acme" || grant.Claims.Run() != "74/1001/1" || !grant.Until.After(now) {
			t.Errorf("%s: %+v", name, grant)
		}
	}
}

// TestKeys: keys are kept, a new one is found, made-up key ids do not hammer
// the issuer, and one that is away is done without for a day.
func TestKeys(t *testing.T) {
	is, now := newIssuer(t), time.Now()
	v := verifier(t, is, nil)
	ask := func(kid string, key *rsa.PrivateKey) (*Refusal, error) {
		_, r, err := v.Verify(t.Context(), sign(t, key, strings.Replace(goodHeader, "k1", kid, 1), text(is.claims(now))), now)
		return r, err
	}
	for range 5 {
		if r, err := ask("k1", is.keys["k1"]); r != nil || err != nil {
			t.Fatal(r, err)
		}
	}
	for i := range 50 {
		if r, _ := ask(fmt.Sprintf("made-up-%d", i), is.keys["k1"]); r == nil || r.Check != "key id" {
			t.Fatalf("a made-up kid: %+v", r)
		}
	}
	if got := is.hits.Load(); got != 1 {
		t.Errorf("the issuer was asked %d times; want once", got)
	}
	is.keys = map[string]*rsa.PrivateKey{"k2": keyOf(t, "k2", 2048)}
	now = now.Add(keysPause)
	if r, err := ask("k2", is.keys["k2"]); r != nil || err != nil || is.hits.Load() != 2 {
		t.Errorf("a new key: %+v, %v, %d fetches", r, err, is.hits.Load())
	}
	if r, _ := ask("k1", testKeys["k1"]); r == nil {
		t.Error("a key that was withdrawn is good still")
	}
	is.down.Store(true)
	now = now.Add(2 * time.Hour)
	if r, err := ask("k2", is.keys["k2"]); r != nil || err != nil {
		t.Errorf("the issuer is away: %+v, %v", r, err)
	}
	now = now.Add(25 * time.Hour)
	if _, err := ask("k2", is.keys["k2"]); qgjob.KindOf(err) != qgjob.KindUnavailable {
		t.Errorf("away for a day: %v", err)
	}
}

func TestReadConfig(t *testing.T) {
	good := "audience: https://q.example\ntrust:\n- {repository_id: '74', repository_owner_id: '65', org_id: acme}\n"
	c, err := ReadConfig([]byte(good))
	if err != nil || c.Issuer != GitHub || len(c.Trust[0].Events) != len(DefaultEvents) {
		t.Fatalf("%+v, %v", c, err)
	}
	for name, file := range map[string]string{
		"empty": "", "no trust": "audience: x\n", "no audience": strings.Replace(good, "audience: https://q.example\n", "", 1),
		"unknown key": good + "colour: red\n", "two documents": good + "---\n" + good,
		"http issuer": "issuer: http://evil.example\n" + good, "issuer with a slash": "issuer: https://x.example/\n" + good,
		"a name for a number":  strings.Replace(good, "'74'", "octo/app", 1),
		"no org":               strings.Replace(good, "acme", "''", 1),
		"pull_request_target":  strings.Replace(good, "org_id: acme", "org_id: acme, events: [push, pull_request_target]", 1),
		"workflow_run":         strings.Replace(good, "org_id: acme", "org_id: acme, events: [workflow_run]", 1),
		"a star in the middle": strings.Replace(good, "org_id: acme", "org_id: acme, refs: ['refs/*/main']", 1),
		"everything":           strings.Replace(good, "org_id: acme", "org_id: acme, workflows: ['*']", 1),
	} {
		if _, err := ReadConfig([]byte(file)); qgjob.KindOf(err) != qgjob.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
