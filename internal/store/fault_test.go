package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
	"github.com/qualgent/qgjob/internal/store"
)

// Each test here is named after a fault that others have, and proves the store
// free of it.

// shop is a store with short words for what the tests below do.
type shop struct {
	testing.TB
	*store.Store
	dir    string
	claims int
}

func openShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{TB: t, dir: database(t)}
	s.open()
	t.Cleanup(func() { _ = s.Store.Close() })
	return s
}

func (s *shop) open() {
	s.Helper()
	var err error
	if s.Store, err = store.Open(context.Background(), s.dir, store.Options{Alone: true}); err != nil {
		s.Fatal(err)
	}
}

func (s *shop) restart() {
	s.Helper()
	s.must(s.Store.Close())
	s.open()
}

func (s *shop) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *shop) submit(version string, n, priority int) []qgjob.JobID {
	s.Helper()
	req := qgjob.SubmitRequest{OrgID: "acme"}
	for i := range n {
		req.Jobs = append(req.Jobs, qgjob.JobSpec{AppVersionID: qgjob.AppVersionID(version), TestPath: fmt.Sprintf("tests/%d.spec.js", i), Target: "emulator", Priority: priority})
	}
	resp, err := s.Submit(context.Background(), "", req)
	s.must(err)
	return resp.JobIDs
}

func (s *shop) agent(id qgjob.AgentID, incarnation int64) {
	s.Helper()
	_, err := s.Register(context.Background(), id, qgjob.RegisterRequest{Incarnation: incarnation, Target: "emulator", Runner: "exec"})
	s.must(err)
}

func (s *shop) claim(id qgjob.AgentID, limit int) []qgjob.Offer {
	s.Helper()
	s.claims++
	a, err := s.Agent(context.Background(), id)
	s.must(err)
	resp, err := s.Claim(context.Background(), id, qgjob.ClaimRequest{Incarnation: a.Incarnation, ClaimID: fmt.Sprintf("claim-%04d", s.claims), Max: limit})
	s.must(err)
	return resp.Offers
}

func (s *shop) start(o qgjob.Offer) {
	s.Helper()
	_, err := s.Start(context.Background(), o.LeaseID, qgjob.StartRequest{AgentID: o.Job.AgentID, Incarnation: 1})
	s.must(err)
}

func (s *shop) finish(o qgjob.Offer, outcome qgjob.Outcome) error {
	_, err := s.Complete(context.Background(), o.LeaseID, qgjob.CompleteRequest{AgentID: o.Job.AgentID, Incarnation: 1, Outcome: outcome, Digest: "digest-" + string(outcome)})
	return err
}

// drain runs everything that an agent gets, and gives its order.
func (s *shop) drain(id qgjob.AgentID) (order []qgjob.JobID) {
	s.Helper()
	for offers := s.claim(id, 1); len(offers) > 0; offers = s.claim(id, 1) {
		s.start(offers[0])
		s.must(s.finish(offers[0], qgjob.OutcomePassed))
		order = append(order, offers[0].Job.JobID)
	}
	return order
}

func (s *shop) state(id qgjob.JobID) qgjob.JobState {
	s.Helper()
	j, err := s.Job(context.Background(), id)
	s.must(err)
	return j.Status
}

// sweep lets the store's leases be swept for a time as the server does.
func (s *shop) sweep(for_ time.Duration) {
	s.Helper()
	w := lease.NewWatch(s.LeaseTTL())
	for end := time.Now().Add(for_); time.Now().Before(end); time.Sleep(lease.SweepEvery(s.LeaseTTL())) {
		list, err := s.Held(context.Background())
		s.must(err)
		held := make([]lease.Held, len(list))
		for i, h := range list {
			held[i] = h.Held
		}
		for _, h := range w.Observe(held, time.Now()) {
			_, err := s.Expire(context.Background(), h)
			s.must(err)
		}
	}
}

func (s *shop) want(what string, got, want any) {
	s.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.Errorf("%s: %v; wanted %v", what, got, want)
	}
}

func TestFault_ARestartLosesTheQueueAndItsNumbersBeginAgain(t *testing.T) {
	s := openShop(t)
	s.agent("a1", 1)
	s.submit("v1", 3, 1)
	s.want("before", s.drain("a1"), "[job_1 job_2 job_3]")
	s.submit("v1", 1, 1)
	s.restart()
	s.want("new ids", s.submit("v1", 1, 1), "[job_5]")
	s.want("old id", s.state(1), qgjob.Passed)
	s.want("what waited", s.drain("a1"), "[job_4 job_5]")
}

func TestFault_AWorkerTakesTheWholeQueueAndDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openShop(t)
		defer func() { _ = s.Store.Close() }()
		s.agent("dies", 1)
		s.agent("lives", 1)
		s.submit("v1", 20, 1)
		batch := s.claim("dies", 64)
		s.want("taken: its half, not the whole queue", len(batch), 10)
		s.start(batch[0])
		s.must(s.finish(batch[0], qgjob.OutcomePassed)) // a dead batch keeps its finished results
		s.start(batch[1])
		s.sweep(2 * s.LeaseTTL())
		s.want("given to another", len(s.drain("lives")), 19)
		s.want("finished before the death", s.state(batch[0].Job.JobID), qgjob.Passed)
		run, err := s.Run(context.Background(), 1)
		s.must(err)
		s.want("conclusion", run.Conclusion, qgjob.ConclusionPassed)
		a, err := s.Agent(context.Background(), "dies")
		s.must(err)
		if a.JobID != nil {
			t.Errorf("the dead agent is busy for ever: %+v", a)
		}
	})
}

func TestFault_NoFreeDeviceFailsTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openShop(t)
		defer func() { _ = s.Store.Close() }()
		s.submit("v1", 1, 1)
		time.Sleep(72 * time.Hour)
		s.sweep(time.Minute)
		_, err := s.WakeDelayed(context.Background())
		s.must(err)
		s.want("after three days without a device", s.state(1), qgjob.Queued)
		s.agent("a1", 1)
		s.want("then", s.drain("a1"), "[job_1]")
	})
}

func TestFault_AStuckTimeoutShorterThanATestRunsItForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openShop(t)
		defer func() { _ = s.Store.Close() }()
		s.agent("a1", 1)
		s.submit("v1", 1, 1)
		o := s.claim("a1", 1)[0]
		s.start(o)
		for range 40 { // 20 minutes, every 30 s a sign of life
			s.sweep(s.LeaseTTL() - time.Second)
			_, err := s.Renew(context.Background(), "a1", qgjob.RenewRequest{Incarnation: 1, Leases: []qgjob.LeaseID{o.LeaseID}})
			s.must(err)
		}
		s.want("long test", s.state(1), qgjob.Running)
		s.must(s.finish(o, qgjob.OutcomePassed))
		list, err := s.Attempts(context.Background(), 1)
		s.must(err)
		s.want("attempts", len(list), 1)
	})
}

func TestFault_AJobThatArrivesWhileItsGroupFinishesIsLost(t *testing.T) {
	s := openShop(t)
	s.agent("a1", 1)
	for range 30 {
		s.submit("v1", 1, 1)
		o := s.claim("a1", 1)[0]
		s.start(o)
		var wg sync.WaitGroup
		wg.Go(func() { s.must(s.finish(o, qgjob.OutcomePassed)) })
		wg.Go(func() { s.submit("v1", 1, 1) })
		wg.Wait()
		s.want("joined", len(s.drain("a1")), 1)
	}
}

func TestFault_JobsThatJoinAnAssignedGroupAreNeverScheduled(t *testing.T) {
	s := openShop(t)
	s.agent("a1", 1)
	s.must(s.Assign(context.Background(), "a1", "v1"))
	s.submit("v1", 1, 1)
	o := s.claim("a1", 1)[0]
	s.start(o)
	s.submit("v1", 2, 1)
	s.must(s.finish(o, qgjob.OutcomePassed))
	s.want("those that joined", s.drain("a1"), "[job_2 job_3]")
}

func TestFault_FinishedJobsRunAgainWithNewJobsOfTheirGroup(t *testing.T) {
	s := openShop(t)
	s.agent("a1", 1)
	s.submit("v1", 3, 1)
	s.drain("a1")
	s.submit("v1", 1, 1)
	s.want("new ones only", s.drain("a1"), "[job_4]")
}

func TestFault_IDsByTheSecondOverwriteEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no time passes at all
		s := openShop(t)
		defer func() { _ = s.Store.Close() }()
		seen := map[qgjob.JobID]bool{}
		for range 50 {
			for _, id := range s.submit("v1", 2, 1) {
				if seen[id] {
					t.Fatalf("%s was given twice", id)
				}
				seen[id] = true
			}
		}
	})
}

func TestFault_JobTenComesBeforeJobEight(t *testing.T) {
	s := openShop(t)
	s.agent("a1", 1)
	for range 11 {
		s.submit("v1", 1, 5) // equal priorities: the order of submission breaks the tie
	}
	s.want("order", s.drain("a1"), "[job_1 job_2 job_3 job_4 job_5 job_6 job_7 job_8 job_9 job_10 job_11]")
}

func TestFault_HighPriorityMeansLowWeight(t *testing.T) {
	s := openShop(t)
	s.agent("a1", 1)
	for _, p := range []int{1, 10, 5} {
		s.submit("v1", 1, p)
	}
	s.want("order", s.drain("a1"), "[job_2 job_3 job_1]")
}

func TestFault_AHeadThatFitsNoAgentHidesThoseThatWould(t *testing.T) {
	s := openShop(t)
	s.agent("a1", 1)
	for _, requires := range []map[string]string{{"os": "99"}, nil} {
		_, err := s.Submit(context.Background(), "", qgjob.SubmitRequest{OrgID: "acme", Jobs: []qgjob.JobSpec{
			{AppVersionID: "v1", TestPath: "tests/a.js", Target: "emulator", Priority: 10, Requires: requires}}})
		s.must(err)
	}
	_, err := s.Submit(context.Background(), "", qgjob.SubmitRequest{OrgID: "acme", Jobs: []qgjob.JobSpec{{AppVersionID: "v1", TestPath: "tests/a.js", Target: "device", Priority: 10}}})
	s.must(err)
	s.want("what fits", s.drain("a1"), "[job_2]")
}

func TestFault_SelectThenUpdateGivesAJobTwice(t *testing.T) {
	s := openShop(t)
	const agents = 16
	s.submit("v1", 1, 1)
	for i := range agents {
		s.agent(qgjob.AgentID(fmt.Sprintf("a%d", i)), 1)
	}
	offers := make([]int, agents)
	var wg sync.WaitGroup
	for i := range agents {
		wg.Go(func() {
			resp, err := s.Claim(context.Background(), qgjob.AgentID(fmt.Sprintf("a%d", i)), qgjob.ClaimRequest{Incarnation: 1, ClaimID: "claim-one"})
			if err != nil {
				t.Error(err)
			}
			offers[i] = len(resp.Offers)
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range offers {
		sum += n
	}
	s.want("offers of one job", sum, 1)
}

func TestFault_AnotherServersStartResetsWhatRuns(t *testing.T) {
	s := openShop(t)
	s.agent("a1", 1)
	s.submit("v1", 1, 1)
	o := s.claim("a1", 1)[0]
	s.start(o)
	if other, err := store.Open(context.Background(), s.dir, store.Options{}); err == nil {
		_ = other.Close()
		t.Error("a second server opened the same data")
	}
	s.want("while it tried", s.state(1), qgjob.Running)
	s.restart()
	s.want("after a restart", s.state(1), qgjob.Running)
	s.must(s.finish(o, qgjob.OutcomePassed))
}

func TestFault_ALockIsReleasedByWhoNoLongerHoldsIt(t *testing.T) {
	s := openShop(t)
	s.agent("a1", 1)
	s.agent("a2", 1)
	s.submit("v1", 1, 1)
	old := s.claim("a1", 1)[0]
	_, err := s.Renew(context.Background(), "a1", qgjob.RenewRequest{Incarnation: 1}) // lost its offer
	s.must(err)
	o := s.claim("a2", 1)[0]
	s.start(o)
	if err := s.finish(old, qgjob.OutcomeInterrupted); qgjob.CodeOf(err) != qgjob.CodeStaleLease {
		t.Errorf("the old holder gave the job back: %v", err)
	}
	s.want("the new holder's job", s.state(1), qgjob.Running)
}

func TestFault_OneVerdictForAWholeBatch(t *testing.T) {
	s := openShop(t)
	s.agent("a1", 1)
	s.submit("v1", 3, 1)
	for i, o := range s.claim("a1", 3) {
		s.start(o)
		s.must(s.finish(o, []qgjob.Outcome{qgjob.OutcomePassed, qgjob.OutcomeFailed, qgjob.OutcomePassed}[i]))
	}
	s.want("verdicts", fmt.Sprint(s.state(1), s.state(2), s.state(3)), fmt.Sprint(qgjob.Passed, qgjob.Failed, qgjob.Passed))
	run, err := s.Run(context.Background(), 1)
	s.must(err)
	s.want("conclusion", run.Conclusion, qgjob.ConclusionFailed)
}

func TestFault_ACancelledJobIsRecordedAsCompletedLater(t *testing.T) {
	s := openShop(t)
	s.agent("a1", 1)
	s.submit("v1", 1, 1)
	o := s.claim("a1", 1)[0]
	s.start(o)
	_, err := s.CancelJob(context.Background(), 1)
	s.must(err)
	s.must(s.finish(o, qgjob.OutcomePassed))
	s.want("state", s.state(1), qgjob.Cancelled)
}

func TestFault_OneGroupAtATimeForTheWholeSystem(t *testing.T) {
	s := openShop(t)
	s.agent("a1", 1)
	s.agent("a2", 1)
	s.submit("v1", 2, 1)
	s.submit("v2", 2, 1)
	one, two := s.claim("a1", 1), s.claim("a2", 1)
	if len(one) != 1 || len(two) != 1 || one[0].Job.GroupID == two[0].Job.GroupID {
		t.Errorf("two agents, two groups: %+v %+v", one, two)
	}
}

func TestFault_ATestPathBecomesAnOptionOrLeavesItsProject(t *testing.T) {
	s := openShop(t)
	for _, path := range []string{"", "-rf", "--config=evil.js", "tests/--config=evil.js", "../x", "tests/../../x", "/etc/passwd", "a\x00b", `a\b`, "tests//x", "./x", "C:x", " x"} {
		_, err := s.Submit(context.Background(), "", qgjob.SubmitRequest{OrgID: "acme", Jobs: []qgjob.JobSpec{{AppVersionID: "v1", TestPath: path, Target: "emulator"}}})
		if qgjob.KindOf(err) != qgjob.KindInvalid {
			t.Errorf("test_path %q: %v", path, err)
		}
	}
}

func TestFault_AnyTargetAndEmptyStringsAreAccepted(t *testing.T) {
	s := openShop(t)
	good := qgjob.JobSpec{AppVersionID: "v1", TestPath: "tests/a.js", Target: "emulator"}
	for name, spoil := range map[string]func(*qgjob.SubmitRequest){
		"target":   func(r *qgjob.SubmitRequest) { r.Jobs[0].Target = "toaster" },
		"no jobs":  func(r *qgjob.SubmitRequest) { r.Jobs = nil },
		"org":      func(r *qgjob.SubmitRequest) { r.OrgID = "" },
		"version":  func(r *qgjob.SubmitRequest) { r.Jobs[0].AppVersionID = "" },
		"priority": func(r *qgjob.SubmitRequest) { r.Jobs[0].Priority = 11 },
		"timeout":  func(r *qgjob.SubmitRequest) { r.Jobs[0].TimeoutS = -1 },
	} {
		req := qgjob.SubmitRequest{OrgID: "acme", Jobs: []qgjob.JobSpec{good}}
		spoil(&req)
		if _, err := s.Submit(context.Background(), "", req); qgjob.KindOf(err) != qgjob.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFault_StoredTextIsRunAsCode(t *testing.T) {
	s := openShop(t)
	s.agent("a1", 1)
	evil := `'); DROP TABLE jobs; --"${1+1}<script>`
	_, err := s.Submit(context.Background(), evil, qgjob.SubmitRequest{OrgID: qgjob.OrgID(evil), Labels: map[string]string{"x": evil},
		Jobs: []qgjob.JobSpec{{AppVersionID: qgjob.AppVersionID(evil), TestPath: "tests/" + evil, Target: "emulator", Requires: nil}}})
	s.must(err)
	list, err := s.Jobs(context.Background(), qgjob.JobFilter{OrgID: qgjob.OrgID(evil)})
	s.must(err)
	if len(list) != 1 || list[0].TestPath != "tests/"+evil || string(list[0].AppVersionID) != evil {
		t.Errorf("%+v", list)
	}
	s.want("runs", s.drain("a1"), "[job_1]")
}

func TestFault_SavingsComeFromConstants(t *testing.T) {
	s := openShop(t)
	s.agent("a1", 1)
	s.submit("v1", 4, 1)
	for i := range 4 {
		o := s.claim("a1", 1)[0]
		s.start(o)
		req := qgjob.CompleteRequest{AgentID: "a1", Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1", Install: qgjob.InstallAvoided}
		if i == 0 {
			req.Install, req.InstallMS = qgjob.InstallDone, 4321
		}
		_, err := s.Complete(context.Background(), o.LeaseID, req)
		s.must(err)
	}
	run, err := s.Run(context.Background(), 1)
	s.must(err)
	s.want("counted", fmt.Sprint(run.Installs, run.InstallsAvoided, run.InstallMS), "1 3 4321")
}
