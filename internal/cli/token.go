package cli

import (
	"context"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/spf13/cobra"
)

func (a *app) tokenCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke tokens",
		Long: `Make, list and revoke tokens. Each is of one kind and of one org:

  submit      for CI and people: submit, cancel, retry, upload, and read
  read        look, change nothing
  agent-join  used once, by an agent, which gets a token of its own for it
  agent       the agent protocol, for agents that cannot keep state
  admin       everything in the org, its tokens included

The server keeps only a token's SHA-256. From the first token on the server
asks everybody for one, so the first has to be an admin's of all orgs.`,
		Example: `  qgjob token create --kind=admin --all-orgs > admin.token
  qgjob token create --kind=submit --org-id=qualgent --name="GitLab" --ttl=720h
  qgjob token list --org-id=qualgent
  qgjob token revoke tok_0123456789abcdef`,
	}
	cmd.AddCommand(a.tokenCreateCmd(), a.tokenListCmd(), a.tokenRevokeCmd())
	return cmd
}

func (a *app) tokenCreateCmd() *cobra.Command {
	var kind, org, name, agent string
	var all, asJSON bool
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a token and print it, this once",
		Long: `Make a token and print it to stdout, this once: nobody can show it again. Give
it to its user in QGJOB_TOKEN, never in an argument: every user of a machine can read those.`,
		Example: `  qgjob token create --kind=submit --org-id=qualgent --name=CI
  qgjob token create --kind=agent-join --org-id=qualgent --agent=mac-7 --ttl=1h`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req := qgjob.CreateTokenRequest{Kind: qgjob.TokenKind(kind), OrgID: qgjob.OrgID(org), AllOrgs: all, Name: name, AgentID: qgjob.AgentID(agent), TTLS: int64(ttl / time.Second)}
			if all && a.orgFound {
				req.OrgID = "" // QGJOB_ORG is a habit, --all-orgs was said
			}
			if ttl < qgjob.MinTokenTTL || ttl > qgjob.MaxTokenTTL {
				return usage("ttl", "%v is out of range; allowed: %v to %v", ttl, qgjob.MinTokenTTL, qgjob.MaxTokenTTL)
			}
			if req.OrgID == "" && !all {
				return usage("org-id", "say whose token it is (or --all-orgs)")
			}
			if err := req.Check(); err != nil {
				return err
			}
			return a.createToken(cmd.Context(), req, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&kind, "kind", "submit", "submit, read, agent-join, agent or admin")
	f.StringVar(&org, "org-id", "", "the org that the token is of (QGJOB_ORG)")
	f.BoolVar(&all, "all-orgs", false, "of all orgs instead: admin, read, agent and agent-join only")
	f.StringVar(&name, "name", "", "what to call it")
	f.StringVar(&agent, "agent", "", "the one agent (or host, with its slots) that may use it: agent and agent-join only")
	f.DurationVar(&ttl, "ttl", qgjob.DefaultTokenTTL, "how long it is valid")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	must(cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions([]string{"submit", "read", "agent-join", "agent", "admin"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

func (a *app) createToken(ctx context.Context, req qgjob.CreateTokenRequest, asJSON bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	got, err := c.CreateToken(ctx, req)
	if err != nil {
		return err
	}
	a.note("token %s (%s, %s) is valid until %s; it is shown this once", got.Token.TokenID, got.Token.Kind, ofOrg(got.Token.OrgID), got.Token.ExpiresAt.Format(time.RFC3339))
	if asJSON {
		return a.json(got)
	}
	a.answer("%s", got.Secret)
	return nil
}

func ofOrg(org qgjob.OrgID) string {
	if org == "" {
		return "all orgs"
	}
	return "org " + string(org)
}

func (a *app) tokenListCmd() *cobra.Command {
	var org string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List tokens, without their secrets",
		Example: "  qgjob token list --org-id=qualgent",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			tokens, err := c.Tokens(cmd.Context(), qgjob.OrgID(org))
			if err != nil {
				return err
			}
			if asJSON {
				return a.json(tokens)
			}
			a.printTokens(tokens, time.Now())
			return nil
		},
	}
	cmd.Flags().StringVar(&org, "org-id", "", "only this org's (QGJOB_ORG)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) printTokens(tokens []qgjob.Token, now time.Time) {
	rows := make([][]string, len(tokens))
	for i, t := range tokens {
		used := "never"
		if t.LastUsed != nil {
			used = ago(*t.LastUsed, now)
		}
		rows[i] = []string{t.TokenID, string(t.Kind), strings.TrimPrefix(ofOrg(t.OrgID), "org "), or(t.Name, "-"), or(string(t.AgentID), "-"), standing(t, now), used}
	}
	a.table([]string{"TOKEN", "KIND", "ORG", "NAME", "AGENT", "STANDING", "LAST USED"}, rows)
}

// standing says whether a token is valid, and for how long.
func standing(t qgjob.Token, now time.Time) string {
	switch {
	case t.RevokedAt != nil:
		return "revoked " + ago(*t.RevokedAt, now)
	case t.UsedAt != nil:
		return "used " + ago(*t.UsedAt, now)
	case !now.Before(t.ExpiresAt):
		return "expired " + ago(t.ExpiresAt, now)
	}
	return "valid for " + span(t.ExpiresAt.Sub(now))
}

func (a *app) tokenRevokeCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "revoke TOKEN_ID",
		Short:   "Take a token back; every server refuses it within a second",
		Example: "  qgjob token revoke tok_0123456789abcdef",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.HasPrefix(args[0], qgjob.TokenPrefix) {
				return &qgjob.Error{Kind: qgjob.KindInvalid, Message: "that is a token, not a token's id, and it is in your shell's history and the list of processes now",
					Hint: "name it by its id, tok_…, as qgjob token list shows it"}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			got, err := c.RevokeToken(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return a.json(got)
			}
			a.answer("Token revoked: %s", got.TokenID)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
