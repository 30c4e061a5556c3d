//go:build linux

package proc

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// helperVar names the part that this test binary plays when a test starts it as a program.
const helperVar = "PROC_TEST_HELPER"

// patience is far beyond what anything here takes; only a broken tree reaches it.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	MaybeInit()
	if part := os.Getenv(helperVar); part != "" {
		play, ok := parts[part]
		if !ok {
			fmt.Fprintf(os.Stderr, "no part %q\n", part)
			leave(99)
		}
		play(os.Args[1:])
		leave(0)
	}
	os.Exit(m.Run())
}

// leave ends a helper without the exit hooks: that of the race detector sleeps for a second.
func leave(code int) { syscall.Exit(code) }

// helper is a command that plays a part of parts_test.go.
func helper(t *testing.T, part string, args ...string) Command {
	t.Helper()
	return helperCommand(part, args...)
}

func helperCommand(part string, args ...string) Command {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return Command{Argv: append([]string{self}, args...), Env: []string{helperVar + "=" + part}}
}

// eachIsolation runs the test body in every isolation there is here. A refused namespace skips its half loudly.
func eachIsolation(t *testing.T, body func(t *testing.T, i Isolation)) {
	t.Helper()
	for _, i := range []Isolation{IsolationPIDNamespace, IsolationProcessGroup} {
		t.Run(i.String(), func(t *testing.T) {
			if i == IsolationPIDNamespace {
				needNamespace(t)
			}
			body(t, i)
			noChildren(t)
		})
	}
}

func needNamespace(t *testing.T) {
	t.Helper()
	c := helper(t, "exit", "0")
	c.Isolation = IsolationPIDNamespace
	p, err := Start(c)
	if err != nil {
		t.Skipf("NOT TESTED here: %v", err)
	}
	p.Wait()
}

func start(t *testing.T, c Command) *Process {
	t.Helper()
	p, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		p.Wait()
	})
	return p
}

// finish waits for the end; a tree that does not end fails the test instead of hanging it.
func finish(t *testing.T, p *Process) Result {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience): //budget:allow a real process is waited for
		t.Fatalf("the tree of %q has not ended", p.command.Argv)
	}
	return p.Wait()
}

// transcript is a writer that can be waited on for a word.
type transcript struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{}
}

func newTranscript() *transcript { return &transcript{changed: make(chan struct{}, 1)} }

func (w *transcript) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
	return w.buf.Write(b)
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

func (w *transcript) await(t *testing.T, word string) {
	t.Helper()
	late := time.After(patience)
	for !strings.Contains(w.String(), word) {
		select {
		case <-w.changed:
		case <-late:
			t.Fatalf("no %q in the output; there is %q", word, w)
		}
	}
}

// lifeline is a named pipe that programs below hold open: its end of file is their death, seen without polling, in
// whatever namespace or session they are.
type lifeline struct {
	path string
	got  chan lifelineOpen
	file *os.File
}

type lifelineOpen struct {
	file *os.File
	err  error
}

func newLifeline(t *testing.T) *lifeline {
	t.Helper()
	l := &lifeline{path: filepath.Join(t.TempDir(), "lifeline"), got: make(chan lifelineOpen, 1)}
	if err := unix.Mkfifo(l.path, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		f, err := os.Open(l.path) // until somebody holds the other end
		l.got <- lifelineOpen{f, err}
	}()
	return l
}

// held waits until a program says its pid on the lifeline, and gives that pid.
func (l *lifeline) held(t *testing.T) int {
	t.Helper()
	select {
	case o := <-l.got:
		if o.err != nil {
			t.Fatal(o.err)
		}
		l.file = o.file
		t.Cleanup(func() { o.file.Close() })
	case <-time.After(patience): //budget:allow a real process is waited for
		t.Fatal("nobody took the lifeline")
	}
	if err := l.file.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscanf(l.file, "%d\n", &pid); err != nil {
		t.Fatalf("lifeline: %v", err)
	}
	return pid
}

// cut waits until every holder is dead.
func (l *lifeline) cut(t *testing.T) {
	t.Helper()
	if err := l.file.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, l.file); err != nil {
		t.Fatalf("a holder of the lifeline is still alive: %v", err)
	}
}
