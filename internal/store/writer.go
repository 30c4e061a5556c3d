package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
)

// maxBatch bounds one transaction: beyond some hundred operations a larger
// one saves no more, and makes its first caller wait for its last.
const maxBatch = 512

// writer is the one goroutine that writes. It gathers every operation that
// waits into one transaction and answers each after the shared commit.
type writer struct {
	opts   Options
	ops    chan *op
	quit   chan struct{} // closed when it shall stop
	gone   chan struct{} // closed when it has: nothing is taken any more
	conn   *sql.Conn
	stmts  map[string]*sql.Stmt
	mirror *mirror       // nil after a rollback, until it is read anew
	load   schedule.Load // of the mirror that a rollback threw away
}

// op is one operation: either do, or a submission that is merged with the
// other submissions of its batch.
type op struct {
	do     func(*tx) error
	submit *submission
	taken  atomic.Bool // by the writer, or by a caller who gave up first
	err    error
	answer chan struct{}
}

func startWriter(ctx context.Context, db *sql.DB, opts Options) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{opts: opts, ops: make(chan *op, maxBatch), quit: make(chan struct{}), gone: make(chan struct{}), conn: conn, stmts: map[string]*sql.Stmt{}}
	if err := w.readMirror(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	go w.run()
	return w, nil
}

func (w *writer) stop() {
	close(w.quit)
	<-w.gone
}

func (w *writer) close() error {
	var err error
	for _, st := range w.stmts {
		err = errors.Join(err, st.Close())
	}
	return errors.Join(err, w.conn.Close())
}

// update runs do inside the next transaction and returns once that is on
// disk. A caller whose context ends before the writer took the operation gets
// an unavailable error and nothing happened; after that the answer is waited
// for, because it will be true.
func (s *Store) update(ctx context.Context, do func(*tx) error) error {
	return s.writer.enqueue(ctx, &op{do: do, answer: make(chan struct{})})
}

func (w *writer) enqueue(ctx context.Context, o *op) error {
	select {
	case w.ops <- o:
	case <-w.quit:
		return errStopping()
	case <-ctx.Done():
		return unavailable(ctx.Err())
	}
	var refusal error
	select {
	case <-o.answer:
		return o.err
	case <-w.gone: // it may have been put into the queue behind the writer's back
		refusal = errStopping()
	case <-ctx.Done():
		refusal = unavailable(ctx.Err())
	}
	if o.taken.CompareAndSwap(false, true) {
		return refusal
	}
	<-o.answer
	return o.err
}

func errStopping() error {
	return &qgjob.Error{Kind: qgjob.KindUnavailable, Message: "the server is stopping", Hint: "try again in a moment"}
}

func (w *writer) run() {
	defer close(w.gone)
	for {
		select {
		case first := <-w.ops:
			w.flush(w.gather(first))
		case <-w.quit:
			w.refuseRest()
			return
		}
	}
}

// gather takes what waits already; it never waits for more.
func (w *writer) gather(first *op) []*op {
	batch := []*op{}
	limit := maxBatch
	if w.opts.Ungrouped {
		limit = 1
	}
	for o := first; ; {
		if o.taken.CompareAndSwap(false, true) {
			batch = append(batch, o)
		}
		if len(batch) >= limit {
			return batch
		}
		select {
		case o = <-w.ops:
		default:
			return batch
		}
	}
}

func (w *writer) refuseRest() {
	for {
		select {
		case o := <-w.ops:
			if o.taken.CompareAndSwap(false, true) {
				o.err = errStopping()
				close(o.answer)
			}
		default:
			return
		}
	}
}

// flush commits a batch. When one operation of it breaks the transaction,
// each is tried again in a transaction of its own: a bad operation must not
// fail its neighbours.
func (w *writer) flush(batch []*op) {
	if err := w.try(batch); err != nil {
		if len(batch) == 1 {
			batch[0].err = unavailable(err)
		} else {
			for _, o := range batch {
				if err := w.try([]*op{o}); err != nil {
					o.err = unavailable(err)
				}
			}
		}
	}
	for _, o := range batch {
		close(o.answer)
	}
}

// try runs a batch in one transaction. A refusal (a *qgjob.Error before the
// operation wrote anything) is that operation's answer; any other error rolls
// everything back and is returned.
func (w *writer) try(batch []*op) (err error) {
	if w.mirror == nil {
		if err := w.readMirror(context.Background()); err != nil {
			return fmt.Errorf("read the mirror after a rollback: %w", err)
		}
	}
	t := w.begin(context.Background())
	t.load = w.mirror.state.Load()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("operation panicked: %v\n%s", r, debug.Stack())
		}
		if err != nil {
			w.rollback(t)
		}
	}()
	if _, err := w.conn.ExecContext(t.ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	t.open = true
	if err := t.submitAll(batch); err != nil {
		return err
	}
	for _, o := range batch {
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
	if err := t.finish(); err != nil {
		return err
	}
	end := "COMMIT"
	if t.writes == 0 {
		end = "ROLLBACK"
	}
	if _, err := w.conn.ExecContext(t.ctx, end); err != nil {
		return err
	}
	t.open = false
	w.notify(t.note)
	return nil
}

// notify tells what a commit changed. A listener that panics must not make
// committed operations run again.
func (w *writer) notify(n Note) {
	defer func() {
		if r := recover(); r != nil {
			w.opts.Log.Error("listener of the store panicked", "panic", r, "stack", string(debug.Stack()))
		}
	}()
	w.opts.Notify(n)
}

// rollback undoes a broken transaction and throws the mirror away, because
// operations have changed it as they went.
func (w *writer) rollback(t *tx) {
	if !t.open {
		return
	}
	if _, err := w.conn.ExecContext(t.ctx, "ROLLBACK"); err != nil {
		// SQLite has rolled back by itself after some errors (disk full).
		w.opts.Log.Debug("rollback", "error", err)
	}
	w.load, w.mirror = t.load, nil
}

func (w *writer) readMirror(ctx context.Context) error {
	m, err := loadMirror(w.begin(ctx))
	if err != nil {
		return err
	}
	if w.load != (schedule.Load{}) {
		m.state.SetLoad(w.load)
	}
	w.mirror = m
	return nil
}

func (w *writer) begin(ctx context.Context) *tx {
	now := time.Now()
	return &tx{ctx: ctx, w: w, m: w.mirror, now: now, nowMS: now.UnixMilli(), groups: map[qgjob.GroupID]*groupDelta{}}
}
