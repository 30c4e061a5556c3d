package store

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
	"github.com/qualgent/qgjob/internal/schedule"
)

// maxBatch bounds one transaction: beyond some hundred operations a larger
// one saves no more, and makes its first caller wait for its last.
const maxBatch = 512

// maxBatchJobs bounds the jobs that one transaction submits, unless one
// submission alone has more.
const maxBatchJobs = 20_000

// writer is the one goroutine that writes. It gathers every operation that
// waits into one transaction and answers each after the shared commit.
type writer struct {
	opts Options
	ops  chan *op
	quit chan struct{} // closed when it shall stop
	gone chan struct{} // closed when it has: nothing is taken any more

	dialect dialect
	sharing *sharing // nil when no other process writes
	mark    string   // the writer's own name in the database
	line    line
	mirror  *mirror       // nil after a rollback, until it is read anew
	load    schedule.Load // of the mirror that a rollback threw away
	texts   map[statementKey]string
	pulse   *pulse // to other servers; nil when there are none

	patience time.Duration // for learning what became of a commit

	succession *lease.Succession
	reign      *atomic.Pointer[lease.Reign] // the store's; nil with SQLite
	last       int64                        // the last flush known to be committed
	warned     *warning                     // what PostgreSQL said beside its answers; nil with SQLite
	behind     bool                         // the last flush found the mirror out of date
	heldUp     bool                         // the lock was not to be had in time
	suspect    suspect                      // who keeps it, as it seems
	refused    atomic.Int64                 // flushes; see Store.Refused
	full       atomic.Bool                  // a flush found no room; see Store.hasRoom
}

// op is one operation: either do, or a submission that is merged with the
// other submissions of its batch.
type op struct {
	do     func(*tx) error
	submit *submission
	hint   hint
	taken  atomic.Bool // by the writer, or by a caller who gave up first
	err    error
	answer chan struct{}
}

// markOf begins the names under which writers note their last flush among the
// counters; those that are forgotten flushes behind belong to nobody any more.
const (
	markOf    = "writer "
	forgotten = 100_000
)

func newWriter(dial func(context.Context) (link, error), d dialect, opts Options) *writer {
	return &writer{texts: map[statementKey]string{}, opts: opts, patience: settleWithin, suspect: newSuspect(), ops: make(chan *op, maxBatch), quit: make(chan struct{}), gone: make(chan struct{}),
		dialect: d, sharing: d.sharing(), mark: markOf + string(newLeaseID()), line: line{dial: dial}, succession: lease.NewSuccession(opts.LeaseTTL)}
}

// start reads the mirror and begins to write.
func (w *writer) start(ctx context.Context) error {
	if err := w.try(ctx, &batch{closed: true}); err != nil {
		return errors.Join(err, w.close())
	}
	go w.run()
	return nil
}

func (w *writer) stop() {
	close(w.quit)
	<-w.gone
}

func (w *writer) close() error { return w.line.close() }

// update runs do inside the next transaction and returns once that is on
// disk. A caller whose context ends before the writer took the operation gets
// an unavailable error and nothing happened; after that the answer is waited
// for, because it will be true.
func (s *Store) update(ctx context.Context, do func(*tx) error) error {
	return s.updateKnown(ctx, hint{}, do)
}

// updateKnown is update for an operation that says what it will ask for.
func (s *Store) updateKnown(ctx context.Context, h hint, do func(*tx) error) error {
	return s.writer.enqueue(ctx, &op{do: do, hint: h, answer: make(chan struct{})})
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
			b := &batch{}
			w.fill(b, first)
			w.flush(b)
			for _, o := range b.ops {
				close(o.answer)
			}
		case <-w.quit:
			w.refuseRest()
			return
		}
	}
}

// batch is the operations of one transaction.
type batch struct {
	ops    []*op
	jobs   int  // that they submit
	closed bool // it takes no more
}

// fill takes first, if there is one, and what waits already; it never waits
// for more.
func (w *writer) fill(b *batch, first *op) {
	limit := maxBatch
	if w.opts.Ungrouped {
		limit = 1
	}
	for o := first; ; {
		if o != nil && o.taken.CompareAndSwap(false, true) {
			b.ops = append(b.ops, o)
			if o.submit != nil {
				b.jobs += len(o.submit.req.Jobs)
			}
		}
		if b.closed || len(b.ops) >= limit || b.jobs >= maxBatchJobs {
			return
		}
		select {
		case o = <-w.ops:
		default:
			return
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
