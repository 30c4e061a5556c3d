package server

import (
	"context"
	"net/http"
	"time"

	"github.com/qualgent/qgjob"
)

func (s *Server) oidcRoutes() []route {
	return []route{
		operation(s, route{Method: http.MethodGet, Pattern: "/v1/oidc", Scope: scopeOpen, Owner: ownerNobody, ID: "oidc",
			Summary: "Say which issuer's id-tokens are taken, and for which audience"}, s.aboutOIDC),
		operation(s, route{Method: http.MethodPost, Pattern: "/v1/oidc/token", Scope: scopeOpen, Owner: ownerNobody, ID: "exchange-id-token", Status: http.StatusCreated,
			Summary: "Exchange an id-token of a CI run, once, for a token of 15 minutes that is good for what this CI run submits"}, s.exchange),
	}
}

func noOIDC() error {
	e := qgjob.NotFound("this server trusts no id-tokens")
	e.Hint = "its admin may start it with --oidc-config; else use a token: QGJOB_TOKEN"
	return e
}

func (s *Server) aboutOIDC(context.Context, *struct{}) (*answer[qgjob.OIDCInfo], error) {
	if s.OIDC == nil {
		return nil, noOIDC()
	}
	return answering(qgjob.OIDCInfo{Issuer: s.OIDC.Issuer, Audience: s.OIDC.Audience}, nil)
}

type exchangeInput struct{ Body qgjob.OIDCRequest }

// exchange gives a CI run its token. Every refusal is logged with the check
// that failed; claims are logged only of tokens that the issuer has signed.
func (s *Server) exchange(ctx context.Context, in *exchangeInput) (*answer[qgjob.OIDCResponse], error) {
	if s.OIDC == nil {
		return nil, noOIDC()
	}
	grant, refusal, err := s.OIDC.Verify(ctx, in.Body.IDToken, time.Now())
	if err != nil {
		s.Log.ErrorContext(ctx, "an id-token cannot be checked", "request", requestID(ctx), "error", err)
		return nil, err
	}
	if refusal != nil {
		s.Log.WarnContext(ctx, "an id-token is refused", "request", requestID(ctx), "check", refusal.Check, "why", refusal.Why, "signed", refusal.Known)
		return nil, refusal.Problem()
	}
	secret := qgjob.NewToken(qgjob.TokenCI)
	token := qgjob.Token{OrgID: grant.Org, Name: grant.Claims.Repository, Run: grant.Claims.Run()}
	token, err = s.Store.GiveCIToken(ctx, grant.ID, grant.Until, token, qgjob.TokenSum(secret))
	if err != nil {
		if qgjob.KindOf(err) == qgjob.KindDenied {
			s.Log.WarnContext(ctx, "an id-token is refused", "request", requestID(ctx), "check", "replay", "why", grant.Claims.Repository+" run "+grant.Claims.RunID+": its jti was used before", "signed", true)
		}
		return nil, err
	}
	s.Log.InfoContext(ctx, "a CI run has its token", "request", requestID(ctx), "token", token.TokenID, "org", token.OrgID, "repository", grant.Claims.Repository, "run", token.Run, "event", grant.Claims.Event)
	return answering(qgjob.OIDCResponse{Token: secret, OrgID: token.OrgID, ExpiresAt: token.ExpiresAt}, nil)
}
