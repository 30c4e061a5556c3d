package qgjob

import "time"

// Job is one test file of one app version for one target, as the API shows
// it.
type Job struct {
	JobID        JobID             `json:"job_id"`
	RunID        RunID             `json:"run_id"`
	OrgID        OrgID             `json:"org_id"`
	AppVersionID AppVersionID      `json:"app_version_id"`
	TestPath     string            `json:"test_path"`
	Target       Target            `json:"target"`
	Priority     int               `json:"priority"`
	Status       JobState          `json:"status"`
	Reason       Reason            `json:"reason"`
	Message      string            `json:"message,omitempty" doc:"what happened, in one line"`
	Attempts     int               `json:"attempts" doc:"attempts that were started"`
	Flaky        bool              `json:"flaky" doc:"passed after a test retry"`
	AgentID      AgentID           `json:"agent_id" doc:"the agent that holds it, or that ended it; empty before"`
	GroupID      GroupID           `json:"group_id"`
	Requires     map[string]string `json:"requires,omitempty" doc:"labels that an agent must have"`
	Retries      int               `json:"retries" doc:"test retries allowed"`
	TimeoutS     int64             `json:"timeout_s" doc:"seconds that one attempt's test may take"`
	Reset        Reset             `json:"reset,omitempty" doc:"how much of the app's past its tests may see: clear (default), keep, reinstall"`
	BuildSHA256  Sum               `json:"build_sha256,omitempty" doc:"the app build it tests"`
	BundleSHA256 Sum               `json:"bundle_sha256,omitempty" doc:"the packed test project it comes from"`
	SubmittedAt  time.Time         `json:"submitted_at"`
	StartedAt    *time.Time        `json:"started_at" doc:"first start of the newest attempt"`
	FinishedAt   *time.Time        `json:"finished_at"`
	ReusedFrom   *JobID            `json:"reused_from,omitempty" doc:"the job whose result was taken over; this one ran nothing"`
}

// Run is one submission of one or more jobs.
type Run struct {
	RunID           RunID             `json:"run_id"`
	OrgID           OrgID             `json:"org_id"`
	Conclusion      Conclusion        `json:"conclusion" doc:"empty until every job has ended"`
	Tally           Tally             `json:"tally"`
	Installs        int               `json:"installs" doc:"installs done for its jobs, counted"`
	InstallsAvoided int               `json:"installs_avoided" doc:"jobs that found their build on the device, counted"`
	InstallMS       int64             `json:"install_ms" doc:"milliseconds spent on those installs"`
	Supersedes      *RunID            `json:"supersedes,omitempty" doc:"the newest run that this one stopped because it stands in for it"`
	SupersededBy    *RunID            `json:"superseded_by,omitempty" doc:"the newer run that stopped this one"`
	FailFast        bool              `json:"fail_fast,omitempty" doc:"the rest is stopped once a job has failed"`
	RetryOf         *RunID            `json:"retry_of,omitempty" doc:"the run whose failed jobs this one repeats"`
	Labels          map[string]string `json:"labels,omitempty" doc:"free key=value text from the submitter: branch, commit, CI link"`
	SubmittedAt     time.Time         `json:"submitted_at"`
	FinishedAt      *time.Time        `json:"finished_at"`
}

// Attempt is one execution of a job on one agent.
type Attempt struct {
	LeaseID   LeaseID        `json:"lease_id"`
	JobID     JobID          `json:"job_id"`
	Number    int            `json:"number" doc:"1 for the job's first lease"`
	AgentID   AgentID        `json:"agent_id"`
	Outcome   Outcome        `json:"outcome" doc:"empty while it goes on"`
	Reason    Reason         `json:"reason"`
	Message   string         `json:"message,omitempty"`
	ExitCode  *int           `json:"exit_code,omitempty"`
	Install   InstallOutcome `json:"install"`
	InstallMS int64          `json:"install_ms"`
	TestMS    int64          `json:"test_ms" doc:"milliseconds from the runner's start to its end"`
	OfferedAt time.Time      `json:"offered_at"`
	StartedAt *time.Time     `json:"started_at"`
	EndedAt   *time.Time     `json:"ended_at"`
	LogBytes  int64          `json:"log_bytes"`
	Tests     []TestResult   `json:"tests,omitempty"`
	Artifacts []Artifact     `json:"artifacts,omitempty"`
}

// InstallOutcome says what an attempt did to have its build on the device.
type InstallOutcome string

// The install outcomes. None: the attempt never came to it, or the device has
// no notion of installing.
const (
	InstallNone    InstallOutcome = ""
	InstallDone    InstallOutcome = "installed"
	InstallAvoided InstallOutcome = "avoided"
	InstallFailed  InstallOutcome = "failed"
)

// TestStatus is the verdict over one test of a file.
type TestStatus string

// The test statuses.
const (
	TestPassed  TestStatus = "passed"
	TestFailed  TestStatus = "failed"
	TestFlaky   TestStatus = "flaky" // passed after the runner's own retry
	TestSkipped TestStatus = "skipped"
)

// TestResult is one test of a test file. Tests are keyed by File and Title,
// never by line.
type TestResult struct {
	File       string     `json:"file" doc:"relative to the project, slash-separated"`
	Title      []string   `json:"title" doc:"describe blocks, then the test's own title"`
	Project    string     `json:"project,omitempty" doc:"the runner's project, such as a browser"`
	Status     TestStatus `json:"status"`
	DurationMS int64      `json:"duration_ms"`
	Line       int        `json:"line,omitempty" doc:"where the test stands, from 1"`
	ErrorFile  string     `json:"error_file,omitempty" doc:"where it failed, when that is known"`
	ErrorLine  int        `json:"error_line,omitempty"`
	Message    string     `json:"message,omitempty" doc:"the first failure, without terminal colours, at most 8 KiB"`
	Attachment []string   `json:"attachments,omitempty" doc:"names of the attempt's artifacts that belong to it"`
}

// Artifact is a file that an attempt left: a screenshot, a trace, a video, a
// report.
type Artifact struct {
	LeaseID     LeaseID   `json:"lease_id"`
	Name        string    `json:"name" doc:"clean relative path, unique in its attempt"`
	SHA256      Sum       `json:"sha256"`
	Size        int64     `json:"size" doc:"bytes"`
	ContentType string    `json:"content_type"`
	CreatedAt   time.Time `json:"created_at"`
}

// Agent is one device slot, as the API shows it.
type Agent struct {
	AgentID       AgentID           `json:"agent_id"`
	OrgID         OrgID             `json:"org_id,omitempty" doc:"whose jobs it takes; empty: everybody's"`
	Target        Target            `json:"target"`
	Status        AgentState        `json:"status"`
	AssignedGroup *string           `json:"assigned_group" doc:"the app version it serves or is pinned to; null when none"`
	JobID         *JobID            `json:"job_id" doc:"the job it runs; null when none"`
	Labels        map[string]string `json:"labels,omitempty"`
	Runner        string            `json:"runner,omitempty"`
	Host          string            `json:"host,omitempty"`
	Version       string            `json:"version,omitempty" doc:"of the qgjob binary"`
	Incarnation   int64             `json:"incarnation"`
	Installed     *Installed        `json:"installed" doc:"what the device holds; null when nothing is known"`
	Installs      int64             `json:"installs" doc:"installs it did since it first registered, counted"`
	Avoided       int64             `json:"installs_avoided"`
	LastSeen      time.Time         `json:"last_seen"`
	Quarantine    *Quarantine       `json:"quarantine,omitempty" doc:"why it takes no jobs although it is online"`
}

// Quarantine is why an agent takes no jobs: its device broke several jobs in a
// row, or is not fit for one now. The agent ends it by itself.
type Quarantine struct {
	Reason   string    `json:"reason" minLength:"1" maxLength:"1024"`
	Next     string    `json:"next" maxLength:"1024" doc:"what ends it, and what a person can do"`
	Failures int       `json:"failures,omitempty" minimum:"0" doc:"jobs in a row that the device broke; 0 when it is only unfit now"`
	Since    time.Time `json:"since"`
}

// Installed is the app build that a device holds.
type Installed struct {
	OrgID        OrgID        `json:"org_id"`
	AppVersionID AppVersionID `json:"app_version_id"`
	BuildSHA256  Sum          `json:"build_sha256,omitempty" doc:"empty for an app version without an uploaded build"`
}

// Group is all waiting jobs of the same org, app version, build, target and
// requirements: what an agent drains with one install.
type Group struct {
	GroupID       GroupID           `json:"group_id"`
	OrgID         OrgID             `json:"org_id"`
	AppVersionID  AppVersionID      `json:"app_version_id"`
	BuildSHA256   Sum               `json:"build_sha256,omitempty"`
	Target        Target            `json:"target"`
	Requires      map[string]string `json:"requires,omitempty"`
	Waiting       int               `json:"waiting" doc:"jobs queued"`
	Serving       int               `json:"serving" doc:"jobs leased to agents"`
	HeadPriority  int               `json:"head_priority" doc:"highest waiting priority; 0 when none waits"`
	HeadSubmitted *time.Time        `json:"head_submitted_at" doc:"when the head of the group was submitted"`
}

// App is an uploaded build of an app version.
type App struct {
	OrgID        OrgID        `json:"org_id"`
	AppVersionID AppVersionID `json:"app_version_id"`
	SHA256       Sum          `json:"sha256"`
	Size         int64        `json:"size" doc:"bytes"`
	FileName     string       `json:"file_name" doc:"base name as uploaded; its ending (.apk, .ipa, .zip) says what it is"`
	UploadedAt   time.Time    `json:"uploaded_at"`
}

// Org is a tenant's standing with the scheduler.
type Org struct {
	OrgID  OrgID   `json:"org_id"`
	Weight float64 `json:"weight" doc:"share of the fleet against other orgs; 1 unless set"`
	Quota  int     `json:"quota" doc:"most jobs it may run at once; 0 is no limit"`
}
