package cli

import (
	"context"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/spf13/cobra"
)

type listOptions struct {
	org, run, version, agent, target string
	status                           []string
	limit                            int
	json                             bool
}

func (a *app) listCmd() *cobra.Command {
	o := &listOptions{}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List jobs, newest first; those of one run in their order",
		Example: `  qgjob list --org-id=qualgent --status=queued,running
  qgjob list --run-id=run_1 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runList(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.org, "org-id", "", "jobs of this org only (QGJOB_ORG)")
	f.StringVar(&o.run, "run-id", "", "jobs of this run only")
	f.StringVar(&o.version, "app-version-id", "", "jobs of this app version only")
	f.StringVar(&o.agent, "agent-id", "", "jobs of this agent only")
	f.StringVar(&o.target, "target", "", "jobs for this target only")
	f.StringSliceVar(&o.status, "status", nil, "jobs in these states only, such as queued,running")
	f.IntVar(&o.limit, "limit", 100, "at most so many; 0 is all")
	f.BoolVar(&o.json, "json", false, "print JSON")
	must(cmd.RegisterFlagCompletionFunc("target", completeTargets))
	must(cmd.RegisterFlagCompletionFunc("status", completeStates))
	must(cmd.RegisterFlagCompletionFunc("run-id", a.completeRuns))
	must(cmd.RegisterFlagCompletionFunc("agent-id", a.completeAgents))
	return cmd
}

func (o *listOptions) filter() (qgjob.JobFilter, error) {
	f := qgjob.JobFilter{OrgID: qgjob.OrgID(o.org), AppVersionID: qgjob.AppVersionID(o.version), AgentID: qgjob.AgentID(o.agent), Newest: o.run == ""}
	if o.limit < 0 {
		return f, usage("limit", "%d is less than nothing; 0 is all", o.limit)
	}
	if o.run != "" {
		id, err := qgjob.ParseRunID(o.run)
		if err != nil {
			return f, err
		}
		f.RunID = id
	}
	if o.target != "" {
		t, err := qgjob.ParseTarget(o.target)
		if err != nil {
			return f, err
		}
		f.Target = t
	}
	for _, s := range o.status {
		state, err := qgjob.ParseJobState(s)
		if err != nil {
			return f, err
		}
		f.Status = append(f.Status, state)
	}
	return f, nil
}

func (a *app) runList(ctx context.Context, o *listOptions) error {
	f, err := o.filter()
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	jobs, more, err := c.AllJobs(ctx, f, o.limit)
	if err != nil {
		return err
	}
	if more {
		a.note("there are more jobs than %d; --limit=0 lists them all", o.limit)
	}
	if o.json {
		return a.json(append([]qgjob.Job{}, jobs...))
	}
	if len(jobs) == 0 {
		a.note("no such jobs")
		return nil
	}
	rows := make([][]string, len(jobs))
	now := time.Now()
	for i, j := range jobs {
		rows[i] = []string{
			j.JobID.String(), string(j.Status), j.TestPath, string(j.AppVersionID), string(j.Target), tiny(j.Priority),
			j.RunID.String(), or(string(j.AgentID), "-"), ago(j.SubmittedAt, now), noteOf(j),
		}
	}
	a.table(strings.Fields("JOB STATUS TEST APP-VERSION TARGET PRIORITY RUN AGENT SUBMITTED NOTE"), rows)
	return nil
}
