package cli

import (
	"strings"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/spf13/cobra"
)

func (a *app) groupsCmd() *cobra.Command {
	var org string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "groups",
		Short:   "List the groups of waiting jobs: what one install serves",
		Example: "  qgjob groups --org-id=qualgent",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			groups, err := c.Groups(cmd.Context(), qgjob.OrgID(org))
			if err != nil {
				return err
			}
			return a.printGroups(groups, asJSON)
		},
	}
	cmd.Flags().StringVar(&org, "org-id", "", "groups of this org only (QGJOB_ORG)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) printGroups(groups []qgjob.Group, asJSON bool) error {
	if asJSON {
		return a.json(append([]qgjob.Group{}, groups...))
	}
	if len(groups) == 0 {
		a.note("no jobs wait")
		return nil
	}
	rows := make([][]string, len(groups))
	now := time.Now()
	for i, g := range groups {
		head := "-"
		if g.HeadSubmitted != nil {
			head = ago(*g.HeadSubmitted, now)
		}
		rows[i] = []string{
			g.GroupID.String(), string(g.AppVersionID), string(g.Target), or(qgjob.LabelText(g.Requires), "-"),
			tiny(g.Waiting), tiny(g.Serving), tiny(g.HeadPriority), head, string(g.OrgID),
		}
	}
	a.table(strings.Fields("GROUP APP-VERSION TARGET REQUIRES WAITING SERVING PRIORITY OLDEST ORG"), rows)
	return nil
}
