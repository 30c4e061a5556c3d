package bundle

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncFile waits: syncTree syncs all files at once, which for thousands of
// small ones takes one disk flush instead of thousands.
func syncFile(*os.File) error { return nil }

// syncTree makes the whole directory safe against a power cut by syncfs(2).
func syncTree(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(dir.Fd())), dir.Close())
}

func syncDir(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
