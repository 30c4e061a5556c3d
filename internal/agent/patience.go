package agent

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/qualgent/qgjob"
)

// retryCeiling is the longest wait between two tries at a server that is away.
const retryCeiling = 10 * time.Second

// someFaults is how often a fault inside the server is tolerated where the
// agent has better things to do than to wait for its repair.
const someFaults = 5

// patiently asks until the server says something definite. The client tries
// again by itself when that may help within moments; what is left here are
// answers that only a person or time will change: a name that does not
// resolve, a proxy's page, and faults inside the server, of which it takes as
// many as faults says (0: any number).
func patiently[T any](ctx context.Context, s *slot, what string, faults int, ask func(context.Context) (T, error)) (T, error) {
	for n := 1; ; {
		out, err := ask(ctx)
		switch {
		case err == nil:
			return out, nil
		case ctx.Err() != nil:
			return out, context.Cause(ctx)
		case !waitable(err):
			return out, err
		}
		if qgjob.KindOf(err) == qgjob.KindInternal {
			if n == faults {
				return out, err
			}
			n++
		}
		s.log.Warn("tries again", "what", what, "error", err)
		if err := pause(ctx, s.host.retryPause+rand.N(s.host.retryPause)); err != nil { //nolint:gosec // a pause is no secret
			return out, err
		}
	}
}

// waitable errors may go away by themselves.
func waitable(err error) bool {
	kind := qgjob.KindOf(err)
	return kind == qgjob.KindUnavailable || kind == qgjob.KindInternal
}

// pause waits, or ends with the cause of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// noticeServer logs the first failed try of an outage, not every one.
func (s *slot) noticeServer() func(error) {
	var away atomic.Bool
	return func(err error) {
		switch {
		case err != nil && !away.Swap(true):
			s.log.Warn("the server does not answer; the agent keeps trying", "error", err)
		case err == nil && away.Swap(false):
			s.log.Info("the server answers again")
		}
	}
}
