//go:build unix

package blob

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// errQuota is the error of a user's disk quota that is used up.
var errQuota error = syscall.EDQUOT

// lockFile takes an exclusive flock(2) without waiting. The lock belongs to
// the open file: it keeps other processes away, and the kernel drops it when
// its holder dies.
func lockFile(file *os.File) (bool, error) {
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		default:
			return err == nil, err
		}
	}
}

// syncDirectory makes names in a directory safe against a power cut.
func syncDirectory(dir *os.File) error { return dir.Sync() }
