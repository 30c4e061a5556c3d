package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
)

// Audit looks for what the public API cannot show: aggregates that are not
// what a recount of the jobs gives, attempts that do not fit their jobs, and a
// mirror that is not the one a restart would read.
func (s *Store) Audit(ctx context.Context) error {
	return s.update(ctx, func(t *tx) error {
		return errors.Join(t.auditGroups(), t.auditRows(), t.auditMirror(), t.auditFronts(), t.auditKept())
	})
}

// auditGroups counts every group's aggregates anew.
func (t *tx) auditGroups() error {
	return t.each(`SELECT g.id, g.waiting, g.runs, g.work_ms, g.serving, g.head_priority, g.head_submitted,
		(SELECT COUNT(*) FROM jobs j WHERE j.group_id = g.id AND j.state = 'queued' AND j.ready_at = 0),
		(SELECT COUNT(DISTINCT j.run_id) FROM jobs j WHERE j.group_id = g.id AND j.state = 'queued' AND j.ready_at = 0),
		(SELECT COALESCE(SUM(j.estimate_ms), 0) FROM jobs j WHERE j.group_id = g.id AND j.state = 'queued' AND j.ready_at = 0),
		(SELECT COUNT(*) FROM jobs j WHERE j.group_id = g.id AND j.state IN ('assigned', 'running', 'cancelling')),
		COALESCE((SELECT j.priority FROM jobs j WHERE j.group_id = g.id AND j.state = 'queued' AND j.ready_at = 0`+groupOrder+`LIMIT 1), 0),
		COALESCE((SELECT j.submitted_at FROM jobs j WHERE j.group_id = g.id AND j.state = 'queued' AND j.ready_at = 0`+groupOrder+`LIMIT 1), 0)
		FROM job_groups g`, nil, func(rows scanner) error {
		var id qgjob.GroupID
		var said, counted [6]int64
		dest := []any{(*int64)(&id)}
		for _, set := range []*[6]int64{&said, &counted} {
			for i := range set {
				dest = append(dest, &set[i])
			}
		}
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		if said != counted {
			return fmt.Errorf("%s says waiting, runs, work, serving, head, since = %v; counted: %v", id, said, counted)
		}
		return nil
	})
}

// auditRows wants no row of these.
func (t *tx) auditRows() error {
	for what, query := range map[string]string{
		"leased job without its open attempt": `SELECT j.id FROM jobs j WHERE j.state IN ('assigned', 'running', 'cancelling') AND NOT EXISTS
			(SELECT 1 FROM attempts a WHERE a.lease_id = j.lease_id AND a.job_id = j.id AND a.outcome = '' AND a.ended_at = 0)`,
		"open attempt without its lease": `SELECT a.job_id FROM attempts a WHERE a.outcome = '' AND NOT EXISTS
			(SELECT 1 FROM jobs j WHERE j.lease_id = a.lease_id AND j.state IN ('assigned', 'running', 'cancelling'))`,
		"job whose starts are not its started attempts": `SELECT j.id FROM jobs j WHERE j.state IN ('passed', 'failed', 'errored', 'cancelled')
			AND j.starts <> (SELECT COUNT(*) FROM attempts a WHERE a.job_id = j.id AND a.started_at > 0)`,
		"job with more attempts than leases":           `SELECT j.id FROM jobs j WHERE j.lease_no <> (SELECT COUNT(*) FROM attempts a WHERE a.job_id = j.id)`,
		"job with more failures than starts":           `SELECT id FROM jobs WHERE infra_fails + test_attempts > starts OR infra_fails < 0`,
		"job over its budget":                          `SELECT id FROM jobs WHERE test_attempts > retries + 1 OR infra_fails > 3 OR (infra_fails = 3 AND state <> 'errored')`,
		"verdict without its lease":                    `SELECT id FROM jobs WHERE state IN ('passed', 'failed') AND reason <> 'timeout' AND (done_lease = '') <> (reused_from <> 0)`,
		"result taken over of a job that did not pass": `SELECT j.id FROM jobs j WHERE j.reused_from <> 0 AND (j.state <> 'passed' OR j.reason <> 'reused' OR j.starts <> 0 OR j.flaky <> 0)`,
		"job of no run":                                `SELECT id FROM jobs WHERE run_id NOT IN (SELECT id FROM runs)`,
		"number that would be given again":             `SELECT value FROM counters WHERE (name = 'job' AND value < (SELECT MAX(id) FROM jobs)) OR (name = 'event' AND value < (SELECT MAX(seq) FROM events))`,
		"cancelled job that nobody cancelled":          `SELECT id FROM jobs WHERE (state IN ('cancelled', 'cancelling')) <> (cancel_requested = 1)`,
	} {
		var id int64
		found, err := t.queryRow(query+` LIMIT 1`, nil, &id)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if found {
			return fmt.Errorf("%s: %d", what, id)
		}
	}
	return nil
}

// auditMirror compares the mirror with the one a restart would read.
func (t *tx) auditMirror() error {
	again := t.w.begin(t.ctx)
	again.seen = t.seen
	fresh, err := loadMirror(again)
	if err != nil {
		return err
	}
	return sameMirror(t.m, fresh)
}

func sameMirror(live, fresh *mirror) error {
	for key, id := range fresh.groups {
		if live.groups[key] != id {
			return fmt.Errorf("mirror: %s is %s", id, cmp.Or(live.groups[key].String(), "unknown"))
		}
	}
	if a, b := live.state.Waiting(), fresh.state.Waiting(); a != b {
		return fmt.Errorf("mirror: %d groups wait; a restart finds %d", a, b)
	}
	orgs := map[qgjob.OrgID]bool{}
	for key, id := range live.groups {
		orgs[key.org] = true
		a, _ := live.state.Group(id)
		b, _ := fresh.state.Group(id) // none: nothing waits
		if a.Waiting != b.Waiting || a.Runs != b.Runs || a.HeadPriority != b.HeadPriority || math.Abs(a.Work-b.Work) > 1e-6 || math.Abs(a.HeadSubmitted-b.HeadSubmitted) > 1e-3 {
			return fmt.Errorf("mirror: %s is %+v; a restart finds %+v", id, a.Queue, b.Queue)
		}
		if b.ID != 0 && math.Abs(a.Install-b.Install) > 1e-9 {
			return fmt.Errorf("mirror: %s is expected to install for %g s; a restart expects %g s", id, a.Install, b.Install)
		}
		if x, y := fmt.Sprint(live.state.Serving(id)), fmt.Sprint(fresh.state.Serving(id)); x != y {
			return fmt.Errorf("mirror: %s is served by %s; a restart finds %s", id, x, y)
		}
	}
	for org := range orgs {
		a, b := live.state.Org(org), fresh.state.Org(org)
		if a.Running != b.Running || a.Quota != b.Quota || a.Weight != b.Weight || math.Abs(a.Used.Seconds-b.Used.Seconds) > 1e-6 || math.Abs(a.Used.At-b.Used.At) > 1e-2 {
			return fmt.Errorf("mirror: org %+v; a restart finds %+v", a, b)
		}
	}
	if len(live.agents) != len(fresh.agents) {
		return fmt.Errorf("mirror: %d agents; a restart finds %d", len(live.agents), len(fresh.agents))
	}
	for id, a := range live.agents {
		b := fresh.agents[id]
		if b == nil || *a != *b {
			return fmt.Errorf("mirror: agent %+v; a restart finds %+v", a, b)
		}
		if x, y := fmt.Sprint(live.held[id]), fmt.Sprint(fresh.held[id]); x != y {
			return fmt.Errorf("mirror: agent %s holds %s; a restart finds %s", id, x, y)
		}
		x, y := scheduledView(live, id), scheduledView(fresh, id)
		if x != y {
			return fmt.Errorf("mirror: agent %s; a restart finds %s", x, y)
		}
	}
	return nil
}

// scheduledView is an agent as the scheduler sees it, without the instant at
// which it expects it to be free: a restart cannot know that.
func scheduledView(m *mirror, id qgjob.AgentID) string {
	a, _ := m.state.Agent(id)
	a.FreeAt = 0
	if a.Installed == (schedule.Build{}) {
		a.Installed.Version = "none"
	}
	return fmt.Sprintf("%+v", a)
}

// auditKept compares what the mirror keeps from flush to flush with the rows.
func (t *tx) auditKept() error {
	for id, j := range t.m.kept.leases {
		if t.m.kept.lease[j.id] != id || j.LeaseID != id || !j.State.Leased() {
			return fmt.Errorf("kept: lease %s of %s, which is %s under %s", id, j.id, j.State, j.LeaseID)
		}
		var row *jobRow
		if _, err := t.one(`SELECT `+jobColumns+` FROM jobs WHERE id = $1`, []any{int64(j.id)}, func(r scanner) (err error) {
			row, err = scanJob(r)
			return err
		}); err != nil {
			return err
		}
		if row == nil || fmt.Sprint((&savedJob{row, row.Job}).row()) != fmt.Sprint((&savedJob{j, j.Job}).row()) {
			return fmt.Errorf("kept: %+v is %+v", j, row)
		}
	}
	for id, c := range t.m.kept.tallies {
		row := runCount{}
		if _, err := t.queryRow(`SELECT total, passed, failed, errored, cancelled, flaky, fail_fast, stop FROM runs WHERE id = $1`, []any{int64(id)}, row.tally()...); err != nil {
			return err
		}
		if row != *c {
			return fmt.Errorf("kept: the tally of %s is %+v; its row says %+v", id, *c, row)
		}
	}
	return nil
}

// auditFronts compares what the mirror remembers of the queues with the queues.
func (t *tx) auditFronts() error {
	for id, f := range t.m.fronts {
		var have, want []string // whole rows
		behind := map[qgjob.RunID]bool{}
		for _, j := range f.jobs {
			have = append(have, fmt.Sprint((&savedJob{j, j.Job}).row()))
		}
		if err := t.each(`SELECT `+jobColumns+` FROM jobs WHERE group_id = $1 AND state = 'queued' AND ready_at = 0`+groupOrder, []any{int64(id)}, func(row scanner) error {
			j, err := scanJob(row)
			if want = append(want, fmt.Sprint((&savedJob{j, j.Job}).row())); len(want) > len(have) {
				behind[j.run] = true
			}
			return err
		}); err != nil {
			return err
		}
		if len(have) > len(want) || !slices.Equal(have, want[:len(have)]) || (f.whole && len(have) < len(want)) {
			return fmt.Errorf("front of %s (whole: %t) is\n%s; its queue is\n%s", id, f.whole, strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
		for run, more := range f.more {
			if !f.whole && more != behind[run] {
				return fmt.Errorf("front of %s says that jobs of %s wait behind it: %t", id, run, more)
			}
		}
	}
	return nil
}
