//go:build !linux

package pgtest

// Disk is a file system that can be filled up; there is none here.
type Disk struct{}

// StartSmall needs Linux.
func StartSmall(bool) (*Cluster, *Disk, error) { return nil, nil, ErrMount }

// Fill does nothing.
func (d *Disk) Fill() error { return nil }

// Free does nothing.
func (d *Disk) Free() error { return nil }

func (d *Disk) unmount() error { return nil }
