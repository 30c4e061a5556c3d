package sim

import (
	"fmt"
	"math"
)

// The bounds of a workload's numbers: a year of simulated time, and sizes that
// fit into memory.
const (
	maxSeconds = 366 * 86400
	maxAgents  = 100_000
	maxJobs    = 2_000_000
)

// Check refuses a workload that cannot be played, with the place and field at
// fault. Jobs that no agent can serve are not refused: Run reports them.
func (w *Workload) Check() error {
	if len(w.Agents) == 0 || len(w.Agents) > maxAgents {
		return fmt.Errorf("workload agents: there are %d; allowed: 1 to %d", len(w.Agents), maxAgents)
	}
	if len(w.Jobs) == 0 || len(w.Jobs) > maxJobs {
		return fmt.Errorf("workload jobs: there are %d; allowed: 1 to %d", len(w.Jobs), maxJobs)
	}
	orgs, err := w.checkOrgs()
	if err != nil {
		return err
	}
	apps, err := w.checkApps(orgs)
	if err != nil {
		return err
	}
	if err := w.checkAgents(); err != nil {
		return err
	}
	for i, h := range w.History {
		switch {
		case !orgs[h.Org]:
			return at("history", i, "org", "%q is not among orgs", h.Org)
		case h.Test == "":
			return at("history", i, "test", "is empty")
		case h.N < 1:
			return at("history", i, "n", "is %d; at least 1 is wanted", h.N)
		case !seconds(h.MeanS):
			return at("history", i, "mean_s", "is %g; 0 to %d is wanted", h.MeanS, maxSeconds)
		}
	}
	return w.checkJobs(orgs, apps)
}

func (w *Workload) checkOrgs() (map[string]bool, error) {
	orgs := map[string]bool{}
	for i, o := range w.Orgs {
		switch {
		case o.ID == "":
			return nil, at("orgs", i, "id", "is empty")
		case orgs[o.ID]:
			return nil, at("orgs", i, "id", "%q is there twice", o.ID)
		case !(o.Weight > 0 && o.Weight <= 1e6):
			return nil, at("orgs", i, "weight", "is %g; above 0 to 1000000 is wanted", o.Weight)
		}
		orgs[o.ID] = true
	}
	return orgs, nil
}

func (w *Workload) checkApps(orgs map[string]bool) (map[[2]string]bool, error) {
	apps := map[[2]string]bool{}
	for i, a := range w.Apps {
		key := [2]string{a.Org, a.Version}
		switch {
		case !orgs[a.Org]:
			return nil, at("apps", i, "org", "%q is not among orgs", a.Org)
		case a.Version == "":
			return nil, at("apps", i, "version", "is empty")
		case apps[key]:
			return nil, at("apps", i, "version", "%q of org %q is there twice", a.Version, a.Org)
		case !seconds(a.InstallS):
			return nil, at("apps", i, "install_s", "is %g; 0 to %d is wanted", a.InstallS, maxSeconds)
		}
		apps[key] = true
	}
	return apps, nil
}

func (w *Workload) checkAgents() error {
	seen := map[string]bool{}
	for i, a := range w.Agents {
		switch {
		case a.ID == "":
			return at("agents", i, "id", "is empty")
		case seen[a.ID]:
			return at("agents", i, "id", "%q is there twice", a.ID)
		case !(a.Speed >= 0.001 && a.Speed <= 1000):
			return at("agents", i, "speed", "is %g; 0.001 to 1000 is wanted", a.Speed)
		case !(a.InstallFactor >= 0.001 && a.InstallFactor <= 1000):
			return at("agents", i, "install_factor", "is %g; 0.001 to 1000 is wanted", a.InstallFactor)
		}
		seen[a.ID] = true
		last := 0.0
		for k, o := range a.Outages {
			if !seconds(o[0]) || !seconds(o[1]) || o[0] < last || o[1] <= o[0] {
				return at("agents", i, fmt.Sprintf("outages[%d]", k), "is [%g,%g]; outages go from earlier to later and follow each other", o[0], o[1])
			}
			last = o[1]
		}
	}
	return nil
}

func (w *Workload) checkJobs(orgs map[string]bool, apps map[[2]string]bool) error {
	ids := make(map[int]bool, len(w.Jobs))
	type run struct {
		org string
		at  float64
	}
	runs := map[string]run{}
	for i, j := range w.Jobs {
		first, known := runs[j.Run]
		switch {
		case j.ID < 0 || ids[j.ID]:
			return at("jobs", i, "id", "%d is below 0 or there twice", j.ID)
		case !seconds(j.AtS):
			return at("jobs", i, "at_s", "is %g; 0 to %d is wanted", j.AtS, maxSeconds)
		case j.Run == "":
			return at("jobs", i, "run", "is empty")
		case !orgs[j.Org]:
			return at("jobs", i, "org", "%q is not among orgs", j.Org)
		case !apps[[2]string{j.Org, j.Version}]:
			return at("jobs", i, "version", "%q of org %q is not among apps", j.Version, j.Org)
		case j.Test == "":
			return at("jobs", i, "test", "is empty")
		case j.Priority < 1 || j.Priority > 10:
			return at("jobs", i, "priority", "is %d; 1 to 10 is wanted", j.Priority)
		case !seconds(j.DurationS):
			return at("jobs", i, "duration_s", "is %g; 0 to %d is wanted", j.DurationS, maxSeconds)
		case known && (first.org != j.Org || first.at != j.AtS):
			return at("jobs", i, "run", "%q was submitted by org %q at %g already; a run is one submission", j.Run, first.org, first.at)
		}
		ids[j.ID] = true
		runs[j.Run] = run{j.Org, j.AtS}
	}
	return nil
}

func seconds(x float64) bool { return x >= 0 && x <= maxSeconds && !math.IsNaN(x) }

func at(list string, i int, field, format string, args ...any) error {
	return fmt.Errorf("workload %s[%d].%s "+format, append([]any{list, i, field}, args...)...)
}
