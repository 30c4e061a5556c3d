package server

import (
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/server/oidc"
	"github.com/qualgent/qgjob/internal/server/oidc/oidctest"
)

// TestExchange: an id-token becomes a token of one org and one CI run, once.
func TestExchange(t *testing.T) {
	issuer, stop := oidctest.Start()
	defer stop()
	idToken := func(repository string) string {
		issuer.Change = func(c map[string]any) { c["repository_id"] = repository }
		return issuer.Token("https://q.example", time.Now())
	}
	r := newRig(t, rigOptions{})
	r.refuse(404, qgjob.KindNotFound, "", "POST", "/v1/oidc/token", qgjob.OIDCRequest{IDToken: "x"}) // not set up
	var err error
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
