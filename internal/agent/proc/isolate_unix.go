//go:build unix && !linux

package proc

import (
	"errors"
	"os"
	"syscall"
)

const groupCaveat = "Programs that leave the test's process group (daemons) survive it: this system has no PID namespaces"

func selfPath() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

func intoNamespaces(*syscall.SysProcAttr) error {
	return errors.Join(errRefused, errors.New("this system has none"))
}

func isRefusal(err error) bool { return errors.Is(err, errRefused) }

func settle(bool) error { return nil }

// dieWithInit has no means here: the agent sweeps the group of an init that was killed.
func dieWithInit(*syscall.SysProcAttr) {}

// sweep reaps what the kill of the group has left; orphans go to PID 1 of the machine.
func sweep() {}
