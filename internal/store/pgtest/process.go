package pgtest

import (
	"os"
	"os/exec"
	"runtime"
)

// process is a server that was started. It is started and waited for on one
// thread, which lives as long as it: the kernel ties the server's death to the
// thread's.
type process struct {
	cmd  *exec.Cmd
	gone chan struct{} // closed when it has ended
}

func launch(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, gone: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer close(p.gone)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // that it has ended is all there is to know
		}
	}()
	return p, <-started
}

func (p *process) signal(s os.Signal) error { return p.cmd.Process.Signal(s) }
