package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/disk"
)

// A device in quarantine is tried by a canary after canaryPause, then after
// twice as long each time, at most canaryMost. A device that is only unfit now
// is looked at every unfitPause.
const (
	brokenJobs  = 3
	canaryPause = 30 * time.Second
	canaryMost  = 10 * time.Minute
	unfitPause  = 15 * time.Second
)

// trustRecord is what is remembered of a device over restarts.
type trustRecord struct {
	Broken    int       `json:"broken"`              // jobs in a row that the device broke
	Out       bool      `json:"out,omitempty"`       // in quarantine
	Probation bool      `json:"probation,omitempty"` // back by a canary, not yet by a job
	Tries     int       `json:"tries,omitempty"`     // canaries since the last job that it did not break
	Reason    string    `json:"reason,omitempty"`
	Since     time.Time `json:"since,omitzero"`
}

// charge is what an attempt says of its device.
type charge int

const (
	chargeNothing charge = iota // nothing either way
	chargeBroken                // the device broke the job
	chargeCleared               // the device let a test say something
)

// chargeOf reads an attempt's end. innocent means that the job's own build is
// to blame.
func chargeOf(outcome qgjob.Outcome, why qgjob.Reason, innocent bool) charge {
	switch {
	case outcome == qgjob.OutcomePassed, outcome == qgjob.OutcomeFailed && why != qgjob.ReasonTimeout:
		return chargeCleared
	case outcome != qgjob.OutcomeErrored || innocent:
		return chargeNothing
	}
	switch why {
	case qgjob.ReasonDevice, qgjob.ReasonInstall, qgjob.ReasonInfrastructure:
		return chargeBroken
	}
	return chargeNothing // the project or the runner is to blame
}

// after is the record after an attempt. A device on probation is out again by
// its first broken job.
func (r trustRecord) after(c charge, message string, limit int, now time.Time) trustRecord {
	switch c {
	case chargeCleared:
		return trustRecord{}
	case chargeBroken:
		r.Broken++
		r.Reason = message
		if r.Broken >= limit || r.Probation {
			r.Out, r.Probation, r.Since = true, false, now.UTC()
		}
	}
	return r
}

// afterCanary is the record of a device in quarantine after a canary.
func (r trustRecord) afterCanary(err error) trustRecord {
	r.Tries++
	if err != nil {
		r.Reason = err.Error()
		return r
	}
	r.Out, r.Probation = false, true
	return r
}

// pause is how long to wait for the next canary.
func (r trustRecord) pause(first time.Duration) time.Duration {
	return min(canaryMost, first<<min(r.Tries, 10))
}

// trust is a device's record with its place on disk.
type trust struct {
	path  string
	limit int
	trustRecord
}

// openTrust reads what an earlier process knew of the device. A record that
// cannot be read begins anew: a device that is broken will soon show it again.
func openTrust(path string, limit int) *trust {
	if limit < 0 {
		return nil
	}
	if limit == 0 {
		limit = brokenJobs
	}
	t := &trust{path: path, limit: limit}
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &t.trustRecord) != nil {
		t.trustRecord = trustRecord{}
	}
	return t
}

func (t *trust) set(r trustRecord) error {
	if t.trustRecord == r {
		return nil
	}
	t.trustRecord = r
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return disk.Replace(t.path, text)
}

// learn takes an attempt's end into the device's record.
func (s *slot) learn(a *attempt) {
	if s.trust == nil {
		return
	}
	was := s.trust.Out
	next := s.trust.after(chargeOf(a.done.Outcome, a.done.Reason, a.innocent), clip(a.done.Message, 512), s.trust.limit, time.Now())
	if err := s.trust.set(next); err != nil {
		s.log.Warn("the device's record is not kept", "error", err)
	}
	if next.Out && !was {
		s.log.Warn("the device goes into quarantine", "broken", next.Broken, "reason", next.Reason)
	}
}

// out reports whether the device is in quarantine. It belongs to the claim
// loop.
func (s *slot) out() bool { return s.trust != nil && s.trust.Out }

// waitFit blocks while the device is in quarantine or not fit for a job, and
// tells the server so.
func (s *slot) waitFit(ctx context.Context) error {
	if s.trust == nil && s.host.cloud == nil {
		return nil
	}
	if s.out() {
		if err := s.awaitCanary(ctx); err != nil {
			return err
		}
	}
	since := time.Now()
	for {
		wait := unfitPause
		err := s.device.Check(ctx)
		if err == nil {
			if err = s.enter(ctx); err != nil {
				wait = s.host.fullPause
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			return s.declare(ctx, nil)
		}
		if err := s.declare(ctx, &qgjob.Quarantine{Reason: clip(err.Error(), 1024), Since: since.UTC(),
			Next: fmt.Sprintf("it is looked at every %s and takes jobs again when it is fit", wait)}); err != nil {
			return err
		}
		if err := pause(ctx, min(wait, s.host.canaryPause)); err != nil {
			return err
		}
	}
}

// awaitCanary tries the device until a canary passes.
func (s *slot) awaitCanary(ctx context.Context) error {
	for s.trust.Out {
		wait := s.trust.pause(s.host.canaryPause)
		err := s.declare(ctx, &qgjob.Quarantine{
			Reason:   clip(fmt.Sprintf("it broke %d jobs in a row, the last by: %s", s.trust.Broken, s.trust.Reason), 1024),
			Next:     fmt.Sprintf("a canary (health, install, launch) is tried every %s; look at the device, or unplug it", wait),
			Failures: s.trust.Broken, Since: s.trust.Since,
		})
		if err != nil {
			return err
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
		tried, cancel := context.WithTimeout(ctx, prepareTime)
		err = s.device.Canary(tried)
		cancel()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.installed.Store(s.device.Installed())
		if saveErr := s.trust.set(s.trust.afterCanary(err)); saveErr != nil {
			s.log.Warn("the device's record is not kept", "error", saveErr)
		}
		s.log.Info("a canary on the device in quarantine", "error", err)
	}
	return nil
}

// declare tells the server of a quarantine that is new, or of its end.
func (s *slot) declare(ctx context.Context, q *qgjob.Quarantine) error {
	had := s.sick.Load()
	if q == nil && had == nil || q != nil && had != nil && q.Reason == had.Reason && q.Next == had.Next {
		return nil
	}
	s.sick.Store(q)
	return s.register(ctx)
}
