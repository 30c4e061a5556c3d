//go:build !unix

package blob

import (
	"os"
	"syscall"
)

// errQuota has no number of its own here.
var errQuota error = syscall.ENOSPC

// lockFile always succeeds here: without flock, one directory belongs to one
// process, and the map of busy sums in Folder is enough.
func lockFile(*os.File) (bool, error) { return true, nil }

// syncDirectory does nothing: such systems do not sync directories.
func syncDirectory(*os.File) error { return nil }
