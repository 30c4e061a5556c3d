//go:build unix

package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/qualgent/qgjob"
	"golang.org/x/sys/unix"
)

// lockDir keeps a second process off the data directory: two writers would
// each decide from a mirror that the other one makes wrong.
func lockDir(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, qgjob.Unavailable(err, "lock data directory %s", dir)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(path)
		e := qgjob.Conflict("", "data directory %s is in use by another qgjob server (pid %s)", dir, holder)
		e.Hint = "stop it, or choose another --data-dir"
		return nil, errors.Join(e, f.Close())
	}
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d", os.Getpid())
	}
	return func() { _ = f.Close() }, nil
}
