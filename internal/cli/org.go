package cli

import (
	"context"
	"fmt"
	"math"

	"github.com/qualgent/qgjob"
	"github.com/spf13/cobra"
)

func (a *app) orgCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "org",
		Short: "See or set an org's share of the fleet",
		Example: `  qgjob org show --org-id=qualgent
  qgjob org set --org-id=qualgent --weight=2`,
	}
	cmd.AddCommand(a.orgSetCmd(), a.orgShowCmd())
	return cmd
}

func (a *app) orgSetCmd() *cobra.Command {
	var org string
	var weight float64
	var quota int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "set",
		Short: "Set an org's weight and quota",
		Long: `Set an org's weight (its share of the fleet against other orgs, 1 unless set)
and quota (the most jobs it may run at once, 0 for no limit). What is not given
stays as it is.`,
		Example: `  qgjob org set --org-id=qualgent --weight=2
  qgjob org set --org-id=acme --quota=10`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if org == "" {
				return usage("org-id", "say whose share to set")
			}
			flags := cmd.Flags()
			if !flags.Changed("weight") && !flags.Changed("quota") {
				return usage("weight", "say what to set: --weight, --quota or both")
			}
			if math.IsNaN(weight) || math.IsInf(weight, 0) { // JSON has no word for it; the server judges the rest
				return usage("weight", "%v is no number; allowed: 0.01 to 100", weight)
			}
			return a.runOrgSet(cmd.Context(), qgjob.OrgID(org), func(o *qgjob.Org) {
				if flags.Changed("weight") {
					o.Weight = weight
				}
				if flags.Changed("quota") {
					o.Quota = quota
				}
			}, asJSON)
		},
	}
	cmd.Flags().StringVar(&org, "org-id", "", "the org (QGJOB_ORG)")
	cmd.Flags().Float64Var(&weight, "weight", 1, "share against other orgs, 0.01 to 100")
	cmd.Flags().IntVar(&quota, "quota", 0, "most jobs at once; 0 is no limit")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) runOrgSet(ctx context.Context, id qgjob.OrgID, change func(*qgjob.Org), asJSON bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	org, err := c.Org(ctx, id)
	if err != nil {
		return err
	}
	change(&org)
	if org, err = c.PutOrg(ctx, id, org.Weight, org.Quota); err != nil {
		return err
	}
	return a.printOrg(org, asJSON)
}

func (a *app) orgShowCmd() *cobra.Command {
	var org string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show",
		Short:   "Show an org's weight and quota",
		Example: "  qgjob org show --org-id=qualgent",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if org == "" {
				return usage("org-id", "say whose share to show")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			got, err := c.Org(cmd.Context(), qgjob.OrgID(org))
			if err != nil {
				return err
			}
			return a.printOrg(got, asJSON)
		},
	}
	cmd.Flags().StringVar(&org, "org-id", "", "the org (QGJOB_ORG)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) printOrg(o qgjob.Org, asJSON bool) error {
	if asJSON {
		return a.json(o)
	}
	quota := "none"
	if o.Quota > 0 {
		quota = fmt.Sprint(o.Quota)
	}
	a.answer("org %s: weight %g, quota %s", o.OrgID, o.Weight, quota)
	return nil
}
