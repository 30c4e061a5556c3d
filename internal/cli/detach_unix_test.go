//go:build unix

package cli

import (
	"os/exec"
	"syscall"
)

// detach gives a child a session of its own, where no signal to its parent's
// group reaches it.
func detach(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
