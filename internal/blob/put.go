package blob

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"os"

	"github.com/qualgent/qgjob"
)

// Put keeps all bytes of r and returns their sum and count. When Put returns
// without error, the blob is safe on the disk; when the same blob was here
// before, the new copy is dropped. Nothing of a Put that failed stays. The
// error kinds: invalid with qgjob.CodeTooLarge above Limits.MaxSize,
// unavailable when r breaks or the disk is full, internal.
func (f *Folder) Put(r io.Reader) (sum qgjob.Sum, size int64, err error) {
	name := partialDir + "/" + putPrefix + rand.Text()
	file, err := f.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return "", 0, mapDisk("put blob", err)
	}
	kept := false
	defer func() {
		if !kept {
			err = errors.Join(err, mapDisk("put blob", f.root.Remove(name)))
		}
		// After a good sync, close has no news.
		_ = file.Close()
	}()
	// The lock only tells Sweep that someone is at work.
	if _, err := lockFile(file); err != nil {
		return "", 0, mapDisk("put blob", err)
	}
	sum, size, err = f.fill(file, r)
	if err != nil {
		return "", 0, err
	}
	if _, done, err := f.already(sum, size); done || err != nil {
		return sum, size, err
	}
	if err := file.Sync(); err != nil {
		return "", 0, mapDisk("put blob", err)
	}
	// Two Puts of the same bytes may both come here. The later rename puts
	// identical bytes in the same place, and readers keep what they opened.
	if err := f.publish(name, sum); err != nil {
		return "", 0, err
	}
	kept = true
	return sum, size, nil
}

// fill copies r to the file, hashing on the way.
func (f *Folder) fill(file *os.File, r io.Reader) (qgjob.Sum, int64, error) {
	digest := sha256.New()
	disk := &diskWriter{file: file}
	size, err := io.Copy(io.MultiWriter(disk, digest), io.LimitReader(r, f.limits.MaxSize))
	switch {
	case disk.err != nil:
		return "", 0, mapDisk("put blob", disk.err)
	case err != nil:
		return "", 0, qgjob.Unavailable(err, "put blob: the sender stopped after %d bytes", size)
	case size == f.limits.MaxSize && hasMore(r):
		return "", 0, f.limits.tooLarge("the bytes sent are")
	}
	return sumFrom(digest), size, nil
}
