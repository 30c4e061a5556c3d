// Package device touches what tests run on: it puts app versions there, knows
// what is there, and says how a test finds it.
//
// It imports the root package, internal/bundle and the agent's disk.
package device

import (
	"context"
	"errors"
	"fmt"

	"github.com/qualgent/qgjob"
)

// Build is the app version that a job tests.
type Build struct {
	qgjob.Installed
	FileName string // base name as uploaded; empty without an uploaded build
	File     string // the uploaded build, verified against BuildSHA256; empty when the org uploaded none
}

// Device is what one agent runs its tests on. One goroutine uses it at a
// time.
type Device interface {
	// Check says why no test could run here now, or nil.
	Check(ctx context.Context) error
	// Wants reports whether the device has a notion of installing b.
	Wants(b Build) bool
	// Holds reports whether the device itself holds b now: looked at, not
	// remembered alone.
	Holds(ctx context.Context, b Build) bool
	// Install puts b on the device in place of what it held.
	Install(ctx context.Context, b Build) error
	// Installed tells what the device holds, nil for nothing known.
	Installed() *qgjob.Installed
	// Env is what a test of b needs to find its app: KEY=VALUE.
	Env(b Build) []string
	// Serves lists the addresses, host:port, that the device itself answers.
	Serves() []string
	// Reset gives the next test a device without traces of the last one, as
	// far as how asks for it. qgjob.ResetReinstall takes the app away; Ensure asks for
	// that before it installs again.
	Reset(ctx context.Context, how qgjob.Reset) error
	// Still says why a result that was got with b cannot be believed, or nil:
	// the device went away, or does not hold b any more.
	Still(ctx context.Context, b Build) error
	// Evidence leaves what the device shows of a failure in dir: pictures and
	// logs, by names that begin with "device-". It leaves what it can.
	Evidence(ctx context.Context, dir string) error
	// Canary tries the device as a job would, after it has broken several: nil
	// says that it may have jobs again.
	Canary(ctx context.Context) error
	// Close lets go of the device; what is installed stays.
	Close() error
}

// BuildError says that a build is to blame and not the device: another device
// would not take it either.
type BuildError struct {
	Message string // one line: what is wrong
	Hint    string // one line: what to do
}

// Error is cause and fix on one line.
func (e *BuildError) Error() string { return e.Message + " (" + e.Hint + ")" }

// Ensure has b on the device: it installs b unless the device holds it, and
// always when how is qgjob.ResetReinstall. A failed install is InstallFailed with
// its error.
func Ensure(ctx context.Context, d Device, b Build, how qgjob.Reset) (qgjob.InstallOutcome, error) {
	if !d.Wants(b) {
		return qgjob.InstallNone, nil
	}
	if how != qgjob.ResetReinstall && d.Holds(ctx, b) {
		return qgjob.InstallAvoided, nil
	}
	if how == qgjob.ResetReinstall {
		if err := d.Reset(ctx, how); err != nil {
			return qgjob.InstallFailed, fmt.Errorf("remove the app before installing it again: %w", err)
		}
	}
	err := d.Install(ctx, b)
	if errors.Is(err, errHeld) {
		return qgjob.InstallAvoided, nil
	}
	if err != nil {
		return qgjob.InstallFailed, fmt.Errorf("install %s %s: %w", b.OrgID, b.AppVersionID, err)
	}
	return qgjob.InstallDone, nil
}
