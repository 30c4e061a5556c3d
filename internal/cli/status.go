package cli

import (
	"context"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
	"github.com/spf13/cobra"
)

func (a *app) statusCmd() *cobra.Command {
	var who subjectFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [JOB|RUN]",
		Short: "Say how a job or a run stands",
		Long:  "Say how a job or a run stands. The exit code is 0 whenever that can be told; for a verdict use qgjob wait.",
		Example: `  qgjob status --job-id=job_1
  qgjob status run_1 --json`,
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
			return a.runStatus(cmd.Context(), c, s, asJSON)
		},
	}
	who.add(a, cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) runStatus(ctx context.Context, c *client.Client, s subject, asJSON bool) error {
	if s.run != 0 {
		r, err := c.Run(ctx, s.run)
		if err != nil {
			return err
		}
		return a.printRun(r, "running", asJSON)
	}
	j, err := c.Job(ctx, s.job)
	if err != nil {
		return err
	}
	return a.printJob(j, asJSON)
}

// printRun says how a run stands; open is the word for one that goes on.
func (a *app) printRun(r qgjob.Run, open string, asJSON bool) error {
	if asJSON {
		return a.json(r)
	}
	a.answer("Run %v status: %s (%s)", r.RunID, or(string(r.Conclusion), open), tallyText(r.Tally))
	return nil
}

// printJob says how a job stands.
func (a *app) printJob(j qgjob.Job, asJSON bool) error {
	if asJSON {
		return a.json(j)
	}
	a.answer("Job %v status: %s", j.JobID, j.Status)
	return nil
}
