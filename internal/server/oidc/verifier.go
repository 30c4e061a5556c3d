package oidc

import (
	"context"
	"net/http"
	"time"

	"github.com/qualgent/qgjob"
)

// Verifier checks id-tokens against a Config. It is safe for concurrent use.
type Verifier struct {
	Config
	keys *keys
}

// New gives a verifier; nothing is fetched before the first token comes. The
// client's transport (nil: the default one) reaches the issuer.
func New(c Config, client *http.Client) (*Verifier, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	return &Verifier{Config: c, keys: newKeys(c.Issuer, client)}, nil
}

// Grant is what an id-token is good for, provided that its ID was not used
// before.
type Grant struct {
	Org    qgjob.OrgID
	Claims *Claims
	ID     qgjob.Sum // of issuer and jti
	Until  time.Time // the token itself is refused after that
}

// Verify checks an id-token. A refusal says why; an error means that the
// issuer could not be asked.
func (v *Verifier) Verify(ctx context.Context, token string, now time.Time) (*Grant, *Refusal, error) {
	p, r := parse(token)
	if r != nil {
		return nil, r, nil
	}
	key, r, err := v.keys.find(ctx, p.header.Kid, now)
	if r != nil || err != nil {
		return nil, r, err
	}
	if r := p.verify(key); r != nil {
		return nil, r, nil
	}
	k, r := p.claims()
	if r != nil {
		return nil, r, nil
	}
	org, r := v.judge(k, now)
	if r != nil {
		return nil, r, nil
	}
	return &Grant{Org: org, Claims: k, ID: qgjob.TokenSum(k.Issuer + "\n" + k.ID), Until: time.Unix(int64(k.Expires), 0).Add(2 * leeway)}, nil, nil
}
