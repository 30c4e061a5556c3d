package agent

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// TestChargeOf tells what breaks a device's record from what does not.
func TestChargeOf(t *testing.T) {
	for _, test := range []struct {
		outcome  qgjob.Outcome
		why      qgjob.Reason
		innocent bool
		want     charge
	}{
		{qgjob.OutcomePassed, "", false, chargeCleared},
		{qgjob.OutcomeFailed, qgjob.ReasonAssertion, false, chargeCleared},
		{qgjob.OutcomeFailed, qgjob.ReasonTimeout, false, chargeNothing}, // a hung device looks the same
		{qgjob.OutcomeErrored, qgjob.ReasonDevice, false, chargeBroken},
		{qgjob.OutcomeErrored, qgjob.ReasonInstall, false, chargeBroken},
		{qgjob.OutcomeErrored, qgjob.ReasonInstall, true, chargeNothing},
		{qgjob.OutcomeErrored, qgjob.ReasonInfrastructure, false, chargeBroken},
		{qgjob.OutcomeErrored, qgjob.ReasonSetup, false, chargeNothing},
		{qgjob.OutcomeErrored, qgjob.ReasonNoReport, false, chargeNothing},
		{qgjob.OutcomeErrored, qgjob.ReasonTestFileMissing, false, chargeNothing},
		{qgjob.OutcomeInterrupted, qgjob.ReasonAgentReturned, false, chargeNothing},
		{qgjob.OutcomeCancelled, qgjob.ReasonCancelled, false, chargeNothing},
	} {
		if got := chargeOf(test.outcome, test.why, test.innocent); got != test.want {
			t.Errorf("%s(%s) innocent %v: %d, want %d", test.outcome, test.why, test.innocent, got, test.want)
		}
	}
}

func TestTrustRecord(t *testing.T) {
	now := time.Unix(1000, 0)
	var r trustRecord
	play := func(charges ...charge) {
		for _, c := range charges {
			r = r.after(c, "why", 3, now)
		}
	}
	play(chargeBroken, chargeBroken, chargeCleared, chargeBroken, chargeNothing, chargeBroken)
	if r.Out || r.Broken != 2 {
		t.Errorf("two in a row: %+v", r)
	}
	play(chargeBroken)
	if !r.Out || r.Broken != 3 || r.Reason != "why" || !r.Since.Equal(now) {
		t.Errorf("three in a row: %+v", r)
	}
	first := r.pause(time.Second)
	r = r.afterCanary(errors.New("dead"))
	if !r.Out || r.Reason != "dead" || r.pause(time.Second) != 2*first {
		t.Errorf("after a canary that died: %+v", r)
	}
	r = r.afterCanary(nil)
	if r.Out || !r.Probation {
		t.Errorf("after a canary that sang: %+v", r)
	}
	play(chargeNothing)
	if r.Out {
		t.Errorf("nothing is no charge: %+v", r)
	}
	play(chargeBroken)
	if !r.Out || r.pause(time.Second) != 4*first {
		t.Errorf("the first job on probation broke: %+v", r)
	}
	r = r.afterCanary(nil)
	play(chargeCleared)
	if r != (trustRecord{}) {
		t.Errorf("a job cleared it: %+v", r)
	}
	if got := (trustRecord{Tries: 60}).pause(time.Minute); got != canaryMost {
		t.Errorf("the pause grows to %s", got)
	}
}

func TestTrustIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trust.json")
	a := openTrust(path, 0)
	if a.limit != brokenJobs {
		t.Errorf("limit %d", a.limit)
	}
	want := trustRecord{Broken: 3, Out: true, Reason: "it is dead", Since: time.Unix(1000, 0).UTC()}
	if err := a.set(want); err != nil {
		t.Fatal(err)
	}
	if got := openTrust(path, 3).trustRecord; got != want {
		t.Errorf("read %+v, want %+v", got, want)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := openTrust(path, 3).trustRecord; got != (trustRecord{}) {
		t.Errorf("a damaged record: %+v", got)
	}
	if openTrust(path, -1) != nil {
		t.Error("a record although there is no quarantine")
	}
}
