package cli

import (
	"context"

	"github.com/qualgent/qgjob/internal/client"
	"github.com/spf13/cobra"
)

func (a *app) cancelCmd() *cobra.Command {
	var who subjectFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "cancel [JOB|RUN]",
		Short: "Cancel a job, or every job of a run that has not ended",
		Example: `  qgjob cancel job_7
  qgjob cancel --run-id=run_1`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := who.parse(args)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.runCancel(cmd.Context(), c, s, asJSON)
		},
	}
	who.add(a, cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) runCancel(ctx context.Context, c *client.Client, s subject, asJSON bool) error {
	if s.run != 0 {
		r, err := c.CancelRun(ctx, s.run)
		if err != nil {
			return err
		}
		return a.printRun(r, "cancelling", asJSON)
	}
	j, err := c.CancelJob(ctx, s.job)
	if err != nil {
		return err
	}
	return a.printJob(j, asJSON)
}
