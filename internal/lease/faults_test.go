package lease_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

// story is one job from its submission on, told by what happens to it. Each
// step fails the test when the protocol refuses it.
type story struct {
	*testing.T
	job      lease.Job
	now      time.Time
	attempts map[qgjob.LeaseID]lease.Attempt
	finished int
}

func newStory(t *testing.T, attempts int, timeout time.Duration) *story {
	return &story{T: t, now: at, attempts: map[qgjob.LeaseID]lease.Attempt{},
		job: lease.Job{State: qgjob.Queued, MaxTestAttempts: attempts, Timeout: timeout}}
}

func (s *story) took(c lease.Change, err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
	s.job = c.Job
	if e := c.Attempt; e != nil {
		a := s.attempts[e.LeaseID]
		a.Outcome = e.Outcome
		s.attempts[e.LeaseID] = a
	}
	if c.Event == qgjob.EventJobFinished {
		s.finished++
	}
}

func (s *story) offer(id qgjob.LeaseID, agent qgjob.AgentID) {
	s.Helper()
	c, err := lease.Offer(s.job, id, agent, 1, s.now)
	s.took(c, err)
	s.attempts[id] = lease.Attempt{LeaseID: id}
}

func (s *story) start(id qgjob.LeaseID) {
	s.Helper()
	c, answer, err := lease.Start(s.job, id, s.now)
	s.took(c, err)
	if answer != qgjob.LeaseOK {
		s.Fatalf("start of %s: %s", id, answer)
	}
}

func (s *story) expire() {
	s.Helper()
	c, err := lease.Expire(s.job, s.job.LeaseID, s.job.LeaseVer, s.now)
	s.took(c, err)
}

func (s *story) cancel() {
	s.Helper()
	c, err := lease.Cancel(s.job, qgjob.ReasonCancelled, "")
	s.took(c, err)
}

// complete says whether a result was taken.
func (s *story) complete(id qgjob.LeaseID, o qgjob.Outcome) error {
	s.Helper()
	digest := string(id) + " " + string(o)
	c, err := lease.Complete(s.job, s.attempts[id], lease.Result{Outcome: o, Digest: digest}, s.now, 0.5)
	if err != nil {
		return err
	}
	s.took(c, nil)
	a := s.attempts[id]
	a.Digest = digest
	s.attempts[id] = a
	return nil
}

func (s *story) completes(id qgjob.LeaseID, o qgjob.Outcome) {
	s.Helper()
	if err := s.complete(id, o); err != nil {
		s.Fatal(err)
	}
}

// refused wants a result to be refused as stale and the job to stay.
func (s *story) refused(id qgjob.LeaseID, o qgjob.Outcome) {
	s.Helper()
	before := s.job
	if err := s.complete(id, o); qgjob.CodeOf(err) != qgjob.CodeStaleLease || s.job != before {
		s.Errorf("%s of lease %s was not refused: %v, job %s", o, id, err, s.job.State)
	}
}

func (s *story) is(state qgjob.JobState) {
	s.Helper()
	if s.job.State != state {
		s.Fatalf("job is %s (%s: %s), want %s", s.job.State, s.job.Reason, s.job.Message, state)
	}
}

func TestFault_StuckTimeoutShorterThanATestRerunsItForEver(t *testing.T) {
	s := newStory(t, 1, 24*time.Hour)
	s.offer("1", "a")
	s.start("1")
	w := lease.NewWatch(lease.DefaultTTL)
	for second := range 12 * 3600 { // half a day of test, renewed every 5 s
		s.now = at.Add(time.Duration(second) * time.Second)
		if second%5 == 0 {
			s.job, _ = lease.Renew(s.job, "1")
		}
		if got := w.Observe([]lease.Held{{LeaseID: "1", Ver: s.job.LeaseVer, Started: true}}, s.now); got != nil {
			t.Fatalf("a living test was given up after %s", s.now.Sub(at))
		}
		if _, err := lease.Timeout(s.job, "1", s.now); err == nil {
			t.Fatalf("a test was timed out after %s of its 24 h", s.now.Sub(at))
		}
	}
	s.completes("1", qgjob.OutcomePassed)
	s.is(qgjob.Passed)
	if s.job.Starts != 1 {
		t.Errorf("started %d times", s.job.Starts)
	}
}

func TestFault_FixedSixtySecondsPerTest(t *testing.T) {
	for _, limit := range []time.Duration{qgjob.MinTimeout, time.Minute, qgjob.DefaultTimeout, qgjob.MaxTimeout} {
		s := newStory(t, 1, limit)
		s.offer("1", "a")
		s.now = at.Add(time.Hour) // what an offer waits behind others counts not
		s.start("1")
		end := s.now.Add(limit + qgjob.InstallAllowance)
		if _, err := lease.Timeout(s.job, "1", end.Add(-1)); err == nil {
			t.Errorf("%s: timed out before %s", limit, end.Sub(s.now))
		}
		c, err := lease.Timeout(s.job, "1", end)
		s.took(c, err)
		s.is(qgjob.Failed)
		if s.job.Reason != qgjob.ReasonTimeout || !strings.Contains(s.job.Message, "agent a") || !strings.Contains(s.job.Message, limit.String()) {
			t.Errorf("%s: %s: %s", limit, s.job.Reason, s.job.Message)
		}
	}
}

func TestFault_CancelledJobIsRecordedAsFailedOrCompletedLater(t *testing.T) {
	for _, o := range []qgjob.Outcome{qgjob.OutcomePassed, qgjob.OutcomeFailed, qgjob.OutcomeErrored, qgjob.OutcomeCancelled, qgjob.OutcomeInterrupted} {
		t.Run(string(o)+" while cancelling", func(t *testing.T) {
			s := newStory(t, 3, time.Hour)
			s.offer("1", "a")
			s.start("1")
			s.cancel()
			s.is(qgjob.Cancelling)
			s.completes("1", o)
			s.is(qgjob.Cancelled)
			s.completes("1", o) // its repetition
			s.refused("1", qgjob.OutcomePassed+" again")
			s.is(qgjob.Cancelled)
		})
		t.Run(string(o)+" after it was cancelled", func(t *testing.T) {
			s := newStory(t, 3, time.Hour)
			s.offer("1", "a")
			s.start("1")
			s.cancel()
			s.expire()
			s.is(qgjob.Cancelled)
			s.refused("1", o)
		})
		t.Run(string(o)+" late, cancelled while it waited", func(t *testing.T) {
			s := newStory(t, 3, time.Hour)
			s.offer("1", "a")
			s.start("1")
			s.expire()
			s.cancel()
			s.is(qgjob.Cancelled)
			s.refused("1", o)
		})
	}
}

func TestFault_CancelledJobKeepsRunning(t *testing.T) {
	s := newStory(t, 3, time.Hour)
	s.offer("1", "a")
	s.start("1")
	s.cancel()
	if j, answer := lease.Renew(s.job, "1"); answer != qgjob.LeaseCancel || j.State != qgjob.Cancelling {
		t.Errorf("the next renewal of a cancelled test is answered %s", answer)
	}
	// An agent that renews for ever and does not obey ends by the server's own limit.
	c, err := lease.Timeout(s.job, "1", lease.Deadline(s.job))
	s.took(c, err)
	s.is(qgjob.Cancelled)
}

func TestFault_CancelledOfferIsStillStarted(t *testing.T) {
	s := newStory(t, 3, time.Hour)
	s.offer("1", "a")
	s.cancel()
	c, answer, err := lease.Start(s.job, "1", s.now)
	if err != nil || answer != qgjob.LeaseCancel || c.Job.Starts != 0 {
		t.Errorf("answer %s, %d starts, %v", answer, c.Job.Starts, err)
	}
}

func TestFault_LockReleasedByWhoNoLongerHoldsIt(t *testing.T) {
	s := newStory(t, 3, time.Hour)
	s.offer("1", "a")
	s.expire() // an offer that agent a never took
	s.offer("2", "b")
	for _, running := range []bool{false, true} {
		if running {
			s.start("2")
		}
		before := s.job
		if _, err := lease.Release(s.job, "1", qgjob.ReasonAgentReturned, s.now); qgjob.CodeOf(err) != qgjob.CodeStaleLease {
			t.Errorf("release by the former holder: %v", err)
		}
		if _, err := lease.Expire(s.job, "1", s.job.LeaseVer, s.now); qgjob.CodeOf(err) != qgjob.CodeStaleLease {
			t.Errorf("expiry of the former lease: %v", err)
		}
		if j, answer := lease.Renew(s.job, "1"); answer != qgjob.LeaseStale || j != before {
			t.Errorf("renewal by the former holder: %s", answer)
		}
		s.refused("1", qgjob.OutcomeInterrupted)
		s.refused("1", qgjob.OutcomePassed)
	}
	s.completes("2", qgjob.OutcomePassed)
}

func TestFault_FinishedJobsRunAgain(t *testing.T) {
	for _, end := range []qgjob.Outcome{qgjob.OutcomePassed, qgjob.OutcomeFailed} {
		s := newStory(t, 1, time.Hour)
		s.offer("1", "a")
		s.start("1")
		s.completes("1", end)
		done := s.job
		if _, err := lease.Offer(s.job, "2", "b", 1, s.now.Add(time.Hour)); qgjob.KindOf(err) != qgjob.KindConflict {
			t.Errorf("%s: offered again: %v", end, err)
		}
		if _, _, err := lease.Start(s.job, "1", s.now); qgjob.CodeOf(err) != qgjob.CodeStaleLease {
			t.Errorf("%s: started again: %v", end, err)
		}
		if _, err := lease.Expire(s.job, "1", s.job.LeaseVer, s.now); err == nil {
			t.Errorf("%s: expired after its end", end)
		}
		s.completes("1", end)
		if s.job != done || s.finished != 1 {
			t.Errorf("%s: told %d times, changed %t", end, s.finished, s.job != done)
		}
	}
}

func TestFault_TwoAgentsHoldOneJob(t *testing.T) {
	s := newStory(t, 1, time.Hour)
	s.offer("1", "a")
	for _, started := range []bool{false, true} {
		if started {
			s.start("1")
		}
		if _, err := lease.Offer(s.job, "2", "b", 1, s.now); qgjob.KindOf(err) != qgjob.KindConflict {
			t.Errorf("given twice (started: %t): %v", started, err)
		}
	}
}

func TestFault_ClaimedWorkOfADeadMachineIsNeverIssuedAgain(t *testing.T) {
	s := newStory(t, 1, time.Hour)
	for n := 1; n < qgjob.MaxInfraFails; n++ {
		id := qgjob.LeaseID(fmt.Sprint(n))
		s.offer(id, "a")
		s.start(id)
		s.expire()
		s.is(qgjob.Queued)
		if s.job.AvoidAgent != "a" || !s.job.AvoidUntil.Equal(s.now.Add(lease.AvoidFor)) || s.job.ReadyAt.After(s.now) {
			t.Errorf("loss %d: avoids %q, ready in %s", n, s.job.AvoidAgent, s.job.ReadyAt.Sub(s.now))
		}
	}
	s.offer("9", "b")
	s.start("9")
	s.completes("9", qgjob.OutcomePassed)
	s.is(qgjob.Passed)
	if s.job.Flaky || s.job.TestAttempts != 0 {
		t.Error("a lost agent was taken for a failed test")
	}
}

func TestFault_WorkerTakesTheQueueAndDies(t *testing.T) {
	s := newStory(t, 1, time.Hour)
	for n := range 20 { // far more than any budget
		s.offer(qgjob.LeaseID(fmt.Sprint(n)), "a")
		s.expire()
		s.is(qgjob.Queued)
	}
	if s.job.InfraFails != 0 || s.job.TestAttempts != 0 || s.job.Starts != 0 {
		t.Errorf("offers that never started burnt %d, %d, %d", s.job.InfraFails, s.job.TestAttempts, s.job.Starts)
	}
}

func TestFault_DeadBatchThrowsAwayItsFinishedResults(t *testing.T) {
	s := newStory(t, 1, time.Hour)
	s.offer("1", "a")
	s.start("1")
	s.expire()
	s.now = s.now.Add(23 * time.Hour) // the agent kept its result on disk
	s.completes("1", qgjob.OutcomePassed)
	s.is(qgjob.Passed)
	if s.job.InfraFails != 0 || s.job.DoneLease != "1" || s.job.Reason != qgjob.ReasonNone || s.job.Message != "" {
		t.Errorf("%+v", s.job)
	}
}

func TestFault_SecondServerResetsTheRunningJobsOfTheFirst(t *testing.T) {
	held := []lease.Held{{LeaseID: "1", Ver: 40, Started: true}, {LeaseID: "2", Ver: 0}}
	for range 100 { // a hundred servers that start and die
		if got := lease.NewWatch(lease.DefaultTTL).Observe(held, at.Add(100*time.Hour)); got != nil {
			t.Fatalf("a server that just started expired %+v", got)
		}
	}
}

func TestFault_RunnerErrorOrTimeoutSwallowedIntoCompleted(t *testing.T) {
	for _, test := range []struct {
		result lease.Result
		state  qgjob.JobState
		reason qgjob.Reason
	}{
		{lease.Result{Outcome: qgjob.OutcomeErrored}, qgjob.Queued, qgjob.ReasonSetup},
		{lease.Result{Outcome: qgjob.OutcomeErrored, Reason: qgjob.ReasonNoReport}, qgjob.Queued, qgjob.ReasonNoReport},
		{lease.Result{Outcome: qgjob.OutcomeFailed}, qgjob.Failed, qgjob.ReasonAssertion},
		{lease.Result{Outcome: qgjob.OutcomeFailed, Reason: qgjob.ReasonTimeout}, qgjob.Failed, qgjob.ReasonTimeout},
		{lease.Result{Outcome: qgjob.OutcomeInterrupted}, qgjob.Queued, qgjob.ReasonAgentReturned},
		{lease.Result{Outcome: "pass"}, qgjob.Queued, qgjob.ReasonAgentReturned},
		{lease.Result{}, qgjob.Queued, qgjob.ReasonAgentReturned},
	} {
		s := newStory(t, 1, time.Hour)
		s.offer("1", "a")
		s.start("1")
		test.result.Digest, test.result.Message = "digest", "what the agent says"
		c, err := lease.Complete(s.job, s.attempts["1"], test.result, s.now, 0)
		s.took(c, err)
		if s.job.State != test.state || s.job.Reason != test.reason || s.job.Message != "what the agent says" {
			t.Errorf("%+v made the job %s, %s: %s", test.result, s.job.State, s.job.Reason, s.job.Message)
		}
	}
}

// TestFault_LiveAttemptLostToTheSweepOfItsOffer: the sweep saw an offer that
// nobody had heard of; its start came before the sweep's write. The start was
// acknowledged, so the test runs, and must not be taken for lost.
func TestFault_LiveAttemptLostToTheSweepOfItsOffer(t *testing.T) {
	s := newStory(t, 1, time.Hour)
	s.offer("1", "a")
	w := lease.NewWatch(3 * time.Second)
	var expired []lease.Held
	for i := range 11 {
		expired = w.Observe([]lease.Held{{LeaseID: "1", Ver: s.job.LeaseVer}}, at.Add(time.Duration(i)*100*time.Millisecond))
	}
	if len(expired) != 1 {
		t.Fatalf("expired %+v", expired)
	}
	s.start("1")
	if c, err := lease.Expire(s.job, "1", expired[0].Ver, s.now); qgjob.CodeOf(err) != qgjob.CodeStaleLease {
		t.Errorf("the attempt that just started became %s (%s)", c.Job.State, c.Job.Message)
	}
}

// TestFault_PoisonBlamedOnAgentsAlone: the budget is of infrastructure in
// general, so what ends it may not claim that an agent was lost each time.
func TestFault_PoisonBlamedOnAgentsAlone(t *testing.T) {
	s := newStory(t, 1, time.Hour)
	for _, id := range []qgjob.LeaseID{"1", "2"} {
		s.offer(id, "a")
		s.start(id)
		s.completes(id, qgjob.OutcomeErrored)
	}
	s.offer("3", "b")
	s.start("3")
	s.expire()
	s.is(qgjob.Errored)
	want := "infrastructure broke 3 attempts; the last: agent b was not heard of any more"
	if s.job.Reason != qgjob.ReasonPoison || s.job.Message != want {
		t.Errorf("%s: %q, want %q", s.job.Reason, s.job.Message, want)
	}
}

// TestFault_RunningJobStillTellsWhyItWaited: what was said of the wait ends
// with the wait.
func TestFault_RunningJobStillTellsWhyItWaited(t *testing.T) {
	s := newStory(t, 2, time.Hour)
	s.offer("1", "a")
	s.start("1")
	s.expire()
	if s.job.Reason != qgjob.ReasonAgentLost || s.job.Message == "" {
		t.Fatalf("%s: %q", s.job.Reason, s.job.Message)
	}
	s.offer("2", "b")
	if s.job.Reason != qgjob.ReasonNone || s.job.Message != "" {
		t.Errorf("assigned, and still %s: %q", s.job.Reason, s.job.Message)
	}
}

// TestRefusalsTellTheNextStep: who is refused learns what to do.
func TestRefusalsTellTheNextStep(t *testing.T) {
	s := newStory(t, 1, time.Hour)
	s.offer("1", "a")
	err := s.complete("1", qgjob.OutcomePassed)
	if want := "lease 1 was never started (start it before completing it)"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	_, _, err = lease.Start(s.job, "2", s.now)
	if want := "lease 2 is not the job's current one (stop the test and claim again)"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	s.start("1")
	s.completes("1", qgjob.OutcomePassed)
	if _, err = lease.Cancel(s.job, qgjob.ReasonCancelled, ""); err == nil || err.Error() != "the job has ended already: passed" {
		t.Errorf("%v", err)
	}
}

// TestDefences: guards against records that the transitions themselves never
// write, but a database edited by hand could hold.
func TestDefences(t *testing.T) {
	waits := lease.Job{State: qgjob.Queued, CancelRequested: true, MaxTestAttempts: 1}
	if _, err := lease.Offer(waits, next, "a", 1, at); qgjob.KindOf(err) != qgjob.KindConflict {
		t.Errorf("a job whose cancel was asked for was given: %v", err)
	}
	waits = lease.Job{State: qgjob.Queued, LeaseID: cur, MaxTestAttempts: 1}
	for _, o := range []qgjob.Outcome{"", qgjob.OutcomeReleased, qgjob.OutcomeInterrupted, qgjob.OutcomeFailed, qgjob.OutcomeStale} {
		a := lease.Attempt{LeaseID: cur, Outcome: o}
		if c, err := lease.Complete(waits, a, lease.Result{Outcome: qgjob.OutcomePassed, Digest: "d"}, at, 0); qgjob.CodeOf(err) != qgjob.CodeStaleLease {
			t.Errorf("an attempt that was %q, not lost, made a waiting job %s: %v", o, c.Job.State, err)
		}
	}
}
