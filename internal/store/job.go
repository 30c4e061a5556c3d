package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

// jobRow is a job as the database keeps it: what it is, and the protocol's
// record of it.
type jobRow struct {
	id         qgjob.JobID
	org        qgjob.OrgID
	run        qgjob.RunID
	group      qgjob.GroupID
	version    qgjob.AppVersionID
	build      qgjob.Sum
	bundle     qgjob.Sum
	testPath   string
	target     qgjob.Target
	requires   string
	reset      qgjob.Reset
	priority   int
	estimateMS int64
	retries    int
	submitted  int64
	finished   int64
	claimID    string
	side       string // past when it was read from history
	lease.Job
}

const jobColumns = `id, org_id, run_id, group_id, app_version_id, build_sha256, bundle_sha256, test_path, target, requires, reset, priority, estimate_ms,
	retries, timeout_ms, submitted_at, state, ready_at, lease_id, lease_no, lease_ver, claim_id, agent_id, incarnation, started, starts,
	infra_fails, test_attempts, cancel_requested, done_lease, reason, message, flaky, avoid_agent, avoid_until, started_at, finished_at`

func scanJob(row scanner) (*jobRow, error) {
	j := &jobRow{}
	var timeoutMS, readyAt, avoidUntil, startedAt int64
	err := row.Scan(&j.id, &j.org, &j.run, &j.group, &j.version, &j.build, &j.bundle, &j.testPath, &j.target, &j.requires, &j.reset, &j.priority, &j.estimateMS,
		&j.retries, &timeoutMS, &j.submitted, &j.State, &readyAt, &j.LeaseID, &j.LeaseNo, &j.LeaseVer, &j.claimID, &j.Agent, &j.Incarnation, &j.Started, &j.Starts,
		&j.InfraFails, &j.TestAttempts, &j.CancelRequested, &j.DoneLease, &j.Reason, &j.Message, &j.Flaky, &j.AvoidAgent, &avoidUntil, &startedAt, &j.finished)
	j.MaxTestAttempts = j.retries + 1
	j.Timeout = time.Duration(timeoutMS) * time.Millisecond
	j.ReadyAt, j.AvoidUntil, j.StartedAt = fromMS(readyAt), fromMS(avoidUntil), fromMS(startedAt)
	return j, err
}

// view is the job as the API shows it.
func (j *jobRow) view() qgjob.Job {
	requires, _ := parseLabels(j.requires) // was written by labelsJSON
	return qgjob.Job{
		JobID: j.id, RunID: j.run, OrgID: j.org, AppVersionID: j.version, TestPath: j.testPath, Target: j.target, Priority: j.priority,
		Status: j.State, Reason: j.Reason, Message: j.Message, Attempts: j.Starts, Flaky: j.Flaky, AgentID: j.Agent, GroupID: j.group,
		Requires: requires, Retries: j.retries, TimeoutS: int64(j.Timeout / time.Second), Reset: j.reset, BuildSHA256: j.build, BundleSHA256: j.bundle,
		SubmittedAt: fromMS(j.submitted), StartedAt: timePtr(ms(j.StartedAt)), FinishedAt: timePtr(j.finished),
	}
}

// waiting reports whether a job counts among its group's waiting ones: a job
// in its back-off does not.
func waiting(j lease.Job) bool { return j.State == qgjob.Queued && j.ReadyAt.IsZero() }

// readJob reads one job by what follows the table's name; nil when there is
// none.
func (t *tx) readJob(tail string, args ...any) (j *jobRow, err error) {
	_, err = t.one(`SELECT `+jobColumns+` FROM jobs`+tail, args, func(row scanner) error {
		j, err = scanJob(row)
		return err
	})
	if err != nil {
		return nil, err
	}
	return j, nil
}

func (t *tx) job(id qgjob.JobID) (j *jobRow, err error) {
	if j, err = t.readJob(` WHERE id = $1`, int64(id)); err != nil || j != nil {
		return j, err
	}
	found, err := t.one(`SELECT `+jobColumns+` FROM history_jobs WHERE id = $1`, []any{int64(id)}, func(row scanner) error {
		j, err = scanJob(row)
		return err
	})
	if err == nil && !found {
		return nil, NoJob(id)
	}
	return j, err
}

// leased finds the attempt of a lease and its job, in one statement: every
// sign of life comes through here.
func (t *tx) leased(id qgjob.LeaseID) (*jobRow, lease.Attempt, error) {
	j, a, err := t.leasedIn("", id)
	if qgjob.KindOf(err) == qgjob.KindNotFound { // an agent may have been away for hours before it brings what it has
		return t.leasedIn(past, id)
	}
	return j, a, err
}

func (t *tx) leasedIn(side string, id qgjob.LeaseID) (j *jobRow, a lease.Attempt, err error) {
	a.LeaseID = id
	found, err := t.one(`SELECT `+jobColumns+`, attempt_outcome, attempt_digest FROM `+side+`jobs
		JOIN (SELECT job_id AS attempt_job, outcome AS attempt_outcome, digest AS attempt_digest FROM `+side+`attempts WHERE lease_id = $1) a ON id = attempt_job`,
		[]any{string(id)}, func(row scanner) error {
			if j, err = scanJob(withMore{row, []any{&a.Outcome, &a.Digest}}); j != nil {
				j.side = side
			}
			return err
		})
	if err == nil && !found {
		err = NoLease(id)
	}
	return j, a, err
}

// apply writes what an event made of a job: the row by compare-and-set, the
// attempt that ended, the run's tally, the group's aggregates and the events.
func (t *tx) apply(j *jobRow, c lease.Change, r *qgjob.CompleteRequest) error {
	before := j.Job
	j.Job = c.Job
	if j.State.Terminal() && !before.State.Terminal() {
		j.finished = t.nowMS
	}
	if j.State == qgjob.Queued && !j.ReadyAt.After(t.now) {
		j.ReadyAt = time.Time{} // ready at once: no back-off to wait for
	}
	if err := t.writeOne("write "+j.id.String(), `UPDATE jobs SET state = $1, ready_at = $2, lease_id = $3, lease_no = $4, lease_ver = $5, claim_id = $6, agent_id = $7, incarnation = $8,
		started = $9, starts = $10, infra_fails = $11, test_attempts = $12, cancel_requested = $13, done_lease = $14, reason = $15, message = $16, flaky = $17,
		avoid_agent = $18, avoid_until = $19, started_at = $20, finished_at = $21 WHERE id = $22 AND state = $23 AND lease_id = $24 AND lease_ver = $25`,
		string(j.State), ms(j.ReadyAt), string(j.LeaseID), j.LeaseNo, j.LeaseVer, j.claimID, string(j.Agent), j.Incarnation,
		flag(j.Started), j.Starts, j.InfraFails, j.TestAttempts, flag(j.CancelRequested), string(j.DoneLease), string(j.Reason), j.Message, flag(j.Flaky),
		string(j.AvoidAgent), ms(j.AvoidUntil), ms(j.StartedAt), j.finished, int64(j.id), string(before.State), string(before.LeaseID), before.LeaseVer); err != nil {
		return err
	}
	if c.Attempt != nil {
		if err := t.endAttempt(before, c.Attempt, r); err != nil {
			return err
		}
	}
	if err := t.moveGroup(j, before); err != nil {
		return err
	}
	t.tellChange(j, c, r)
	if j.State.Terminal() && !before.State.Terminal() {
		return t.countEnd(j)
	}
	return nil
}

// endAttempt writes how an attempt ended and, with a result, what it found.
func (t *tx) endAttempt(before lease.Job, e *lease.Ended, r *qgjob.CompleteRequest) error {
	if r == nil {
		r = &qgjob.CompleteRequest{}
	}
	tests := ""
	if len(r.Tests) > 0 {
		b, err := json.Marshal(r.Tests)
		if err != nil {
			return err
		}
		tests = string(b)
	}
	return t.write("write attempt "+string(e.LeaseID), `UPDATE attempts SET started_at = $1, ended_at = $2, outcome = $3, reason = $4, message = $5, exit_code = $6, digest = $7,
		install = $8, install_ms = $9, test_ms = $10, tests = $11 WHERE lease_id = $12`,
		ms(before.StartedAt), t.nowMS, string(e.Outcome), string(e.Reason), e.Message, r.ExitCode, r.Digest, string(r.Install), r.InstallMS, r.TestMS, tests, string(e.LeaseID))
}

// moveGroup keeps the aggregates of the job's group and the mirror in step
// with a move of the job.
func (t *tx) moveGroup(j *jobRow, before lease.Job) error {
	was, is := waiting(before), waiting(j.Job)
	if before.State.Leased() && !j.State.Leased() {
		t.m.unlease(before.Agent, before.LeaseID)
		t.touch(before.Agent)
		t.group(j.group).serving--
		t.note.Agents = true
		t.note.Work = t.note.Work || t.m.state.Org(j.org).Quota > 0 // its quota has room again
	}
	if !before.State.Leased() && j.State.Leased() {
		t.group(j.group).serving++
	}
	if was == is {
		return nil
	}
	delta := int64(1)
	if was {
		delta = -1
	} else {
		t.note.Work = true
	}
	id, err := t.groupByID(j.group)
	if err != nil {
		return err
	}
	q, d := id.Queue, t.group(j.group)
	q.Waiting += int(delta)
	q.Work += float64(delta*j.estimateMS) / 1000
	d.waiting += delta
	d.workMS += delta * j.estimateMS
	var other int
	alone, err := t.queryRow(`SELECT 1 FROM jobs WHERE org_id = $1 AND run_id = $2 AND group_id = $3 AND id <> $4 AND state = 'queued' AND ready_at = 0 LIMIT 1`,
		[]any{string(j.org), int64(j.run), int64(j.group), int64(j.id)}, &other)
	if err != nil {
		return fmt.Errorf("count the runs of %s: %w", j.group, err)
	}
	if !alone {
		q.Runs += int(delta)
		d.runs += delta
	}
	return t.rehead(j.group, q)
}

// tellChange puts what happened into the outbox.
func (t *tx) tellChange(j *jobRow, c lease.Change, r *qgjob.CompleteRequest) {
	if c.Event == "" {
		return
	}
	id := j.id
	e := qgjob.Event{Kind: c.Event, OrgID: j.org, RunID: j.run, JobID: &id, TestPath: j.testPath, Status: j.State, AgentID: j.Agent,
		Attempt: j.LeaseNo, Reason: j.Reason, Message: j.Message, Flaky: j.Flaky}
	if c.Attempt != nil {
		e.Outcome, e.Reason = c.Attempt.Outcome, c.Attempt.Reason
		if e.Message == "" {
			e.Message = c.Attempt.Message
		}
	}
	if r != nil {
		e.Install, e.InstallMS, e.TestMS = r.Install, r.InstallMS, r.TestMS
	}
	t.tell(e)
}

// countEnd counts a job that has ended into its run, and tells when it was the
// run's last.
func (t *tx) countEnd(j *jobRow) error {
	var tally qgjob.Tally
	t.writes++
	found, err := t.queryRow(`UPDATE runs SET passed = passed + $1, failed = failed + $2, errored = errored + $3, cancelled = cancelled + $4, flaky = flaky + $5,
		finished_at = CASE WHEN passed + failed + errored + cancelled + 1 >= total THEN CAST($6 AS BIGINT) ELSE 0 END WHERE id = $7
		RETURNING total, passed, failed, errored, cancelled, flaky`,
		[]any{flag(j.State == qgjob.Passed), flag(j.State == qgjob.Failed), flag(j.State == qgjob.Errored), flag(j.State == qgjob.Cancelled), flag(j.Flaky), t.nowMS, int64(j.run)},
		&tally.Total, &tally.Passed, &tally.Failed, &tally.Errored, &tally.Cancelled, &tally.Flaky)
	if err == nil && !found {
		err = errors.New("the run is missing")
	}
	if err != nil {
		return fmt.Errorf("count %s into %s: %w", j.id, j.run, err)
	}
	if final := tally.Conclude(); final != "" {
		t.tell(qgjob.Event{Kind: qgjob.EventRunFinished, OrgID: j.org, RunID: j.run, Final: final})
	}
	return nil
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
