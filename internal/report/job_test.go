package report

import (
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

const none = 0 // no attempt

// decisions is which attempt a job's state rests on, and which ones went before it.
var decisions = []struct {
	name     string
	status   qgjob.JobState
	attempts []qgjob.Outcome
	want     int // number of the deciding attempt
	earlier  []int
}{
	{"never tried", qgjob.Queued, nil, none, nil},
	{"passed at once", qgjob.Passed, []qgjob.Outcome{qgjob.OutcomePassed}, 1, nil},
	{
		"passed after a retry",
		qgjob.Passed,
		[]qgjob.Outcome{qgjob.OutcomeFailed, qgjob.OutcomePassed},
		2, []int{1},
	},
	{
		"passed after trouble of every kind",
		qgjob.Passed,
		[]qgjob.Outcome{qgjob.OutcomeReleased, qgjob.OutcomeLost, qgjob.OutcomeInterrupted, qgjob.OutcomeErrored, qgjob.OutcomePassed},
		5, []int{2, 3, 4},
	},
	{
		"passed, a late failure came after",
		qgjob.Passed,
		[]qgjob.Outcome{qgjob.OutcomePassed, qgjob.OutcomeStale},
		1, nil,
	},
	{
		"passed, but the attempt is not given",
		qgjob.Passed, []qgjob.Outcome{qgjob.OutcomeFailed}, none, []int{1},
	},
	{
		"failed, a late pass came after",
		qgjob.Failed,
		[]qgjob.Outcome{qgjob.OutcomeFailed, qgjob.OutcomeStale},
		1, nil,
	},
	{
		"failed twice",
		qgjob.Failed,
		[]qgjob.Outcome{qgjob.OutcomeFailed, qgjob.OutcomeFailed},
		2, []int{1},
	},
	{
		"errored because its agents were lost",
		qgjob.Errored,
		[]qgjob.Outcome{qgjob.OutcomeLost, qgjob.OutcomeLost},
		2, []int{1},
	},
	{
		"errored after a failure",
		qgjob.Errored,
		[]qgjob.Outcome{qgjob.OutcomeFailed, qgjob.OutcomeErrored},
		2, []int{1},
	},
	{
		"cancelled while it ran",
		qgjob.Cancelled,
		[]qgjob.Outcome{qgjob.OutcomeFailed, qgjob.OutcomeCancelled},
		2, []int{1},
	},
	{
		"cancelled while it waited again",
		qgjob.Cancelled, []qgjob.Outcome{qgjob.OutcomeLost}, 1, nil,
	},
	{
		"runs for the second time",
		qgjob.Running,
		[]qgjob.Outcome{qgjob.OutcomeFailed, ""},
		2, []int{1},
	},
	{
		"only a late result",
		qgjob.Queued, []qgjob.Outcome{qgjob.OutcomeStale}, none, nil,
	},
}

// TestDeciding: which attempt a job's state rests on, and which ones went before it.
func TestDeciding(t *testing.T) {
	for _, test := range decisions {
		t.Run(test.name, func(t *testing.T) {
			j := JobReport{Job: job(1, "x.spec.js", "v1", test.status, "a1")}
			for i, outcome := range test.attempts {
				a := attempt(1, 1, "a1", outcome, float64(i), float64(i)+0.5)
				a.Number = i + 1
				j.Attempts = append(j.Attempts, a)
			}
			got := none
			if a := j.deciding(); a != nil {
				got = a.Number
			}
			if got != test.want {
				t.Errorf("attempt %d decides, want %d", got, test.want)
			}
			var earlier []int
			for _, a := range j.earlier() {
				earlier = append(earlier, a.Number)
			}
			if len(earlier) != len(test.earlier) {
				t.Fatalf("earlier %v, want %v", earlier, test.earlier)
			}
			for i := range earlier {
				if earlier[i] != test.earlier[i] {
					t.Errorf("earlier %v, want %v", earlier, test.earlier)
				}
			}
		})
	}
}

// TestFailedBefore: tests are the same test by file, project and title, whatever their line.
func TestFailedBefore(t *testing.T) {
	j := JobReport{Job: job(1, "x.spec.js", "v1", qgjob.Passed, "a1")}
	first, second := attempt(1, 1, "a1", qgjob.OutcomeFailed, 1, 2), attempt(1, 2, "a1", qgjob.OutcomePassed, 3, 4)
	one := qgjob.TestResult{File: "x.spec.js", Title: []string{"a", "b"}, Project: "p", Line: 3, Status: qgjob.TestFailed, Message: "first"}
	first.Tests = []qgjob.TestResult{one}
	j.Attempts = []qgjob.Attempt{first, second}
	before := j.failedBefore()

	same := one
	same.Line, same.Status, same.Message = 99, qgjob.TestPassed, ""
	if got := before[testKey(&same)]; got == nil || got.Message != "first" {
		t.Errorf("moved to another line: %+v", got)
	}
	for name, change := range map[string]func(*qgjob.TestResult){
		"another file":      func(r *qgjob.TestResult) { r.File = "y.spec.js" },
		"another project":   func(r *qgjob.TestResult) { r.Project = "q" },
		"another title":     func(r *qgjob.TestResult) { r.Title = []string{"a", "c"} },
		"titles run on":     func(r *qgjob.TestResult) { r.Title = []string{"ab"} },
		"titles joined":     func(r *qgjob.TestResult) { r.Title = []string{"a › b"} },
		"outer title alone": func(r *qgjob.TestResult) { r.Title = []string{"a"} },
	} {
		other := same
		change(&other)
		if got := before[testKey(&other)]; got != nil {
			t.Errorf("%s: taken for the same test", name)
		}
	}
}

func TestHeadlineOfJob(t *testing.T) {
	for _, test := range []struct {
		status  qgjob.JobState
		reason  qgjob.Reason
		message string
		want    string
	}{
		{qgjob.Failed, qgjob.ReasonAssertion, "cart: no\nmore", "cart: no"},
		{qgjob.Failed, qgjob.ReasonAssertion, "\n \n", "failed: assertion"},
		{qgjob.Cancelled, qgjob.ReasonCancelled, "", "cancelled"},
		{qgjob.Passed, "", "", "passed"},
		{qgjob.Assigned, "", "", "has not ended: assigned"},
		{qgjob.Queued, qgjob.ReasonAgentLost, "", "has not ended: queued"},
	} {
		j := JobReport{Job: qgjob.Job{Status: test.status, Reason: test.reason, Message: test.message}}
		if got := j.headline(); got != test.want {
			t.Errorf("%s(%s) %q: %q, want %q", test.status, test.reason, test.message, got, test.want)
		}
	}
}

func TestHeadlineOfFlakyJob(t *testing.T) {
	_, jobs := sampleRun()
	if got, want := jobs[1].headline(), "passed only after a retry; before that: login › keeps me signed in: Test timeout of 5000ms exceeded."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	jobs[1].Attempts = nil
	if got, want := jobs[1].headline(), "passed only after a retry"; got != want {
		t.Errorf("without its attempts: %q, want %q", got, want)
	}
}

func TestTook(t *testing.T) {
	early := submitted.Add(-time.Second)
	for _, test := range []struct {
		end  *time.Time
		want time.Duration
	}{{nil, 0}, {after(2.5), 2500 * time.Millisecond}, {&early, 0}} {
		if got := took(qgjob.Run{SubmittedAt: submitted, FinishedAt: test.end}); got != test.want {
			t.Errorf("%v: %s, want %s", test.end, got, test.want)
		}
	}
}
