package cli

import (
	"context"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/spf13/cobra"
)

func (a *app) explainCmd() *cobra.Command {
	var asJSON bool
	var who subjectFlags
	cmd := &cobra.Command{
		Use:   "explain [JOB]",
		Short: "Say why a job waits, behind whom, when it may start, and what would start it sooner",
		Example: `  qgjob explain job_7
  qgjob explain --job-id=job_7 --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := who.parse(args)
			if err != nil {
				return err
			}
			if s.job == 0 {
				return usage("job-id", "name one job of %v: jobs wait, a run does not", s.run)
			}
			return a.runExplain(cmd.Context(), s.job, asJSON)
		},
	}
	who.add(a, cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) runExplain(ctx context.Context, id qgjob.JobID, asJSON bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	e, err := c.Explain(ctx, id)
	if err != nil {
		return err
	}
	if asJSON {
		return a.json(e)
	}
	a.answer("%s", e.Summary)
	if e.Likely != nil {
		now := time.Now()
		a.answer("likely start in %s (between %s and %s)", until(*e.Likely, now), until(*e.Soonest, now), until(*e.Latest, now))
	}
	for _, advice := range e.Advice {
		a.answer("would help: %s", advice)
	}
	if len(e.Agents) > 0 {
		rows := make([][]string, len(e.Agents))
		for i, x := range e.Agents {
			runs := "-"
			if x.JobID != nil {
				runs = x.JobID.String()
			}
			rows[i] = []string{string(x.AgentID), x.Answer, runs, x.Text}
		}
		a.table([]string{"AGENT", "ANSWER", "RUNS", "WHY"}, rows)
	}
	return nil
}

func until(t, now time.Time) string { return span(max(0, t.Sub(now))) }
