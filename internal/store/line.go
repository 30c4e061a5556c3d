package store

import (
	"context"
	"time"
)

const (
	pauseLeast = 100 * time.Millisecond // between two tries to connect
	pauseMost  = 5 * time.Second
)

// line is the writer's one connection. A lost one is made anew, with growing
// pauses between failures; what is asked meanwhile is refused at once.
type line struct {
	dial  func(context.Context) (link, error)
	link  link // nil when there is none
	pause time.Duration
	after time.Time // before it no new try is made
	away  error     // why the last one failed
	fresh bool      // no flush has met what the link leads to
}

func (l *line) connect(ctx context.Context) error {
	if l.link != nil {
		return nil
	}
	if l.away != nil && time.Now().Before(l.after) {
		return l.away
	}
	made, err := l.dial(ctx)
	if err != nil {
		l.pause = min(max(2*l.pause, pauseLeast), pauseMost)
		l.after, l.away = time.Now().Add(l.pause), err
		return err
	}
	l.link, l.pause, l.away, l.fresh = made, 0, nil, true
	return nil
}

// run sends one statement that gives no rows.
func (l *line) run(ctx context.Context, query string) error {
	return l.link.run(ctx, []statement{{query: query, want: anyRows}})
}

// drop gives a broken connection up.
func (l *line) drop() {
	if l.link == nil {
		return
	}
	l.link.drop()
	l.link = nil
}

// leave gives the link away, without ending what is under way on it.
func (l *line) leave() link {
	left := l.link
	l.link = nil
	return left
}

func (l *line) close() error {
	if l.link == nil {
		return nil
	}
	return l.link.close()
}
