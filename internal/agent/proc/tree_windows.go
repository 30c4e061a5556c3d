package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

const groupCaveat = "The tree is held by a job object, which ends it with the agent: Windows has no PID namespaces"

var errRefused = errors.New("PID namespace refused")

// spec is what is needed to start the test: everything resolved.
type spec struct {
	Path      string
	Argv, Env []string
	Dir       string
}

// tree is one direct child in a job object that is closed, and so killed, with its last handle: ours.
type tree struct {
	child *exec.Cmd

	mu  sync.Mutex
	job windows.Handle // 0 when closed: Windows gives its number out again
}

func runInit() {
	fmt.Fprintln(os.Stderr, "qgjob: "+InitArg+" has no use on Windows; see qgjob --help")
	os.Exit(2)
}

func startTree(s spec, i Isolation, out *output) (*tree, error) {
	if i == IsolationPIDNamespace {
		return nil, fmt.Errorf("%w: Windows has none", errRefused)
	}
	job, err := newJob()
	if err != nil {
		return nil, fmt.Errorf("start %s: job object: %w", s.Argv[0], err)
	}
	cmd := &exec.Cmd{Path: s.Path, Args: s.Argv, Env: s.Env, Dir: s.Dir, Stdout: out.stdout, Stderr: out.stderr}
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
	if err := cmd.Start(); err != nil {
		closeHandle(job)
		return nil, fmt.Errorf("start %s: %w", s.Argv[0], cause(err))
	}
	// What the child starts before this line is outside the job.
	if err := assign(job, cmd.Process.Pid); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		closeHandle(job)
		return nil, fmt.Errorf("start %s: job object: %w", s.Argv[0], err)
	}
	return &tree{child: cmd, job: job}, nil
}

func newJob() (windows.Handle, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, err
	}
	info := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{}
	info.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
	if err != nil {
		closeHandle(job)
		return 0, err
	}
	return job, nil
}

func assign(job windows.Handle, pid int) error {
	h, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(pid))
	if err != nil {
		return err
	}
	defer closeHandle(h)
	return windows.AssignProcessToJobObject(job, h)
}

// closeHandle closes a handle of ours: it fails for handles that are none, and there is nothing to do about it.
func closeHandle(h windows.Handle) { _ = windows.CloseHandle(h) }

func (t *tree) wait(over func()) ending {
	err := t.child.Wait()
	over()
	t.kill() // what the child left behind
	t.mu.Lock()
	closeHandle(t.job)
	t.job = 0
	t.mu.Unlock()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return ending{signal: int(syscall.SIGKILL), err: err}
	}
	return ending{code: t.child.ProcessState.ExitCode()}
}

// interrupt is CTRL_BREAK, the only one that reaches a single process group.
func (t *tree) interrupt() {
	_ = windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(t.child.Process.Pid))
}

func (t *tree) kill() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.job != 0 {
		_ = windows.TerminateJobObject(t.job, 137)
	}
}

func (t *tree) destroy() { t.kill() }

func signalName(n int) string { return fmt.Sprintf("signal %d", n) }
