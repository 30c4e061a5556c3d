package cli

import (
	"context"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
	"github.com/spf13/cobra"
)

// completeWithin is how long a Tab may wait for the server.
const completeWithin = 800 * time.Millisecond

func completeTargets(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{
		"emulator\tan emulator or simulator", "device\ta real phone or tablet",
		"browserstack\ta device of BrowserStack", "browser\ta mobile-emulated Chromium",
	}, cobra.ShellCompDirectiveNoFileComp
}

func completeStates(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	out := []string{}
	for _, s := range qgjob.JobStates {
		out = append(out, string(s))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completing asks the server for what can follow; when it does not answer at
// once, nothing is offered.
func (a *app) completing(cmd *cobra.Command, ask func(context.Context, *client.Client) []string) ([]string, cobra.ShellCompDirective) {
	if a.settle(cmd) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, stop := context.WithTimeout(context.Background(), completeWithin)
	defer stop()
	return ask(ctx, c.With(client.NoRetry)), cobra.ShellCompDirectiveNoFileComp
}

func runIDs(ctx context.Context, c *client.Client) []string {
	p, err := c.Runs(ctx, "", "", 20)
	if err != nil {
		return nil
	}
	out := []string{}
	for _, r := range p.Items {
		out = append(out, r.RunID.String()+"\t"+clean(tallyText(r.Tally)))
	}
	return out
}

// jobIDs offers the jobs of the newest run, and those that have not ended.
func jobIDs(ctx context.Context, c *client.Client) []string {
	filters := []qgjob.JobFilter{{Status: []qgjob.JobState{qgjob.Queued, qgjob.Assigned, qgjob.Running}, Limit: 50}}
	if p, err := c.Runs(ctx, "", "", 1); err == nil && len(p.Items) == 1 {
		filters = append(filters, qgjob.JobFilter{RunID: p.Items[0].RunID, Limit: 50})
	}
	out := []string{}
	seen := map[qgjob.JobID]bool{}
	for _, f := range filters {
		p, err := c.Jobs(ctx, f, "")
		if err != nil {
			return out
		}
		for _, j := range p.Items {
			if !seen[j.JobID] {
				seen[j.JobID] = true
				out = append(out, j.JobID.String()+"\t"+string(j.Status)+" "+clean(j.TestPath))
			}
		}
	}
	return out
}

func (a *app) completeRuns(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completing(cmd, runIDs)
}

func (a *app) completeJobs(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completing(cmd, jobIDs)
}

func (a *app) completeSubject(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completing(cmd, func(ctx context.Context, c *client.Client) []string {
		return append(runIDs(ctx, c), jobIDs(ctx, c)...)
	})
}

func (a *app) completeAgents(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completing(cmd, func(ctx context.Context, c *client.Client) []string {
		agents, err := c.Agents(ctx)
		if err != nil {
			return nil
		}
		out := []string{}
		for _, g := range agents {
			out = append(out, clean(string(g.AgentID))+"\t"+string(g.Target)+" "+string(g.Status))
		}
		return out
	})
}
