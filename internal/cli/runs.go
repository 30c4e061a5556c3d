package cli

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
	"github.com/spf13/cobra"
)

func (a *app) runsCmd() *cobra.Command {
	var org string
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "runs",
		Short:   "List runs, newest first",
		Example: "  qgjob runs --org-id=qualgent --limit=5",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usage("limit", "%d is less than nothing; 0 is all", limit)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			runs, more, err := allRuns(cmd.Context(), c, qgjob.OrgID(org), limit)
			if err != nil {
				return err
			}
			if more {
				a.note("there are more runs than %d; --limit=0 lists them all", limit)
			}
			return a.printRuns(runs, asJSON)
		},
	}
	cmd.Flags().StringVar(&org, "org-id", "", "runs of this org only (QGJOB_ORG)")
	cmd.Flags().IntVar(&limit, "limit", 20, "at most so many; 0 is all")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func allRuns(ctx context.Context, c *client.Client, org qgjob.OrgID, limit int) (runs []qgjob.Run, more bool, err error) {
	cursor := ""
	for {
		want := qgjob.MaxPage
		if limit > 0 {
			want = min(want, limit-len(runs))
		}
		p, err := c.Runs(ctx, org, cursor, want)
		if err != nil {
			return nil, false, err
		}
		runs = append(runs, p.Items...)
		if p.Cursor == "" || p.Cursor == cursor {
			return runs, false, nil
		}
		if limit > 0 && len(runs) >= limit {
			return runs, true, nil
		}
		cursor = p.Cursor
	}
}

func (a *app) printRuns(runs []qgjob.Run, asJSON bool) error {
	if asJSON {
		return a.json(append([]qgjob.Run{}, runs...))
	}
	if len(runs) == 0 {
		a.note("no runs")
		return nil
	}
	rows := make([][]string, len(runs))
	now := time.Now()
	for i, r := range runs {
		rows[i] = []string{
			r.RunID.String(), or(string(r.Conclusion), "running"), tallyText(r.Tally), strconv.Itoa(r.Installs),
			strconv.Itoa(r.InstallsAvoided), string(r.OrgID), ago(r.SubmittedAt, now), qgjob.LabelText(r.Labels),
		}
	}
	a.table(strings.Fields("RUN STATUS JOBS INSTALLS AVOIDED ORG SUBMITTED LABELS"), rows)
	return nil
}

func tiny(n int) string { return strconv.Itoa(n) }
