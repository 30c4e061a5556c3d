// Package blob is the room for keeping bytes by their SHA-256: app builds,
// test bundles, screenshots, traces. It imports only the root package.
//
// A blob is written once and never changes. It grows as a partial file, is
// read back and compared with its name when the last byte has arrived, and
// appears under its name only after it is safe on the disk. So a name that
// exists is a whole blob, also after a crash.
package blob

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/qualgent/qgjob"
)

const (
	partialDir = "partial"
	putPrefix  = "put-"

	dirMode  = 0o700
	fileMode = 0o600
)

// Limits bound what a Folder accepts.
type Limits struct {
	MaxSize int64 // bytes of one blob; must be above zero
}

// Info is what a Folder knows about one sum. A sum it has never seen is the
// zero Info, which is also the right start of an upload.
type Info struct {
	Complete bool  // the blob is here, whole
	Size     int64 // bytes of the whole blob; 0 while not complete
	Received int64 // bytes that have arrived; equal to Size when complete
}

// Folder keeps blobs in a directory: ab/abcdef… for whole blobs, partial/ for
// uploads under way. It is safe for concurrent use, and on Unix several
// processes may share one directory.
type Folder struct {
	root   *os.Root
	limits Limits

	busy // sums that an upload in this process holds
}

// OpenFolder opens dir and makes it, with mode 0700, when it is missing.
// Partial uploads of an earlier process are kept for resuming.
func OpenFolder(dir string, limits Limits) (*Folder, error) {
	if limits.MaxSize <= 0 {
		return nil, qgjob.Invalid("max_size", "the size limit of a blob folder must be above zero")
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, mapDisk("make blob folder "+dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, mapDisk("open blob folder "+dir, err)
	}
	if err := root.MkdirAll(partialDir, dirMode); err != nil {
		return nil, errors.Join(mapDisk("make blob folder "+dir, err), root.Close())
	}
	return &Folder{root: root, limits: limits}, nil
}

// Close lets go of the directory. Readers that Open gave out stay usable.
func (f *Folder) Close() error { return f.root.Close() }

// Stat tells whether the blob is here, or how much of it is. An unknown sum is
// no error. The error kinds are invalid (not a sum) and internal.
func (f *Folder) Stat(sum qgjob.Sum) (Info, error) {
	if err := valid(sum); err != nil {
		return Info{}, err
	}
	size, ok, err := f.size(whole(sum))
	if err != nil {
		return Info{}, err
	}
	if ok {
		return Info{Complete: true, Size: size, Received: size}, nil
	}
	received, _, err := f.size(partial(sum))
	if err != nil {
		return Info{}, err
	}
	return Info{Received: received}, nil
}

// Delete removes a whole blob for good. Readers that have it open keep
// reading; a partial upload of the same sum stays. Not here: not_found.
func (f *Folder) Delete(sum qgjob.Sum) error {
	if err := valid(sum); err != nil {
		return err
	}
	err := f.root.Remove(whole(sum))
	if errors.Is(err, fs.ErrNotExist) {
		return qgjob.NotFound("no blob %s", sum)
	}
	if err != nil {
		return mapDisk("delete blob "+string(sum), err)
	}
	return f.syncDir(shelf(sum))
}

// Sweep removes partial uploads that nothing has been added to since before,
// judged by file times. Uploads under way are left alone. It returns how many
// files and bytes it removed; it goes on after an error and joins them.
func (f *Folder) Sweep(before time.Time) (removed int, freed int64, err error) {
	dir, err := f.root.Open(partialDir)
	if err != nil {
		return 0, 0, mapDisk("sweep partial uploads", err)
	}
	entries, err := dir.ReadDir(-1)
	errs := []error{err, dir.Close()}
	for _, entry := range entries {
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.ModTime().Before(before) {
			continue
		}
		if err != nil {
			errs = append(errs, mapDisk("sweep partial upload "+entry.Name(), err))
			continue
		}
		gone, err := f.sweepOne(entry.Name(), before)
		if gone {
			removed++
			freed += info.Size()
		}
		errs = append(errs, err)
	}
	return removed, freed, errors.Join(errs...)
}

// sweepOne takes the upload's lock first, and then looks at the time again:
// an upload may have gone on between the listing and the lock.
func (f *Folder) sweepOne(name string, before time.Time) (bool, error) {
	path := partialDir + "/" + name
	if !f.take(qgjob.Sum(name)) {
		return false, nil
	}
	defer f.release(qgjob.Sum(name))
	file, err := f.root.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, mapDisk("sweep partial upload "+name, err)
	}
	defer file.Close()
	if locked, err := lockFile(file); err != nil || !locked {
		return false, mapDisk("sweep partial upload "+name, err)
	}
	info, err := file.Stat()
	if err != nil || !info.ModTime().Before(before) {
		return false, mapDisk("sweep partial upload "+name, err)
	}
	if same, err := f.stillThere(file, path); err != nil || !same {
		return false, err
	}
	if err := f.root.Remove(path); err != nil {
		return false, mapDisk("sweep partial upload "+name, err)
	}
	return true, nil
}

// size is the length of a regular file in the folder, and whether it exists.
func (f *Folder) size(path string) (int64, bool, error) {
	info, err := f.root.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, false, nil
	case err != nil:
		return 0, false, mapDisk("look at blob "+path, err)
	case !info.Mode().IsRegular():
		return 0, false, internal("blob "+path+" is not a regular file", "something else writes into the blob folder; remove it")
	}
	return info.Size(), true, nil
}

// stillThere says whether path still names the open file. The owner of the
// lock before us may have renamed or removed it while we waited.
func (f *Folder) stillThere(file *os.File, path string) (bool, error) {
	ours, err := file.Stat()
	if err != nil {
		return false, mapDisk("look at blob "+path, err)
	}
	named, err := f.root.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, mapDisk("look at blob "+path, err)
	}
	return os.SameFile(ours, named), nil
}

func (f *Folder) syncDir(path string) error {
	dir, err := f.root.Open(path)
	if err != nil {
		return mapDisk("sync blob folder", err)
	}
	return mapDisk("sync blob folder", errors.Join(syncDirectory(dir), dir.Close()))
}

// mapDisk gives an error of the file system its kind: no room left is
// unavailable, because someone can make room; the rest is internal.
func mapDisk(doing string, err error) error {
	if err == nil {
		return nil
	}
	for _, full := range []error{syscall.ENOSPC, errQuota, syscall.EFBIG} {
		if errors.Is(err, full) {
			out := qgjob.Unavailable(err, "%s: no room left on the disk", doing)
			out.Hint = "free space in the blob folder's file system or raise its limit, then send again"
			return out
		}
	}
	return &qgjob.Error{Kind: qgjob.KindInternal, Message: doing, Err: err}
}

func internal(message, hint string) error {
	return &qgjob.Error{Kind: qgjob.KindInternal, Message: message, Hint: hint}
}
