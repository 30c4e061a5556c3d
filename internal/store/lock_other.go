//go:build !unix

package store

import (
	"os"
	"path/filepath"

	"github.com/qualgent/qgjob"
)

// lockDir keeps a second process off the data directory as well as a system
// without flock allows: the file stays open, which forbids its removal there.
func lockDir(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, "lock")
	_ = os.Remove(path)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		e := qgjob.Conflict("", "data directory %s is in use by another qgjob server", dir)
		e.Hint = "stop it, or choose another --data-dir"
		e.Err = err
		return nil, e
	}
	return func() { _ = f.Close(); _ = os.Remove(path) }, nil
}
