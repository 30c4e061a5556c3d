package blob

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/qualgent/qgjob"
	"golang.org/x/sys/unix"
)

// A disk that is really full: a file system of one mebibyte.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("needs the right to mount a small tmpfs (run as root): %v; TestFileSizeLimit covers the mapping", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	f, err := OpenFolder(dir, Limits{MaxSize: testMax})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data := bytes.Repeat([]byte("qgjob"), 400_000)
	sum, total := sumOf(data), int64(len(data))

	received, done, err := f.Append(sum, 0, total, bytes.NewReader(data))
	wantKind(t, err, qgjob.KindUnavailable, "no room left", "free space")
	if done || received == 0 || received >= total {
		t.Errorf("received %d of %d, done %v", received, total, done)
	}
	info, err := f.Stat(sum)
	if err != nil || info.Complete || info.Received != received {
		t.Errorf("Stat = %+v, %v; want %d received", info, err, received)
	}
	_, _, err = f.Put(bytes.NewReader(data))
	wantKind(t, err, qgjob.KindUnavailable, "no room left")

	if err := unix.Mount("none", dir, "tmpfs", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	_, done, err = f.Append(sum, received, total, bytes.NewReader(data[received:]))
	if err != nil || !done {
		t.Errorf("after making room: %v, %v", done, err)
	}
	if err := f.Verify(sum); err != nil {
		t.Error(err)
	}
}

const limitedDir = "QGJOB_TEST_BLOB_LIMITED"

// The same answer where no one may mount: this test runs itself again in a
// process whose files may not grow beyond 64 KiB.
func TestFileSizeLimit(t *testing.T) {
	if dir := os.Getenv(limitedDir); dir != "" {
		limit := unix.Rlimit{Cur: 64 << 10, Max: 64 << 10}
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
		f := open(t, dir)
		data := make([]byte, 100<<10)
		received, done, err := f.Append(sumOf(data), 0, int64(len(data)), bytes.NewReader(data))
		wantKind(t, err, qgjob.KindUnavailable, "no room left")
		if done || received != 64<<10 {
			t.Errorf("received %d, done %v", received, done)
		}
		return
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self, "-test.run=^TestFileSizeLimit$", "-test.v")
	child.Env = append(os.Environ(), limitedDir+"="+dir)
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// This process has no limit, and goes on where the other was stopped.
	f := open(t, dir)
	data := make([]byte, 100<<10)
	_, done, err := f.Append(sumOf(data), 64<<10, int64(len(data)), bytes.NewReader(data[64<<10:]))
	if err != nil || !done {
		t.Errorf("resume = %v, %v", done, err)
	}
}

// kill -9 in the middle of an upload: what the kernel has is there for the
// next process, the lock is free, and the blob can be finished.
func TestKilledUploaderLeavesAResumableUpload(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 10_000)
	sum, total := sumOf(data), int64(len(data))
	const killed = "QGJOB_TEST_BLOB_KILLED"
	if dir := os.Getenv(killed); dir != "" {
		body := io.MultiReader(bytes.NewReader(data[:60_000]), dies{})
		_, _, err := open(t, dir).Append(sum, 0, total, body)
		t.Fatal("survived", err)
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self, "-test.run=^TestKilledUploaderLeavesAResumableUpload$")
	child.Env = append(os.Environ(), killed+"="+dir)
	out, err := child.CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != -1 {
		t.Fatalf("the child was not killed: %v\n%s", err, out)
	}
	f := open(t, dir)
	info, err := f.Stat(sum)
	if err != nil || info.Complete || info.Received != 60_000 {
		t.Fatalf("Stat = %+v, %v; want 60000 received", info, err)
	}
	if _, done, err := f.Append(sum, info.Received, total, bytes.NewReader(data[info.Received:])); err != nil || !done {
		t.Errorf("resume = %v, %v", done, err)
	}
}

// dies is a client whose next byte never comes, because the server is killed.
type dies struct{}

func (dies) Read([]byte) (int, error) {
	err := unix.Kill(os.Getpid(), unix.SIGKILL)
	return 0, err
}
