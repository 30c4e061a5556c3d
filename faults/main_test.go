//go:build unix

// Package faults_test breaks whole farms: real servers, agents and databases
// are killed, stopped, cut off and filled up while jobs run, and afterwards
// every promise of the lease protocol is checked from what servers say and
// from the journal that the jobs themselves keep. Everything random comes from
// a seed, which is printed; QGJOB_SEED plays it again.
package faults_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/qualgent/qgjob/internal/agent/proc"
	"github.com/qualgent/qgjob/internal/cli"
	"github.com/qualgent/qgjob/internal/store/pgtest"
)

// asProgram makes this test binary be qgjob itself, so that what is tested is
// what is released but for its main function of three lines.
const asProgram = "QGJOB_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	proc.MaybeInit()
	if len(os.Args) > 1 && os.Args[1] == faultJob {
		os.Exit(runFaultJob(os.Args[2]))
	}
	if os.Getenv(asProgram) != "" {
		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
	}
	go launcher()
	code := m.Run()
	pgtest.Stop()
	os.Exit(code)
}

// slow skips tests that take minutes.
func slow(t *testing.T) {
	t.Helper()
	if os.Getenv("QGJOB_SLOW") == "" {
		t.Skip("takes a while: set QGJOB_SLOW=1")
	}
}

// number is a setting from the environment.
func number(name string, otherwise uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
		return n
	}
	return otherwise
}

func seed(t *testing.T) uint64 {
	s := number("QGJOB_SEED", uint64(time.Now().UnixNano()))
	t.Logf("QGJOB_SEED=%d", s)
	return s
}

// launches are the starts of processes, all made by one thread that never
// ends: the kernel ties a child's death to the thread that started it.
var launches = make(chan func())

func launcher() {
	runtime.LockOSThread()
	for start := range launches {
		start()
	}
}

// process is a program of a farm. Its output goes to a file.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // how it ended; to be read when it has
}

func testBinary() string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}

// launch runs qgjob with arguments in a folder.
func launch(dir, log string, args ...string) (*process, error) {
	out, err := os.OpenFile(filepath.Join(dir, log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(testBinary(), args...), exited: make(chan struct{})} //nolint:noctx // ends when the farm does
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, out, out
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	dieWithParent(p.cmd.SysProcAttr)
	started := make(chan error)
	launches <- func() { started <- p.cmd.Start() }
	err = <-started
	_ = out.Close()
	if err != nil {
		return nil, err
	}
	go func() { p.err = p.cmd.Wait(); close(p.exited) }()
	return p, nil
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// unit is a program that a supervisor starts again whenever it ends, as an
// init system does.
type unit struct {
	dir, log string
	args     []string
	mu       sync.Mutex
	p        *process
	away     time.Time // not started again before
	closed   bool
	starts   int
	gone     chan struct{}
}

func supervise(dir, log string, args ...string) *unit {
	u := &unit{dir: dir, log: log, args: args, gone: make(chan struct{})}
	go u.keep()
	return u
}

func (u *unit) keep() {
	defer close(u.gone)
	for {
		u.mu.Lock()
		closed, away := u.closed, time.Until(u.away)
		if !closed && away <= 0 {
			p, err := launch(u.dir, u.log, u.args...)
			if err != nil {
				panic(fmt.Sprintf("start %v: %v", u.args, err))
			}
			u.p = p
			u.starts++
		}
		p := u.p
		u.mu.Unlock()
		if closed {
			return
		}
		if away <= 0 {
			<-p.exited
			away = 50 * time.Millisecond
		}
		wait(min(away, 100*time.Millisecond))
	}
}

// kill ends the program by a signal; it stays away for a while.
func (u *unit) kill(s syscall.Signal, away time.Duration) {
	u.mu.Lock()
	u.away = time.Now().Add(away)
	p := u.p
	u.mu.Unlock()
	if p == nil {
		return
	}
	p.signal(s)
	if s == syscall.SIGKILL {
		<-p.exited
	}
}

// stop holds the program as it is; the answer lets that very process go on.
func (u *unit) stop() (resume func()) {
	u.mu.Lock()
	p := u.p
	u.mu.Unlock()
	if p == nil {
		return func() {}
	}
	p.signal(syscall.SIGSTOP)
	return func() { p.signal(syscall.SIGCONT) }
}

func (u *unit) close() {
	u.mu.Lock()
	u.closed = true
	p := u.p
	u.mu.Unlock()
	if p != nil {
		p.signal(syscall.SIGKILL)
	}
	<-u.gone
}

// wait lets real time pass: processes are not in a bubble.
func wait(d time.Duration) { time.Sleep(d) } //budget:allow faults last for real time
