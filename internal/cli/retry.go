package cli

import (
	"context"

	"github.com/qualgent/qgjob"
	"github.com/spf13/cobra"
)

func (a *app) retryCmd() *cobra.Command {
	var who subjectFlags
	var asJSON, wait bool
	waits := waitOptions{}
	cmd := &cobra.Command{
		Use:   "retry [JOB|RUN]",
		Short: "Run again what failed: a new run of those jobs",
		Long: `Submit a new run of a job, or of the failed, errored and cancelled jobs of a
run. The old jobs stay as they ended.`,
		Example: `  qgjob retry run_1 --wait
  qgjob retry job_7`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := who.parse(args)
			if err != nil {
				return err
			}
			if err := waits.check(wait); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.submitAndWait(cmd.Context(), c, wait, asJSON, waits, func(ctx context.Context) (qgjob.SubmitResponse, error) {
				if s.run != 0 {
					return c.RetryRun(ctx, s.run)
				}
				return c.RetryJob(ctx, s.job)
			})
		},
	}
	who.add(a, cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for the verdict and exit with it")
	waits.add(cmd, false)
	return cmd
}
