package blob

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/qualgent/qgjob"
)

func TestPut(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	for _, data := range [][]byte{nil, []byte("a"), bytes.Repeat([]byte("b"), testMax)} {
		sum, size, err := f.Put(iotest.OneByteReader(bytes.NewReader(data[:min(len(data), 100)])))
		if err != nil || size != int64(min(len(data), 100)) || sum != sumOf(data[:min(len(data), 100)]) {
			t.Errorf("Put = %s, %d, %v", sum, size, err)
		}
		sum, size, err = f.Put(bytes.NewReader(data))
		if err != nil || size != int64(len(data)) || sum != sumOf(data) {
			t.Errorf("Put of %d bytes = %s, %d, %v", len(data), sum, size, err)
		}
		if !bytes.Equal(content(t, f, sum), data) {
			t.Error("content differs")
		}
	}
	for _, name := range files(t, dir) {
		if strings.HasPrefix(name, partialDir) {
			t.Errorf("left behind: %s", name)
		}
	}
}

func TestPutRefused(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	_, _, err := f.Put(bytes.NewReader(make([]byte, testMax+1)))
	wantKind(t, err, qgjob.KindInvalid, "4194304")
	if qgjob.CodeOf(err) != qgjob.CodeTooLarge {
		t.Errorf("code %q", qgjob.CodeOf(err))
	}
	gone := errors.New("gone")
	_, _, err = f.Put(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(gone)))
	wantKind(t, err, qgjob.KindUnavailable, "after 3 bytes")
	if !errors.Is(err, gone) {
		t.Errorf("the cause is lost: %v", err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestOpenSeeks(t *testing.T) {
	f := open(t, t.TempDir())
	r, size, err := f.Open(mustAppend(t, f, []byte("0123456789")))
	if err != nil || size != 10 {
		t.Fatal(size, err)
	}
	defer r.Close()
	if _, err := r.Seek(-3, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	if tail, err := io.ReadAll(r); string(tail) != "789" || err != nil {
		t.Errorf("tail %q, %v", tail, err)
	}
}

func TestDamagedBlobIsDetected(t *testing.T) {
	for _, c := range []struct {
		name   string
		size   int
		damage func(path string) error
		atOpen bool
	}{
		{"small, one bit", 1000, flip, true},
		{"small, cut", 1000, func(p string) error { return os.Truncate(p, 10) }, true},
		{"small, longer", 1000, func(p string) error { return os.Truncate(p, 1001) }, true},
		{"emptied", 1000, func(p string) error { return os.Truncate(p, 0) }, true},
		{"largest checked at open", VerifyAtOpen, flip, true},
		{"large, one bit", VerifyAtOpen + 1, flip, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			f := open(t, dir)
			data := bytes.Repeat([]byte{1}, c.size)
			sum := mustAppend(t, f, data)
			if err := c.damage(filepath.Join(dir, whole(sum))); err != nil {
				t.Fatal(err)
			}
			wantKind(t, f.Verify(sum), qgjob.KindInternal, string(sum), "delete it and send it again")
			r, _, err := f.Open(sum)
			if c.atOpen {
				wantKind(t, err, qgjob.KindInternal, "damaged")
			} else if err != nil {
				t.Fatal(err)
			} else {
				r.Close()
			}
			if err := f.Delete(sum); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, f, data)
			if err := f.Verify(sum); err != nil {
				t.Errorf("after sending again: %v", err)
			}
		})
	}
}

// A blob that the disk cut short is replaced by the next upload, without
// anyone having to delete it first.
func TestUploadHealsACutBlob(t *testing.T) {
	data := []byte("0123456789")
	for name, send := range map[string]func(*Folder) error{
		"append": func(f *Folder) error {
			_, _, err := f.Append(sumOf(data), 0, 10, bytes.NewReader(data))
			return err
		},
		"put": func(f *Folder) error { _, _, err := f.Put(bytes.NewReader(data)); return err },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			f := open(t, dir)
			sum := mustAppend(t, f, data)
			if err := os.Truncate(filepath.Join(dir, whole(sum)), 4); err != nil {
				t.Fatal(err)
			}
			if err := send(f); err != nil {
				t.Fatal(err)
			}
			if err := f.Verify(sum); err != nil {
				t.Error(err)
			}
		})
	}
}

func flip(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data[len(data)/2] ^= 1
	return os.WriteFile(path, data, 0o600)
}
