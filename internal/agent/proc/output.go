package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
)

// pipeMost is the most that a pipe can hold on Linux (fs.pipe-max-size): what is read beyond it after the tree is gone
// comes from a process that escaped.
const pipeMost = 1 << 20

var errCutOff = errors.New("output cut off: a process that outlived the test still holds its output")

// output carries what a tree writes to the caller's writers.
type output struct {
	stdout, stderr *os.File // the tree's ends; the same file when both go to one writer
	readers        []*os.File
	pumps          sync.WaitGroup
	idle           atomic.Int64 // ns a read may wait, once the tree is gone; 0 before
	mu             sync.Mutex
	err            error
}

// newOutput makes the pipes and starts to drain them. One writer for both streams gets one pipe: the kernel then keeps
// the order, which two pipes cannot.
func newOutput(stdout, stderr io.Writer) (*output, error) {
	o := &output{}
	var err error
	if o.stdout, err = o.open(stdout); err != nil {
		return nil, err
	}
	if stderr != nil && same(stdout, stderr) {
		o.stderr = o.stdout
		return o, nil
	}
	if o.stderr, err = o.open(stderr); err != nil {
		return nil, errors.Join(err, o.stdout.Close(), o.finish(drainDelay))
	}
	return o, nil
}

func (o *output) open(to io.Writer) (*os.File, error) {
	if to == nil {
		return os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o.readers = append(o.readers, r)
	o.pumps.Go(func() { o.pump(to, r) })
	return w, nil
}

// pump copies until the last holder of the pipe is gone. It reads on after a failed write: a full disk on the agent
// must not end the test with SIGPIPE.
func (o *output) pump(to io.Writer, from *os.File) {
	defer from.Close()
	buf := make([]byte, 32<<10)
	for late := 0; ; {
		if idle := o.idle.Load(); idle > 0 {
			// Set again for each read: a slow writer must not cost output that waits in the pipe.
			_ = from.SetReadDeadline(time.Now().Add(time.Duration(idle)))
		}
		n, err := from.Read(buf)
		if n > 0 && to != nil {
			if _, werr := to.Write(buf[:n]); werr != nil {
				o.fail(fmt.Errorf("write output: %w", werr))
				to = nil
			}
		}
		if o.idle.Load() > 0 {
			late += n
		}
		if late > 2*pipeMost || errors.Is(err, os.ErrDeadlineExceeded) {
			o.fail(errCutOff)
			return
		}
		if err != nil {
			return
		}
	}
}

func (o *output) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
}

func (o *output) closeWriters() {
	// Nothing was written to them here that a failed close could lose.
	_ = o.stdout.Close()
	if o.stderr != o.stdout {
		_ = o.stderr.Close()
	}
}

// finish waits for the rest of the output, at most about d for a holder that is not part of the tree any more.
func (o *output) finish(d time.Duration) error {
	o.idle.Store(int64(d))
	for _, r := range o.readers {
		// A closed file answers with an error, and is done.
		_ = r.SetReadDeadline(time.Now().Add(d))
	}
	o.pumps.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// same is true when both are one writer; writers of a type that cannot be compared are taken as two.
func same(a, b io.Writer) bool {
	return a != nil && b != nil && reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.ValueOf(a).Comparable() && a == b
}
