// Package disk is the agent's memory of small facts: files that a crash leaves
// whole, and locks that die with their holder.
//
// It imports nothing of ours.
package disk

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Replace writes a file so that a crash at any moment leaves the old content
// or the new one, never a part: write beside it, sync, rename, sync the
// directory. When it returns nil the content survives a power cut.
func Replace(path string, content []byte) error {
	tmp := path + "." + suffix() + ".tmp"
	if err := writeSynced(tmp, content); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", filepath.Base(path), err), discard(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", filepath.Base(path), err), discard(tmp))
	}
	return SyncDir(filepath.Dir(path))
}

// Remove deletes a file for good; one that is not there is no error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in a directory safe against a power cut, where the
// system can.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return syncDir(d)
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func discard(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func suffix() string {
	var b [6]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Lock is an exclusive lock on a file. The kernel drops it when its holder
// dies, however it dies.
type Lock struct{ file *os.File }

// HeldError says that another process holds a lock.
type HeldError struct {
	Path string
	PID  int // 0 when the holder has not said
}

// Error names the file and the holder.
func (e *HeldError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is locked by another process", e.Path)
	}
	return fmt.Sprintf("%s is locked by process %d", e.Path, e.PID)
}

// TryLock takes the lock or gives a *HeldError at once. The file holds the
// pid of its holder.
func TryLock(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	got, err := tryLock(f)
	if err != nil || !got {
		pid, closed := readPID(f), f.Close()
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, errors.Join(err, closed))
		}
		return nil, &HeldError{Path: path, PID: pid}
	}
	l := &Lock{file: f}
	if err := l.sign(); err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, errors.Join(err, l.Unlock()))
	}
	return l, nil
}

func (l *Lock) sign() error {
	text := strconv.Itoa(os.Getpid()) + "\n"
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt([]byte(text), 0)
	return err
}

// Unlock gives the lock back. The file stays: deleting it would let two
// processes hold "the" lock on two files of one name.
func (l *Lock) Unlock() error { return l.file.Close() }

func readPID(f *os.File) int {
	var b [32]byte
	n, _ := f.ReadAt(b[:], 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil || pid < 1 {
		return 0
	}
	return pid
}
