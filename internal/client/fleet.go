package client

import (
	"context"
	"net/http"

	"github.com/qualgent/qgjob"
)

// Groups is every group of waiting jobs; an empty org is every org.
func (c *Client) Groups(ctx context.Context, org qgjob.OrgID) ([]qgjob.Group, error) {
	return list[qgjob.Group](ctx, c, "/v1/groups", org)
}

// Agents is every agent that ever registered.
func (c *Client) Agents(ctx context.Context) ([]qgjob.Agent, error) {
	return list[qgjob.Agent](ctx, c, "/v1/agents", "")
}

// Agent is one agent, or a KindNotFound error.
func (c *Client) Agent(ctx context.Context, id qgjob.AgentID) (qgjob.Agent, error) {
	return ask[qgjob.Agent](ctx, c, get("/v1/agents/"+seg(id)))
}

// Drain asks an agent to claim no more.
func (c *Client) Drain(ctx context.Context, id qgjob.AgentID) (qgjob.Agent, error) {
	return ask[qgjob.Agent](ctx, c, post("/v1/agents/"+seg(id)+"/drain", nil))
}

// Undrain lets an agent claim again.
func (c *Client) Undrain(ctx context.Context, id qgjob.AgentID) (qgjob.Agent, error) {
	return ask[qgjob.Agent](ctx, c, post("/v1/agents/"+seg(id)+"/undrain", nil))
}

// Apps is every uploaded build; an empty org is every org.
func (c *Client) Apps(ctx context.Context, org qgjob.OrgID) ([]qgjob.App, error) {
	return list[qgjob.App](ctx, c, "/v1/apps", org)
}

// PutApp makes an uploaded blob the build of an app version, for jobs that are
// submitted later. fileName is the base name; its ending says what it is.
func (c *Client) PutApp(ctx context.Context, org qgjob.OrgID, version qgjob.AppVersionID, sum qgjob.Sum, fileName string) (qgjob.App, error) {
	return ask[qgjob.App](ctx, c, call{
		method: http.MethodPut, path: "/v1/apps/" + seg(org) + "/" + seg(version), repeatable: true,
		json: map[string]string{"sha256": string(sum), "file_name": fileName},
	})
}

// Org is a tenant's weight and quota.
func (c *Client) Org(ctx context.Context, id qgjob.OrgID) (qgjob.Org, error) {
	return ask[qgjob.Org](ctx, c, get("/v1/orgs/"+seg(id)))
}

// PutOrg sets a tenant's weight and quota (0: no limit).
func (c *Client) PutOrg(ctx context.Context, id qgjob.OrgID, weight float64, quota int) (qgjob.Org, error) {
	return ask[qgjob.Org](ctx, c, call{
		method: http.MethodPut, path: "/v1/orgs/" + seg(id), repeatable: true,
		json: map[string]any{"weight": weight, "quota": quota},
	})
}

func list[T any](ctx context.Context, c *Client, path string, org qgjob.OrgID) ([]T, error) {
	what := get(path)
	what.query = page("", 0)
	set(what.query, "org_id", string(org))
	p, err := ask[qgjob.Page[T]](ctx, c, what)
	return p.Items, err
}
