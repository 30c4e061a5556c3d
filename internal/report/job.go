package report

import (
	"strings"
	"time"

	"github.com/qualgent/qgjob"
)

// JobReport is one job with all its attempts, oldest first: what every writer of this package is given.
type JobReport struct {
	Job      qgjob.Job
	Attempts []qgjob.Attempt
}

// deciding gives the attempt that the job's state rests on: the last one that ended with the same word, else the last that did not merely
// come too late, else nil.
func (j JobReport) deciding() *qgjob.Attempt {
	for i := len(j.Attempts) - 1; i >= 0; i-- {
		a := &j.Attempts[i]
		if string(a.Outcome) == string(j.Job.Status) || a.Outcome == qgjob.OutcomeLost && j.Job.Status == qgjob.Errored {
			return a
		}
	}
	for i := len(j.Attempts) - 1; i >= 0; i-- {
		if a := &j.Attempts[i]; a.Outcome != qgjob.OutcomeStale && j.Job.Status != qgjob.Passed {
			return a
		}
	}
	return nil
}

// earlier gives the attempts before the deciding one that ended badly.
func (j JobReport) earlier() []*qgjob.Attempt {
	var out []*qgjob.Attempt
	last := j.deciding()
	for i := range j.Attempts {
		a := &j.Attempts[i]
		if a == last {
			break
		}
		switch a.Outcome {
		case qgjob.OutcomeFailed, qgjob.OutcomeErrored, qgjob.OutcomeLost, qgjob.OutcomeInterrupted:
			out = append(out, a)
		}
	}
	return out
}

// tests gives the tests of the deciding attempt.
func (j JobReport) tests() []qgjob.TestResult {
	if a := j.deciding(); a != nil {
		return a.Tests
	}
	return nil
}

// testKey names a test across attempts: its file, project and title path, never its line.
func testKey(t *qgjob.TestResult) string {
	return t.File + "\x00" + t.Project + "\x00" + strings.Join(t.Title, "\x00")
}

// failedBefore maps each test to its first failure in an earlier attempt.
func (j JobReport) failedBefore() map[string]*qgjob.TestResult {
	out := map[string]*qgjob.TestResult{}
	for _, a := range j.earlier() {
		for i := range a.Tests {
			t := &a.Tests[i]
			if t.Status == qgjob.TestFailed && out[testKey(t)] == nil {
				out[testKey(t)] = t
			}
		}
	}
	return out
}

// headline says in a line how the job stands: its message, else its reason, else its state.
func (j JobReport) headline() string {
	switch {
	case firstLine(j.Job.Message) != "":
		return firstLine(j.Job.Message)
	case j.Job.Status == qgjob.Passed && j.Job.Flaky:
		return j.flakyLine()
	case !j.Job.Status.Terminal():
		return "has not ended: " + string(j.Job.Status)
	case j.Job.Reason != qgjob.ReasonNone && string(j.Job.Reason) != string(j.Job.Status):
		return string(j.Job.Status) + ": " + string(j.Job.Reason)
	}
	return string(j.Job.Status)
}

// flakyLine says what went wrong before a job passed.
func (j JobReport) flakyLine() string {
	line := "passed only after a retry"
	if before := j.earlier(); len(before) > 0 && firstLine(before[0].Message) != "" {
		line += "; before that: " + firstLine(before[0].Message)
	}
	return line
}

// testMS is the time its tests took, over all attempts, in milliseconds.
func (j JobReport) testMS() int64 {
	var sum int64
	for i := range j.Attempts {
		sum += j.Attempts[i].TestMS
	}
	return sum
}

// took is the time from the run's submission to its end, 0 while it goes on.
func took(run qgjob.Run) time.Duration {
	if run.FinishedAt == nil || run.FinishedAt.Before(run.SubmittedAt) {
		return 0
	}
	return run.FinishedAt.Sub(run.SubmittedAt)
}
