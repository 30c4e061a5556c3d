package agent

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/device"
)

// askTime bounds what a device is asked after a test.
const askTime = time.Minute

// askDevice has the device show what it looks like after a test that did not
// pass, and doubts a verdict that was got on a device which is not what it was:
// a broken phone is not a failed test, and a pass of another build is no pass.
func (a *attempt) askDevice(reinstalled bool) {
	if errors.Is(a.stopped, errUnplugged) {
		a.conclude(qgjob.OutcomeErrored, qgjob.ReasonDevice, "the device was unplugged during the test")
		return
	}
	if a.done.Outcome != qgjob.OutcomePassed && a.done.Outcome != qgjob.OutcomeFailed && a.done.Outcome != qgjob.OutcomeErrored {
		return
	}
	// The job's own time may be over; the device's answer is wanted all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.hold.ctx), askTime)
	defer cancel()
	d := a.slot.device
	if a.done.Outcome != qgjob.OutcomePassed {
		if err := d.Evidence(ctx, filepath.Join(a.dir, outputFolder)); err != nil {
			a.log.note("the device shows nothing: %v", err)
		}
	}
	if a.done.Outcome == qgjob.OutcomeErrored {
		return
	}
	build := a.build
	if reinstalled {
		build = device.Build{} // what the framework left is not the agent's to prove
	}
	if err := d.Still(ctx, build); err != nil {
		a.log.note("the verdict %s does not count: %v", a.done.Outcome, err)
		a.conclude(qgjob.OutcomeErrored, qgjob.ReasonDevice, "the verdict does not count: "+err.Error())
	}
}
