package cli

import (
	"context"

	"github.com/qualgent/qgjob/internal/client"
	"github.com/spf13/cobra"
)

type reportOptions struct {
	who         subjectFlags
	junit, html string
	json        bool
}

func (a *app) reportCmd() *cobra.Command {
	o := &reportOptions{}
	cmd := &cobra.Command{
		Use:   "report [RUN|JOB]",
		Short: "Print a run's results, or write them as JUnit XML or HTML",
		Long: `Print the results of a run, or write them as JUnit XML or as one HTML page; a
job stands for the run that it belongs to. The exit code is 0 when the report
could be made, whatever it says.`,
		Example: `  qgjob report run_1
  qgjob report run_1 --junit=results.xml --html=results.html
  qgjob report run_1 --junit=- | less`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := o.who.parse(args)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.runReport(cmd.Context(), c, s, o)
		},
	}
	o.who.add(a, cmd)
	cmd.Flags().StringVar(&o.junit, "junit", "", "write JUnit XML to this file; - is stdout")
	cmd.Flags().StringVar(&o.html, "html", "", "write one HTML page to this file; - is stdout")
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

func (a *app) runReport(ctx context.Context, c *client.Client, s subject, o *reportOptions) error {
	run, err := a.runOf(ctx, c, s)
	if err != nil {
		return err
	}
	if o.junit != "" || o.html != "" {
		return a.writeReports(ctx, c, run, o.junit, o.html)
	}
	r, err := fetchResult(ctx, c, run, 0)
	if err != nil {
		return err
	}
	if o.json {
		return a.json(r)
	}
	a.summary(r, subject{run: run})
	return nil
}
