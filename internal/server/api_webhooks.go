package server

import (
	"context"
	"net/http"

	"github.com/qualgent/qgjob"
)

func (s *Server) webhookRoutes() []route {
	return []route{
		operation(s, route{Method: http.MethodPost, Pattern: "/v1/webhooks", Scope: scopeAdmin, Owner: ownerBody, ID: "create-webhook",
			Summary: "Have an address told of an org's events, signed; the answer alone holds the secret"}, s.createWebhook),
		operation(s, route{Method: http.MethodGet, Pattern: "/v1/webhooks", Scope: scopeAdmin, Owner: ownerQuery, ID: "list-webhooks", Summary: "List webhooks and how far they were told"}, s.listWebhooks),
		operation(s, route{Method: http.MethodDelete, Pattern: "/v1/webhooks/{org_id}/{id}", Scope: scopeAdmin, Owner: ownerOrg, ID: "delete-webhook", Summary: "Make an end of a webhook"}, s.deleteWebhook),
	}
}

type createWebhookInput struct{ Body qgjob.WebhookRequest }

func (s *Server) createWebhook(ctx context.Context, in *createWebhookInput) (*answer[qgjob.Webhook], error) {
	if err := callerOf(ctx).mayOrg(in.Body.OrgID); err != nil {
		return nil, err
	}
	return answering(s.Store.CreateWebhook(ctx, in.Body))
}

func (s *Server) listWebhooks(ctx context.Context, in *orgQuery) (*answer[list[qgjob.Webhook]], error) {
	hooks, err := s.Store.Webhooks(ctx, in.OrgID)
	return answering(list[qgjob.Webhook]{hooks}, err)
}

type atWebhook struct {
	AtOrg
	ID string `path:"id"`
}

type deleted struct {
	Deleted bool `json:"deleted"`
}

func (s *Server) deleteWebhook(ctx context.Context, in *atWebhook) (*answer[deleted], error) {
	if err := qgjob.CheckName("org_id", string(in.OrgID)); err != nil {
		return nil, inPath(err)
	}
	return answering(deleted{true}, s.Store.DeleteWebhook(ctx, in.OrgID, in.ID))
}
