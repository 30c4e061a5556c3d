package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
	"github.com/spf13/cobra"
)

// maxUnreachable is how long a wait goes on without its server.
const maxUnreachable = 5 * time.Minute

// waitOptions are the flags of everything that waits.
type waitOptions struct {
	timeout     time.Duration
	failOnFlaky bool
	junit, html string
	json        bool
	cancels     bool          // an interrupt cancels the run
	failFast    bool          // the verdict is known with the first failure
	unreachable time.Duration // 0: maxUnreachable
	confirm     time.Duration // 0: confirmWithin
	ci          *githubJob    // nil off GitHub
}

// add registers the flags; always says that the command always waits.
func (o *waitOptions) add(cmd *cobra.Command, always bool) {
	with := " (with --wait)"
	if always {
		with = ""
	}
	f := cmd.Flags()
	f.DurationVar(&o.timeout, "wait-timeout", 0, "stop waiting after so long and exit with 8; 0 is never"+with)
	f.BoolVar(&o.failOnFlaky, "fail-on-flaky", false, "exit with 1 when a test passed only after a retry"+with)
	f.StringVar(&o.junit, "junit", "", "write the results as JUnit XML to this file"+with)
	f.StringVar(&o.html, "report", "", "write the results as one HTML page to this file"+with)
}

func (o *waitOptions) check(waits bool) error {
	switch {
	case o.timeout < 0:
		return usage("wait-timeout", "%v is less than nothing", o.timeout)
	case waits:
		return nil
	case o.timeout > 0:
		return usage("wait-timeout", "only with --wait")
	case o.junit != "":
		return usage("junit", "only with --wait; afterwards: qgjob report run_1 --junit=%s", o.junit)
	case o.html != "":
		return usage("report", "only with --wait; afterwards: qgjob report run_1 --html=%s", o.html)
	}
	return nil
}

func (a *app) waitCmd() *cobra.Command {
	var who subjectFlags
	o := waitOptions{}
	cmd := &cobra.Command{
		Use:   "wait [JOB|RUN]",
		Short: "Wait for a run or a job to end and exit with its verdict",
		Long: `Wait for a run or a job to end, and exit with the verdict: 0 all passed, 1 a test
failed or was cancelled, 3 infrastructure broke a job or the server cannot be
reached, 8 --wait-timeout ran out first. An interrupt only leaves: the run goes
on.`,
		Example: `  qgjob wait run_1
  qgjob wait --job-id=job_7 --wait-timeout=20m
  qgjob wait run_1 --junit=results.xml --report=results.html`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := who.parse(args)
			if err != nil {
				return err
			}
			if err := o.check(true); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.wait(cmd.Context(), c, s, o)
		},
	}
	who.add(a, cmd)
	o.add(cmd, true)
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

// wait follows a run or job to its end, prints the summary and returns the
// verdict.
func (a *app) wait(ctx context.Context, c *client.Client, s subject, o waitOptions) error {
	run := s.run
	if !o.cancels { // not just submitted: is there such a thing, and a server?
		var err error
		if run, err = a.runOf(ctx, c, s); err != nil {
			return err
		}
	}
	signals := a.stops.take()
	w := &watcher{app: a, client: c, opts: o, state: newProgress(run, s.job), signals: signals}
	end, err := w.watch(ctx)
	if qgjob.KindOf(err) == qgjob.KindNotFound { // it was there when the wait began
		return vanished(s)
	}
	if err != nil {
		if qgjob.KindOf(err) == qgjob.KindUnavailable {
			a.note("%v may still be running; come back with: qgjob wait %v", s, s)
		}
		return err
	}
	err = a.conclude(ctx, c, s, o, end)
	o.ci.ended(ctx, c, end)
	return err
}

// runOf is the run that a subject is or belongs to.
func (a *app) runOf(ctx context.Context, c *client.Client, s subject) (qgjob.RunID, error) {
	if s.run != 0 {
		r, err := c.Run(ctx, s.run)
		return r.RunID, err
	}
	j, err := c.Job(ctx, s.job)
	return j.RunID, err
}

// conclude says how a wait ended.
func (a *app) conclude(ctx context.Context, c *client.Client, s subject, o waitOptions, end ending) error {
	switch end.how {
	case leftRunning:
		a.note("left; %v goes on; come back with: qgjob wait %v", s, s)
		return verdict(exitInterrupted)
	case leftCancelled:
		a.note("left; %v is being cancelled; look at it with: qgjob status %v", s, s)
		return verdict(exitInterrupted)
	case outOfTime:
		a.note("%v has not ended within %v: %s; go on waiting with: qgjob wait %v", s, o.timeout, end.result.tally(), s)
	}
	if why := end.result.stopped(end.how); why != "" {
		a.note("%v: %s", s, why)
	}
	if o.json {
		if err := a.json(end.result); err != nil {
			return err
		}
	} else if end.how == ended || end.how == failedFast {
		a.summary(end.result, s)
	}
	if end.how == outOfTime {
		return verdict(exitRunning)
	}
	if err := a.writeReports(ctx, c, end.result.RunID, o.junit, o.html); err != nil {
		if code := end.result.code(o.failOnFlaky); code != exitPassed {
			a.fail(nil, err)
			return verdict(code)
		}
		return err
	}
	if end.cancelled {
		return verdict(exitInterrupted)
	}
	if code := end.result.code(o.failOnFlaky); code != exitPassed {
		return verdict(code)
	}
	return nil
}

// writeReports fetches the reports that are wanted; "-" is stdout.
func (a *app) writeReports(ctx context.Context, c *client.Client, run qgjob.RunID, junit, html string) error {
	for _, r := range []struct {
		file, what string
		get        func(context.Context, qgjob.RunID) ([]byte, error)
	}{{junit, "JUnit report", c.JUnit}, {html, "HTML report", c.Report}} {
		if r.file == "" {
			continue
		}
		text, err := r.get(ctx, run)
		if err != nil {
			return fmt.Errorf("get the %s of %v: %w", r.what, run, err)
		}
		if r.file == "-" {
			a.write(string(text))
			continue
		}
		if err := os.WriteFile(a.path(r.file), text, 0o644); err != nil {
			return fmt.Errorf("write the %s: %w", r.what, err)
		}
		a.note("%s of %v written to %s", r.what, run, r.file)
	}
	return nil
}
