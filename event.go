package qgjob

import "time"

// EventKind names something that happened to a run or one of its jobs.
type EventKind string

// The kinds of events, in the order of a job's life.
const (
	EventRunSubmitted  EventKind = "run.submitted"
	EventJobAssigned   EventKind = "job.assigned"
	EventJobStarted    EventKind = "job.started"
	EventJobRequeued   EventKind = "job.requeued"   // waits again; reason says why
	EventJobCancelling EventKind = "job.cancelling" // cancel acknowledged
	EventJobFinished   EventKind = "job.finished"   // entered its terminal state
	EventRunFinished   EventKind = "run.finished"   // last event of every run
)

// Event is one entry of a run's event stream. It is written in the same
// transaction as the change it tells of, and delivered at least once.
type Event struct {
	Seq       int64          `json:"seq" doc:"rises within the server; resume after it with Last-Event-ID"`
	Kind      EventKind      `json:"kind"`
	At        time.Time      `json:"at"`
	OrgID     OrgID          `json:"org_id"`
	RunID     RunID          `json:"run_id"`
	JobID     *JobID         `json:"job_id,omitempty"`
	TestPath  string         `json:"test_path,omitempty"`
	Status    JobState       `json:"status,omitempty" doc:"the job's state after the event"`
	AgentID   AgentID        `json:"agent_id,omitempty"`
	Attempt   int            `json:"attempt,omitempty"`
	Outcome   Outcome        `json:"outcome,omitempty" doc:"how the attempt ended, when one did"`
	Reason    Reason         `json:"reason,omitempty"`
	Message   string         `json:"message,omitempty"`
	Flaky     bool           `json:"flaky,omitempty"`
	Install   InstallOutcome `json:"install,omitempty"`
	InstallMS int64          `json:"install_ms,omitempty"`
	TestMS    int64          `json:"test_ms,omitempty"`
	Final     Conclusion     `json:"conclusion,omitempty" doc:"with run.finished"`
}
