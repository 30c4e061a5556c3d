package store

import (
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
	rank       int
	estimateMS int64
	retries    int
	submitted  int64
	finished   int64
	reusedFrom qgjob.JobID // 0 for a job that ran itself
	claimID    string
	side       string // past when it was read from history
	lease.Job
}

const jobColumns = `id, org_id, run_id, group_id, app_version_id, build_sha256, bundle_sha256, test_path, target, requires, reset, priority, rank, estimate_ms,
	retries, timeout_ms, submitted_at, state, ready_at, lease_id, lease_no, lease_ver, claim_id, agent_id, incarnation, started, starts,
	infra_fails, test_attempts, cancel_requested, done_lease, reason, message, flaky, avoid_agent, avoid_until, started_at, finished_at, reused_from`

func scanJob(row scanner) (*jobRow, error) {
	j := &jobRow{}
	var timeoutMS, readyAt, avoidUntil, startedAt int64
	err := row.Scan(&j.id, &j.org, &j.run, &j.group, &j.version, &j.build, &j.bundle, &j.testPath, &j.target, &j.requires, &j.reset, &j.priority, &j.rank, &j.estimateMS,
		&j.retries, &timeoutMS, &j.submitted, &j.State, &readyAt, &j.LeaseID, &j.LeaseNo, &j.LeaseVer, &j.claimID, &j.Agent, &j.Incarnation, &j.Started, &j.Starts,
		&j.InfraFails, &j.TestAttempts, &j.CancelRequested, &j.DoneLease, &j.Reason, &j.Message, &j.Flaky, &j.AvoidAgent, &avoidUntil, &startedAt, &j.finished, &j.reusedFrom)
	j.MaxTestAttempts = j.retries + 1
	j.Timeout = time.Duration(timeoutMS) * time.Millisecond
	j.ReadyAt, j.AvoidUntil, j.StartedAt = fromMS(readyAt), fromMS(avoidUntil), fromMS(startedAt)
	return j, err
}

// view is the job as the API shows it.
func (j *jobRow) view() qgjob.Job {
	requires, _ := parseLabels(j.requires) // was written by labelsJSON
	var reusedFrom *qgjob.JobID
	if j.reusedFrom != 0 {
		reusedFrom = &j.reusedFrom
	}
	return qgjob.Job{
		ReusedFrom: reusedFrom,
		JobID:      j.id, RunID: j.run, OrgID: j.org, AppVersionID: j.version, TestPath: j.testPath, Target: j.target, Priority: j.priority,
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
		if j, err = scanJob(row); err == nil {
			j = t.know(j)
		}
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
	t.save(j, before)
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
	f := t.m.fronts[j.group]
	if f != nil && was {
		f.left(j.id, j.run)
	}
	if f != nil && was && is {
		f.came(j) // it never left, and is another row now
	}
	if is {
		t.group(j.group) // its row tells servers that leave no turns, or find none
		t.record(queueMove{Group: int64(j.group)})
	} else if was {
		t.record(queueMove{Group: int64(j.group), Left: int64(j.id), Run: int64(j.run)})
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
	others, err := t.othersWait(j) // asked between: the job itself does not count
	if err != nil {
		return err
	}
	if f != nil && is {
		f.came(j)
	}
	if !others {
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

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
