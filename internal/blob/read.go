package blob

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/qualgent/qgjob"
)

// VerifyAtOpen is the size in bytes up to which Open checks a blob's sum. A
// mebibyte takes about a millisecond, which nobody notices; a build of two
// gigabytes would take seconds before the first byte. Larger blobs are checked
// by Verify, and every receiver checks the sum of what it got.
const VerifyAtOpen = 1 << 20

// Open gives a whole blob and its size in bytes. The caller closes it. A blob
// of at most VerifyAtOpen bytes is checked first. The error kinds: invalid
// (not a sum), not_found (not here, or not whole yet), internal (the bytes on
// the disk are no longer those of the sum).
func (f *Folder) Open(sum qgjob.Sum) (io.ReadSeekCloser, int64, error) {
	file, size, err := f.open(sum)
	if err != nil {
		return nil, 0, err
	}
	if size <= VerifyAtOpen {
		if err := check(file, sum); err != nil {
			return nil, 0, errors.Join(err, file.Close())
		}
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return nil, 0, errors.Join(mapDisk("open blob "+string(sum), err), file.Close())
		}
	}
	return file, size, nil
}

// Verify reads a whole blob of any size and compares it with its sum. The
// error kinds are those of Open. It changes nothing: a damaged blob can be
// deleted and sent again.
func (f *Folder) Verify(sum qgjob.Sum) error {
	file, _, err := f.open(sum)
	if err != nil {
		return err
	}
	return errors.Join(check(file, sum), mapDisk("verify blob "+string(sum), file.Close()))
}

func (f *Folder) open(sum qgjob.Sum) (*os.File, int64, error) {
	if err := valid(sum); err != nil {
		return nil, 0, err
	}
	// Lstat before open: opening a pipe would wait for a writer.
	size, ok, err := f.size(whole(sum))
	if err != nil {
		return nil, 0, err
	}
	if !ok {
		return nil, 0, qgjob.NotFound("no blob %s", sum)
	}
	file, err := f.root.Open(whole(sum))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, qgjob.NotFound("no blob %s", sum)
	}
	if err != nil {
		return nil, 0, mapDisk("open blob "+string(sum), err)
	}
	return file, size, nil
}

func check(file io.Reader, sum qgjob.Sum) error {
	digest := sha256.New()
	size, err := io.Copy(digest, file)
	if err != nil {
		return mapDisk("read blob "+string(sum), err)
	}
	if got := sumFrom(digest); got != sum {
		return internal(
			fmt.Sprintf("blob %s is damaged: the %d bytes on the disk have SHA-256 %s", sum, size, got),
			"delete it and send it again; check the disk")
	}
	return nil
}
