package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
)

const (
	flushWithin  = 30 * time.Second // for one transaction on a database elsewhere
	thinkWithin  = 5 * time.Second  // between two round trips of a transaction, while others wait for its lock
	settleWithin = 10 * time.Second // to learn what became of a commit
)

// flush commits a batch and leaves each operation's answer with it. What a
// lost connection took with it is tried once more. When one operation breaks
// the transaction, each is tried again in a transaction of its own: a bad
// operation must not fail its neighbours.
func (w *writer) flush(b *batch) {
	err := w.try(context.Background(), b)
	w.heard(err)
	if w.again(err) {
		err = w.try(context.Background(), b)
		w.heard(err)
	}
	if err == nil {
		return
	}
	var unknown *unknownError
	var outage *outageError
	if errors.As(err, &unknown) {
		w.opts.Log.Error("nobody knows what became of a commit", "operations", len(b.ops), "error", err)
		err = unknown.Unwrap()
	} else if len(b.ops) > 1 && !w.dialect.lost(err) && !errors.As(err, &outage) {
		for _, o := range b.ops {
			w.flush(&batch{ops: []*op{o}, closed: true})
		}
		return
	}
	err = w.recall(unavailable(err))
	w.note(b.ops, err)
	for _, o := range b.ops {
		o.err = err
	}
}

// note counts a flush that the database refused. Submits alone do not count:
// they need room where a renewal needs none, and one that is refused for ever
// must not keep leases of the dead alive.
func (w *writer) note(batch []*op, err error) {
	if qgjob.KindOf(err) == qgjob.KindUnavailable && slices.ContainsFunc(batch, func(o *op) bool { return o.do != nil }) {
		w.refused.Add(1)
	}
}

// again reports that a connection was lost and that nothing of what went over
// it has come to be.
func (w *writer) again(err error) bool {
	var unknown *unknownError
	return err != nil && w.dialect.lost(err) && !errors.As(err, &unknown)
}

// try runs a batch in one transaction. A refusal (a *qgjob.Error before the
// operation wrote anything) is that operation's answer; any other error rolls
// everything back and is returned.
func (w *writer) try(ctx context.Context, b *batch) (err error) {
	if w.sharing != nil { // a database elsewhere may never answer
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, flushWithin)
		defer cancel()
	}
	if err := w.line.connect(ctx); err != nil {
		return &outageError{err}
	}
	t := w.begin(ctx)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("operation panicked: %v\n%s", r, debug.Stack())
		}
		if err != nil {
			w.rollback(t, err)
		}
	}()
	if err := t.start(b); err != nil {
		return &outageError{err}
	}
	if err := t.run(b.ops); err != nil {
		return err
	}
	if w.opts.HA && len(b.ops) > 0 {
		t.writes++ // what is answered may rest on a commit that no standby has: only another commit tells
	}
	if err := t.finish(); err != nil {
		return err
	}
	if err := w.commit(t); err != nil {
		return err
	}
	w.notify(t.note)
	return nil
}

// start opens the transaction, brings the mirror up to date and reads what the
// batch will need. Where it had to wait for another server's flush, it takes
// what came meanwhile.
func (t *tx) start(b *batch) error {
	w := t.w
	t.begun = true
	t.pending = w.dialect.begin(w.heldUp)
	t.readCounters()
	var turns map[int64]*turn
	if w.behind && w.mirror != nil { // others write too: they will be asked for
		turns = t.askTurns(w.mirror.flush)
	}
	if err := t.lock(); err != nil {
		return err
	}
	t.open = true
	if w.sharing != nil {
		w.fill(b, nil)
		var numbered bool
		if t.seen, numbered = t.counters["flush"]; !numbered {
			return errors.New("counter flush is missing")
		}
		t.flush = t.seen + 1
		if err := t.meet(); err != nil {
			return err
		}
	}
	if err := t.refresh(turns); err != nil {
		return fmt.Errorf("read the mirror: %w", err)
	}
	t.lookAhead(b.ops)
	if err := t.sync(); err != nil {
		return err
	}
	t.load = w.mirror.state.Load()
	return nil
}

// refresh gives the transaction a mirror of the database as it is now.
func (t *tx) refresh(turns map[int64]*turn) error {
	w := t.w
	w.behind = w.mirror != nil && w.mirror.flush < t.seen
	switch {
	case w.mirror == nil || w.mirror.flush > t.seen: // a backup was put in place
		m, err := loadMirror(t)
		if err != nil {
			return err
		}
		if w.load != (schedule.Load{}) {
			m.state.SetLoad(w.load)
		}
		w.mirror = m
	case w.mirror.flush < t.seen:
		if t.counters["pruned"] > w.mirror.flush {
			w.load = w.mirror.state.Load()
			w.mirror = nil
			return t.refresh(nil)
		}
		t.m = w.mirror
		if turns == nil {
			turns = t.askTurns(w.mirror.flush)
			if err := t.sync(); err != nil {
				return fmt.Errorf("read the turns of others: %w", err)
			}
		}
		if err := t.catchUp(turns); err != nil {
			return err
		}
	}
	t.m = w.mirror
	return nil
}

func (t *tx) run(ops []*op) error {
	if err := t.submitAll(ops); err != nil {
		return err
	}
	for _, o := range ops {
		if o.do == nil {
			continue
		}
		before := t.writes
		o.err = o.do(t)
		var refusal *qgjob.Error
		if o.err != nil && (!errors.As(o.err, &refusal) || t.writes != before || refusal.Kind == qgjob.KindInternal) {
			return o.err
		}
	}
	return nil
}

// commit ends the transaction. When the answer is lost, it finds out what
// became of it.
func (w *writer) commit(t *tx) error {
	err := w.end(t)
	var unknown *unknownError
	if errors.As(err, &unknown) {
		w.forget(t)
	} else if undone := (*undoneError)(nil); err != nil && t.stamped && w.dialect.lost(err) && !errors.As(err, &undone) {
		w.heard(err)
		err = w.settle(t, err)
	}
	if err != nil {
		return err
	}
	t.open, t.begun = false, false
	t.met()
	if w.mirror == nil { // the connection was lost on the way
		return nil
	}
	w.mirror.kept.keep(&t.known, t.turn.Jobs)
	if t.writes > 0 {
		w.mirror.flush = t.flush
	}
	return nil
}

// unknownError: a commit was sent, and nobody can say what became of it.
type unknownError struct{ cause error }

// Error says what happened.
func (e *unknownError) Error() string {
	return "the database went away before it said whether it had committed: " + e.cause.Error()
}

// Unwrap gives the answer that callers get. The cause is left out: a lost
// connection would have the operation tried again.
func (e *unknownError) Unwrap() error {
	if errors.Is(e.cause, errNoStandby) {
		return &qgjob.Error{Kind: qgjob.KindUnavailable, Message: "the database's synchronous standby has not confirmed this: nobody knows yet whether it is accepted",
			Hint: "try again; with the same Idempotency-Key nothing is submitted twice"}
	}
	return &qgjob.Error{Kind: qgjob.KindUnavailable, Message: "the database went away before it said whether it had accepted this",
		Hint: "try again; with the same Idempotency-Key nothing is submitted twice"}
}

// undoneError: what comes before a commit failed, so that the commit was not
// done, whatever became of the connection.
type undoneError struct{ cause error }

// Error says what happened.
func (e *undoneError) Error() string { return e.cause.Error() }

// Unwrap gives the cause.
func (e *undoneError) Unwrap() error { return e.cause }

// settle asks, over a new connection, what became of a transaction whose
// commit was sent: nil when it is committed. The lock is what makes the answer
// final: it is free only after the transaction has ended.
func (w *writer) settle(t *tx, cause error) error {
	w.forget(t)
	ctx, cancel := context.WithTimeout(context.Background(), w.patience)
	defer cancel()
	again := time.NewTicker(pauseLeast)
	defer again.Stop()
	var unknown *unknownError
	for {
		outcome, err := w.ask(ctx, t)
		switch {
		case outcome == "committed" && err == nil:
			w.opts.Log.Warn("the answer to a commit was lost; it is committed", "error", cause)
			return nil
		case outcome == "aborted":
			return cause
		case errors.As(err, &unknown):
			return &unknownError{errors.Join(cause, unknown.cause)}
		case errors.Is(err, errSucceeded):
			return &unknownError{errors.Join(cause, err)}
		case ctx.Err() != nil:
			return &unknownError{errors.Join(cause, err)}
		}
		if err != nil {
			w.line.drop()
		}
		select {
		case <-ctx.Done():
		case <-w.quit:
			return &unknownError{errors.Join(cause, err)}
		case <-again.C:
		}
	}
}

func (w *writer) ask(ctx context.Context, t *tx) (outcome string, err error) {
	if err := w.line.connect(ctx); err != nil {
		return "", err
	}
	if w.line.link.primary() != t.primary { // it may know another transaction by that name
		return "", errSucceeded
	}
	err = w.line.link.run(ctx, append(w.dialect.begin(false), statement{query: w.sharing.outcome, args: []any{w.mark, t.flush},
		scan: func(row scanner) error { return row.Scan(&outcome) }}))
	if err == nil && outcome == "committed" && w.opts.HA {
		return outcome, w.vouch(ctx)
	}
	return outcome, errors.Join(err, w.line.run(ctx, "ROLLBACK"))
}

// notify tells what a commit changed. A listener that panics must not make
// committed operations run again.
func (w *writer) notify(n Note) {
	defer func() {
		if r := recover(); r != nil {
			w.opts.Log.Error("listener of the store panicked", "panic", r, "stack", string(debug.Stack()))
		}
	}()
	if w.pulse != nil {
		w.pulse.tell(n)
	}
	w.opts.Notify(n)
}

// rollback undoes a broken transaction and throws the mirror away, because
// operations have changed it as they went.
func (w *writer) rollback(t *tx, cause error) {
	if w.dialect.lost(cause) {
		w.forget(t)
		return
	}
	if !t.begun || w.line.link == nil {
		return
	}
	if err := w.line.run(context.WithoutCancel(t.ctx), "ROLLBACK"); err != nil {
		// SQLite has rolled back by itself after some errors (disk full).
		w.opts.Log.Debug("rollback", "error", err)
		if w.sharing != nil {
			w.line.drop()
		}
	}
	if t.open {
		w.discard(t)
	}
}

// forget drops a connection that was lost, and the mirror with it: nobody
// knows what the database will be when it is there again.
func (w *writer) forget(t *tx) {
	w.line.drop()
	w.discard(t)
}

func (w *writer) discard(t *tx) {
	if t.m != nil {
		w.load = t.load
	}
	w.mirror = nil
}

func (w *writer) begin(ctx context.Context) *tx {
	now := time.Now()
	return &tx{ctx: ctx, w: w, primary: w.line.link.primary(), now: now, nowMS: now.UnixMilli(), groups: map[qgjob.GroupID]*groupDelta{},
		known: known{jobs: map[qgjob.JobID]*jobRow{}, leases: map[qgjob.LeaseID]*leasedJob{}, tallies: map[qgjob.RunID]*runCount{}}}
}
