//go:build unix

package proc

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// errRefused: the machine does not grant the isolation asked for; nothing was started.
var errRefused = errors.New("PID namespace refused")

// tree is the agent's end of one init and all below it.
type tree struct {
	init    *exec.Cmd
	control *os.File
	status  *os.File
	lines   *bufio.Reader
	main    atomic.Int64 // pid and process group of the main process as we see it; 0 inside a namespace
	spaced  bool
}

// startTree starts the init and returns when the main process runs. The calling thread must outlive the tree.
func startTree(s spec, i Isolation, out *output) (*tree, error) {
	s.Namespace = i == IsolationPIDNamespace
	t, theirs, err := newTree(s, out)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Argv[0], err)
	}
	err = t.init.Start()
	closeAll(theirs...)
	if err != nil {
		t.close()
		if s.Namespace && isRefusal(err) {
			return nil, fmt.Errorf("%w: %w", errRefused, bare(err))
		}
		return nil, fmt.Errorf("start %s: its init: %w", s.Argv[0], err)
	}
	if err := t.begin(s); err != nil {
		t.destroy()
		// The init is on its way out; its own end is no news.
		_ = t.init.Wait()
		t.close()
		return nil, err
	}
	return t, nil
}

// bare is the kernel's word in err, without the path of our own binary. ENOSPC has a meaning here that its text hides
// (clone(2)).
func bare(err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return cause(err)
	}
	if errno == syscall.ENOSPC {
		return fmt.Errorf("the limit in /proc/sys/user is reached (%w)", errno)
	}
	return errno
}

// newTree prepares the init; theirs are the files that the parent closes once it runs.
func newTree(s spec, out *output) (t *tree, theirs []*os.File, err error) {
	statusR, statusW, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	controlR, controlW, err := os.Pipe()
	if err != nil {
		closeAll(statusR, statusW)
		return nil, nil, err
	}
	cmd := &exec.Cmd{
		Path:       selfPath(),
		Args:       []string{"qgjob", InitArg},
		Env:        []string{}, // not nil, which would be the agent's
		Dir:        "/",
		Stdout:     out.stdout,
		Stderr:     out.stderr,
		ExtraFiles: []*os.File{statusW, controlR},
	}
	// Setsid, not only a process group: without a controlling terminal Ctrl-C reaches the agent alone, which decides
	// what becomes of its tests, and a test that opens /dev/tty fails instead of being stopped for ever.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if s.Namespace {
		if err := intoNamespaces(cmd.SysProcAttr); err != nil {
			closeAll(statusR, statusW, controlR, controlW)
			return nil, nil, err
		}
	}
	t = &tree{init: cmd, control: controlW, status: statusR, lines: bufio.NewReaderSize(statusR, 64<<10), spaced: s.Namespace}
	return t, []*os.File{statusW, controlR}, nil
}

// begin hands the init its spec and waits for the main process to run.
func (t *tree) begin(s spec) error {
	name := s.Argv[0]
	data, err := s.encode()
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	// An init that died early fails this write; what it said before is the better news, so look there first.
	_, werr := t.control.Write(data)
	st, err := next(t.lines)
	switch {
	case err != nil:
		return fmt.Errorf("start %s: its init ended without a word: %w", name, errors.Join(err, werr))
	case st.word == "refused":
		return fmt.Errorf("%w: %s", errRefused, st.text)
	case st.word == "start-error":
		return fmt.Errorf("start %s: %s", name, st.text)
	case st.word != "started":
		return fmt.Errorf("start %s: its init said %q before anything ran", name, st.word)
	}
	if !t.spaced {
		t.main.Store(int64(st.n))
	}
	return nil
}

// wait blocks until the init is reaped; over is called when the main process is known to have ended.
func (t *tree) wait(over func()) ending {
	var how ending
	st, err := next(t.lines)
	over()
	if err == nil {
		how = ending{code: st.n}
		if st.word == "signal" {
			how = ending{signal: st.n}
		}
		// Only the end of the init closes its status pipe: by then the rest of the tree is swept.
		_, _ = next(t.lines)
	}
	werr := t.init.Wait()
	if err != nil {
		how = t.lost(werr)
	}
	t.close()
	return how
}

// lost is the ending of a tree whose init died before it could report: killed from outside, or by our Kill.
func (t *tree) lost(werr error) ending {
	t.sweepGroup()
	var exit *exec.ExitError
	if errors.As(werr, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return ending{signal: int(ws.Signal()), err: errors.New("the init of the test was killed, and the test with it")}
		}
	}
	// Not an exit code: that the main process ended was never seen.
	return ending{signal: int(syscall.SIGKILL), err: fmt.Errorf("the init of the test ended without a report: %w", werr)}
}

func (t *tree) interrupt() { t.order(orderInterrupt) }

// kill ends everything at once. A namespace dies with its init; elsewhere the init must live on to find them all.
func (t *tree) kill() {
	if t.spaced {
		// An error means that it is gone already.
		_ = t.init.Process.Kill()
		return
	}
	t.order(orderKill)
}

// destroy is the last resort, for an init that does not do its work (stopped, or starved).
func (t *tree) destroy() {
	_ = t.init.Process.Kill()
	t.sweepGroup()
}

// sweepGroup kills what is left of the main process's group, outside namespaces.
func (t *tree) sweepGroup() {
	if pid := int(t.main.Load()); pid > 0 {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
}

func (t *tree) order(b byte) {
	// The pipe holds thousands of orders and few are given; when the init is gone there is nobody left to order.
	_, _ = t.control.Write([]byte{b})
}

func (t *tree) close() { closeAll(t.control, t.status) }

// closeAll closes ends of pipes. What they carried was read or is of no use any more, so an error has nothing to tell.
func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

func signalName(n int) string {
	if name := unix.SignalName(syscall.Signal(n)); name != "" {
		return name
	}
	return fmt.Sprintf("SIG%d", n)
}
