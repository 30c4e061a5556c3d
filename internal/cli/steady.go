package cli

import (
	"context"
	"os"
	"time"

	"github.com/qualgent/qgjob"
)

// answerWithin is how long an interrupted submit goes on asking for its
// answer: a CI job that is being cancelled has little time.
const answerWithin = 5 * time.Second

type submitFunc func(context.Context) (qgjob.SubmitResponse, error)

// steadily is a submit that an interrupt does not cut off at once: the server
// may have taken the run already, and only its answer says what to cancel. The
// interrupt is handed on to the wait that follows. Without an answer in time,
// or at the second interrupt, the submit is given up.
func (a *app) steadily(submit submitFunc) submitFunc {
	return func(ctx context.Context) (qgjob.SubmitResponse, error) {
		signals := a.stops.take()
		ctx, giveUp := context.WithCancelCause(ctx)
		defer giveUp(nil)
		type answer struct {
			got qgjob.SubmitResponse
			err error
		}
		answered := make(chan answer, 1)
		go func() {
			got, err := submit(ctx)
			answered <- answer{got, err}
		}()
		var first os.Signal
		var late <-chan time.Time
		for {
			select {
			case got := <-answered:
				if first != nil {
					a.stops.hand(first)
				}
				return got.got, got.err
			case s := <-signals:
				if first == nil {
					first, late = s, time.After(answerWithin)
					a.note("interrupted while submitting; waiting %v for the answer; interrupt again to leave at once", answerWithin)
					continue
				}
			case <-late:
			}
			giveUp(errInterrupted)
			if got := <-answered; got.err == nil {
				a.stops.hand(first)
				return got.got, nil
			}
			a.note("no answer to the submit: if it was taken, qgjob runs shows the run, and qgjob cancel ends it")
			return qgjob.SubmitResponse{}, errInterrupted
		}
	}
}
