package qgjob

import (
	"fmt"
	"strconv"
	"strings"
)

// OrgID names a tenant. Orgs own jobs, apps and tokens. At most MaxNameLen
// bytes of printable text.
type OrgID string

// AppVersionID is the name an org gives to one version of its app. It may
// carry an uploaded build, identified by its SHA-256.
type AppVersionID string

// AgentID names one device slot that runs one job at a time.
type AgentID string

// LeaseID is the fence of an attempt: 32 lower-case hex digits (128 random
// bits). Only the bearer of a job's current lease can move the job.
type LeaseID string

// Sum is the SHA-256 of a stored file: 64 lower-case hex digits.
type Sum string

// JobID numbers jobs in the order in which they were accepted. It is written
// "job_N" everywhere outside the store; numbers are never issued again.
type JobID int64

// RunID numbers runs; written "run_N".
type RunID int64

// GroupID numbers groups; written "group_N".
type GroupID int64

// String returns the written form, "job_7".
func (id JobID) String() string { return "job_" + strconv.FormatInt(int64(id), 10) }

// String returns the written form, "run_7".
func (id RunID) String() string { return "run_" + strconv.FormatInt(int64(id), 10) }

// String returns the written form, "group_7".
func (id GroupID) String() string { return "group_" + strconv.FormatInt(int64(id), 10) }

// MarshalText writes "job_7".
func (id JobID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText writes "run_7".
func (id RunID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText writes "group_7".
func (id GroupID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads "job_7".
func (id *JobID) UnmarshalText(b []byte) error {
	got, err := ParseJobID(string(b))
	*id = got
	return err
}

// UnmarshalText reads "run_7".
func (id *RunID) UnmarshalText(b []byte) error {
	got, err := ParseRunID(string(b))
	*id = got
	return err
}

// UnmarshalText reads "group_7".
func (id *GroupID) UnmarshalText(b []byte) error {
	n, err := parseNumbered("group_id", "group_", string(b))
	*id = GroupID(n)
	return err
}

// ParseJobID reads "job_7". Anything else is an invalid error that names the
// field job_id; leading zeros and signs are refused, so one job has one name.
func ParseJobID(s string) (JobID, error) {
	n, err := parseNumbered("job_id", "job_", s)
	return JobID(n), err
}

// ParseRunID reads "run_7" under the same rules as ParseJobID.
func ParseRunID(s string) (RunID, error) {
	n, err := parseNumbered("run_id", "run_", s)
	return RunID(n), err
}

func parseNumbered(field, prefix, s string) (int64, error) {
	digits, ok := strings.CutPrefix(s, prefix)
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || n < 1 || strconv.FormatInt(n, 10) != digits {
		return 0, Invalid(field, fmt.Sprintf("%s %q is not of the form %s1", field, clip(s, 64), prefix))
	}
	return n, nil
}

// ParseSum reads a SHA-256 in 64 lower-case hex digits.
func ParseSum(s string) (Sum, error) {
	if len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" {
		return "", Invalid("sha256", fmt.Sprintf("sha256 %q must be 64 lower-case hex digits", clip(s, 80)))
	}
	return Sum(s), nil
}

// ParseLeaseID reads a lease in 32 lower-case hex digits.
func ParseLeaseID(s string) (LeaseID, error) {
	if len(s) != 32 || strings.Trim(s, "0123456789abcdef") != "" {
		return "", Invalid("lease_id", fmt.Sprintf("lease_id %q must be 32 lower-case hex digits", clip(s, 48)))
	}
	return LeaseID(s), nil
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
