//go:build unix

package proc

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Files of the init, as exec.Cmd.ExtraFiles numbers them.
const (
	statusFD  = 3
	controlFD = 4
)

// runInit is the whole life of an init.
//
// It ends through syscall.Exit: the hooks of os.Exit (coverage, race reports) would write into the test's output.
func runInit() {
	// The parent-death signal of the test and the capabilities that it inherits belong to the thread that forks it.
	runtime.LockOSThread()
	if !isPipe(statusFD) || !isPipe(controlFD) {
		fmt.Fprintln(os.Stderr, "qgjob: "+InitArg+" is started by the agent only; see qgjob --help")
		syscall.Exit(2)
	}
	// A test must neither forge its status nor keep the pipes open.
	syscall.CloseOnExec(statusFD)
	syscall.CloseOnExec(controlFD)
	i := &initProcess{
		status:  os.NewFile(statusFD, "status"),
		control: os.NewFile(controlFD, "control"),
		signals: make(chan os.Signal, 16),
	}
	// Also when they are ignored here (an agent started with nohup, or with & by a script): a handler is reset to the
	// default in the test, an ignored signal would stay ignored, and a cancel would never be heard.
	signal.Notify(i.signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	syscall.Exit(i.run())
}

type initProcess struct {
	spec    spec
	status  *os.File
	control *os.File
	signals chan os.Signal
	main    int
}

func (i *initProcess) run() int {
	s, err := readSpec(i.control)
	if err != nil {
		return i.say(status{word: "start-error", text: "read spec: " + err.Error()})
	}
	i.spec = s
	if err := settle(s.Namespace); err != nil {
		return i.say(status{word: "refused", text: err.Error()})
	}
	if i.main, err = startMain(s); err != nil {
		return i.say(status{word: "start-error", text: explainExec(s, err)})
	}
	i.say(status{word: "started", n: i.main})
	go i.obey()
	go i.forward()
	return i.reap()
}

// say reports to the agent and gives the exit code that stands for the same. An agent that is gone hears nothing:
// obey sees that.
func (i *initProcess) say(st status) int {
	_, _ = i.status.WriteString(st.line())
	switch st.word {
	case "exit":
		return st.n
	case "signal":
		return 128 + st.n
	}
	return 127
}

// startMain starts the test in its own process group.
func startMain(s spec) (pid int, err error) {
	null, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer syscall.Close(null)
	attr := &syscall.SysProcAttr{Setpgid: true}
	dieWithInit(attr)
	return syscall.ForkExec(s.Path, s.Argv, &syscall.ProcAttr{
		Dir: s.Dir, Env: s.Env, Files: []uintptr{uintptr(null), 1, 2}, Sys: attr,
	})
}

// explainExec adds the next step to the errors of exec that mislead.
func explainExec(s spec, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("%v: %s or the interpreter in its first line is missing: install it", err, s.Path)
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Sprintf("%v: %s is not a program for this machine (a script needs a #! line)", err, s.Path)
	case errors.Is(err, syscall.E2BIG):
		return fmt.Sprintf("%v: make the arguments or the environment smaller", err)
	}
	return fmt.Sprintf("%s: %v", s.Path, err)
}

// obey takes the agent's orders until the agent is gone, and then ends everything.
func (i *initProcess) obey() {
	order := make([]byte, 1)
	for {
		_, err := io.ReadFull(i.control, order)
		switch {
		case err != nil && i.spec.Namespace:
			syscall.Exit(128 + int(syscall.SIGKILL)) // the kernel ends the namespace with its PID 1
		case err != nil:
			i.kill(syscall.SIGKILL) // reap goes on to sweep the rest
			return
		case order[0] == orderInterrupt:
			i.kill(syscall.SIGINT)
		case order[0] == orderKill:
			i.kill(syscall.SIGKILL)
		}
	}
}

func (i *initProcess) forward() {
	for s := range i.signals {
		if sig, ok := s.(syscall.Signal); ok {
			i.kill(sig)
		}
	}
}

// kill signals the group of the main process, or the process alone when it has left its group. Between reap and exit
// the number could in theory belong to another process: ids are handed out in a circle of at least 32,768, and the
// init lives for microseconds more.
func (i *initProcess) kill(sig syscall.Signal) {
	if err := syscall.Kill(-i.main, sig); err != nil {
		_ = syscall.Kill(i.main, sig)
	}
}

// reap waits for everything that ends below, orphans included, until the main process does; reports it, and ends the
// rest of the tree.
func (i *initProcess) reap() int {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return i.say(status{word: "signal", n: int(syscall.SIGKILL)}) // cannot happen: the main process is our child
		}
		if pid != i.main || !ws.Exited() && !ws.Signaled() {
			continue
		}
		st := status{word: "exit", n: ws.ExitStatus()}
		if ws.Signaled() {
			st = status{word: "signal", n: int(ws.Signal())}
		}
		code := i.say(st)
		if !i.spec.Namespace {
			_ = syscall.Kill(-i.main, syscall.SIGKILL)
			sweep()
		}
		return code
	}
}

func isPipe(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
}
