// Package ios speaks with Apple's simctl (simulators) and devicectl (phones):
// what to say, and what their answers mean. Saying it is one function, so that
// all but that runs without a Mac.
package ios

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Run runs argv, a program with its arguments, and gives its standard output.
// An error carries what the program said.
type Run func(ctx context.Context, argv []string) ([]byte, error)

const (
	xcrun     = "xcrun"
	maxOutput = 32 << 20         // bytes: a screenshot, or a log of two minutes
	waitDelay = 5 * time.Second  // for children that hold the output open
	maxSaid   = 4 << 10          // bytes of what a program says of its failure
	runTime   = 10 * time.Minute // bounds each program: Xcode prepares a phone for minutes
)

// Xcrun is the Run of this machine. It needs a Mac with Xcode.
func Xcrun() (Run, error) {
	if _, err := exec.LookPath(xcrun); err != nil {
		return nil, fmt.Errorf("there is no xcrun here: iOS devices need a Mac with Xcode (install it, then sudo xcode-select -s its folder): %w", err)
	}
	return Exec, nil
}

// Exec is Run by os/exec, without a shell.
func Exec(ctx context.Context, argv []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	out, said := &bounded{max: maxOutput}, &bounded{max: maxSaid}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // argv is made by this package
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, said, waitDelay
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", title(argv), context.Cause(ctx))
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return nil, fmt.Errorf("%s: %w: %s", title(argv), err, strings.TrimSpace(said.String()))
	case out.over:
		return nil, fmt.Errorf("%s: the answer is longer than %d bytes", title(argv), maxOutput)
	}
	return out.Bytes(), nil
}

// title is what people call a command: its words before the device.
func title(argv []string) string { return strings.Join(argv[:min(3, len(argv))], " ") }

// bounded keeps the first max bytes and takes the rest.
type bounded struct {
	bytes.Buffer
	max  int
	over bool
}

// Write never fails.
func (b *bounded) Write(p []byte) (int, error) {
	room := b.max - b.Len()
	if len(p) > room {
		b.over = true
		b.Buffer.Write(p[:room])
		return len(p), nil
	}
	return b.Buffer.Write(p)
}
