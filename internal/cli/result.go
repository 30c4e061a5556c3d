package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
)

// result is how a run or a single job stands or ended; what wait --json
// prints.
type result struct {
	RunID           qgjob.RunID      `json:"run_id"`
	JobIDs          []qgjob.JobID    `json:"job_ids"`
	Conclusion      qgjob.Conclusion `json:"conclusion"` // "" while a job has not ended
	Total           int              `json:"total"`
	Queued          int              `json:"queued"`
	Running         int              `json:"running"`
	Passed          int              `json:"passed"`
	Failed          int              `json:"failed"`
	Errored         int              `json:"errored"`
	Cancelled       int              `json:"cancelled"`
	Flaky           int              `json:"flaky"`
	Installs        int              `json:"installs"`
	InstallsAvoided int              `json:"installs_avoided"`
	InstallMS       int64            `json:"install_ms"`
	Jobs            []qgjob.Job      `json:"jobs"`

	took time.Duration // from the submit to the last end
}

// newResult counts jobs; the run's own figures are its installs and times.
func newResult(run qgjob.Run, jobs []qgjob.Job) result {
	var t qgjob.Tally
	r := result{
		RunID: run.RunID, Installs: run.Installs, InstallsAvoided: run.InstallsAvoided, InstallMS: run.InstallMS,
		Jobs: append([]qgjob.Job{}, jobs...), JobIDs: []qgjob.JobID{},
	}
	var first, last time.Time
	for _, j := range jobs {
		add(&t, j)
		r.JobIDs = append(r.JobIDs, j.JobID)
		if first.IsZero() || j.SubmittedAt.Before(first) {
			first = j.SubmittedAt
		}
		if j.FinishedAt != nil && j.FinishedAt.After(last) {
			last = *j.FinishedAt
		}
	}
	r.Conclusion = t.Conclude()
	r.Total, r.Queued, r.Running = t.Total, t.Queued, t.Running
	r.Passed, r.Failed, r.Errored, r.Cancelled, r.Flaky = t.Passed, t.Failed, t.Errored, t.Cancelled, t.Flaky
	r.took = last.Sub(first)
	return r
}

// fetchResult asks the server how a run (or one job of it) stands. The run is
// read before its jobs, because no job of a run that is over moves; when it
// ended between the two its figures are read again.
func fetchResult(ctx context.Context, c *client.Client, id qgjob.RunID, only qgjob.JobID) (result, error) {
	if only != 0 {
		return fetchJobResult(ctx, c, only)
	}
	run, err := c.Run(ctx, id)
	if err != nil {
		return result{}, err
	}
	jobs, _, err := c.AllJobs(ctx, qgjob.JobFilter{RunID: id}, 0)
	if err != nil {
		return result{}, err
	}
	r := newResult(run, jobs)
	if r.ended() && run.Conclusion == "" {
		if run, err = c.Run(ctx, id); err != nil {
			return result{}, err
		}
		r = newResult(run, jobs)
	}
	if len(jobs) != run.Tally.Total || r.Conclusion != run.Conclusion && (r.ended() || run.Conclusion != "") {
		return r, &qgjob.Error{
			Kind: qgjob.KindInternal, Message: id.String() + ": the run's figures and its jobs do not agree",
			Hint: "are server and client of the same version?",
		}
	}
	return r, nil
}

func fetchJobResult(ctx context.Context, c *client.Client, id qgjob.JobID) (result, error) {
	job, err := c.Job(ctx, id)
	if err != nil {
		return result{}, err
	}
	attempts, err := c.Attempts(ctx, id)
	if err != nil {
		return result{}, err
	}
	run := qgjob.Run{RunID: job.RunID}
	for _, at := range attempts {
		switch at.Install {
		case qgjob.InstallDone:
			run.Installs++
			run.InstallMS += at.InstallMS
		case qgjob.InstallAvoided:
			run.InstallsAvoided++
		}
	}
	return newResult(run, []qgjob.Job{job}), nil
}

func (r result) ended() bool { return r.Total > 0 && r.Queued == 0 && r.Running == 0 }

func (r result) tally() string {
	return tallyText(qgjob.Tally{Total: r.Total, Queued: r.Queued, Running: r.Running, Passed: r.Passed,
		Failed: r.Failed, Errored: r.Errored, Cancelled: r.Cancelled, Flaky: r.Flaky})
}

// code is the verdict as an exit code. Nothing is passed by absence: a run
// without jobs, or with one in a state that says nothing, is not green.
func (r result) code(failOnFlaky bool) int {
	switch {
	case r.Failed > 0 || r.Cancelled > 0:
		return exitFailed
	case r.Errored > 0 || r.Total == 0:
		return exitInfra
	case !r.ended():
		return exitRunning
	case r.Passed != r.Total:
		return exitInfra
	case r.Flaky > 0 && failOnFlaky:
		return exitFailed
	}
	return exitPassed
}

// stopped says why a run was not run to its end, when it was the farm that
// stopped it; empty otherwise.
func (r result) stopped(h how) string {
	if h == failedFast {
		return fmt.Sprintf("a test has failed, and the rest was to stop; %s still to confirm", unconfirmed(r.Queued+r.Running))
	}
	for _, j := range r.Jobs {
		if j.Reason == qgjob.ReasonSuperseded || j.Reason == qgjob.ReasonFailFast {
			return j.Message
		}
	}
	return ""
}

func unconfirmed(n int) string {
	if n == 1 {
		return "1 test has"
	}
	return fmt.Sprintf("%d tests have", n)
}

// ranked is the jobs in the order in which people read a result: what failed
// first, then by id.
func (r result) ranked() []qgjob.Job {
	rank := func(j qgjob.Job) int {
		if j.Status == qgjob.Passed && j.Flaky {
			return 4
		}
		if i := slices.Index([]qgjob.JobState{qgjob.Failed, qgjob.Errored, qgjob.Cancelled}, j.Status); i >= 0 {
			return i
		}
		if j.Status == qgjob.Passed {
			return 5
		}
		return 3
	}
	jobs := slices.Clone(r.Jobs)
	slices.SortStableFunc(jobs, func(a, b qgjob.Job) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return int(a.JobID - b.JobID)
	})
	return jobs
}

func asError(err error) (*qgjob.Error, bool) { return errors.AsType[*qgjob.Error](err) }
