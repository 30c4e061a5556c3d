package cli

import (
	"context"
	"os"
)

// ladder is what signals do to an agent: the first drains, the second cancels,
// the third ends the process.
type ladder struct {
	drain, cancel chan struct{}
	climbed       int
}

func newLadder() *ladder {
	return &ladder{drain: make(chan struct{}), cancel: make(chan struct{})}
}

// climb takes signals until ctx ends.
func (l *ladder) climb(ctx context.Context, a *app, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
		l.climbed++
		switch l.climbed {
		case 1:
			a.note("draining: no more jobs are claimed, running ones finish; interrupt again to stop them")
			close(l.drain)
		case 2:
			a.note("stopping: running jobs are stopped and given back; interrupt again to leave at once")
			close(l.cancel)
		default:
			a.exit(exitInterrupted)
		}
	}
}
