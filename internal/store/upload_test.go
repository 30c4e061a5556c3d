package store

import (
	"context"
	"fmt"
	"testing"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
)

// cloudSchool is a store with two agents of a device cloud.
func cloudSchool(t *testing.T) *school {
	s := &school{TB: t, Store: openTest(t, Options{})}
	for i := range 2 {
		_, err := s.Register(context.Background(), qgjob.AgentID(fmt.Sprintf("bs-%d", i+1)),
			qgjob.RegisterRequest{Incarnation: 1, Target: qgjob.TargetBrowserStack, Runner: "appwright"})
		s.ok(err)
	}
	return s
}

// take lets an agent claim one job.
func (s *school) take(agent qgjob.AgentID) qgjob.Offer {
	s.Helper()
	s.claims++
	got, err := s.Claim(context.Background(), agent, qgjob.ClaimRequest{Incarnation: 1, ClaimID: fmt.Sprintf("claim-%06d", s.claims)})
	s.ok(err)
	if len(got.Offers) != 1 {
		s.Fatalf("%s claimed %+v", agent, got)
	}
	return got.Offers[0]
}

// finish starts an offer and ends it with an install.
func (s *school) finish(agent qgjob.AgentID, o qgjob.Offer, did qgjob.InstallOutcome) {
	s.Helper()
	ctx := context.Background()
	_, err := s.Start(ctx, o.LeaseID, qgjob.StartRequest{AgentID: agent, Incarnation: 1})
	s.ok(err)
	req := qgjob.CompleteRequest{AgentID: agent, Incarnation: 1, Digest: "digest-1", Outcome: qgjob.OutcomePassed, TestMS: 1000, Install: did, InstallMS: 7000}
	if did == qgjob.InstallFailed {
		req.Outcome, req.Reason = qgjob.OutcomeErrored, qgjob.ReasonInstall
	}
	_, err = s.Complete(ctx, o.LeaseID, req)
	s.ok(err)
}

// upload is what the scheduler knows of a build's upload: whether there is one,
// and how long it still takes.
func (s *school) upload(version string) (there bool, remains float64) {
	s.Helper()
	s.ok(s.update(context.Background(), func(t *tx) error {
		ready, ok := t.m.state.Upload(schedule.Build{Org: "o", Version: qgjob.AppVersionID(version)})
		there, remains = ok, max(0, ready-schedule.Seconds(t.now))
		return nil
	}))
	return there, remains
}

// TestUploadIsSharedByAgents: one upload a build serves every agent of a cloud.
// Under way, others wait for its end; failed or given back, it is none; done, it
// outlives a restart.
func TestUploadIsSharedByAgents(t *testing.T) {
	s := cloudSchool(t)
	for i := range 6 {
		s.submit("o", "v1", fmt.Sprintf("t%d.js", i), qgjob.TargetBrowserStack)
	}
	if there, _ := s.upload("v1"); there {
		t.Error("an upload that nobody began")
	}
	first := s.take("bs-1")
	if there, remains := s.upload("v1"); !there || remains <= 0 || remains > schedule.DefaultInstall {
		t.Errorf("under way: %v, %g s remain", there, remains)
	}
	_, err := s.Renew(context.Background(), "bs-1", qgjob.RenewRequest{Incarnation: 1, Leases: []qgjob.LeaseID{}}) // gives it back
	s.ok(err)
	if there, _ := s.upload("v1"); there {
		t.Error("the upload of an offer that was given back")
	}
	s.finish("bs-1", s.take("bs-1"), qgjob.InstallFailed)
	if there, _ := s.upload("v1"); there {
		t.Error("an upload that failed")
	}
	again := s.take("bs-1")
	second := s.take("bs-2")
	s.finish("bs-1", again, qgjob.InstallDone)
	if there, remains := s.upload("v1"); !there || remains != 0 {
		t.Errorf("done: %v, %g s remain", there, remains)
	}
	s.finish("bs-2", second, qgjob.InstallAvoided)
	if again.LeaseID == first.LeaseID {
		t.Error("the same lease twice")
	}
	// A restart, or another server, reads it off the database.
	s.ok(s.update(context.Background(), func(t *tx) error {
		fresh := &tx{}
		*fresh = *t
		was := t.m
		defer func() { t.m = was }()
		m, err := loadMirror(fresh)
		if err != nil {
			return err
		}
		if ready, ok := m.state.Upload(schedule.Build{Org: "o", Version: "v1"}); !ok || ready > schedule.Seconds(t.now) {
			return fmt.Errorf("after a restart: %v, ready at %g", ok, ready)
		}
		return nil
	}))
	// An emulator's install says nothing of the cloud.
	if _, err := s.Register(context.Background(), "emulator", qgjob.RegisterRequest{Incarnation: 1, Target: qgjob.TargetEmulator, Runner: "exec"}); err != nil {
		t.Fatal(err)
	}
	s.submit("o", "v2", "t.js", qgjob.TargetEmulator)
	s.finish("emulator", s.take("emulator"), qgjob.InstallDone)
	if there, _ := s.upload("v2"); there {
		t.Error("an emulator has uploaded something")
	}
}
