package cli

import (
	"context"
	"errors"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
)

// maxVanished is how often a run that vanished is submitted again: every time
// takes a failover that loses what was acknowledged.
const maxVanished = 5

// vanishedError: a run or job that a server had accepted is unknown to it now.
type vanishedError struct{ said *qgjob.Error }

// Error says what is gone.
func (e vanishedError) Error() string { return e.said.Error() }

// Unwrap gives the error with its kind.
func (e vanishedError) Unwrap() error { return e.said }

// vanished says that something is gone that was there. It is no verdict about
// any test, so it ends with the code of broken infrastructure.
func vanished(s subject) error {
	return vanishedError{&qgjob.Error{Kind: qgjob.KindUnavailable, Message: s.String() + " is gone: the server had accepted it and does not know it any more",
		Hint: "its database has lost it, in a failover or from a backup; submit the tests again (submit --wait does so by itself)"}}
}

// waitForRun waits for a run that was just submitted. When it vanishes it is
// submitted again with the same idempotency key: if it is there after all, that
// finds it.
func (a *app) waitForRun(ctx context.Context, c *client.Client, run qgjob.RunID, o waitOptions, submit submitFunc) error {
	for n := 0; ; n++ {
		err := a.wait(ctx, c, subject{run: run}, o)
		var gone vanishedError
		if !errors.As(err, &gone) || n == maxVanished {
			return err
		}
		got, err := submit(ctx)
		if err != nil {
			return err
		}
		a.note("%v is gone: the server's database has lost it; submitted again with the same key as %v", run, got.RunID)
		o.ci.submitted(got.RunID, true)
		run = got.RunID
	}
}
