package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/browserstack"
)

const (
	logFlush = 200 * time.Millisecond // a line is seen elsewhere within about this
	logEager = 32 << 10               // bytes that are sent at once
	logChunk = 256 << 10              // bytes of one request when there is more than was asked for
)

// attemptLog is the log of one attempt: a file that is the truth, and a
// stream that follows it to the server. A slow server or none holds up
// nothing: what it has not taken stays in the file.
type attemptLog struct {
	mu     sync.Mutex
	file   *os.File
	size   int64
	limit  int64
	cut    bool // the limit was reached
	ended  bool
	signal chan struct{}        // holds one token when there is something new
	err    error                // the first failed write
	filter *browserstack.Filter // takes secrets out; nil when there are none
}

// hide takes secrets out of all that is written from now on.
func (l *attemptLog) hide(secrets browserstack.Secrets) {
	l.filter = secrets.NewFilter(keeper{l})
}

// keeper is the log behind its filter.
type keeper struct{ l *attemptLog }

// Write keeps what the filter lets through.
func (k keeper) Write(p []byte) (int, error) {
	k.l.keep(p)
	return len(p), nil
}

func createLog(path string) (*attemptLog, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &attemptLog{file: f, limit: qgjob.MaxAttemptLog, signal: make(chan struct{}, 1)}, nil
}

// openLog opens the log of an attempt that an earlier process ran.
func openLog(path string) (*attemptLog, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &attemptLog{file: f, size: st.Size(), ended: true, signal: make(chan struct{}, 1)}, nil
}

// Write appends. It never fails and never waits for the server: a log that
// cannot be kept must not end the test. Beyond the limit the log says so once
// and forgets the rest.
func (l *attemptLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.filter != nil {
		return l.filter.Write(p)
	}
	l.keep(p)
	return len(p), nil
}

// keep writes as much as the limit leaves room for. The lock is held.
func (l *attemptLog) keep(p []byte) {
	keep := p
	if room := l.limit - l.size; int64(len(keep)) > room {
		keep = keep[:max(0, room)]
	}
	l.append(keep)
	if len(keep) < len(p) && !l.cut {
		l.cut = true
		l.append(fmt.Appendf(nil, "\n[qgjob] the log ends here: it has reached its limit of %d MiB\n", l.limit>>20))
	}
}

// note writes a line of the agent's own.
func (l *attemptLog) note(format string, a ...any) {
	fmt.Fprintf(l, "[qgjob] "+format+"\n", a...)
}

func (l *attemptLog) append(p []byte) {
	if len(p) == 0 || l.err != nil {
		return
	}
	n, err := l.file.Write(p)
	l.size += int64(n)
	if err != nil {
		l.err = err
	}
	l.wake()
}

// finish tells the stream that nothing follows.
func (l *attemptLog) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.filter != nil {
		_ = l.filter.Flush() // a keeper never fails
	}
	l.ended = true
	l.wake()
}

func (l *attemptLog) wake() {
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

func (l *attemptLog) state() (size int64, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size, l.ended
}

func (l *attemptLog) close() error { return l.file.Close() }

// send appends a chunk of the log at an offset, as the client does.
type send func(ctx context.Context, offset int64, chunk []byte) (qgjob.LogResponse, error)

// stream follows the log until it has ended and the server has all of it. It
// gives nil also when the server wants no more of it.
func (l *attemptLog) stream(ctx context.Context, post send) error {
	var offset int64
	buf := make([]byte, logChunk)
	for {
		size, ended, err := l.await(ctx, offset)
		if err != nil {
			return err
		}
		if ended && offset >= size {
			return nil
		}
		n, err := l.file.ReadAt(buf[:min(logChunk, size-offset)], offset)
		if n == 0 && err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		res, err := post(ctx, offset, buf[:n])
		switch {
		case err == nil && res.Full:
			return nil
		case err == nil && res.Length > offset:
			offset = res.Length
		case err == nil:
			return fmt.Errorf("log: the server took %d bytes at %d and says its length is %d", n, offset, res.Length)
		default:
			if offset, err = resumeAt(err, offset, size); err != nil {
				return err
			}
		}
	}
}

// resumeAt is the offset that the server wants next. One that it cannot mean
// is an error: going on there would lose or double lines for ever.
func resumeAt(err error, offset, size int64) (int64, error) {
	e, ok := errors.AsType[*qgjob.Error](err)
	if !ok || e.Code != qgjob.CodeOffset {
		return 0, err
	}
	if e.Offset == offset || e.Offset < 0 || e.Offset > size {
		return 0, fmt.Errorf("log: the server wants byte %d of %d after it was given %d: %w", e.Offset, size, offset, err)
	}
	return e.Offset, nil
}

// await waits until there is enough to send, or a little of it for long
// enough, or the end.
func (l *attemptLog) await(ctx context.Context, offset int64) (size int64, ended bool, err error) {
	var flush <-chan time.Time
	due := false
	for {
		size, ended = l.state()
		if ended || size-offset >= logEager || due && size > offset {
			return size, ended, nil
		}
		if size > offset && flush == nil {
			timer := time.NewTimer(logFlush)
			defer timer.Stop()
			flush = timer.C
		}
		select {
		case <-l.signal:
		case <-flush:
			due = true
		case <-ctx.Done():
			return size, ended, context.Cause(ctx)
		}
	}
}
