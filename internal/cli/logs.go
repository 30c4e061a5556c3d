package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
	"github.com/spf13/cobra"
)

type logsOptions struct {
	job     string
	attempt int
	follow  bool
}

func (a *app) logsCmd() *cobra.Command {
	o := &logsOptions{}
	cmd := &cobra.Command{
		Use:   "logs [JOB]",
		Short: "Print a job's log",
		Long: `Print the log of a job's newest attempt, or of --attempt. With -f the log is
followed, through every attempt, until the job has ended. On a terminal escape
sequences of the tests are dropped, colours excepted.`,
		Example: `  qgjob logs job_7
  qgjob logs -f --job-id=job_7
  qgjob logs job_7 --attempt=1 > first.log`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := (&subjectFlags{job: o.job}).parse(args)
			if err != nil {
				return err
			}
			if s.run != 0 {
				return &qgjob.Error{Kind: qgjob.KindInvalid, Message: "logs are of a job, not of a run", Hint: "list its jobs with: qgjob list --run-id=" + s.run.String()}
			}
			if o.attempt < 0 {
				return usage("attempt", "%d is not an attempt; the first is 1", o.attempt)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.runLogs(cmd.Context(), c, s.job, o)
		},
	}
	cmd.Flags().StringVar(&o.job, "job-id", "", "the job, such as job_1")
	cmd.Flags().IntVar(&o.attempt, "attempt", 0, "which attempt, from 1; 0 is the newest")
	cmd.Flags().BoolVarP(&o.follow, "follow", "f", false, "go on until the job has ended")
	cmd.ValidArgsFunction = a.completeJobs
	must(cmd.RegisterFlagCompletionFunc("job-id", a.completeJobs))
	return cmd
}

func (a *app) runLogs(ctx context.Context, c *client.Client, id qgjob.JobID, o *logsOptions) (err error) {
	out := io.Writer(a)
	if obeyed := onGitHub(a.env) && !isFile(a.out); a.outTTY || obeyed {
		s := &scrubber{w: a, calm: obeyed}
		defer func() {
			if e := s.Close(); err == nil {
				err = e
			}
		}()
		out = s
	}
	if !o.follow {
		_, _, err := c.Log(ctx, id, o.attempt, 0, out)
		return err
	}
	patient := c.With(client.Retry{Budget: maxUnreachable, Max: 5 * time.Second, Notify: a.notifyOnce()})
	attempt := 0
	for chunk, err := range patient.FollowLog(ctx, id, o.attempt) {
		if err != nil {
			return err
		}
		if chunk.Attempt > attempt && attempt > 0 {
			a.note("%v: attempt %d begins", id, chunk.Attempt)
		}
		attempt = max(attempt, chunk.Attempt)
		if _, err := io.WriteString(out, chunk.Text); err != nil {
			return fmt.Errorf("write the log: %w", err)
		}
	}
	return nil
}

// notifyOnce says once that the server is gone, and once that it is back.
func (a *app) notifyOnce() func(error) {
	lost := false
	return func(err error) {
		switch {
		case err != nil && !lost:
			a.note("%s; trying again for up to %s", short(err), span(maxUnreachable))
		case err == nil && lost:
			a.note("the server answers again")
		}
		lost = err != nil
	}
}
