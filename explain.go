package qgjob

import "time"

// Explanation says why a job stands where it stands: what it waits for, behind
// whom, who could take it, when it may start and what would start it sooner.
type Explanation struct {
	JobID   JobID         `json:"job_id"`
	Status  JobState      `json:"status"`
	Summary string        `json:"summary" doc:"one sentence"`
	Ahead   int           `json:"ahead" doc:"waiting jobs of its group that go first"`
	Waiting int           `json:"group_waiting" doc:"waiting jobs of its group"`
	Able    int           `json:"agents_able" doc:"agents online that may ever take it"`
	Agents  []AgentAnswer `json:"agents" doc:"what each agent says to its group; at most 100"`
	Advice  []string      `json:"advice" doc:"what would start it sooner"`
	Soonest *time.Time    `json:"soonest_start_at" doc:"if every able agent took its group first"`
	Likely  *time.Time    `json:"likely_start_at"`
	Latest  *time.Time    `json:"latest_start_at" doc:"if all that waits for the same agents went first"`
}

// AgentAnswer is what one agent says to a waiting group.
type AgentAnswer struct {
	AgentID AgentID `json:"agent_id"`
	Answer  string  `json:"answer" doc:"takes_next, or a stable word for the refusal such as missing_label, agent_busy, install_not_worth_it, outranked"`
	Text    string  `json:"text"`
	JobID   *JobID  `json:"job_id,omitempty" doc:"what it runs now"`
}

// HistoryJob is an ended job as a simulation needs it: what was asked for and
// how long it really took.
type HistoryJob struct {
	JobID        JobID             `json:"job_id"`
	RunID        RunID             `json:"run_id"`
	OrgID        OrgID             `json:"org_id"`
	AppVersionID AppVersionID      `json:"app_version_id"`
	BuildSHA256  Sum               `json:"build_sha256,omitempty"`
	TestPath     string            `json:"test_path"`
	Target       Target            `json:"target"`
	Requires     map[string]string `json:"requires,omitempty"`
	Priority     int               `json:"priority"`
	SubmittedAt  time.Time         `json:"submitted_at"`
	TestMS       int64             `json:"test_ms" doc:"of its last attempt that ran a test"`
	InstallMS    int64             `json:"install_ms" doc:"of an install that one of its attempts did; 0 when none did"`
}
