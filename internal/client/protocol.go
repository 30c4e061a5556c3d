package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/qualgent/qgjob"
)

// The agent's side of the lease protocol. Every call is idempotent by design
// (incarnation, claim id, offset, digest), so every one may be repeated.

// Register announces an agent. An older incarnation than the server knows is
// a KindConflict error with CodeAgentSuperseded.
func (c *Client) Register(ctx context.Context, id qgjob.AgentID, req qgjob.RegisterRequest) (qgjob.RegisterResponse, error) {
	return ask[qgjob.RegisterResponse](ctx, c, post("/v1/agents/"+seg(id)+"/register", req))
}

// Claim asks for work and waits up to req.WaitMS for it.
func (c *Client) Claim(ctx context.Context, id qgjob.AgentID, req qgjob.ClaimRequest) (qgjob.ClaimResponse, error) {
	what := post("/v1/agents/"+seg(id)+"/claim", req)
	what.idle = callTimeout + time.Duration(req.WaitMS)*time.Millisecond
	return ask[qgjob.ClaimResponse](ctx, c, what)
}

// Renew keeps an agent and its leases alive, and says how each stands.
func (c *Client) Renew(ctx context.Context, id qgjob.AgentID, req qgjob.RenewRequest) (qgjob.RenewResponse, error) {
	return ask[qgjob.RenewResponse](ctx, c, post("/v1/agents/"+seg(id)+"/renew", req))
}

// Start asks for leave to begin an attempt; a stale lease is a KindConflict
// error with CodeStaleLease.
func (c *Client) Start(ctx context.Context, lease qgjob.LeaseID, req qgjob.StartRequest) (qgjob.StartResponse, error) {
	return ask[qgjob.StartResponse](ctx, c, post("/v1/leases/"+seg(lease)+"/start", req))
}

// AppendLog adds bytes (at most 1 MiB) to an attempt's log at an offset. When
// the log has another length the error is KindConflict with CodeOffset, and
// its Offset is that length.
func (c *Client) AppendLog(ctx context.Context, lease qgjob.LeaseID, offset int64, text []byte) (qgjob.LogResponse, error) {
	return ask[qgjob.LogResponse](ctx, c, call{
		method: http.MethodPost, path: "/v1/leases/" + seg(lease) + "/log", repeatable: true, raw: text,
		query: url.Values{"offset": {strconv.FormatInt(offset, 10)}},
	})
}

// AddArtifact ties an uploaded blob to an attempt.
func (c *Client) AddArtifact(ctx context.Context, lease qgjob.LeaseID, req qgjob.ArtifactRequest) (qgjob.Artifact, error) {
	return ask[qgjob.Artifact](ctx, c, post("/v1/leases/"+seg(lease)+"/artifacts", req))
}

// Complete ends an attempt. The same digest gets the same answer again. When
// req.Next is set the call waits for work like Claim.
func (c *Client) Complete(ctx context.Context, lease qgjob.LeaseID, req qgjob.CompleteRequest) (qgjob.CompleteResponse, error) {
	what := post("/v1/leases/"+seg(lease)+"/complete", req)
	if req.Next != nil {
		what.idle = callTimeout + time.Duration(req.Next.WaitMS)*time.Millisecond
	}
	return ask[qgjob.CompleteResponse](ctx, c, what)
}
