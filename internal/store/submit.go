package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
)

// submission is one Submit on its way through the writer. Those of one batch
// are written together.
type submission struct {
	req      qgjob.SubmitRequest
	key      string
	bodyHash string
	retryOf  qgjob.RunID
	bound    string        // the CI run that submits; empty: none
	again    []qgjob.JobID // of a retry: the jobs that are repeated
	builds   []qgjob.Sum   // by job, when the builds are given (a retry); else looked up
	run      qgjob.RunID
	first    qgjob.JobID
	repeat   bool
}

// Submit accepts a run whole, and returns once it is on disk. The same
// idempotency key with the same body gives the same ids again (Repeat true);
// with another body it is invalid, code key_reused. An empty key is none.
func (s *Store) Submit(ctx context.Context, key string, req qgjob.SubmitRequest) (qgjob.SubmitResponse, error) {
	return s.submit(ctx, &submission{req: req, key: key})
}

// SubmitBound is Submit for a CI run, which may then do nothing with other
// runs than those that it submitted itself.
func (s *Store) SubmitBound(ctx context.Context, bound, key string, req qgjob.SubmitRequest) (qgjob.SubmitResponse, error) {
	return s.submit(ctx, &submission{req: req, key: key, bound: bound})
}

func (s *Store) submit(ctx context.Context, sub *submission) (qgjob.SubmitResponse, error) {
	if err := qgjob.CheckIdempotencyKey(sub.key); err != nil {
		return qgjob.SubmitResponse{}, err
	}
	if err := sub.req.Check(); err != nil {
		return qgjob.SubmitResponse{}, err
	}
	if sub.key != "" {
		body, err := json.Marshal(sub.req)
		if err != nil {
			return qgjob.SubmitResponse{}, err
		}
		if sub.retryOf != 0 { // what is repeated is part of what was asked for
			body = fmt.Appendf(body, "%v", sub.again)
		}
		if sub.bound != "" { // another CI run must not be told the ids of this one's
			body = fmt.Appendf(body, " of %s", sub.bound)
		}
		hash := sha256.Sum256(body)
		sub.bodyHash = hex.EncodeToString(hash[:])
	}
	if err := s.writer.enqueue(ctx, &op{submit: sub, answer: make(chan struct{})}); err != nil {
		return qgjob.SubmitResponse{}, err
	}
	resp := qgjob.SubmitResponse{RunID: sub.run, Repeat: sub.repeat, JobIDs: make([]qgjob.JobID, len(sub.req.Jobs))}
	for i := range resp.JobIDs {
		resp.JobIDs[i] = sub.first + qgjob.JobID(i)
	}
	return resp, nil
}

// submitAll writes the submissions of a batch together: numbers are reserved
// once, rows of all of them share their statements.
func (t *tx) submitAll(batch []*op) error {
	var fresh []*submission
	var jobs int
	keyed := map[[2]string]*submission{}
	for _, o := range batch {
		if o.submit == nil {
			continue
		}
		var isNew bool
		isNew, o.err = t.knownKey(o.submit, keyed)
		if o.err != nil && qgjob.KindOf(o.err) == qgjob.KindInternal {
			return o.err
		}
		if isNew && o.err == nil {
			fresh = append(fresh, o.submit)
			jobs += len(o.submit.req.Jobs)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if err := t.number(fresh, jobs); err != nil {
		return err
	}
	for _, o := range batch { // two equal keys in one batch: the second repeats the first
		if o.submit != nil && o.submit.repeat && o.submit.run == 0 {
			first := keyed[[2]string{string(o.submit.req.OrgID), o.submit.key}]
			o.submit.run, o.submit.first = first.run, first.first
		}
	}
	return t.writeSubmissions(fresh, jobs)
}

// knownKey finds an idempotency key again, in the database or in this batch.
func (t *tx) knownKey(sub *submission, keyed map[[2]string]*submission) (isNew bool, err error) {
	sub.run, sub.first, sub.repeat = 0, 0, false // it may be tried again after a rollback
	if sub.key == "" {
		return true, nil
	}
	id := [2]string{string(sub.req.OrgID), sub.key}
	var hash string
	if first := keyed[id]; first != nil {
		hash = first.bodyHash
	} else {
		found, err := t.queryRow(`SELECT i.body_hash, i.run_id, (SELECT MIN(b.id) FROM (`+either(`SELECT MIN(id) AS id FROM @jobs j WHERE j.org_id = i.org_id AND j.run_id = i.run_id`)+`) b)
			FROM idempotency i WHERE i.org_id = $1 AND i.key = $2`, []any{id[0], id[1]}, &hash, &sub.run, &sub.first)
		if err != nil {
			return false, fmt.Errorf("look an idempotency key up: %w", err)
		}
		if !found {
			keyed[id] = sub
			return true, nil
		}
	}
	if hash != sub.bodyHash {
		e := qgjob.Invalid("Idempotency-Key", fmt.Sprintf("Idempotency-Key %q came before with another body", sub.key))
		e.Code, e.Hint = qgjob.CodeKeyReused, "use a new key for a new run"
		return false, e
	}
	sub.repeat = true
	return false, nil
}

func (t *tx) number(fresh []*submission, jobs int) error {
	run, err := t.take("run", len(fresh))
	if err != nil {
		return err
	}
	job, err := t.take("job", jobs)
	if err != nil {
		return err
	}
	for _, sub := range fresh {
		sub.run, sub.first = qgjob.RunID(run), qgjob.JobID(job)
		run++
		job += int64(len(sub.req.Jobs))
	}
	return nil
}

const (
	newRunColumns = "id, org_id, total, retry_of, labels, created_at, supersede_key, fail_fast, passed, finished_at"
	newJobColumns = "id, org_id, run_id, group_id, app_version_id, build_sha256, bundle_sha256, test_path, target, requires, reset, priority, estimate_ms, retries, timeout_ms, submitted_at, state, rank"
	// A job whose result is taken over is not new: it has ended.
	reusedJobColumns = newJobColumns + ", reason, message, reused_from, finished_at"
)

func (t *tx) writeSubmissions(fresh []*submission, jobs int) error {
	runRows, keyRows, boundRows, jobRows, reusedRows := make([][]any, 0, len(fresh)), [][]any{}, [][]any{}, make([][]any, 0, jobs), [][]any{}
	for _, sub := range fresh {
		org := string(sub.req.OrgID)
		if sub.key != "" {
			keyRows = append(keyRows, []any{org, sub.key, sub.bodyHash, int64(sub.run), t.nowMS})
		}
		if sub.bound != "" {
			boundRows = append(boundRows, []any{org, int64(sub.run), sub.bound, t.nowMS})
		}
		inRun, reused := map[qgjob.GroupID]bool{}, 0
		t.tell(qgjob.Event{Kind: qgjob.EventRunSubmitted, OrgID: sub.req.OrgID, RunID: sub.run})
		for i, spec := range sub.req.Jobs {
			spec = spec.WithDefaults()
			build, err := t.buildOf(sub, i)
			if err != nil {
				return err
			}
			key := groupKey{sub.req.OrgID, spec.AppVersionID, build, spec.Target, labelsJSON(spec.Requires)}
			group, err := t.groupOf(key)
			if err != nil {
				return err
			}
			test := testKey{sub.req.OrgID, spec.TestPath, spec.Target}
			estimate, err := t.expectTest(test)
			if err != nil {
				return err
			}
			row := []any{int64(sub.first) + int64(i), org, int64(sub.run), int64(group), string(spec.AppVersionID), string(build),
				string(spec.BundleSHA256), spec.TestPath, string(spec.Target), key.requires, string(spec.Reset), spec.Priority, int64(estimate * 1000), spec.Retries, spec.TimeoutS * 1000, t.nowMS, string(qgjob.Queued), t.rank(test)}
			if sub.req.ReusePassed {
				from, err := t.passedBefore(org, build, spec)
				if err != nil {
					return err
				}
				if from != 0 {
					reused++
					reusedRows = append(reusedRows, t.reuse(sub, i, row, from))
					continue
				}
			}
			t.m.state.Arrive(schedule.Seconds(t.now), estimate, spec.Priority)
			t.waits(group, spec.Priority, float64(t.nowMS)/1000, estimate, !inRun[group])
			t.m.submitted(group, sub.run, spec.Priority)
			t.record(queueMove{Group: int64(group), Run: int64(sub.run), Priority: spec.Priority})
			inRun[group] = true
			jobRows = append(jobRows, row)
		}
		var finished int64
		if reused == len(sub.req.Jobs) {
			finished = t.nowMS
			t.tell(qgjob.Event{Kind: qgjob.EventRunFinished, OrgID: sub.req.OrgID, RunID: sub.run, Final: qgjob.Tally{Total: reused, Passed: reused}.Conclude()})
		}
		runRows = append(runRows, []any{int64(sub.run), org, len(sub.req.Jobs), int64(sub.retryOf), labelsJSON(sub.req.Labels), t.nowMS,
			sub.supersedeKey(), flag(sub.req.FailFast), reused, finished})
	}
	t.note.Work = true
	if err := t.insert("runs", newRunColumns, runRows); err != nil {
		return err
	}
	if err := t.insert("ci_runs", "org_id, run_id, bound, created_at", boundRows); err != nil {
		return err
	}
	if err := t.insert("idempotency", "org_id, key, body_hash, run_id, created_at", keyRows); err != nil {
		return err
	}
	if err := t.insert("jobs", newJobColumns, jobRows); err != nil {
		return err
	}
	if err := t.insert("jobs", reusedJobColumns, reusedRows); err != nil {
		return err
	}
	for _, sub := range fresh {
		if err := t.standIn(sub); err != nil {
			return err
		}
	}
	return nil
}

// waits adds a newly submitted job to its group's aggregates. It goes behind
// all that wait at its priority.
func (t *tx) waits(id qgjob.GroupID, priority int, submitted, estimate float64, newRun bool) {
	g, _ := t.m.state.Group(id)
	q, d := g.Queue, t.group(id)
	if q.Waiting == 0 || priority > q.HeadPriority {
		q.HeadPriority, q.HeadSubmitted = priority, submitted
	}
	q.Waiting++
	q.Work += estimate
	d.waiting++
	d.workMS += int64(estimate * 1000)
	if newRun {
		q.Runs++
		d.runs++
	}
	t.m.state.SetQueue(id, q)
}

// buildOf finds the build that an app version carries now.
func (t *tx) buildOf(sub *submission, i int) (qgjob.Sum, error) {
	if sub.builds != nil {
		return sub.builds[i], nil
	}
	version := sub.req.Jobs[i].AppVersionID
	if t.lastBuild.org == sub.req.OrgID && t.lastBuild.version == version {
		return t.lastBuild.sum, nil
	}
	var sum qgjob.Sum
	if _, err := t.queryRow(`SELECT sha256 FROM apps WHERE org_id = $1 AND app_version_id = $2`, []any{string(sub.req.OrgID), string(version)}, &sum); err != nil {
		return "", fmt.Errorf("look a build up: %w", err)
	}
	t.lastBuild.org, t.lastBuild.version, t.lastBuild.sum = sub.req.OrgID, version, sum
	return sum, nil
}

// groupOf finds or makes the group of a key.
func (t *tx) groupOf(k groupKey) (qgjob.GroupID, error) {
	if id, ok := t.m.groups[k]; ok {
		return id, nil
	}
	args := []any{string(k.org), string(k.version), string(k.build), string(k.target), k.requires}
	if id, err := t.adoptBy(`org_id = $1 AND app_version_id = $2 AND build_sha256 = $3 AND target = $4 AND requires = $5`, args...); err != nil || id != 0 {
		return id, err
	}
	n, err := t.take("group", 1)
	if err != nil {
		return 0, err
	}
	if err := t.write("make a group", `INSERT INTO job_groups (id, org_id, app_version_id, build_sha256, target, requires) VALUES ($1, $2, $3, $4, $5, $6)`,
		append([]any{n}, args...)...); err != nil {
		return 0, err
	}
	return qgjob.GroupID(n), t.adopt(schedule.Group{ID: qgjob.GroupID(n)}, k)
}
