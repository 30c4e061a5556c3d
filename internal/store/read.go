package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/qualgent/qgjob"
)

// Job gives one job.
func (s *Store) Job(ctx context.Context, id qgjob.JobID) (qgjob.Job, error) {
	j, err := scanJob(s.read.QueryRowContext(ctx, either(`SELECT `+jobColumns+` FROM @jobs WHERE id = $1`), int64(id)))
	if isNoRows(err) {
		return qgjob.Job{}, NoJob(id)
	}
	if err != nil {
		return qgjob.Job{}, unavailable(fmt.Errorf("read %s: %w", id, err))
	}
	return j.view(), nil
}

// Jobs lists jobs by id, ascending or newest first, behind the filter's cursor.
// A limit of 0, or one over qgjob.MaxPage, is qgjob.MaxPage.
func (s *Store) Jobs(ctx context.Context, f qgjob.JobFilter) ([]qgjob.Job, error) {
	var where []string
	var args []any
	add := func(clause string, v any) {
		args = append(args, v)
		where = append(where, fmt.Sprintf(clause, len(args)))
	}
	order := "id"
	switch {
	case !f.Newest:
		add("id > $%d", int64(f.After))
	case f.After == 0:
		order = "id DESC"
		add("id > $%d", 0)
	default:
		order = "id DESC"
		add("id < $%d", int64(f.After))
	}
	if f.RunID != 0 {
		add("org_id = "+orgOfRun(len(args)+1)+" AND run_id = $%d", int64(f.RunID))
	}
	if f.AppVersionID != "" {
		add("app_version_id = $%d", string(f.AppVersionID))
	}
	if f.OrgID != "" {
		add("org_id = $%d", string(f.OrgID))
	}
	if f.Bound != "" {
		add("run_id IN (SELECT run_id FROM ci_runs c WHERE c.bound = $%d AND c.org_id = @jobs.org_id)", f.Bound)
	}
	if f.AgentID != "" {
		add("agent_id = $%d", string(f.AgentID))
	}
	if f.Target != "" {
		add("target = $%d", string(f.Target))
	}
	if len(f.Status) > 0 {
		marks := make([]string, len(f.Status))
		for i, st := range f.Status {
			args = append(args, string(st))
			marks[i] = fmt.Sprintf("$%d", len(args))
		}
		where = append(where, "state IN ("+strings.Join(marks, ", ")+")")
	}
	args = append(args, pageLimit(f.Limit))
	query, order := `SELECT `+jobColumns+` FROM @jobs WHERE `+strings.Join(where, " AND "), fmt.Sprintf(" ORDER BY %s LIMIT $%d", order, len(args))
	if len(f.Status) > 0 && !slices.ContainsFunc(f.Status, qgjob.JobState.Terminal) {
		return s.jobs(ctx, strings.ReplaceAll(query, "@", "")+order, args...) // history holds only what has ended
	}
	return s.jobs(ctx, eitherPage(query, order), args...)
}

func pageLimit(n int) int {
	if n <= 0 || n > qgjob.MaxPage {
		return qgjob.MaxPage
	}
	return n
}

// SeedGroup is the seed's group route: every job of an app version, finished
// ones included, by priority and then in the order of submission. An empty
// org means all; with bound only jobs that this CI run submitted.
func (s *Store) SeedGroup(ctx context.Context, version qgjob.AppVersionID, org qgjob.OrgID, bound string) ([]qgjob.Job, error) {
	orgs := []qgjob.OrgID{org}
	if org == "" {
		var err error
		if orgs, err = s.orgsOfJobs(ctx); err != nil {
			return nil, err
		}
	}
	all := []qgjob.Job{}
	for some := range slices.Chunk(orgs, orgsAtOnce) {
		args, marks := []any{string(version)}, make([]string, len(some))
		for i, o := range some {
			args = append(args, string(o))
			marks[i] = fmt.Sprintf("$%d", len(args))
		}
		only := ""
		if bound != "" {
			args = append(args, string(org), bound)
			only = fmt.Sprintf(" AND run_id IN (SELECT run_id FROM ci_runs c WHERE c.org_id = $%d AND c.bound = $%d)", len(args)-1, len(args))
		}
		list, err := s.jobs(ctx, either(`SELECT `+jobColumns+` FROM @jobs WHERE app_version_id = $1 AND org_id IN (`+strings.Join(marks, ", ")+`)`+only)+` ORDER BY priority DESC, id`, args...)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	if len(orgs) > orgsAtOnce {
		slices.SortFunc(all, func(a, b qgjob.Job) int {
			return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.JobID, b.JobID))
		})
	}
	return all, nil
}

// orgsAtOnce is how many orgs one statement asks for.
const orgsAtOnce = 100

// orgsOfJobs lists the orgs that have jobs, live or in history.
func (s *Store) orgsOfJobs(ctx context.Context) ([]qgjob.OrgID, error) {
	live, err := s.orgsOf(ctx, "jobs")
	if err != nil {
		return nil, err
	}
	ended, err := s.orgsOf(ctx, past+"jobs")
	all := append(live, ended...)
	slices.Sort(all)
	return slices.Compact(all), err
}

// jobs reads the jobs of a whole query for jobColumns.
func (s *Store) jobs(ctx context.Context, query string, args ...any) ([]qgjob.Job, error) {
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, unavailable(fmt.Errorf("list jobs: %w", err))
	}
	jobs := []qgjob.Job{}
	err = eachRow(rows, func(rows *sql.Rows) error {
		j, err := scanJob(rows)
		if err == nil {
			jobs = append(jobs, j.view())
		}
		return err
	})
	return jobs, unavailable(err)
}

const runColumns = `id, org_id, total, passed, failed, errored, cancelled, flaky, installs, avoided, install_ms, retry_of, labels, created_at, finished_at,
	supersede_key, superseded_by, supersedes, fail_fast, stop, stop_note`

// Run gives one run with its tally as of now.
func (s *Store) Run(ctx context.Context, id qgjob.RunID) (qgjob.Run, error) {
	runs, err := s.runs(ctx, `WHERE id = $1`, ``, int64(id))
	if err != nil {
		return qgjob.Run{}, err
	}
	if len(runs) == 0 {
		return qgjob.Run{}, NoRun(id)
	}
	return runs[0], nil
}

// Runs lists an org's runs, or everybody's when org is empty, newest first.
// before is the keyset cursor: runs with a smaller id follow; 0 begins.
func (s *Store) Runs(ctx context.Context, org qgjob.OrgID, before qgjob.RunID, limit int) ([]qgjob.Run, error) {
	return s.RunsBound(ctx, org, "", before, limit)
}

// RunsBound lists, like Runs, those that a CI run submitted; empty is all.
func (s *Store) RunsBound(ctx context.Context, org qgjob.OrgID, bound string, before qgjob.RunID, limit int) ([]qgjob.Run, error) {
	if bound != "" {
		return s.runs(ctx, `WHERE id IN (SELECT run_id FROM ci_runs c WHERE c.org_id = $1 AND c.bound = $2) AND (CAST($3 AS BIGINT) = 0 OR id < $4)`, ` ORDER BY id DESC LIMIT $5`,
			string(org), bound, int64(before), int64(before), pageLimit(limit))
	}
	return s.runs(ctx, `WHERE ($1 = '' OR org_id = $2) AND (CAST($3 AS BIGINT) = 0 OR id < $4)`, ` ORDER BY id DESC LIMIT $5`, string(org), string(org), int64(before), int64(before), pageLimit(limit))
}

func (s *Store) runs(ctx context.Context, where, order string, args ...any) ([]qgjob.Run, error) {
	rows, err := s.read.QueryContext(ctx, eitherPage(`SELECT `+runColumns+` FROM @runs `+where, order), args...) //nolint:gosec // constants and numbered parameters only
	if err != nil {
		return nil, unavailable(fmt.Errorf("list runs: %w", err))
	}
	runs := []qgjob.Run{}
	err = eachRow(rows, func(rows *sql.Rows) error {
		var r qgjob.Run
		var retryOf, supersededBy, supersedes qgjob.RunID
		var labels, key, stop, note string
		var created, finished int64
		if err := rows.Scan(&r.RunID, &r.OrgID, &r.Tally.Total, &r.Tally.Passed, &r.Tally.Failed, &r.Tally.Errored, &r.Tally.Cancelled, &r.Tally.Flaky,
			&r.Installs, &r.InstallsAvoided, &r.InstallMS, &retryOf, &labels, &created, &finished,
			&key, &supersededBy, &supersedes, &r.FailFast, &stop, &note); err != nil {
			return err
		}
		for to, id := range map[**qgjob.RunID]qgjob.RunID{&r.RetryOf: retryOf, &r.SupersededBy: supersededBy, &r.Supersedes: supersedes} {
			if id != 0 {
				*to = &id
			}
		}
		r.SubmittedAt, r.FinishedAt, r.Conclusion = fromMS(created), timePtr(finished), r.Tally.Conclude()
		var err error
		r.Labels, err = parseLabels(labels)
		runs = append(runs, r)
		return err
	})
	if err != nil {
		return nil, unavailable(err)
	}
	for i := range runs {
		if err := s.countOpen(ctx, &runs[i]); err != nil {
			return nil, err
		}
	}
	return runs, nil
}

// countOpen fills in how many jobs of a run are leased and how many wait. The
// two reads may straddle a commit; the waiting are what is left.
func (s *Store) countOpen(ctx context.Context, r *qgjob.Run) error {
	open := r.Tally.Total - r.Tally.Ended()
	if open == 0 {
		return nil
	}
	err := s.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM jobs WHERE org_id = $1 AND run_id = $2 AND state IN ('assigned', 'running', 'cancelling')`, string(r.OrgID), int64(r.RunID)).Scan(&r.Tally.Running)
	if err != nil {
		return unavailable(fmt.Errorf("count the jobs of %s: %w", r.RunID, err))
	}
	r.Tally.Running = min(r.Tally.Running, open)
	r.Tally.Queued = open - r.Tally.Running
	return nil
}

// Attempts lists a job's attempts, oldest first, with tests and artifacts.
func (s *Store) Attempts(ctx context.Context, id qgjob.JobID) ([]qgjob.Attempt, error) {
	job, err := s.Job(ctx, id)
	if err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, either(`SELECT a.lease_id, a.job_id, a.number AS number, a.agent_id, a.outcome, a.reason, a.message, a.exit_code, a.install, a.install_ms,
		a.test_ms, a.offered_at, CASE WHEN a.started_at = 0 AND j.lease_id = a.lease_id THEN j.started_at ELSE a.started_at END, a.ended_at, a.log_kept, a.tests, a.refused
		FROM @attempts a JOIN @jobs j ON j.id = a.job_id WHERE a.org_id = $1 AND a.job_id = $2`)+` ORDER BY number`, string(job.OrgID), int64(id))
	if err != nil {
		return nil, unavailable(fmt.Errorf("list the attempts of %s: %w", id, err))
	}
	list := []qgjob.Attempt{}
	err = eachRow(rows, func(rows *sql.Rows) error {
		var a qgjob.Attempt
		var offered, started, ended int64
		var tests, refused string
		if err := rows.Scan(&a.LeaseID, &a.JobID, &a.Number, &a.AgentID, &a.Outcome, &a.Reason, &a.Message, &a.ExitCode, &a.Install, &a.InstallMS,
			&a.TestMS, &offered, &started, &ended, &a.LogBytes, &tests, &refused); err != nil {
			return err
		}
		a.OfferedAt, a.StartedAt, a.EndedAt = fromMS(offered), timePtr(started), timePtr(ended)
		if outcome, _, late := strings.Cut(refused, " "); late {
			a.Message = strings.TrimPrefix(a.Message+"; a late result ("+outcome+") was kept and not used", "; ")
		}
		var err error
		if tests != "" {
			err = json.Unmarshal([]byte(tests), &a.Tests)
		}
		list = append(list, a)
		return err
	})
	if err != nil {
		return nil, unavailable(err)
	}
	files, err := s.Artifacts(ctx, id)
	if err != nil {
		return nil, err
	}
	for i := range list {
		for _, f := range files {
			if f.LeaseID == list[i].LeaseID {
				list[i].Artifacts = append(list[i].Artifacts, f)
			}
		}
	}
	return list, nil
}

// Attempt gives the number-th attempt of a job, or its newest when number is
// 0, without tests and artifacts: what a log reader needs.
func (s *Store) Attempt(ctx context.Context, id qgjob.JobID, number int) (a qgjob.Attempt, err error) {
	job, err := s.Job(ctx, id)
	if err != nil {
		return a, err
	}
	var ended int64
	err = s.read.QueryRowContext(ctx, either(`SELECT lease_id, job_id, number, agent_id, outcome, ended_at, log_kept FROM @attempts
		WHERE org_id = $1 AND job_id = $2 AND (CAST($3 AS BIGINT) = 0 OR number = $4)`)+` ORDER BY number DESC LIMIT 1`, string(job.OrgID), int64(id), number, number).
		Scan(&a.LeaseID, &a.JobID, &a.Number, &a.AgentID, &a.Outcome, &ended, &a.LogBytes)
	if isNoRows(err) && job.ReusedFrom != nil {
		e := qgjob.NotFound("job %s ran nothing: its result was taken over from %s", id, *job.ReusedFrom)
		e.Hint = "ask for " + job.ReusedFrom.String()
		return a, e
	}
	if isNoRows(err) && number == 0 {
		return a, qgjob.NotFound("job %s has no attempt yet", id)
	}
	if isNoRows(err) {
		return a, qgjob.NotFound("job %s has no attempt %d", id, number)
	}
	a.EndedAt = timePtr(ended)
	return a, unavailable(err)
}

// Events lists a run's events behind a sequence number, in order.
func (s *Store) Events(ctx context.Context, run qgjob.RunID, after int64, limit int) ([]qgjob.Event, error) {
	rows, err := s.read.QueryContext(ctx, eitherPage(`SELECT seq, body FROM @events WHERE org_id = `+orgOfRun(1)+` AND run_id = $1 AND seq > $2`, ` ORDER BY seq LIMIT $3`), int64(run), after, pageLimit(limit))
	if err != nil {
		return nil, unavailable(fmt.Errorf("list the events of %s: %w", run, err))
	}
	list := []qgjob.Event{}
	err = eachRow(rows, func(rows *sql.Rows) error {
		var e qgjob.Event
		var body string
		if err := rows.Scan(&e.Seq, &body); err != nil {
			return err
		}
		seq := e.Seq
		err := json.Unmarshal([]byte(body), &e)
		e.Seq = seq
		list = append(list, e)
		return err
	})
	return list, unavailable(err)
}

func (t *tx) unfinished(run qgjob.RunID, after qgjob.JobID) ([]*jobRow, error) {
	var jobs []*jobRow
	err := t.each(`SELECT `+jobColumns+` FROM jobs WHERE org_id = (SELECT org_id FROM runs WHERE id = $1) AND run_id = $1 AND id > $2 AND state IN ('queued', 'assigned', 'running', 'cancelling')
		ORDER BY id LIMIT $3`, []any{int64(run), int64(after), cancelBatch}, func(rows scanner) error {
		j, err := scanJob(rows)
		if err == nil {
			jobs = append(jobs, t.know(j))
		}
		return err
	})
	return jobs, err
}
