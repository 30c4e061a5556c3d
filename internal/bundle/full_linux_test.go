package bundle

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"golang.org/x/sys/unix"
)

// A disk that is really full: the answer says so, and nothing stays behind.
func TestUnpackDiskFull(t *testing.T) {
	base := t.TempDir()
	if err := unix.Mount("none", base, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("needs the right to mount a small tmpfs (run as root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(base, 0); err != nil {
			t.Error(err)
		}
	})
	data := archive(t, file("small", "s"), file("big", strings.Repeat("x", 1<<20)))
	_, err := unpack(t, data, filepath.Join(base, "dest"), Limits{})
	wantKind(t, err, qgjob.KindUnavailable, "no room left", "free space")
	if left, _ := os.ReadDir(base); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// kill -9 in the middle: no half bundle under the final name, the next Unpack
// works, and Sweep finds the rest.
func TestKilledUnpackLeavesNoHalfBundle(t *testing.T) {
	const killed = "QGJOB_TEST_BUNDLE_KILLED"
	data := archive(t, file("first", "1"), file("second", strings.Repeat("2", 5000)))
	if base := os.Getenv(killed); base != "" {
		second := int64(bytes.Index(data, []byte("second")))
		_, err := Unpack(t.Context(), dies{bytes.NewReader(data), second, second + 30}, int64(len(data)), filepath.Join(base, "dest"), Limits{})
		t.Fatal("survived", err)
	}
	base := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self, "-test.run=^TestKilledUnpackLeavesNoHalfBundle$")
	child.Env = append(os.Environ(), killed+"="+base)
	out, err := child.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != -1 {
		t.Fatalf("the child was not killed: %v\n%s", err, out)
	}
	left := read(t, base)
	if len(left) == 0 {
		t.Fatal("the child was killed before it wrote anything; the test shows nothing")
	}
	for name := range left {
		if !strings.HasPrefix(name, tempPrefix) {
			t.Errorf("the half bundle has %q", name)
		}
	}
	if _, err := unpack(t, data, filepath.Join(base, "dest"), Limits{}); err != nil {
		t.Fatal(err)
	}
	if removed, err := Sweep(base, time.Now().Add(time.Hour)); removed != 1 || err != nil {
		t.Errorf("Sweep = %d, %v", removed, err)
	}
	if got := read(t, base); len(got) != 2 || got["dest/first"] != "1" {
		t.Errorf("files %v", got)
	}
}

// dies kills the process when the bytes between from and to are read.
type dies struct {
	io.ReaderAt
	from, to int64
}

func (d dies) ReadAt(p []byte, off int64) (int, error) {
	if d.from <= off && off < d.to {
		if err := unix.Kill(os.Getpid(), unix.SIGKILL); err != nil {
			return 0, err
		}
	}
	return d.ReaderAt.ReadAt(p, off)
}
