package blob

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/qualgent/qgjob"
	"pgregory.net/rapid"
)

func TestAppendWhole(t *testing.T) {
	for _, size := range []int{0, 1, 31, 64 << 10, testMax} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			dir := t.TempDir()
			f := open(t, dir)
			data := bytes.Repeat([]byte{7}, size)
			sum := mustAppend(t, f, data)
			if !bytes.Equal(content(t, f, sum), data) {
				t.Error("content differs")
			}
			want := Info{Complete: true, Size: int64(size), Received: int64(size)}
			if info, err := f.Stat(sum); err != nil || info != want {
				t.Errorf("Stat = %+v, %v; want %+v", info, err, want)
			}
			if got := files(t, dir); len(got) != 1 || got[0] != string(sum[:2])+"/"+string(sum) {
				t.Errorf("files %v", got)
			}
			if err := f.Verify(sum); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAppendRefusedBeforeWriting(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	sum := sumOf([]byte("x"))
	for _, c := range []struct {
		name          string
		offset, total int64
		code          string
		says          string
	}{
		{"over the limit", 0, testMax + 1, qgjob.CodeTooLarge, "4194304"},
		{"total below zero", 0, -1, "", "-1"},
		{"offset below zero", -1, 1, "", "-1"},
		{"offset beyond total", 2, 1, "", "offset is 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, done, err := f.Append(sum, c.offset, c.total, iotest.ErrReader(errors.New("was read")))
			wantKind(t, err, qgjob.KindInvalid, c.says)
			if done || qgjob.CodeOf(err) != c.code {
				t.Errorf("done %v, code %q", done, qgjob.CodeOf(err))
			}
			if got := files(t, dir); len(got) != 0 {
				t.Errorf("written: %v", got)
			}
		})
	}
}

func TestAppendWrongOffset(t *testing.T) {
	f := open(t, t.TempDir())
	data := []byte("0123456789")
	sum := sumOf(data)
	if n, done, err := f.Append(sum, 0, 10, bytes.NewReader(data[:4])); n != 4 || done || err != nil {
		t.Fatalf("first part = %d, %v, %v", n, done, err)
	}
	for _, offset := range []int64{0, 1, 3, 5, 10} {
		n, done, err := f.Append(sum, offset, 10, bytes.NewReader(data[min(offset, 9):]))
		wantKind(t, err, qgjob.KindConflict, "4 bytes are here", "send again from byte 4")
		out, ok := errors.AsType[*qgjob.Error](err)
		if n != 4 || done || !ok || out.Code != qgjob.CodeOffset || out.Offset != 4 {
			t.Errorf("offset %d: %d, %v, %+v", offset, n, done, out)
		}
	}
	if n, done, err := f.Append(sum, 4, 10, bytes.NewReader(data[4:])); n != 10 || !done || err != nil {
		t.Fatalf("last part = %d, %v, %v", n, done, err)
	}
	if string(content(t, f, sum)) != string(data) {
		t.Error("content differs")
	}
}

// Bytes that arrived before the client was gone are still there, for another
// process too.
func TestAppendResumesAfterCutAndReopen(t *testing.T) {
	dir := t.TempDir()
	data := bytes.Repeat([]byte("0123456789abcdef"), 10_000)
	sum, total := sumOf(data), int64(len(data))
	var received int64
	for cut := int64(50_000); ; cut += 50_000 {
		f, err := OpenFolder(dir, Limits{MaxSize: testMax})
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat(sum)
		if err != nil || info.Received != received || info.Complete {
			t.Fatalf("Stat = %+v, %v; want %d received", info, err, received)
		}
		if cut >= total {
			n, done, err := f.Append(sum, received, total, bytes.NewReader(data[received:]))
			if n != total || !done || err != nil {
				t.Fatalf("last part = %d, %v, %v", n, done, err)
			}
			if !bytes.Equal(content(t, f, sum), data) {
				t.Error("content differs")
			}
			f.Close()
			return
		}
		broken := io.MultiReader(bytes.NewReader(data[received:cut]), iotest.ErrReader(io.ErrUnexpectedEOF))
		n, done, err := f.Append(sum, received, total, broken)
		wantKind(t, err, qgjob.KindUnavailable, "cut after", fmt.Sprintf("send again from byte %d", cut))
		if n != cut || done || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut part = %d, %v, %v", n, done, err)
		}
		if _, _, err := f.Open(sum); qgjob.KindOf(err) != qgjob.KindNotFound {
			t.Fatalf("half a blob can be opened: %v", err)
		}
		received = cut
		f.Close()
	}
}

func TestAppendWrongSum(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	said, got := sumOf([]byte("promised")), sumOf([]byte("delivery"))
	n, done, err := f.Append(said, 0, 8, strings.NewReader("delivery"))
	wantKind(t, err, qgjob.KindInvalid, string(said), string(got))
	if n != 0 || done {
		t.Errorf("%d, %v; want nothing kept", n, done)
	}
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	mustAppend(t, f, []byte("promised"))
}

func TestAppendMoreThanAnnounced(t *testing.T) {
	f := open(t, t.TempDir())
	sum := sumOf([]byte("abcdef"))
	if _, _, err := f.Append(sum, 0, 6, strings.NewReader("abc")); err != nil {
		t.Fatal(err)
	}
	n, done, err := f.Append(sum, 3, 6, strings.NewReader("defg"))
	wantKind(t, err, qgjob.KindInvalid, "more bytes")
	if n != 3 || done {
		t.Errorf("%d, %v; want 3, false", n, done)
	}
	if _, done, err := f.Append(sum, 3, 6, strings.NewReader("def")); !done || err != nil {
		t.Errorf("after the excess: %v, %v", done, err)
	}
}

// A client that lied about the length must not block the honest one.
func TestAppendOtherTotal(t *testing.T) {
	f := open(t, t.TempDir())
	data := []byte("honest")
	sum := sumOf(data)
	if _, _, err := f.Append(sum, 0, 1000, strings.NewReader(strings.Repeat("liar", 100))); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, f, data)
	_, _, err := f.Append(sum, 0, 1000, strings.NewReader("x"))
	wantKind(t, err, qgjob.KindInvalid, "6 bytes, not 1000")
}

func TestAppendIdenticalIsNotWrittenTwice(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	sum := mustAppend(t, f, []byte("once"))
	before, err := os.Stat(filepath.Join(dir, whole(sum)))
	if err != nil {
		t.Fatal(err)
	}
	n, done, err := f.Append(sum, 0, 4, iotest.ErrReader(errors.New("was read")))
	if n != 4 || !done || err != nil {
		t.Fatalf("second upload = %d, %v, %v", n, done, err)
	}
	if _, _, err := f.Put(strings.NewReader("once")); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(filepath.Join(dir, whole(sum)))
	if err != nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Errorf("the file was written again: %v", err)
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("files %v", got)
	}
}

// Many clients send the same build at once, each cut at random, each resuming
// as it is told. One whole blob must come out, and nobody may fail.
func TestConcurrentUploadsOfOneSum(t *testing.T) {
	dir := t.TempDir()
	folders := []*Folder{open(t, dir), open(t, dir)}
	data := make([]byte, 300_000)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	sum, total := sumOf(data), int64(len(data))
	var wg sync.WaitGroup
	for client := range 12 {
		wg.Go(func() {
			f := folders[client%2]
			if client%4 == 3 {
				if got, _, err := f.Put(bytes.NewReader(data)); err != nil || got != sum {
					t.Errorf("Put = %s, %v", got, err)
				}
				return
			}
			var offset int64
			for round := 1; ; round++ {
				end := min(total, offset+int64(20_000+1000*client))
				part := iotest.HalfReader(bytes.NewReader(data[offset:end]))
				n, done, err := f.Append(sum, offset, total, part)
				conflict, isConflict := errors.AsType[*qgjob.Error](err)
				switch {
				case done && err == nil:
					return
				case err == nil:
					offset = n
				case isConflict && conflict.Code == qgjob.CodeOffset:
					offset = conflict.Offset
				default:
					t.Errorf("client %d round %d: %v", client, round, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := folders[0].Verify(sum); err != nil {
		t.Error(err)
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("files %v, want the blob alone", got)
	}
}

// Property: whatever the parts, offsets and broken readers, a blob is whole
// exactly when all its bytes came in order, and Stat always tells the truth.
func TestAppendAnyParts(t *testing.T) {
	base := t.TempDir()
	var round int
	rapid.Check(t, func(rt *rapid.T) {
		round++
		f, err := OpenFolder(filepath.Join(base, fmt.Sprint(round)), Limits{MaxSize: 1000})
		if err != nil {
			rt.Fatal(err)
		}
		defer f.Close()
		data := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(rt, "data")
		sum, total := sumOf(data), int64(len(data))
		var have int64
		for done := false; !done; {
			offset := have
			if rapid.IntRange(0, 3).Draw(rt, "stray") == 0 {
				offset = rapid.Int64Range(0, total).Draw(rt, "offset")
			}
			n := rapid.Int64Range(0, total-offset).Draw(rt, "part")
			var body io.Reader = bytes.NewReader(data[offset : offset+n])
			if rapid.Bool().Draw(rt, "broken") {
				body = io.MultiReader(body, iotest.ErrReader(io.ErrUnexpectedEOF))
			}
			_, done, err = f.Append(sum, offset, total, body)
			if offset == have {
				have += n
			} else if qgjob.CodeOf(err) != qgjob.CodeOffset {
				rt.Fatalf("offset %d with %d here: %v", offset, have, err)
			}
			if done != (offset+n == total && have == total) {
				rt.Fatalf("done %v with %d of %d", done, have, total)
			}
			info, err := f.Stat(sum)
			if err != nil || info.Received != have || info.Complete != done {
				rt.Fatalf("Stat = %+v, %v; want %d received", info, err, have)
			}
		}
		r, _, err := f.Open(sum)
		if err != nil {
			rt.Fatal(err)
		}
		defer r.Close()
		digest := sha256.New()
		if _, err := io.Copy(digest, r); err != nil || sumFrom(digest) != sum {
			rt.Fatalf("content differs: %v", err)
		}
	})
}
