package qgjob

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// SubmitRequest asks for one run of one or more jobs. It is accepted whole or
// not at all.
type SubmitRequest struct {
	OrgID  OrgID             `json:"org_id"`
	Jobs   []JobSpec         `json:"jobs" minItems:"1" maxItems:"10000"`
	Labels map[string]string `json:"labels,omitempty" doc:"free key=value text kept with the run: branch, commit, CI link"`

	SupersedeKey string `json:"supersede_key,omitempty" doc:"older runs of the org with the same key that have not ended are stopped; not those of the same CI run (label ci.run)"`
	ReusePassed  bool   `json:"reuse_passed,omitempty" doc:"take over the result of a job that passed within seven days with the same build, bundle, test, target, requirements and reset; a flaky pass never"`
	FailFast     bool   `json:"fail_fast,omitempty" doc:"stop the rest of the run once a job has failed"`
}

// LabelCIRun is the label of a run that names the CI run it belongs to. Runs
// with the same one are legs of one matrix, and never supersede each other.
const LabelCIRun = "ci.run"

// MaxSupersedeKey is how long a supersede key may be, in bytes.
const MaxSupersedeKey = 300

// JobSpec is one job of a SubmitRequest. Zero fields take their defaults.
type JobSpec struct {
	AppVersionID AppVersionID      `json:"app_version_id"`
	TestPath     string            `json:"test_path"`
	Target       Target            `json:"target" enum:"emulator,device,browserstack,browser"`
	Priority     int               `json:"priority,omitempty" doc:"1 to 10, higher is more urgent; default 1"`
	Requires     map[string]string `json:"requires,omitempty" doc:"labels that an agent must have"`
	Retries      int               `json:"retries,omitempty" doc:"test retries, 0 to 10; default 0"`
	TimeoutS     int64             `json:"timeout_s,omitempty" doc:"seconds one attempt may take, 1 to 86400; default 1800"`
	Reset        Reset             `json:"reset,omitempty" enum:"clear,keep,reinstall" doc:"how much of the app's past the tests may see; default clear"`
	BundleSHA256 Sum               `json:"bundle_sha256,omitempty" doc:"an uploaded test bundle; without one the agent's own project is used"`
}

// WithDefaults returns the spec with its zero fields filled in.
func (s JobSpec) WithDefaults() JobSpec {
	if s.Priority == 0 {
		s.Priority = DefaultPriority
	}
	if s.TimeoutS == 0 {
		s.TimeoutS = int64(DefaultTimeout / time.Second)
	}
	if s.Reset == "" {
		s.Reset = DefaultReset
	}
	return s
}

// Check refuses a spec with the field at fault and what is allowed there. It
// wants defaults filled in.
func (s JobSpec) Check() error {
	if err := CheckName("app_version_id", string(s.AppVersionID)); err != nil {
		return err
	}
	if err := CheckTestPath(s.TestPath); err != nil {
		return err
	}
	if _, err := ParseTarget(string(s.Target)); err != nil {
		return err
	}
	if err := CheckPriority(s.Priority); err != nil {
		return err
	}
	if err := CheckLabels("requires", s.Requires); err != nil {
		return err
	}
	if s.Retries < 0 || s.Retries > MaxRetries {
		return Invalid("retries", fmt.Sprintf("retries %d is out of range; allowed: 0 to %d", s.Retries, MaxRetries))
	}
	if s.TimeoutS < 1 || s.TimeoutS > int64(MaxTimeout/time.Second) {
		return Invalid("timeout_s", fmt.Sprintf("timeout_s %d is out of range; allowed: 1 to %d", s.TimeoutS, int64(MaxTimeout/time.Second)))
	}
	if _, err := ParseReset(string(s.Reset)); err != nil {
		return err
	}
	if s.BundleSHA256 != "" {
		if _, err := ParseSum(string(s.BundleSHA256)); err != nil {
			return Invalid("bundle_sha256", "bundle_sha256 must be 64 lower-case hex digits")
		}
	}
	return nil
}

// Check refuses a request with the field at fault, such as
// "jobs[3].test_path".
func (r SubmitRequest) Check() error {
	if err := CheckName("org_id", string(r.OrgID)); err != nil {
		return err
	}
	if len(r.Jobs) == 0 {
		return Invalid("jobs", "jobs must hold at least one job")
	}
	if len(r.Jobs) > MaxJobsPerRun {
		return Invalid("jobs", fmt.Sprintf("jobs holds %d jobs; allowed: %d in one run", len(r.Jobs), MaxJobsPerRun))
	}
	if err := CheckLabels("labels", r.Labels); err != nil {
		return err
	}
	if r.SupersedeKey != "" {
		if len(r.SupersedeKey) > MaxSupersedeKey {
			return Invalid("supersede_key", fmt.Sprintf("supersede_key has %d bytes; allowed: %d", len(r.SupersedeKey), MaxSupersedeKey))
		}
		if strings.ContainsFunc(r.SupersedeKey, func(c rune) bool { return !unicode.IsPrint(c) }) {
			return Invalid("supersede_key", "supersede_key holds unprintable characters")
		}
	}
	for i, j := range r.Jobs {
		if err := j.WithDefaults().Check(); err != nil {
			if e, ok := errors.AsType[*Error](err); ok {
				e.Field = fmt.Sprintf("jobs[%d].%s", i, e.Field)
			}
			return err
		}
	}
	return nil
}

// CheckIdempotencyKey refuses a key that is too long or not printable ASCII.
func CheckIdempotencyKey(key string) error {
	if len(key) > MaxIdempotencyKey {
		return Invalid("Idempotency-Key", fmt.Sprintf("Idempotency-Key is %d bytes long; allowed: %d", len(key), MaxIdempotencyKey))
	}
	for _, r := range key {
		if r > unicode.MaxASCII || !unicode.IsPrint(r) {
			return Invalid("Idempotency-Key", "Idempotency-Key must be printable ASCII")
		}
	}
	return nil
}

// SubmitResponse answers a SubmitRequest once it is on disk.
type SubmitResponse struct {
	RunID   RunID   `json:"run_id"`
	JobIDs  []JobID `json:"job_ids" doc:"in the order of the request's jobs"`
	Repeat  bool    `json:"repeat" doc:"the idempotency key was known: these are the ids given then"`
	Warning string  `json:"warning,omitempty" doc:"such as: no agent online can serve one of the jobs"`
}

// JobFilter narrows a list of jobs. Zero fields do not narrow.
type JobFilter struct {
	OrgID        OrgID
	RunID        RunID
	AppVersionID AppVersionID
	AgentID      AgentID
	Target       Target
	Bound        string // only jobs that this CI run submitted: repository_id/run_id/run_attempt
	Status       []JobState
	Newest       bool  // newest first
	After        JobID // keyset cursor: jobs with a greater id follow; with Newest those with a smaller one
	Limit        int   // at most MaxPage
}

// MaxPage is the most rows of one page of a list.
const MaxPage = 500

// Page is one page of a list. Cursor is empty on the last one.
type Page[T any] struct {
	Items  []T    `json:"items"`
	Cursor string `json:"cursor,omitempty" doc:"give it back as ?cursor= for the next page"`
}
