package store

import (
	"context"

	"github.com/qualgent/qgjob"
)

// RetryRun submits a new run of those jobs of a finished run that did not
// pass, with the builds and bundles they had. Terminal states are never left:
// the old run stays as it is. A run with nothing to repeat, or one that goes
// on, is refused (conflict).
func (s *Store) RetryRun(ctx context.Context, id qgjob.RunID, key string) (qgjob.SubmitResponse, error) {
	run, err := s.Run(ctx, id)
	if err != nil {
		return qgjob.SubmitResponse{}, err
	}
	if run.Conclusion == "" {
		e := qgjob.Conflict("", "run %s goes on: %d of %d jobs have ended", id, run.Tally.Ended(), run.Tally.Total)
		e.Hint = "wait for its end, or cancel it"
		return qgjob.SubmitResponse{}, e
	}
	jobs, err := s.jobs(ctx, either(`SELECT `+jobColumns+` FROM @jobs WHERE org_id = $1 AND run_id = $2 AND state IN ('failed', 'errored', 'cancelled')`)+` ORDER BY id`, string(run.OrgID), int64(id))
	if err != nil {
		return qgjob.SubmitResponse{}, err
	}
	if len(jobs) == 0 {
		return qgjob.SubmitResponse{}, qgjob.Conflict("", "every job of %s passed: there is nothing to repeat", id)
	}
	return s.resubmit(ctx, run, jobs, key)
}

// RetryJob submits a new run of one ended job.
func (s *Store) RetryJob(ctx context.Context, id qgjob.JobID, key string) (qgjob.SubmitResponse, error) {
	job, err := s.Job(ctx, id)
	if err != nil {
		return qgjob.SubmitResponse{}, err
	}
	if !job.Status.Terminal() {
		e := qgjob.Conflict("", "job %s has not ended: it is %s", id, job.Status)
		e.Hint = "wait for its end, or cancel it"
		return qgjob.SubmitResponse{}, e
	}
	run, err := s.Run(ctx, job.RunID)
	if err != nil {
		return qgjob.SubmitResponse{}, err
	}
	return s.resubmit(ctx, run, []qgjob.Job{job}, key)
}

func (s *Store) resubmit(ctx context.Context, run qgjob.Run, jobs []qgjob.Job, key string) (qgjob.SubmitResponse, error) {
	owner, err := s.RunOwner(ctx, run.RunID)
	if err != nil {
		return qgjob.SubmitResponse{}, err
	}
	sub := &submission{key: key, retryOf: run.RunID, bound: owner.Run, req: qgjob.SubmitRequest{OrgID: run.OrgID, Labels: run.Labels, FailFast: run.FailFast}}
	for _, j := range jobs {
		sub.req.Jobs = append(sub.req.Jobs, qgjob.JobSpec{
			AppVersionID: j.AppVersionID, TestPath: j.TestPath, Target: j.Target, Priority: j.Priority, Requires: j.Requires,
			Retries: j.Retries, TimeoutS: j.TimeoutS, Reset: j.Reset, BundleSHA256: j.BundleSHA256,
		})
		sub.again, sub.builds = append(sub.again, j.JobID), append(sub.builds, j.BuildSHA256)
	}
	return s.submit(ctx, sub)
}
