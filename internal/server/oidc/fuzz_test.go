package oidc

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// FuzzToken: whatever comes as an id-token is refused with words, or taken
// apart into what it is made of; its claims are judged without a panic.
func FuzzToken(f *testing.F) {
	f.Add("a.b.c")
	f.Add(part.EncodeToString([]byte(goodHeader)) + "." + part.EncodeToString([]byte(`{"iss":"x","exp":1}`)) + ".AA")
	c := &Config{Issuer: GitHub, Audience: audience, Trust: []Trust{{RepositoryID: "74", RepositoryOwnerID: "65", OrgID: "acme"}}}
	f.Fuzz(func(t *testing.T, token string) {
		p, r := parse(token)
		if (p == nil) == (r == nil) {
			t.Fatalf("%+v and %+v", p, r)
		}
		if r != nil {
			return
		}
		if p.header.Alg != "RS256" || !strings.HasPrefix(token, p.signed+".") {
			t.Errorf("taken apart as %+v", p)
		}
		if k, r := p.claims(); r == nil {
			if org, r := c.judge(k, time.Now()); r == nil && (k.Issuer != GitHub || k.RepositoryID != "74" || org != "acme") {
				t.Errorf("taken: %+v", k)
			}
		}
	})
}

// FuzzConfig: a file is refused as invalid, or trusts what may be trusted.
func FuzzConfig(f *testing.F) {
	f.Add("audience: https://q.example\ntrust:\n- {repository_id: '74', repository_owner_id: '65', org_id: acme}\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ReadConfig([]byte(text))
		if err != nil {
			if qgjob.KindOf(err) != qgjob.KindInvalid {
				t.Errorf("%v", err)
			}
			return
		}
		for _, trust := range c.Trust {
			if !numeric(trust.RepositoryID) || trust.OrgID == "" || len(trust.Events) == 0 {
				t.Errorf("trusts %+v", trust)
			}
		}
	})
}

// answering is an issuer that answers everything with one text.
type answering string

// RoundTrip answers.
func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(a))), Request: r}, nil
}

// FuzzKeys: whatever an issuer answers, a key that is taken is fit to be used.
func FuzzKeys(f *testing.F) {
	f.Add(`{"issuer":"https://i.example","jwks_uri":"https://i.example/k","keys":[{"kid":"k","kty":"RSA","n":"AQAB","e":"AQAB"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		found, err := newKeys("https://i.example", &http.Client{Transport: answering(text)}).fetch(context.Background())
		if err != nil {
			return
		}
		for kid, key := range found {
			if kid == "" || key.N.BitLen() < minKeyBits || key.E < 3 {
				t.Errorf("key %q: %d bits, exponent %d", kid, key.N.BitLen(), key.E)
			}
		}
	})
}
