package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
)

// maxAnswers bounds the agents of one explanation.
const maxAnswers = 100

// Explain says why a job stands where it stands. The scheduler's own words are
// asked of the very state that it decides with.
func (s *Store) Explain(ctx context.Context, id qgjob.JobID) (e qgjob.Explanation, err error) {
	job, err := s.Job(ctx, id)
	if err != nil {
		return e, err
	}
	ahead, err := s.ahead(ctx, id)
	if err != nil {
		return e, err
	}
	busy, err := s.busyWith(ctx)
	if err != nil {
		return e, err
	}
	err = s.update(ctx, func(t *tx) error {
		e = qgjob.Explanation{JobID: id, Status: job.Status, Agents: []qgjob.AgentAnswer{}, Advice: []string{}}
		j, err := t.job(id)
		if err != nil {
			return err
		}
		e.Status = j.State
		if j.State != qgjob.Queued {
			e.Summary = settled(j)
			return nil
		}
		e.Ahead = ahead
		t.explainWaiting(j, &e, busy)
		return nil
	})
	return e, err
}

// settled says what became of a job that does not wait.
func settled(j *jobRow) string {
	switch {
	case j.State.Terminal():
		return fmt.Sprintf("%s has ended: %s", j.id, j.State)
	case j.State == qgjob.Cancelling:
		return fmt.Sprintf("%s is being stopped by agent %s", j.id, j.Agent)
	}
	return fmt.Sprintf("%s is %s on agent %s", j.id, j.State, j.Agent)
}

// ahead counts the waiting jobs of a job's group that go before it.
func (s *Store) ahead(ctx context.Context, id qgjob.JobID) (n int, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM jobs o JOIN jobs j ON j.id = $1
		WHERE o.org_id = j.org_id AND o.group_id = j.group_id AND o.state = 'queued' AND o.ready_at = 0 AND o.id <> j.id AND (o.priority > j.priority
		OR (o.priority = j.priority AND (o.run_id < j.run_id
		OR (o.run_id = j.run_id AND (o.rank < j.rank
		OR (o.rank = j.rank AND (o.estimate_ms > j.estimate_ms
		OR (o.estimate_ms = j.estimate_ms AND o.id < j.id))))))))`, int64(id)).Scan(&n)
	if err != nil {
		return 0, unavailable(fmt.Errorf("count the jobs before %s: %w", id, err))
	}
	return n, nil
}

// busyWith gives the job that each busy agent has in hand.
func (s *Store) busyWith(ctx context.Context) (map[qgjob.AgentID]qgjob.JobID, error) {
	agents, err := s.Agents(ctx)
	busy := map[qgjob.AgentID]qgjob.JobID{}
	for _, a := range agents {
		if a.JobID != nil {
			busy[a.AgentID] = *a.JobID
		}
	}
	return busy, err
}

func (t *tx) explainWaiting(j *jobRow, e *qgjob.Explanation, busy map[qgjob.AgentID]qgjob.JobID) {
	now := schedule.Seconds(t.now)
	g, _ := t.m.state.Group(j.group)
	e.Waiting = g.Waiting
	if !j.ReadyAt.IsZero() {
		left := max(0, j.ReadyAt.Sub(t.now)) // it may be over, and the sweep that wakes it yet to come
		e.Summary = fmt.Sprintf("%s waits %s more before its retry: %s", j.id, left.Round(time.Second), j.Reason)
		at := t.now.Add(left).UTC().Truncate(time.Second)
		e.Soonest, e.Likely, e.Latest = &at, &at, &at
		return
	}
	var able []worker
	counts := map[schedule.Reason]int{}
	for _, r := range schedule.ExplainGroup(t.m.state, j.group, now, t.w.opts.Policy) {
		a, ok := t.m.state.Agent(r.Agent)
		switch { // a quota or a pin is told first, also of an agent that could not take the job without it
		case ok && mayServe(r.Reason) && !a.Up:
			r.Reason = schedule.AgentDown
		case ok && mayServe(r.Reason) && a.Draining:
			r.Reason = schedule.AgentDraining
		}
		counts[r.Reason]++
		if ok && mayServe(r.Reason) {
			able = append(able, worker{free: max(now, a.FreeAt), speed: a.Speed})
		}
		if len(e.Agents) < maxAnswers && r.Reason != schedule.WrongTarget && r.Reason != schedule.WrongOrg {
			e.Agents = append(e.Agents, answerOf(r, t.m.state, now, busy))
		}
	}
	e.Able = len(able)
	e.Summary, e.Advice = summarise(j, e, counts)
	if len(able) > 0 {
		t.estimateStart(j, g, e, able, now)
	}
}

// mayServe reports whether an agent that answers so may yet take the job.
func mayServe(r schedule.Reason) bool {
	switch r {
	case 0, schedule.AgentBusy, schedule.NotWorthIt, schedule.Outranked, schedule.OverQuota, schedule.BuildBlocked, schedule.HeldByOther, schedule.PinnedElsewhere:
		return true
	}
	return false
}

func answerOf(r schedule.Refusal, st *schedule.State, now float64, busy map[qgjob.AgentID]qgjob.JobID) qgjob.AgentAnswer {
	a := qgjob.AgentAnswer{AgentID: r.Agent, Answer: r.Reason.String(), Text: r.Text(st, now)}
	if r.Reason == 0 {
		a.Answer = "takes_next"
	}
	if id, ok := busy[r.Agent]; ok {
		a.JobID = &id
	}
	return a
}

// summarise picks the one sentence and the advice.
func summarise(j *jobRow, e *qgjob.Explanation, counts map[schedule.Reason]int) (summary string, advice []string) {
	advice = []string{}
	switch {
	case e.Able == 0 && counts[schedule.AgentDown] > 0:
		advice = append(advice, "start one of the agents that are offline again")
		summary = fmt.Sprintf("%s waits: every agent that could run it is offline", j.id)
	case e.Able == 0 && counts[schedule.AgentDraining] > 0:
		advice = append(advice, "undrain an agent (qgjob agents undrain NAME), look at those in quarantine (qgjob agents), or start another")
		summary = fmt.Sprintf("%s waits: every agent that could run it is draining or in quarantine", j.id)
	case e.Able == 0:
		need := "--target " + string(j.target)
		if requires, _ := parseLabels(j.requires); len(requires) > 0 {
			need += " --label " + qgjob.LabelText(requires)
		}
		advice = append(advice, "start an agent that can run it: qgjob agent "+need)
		summary = fmt.Sprintf("%s waits: no agent can ever run it (it wants %s)", j.id, need)
	case counts[schedule.OverQuota] == e.Able:
		advice = append(advice, "raise the org's quota (qgjob org set), or wait for one of its jobs to end")
		summary = fmt.Sprintf("%s waits: org %s runs as many jobs as its quota allows", j.id, j.org)
	case counts[0] > 0 && e.Ahead == 0:
		summary = fmt.Sprintf("%s is next", j.id)
	default:
		summary = fmt.Sprintf("%s waits behind %d jobs of its group; %d agents may take it, %d of them are busy", j.id, e.Ahead, e.Able, counts[schedule.AgentBusy])
		if counts[schedule.NotWorthIt] > 0 {
			summary += fmt.Sprintf(", for %d an install is not worth it yet", counts[schedule.NotWorthIt])
		}
		advice = append(advice, "more agents of target "+string(j.target))
		if j.priority < qgjob.MaxPriority {
			advice = append(advice, fmt.Sprintf("a higher priority than %d", j.priority))
		}
	}
	return summary, advice
}

// worker is an agent as an estimate sees it.
type worker struct{ free, speed float64 }

// estimateStart fills in when the job may start: with what goes before it in
// its own group only, with the groups that are more urgent or older, and with
// all that waits for the same sort of device.
func (t *tx) estimateStart(j *jobRow, g schedule.Group, e *qgjob.Explanation, able []worker, now float64) {
	mean := schedule.DefaultEstimate
	if g.Waiting > 0 {
		mean = g.Work / float64(g.Waiting)
	}
	own := mean * float64(e.Ahead)
	likely, latest := own, own+g.Install
	for _, id := range t.m.groups {
		o, ok := t.m.state.Group(id)
		if !ok || o.ID == g.ID || o.Waiting == 0 || o.Target != g.Target {
			continue
		}
		latest += o.Work + o.Install
		if o.HeadPriority > j.priority || (o.HeadPriority == j.priority && o.HeadSubmitted < float64(j.submitted)/1000) {
			likely += o.Work + o.Install
		}
	}
	at := func(work float64) *time.Time {
		moment := time.UnixMilli(int64(fill(able, work, now) * 1000)).UTC().Truncate(time.Second)
		return &moment
	}
	e.Soonest, e.Likely, e.Latest = at(own), at(likely), at(latest)
}

// fill gives the instant at which workers, each from when it is free, have
// done so much work and the first of them can take the next job.
func fill(workers []worker, work, now float64) float64 {
	slices.SortFunc(workers, func(a, b worker) int {
		switch {
		case a.free < b.free:
			return -1
		case a.free > b.free:
			return 1
		}
		return 0
	})
	at, speed := max(now, workers[0].free), 0.0
	for i, w := range workers {
		speed += w.speed
		next := at + work/speed
		if i+1 < len(workers) && workers[i+1].free < next {
			step := max(0, workers[i+1].free-at)
			work -= step * speed
			at += step
			continue
		}
		return next
	}
	return at
}
