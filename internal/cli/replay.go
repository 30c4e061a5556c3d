package cli

import (
	"context"
	"slices"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
	"github.com/qualgent/qgjob/internal/sim"
)

// targetLabel stands for an agent's target among the labels of a workload,
// which knows labels only.
const targetLabel = "qgjob.target"

// history makes a workload of what the server ran, on the fleet it has now.
func (a *app) history(ctx context.Context, o *simulateOptions) (*sim.Workload, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	jobs, err := c.History(ctx, qgjob.OrgID(o.org), time.Now().Add(-o.since))
	if err != nil {
		return nil, err
	}
	if len(jobs) == 0 {
		return nil, usage("since", "the server ran no test in the last %v", o.since)
	}
	agents, err := c.Agents(ctx)
	if err != nil {
		return nil, err
	}
	if len(agents) == 0 {
		return nil, usage("replay", "the server knows no agent to play it on")
	}
	w := replayed(jobs, agents)
	for i, org := range w.Orgs {
		got, err := c.Org(ctx, qgjob.OrgID(org.ID))
		if err != nil {
			return nil, err
		}
		w.Orgs[i].Weight = got.Weight
	}
	return w, w.Check()
}

// present gives the agents that are there; all that are known when none is.
func present(agents []qgjob.Agent) []qgjob.Agent {
	here := slices.DeleteFunc(slices.Clone(agents), func(g qgjob.Agent) bool { return g.Status == qgjob.AgentOffline })
	if len(here) == 0 {
		return agents
	}
	return here
}

// replayed is the workload of ended jobs on a fleet. Builds whose install was
// never seen take the mean of those that were.
func replayed(jobs []qgjob.HistoryJob, agents []qgjob.Agent) *sim.Workload {
	w := &sim.Workload{Name: "replay"}
	for _, g := range present(agents) {
		w.Agents = append(w.Agents, sim.Agent{ID: string(g.AgentID), Labels: withTarget(g.Labels, g.Target), Speed: 1, InstallFactor: 1,
			SharedInstall: g.Target == qgjob.TargetBrowserStack})
	}
	begin := jobs[0].SubmittedAt // the earliest: a clock may have been set back
	for _, j := range jobs {
		if j.SubmittedAt.Before(begin) {
			begin = j.SubmittedAt
		}
	}
	apps, orgs := map[[2]string]int{}, map[string]bool{}
	installs := map[int]schedule.Average{}
	var all schedule.Average
	for i, j := range jobs {
		if !orgs[string(j.OrgID)] {
			orgs[string(j.OrgID)] = true
			w.Orgs = append(w.Orgs, sim.Org{ID: string(j.OrgID), Weight: 1})
		}
		version := string(j.AppVersionID) + "@" + string(j.BuildSHA256)
		key := [2]string{string(j.OrgID), version}
		app, ok := apps[key]
		if !ok {
			app = len(w.Apps)
			apps[key] = app
			w.Apps = append(w.Apps, sim.App{Org: string(j.OrgID), Version: version})
		}
		if j.InstallMS > 0 {
			s := float64(j.InstallMS) / 1000
			installs[app], all = installs[app].Observe(s), all.Observe(s)
		}
		w.Jobs = append(w.Jobs, sim.Job{ID: i, AtS: j.SubmittedAt.Sub(begin).Seconds(), Run: j.RunID.String(), Org: string(j.OrgID), Version: version,
			Requires: withTarget(j.Requires, j.Target), Test: j.TestPath, Priority: j.Priority, DurationS: max(0.001, float64(j.TestMS)/1000)})
	}
	for i := range w.Apps {
		w.Apps[i].InstallS = installs[i].Or(all.Or(schedule.DefaultInstall))
	}
	return w
}

func withTarget(labels map[string]string, target qgjob.Target) map[string]string {
	with := map[string]string{targetLabel: string(target)}
	for k, v := range labels {
		with[k] = v
	}
	return with
}
