package cli

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/server"
	"github.com/qualgent/qgjob/internal/store"
)

const (
	awaitLeast = 100 * time.Millisecond // between the first two tries to open a database
	awaitMost  = 5 * time.Second        // between two tries
	openWithin = 5 * time.Second        // what takes longer is said: an upgrade, or a commit that waits for a standby
	awaitAgain = time.Minute            // the same cause is logged again
)

// runShared is a server on PostgreSQL. That is a machine of its own, which may
// be away, starting, full or read-only when this one starts: the server
// listens, says so, and goes on when it is there, as it does when that happens
// later. What waiting does not mend ends it at once.
func (a *app) runShared(ctx context.Context, o *serverOptions, log *slog.Logger) error {
	r, err := a.newServer(ctx, o, log)
	if err != nil {
		return err
	}
	log.Info("database", "url", store.RedactDatabase(o.database))
	if err := r.openBlobs(ctx); err != nil { // not after an hour of waiting
		return errors.Join(err, r.listener.Close())
	}
	w := newAwaiting(log, func() { a.listens(r) })
	r.door.lead(server.Waiting(w.why.Load))
	ctx, stop := a.untilStopped(ctx)
	defer stop()
	r.answer()
	switch err := w.open(ctx, r.failed, r.openData); {
	case err == nil:
		w.end()
		return r.serve(ctx)
	case ctx.Err() != nil: // stopped, as a server that runs is
		r.hangUp(ctx)
		return nil
	default:
		r.hangUp(ctx)
		return err
	}
}

// awaiting is the time before a database is there.
type awaiting struct {
	log     *slog.Logger
	listens func()                      // says, once, where the server is: at the first trouble, or when it answers
	why     atomic.Pointer[qgjob.Error] // what is waited for; never nil
	began   time.Time
	said    map[string]time.Time // when a cause was logged last
}

func newAwaiting(log *slog.Logger, listens func()) *awaiting {
	w := &awaiting{log: log, began: time.Now(), said: map[string]time.Time{}}
	told := false
	w.listens = func() {
		if !told {
			told = true
			listens()
		}
	}
	w.why.Store(stillOpening())
	return w
}

func stillOpening() *qgjob.Error {
	e := qgjob.Unavailable(nil, "the database is still being opened")
	e.Hint = "an upgrade of its schema may take long, and with --ha every commit waits for a synchronous standby; the server goes on by itself"
	return e
}

// open calls try until it succeeds, fails of what does not pass, or ctx ends.
// A listener that fails ends it too.
func (w *awaiting) open(ctx context.Context, failed <-chan error, try func(context.Context) error) error {
	for pause := awaitLeast; ; pause = min(2*pause, awaitMost) {
		err := w.once(ctx, try)
		if err == nil || ctx.Err() != nil || !store.Passing(err) {
			return err
		}
		w.say(err)
		if err := rest(ctx, pause, failed); err != nil {
			return err
		}
	}
}

// rest waits for half to all of a pause, so that servers that start together
// spread.
func rest(ctx context.Context, pause time.Duration, failed <-chan error) error {
	over := time.NewTimer(pause/2 + rand.N(pause/2)) //nolint:gosec // nothing to guess
	defer over.Stop()
	select {
	case <-over.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case err := <-failed:
		return err
	}
}

// once tries, and says so when that takes long.
func (w *awaiting) once(ctx context.Context, try func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- try(ctx) }()
	long := time.NewTimer(openWithin)
	defer long.Stop()
	select {
	case err := <-done:
		return err
	case <-long.C:
		w.say(stillOpening())
		return <-done
	}
}

// say tells what is waited for: callers at once, and the log when it is news or
// was not said for long. Two causes may take turns, as with a database that
// takes long not to answer.
func (w *awaiting) say(err error) {
	e, ok := errors.AsType[*qgjob.Error](err)
	if !ok { // Passing is of our own kinds only
		return
	}
	w.why.Store(e)
	w.listens()
	if last, known := w.said[e.Message]; !known || time.Since(last) >= awaitAgain {
		w.said[e.Message] = time.Now()
		more := []any{"hint", e.Hint, "waited", time.Since(w.began).Round(time.Second)}
		if e.Err != nil {
			more = append(more, "error", e.Err)
		}
		w.log.Warn("not ready, trying again: "+e.Message, more...)
	}
}

// end says that the wait is over, if there was one.
func (w *awaiting) end() {
	w.listens()
	if len(w.said) > 0 {
		w.log.Info("the database is there", "waited", time.Since(w.began).Round(time.Second))
	}
}
