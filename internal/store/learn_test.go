package store

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
)

// school is a store with one agent of each target that does what it is told.
type school struct {
	testing.TB
	*Store
	claims int
}

func openSchool(t testing.TB) *school {
	s := &school{TB: t, Store: openTest(t, Options{})}
	for _, target := range []qgjob.Target{qgjob.TargetEmulator, qgjob.TargetDevice} {
		_, err := s.Register(context.Background(), qgjob.AgentID(target), qgjob.RegisterRequest{Incarnation: 1, Target: target, Runner: "exec"})
		s.ok(err)
	}
	return s
}

func (s *school) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *school) submit(org qgjob.OrgID, version, path string, target qgjob.Target) qgjob.JobID {
	s.Helper()
	resp, err := s.Submit(context.Background(), "", qgjob.SubmitRequest{OrgID: org, Jobs: []qgjob.JobSpec{
		{AppVersionID: qgjob.AppVersionID(version), TestPath: path, Target: target}}})
	s.ok(err)
	return resp.JobIDs[0]
}

// attempt submits one job and ends it with the result given.
func (s *school) attempt(org qgjob.OrgID, version, path string, target qgjob.Target, result qgjob.CompleteRequest) {
	s.Helper()
	ctx := context.Background()
	want := s.submit(org, version, path, target)
	agent := qgjob.AgentID(target)
	s.claims++
	got, err := s.Claim(ctx, agent, qgjob.ClaimRequest{Incarnation: 1, ClaimID: fmt.Sprintf("claim-%06d", s.claims)})
	s.ok(err)
	if len(got.Offers) != 1 || got.Offers[0].Job.JobID != want {
		s.Fatalf("claimed %+v; want %s", got.Offers, want)
	}
	id := got.Offers[0].LeaseID
	_, err = s.Start(ctx, id, qgjob.StartRequest{AgentID: agent, Incarnation: 1})
	s.ok(err)
	result.AgentID, result.Incarnation, result.Digest = agent, 1, "digest-1"
	_, err = s.Complete(ctx, id, result)
	s.ok(err)
	_, err = s.CancelJob(ctx, want) // of a job that goes back to the queue; the others have ended
	if err != nil && qgjob.CodeOf(err) != qgjob.CodeTerminal {
		s.Fatal(err)
	}
}

// known is what the store has learnt of a test and of an install.
func (s *school) known(org qgjob.OrgID, version, path string, target qgjob.Target) (test, install schedule.Estimate) {
	s.Helper()
	s.ok(s.update(context.Background(), func(t *tx) (err error) {
		if test, err = t.testEstimate(testKey{org, path, target}); err != nil {
			return err
		}
		install, err = t.installEstimate(installKey{schedule.Build{Org: org, Version: qgjob.AppVersionID(version)}, target})
		return err
	}))
	return test, install
}

func (s *school) estimateOf(id qgjob.JobID) (ms int64) {
	s.Helper()
	s.ok(s.update(context.Background(), func(t *tx) error {
		j, err := t.job(id)
		if err == nil {
			ms = j.estimateMS
		}
		return err
	}))
	return ms
}

// TestWhatIsLearnt: a test is observed when it passed or failed by itself, an
// install when it was done.
func TestWhatIsLearnt(t *testing.T) {
	for _, c := range []struct {
		name           string
		result         qgjob.CompleteRequest
		tests, install int
	}{
		{"passed", qgjob.CompleteRequest{Outcome: qgjob.OutcomePassed, TestMS: 9000}, 1, 0},
		{"failed by assertion", qgjob.CompleteRequest{Outcome: qgjob.OutcomeFailed, Reason: qgjob.ReasonAssertion, TestMS: 9000}, 1, 0},
		{"timed out", qgjob.CompleteRequest{Outcome: qgjob.OutcomeFailed, Reason: qgjob.ReasonTimeout, TestMS: 9000}, 0, 0},
		{"errored", qgjob.CompleteRequest{Outcome: qgjob.OutcomeErrored, Reason: qgjob.ReasonSetup, TestMS: 9000}, 0, 0},
		{"interrupted", qgjob.CompleteRequest{Outcome: qgjob.OutcomeInterrupted, TestMS: 9000}, 0, 0},
		{"cancelled", qgjob.CompleteRequest{Outcome: qgjob.OutcomeCancelled, TestMS: 9000}, 0, 0},
		{"passed, and does not say how long it took", qgjob.CompleteRequest{Outcome: qgjob.OutcomePassed}, 0, 0},
		{"passed after an install", qgjob.CompleteRequest{Outcome: qgjob.OutcomePassed, TestMS: 9000, Install: qgjob.InstallDone, InstallMS: 4000}, 1, 1},
		{"passed without one", qgjob.CompleteRequest{Outcome: qgjob.OutcomePassed, TestMS: 9000, Install: qgjob.InstallAvoided}, 1, 0},
		{"errored after an install", qgjob.CompleteRequest{Outcome: qgjob.OutcomeErrored, Install: qgjob.InstallDone, InstallMS: 4000}, 0, 1},
		{"errored in the install", qgjob.CompleteRequest{Outcome: qgjob.OutcomeErrored, Install: qgjob.InstallFailed, InstallMS: 4000}, 0, 0},
		{"passed after installs that take no time", qgjob.CompleteRequest{Outcome: qgjob.OutcomePassed, TestMS: 9000, Install: qgjob.InstallDone}, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openSchool(t)
			s.attempt("acme", "v1", "tests/a.spec.js", qgjob.TargetEmulator, c.result)
			test, install := s.known("acme", "v1", "tests/a.spec.js", qgjob.TargetEmulator)
			if test.N != c.tests || install.N != c.install {
				t.Errorf("learnt of the test %+v, of the install %+v; want %d and %d observations", test, install, c.tests, c.install)
			}
			if test.N > 0 && test.Mean != 9 || install.N > 0 && install.Mean != float64(c.result.InstallMS)/1000 {
				t.Errorf("learnt of the test %+v, of the install %+v; want 9 s and %d ms", test, install, c.result.InstallMS)
			}
		})
	}
}

// TestARepeatedOrStaleResultIsNotLearntAgain: an answer that was lost makes an
// agent repeat its result.
func TestARepeatedOrStaleResultIsNotLearntAgain(t *testing.T) {
	s := openSchool(t)
	ctx := context.Background()
	s.submit("acme", "v1", "tests/a.spec.js", qgjob.TargetEmulator)
	got, err := s.Claim(ctx, "emulator", qgjob.ClaimRequest{Incarnation: 1, ClaimID: "claim-0001"})
	s.ok(err)
	id := got.Offers[0].LeaseID
	_, err = s.Start(ctx, id, qgjob.StartRequest{AgentID: "emulator", Incarnation: 1})
	s.ok(err)
	req := qgjob.CompleteRequest{AgentID: "emulator", Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1", TestMS: 9000, Install: qgjob.InstallDone, InstallMS: 4000}
	for range 3 {
		_, err = s.Complete(ctx, id, req)
		s.ok(err)
	}
	if test, install := s.known("acme", "v1", "tests/a.spec.js", qgjob.TargetEmulator); test.N != 1 || install.N != 1 {
		t.Errorf("one result, brought three times, was learnt as %+v and %+v", test, install)
	}
}

// TestEstimatesAreThoseOfTheScheduler: the store keeps what schedule.Estimate
// makes of the observations, for each org, test and target apart, and a
// restart finds it again.
func TestEstimatesAreThoseOfTheScheduler(t *testing.T) {
	dir := t.TempDir()
	st, err := Open(context.Background(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &school{TB: t, Store: st}
	for _, target := range []qgjob.Target{qgjob.TargetEmulator, qgjob.TargetDevice} {
		_, err := s.Register(context.Background(), qgjob.AgentID(target), qgjob.RegisterRequest{Incarnation: 1, Target: target, Runner: "exec"})
		s.ok(err)
	}
	var want schedule.Estimate
	var average schedule.Average
	for i := range 9 {
		took := int64(1000 + 777*i*i)
		want, average = want.Observe(float64(took)/1000), average.Observe(float64(took)/1000)
		s.attempt("acme", "v1", "tests/a.spec.js", qgjob.TargetEmulator, qgjob.CompleteRequest{Outcome: qgjob.OutcomePassed, TestMS: took})
	}
	s.attempt("globex", "v1", "tests/a.spec.js", qgjob.TargetEmulator, qgjob.CompleteRequest{Outcome: qgjob.OutcomePassed, TestMS: 500})
	s.attempt("acme", "v1", "tests/a.spec.js", qgjob.TargetDevice, qgjob.CompleteRequest{Outcome: qgjob.OutcomePassed, TestMS: 700})
	average = average.Observe(0.7) // of all the org's targets
	for _, when := range []string{"at once", "after a restart"} {
		if got, _ := s.known("acme", "v1", "tests/a.spec.js", qgjob.TargetEmulator); got.N != want.N || math.Abs(got.Mean-want.Mean) > 1e-9 {
			t.Errorf("%s: acme on the emulator is %+v; want %+v", when, got, want)
		}
		if got, _ := s.known("globex", "v1", "tests/a.spec.js", qgjob.TargetEmulator); got.N != 1 || got.Mean != 0.5 {
			t.Errorf("%s: globex is %+v", when, got)
		}
		if got, _ := s.known("acme", "v1", "tests/a.spec.js", qgjob.TargetDevice); got.N != 1 || got.Mean != 0.7 {
			t.Errorf("%s: the device is %+v", when, got)
		}
		// What was never seen takes the org's mean; an org that was never seen takes the default.
		for org, expected := range map[qgjob.OrgID]float64{"acme": average.Or(0), "globex": 0.5, "initech": schedule.DefaultEstimate} {
			got := s.estimateOf(s.submit(org, "v1", "tests/new.spec.js", qgjob.TargetEmulator))
			if math.Abs(float64(got)-1000*expected) > 0.5 {
				t.Errorf("%s: a new test of %s is expected to take %d ms; want %.1f", when, org, got, 1000*expected)
			}
		}
		s.ok(s.Audit(context.Background()))
		s.ok(s.Close())
		s.Store, err = Open(context.Background(), dir, Options{})
		s.ok(err)
	}
	s.ok(s.Close())
}

// TestAnEstimateIsFrozenAtSubmit: what is learnt later moves no job that
// waits, or a job could be overtaken for ever.
func TestAnEstimateIsFrozenAtSubmit(t *testing.T) {
	s := openSchool(t)
	waits := s.submit("acme", "v1", "tests/a.spec.js", qgjob.TargetDevice)
	before := s.estimateOf(waits)
	s.attempt("acme", "v1", "tests/b.spec.js", qgjob.TargetEmulator, qgjob.CompleteRequest{Outcome: qgjob.OutcomePassed, TestMS: 7000})
	if after := s.estimateOf(waits); before != 60_000 || after != before {
		t.Errorf("the estimate of a waiting job went from %d to %d ms; want 60000 for good", before, after)
	}
	if later := s.estimateOf(s.submit("acme", "v1", "tests/a.spec.js", qgjob.TargetDevice)); later != 7000 {
		t.Errorf("a job submitted later is expected to take %d ms; want the org's mean, 7000", later)
	}
}

// TestGroupsFollowInstalls: the groups that wait for a build, and those of the
// org's other builds, expect what was learnt of its install.
func TestGroupsFollowInstalls(t *testing.T) {
	s := openSchool(t)
	install := func(version string, target qgjob.Target) (seconds float64) {
		t.Helper()
		s.ok(s.update(context.Background(), func(t *tx) error {
			for k, id := range t.m.groups {
				if g, ok := t.m.state.Group(id); ok && k.version == qgjob.AppVersionID(version) && k.target == target && k.org == "acme" {
					seconds = g.Install
				}
			}
			return nil
		}))
		return seconds
	}
	s.submit("acme", "v1", "tests/a.spec.js", qgjob.TargetDevice)
	s.submit("acme", "v2", "tests/a.spec.js", qgjob.TargetDevice)
	if got := install("v1", qgjob.TargetDevice); got != schedule.DefaultInstall {
		t.Errorf("before anything is known an install of v1 is expected to take %g s", got)
	}
	s.attempt("acme", "v1", "tests/b.spec.js", qgjob.TargetEmulator, qgjob.CompleteRequest{Outcome: qgjob.OutcomePassed, TestMS: 1, Install: qgjob.InstallDone, InstallMS: 8000})
	s.attempt("acme", "v1", "tests/b.spec.js", qgjob.TargetEmulator, qgjob.CompleteRequest{Outcome: qgjob.OutcomePassed, TestMS: 1, Install: qgjob.InstallDone, InstallMS: 16000})
	for _, c := range []struct {
		version string
		target  qgjob.Target
		want    float64
	}{
		{"v1", qgjob.TargetEmulator, schedule.Estimate{}.Observe(8).Observe(16).Expect(12)},
		{"v1", qgjob.TargetDevice, 12}, // never done there: the org's mean
		{"v2", qgjob.TargetDevice, 12}, // never done at all
	} {
		if got := install(c.version, c.target); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("an install of %s on a %s is expected to take %g s; want %g", c.version, c.target, got, c.want)
		}
	}
	s.ok(s.Audit(context.Background()))
}

// TestEstimatesAreWholeMilliseconds: what the mirror adds up is what the
// database adds up, whatever the estimate. 1.001 s are 1000.9999999999999 ms.
func TestEstimatesAreWholeMilliseconds(t *testing.T) {
	s := openSchool(t)
	for i, took := range []int64{1001, 12_346, 3, 1009, 77_777} {
		path := fmt.Sprintf("tests/%d.spec.js", i)
		s.attempt("acme", "v1", path, qgjob.TargetEmulator, qgjob.CompleteRequest{Outcome: qgjob.OutcomePassed, TestMS: took})
		s.submit("acme", "v1", path, qgjob.TargetDevice)
		s.submit("globex", "v1", path, qgjob.TargetDevice)
		s.submit("acme", "v2", path, qgjob.TargetDevice)
		s.ok(s.Audit(context.Background()))
	}
}
