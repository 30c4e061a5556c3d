package server

import (
	"context"
	"net/http"

	"github.com/qualgent/qgjob"
)

func (s *Server) tokenRoutes() []route {
	return []route{
		operation(s, route{Method: http.MethodPost, Pattern: "/v1/tokens", Scope: scopeAdmin, Owner: ownerBody, ID: "create-token", Status: http.StatusCreated,
			Summary: "Make a token; its secret is in the answer, this once"}, s.createToken),
		operation(s, route{Method: http.MethodGet, Pattern: "/v1/tokens", Scope: scopeAdmin, Owner: ownerQuery, ID: "list-tokens", Summary: "List tokens, without their secrets"}, s.listTokens),
		operation(s, route{Method: http.MethodPost, Pattern: "/v1/tokens/{token_id}/revoke", Scope: scopeAdmin, Owner: ownerToken, ID: "revoke-token",
			Summary: "Take a token back, for good; every server refuses it within a second"}, s.revokeToken),
		operation(s, route{Method: http.MethodPost, Pattern: "/v1/tokens/join", Scope: scopeJoin, Owner: ownerNobody, ID: "join",
			Summary: "Exchange a join token, once, for the agent token that the agent has drawn"}, s.joinAgent),
	}
}

type createTokenInput struct{ Body qgjob.CreateTokenRequest }

func (s *Server) createToken(ctx context.Context, in *createTokenInput) (*answer[qgjob.CreateTokenResponse], error) {
	who := callerOf(ctx)
	if err := in.Body.Check(); err != nil {
		return nil, err
	}
	if err := who.mayOrg(in.Body.OrgID); err != nil { // all orgs are another org, too
		return nil, err
	}
	secret := qgjob.NewToken(in.Body.Kind)
	token, err := s.Store.CreateToken(ctx, in.Body, qgjob.TokenSum(secret), who.id, s.Token == "")
	return answering(qgjob.CreateTokenResponse{Token: token, Secret: secret}, err)
}

func (s *Server) listTokens(ctx context.Context, in *orgQuery) (*answer[list[qgjob.Token]], error) {
	tokens, err := s.Store.Tokens(ctx, in.OrgID)
	return answering(list[qgjob.Token]{tokens}, err)
}

// AtToken is the path of calls about a token; exported for huma, like AtRun.
type AtToken struct {
	TokenID string `path:"token_id" doc:"tok_ and 16 hex digits"`
}

func (s *Server) revokeToken(ctx context.Context, in *AtToken) (*answer[qgjob.Token], error) {
	return answering(s.Store.RevokeToken(ctx, in.TokenID))
}

type joinInput struct{ Body qgjob.JoinRequest }

func (s *Server) joinAgent(ctx context.Context, in *joinInput) (*answer[qgjob.Token], error) {
	who := callerOf(ctx)
	if who.kind != qgjob.TokenJoin { // the server's own token, or an open server
		return nil, &qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeScope, Message: "this exchanges a join token, and the request bears none",
			Hint: "make one: qgjob token create --kind=agent-join"}
	}
	return answering(s.Store.Join(ctx, who.id, in.Body))
}
