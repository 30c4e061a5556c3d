// Package proc is the agent's hand on a test's processes: running a test's process tree so that it dies with its agent.
//
// On unix the test is not a direct child of the agent. Between the two stands a small init, the same binary started
// again with InitArg (see MaybeInit), which leads the tree: it forwards signals, reaps orphans, tells the agent
// truthfully how the test ended, and ends everything when the agent is gone. On Linux that init is PID 1 of a PID
// namespace, so the kernel ends the whole tree with it, programs that called setsid included. Where namespaces are
// refused the init adopts orphans (Linux) or leads a process group (other unix), and Result.Warning says so loudly.
//
// It imports nothing of ours.
package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// InitArg is the first argument that turns this binary into the init of one test. It is private to this package:
// nobody types it, MaybeInit looks for it.
const InitArg = "__qgjob_init"

// DefaultGrace is how long a cancelled test may take to end after SIGINT when Command.Grace is zero.
const DefaultGrace = 10 * time.Second

const (
	// sweepDelay bounds how long a tree may take to vanish after its end was certain (main process ended, or SIGKILL
	// sent) before the init itself is killed.
	sweepDelay = 5 * time.Second
	// drainDelay bounds how long output is still read when the tree is gone but an escaped process holds the pipe.
	drainDelay = 2 * time.Second
)

// Isolation is how strongly a test's process tree is tied to its agent.
type Isolation int

const (
	// IsolationAuto takes the strongest isolation the machine grants and warns when that is not a PID namespace.
	IsolationAuto Isolation = iota
	// IsolationPIDNamespace (Linux): the kernel ends the whole tree with its init. Asked for by name it is wanted or
	// nothing: Start gives an error where it is refused.
	IsolationPIDNamespace
	// IsolationProcessGroup has the tree ended by its init (unix) or its job object (Windows), not by the kernel's
	// namespace. Asked for by name it gives no warning.
	IsolationProcessGroup
)

// String gives the word used in logs and events.
func (i Isolation) String() string {
	switch i {
	case IsolationAuto:
		return "auto"
	case IsolationPIDNamespace:
		return "pid-namespace"
	case IsolationProcessGroup:
		return "process-group"
	}
	return fmt.Sprintf("isolation(%d)", int(i))
}

// Command says what to run. There is no shell: Argv goes to the program as it is.
type Command struct {
	// Argv is the program and its arguments. A bare Argv[0] is looked up in the PATH of Env, in absolute folders only;
	// one with a slash is a path, relative to Dir.
	Argv []string
	// Dir is the working directory; empty is the agent's own.
	Dir string
	// Env is the whole environment, KEY=VALUE. Unlike os/exec, nil is the empty environment: nothing of the agent's
	// own leaks into a test. Of two values for one key the last counts.
	Env []string
	// Stdout and Stderr take the output; nil throws it away. The same writer for both keeps the order in which the
	// test wrote, and is never written to by two goroutines at once. A writer that blocks blocks the test; when one
	// fails, the rest of that output is read and thrown away, and Result.OutputErr says so. Standard input is empty.
	Stdout, Stderr io.Writer
	// Grace is the time between SIGINT and SIGKILL of a cancel: zero is DefaultGrace, negative is none.
	Grace time.Duration
	// Isolation wanted; the zero value is IsolationAuto.
	Isolation Isolation
	// Warn, when set, is told when the isolation obtained is weaker than a PID namespace although the strongest was
	// wanted. It is called for each such command; wrap it with Once to hear each text a single time.
	Warn func(string)
}

// Once gives a warn function that passes each different text on to f a single time. It may be called concurrently.
func Once(f func(string)) func(string) {
	var said sync.Map
	return func(text string) {
		if _, before := said.LoadOrStore(text, true); !before {
			f(text)
		}
	}
}

// errNoHook is what a program gets that would start itself again without looking for InitArg: a test binary would
// run its tests inside each of its tests.
var errNoHook = errors.New("proc.MaybeInit was not called: call it first thing in main, or in TestMain of this test")

var hooked atomic.Bool

// MaybeInit must be the first thing in main and in the TestMain of every package that starts processes through this
// one. In a process that was started as the init of a test it does that work and never returns; elsewhere it returns
// at once.
func MaybeInit() {
	hooked.Store(true)
	if len(os.Args) > 1 && os.Args[1] == InitArg {
		runInit()
	}
}

// Process is one running test and all that it started. Its methods may be called from any goroutine.
type Process struct {
	command Command
	isolate Isolation // obtained
	warning string
	started time.Time
	tree    *tree
	out     *output

	mu      sync.Mutex
	over    bool // the main process has ended: nothing is left to cancel
	ours    bool
	cause   error
	ladder  *time.Timer
	escaped *time.Timer

	done   chan struct{}
	result Result
}

// Start runs the command. An error means that nothing runs: it names Argv[0] or Dir and what to do about it.
// A Process that was started must be waited for.
func Start(c Command) (*Process, error) {
	if !hooked.Load() {
		return nil, errNoHook
	}
	spec, err := c.spec()
	if err != nil {
		return nil, err
	}
	if c.Grace == 0 {
		c.Grace = DefaultGrace
	}
	p := &Process{command: c, done: make(chan struct{})}
	ready := make(chan error)
	go p.supervise(spec, ready)
	if err := <-ready; err != nil {
		return nil, err
	}
	if p.warning != "" && c.Warn != nil {
		c.Warn(p.warning)
	}
	return p, nil
}

// Run starts the command and waits for it. The end of ctx cancels it with the cause of ctx; a ctx that has ended
// before gives Stopped without starting anything. Callers that may have to cut a cancel short use Start and Kill.
func Run(ctx context.Context, c Command) Result {
	if ctx.Err() != nil {
		now := time.Now()
		return Result{End: Stopped, ExitCode: -1, Cause: context.Cause(ctx), Started: now, Ended: now}
	}
	p, err := Start(c)
	if err != nil {
		now := time.Now()
		return Result{End: NotStarted, ExitCode: -1, Err: err, Started: now, Ended: now}
	}
	stop := context.AfterFunc(ctx, func() { p.Cancel(context.Cause(ctx)) })
	defer stop()
	return p.Wait()
}

// supervise owns one tree from launch to the last byte of its output.
//
// It keeps its thread: a parent-death signal is sent when the *thread* that forked ends, not the process, so that
// thread must live as long as the tree.
func (p *Process) supervise(s spec, ready chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.launch(s); err != nil {
		ready <- err
		return
	}
	p.started = time.Now()
	ready <- nil
	how := p.tree.wait(p.mainEnded)
	outErr := p.out.finish(drainDelay)
	p.conclude(how, outErr)
	close(p.done)
}

// launch starts the tree, weaker when the kernel refuses and the caller left the choice to us.
func (p *Process) launch(s spec) error {
	want := p.command.Isolation
	var refusal error
	if want != IsolationProcessGroup {
		err := p.launchAs(s, IsolationPIDNamespace)
		if !errors.Is(err, errRefused) {
			return err
		}
		if want == IsolationPIDNamespace {
			return fmt.Errorf("start %s: %w", p.command.Argv[0], err)
		}
		refusal = err
	}
	if err := p.launchAs(s, IsolationProcessGroup); err != nil {
		return err
	}
	if refusal != nil {
		p.warning = fmt.Sprintf("weaker isolation: %v; tests run as a process group instead. %s", refusal, groupCaveat)
	}
	return nil
}

func (p *Process) launchAs(s spec, i Isolation) error {
	out, err := newOutput(p.command.Stdout, p.command.Stderr)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.command.Argv[0], err)
	}
	t, err := startTree(s, i, out)
	out.closeWriters()
	if err != nil {
		return errors.Join(err, out.finish(drainDelay))
	}
	p.tree, p.out, p.isolate = t, out, i
	return nil
}

// Wait blocks until the whole tree is gone and its output is written, and tells how the test ended. It may be called
// more than once and gives the same answer.
func (p *Process) Wait() Result {
	<-p.done
	return p.result
}

// Done is closed when Wait would return at once.
func (p *Process) Done() <-chan struct{} { return p.done }

// Cancel asks the test to end: SIGINT to its process group now (Windows: CTRL_BREAK), SIGKILL to the whole tree after
// Command.Grace. It returns at once. The first cause given stays in the Result; a test that has ended already is not
// touched, and its result stays its own.
func (p *Process) Cancel(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over || p.ours {
		return
	}
	p.ours, p.cause = true, cause
	if p.command.Grace < 0 {
		p.killLocked()
		return
	}
	p.tree.interrupt()
	p.ladder = time.AfterFunc(p.command.Grace, p.Kill)
}

// Kill ends the whole tree with SIGKILL, at once. After a Cancel it cuts the grace short and keeps the cause.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.ours = true
		p.killLocked()
	}
}

func (p *Process) killLocked() {
	p.tree.kill()
	p.armLocked()
}

// armLocked makes sure that a tree which must be gone soon cannot hold its agent for ever.
func (p *Process) armLocked() {
	if p.escaped == nil {
		p.escaped = time.AfterFunc(sweepDelay, p.tree.destroy)
	}
}

// mainEnded is called when the end of the main process is known and the rest is being swept.
func (p *Process) mainEnded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.armLocked()
}

func (p *Process) conclude(how ending, outErr error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	for _, t := range []*time.Timer{p.ladder, p.escaped} {
		if t != nil {
			t.Stop()
		}
	}
	r := Result{
		ExitCode: -1, OursSignal: p.ours, Cause: p.cause, Started: p.started, Ended: time.Now(),
		Isolated: p.isolate, Warning: p.warning, OutputErr: outErr, Err: how.err,
	}
	if how.signal != 0 {
		r.End, r.Signal = Signalled, signalName(how.signal)
	} else {
		r.End, r.ExitCode = Exited, how.code
	}
	if p.ours {
		r.End, r.Err = Stopped, nil
	}
	p.result = r
}

// spec checks the command and resolves what the tree must not resolve for itself.
func (c Command) spec() (spec, error) {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return spec{}, errors.New("start: no command was given")
	}
	for _, s := range slices.Concat(c.Argv, c.Env, []string{c.Dir}) {
		if strings.ContainsRune(s, 0) {
			return spec{}, fmt.Errorf("start %q: NUL byte in %q", c.Argv[0], s)
		}
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return spec{}, fmt.Errorf("start %s: %w", c.Argv[0], err)
	}
	if st, err := os.Stat(dir); err != nil {
		return spec{}, fmt.Errorf("start %s: working directory: %w", c.Argv[0], err)
	} else if !st.IsDir() {
		return spec{}, fmt.Errorf("start %s: working directory %s is not a directory", c.Argv[0], dir)
	}
	env := lastWins(c.Env)
	path, err := lookPath(c.Argv[0], dir, env)
	if err != nil {
		return spec{}, err
	}
	return spec{Path: path, Argv: c.Argv, Dir: dir, Env: env}, nil
}
