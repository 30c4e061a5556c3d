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

func (a *app) agentsCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "agents",
		Short: "List agents; drain them and bring them back",
		Example: `  qgjob agents
  qgjob agents drain pixel8-1      # finishes its job, then claims no more
  qgjob agents undrain pixel8-1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			agents, err := c.Agents(cmd.Context())
			if err != nil {
				return err
			}
			return a.printAgents(agents, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(
		a.drainCmd("drain", "Let an agent finish its job and claim no more", (*client.Client).Drain),
		a.drainCmd("undrain", "Let a drained agent claim again", (*client.Client).Undrain),
	)
	return cmd
}

func (a *app) drainCmd(verb, short string, act func(*client.Client, context.Context, qgjob.AgentID) (qgjob.Agent, error)) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               verb + " AGENT",
		Short:             short,
		Example:           "  qgjob agents " + verb + " pixel8-1",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeAgents,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := qgjob.CheckName("agent_id", args[0]); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			got, err := act(c, cmd.Context(), qgjob.AgentID(args[0]))
			if err != nil {
				return err
			}
			if asJSON {
				return a.json(got)
			}
			a.answer("Agent %s status: %s", got.AgentID, got.Status)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) printAgents(agents []qgjob.Agent, asJSON bool) error {
	if asJSON {
		return a.json(append([]qgjob.Agent{}, agents...))
	}
	if len(agents) == 0 {
		a.note("no agents; start one with: qgjob agent --target=browser --name=a1 --runner=playwright")
		return nil
	}
	rows := make([][]string, len(agents))
	now := time.Now()
	for i, g := range agents {
		job, holds := "-", "-"
		if g.JobID != nil {
			job = g.JobID.String()
		}
		if g.Installed != nil {
			holds = string(g.Installed.AppVersionID)
		}
		rows[i] = []string{
			string(g.AgentID), string(g.Status), string(g.Target), job, holds, strconv.FormatInt(g.Installs, 10),
			strconv.FormatInt(g.Avoided, 10), ago(g.LastSeen, now), or(qgjob.LabelText(g.Labels), "-"),
		}
	}
	a.table(strings.Fields("AGENT STATUS TARGET JOB INSTALLED INSTALLS AVOIDED SEEN LABELS"), rows)
	for _, g := range agents {
		if q := g.Quarantine; q != nil {
			a.note("%s is in quarantine: %s; %s", g.AgentID, q.Reason, q.Next)
		}
	}
	return nil
}
