package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/qualgent/qgjob"
)

const (
	standbyWithin = 5 * time.Second        // for a commit to reach the standby, with --ha
	heldUpWait    = 250 * time.Millisecond // for the lock, after it was not to be had in time
)

// What is said while commits wait for a standby in vain.
const (
	standbySilent = "the database's synchronous standby does not answer"
	hintSilent    = "start it, or name another in synchronous_standby_names; nothing accepted was lost" + hintByItself
)

var (
	errNoStandby = errors.New("no synchronous standby has taken the commit")
	errSucceeded = errors.New("another primary has taken over")
)

// outageError: a transaction did not begin, so that no operation is to blame
// and none needs to be tried apart.
type outageError struct{ cause error }

// Error says why it did not begin.
func (e *outageError) Error() string { return e.cause.Error() }

// Unwrap gives the cause.
func (e *outageError) Unwrap() error { return e.cause }

// warning is the last one that PostgreSQL gave. When a wait for the standby is
// cancelled, by a person or by a shutdown, COMMIT succeeds, and only a warning
// tells that nobody else has it. Its text is in the server's language; the
// severity is not.
type warning struct{ last atomic.Pointer[pgconn.Notice] }

func (w *warning) hear(_ *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" {
		w.last.Store(n)
	}
}

// take gives the last warning, once.
func (w *warning) take() *pgconn.Notice {
	if w == nil {
		return nil
	}
	return w.last.Swap(nil)
}

// waited looks at what came of taking the lock, and finds out whether it is
// the standby that a flush, of whichever server, waits for. Where the lock was
// not to be had in time, no transaction is open afterwards.
func (w *writer) waited(ctx context.Context, err error) error {
	var said *pgconn.PgError
	w.heldUp = errors.As(err, &said) && said.Code == "55P03"
	if !w.heldUp {
		return err
	}
	if e := w.line.run(ctx, "ROLLBACK"); e != nil || !w.opts.HA {
		return errors.Join(err, e)
	}
	var waiting int
	if e := w.line.link.run(ctx, []statement{{query: `SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`,
		scan: func(row scanner) error { return row.Scan(&waiting) }}}); e != nil || waiting == 0 {
		return errors.Join(err, e)
	}
	return &qgjob.Error{Kind: qgjob.KindUnavailable, Err: errors.Join(errNoStandby, err), Message: standbySilent, Hint: hintSilent}
}

// end ends a transaction: what is left to be written goes with the commit, in
// one round trip, so that the lock is free the sooner. With --ha it does not
// wait longer for the standby than callers would, and then leaves the
// connection to its commit: closing it would cancel the wait, and what nobody
// may be told would be there for all to read.
func (w *writer) end(t *tx) error {
	if t.writes == 0 {
		return w.line.run(t.ctx, "ROLLBACK")
	}
	if slices.ContainsFunc(t.pending, func(st statement) bool { return st.scan != nil }) { // what cannot be read must not be committed
		if err := t.sync(); err != nil {
			return err
		}
	}
	if !w.opts.HA {
		t.pending = append(t.pending, commitStatement)
	}
	w.warned.take()
	err := t.sync()
	if err != nil && w.opts.HA {
		return &undoneError{err} // the commit was not sent
	}
	if err != nil {
		return err
	}
	if w.opts.HA {
		return w.endWithStandby()
	}
	return w.unwarned()
}

var commitStatement = statement{query: "COMMIT", want: anyRows}

// endWithStandby commits what is written.
func (w *writer) endWithStandby() error {
	w.warned.take()
	if err := w.commitWithin(standbyWithin); err != nil {
		return err
	}
	return w.unwarned()
}

// unwarned makes sure that a commit was not only said to be one.
func (w *writer) unwarned() error {
	if said := w.warned.take(); said != nil {
		return &unknownError{fmt.Errorf("%w: %s: %s", errNoStandby, said.Code, said.Message)}
	}
	return nil
}

func (w *writer) commitWithin(limit time.Duration) error {
	done := make(chan error, 1)
	on := w.line.link
	go func() { done <- on.run(context.Background(), []statement{commitStatement}) }()
	over := time.NewTimer(limit)
	defer over.Stop()
	select {
	case err := <-done:
		return err
	case <-over.C:
	}
	left := w.line.leave()
	w.heldUp = true
	go func() {
		err := <-done
		left.drop()
		w.opts.Log.Info("a commit that was given up has ended", "error", err)
	}()
	return &unknownError{errNoStandby}
}

// vouch makes sure that everything committed so far is on the standby: a
// transaction may be committed here and nowhere else, after its wait was cut
// short. It ends the open transaction by a commit of its own, which the
// standby takes after all others.
func (w *writer) vouch(ctx context.Context) error {
	if err := w.line.run(ctx, `UPDATE counters SET value = value WHERE name = 'flush'`); err != nil {
		return err
	}
	err := w.endWithStandby()
	if err != nil {
		w.line.drop()
	}
	return err
}
