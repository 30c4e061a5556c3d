package client

import (
	"context"
	"net/http"

	"github.com/qualgent/qgjob"
)

// CreateWebhook has an address told of an org's events. The answer is the only
// one that holds the secret; the call is never sent twice.
func (c *Client) CreateWebhook(ctx context.Context, req qgjob.WebhookRequest) (qgjob.Webhook, error) {
	return ask[qgjob.Webhook](ctx, c, call{method: http.MethodPost, path: "/v1/webhooks", json: req})
}

// Webhooks lists webhooks without their secrets; an empty org is every org.
func (c *Client) Webhooks(ctx context.Context, org qgjob.OrgID) ([]qgjob.Webhook, error) {
	return list[qgjob.Webhook](ctx, c, "/v1/webhooks", org)
}

// DeleteWebhook makes an end of a webhook.
func (c *Client) DeleteWebhook(ctx context.Context, org qgjob.OrgID, id string) error {
	_, err := ask[struct{ Deleted bool }](ctx, c, call{method: http.MethodDelete, path: "/v1/webhooks/" + seg(org) + "/" + seg(id)})
	return err
}
