package proc

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// incomparable is a writer whose values cannot be compared with ==.
type incomparable struct {
	io.Writer
	_ []byte
}

type failing struct{ after int }

var errFull = errors.New("disk full")

func (f *failing) Write(b []byte) (int, error) {
	if f.after -= len(b); f.after < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestOneWriterGetsOnePipe(t *testing.T) {
	var a, b bytes.Buffer
	odd := incomparable{Writer: &a}
	for name, test := range map[string]struct {
		stdout, stderr io.Writer
		pipes          int
		shared         bool
	}{
		"same":         {&a, &a, 1, true},
		"two":          {&a, &b, 2, false},
		"only stdout":  {&a, nil, 1, false},
		"only stderr":  {nil, &a, 1, false},
		"none":         {nil, nil, 0, false},
		"incomparable": {odd, odd, 2, false},
	} {
		o, err := newOutput(test.stdout, test.stderr)
		if err != nil {
			t.Fatal(err)
		}
		if len(o.readers) != test.pipes || (o.stdout == o.stderr) != test.shared {
			t.Errorf("%s: %d pipes, shared %v", name, len(o.readers), o.stdout == o.stderr)
		}
		o.closeWriters()
		if err := o.finish(time.Minute); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The pipe is drained after the writer has failed, and the first error is told.
func TestFailedWriterIsDrained(t *testing.T) {
	o, err := newOutput(&failing{after: 10_000}, nil)
	if err != nil {
		t.Fatal(err)
	}
	line := []byte(strings.Repeat("x", 1000))
	for range 1000 { // far more than a pipe holds
		if _, err := o.stdout.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	o.closeWriters()
	if err := o.finish(time.Minute); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}

// A holder that outlives the tree is cut off: silent or noisy.
func TestHolderIsCutOff(t *testing.T) {
	for _, noisy := range []bool{false, true} {
		o, err := newOutput(io.Discard, nil)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for noisy {
				if _, err := o.stdout.WriteString(strings.Repeat("x", 4096)); err != nil {
					return // nobody reads any more
				}
			}
		}()
		if err := o.finish(100 * time.Millisecond); !errors.Is(err, errCutOff) {
			t.Errorf("noisy %v: got %v", noisy, err)
		}
		<-ended
		o.closeWriters()
	}
}

// slow takes its time for each write, until it is let go.
type slow struct {
	bytes.Buffer
	entered chan struct{}
	gate    <-chan time.Time
}

func (s *slow) Write(b []byte) (int, error) {
	select {
	case s.entered <- struct{}{}:
	default:
	}
	<-s.gate
	return s.Buffer.Write(b)
}

// What waits in the pipe is not lost when the writer is slower than the delay.
func TestSlowWriterLosesNothing(t *testing.T) {
	const delay = 20 * time.Millisecond
	tick := time.NewTicker(3 * delay)
	defer tick.Stop()
	to := &slow{entered: make(chan struct{}, 1), gate: tick.C}
	o, err := newOutput(to, nil)
	if err != nil {
		t.Fatal(err)
	}
	first := strings.Repeat("a", 1000)
	if _, err := o.stdout.WriteString(first); err != nil {
		t.Fatal(err)
	}
	<-to.entered // the pump is busy; the rest must wait in the pipe
	rest := strings.Repeat("b", 60_000)
	if _, err := o.stdout.WriteString(rest); err != nil {
		t.Fatal(err)
	}
	o.closeWriters()
	if err := o.finish(delay); err != nil {
		t.Errorf("got %v", err)
	}
	if got := to.String(); got != first+rest {
		t.Errorf("%d bytes of %d arrived", len(got), len(first+rest))
	}
}

func TestOutputToNowhere(t *testing.T) {
	o, err := newOutput(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer o.closeWriters()
	if o.stdout.Name() != os.DevNull {
		t.Errorf("output goes to %s", o.stdout.Name())
	}
}
