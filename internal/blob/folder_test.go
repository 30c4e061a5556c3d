package blob

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

const testMax = 4 << 20

func open(t *testing.T, dir string) *Folder {
	t.Helper()
	f, err := OpenFolder(dir, Limits{MaxSize: testMax})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func mustAppend(t *testing.T, f *Folder, data []byte) qgjob.Sum {
	t.Helper()
	sum := sumOf(data)
	n, done, err := f.Append(sum, 0, int64(len(data)), bytes.NewReader(data))
	if err != nil || !done || n != int64(len(data)) {
		t.Fatalf("Append = %d, %v, %v; want %d, true, nil", n, done, err, len(data))
	}
	return sum
}

func content(t *testing.T, f *Folder, sum qgjob.Sum) []byte {
	t.Helper()
	r, size, err := f.Open(sum)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil || int64(len(data)) != size {
		t.Fatalf("read %d bytes, %v; Open said %d", len(data), err, size)
	}
	return data
}

func wantKind(t *testing.T, err error, kind qgjob.Kind, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %s", kind)
	}
	if got := qgjob.KindOf(err); got != kind {
		t.Fatalf("error kind %s, want %s: %v", got, kind, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

// files lists what lies in a directory tree, with modes checked on the way.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(fileMode)
		if d.IsDir() {
			want = dirMode
		}
		if got := info.Mode().Perm(); got != want && path != dir {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
		if !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			out = append(out, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOpenFolder(t *testing.T) {
	base := t.TempDir()
	if err := os.WriteFile(filepath.Join(base, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, dir string
		limits    Limits
		kind      qgjob.Kind
	}{
		{"new, deep", "a/b/c", Limits{1}, ""},
		{"again", "a/b/c", Limits{1}, ""},
		{"no limit", "x", Limits{}, qgjob.KindInvalid},
		{"limit below zero", "x", Limits{-1}, qgjob.KindInvalid},
		{"dir is a file", "file", Limits{1}, qgjob.KindInternal},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := OpenFolder(filepath.Join(base, c.dir), c.limits)
			if c.kind != "" {
				wantKind(t, err, c.kind)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(base, "x")); err == nil {
		t.Error("a refused folder was made all the same")
	}
}

// A sum is a file name, so nothing but a sum may get through any door.
func TestPathTricksInSums(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "blobs")
	f := open(t, dir)
	secret := filepath.Join(filepath.Dir(dir), "secret")
	if err := os.WriteFile(secret, []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := string(sumOf([]byte("x")))
	for _, text := range []string{
		"", "ab", "../secret", "../../../../etc/passwd", "/etc/passwd", good[:63], good + "0",
		strings.ToUpper(good), good[:63] + "/", good[:61] + "/..", "..", "partial", good + "\x00",
		strings.Repeat("../", 21) + "a", strings.Repeat("g", 64), strings.Repeat("０", 64),
	} {
		sum := qgjob.Sum(text)
		_, err := f.Stat(sum)
		wantKind(t, err, qgjob.KindInvalid)
		_, _, err = f.Append(sum, 0, 1, strings.NewReader("x"))
		wantKind(t, err, qgjob.KindInvalid)
		_, _, err = f.Open(sum)
		wantKind(t, err, qgjob.KindInvalid)
		wantKind(t, f.Verify(sum), qgjob.KindInvalid)
		wantKind(t, f.Delete(sum), qgjob.KindInvalid)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
	if _, err := os.Stat(secret); err != nil {
		t.Error(err)
	}
}

// A shelf that someone replaced by a link out of the folder leads nowhere.
func TestShelfIsALinkOutside(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "blobs")
	f := open(t, dir)
	data := []byte("hello")
	sum := sumOf(data)
	if err := os.Mkdir(filepath.Join(base, "outside"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../outside", filepath.Join(dir, shelf(sum))); err != nil {
		t.Skip("no symlinks here:", err)
	}
	_, done, err := f.Append(sum, 0, 5, bytes.NewReader(data))
	if err == nil || done {
		t.Errorf("Append through a link out of the folder = %v, %v", done, err)
	}
	if got := files(t, filepath.Join(base, "outside")); len(got) != 0 {
		t.Errorf("written outside: %v", got)
	}
}

func TestDelete(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	sum := mustAppend(t, f, []byte("short life"))
	reader, _, err := f.Open(sum)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := f.Delete(sum); err != nil {
		t.Fatal(err)
	}
	wantKind(t, f.Delete(sum), qgjob.KindNotFound, string(sum))
	_, _, err = f.Open(sum)
	wantKind(t, err, qgjob.KindNotFound, string(sum))
	if info, err := f.Stat(sum); err != nil || info != (Info{}) {
		t.Errorf("Stat after Delete = %+v, %v", info, err)
	}
	if data, err := io.ReadAll(reader); err != nil || string(data) != "short life" {
		t.Errorf("a reader from before Delete got %q, %v", data, err)
	}
	mustAppend(t, f, []byte("short life"))
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	age := func(data string, by time.Duration) qgjob.Sum {
		sum := sumOf([]byte(data))
		if _, _, err := f.Append(sum, 0, int64(len(data)), strings.NewReader(data[:3])); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, partial(sum)), now, now.Add(-by)); err != nil {
			t.Fatal(err)
		}
		return sum
	}
	kept := mustAppend(t, f, []byte("whole blobs stay"))
	if err := os.Chtimes(filepath.Join(dir, whole(kept)), now, now.Add(-1000*time.Hour)); err != nil {
		t.Fatal(err)
	}
	old, young, edge := age("old upload", 25*time.Hour), age("young upload", 23*time.Hour), age("edge upload", 24*time.Hour)
	busy := age("busy upload", 25*time.Hour)
	held, err := f.openPartial(busy) // as another process would hold it
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()

	removed, freed, err := f.Sweep(now.Add(-24 * time.Hour))
	if err != nil || removed != 1 || freed != 3 {
		t.Errorf("Sweep = %d, %d, %v; want 1, 3, nil", removed, freed, err)
	}
	for sum, want := range map[qgjob.Sum]int64{old: 0, young: 3, edge: 3, busy: 3} {
		if info, err := f.Stat(sum); err != nil || info.Received != want {
			t.Errorf("Stat(%s) = %+v, %v; want %d received", sum, info, err, want)
		}
	}
	if string(content(t, f, kept)) != "whole blobs stay" {
		t.Error("the whole blob changed")
	}
}

// Two processes that share a directory meet only in the file lock.
func TestTwoFoldersOneDirectory(t *testing.T) {
	dir := t.TempDir()
	one, two := open(t, dir), open(t, dir)
	data := bytes.Repeat([]byte("ab"), 1000)
	sum := sumOf(data)
	body, feed := io.Pipe()
	errs := make(chan error, 1)
	go func() {
		_, done, err := one.Append(sum, 0, int64(len(data)), body)
		if err == nil && !done {
			err = errors.New("not done")
		}
		errs <- err
	}()
	// The write returns when the first upload has read it: it holds the lock.
	if _, err := feed.Write(data[:700]); err != nil {
		t.Fatal(err)
	}
	_, done, err := two.Append(sum, 0, int64(len(data)), bytes.NewReader(data))
	if done {
		t.Error("the second upload got in between")
	}
	wantKind(t, err, qgjob.KindConflict, "another upload", string(sum))
	if code := qgjob.CodeOf(err); code != qgjob.CodeOffset {
		t.Errorf("code %q, want %q", code, qgjob.CodeOffset)
	}
	if _, err := feed.Write(data[700:]); err != nil {
		t.Fatal(err)
	}
	feed.Close()
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	if n, done, err := two.Append(sum, 0, int64(len(data)), bytes.NewReader(data)); n != 2000 || !done || err != nil {
		t.Errorf("Append of what is here = %d, %v, %v", n, done, err)
	}
	if !bytes.Equal(content(t, two, sum), data) {
		t.Error("content differs")
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("files %v, want the blob alone", got)
	}
}
