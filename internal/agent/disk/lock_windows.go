package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockByte lies far behind the pid, so that others can still read who holds
// the lock: locks are mandatory here.
const lockByte = 1 << 20

func tryLock(f *os.File) (bool, error) {
	at := &windows.Overlapped{Offset: lockByte}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// syncDir does nothing: such systems do not sync directories.
func syncDir(*os.File) error { return nil }
