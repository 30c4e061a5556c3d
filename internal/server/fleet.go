package server

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store"
)

const (
	maxOrgs   = 200 // orgs with lines of their own in the metrics; the rest are otherOrgs
	otherOrgs = "other"

	scrapePatience = 5 * time.Second
)

var (
	queueDepth = prometheus.NewDesc("qgjob_queue_depth", "Jobs that have not ended, by where they stand; delayed ones wait for their back-off.", []string{"org", "target", "status"}, nil)
	agentCount = prometheus.NewDesc("qgjob_agents", "Agents by status.", []string{"status"}, nil)
)

// fleet reads the queue and the agents from the store when it is asked, so
// that they are right from the first moment after a restart.
type fleet struct {
	store *store.Store
	log   *slog.Logger
}

// Describe names the metrics.
func (f *fleet) Describe(ch chan<- *prometheus.Desc) {
	ch <- queueDepth
	ch <- agentCount
}

// Collect reads the store. What cannot be read is left out, and logged.
func (f *fleet) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapePatience)
	defer cancel()
	depths, err := f.store.Depths(ctx)
	if err != nil {
		f.log.Warn("count the queue for the metrics", "error", err)
		ch <- prometheus.NewInvalidMetric(queueDepth, err)
	}
	for _, d := range foldOrgs(depths, maxOrgs) {
		ch <- prometheus.MustNewConstMetric(queueDepth, prometheus.GaugeValue, float64(d.Jobs), string(d.Org), string(d.Target), string(d.State))
	}
	agents, err := f.store.Agents(ctx)
	if err != nil {
		f.log.Warn("count the agents for the metrics", "error", err)
		ch <- prometheus.NewInvalidMetric(agentCount, err)
		return
	}
	counts := map[qgjob.AgentState]int{}
	for i := range agents {
		counts[agents[i].Status]++
	}
	for _, st := range []qgjob.AgentState{qgjob.AgentIdle, qgjob.AgentBusy, qgjob.AgentDraining, qgjob.AgentOffline, qgjob.AgentQuarantined} {
		ch <- prometheus.MustNewConstMetric(agentCount, prometheus.GaugeValue, float64(counts[st]), string(st))
	}
}

// foldOrgs keeps the most orgs with the longest queues and adds the others up.
// Orgs are as many as clients care to name; series must not be.
func foldOrgs(depths []store.Depth, most int) []store.Depth {
	jobs := map[qgjob.OrgID]int{}
	for _, d := range depths {
		jobs[d.Org] += d.Jobs
	}
	orgs := slices.SortedFunc(maps.Keys(jobs), func(a, b qgjob.OrgID) int { return cmp.Or(cmp.Compare(jobs[b], jobs[a]), cmp.Compare(a, b)) })
	kept := map[qgjob.OrgID]bool{}
	for _, org := range orgs[:min(most, len(orgs))] {
		kept[org] = true
	}
	var out []store.Depth
	at := map[store.Depth]int{} // key, its count left out → its place in out
	for _, d := range depths {
		key := d
		if key.Jobs = 0; !kept[key.Org] {
			key.Org = otherOrgs // also the name of an org, perhaps: then it is one of them
		}
		if i, ok := at[key]; ok {
			out[i].Jobs += d.Jobs
			continue
		}
		at[key] = len(out)
		key.Jobs = d.Jobs
		out = append(out, key)
	}
	return out
}
