package server

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/server/oidc"
)

// TestExchange: an id-token becomes a token of one org and one CI run, once.
func TestExchange(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	b64 := base64.RawURLEncoding.EncodeToString
	var issuer *httptest.Server
	issuer = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "openid-configuration") {
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, issuer.URL, issuer.URL+"/jwks")
			return
		}
		fmt.Fprintf(w, `{"keys":[{"kid":"k1","kty":"RSA","use":"sig","alg":"RS256","n":%q,"e":%q}]}`, b64(key.N.Bytes()), b64(big.NewInt(int64(key.E)).Bytes()))
	}))
	defer issuer.Close()
	idToken := func(repository string) string {
		now := time.Now().Unix()
		claims, _ := json.Marshal(map[string]any{"iss": issuer.URL, "aud": "https://q.example", "sub": "repo:octo/app:ref:refs/heads/main", "jti": rand.Text(), "exp": now + 300, "nbf": now, "iat": now,
			"repository": "octo/app", "repository_id": repository, "repository_owner": "octo", "repository_owner_id": "65", "event_name": "push", "ref": "refs/heads/main",
			"job_workflow_ref": "octo/app/.github/workflows/e2e.yml@refs/heads/main", "run_id": "1001", "run_attempt": "2"})
		text := b64([]byte(`{"typ":"JWT","alg":"RS256","kid":"k1"}`)) + "." + b64(claims)
		sum := sha256.Sum256([]byte(text))
		sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		check(t, err)
		return text + "." + b64(sig)
	}
	r := newRig(t, rigOptions{})
	r.refuse(404, qgjob.KindNotFound, "", "POST", "/v1/oidc/token", qgjob.OIDCRequest{IDToken: "x"}) // not set up
	r.OIDC, err = oidc.New(oidc.Config{Issuer: issuer.URL, Audience: "https://q.example", Trust: []oidc.Trust{{RepositoryID: "74", RepositoryOwnerID: "65", OrgID: "acme"}}}, nil)
	check(t, err)
	r.refuse(401, qgjob.KindDenied, "", "GET", "/v1/agents", nil)
	good := idToken("74")
	got := must[qgjob.OIDCResponse](r, 201, "POST", "/v1/oidc/token", qgjob.OIDCRequest{IDToken: good})
	if got.OrgID != "acme" || time.Until(got.ExpiresAt) > qgjob.CITokenTTL || time.Until(got.ExpiresAt) < qgjob.CITokenTTL-time.Minute {
		t.Errorf("%+v", got)
	}
	if p := r.refuse(401, qgjob.KindDenied, "", "POST", "/v1/oidc/token", qgjob.OIDCRequest{IDToken: good}); !strings.Contains(p.Detail, "used before") {
		t.Errorf("replayed: %+v", p)
	}
	if p := r.refuse(403, qgjob.KindDenied, "", "POST", "/v1/oidc/token", qgjob.OIDCRequest{IDToken: idToken("75")}); !strings.Contains(p.Hint, "repository_id 75") {
		t.Errorf("another repository: %+v", p)
	}
	r.refuse(401, qgjob.KindDenied, "", "POST", "/v1/oidc/token", qgjob.OIDCRequest{IDToken: good[:len(good)-6]})
	body := qgjob.SubmitRequest{OrgID: "acme", Jobs: []qgjob.JobSpec{spec("v1", "a.js")}}
	must[qgjob.SubmitResponse](r, 201, "POST", "/v1/runs", body, bear(got.Token)...)
	must[qgjob.Run](r, 200, "GET", "/v1/runs/run_1", nil, bear(got.Token)...)
	body.OrgID = "globex"
	r.refuse(403, qgjob.KindDenied, "", "POST", "/v1/runs", body, bear(got.Token)...)
	if o, err := r.Store.RunOwner(t.Context(), 1); err != nil || o.Run != "74/1001/2" {
		t.Errorf("the run is of %+v, %v", o, err)
	}
	log := r.logs.String()
	for _, want := range []string{"check=replay", "check=repository", "check=signature", "a CI run has its token"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %s", want)
		}
	}
	if strings.Contains(log, good[:60]) || strings.Contains(log, got.Token) {
		t.Error("the log holds a token")
	}
}
