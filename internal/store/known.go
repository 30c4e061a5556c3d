package store

import (
	"fmt"
	"strings"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

// hint is what an operation will ask for, so that a batch can read it
// together. It may be wrong: that costs time and nothing else.
type hint struct {
	leases []qgjob.LeaseID // that it names
	claims int             // jobs that it may take
}

// known is what a transaction has read, and goes on with: there is one jobRow
// for a job, and whoever changes it saves it.
type known struct {
	jobs    map[qgjob.JobID]*jobRow
	leases  map[qgjob.LeaseID]*leasedJob
	tallies map[qgjob.RunID]*runCount
	claims  int // of all hints
}

// leasedJob is an attempt with its job.
type leasedJob struct {
	job     *jobRow
	attempt lease.Attempt
}

// know gives the transaction's row of a job that was just read.
func (t *tx) know(j *jobRow) *jobRow {
	if have := t.known.jobs[j.id]; have != nil {
		return have
	}
	if have := t.m.kept.job(j.id); have != nil {
		j = have
	}
	t.known.jobs[j.id] = j
	return j
}

// maxFetch is the most leases that one statement looks up.
const maxFetch = 64

// lookAhead asks for what a batch is going to need and the mirror does not
// remember.
func (t *tx) lookAhead(batch []*op) {
	var leases []string
	asked := map[qgjob.LeaseID]bool{}
	for _, o := range batch {
		t.known.claims += o.hint.claims
		for _, id := range o.hint.leases {
			if !asked[id] && t.m.kept.leases[id] == nil {
				asked[id] = true
				leases = append(leases, string(id))
			}
		}
	}
	for len(leases) > 0 {
		n := min(len(leases), maxFetch)
		t.askLeases("", leases[:n])
		leases = leases[n:]
	}
}

// askLeases asks for attempts with their jobs and the tallies of their runs.
// The places are filled up to a power of two: few texts, few plans.
func (t *tx) askLeases(side string, ids []string) {
	places := 1
	for places < len(ids) {
		places *= 2
	}
	args := make([]any, places)
	for i := range args {
		args[i] = ids[min(i, len(ids)-1)]
	}
	t.ask(`SELECT `+jobColumns+`, attempt_lease, attempt_outcome, attempt_digest, run_total, run_passed, run_failed, run_errored, run_cancelled, run_flaky, run_fail_fast, run_stop FROM `+side+`jobs
		JOIN (SELECT job_id AS attempt_job, lease_id AS attempt_lease, outcome AS attempt_outcome, digest AS attempt_digest FROM `+side+`attempts
			WHERE lease_id IN (`+placesOf(t.w.dialect, places)+`)) a ON id = attempt_job
		JOIN (SELECT id AS run_key, total AS run_total, passed AS run_passed, failed AS run_failed, errored AS run_errored, cancelled AS run_cancelled,
			flaky AS run_flaky, fail_fast AS run_fail_fast, stop AS run_stop FROM `+side+`runs) r ON run_id = run_key`, args, func(row scanner) error {
		l := &leasedJob{}
		c := &runCount{}
		j, err := scanJob(withMore{row, append([]any{&l.attempt.LeaseID, &l.attempt.Outcome, &l.attempt.Digest}, c.tally()...)})
		if err != nil {
			return err
		}
		if j.side = side; side == "" {
			j = t.know(j)
		}
		l.job = j
		t.known.leases[l.attempt.LeaseID] = l
		if side == "" && t.known.tallies[j.run] == nil && t.m.kept.tallies[j.run] == nil {
			t.known.tallies[j.run] = c
		}
		return nil
	})
}

// placesOf lists the places of n arguments.
func placesOf(d dialect, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(d.place(i + 1))
	}
	return b.String()
}

// recall takes a lease from what the mirror keeps. One that is held is of an
// attempt that goes on; one that this transaction has ended, and forgotten, is
// to be read.
func (t *tx) recall(id qgjob.LeaseID) {
	if j := t.m.kept.leases[id]; j != nil && j.LeaseID == id && j.State.Leased() && t.known.leases[id] == nil {
		t.known.leases[id] = &leasedJob{job: t.know(j), attempt: lease.Attempt{LeaseID: id}}
	}
}

// leased finds the attempt of a lease and its job. An agent may have been away
// for hours before it brings what it has: then they are history.
func (t *tx) leased(id qgjob.LeaseID) (*jobRow, *lease.Attempt, error) {
	t.recall(id)
	for _, side := range []string{"", past} {
		if t.known.leases[id] != nil {
			break
		}
		if err := t.gather(); err != nil {
			return nil, nil, err
		}
		t.askLeases(side, []string{string(id)})
		if err := t.sync(); err != nil {
			return nil, nil, err
		}
	}
	l := t.known.leases[id]
	if l == nil {
		return nil, nil, NoLease(id)
	}
	return l.job, &l.attempt, nil
}

// runCount is a run's tally, and what a transaction adds to its row.
type runCount struct {
	now                          qgjob.Tally
	passed, failed, errored      int64
	cancelled, flaky             int64
	installs, avoided, installMS int64
	finished                     int64
	changed                      bool
	failFast                     bool         // a failure stops the rest
	stop                         qgjob.Reason // why the rest is being stopped; empty: it is not
}

// tally are the places of the columns total, passed, failed, errored,
// cancelled, flaky, fail_fast and stop.
func (c *runCount) tally() []any {
	return []any{&c.now.Total, &c.now.Passed, &c.now.Failed, &c.now.Errored, &c.now.Cancelled, &c.now.Flaky, &c.failFast, &c.stop}
}

// runOf gives the tally of a job's run.
func (t *tx) runOf(j *jobRow) (*runCount, error) {
	if c := t.known.tallies[j.run]; c != nil {
		return c, nil
	}
	if c := t.m.kept.tallies[j.run]; c != nil {
		t.known.tallies[j.run] = c
		return c, nil
	}
	c := &runCount{}
	found, err := t.queryRow(`SELECT total, passed, failed, errored, cancelled, flaky, fail_fast, stop FROM runs WHERE id = $1`, []any{int64(j.run)}, c.tally()...)
	if err == nil && !found {
		err = fmt.Errorf("%s is missing", j.run)
	}
	if err != nil {
		return nil, fmt.Errorf("read the tally of %s: %w", j.run, err)
	}
	t.known.tallies[j.run] = c
	return c, nil
}

// countEnd counts a job that has ended into its run, and tells when it was the
// run's last.
func (t *tx) countEnd(j *jobRow) error {
	c, err := t.runOf(j)
	if err != nil {
		return err
	}
	t.writes++
	c.changed = true
	switch j.State {
	case qgjob.Passed:
		c.now.Passed++
		c.passed++
	case qgjob.Failed:
		c.now.Failed++
		c.failed++
	case qgjob.Errored:
		c.now.Errored++
		c.errored++
	case qgjob.Cancelled:
		c.now.Cancelled++
		c.cancelled++
	}
	if j.Flaky {
		c.now.Flaky++
		c.flaky++
	}
	if final := c.now.Conclude(); final != "" {
		c.finished = t.nowMS
		t.tell(qgjob.Event{Kind: qgjob.EventRunFinished, OrgID: j.org, RunID: j.run, Final: final})
	} else if c.failFast && c.stop == "" && j.State == qgjob.Failed {
		c.stop = qgjob.ReasonFailFast
		if err := t.stopRun(j.run, c.stop, fmt.Sprintf("not run to its end: %s (%s) had failed", j.id, j.testPath)); err != nil {
			return err
		}
	}
	return t.keepPass(j)
}

func (t *tx) writeRuns() error {
	for id, c := range t.known.tallies {
		if !c.changed {
			continue
		}
		if err := t.writeOne("count into "+id.String(), `UPDATE runs SET passed = passed + $1, failed = failed + $2, errored = errored + $3, cancelled = cancelled + $4,
			flaky = flaky + $5, installs = installs + $6, avoided = avoided + $7, install_ms = install_ms + $8, finished_at = CASE WHEN finished_at = 0 THEN CAST($9 AS BIGINT) ELSE finished_at END WHERE id = $10`,
			c.passed, c.failed, c.errored, c.cancelled, c.flaky, c.installs, c.avoided, c.installMS, c.finished, int64(id)); err != nil {
			return err
		}
	}
	return nil
}
