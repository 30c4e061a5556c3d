package bundle

import (
	"archive/zip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/qualgent/qgjob"
)

// tempPrefix begins the name of a directory that is being filled.
const tempPrefix = ".unpack-"

// Unpack unpacks a zip archive of size bytes, made by Pack or by anyone else,
// into destDir, which must not exist. The parent is made when it is missing.
//
// The files appear under destDir all at once, after they are synced to the
// disk; a crash leaves only a directory for Sweep. Files get mode 0600 or
// 0700, directories 0700; times and owners are not taken over.
//
// Refused are, before anything is written: absolute names, "..", backslashes,
// control characters, names that are not UTF-8, twice there, equal but for
// case, or below a file or link; links that could lead out; devices, pipes and
// sockets; encrypted entries; more files, directories or announced bytes than
// the limits. The bytes are counted again while they are inflated, because an
// archive may lie about them.
//
// The error kinds: invalid (all these, and broken archives; over a limit with
// qgjob.CodeTooLarge), conflict (destDir is there already), unavailable (disk
// full, or r fails), internal.
func Unpack(ctx context.Context, r io.ReaderAt, size int64, destDir string, limits Limits) (Manifest, error) {
	limits = limits.orDefault()
	source := &source{r: r, budget: directoryBudget(limits)}
	archive, err := zip.NewReader(source, size)
	if err != nil {
		return Manifest{}, source.explain("read archive", err)
	}
	source.budget = -1
	contents, err := survey(archive, limits)
	if err != nil {
		return Manifest{}, err
	}
	dest, err := filepath.Abs(destDir)
	if err != nil {
		return Manifest{}, mapDisk("unpack to "+destDir, err)
	}
	parentDir, name := filepath.Split(dest)
	if name == "" {
		return Manifest{}, invalid("name a new directory", "cannot unpack to %s", show(destDir))
	}
	if err := os.MkdirAll(parentDir, 0o700); err != nil {
		return Manifest{}, mapDisk("unpack to "+destDir, err)
	}
	parent, err := os.OpenRoot(parentDir)
	if err != nil {
		return Manifest{}, mapDisk("unpack to "+destDir, err)
	}
	defer parent.Close()
	if _, err := parent.Lstat(name); err == nil {
		return Manifest{}, taken(destDir)
	}
	temp := tempPrefix + rand.Text()
	manifest, err := contents.fill(ctx, source, parent, temp)
	if err == nil {
		err = publish(parent, temp, name, destDir)
	}
	if err != nil {
		return Manifest{}, errors.Join(err, mapDisk("clean up "+temp, parent.RemoveAll(temp)))
	}
	return manifest, nil
}

func taken(destDir string) error {
	out := qgjob.Conflict("", "%s is there already", destDir)
	out.Hint = "use it, or remove it first"
	return out
}

// publish gives the full directory its name.
func publish(parent *os.Root, temp, name, destDir string) error {
	err := parent.Rename(temp, name)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.ENOTDIR) {
		return taken(destDir)
	}
	if err != nil {
		return mapDisk("unpack to "+destDir, err)
	}
	return mapDisk("unpack to "+destDir, syncDir(parent))
}

// Sweep removes from parentDir what Unpack left there when it was killed
// before the given time. Finished directories are not touched.
func Sweep(parentDir string, before time.Time) (removed int, err error) {
	parent, err := os.OpenRoot(parentDir)
	if err != nil {
		return 0, mapDisk("sweep "+parentDir, err)
	}
	defer parent.Close()
	entries, err := readDir(parent, ".")
	errs := []error{err}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), tempPrefix) || !entry.IsDir() {
			continue
		}
		info, err := entry.Info()
		if err != nil || !info.ModTime().Before(before) {
			continue
		}
		if err := parent.RemoveAll(entry.Name()); err != nil {
			errs = append(errs, mapDisk("sweep "+entry.Name(), err))
			continue
		}
		removed++
	}
	return removed, errors.Join(errs...)
}

// directoryBudget is how many bytes an honest list of contents can have:
// files and directories, each with a fair name, a comment for the archive,
// and the searching that finds the list. A list of millions of empty entries
// would fill the memory before any limit could count it.
func directoryBudget(limits Limits) int64 {
	return 2*int64(limits.MaxFiles)*512 + 512<<10
}

// source tells a reader that fails from an archive that is broken, and bounds
// the bytes read while the list of contents is taken in.
type source struct {
	r      io.ReaderAt
	budget int64 // bytes that may still be read; below zero: no bound
	err    error
}

var errBudget = errors.New("the list of contents is too long")

func (s *source) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, zip.ErrFormat // the archive names this place, not our caller
	}
	if s.budget >= 0 {
		if s.budget -= int64(len(p)); s.budget < 0 {
			s.budget, s.err = 0, errBudget
			return 0, errBudget
		}
	}
	n, err := s.r.ReadAt(p, off)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// explain gives an error of the zip reader its kind.
func (s *source) explain(doing string, err error) error {
	const hint = "make the archive again; it must be a plain zip file"
	switch {
	case errors.Is(s.err, errBudget):
		return tooLarge("leave out what is not needed", "%s: %v", doing, errBudget)
	case s.err != nil:
		return qgjob.Unavailable(s.err, "%s", doing)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", doing, err)
	}
	return invalid(hint, "%s: %v", doing, err)
}
