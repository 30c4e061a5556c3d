package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
	"github.com/qualgent/qgjob/internal/sim"
	"github.com/spf13/cobra"
)

type simulateOptions struct {
	workload, policy, agents string
	scheduleOut, html        string
	replay                   bool
	org                      string
	since, within            time.Duration
	thrift                   float64
	json                     bool
}

func (a *app) simulateCmd() *cobra.Command {
	o := &simulateOptions{}
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Play a workload on an imagined fleet, with the scheduler of the server",
		Long: `Play a workload on an imagined fleet. The decisions are made by the very
function that the server calls; the schedule is verified, and measured against
lower bounds that no scheduler can beat.

The workload is a file (--workload), or what the server really ran (--replay).
--agents=+5 adds five agents like those there are, --agents=-2 takes two away.
--target-p95=10m looks for the smallest fleet with which 95 of 100 runs have
their result within ten minutes, and says what it costs.`,
		Example: `  qgjob simulate --workload=bench/workloads/prstorm-101.json
  qgjob simulate --workload=w.json --policy=priority --agents=+5 --html=timeline.html
  qgjob simulate --replay --since=168h --target-p95=10m`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runSimulate(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.workload, "workload", "", "workload file, JSON; - is standard input")
	f.BoolVar(&o.replay, "replay", false, "take the workload from what the server ran")
	f.StringVar(&o.org, "org-id", "", "with --replay: jobs of this org only (QGJOB_ORG)")
	f.DurationVar(&o.since, "since", 7*24*time.Hour, "with --replay: how far back")
	f.StringVar(&o.policy, "policy", string(schedule.RuleQgjob), "qgjob, fifo, priority or pin")
	f.StringVar(&o.agents, "agents", "", "change the fleet: +N clones agents in turn, -N drops the last")
	f.Float64Var(&o.thrift, "thrift", schedule.DefaultPolicy().Thrift, "price of an install: higher means fewer installs and later results")
	f.DurationVar(&o.within, "target-p95", 0, "look for the smallest fleet with this 95th percentile of time to result")
	f.StringVar(&o.scheduleOut, "schedule", "", "write the schedule to this file, JSON")
	f.StringVar(&o.html, "html", "", "write a timeline to this file: agents by time, installs in another colour")
	f.BoolVar(&o.json, "json", false, "print JSON")
	must(cmd.RegisterFlagCompletionFunc("policy", cobra.FixedCompletions([]string{"qgjob", "fifo", "priority", "pin"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

func (a *app) runSimulate(ctx context.Context, o *simulateOptions) error {
	policy, err := o.rule()
	if err != nil {
		return err
	}
	w, err := a.simulated(ctx, o)
	if err != nil {
		return err
	}
	if o.agents != "" {
		n, err := strconv.Atoi(o.agents)
		if err != nil || !strings.ContainsAny(o.agents[:1], "+-") {
			return usage("agents", "%q is not a change such as +5 or -2", o.agents)
		}
		if w, err = sim.ScaleFleet(w, n); err != nil {
			return usage("agents", "%v", err)
		}
	}
	if o.within > 0 {
		return a.findFleet(w, policy, o)
	}
	result, err := sim.Run(w, policy)
	if err != nil {
		return err
	}
	return a.showSimulation(w, result, o)
}

func (o *simulateOptions) rule() (schedule.Policy, error) {
	policy := schedule.DefaultPolicy()
	rule, err := schedule.ParseRule(o.policy)
	switch {
	case err != nil:
		return policy, usage("policy", "%v", err)
	case (o.workload == "") == !o.replay:
		return policy, usage("workload", "say what to play: --workload=FILE or --replay, and not both")
	case !(o.thrift >= 0 && o.thrift <= 1000): // not a number is neither
		return policy, usage("thrift", "%v is out of range; allowed: 0 to 1000", o.thrift)
	case o.within < 0:
		return policy, usage("target-p95", "%v is less than nothing", o.within)
	}
	policy.Rule, policy.Thrift = rule, o.thrift
	return policy, nil
}

// simulated gets the workload from where the options say.
func (a *app) simulated(ctx context.Context, o *simulateOptions) (*sim.Workload, error) {
	if o.replay {
		return a.history(ctx, o)
	}
	in := a.in
	if o.workload != "-" {
		f, err := os.Open(a.path(o.workload))
		if err != nil {
			return nil, usage("workload", "%v", err)
		}
		defer f.Close()
		in = f
	}
	w, err := sim.Load(in)
	if err != nil {
		return nil, usage("workload", "%s: %v", o.workload, err)
	}
	return w, nil
}

// showSimulation verifies, measures and prints what came out.
func (a *app) showSimulation(w *sim.Workload, r *sim.Result, o *simulateOptions) error {
	plan := r.Schedule()
	played := *w
	if len(r.Impossible) > 0 {
		a.note("%d jobs can be run by no agent of the fleet and were left out, the first is job %d", len(r.Impossible), r.Impossible[0])
		played.Jobs = without(w.Jobs, r.Impossible)
	}
	if faults := sim.Verify(judged(&played, o.policy), plan); len(faults) > 0 {
		return fmt.Errorf("the schedule breaks %d rules, the first: %s", len(faults), faults[0])
	}
	if err := a.toFile(o.scheduleOut, "schedule", plan.Write); err != nil {
		return err
	}
	if err := a.toFile(o.html, "timeline", func(to io.Writer) error { return sim.WriteTimeline(to, &played, plan) }); err != nil {
		return err
	}
	m := sim.Measure(&played, plan)
	if o.json {
		return a.json(struct {
			sim.Metrics
			Policy     string `json:"policy"`
			Impossible []int  `json:"impossible_jobs,omitempty"`
		}{m, o.policy, r.Impossible})
	}
	a.answer("%s on %d agents, policy %s: %d jobs, no rule broken", w.Name, len(w.Agents), o.policy, len(played.Jobs))
	a.table([]string{"FIGURE", "VALUE", "AGAINST THE LOWER BOUND"}, [][]string{
		{"last result after", seconds(m.MakespanS), fmt.Sprintf("%.3f times", m.MakespanOverBound)},
		{"mean time to result of a run", seconds(m.MeanTTRS), fmt.Sprintf("%.3f times", m.TTROverBound)},
		{"95 of 100 runs within", seconds(m.TTRP95S), ""},
		{"slowdown, 95th percentile", fmt.Sprintf("%.2f", m.SlowdownP95), ""},
		{"longest wait of a job", seconds(m.LongestWaitS), ""},
		{"installs", strconv.Itoa(m.Installs), ""},
		{"fairness between orgs (Jain)", fmt.Sprintf("%.3f", m.Jain), ""},
	})
	return nil
}

// judged is the workload that a schedule is held against: fifo ignores
// priorities, so there they are all the same.
func judged(w *sim.Workload, policy string) *sim.Workload {
	if policy != string(schedule.RuleFIFO) {
		return w
	}
	level := *w
	level.Jobs = slices.Clone(w.Jobs)
	for i := range level.Jobs {
		level.Jobs[i].Priority = 1
	}
	return &level
}

func without(jobs []sim.Job, ids []int) []sim.Job {
	drop := map[int]bool{}
	for _, id := range ids {
		drop[id] = true
	}
	var kept []sim.Job
	for _, j := range jobs {
		if !drop[j.ID] {
			kept = append(kept, j)
		}
	}
	return kept
}

func (a *app) findFleet(w *sim.Workload, p schedule.Policy, o *simulateOptions) error {
	f, err := sim.SmallestFleet(w, p, o.within.Seconds())
	if err != nil {
		return &qgjob.Error{Kind: qgjob.KindConflict, Message: err.Error()}
	}
	if o.json {
		return a.json(f)
	}
	a.answer("%d agents (%+d) are enough: 95 of 100 runs have their result within %s", f.Agents, f.Change, seconds(f.TTRP95S))
	a.answer("they stand for %.1f device-hours, %.1f of them busy, and install %d times", f.DeviceHours, f.BusyHours, f.Installs)
	return nil
}

// toFile writes one of a command's files; no name is no file.
func (a *app) toFile(name, what string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(a.path(name))
	if err != nil {
		return fmt.Errorf("write the %s: %w", what, err)
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return fmt.Errorf("write the %s: %w", what, err)
	}
	a.note("%s written to %s", what, name)
	return nil
}

func seconds(s float64) string { return span(time.Duration(s * float64(time.Second))) }
