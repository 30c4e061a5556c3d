//go:build unix

package doctor

import (
	"os"

	"golang.org/x/sys/unix"
)

// diskFree is the space in bytes that this user may fill in a folder, which is
// made where it is missing, as an agent would.
func diskFree(dir string) (int64, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return -1, err
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return -1, &os.PathError{Op: "write to", Path: dir, Err: err}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return -1, nil //nolint:nilerr // not known is no fault of the machine
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:gosec,unconvert // the types differ between systems
}
