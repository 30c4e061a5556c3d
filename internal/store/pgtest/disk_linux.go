package pgtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// smallSize is enough for a cluster with small segments of the log, and for
// some ten thousand jobs.
const smallSize = "size=192m"

// Disk is a file system of a cluster's own, in memory, that can be filled up.
type Disk struct{ dir string }

// StartSmall is Start with the data on a small disk; alone: the write-ahead
// log is elsewhere. Without the right to mount one the error is ErrMount.
func StartSmall(alone bool) (_ *Cluster, _ *Disk, err error) {
	c := &Cluster{}
	if err := c.settle(); err != nil {
		return nil, nil, err
	}
	d := &Disk{c.data()}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.unmount(), os.RemoveAll(c.dir))
		}
	}()
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		return nil, nil, err
	}
	if err := unix.Mount("tmpfs", d.dir, "tmpfs", 0, smallSize); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrMount, err)
	}
	c.disk = d
	if err := errors.Join(os.Chmod(d.dir, 0o700), ownDir(d.dir)); err != nil { //nolint:gosec // a folder, which PostgreSQL wants so
		return nil, nil, err
	}
	more := []string{"--wal-segsize=1"}
	if alone {
		more = append(more, "--waldir="+filepath.Join(c.dir, "wal"))
	}
	if err := c.initdb(more...); err != nil {
		return nil, nil, err
	}
	return c, d, c.Up()
}

func (d *Disk) ballast() string { return filepath.Join(d.dir, "ballast") }

// Fill leaves no room.
func (d *Disk) Fill() error {
	f, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // PostgreSQL looks at all files of its folder
	if err != nil {
		return err
	}
	for chunk := make([]byte, 1<<20); err == nil; {
		_, err = f.Write(chunk)
	}
	if errors.Is(err, unix.ENOSPC) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// Free gives the room back.
func (d *Disk) Free() error { return os.Remove(d.ballast()) }

func (d *Disk) unmount() error {
	err := unix.Unmount(d.dir, unix.MNT_DETACH)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) { // it was never mounted
		return nil
	}
	return err
}
