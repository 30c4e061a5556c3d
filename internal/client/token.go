package client

import (
	"context"

	"github.com/qualgent/qgjob"
)

// CreateToken makes a token. Its secret is in the answer and nowhere else; a
// call whose answer was lost leaves a token that nobody has, to be revoked.
func (c *Client) CreateToken(ctx context.Context, req qgjob.CreateTokenRequest) (qgjob.CreateTokenResponse, error) {
	what := post("/v1/tokens", req)
	what.repeatable = false
	return ask[qgjob.CreateTokenResponse](ctx, c, what)
}

// Tokens is every token without its secret; an empty org is every org that the
// client's own token is of.
func (c *Client) Tokens(ctx context.Context, org qgjob.OrgID) ([]qgjob.Token, error) {
	return list[qgjob.Token](ctx, c, "/v1/tokens", org)
}

// RevokeToken takes a token back, for good.
func (c *Client) RevokeToken(ctx context.Context, id string) (qgjob.Token, error) {
	return ask[qgjob.Token](ctx, c, post("/v1/tokens/"+seg(id)+"/revoke", nil))
}

// Join exchanges the join token that this client bears for the agent token
// with the sum given, which the caller has drawn. The same again gets the same
// answer.
func (c *Client) Join(ctx context.Context, req qgjob.JoinRequest) (qgjob.Token, error) {
	return ask[qgjob.Token](ctx, c, post("/v1/tokens/join", req))
}

// WithToken returns the same client with another token, which is not renewed.
// Both share their connections.
func (c *Client) WithToken(token string) *Client {
	other := *c
	other.token, other.pass = token, nil
	return &other
}

// Bears reports whether calls bear a token.
func (c *Client) Bears() bool { return c.token != "" }
