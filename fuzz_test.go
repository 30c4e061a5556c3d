package qgjob_test

import (
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

// FuzzIDs: an id that is read is written as it was, and a refusal is an
// invalid error of one short line.
func FuzzIDs(f *testing.F) {
	for _, s := range []string{"job_1", "run_007", "job_-1", "group_9223372036854775808", strings.Repeat("a", 64), strings.Repeat("A", 32), ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		check := func(text string, err error) {
			t.Helper()
			if err == nil && text != s {
				t.Errorf("%q is read as %q", s, text)
			}
			refusal(t, err)
		}
		job, err := qgjob.ParseJobID(s)
		check(job.String(), err)
		run, err := qgjob.ParseRunID(s)
		check(run.String(), err)
		sum, err := qgjob.ParseSum(s)
		check(string(sum), err)
		lease, err := qgjob.ParseLeaseID(s)
		check(string(lease), err)
		var j qgjob.JobID
		var r qgjob.RunID
		var g qgjob.GroupID
		err = j.UnmarshalText([]byte(s))
		check(j.String(), err)
		err = r.UnmarshalText([]byte(s))
		check(r.String(), err)
		err = g.UnmarshalText([]byte(s))
		check(g.String(), err)
	})
}

// FuzzWords: the words of requests.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"queued", "emulator", "high", "10", "11", "data", "", "\x00", "Emulator"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		state, err := qgjob.ParseJobState(s)
		if refusal(t, err); err == nil && string(state) != s {
			t.Errorf("%q is the state %q", s, state)
		}
		target, err := qgjob.ParseTarget(s)
		if refusal(t, err); err == nil && string(target) != s {
			t.Errorf("%q is the target %q", s, target)
		}
		n, err := qgjob.ParsePriority(s)
		if refusal(t, err); err == nil && (n < 1 || n > 10) {
			t.Errorf("%q is the priority %d", s, n)
		}
		_, err = qgjob.ParseReset(s)
		refusal(t, err)
		refusal(t, qgjob.CheckName("name", s))
		refusal(t, qgjob.CheckLabels("labels", map[string]string{s: s}))
	})
}

// refusal wants an invalid error that does not repeat at length what it was
// given. (Whoever shows it escapes it.)
func refusal(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if qgjob.KindOf(err) != qgjob.KindInvalid || len(err.Error()) > 600 {
		t.Errorf("%v: %q", qgjob.KindOf(err), err)
	}
}
