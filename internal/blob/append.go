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

// Append adds the bytes of r to the upload of sum, which shall have total
// bytes in the end; offset says where the first of them belongs, in bytes. It
// returns how many bytes are here now and whether the blob is whole.
//
//   - Only offset == bytes here is accepted. Any other is a conflict with
//     qgjob.CodeOffset, whose Offset is where to resume; nothing is changed,
//     so bytes sent again do no harm. The same answer comes while another
//     upload of this sum is under way.
//   - When more than total bytes are here the upload starts anew at 0.
//   - A blob that is here already is done at once; r is not read.
//   - When r ends early the bytes are kept. A clean end is no error; a broken
//     one (the client is gone) is unavailable.
//   - At total bytes the file is read back. If its sum is not sum, the partial
//     is thrown away and the answer is invalid and names both.
//   - done is true only after file and directory are synced to the disk.
//   - total above Limits.MaxSize is invalid with qgjob.CodeTooLarge, before a
//     byte is written; a full disk is unavailable and keeps what arrived.
func (f *Folder) Append(sum qgjob.Sum, offset, total int64, r io.Reader) (received int64, done bool, err error) {
	if err := valid(sum); err != nil {
		return 0, false, err
	}
	if err := f.limits.checkRange(offset, total); err != nil {
		return 0, false, err
	}
	if received, done, err := f.already(sum, total); done || err != nil {
		return received, done, err
	}
	if !f.take(sum) {
		return 0, false, f.underWay(sum)
	}
	defer f.release(sum)
	file, err := f.openPartial(sum)
	if err != nil {
		return 0, false, err
	}
	defer file.Close()
	// The upload that held the lock before us may have finished the blob.
	if received, done, err := f.already(sum, total); done || err != nil {
		return received, done, errors.Join(err, f.dropPartial(sum))
	}
	received, err = f.grow(file, sum, offset, total, r)
	if err != nil || received < total {
		return received, false, err
	}
	if err := f.finish(file, sum, total); err != nil {
		return 0, false, err
	}
	return received, true, nil
}

// already answers for a blob that is here, whole. One that has another length
// is read: when the disk has damaged it, the upload may replace it.
func (f *Folder) already(sum qgjob.Sum, total int64) (int64, bool, error) {
	size, ok, err := f.size(whole(sum))
	if err != nil || !ok {
		return 0, false, err
	}
	if size == total {
		return size, true, nil
	}
	switch err := f.Verify(sum); {
	case err == nil:
		return size, false, wrongTotal(sum, size, total)
	case qgjob.KindOf(err) == qgjob.KindInternal:
		return 0, false, nil
	default:
		return 0, false, err
	}
}

func (f *Folder) underWay(sum qgjob.Sum) error {
	info, err := f.Stat(sum)
	if err != nil {
		return err
	}
	out := qgjob.Conflict(qgjob.CodeOffset, "another upload of %s is under way", sum)
	out.Offset = info.Received
	out.Hint = fmt.Sprintf("wait a moment and ask how far it is; %d bytes are here", info.Received)
	return out
}

// openPartial opens and locks the growing file. A file that lost its name
// between open and lock is let go, and the new one is opened.
func (f *Folder) openPartial(sum qgjob.Sum) (*os.File, error) {
	for {
		file, err := f.root.OpenFile(partial(sum), os.O_RDWR|os.O_CREATE, fileMode)
		if err != nil {
			return nil, mapDisk("open upload of "+string(sum), err)
		}
		locked, err := lockFile(file)
		if err != nil {
			return nil, errors.Join(mapDisk("lock upload of "+string(sum), err), file.Close())
		}
		if !locked {
			return nil, errors.Join(f.underWay(sum), file.Close())
		}
		same, err := f.stillThere(file, partial(sum))
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		if same {
			return file, nil
		}
		if err := file.Close(); err != nil {
			return nil, mapDisk("open upload of "+string(sum), err)
		}
	}
}

// grow writes r at the end of the partial and returns its new length.
func (f *Folder) grow(file *os.File, sum qgjob.Sum, offset, total int64, r io.Reader) (int64, error) {
	here, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, mapDisk("write upload of "+string(sum), err)
	}
	if here > total {
		// Someone announced another length under this sum. Whoever is right
		// must be able to finish, so the upload starts anew.
		if err := file.Truncate(0); err != nil {
			return 0, mapDisk("write upload of "+string(sum), err)
		}
		if here, err = file.Seek(0, io.SeekStart); err != nil {
			return 0, mapDisk("write upload of "+string(sum), err)
		}
	}
	if offset != here {
		return here, wrongOffset(sum, here, offset)
	}
	w := &diskWriter{file: file}
	n, err := io.Copy(w, io.LimitReader(r, total-here))
	received := here + n
	if w.err != nil {
		return received, mapDisk("write upload of "+string(sum), w.err)
	}
	if err != nil {
		return received, cut(err, sum, received, total)
	}
	if received < total || !hasMore(r) {
		return received, nil
	}
	if err := file.Truncate(here); err != nil {
		return received, mapDisk("write upload of "+string(sum), err)
	}
	return here, tooMany(sum, total)
}

// hasMore reads on until there is a byte or an end. A broken end after the
// last announced byte is an end.
func hasMore(r io.Reader) bool {
	n, _ := io.ReadFull(r, make([]byte, 1))
	return n > 0
}

// diskWriter remembers that the disk failed, not the sender: the two errors
// ask for different next steps.
type diskWriter struct {
	file *os.File
	err  error
}

func (w *diskWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	if err != nil {
		w.err = err
	}
	return n, err
}

// finish checks the whole partial against its name and gives it the name.
func (f *Folder) finish(file *os.File, sum qgjob.Sum, total int64) error {
	if err := file.Sync(); err != nil {
		return mapDisk("sync upload of "+string(sum), err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return mapDisk("check upload of "+string(sum), err)
	}
	digest := sha256.New()
	if _, err := io.Copy(digest, file); err != nil {
		return mapDisk("check upload of "+string(sum), err)
	}
	if got := sumFrom(digest); got != sum {
		return errors.Join(wrongSum(sum, got, total), f.dropPartial(sum))
	}
	return f.publish(partial(sum), sum)
}

// publish renames a whole, synced file to its final name and syncs the
// directories, so that a power cut after it cannot take the blob away.
func (f *Folder) publish(from string, sum qgjob.Sum) error {
	switch err := f.root.Mkdir(shelf(sum), dirMode); {
	case err == nil:
		if err := f.syncDir("."); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return mapDisk("make shelf for blob "+string(sum), err)
	}
	if err := f.root.Rename(from, whole(sum)); err != nil {
		return mapDisk("name blob "+string(sum), err)
	}
	return f.syncDir(shelf(sum))
}

func (f *Folder) dropPartial(sum qgjob.Sum) error {
	err := f.root.Remove(partial(sum))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return mapDisk("throw away upload of "+string(sum), err)
}
