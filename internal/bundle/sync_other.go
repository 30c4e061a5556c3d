//go:build !linux

package bundle

import "os"

// syncFile syncs each file: there is no syncfs here.
func syncFile(file *os.File) error { return file.Sync() }

// syncTree has nothing left to do; the names inside become durable with the
// journal of the file system.
func syncTree(*os.Root) error { return nil }

// syncDir does nothing: not every such system can sync directories.
func syncDir(*os.Root) error { return nil }
