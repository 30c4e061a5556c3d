package cli

import (
	"context"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/spf13/cobra"
)

func (a *app) webhookCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "Have addresses told of an org's runs",
		Example: `  qgjob webhook create --org-id=qualgent --url=https://ci.example.com/qgjob
  qgjob webhook list --org-id=qualgent`,
	}
	cmd.AddCommand(a.webhookCreateCmd(), a.webhookListCmd(), a.webhookDeleteCmd())
	return cmd
}

func (a *app) webhookCreateCmd() *cobra.Command {
	var req qgjob.WebhookRequest
	var org string
	var kinds []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Have an address told of an org's events",
		Long: `Have an address told of an org's events, from now on, in order, each at least
once. Messages are signed as Standard Webhooks asks; the secret to check them
with is shown once, now.`,
		Example: `  qgjob webhook create --org-id=qualgent --url=https://ci.example.com/qgjob
  qgjob webhook create --org-id=qualgent --url=https://ci.example.com/qgjob --event=job.finished --event=run.finished`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req.OrgID = qgjob.OrgID(org)
			for _, k := range kinds {
				req.Kinds = append(req.Kinds, qgjob.EventKind(k))
			}
			return a.runWebhookCreate(cmd.Context(), req, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&org, "org-id", "", "the org (QGJOB_ORG)")
	f.StringVar(&req.URL, "url", "", "where to send to, https://…")
	f.StringArrayVar(&kinds, "event", nil, "what to be told of, may be repeated (default run.finished)")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) runWebhookCreate(ctx context.Context, req qgjob.WebhookRequest, asJSON bool) error {
	switch {
	case req.OrgID == "":
		return usage("org-id", "say of whose events")
	case req.URL == "":
		return usage("url", "say where to send to, such as --url=https://ci.example.com/qgjob")
	}
	if err := req.Check(); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	hook, err := c.CreateWebhook(ctx, req)
	if err != nil {
		return err
	}
	if asJSON {
		return a.json(hook)
	}
	a.answer("Webhook created: %s", hook.ID)
	a.answer("Secret, shown only now: %s", hook.Secret)
	return nil
}

func (a *app) webhookListCmd() *cobra.Command {
	var org string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List webhooks and whether they take what they are told",
		Example: "  qgjob webhook list --org-id=qualgent",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			hooks, err := c.Webhooks(cmd.Context(), qgjob.OrgID(org))
			if err != nil {
				return err
			}
			if asJSON {
				return a.json(hooks)
			}
			rows := make([][]string, len(hooks))
			for i, h := range hooks {
				kinds := make([]string, len(h.Kinds))
				for n, k := range h.Kinds {
					kinds[n] = string(k)
				}
				rows[i] = []string{h.ID, string(h.OrgID), h.URL, strings.Join(kinds, ","), webhookState(h, time.Now())}
			}
			if len(rows) == 0 {
				a.note("no webhooks")
				return nil
			}
			a.table(strings.Fields("WEBHOOK ORG URL EVENTS STATE"), rows)
			return nil
		},
	}
	cmd.Flags().StringVar(&org, "org-id", "", "only this org's (QGJOB_ORG)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// webhookState says how a webhook stands, in a few words.
func webhookState(h qgjob.Webhook, now time.Time) string {
	switch {
	case h.Disabled:
		return "given up: " + h.Problem
	case h.NextAt != nil:
		return "tried again in " + h.NextAt.Sub(now).Round(time.Second).String() + ": " + h.Problem
	}
	return "ok"
}

func (a *app) webhookDeleteCmd() *cobra.Command {
	var org string
	cmd := &cobra.Command{
		Use:     "delete WEBHOOK",
		Short:   "Make an end of a webhook",
		Example: "  qgjob webhook delete wh_abc --org-id=qualgent",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if org == "" {
				return usage("org-id", "say whose webhook it is")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := c.DeleteWebhook(cmd.Context(), qgjob.OrgID(org), args[0]); err != nil {
				return err
			}
			a.answer("Webhook deleted: %s", args[0])
			return nil
		},
	}
	cmd.Flags().StringVar(&org, "org-id", "", "the org (QGJOB_ORG)")
	return cmd
}
