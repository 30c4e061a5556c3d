package disk_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qualgent/qgjob/internal/agent/disk"
)

// TestMain lets this binary be the process that holds a lock.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "hold" {
		if _, err := disk.TryLock(os.Args[2]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("held")
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestReplaceLeavesNothingBeside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "fact")
	for _, want := range []string{"one", "two", ""} {
		if err := disk.Replace(path, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Fatalf("read %q, %v; want %q", got, err, want)
		}
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 {
		t.Errorf("%d files are left, want the one", len(entries))
	}
}

func TestReplaceThatCannotKeepsTheOld(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "fact")
	if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := disk.Replace(path, []byte("new")); err == nil || !strings.Contains(err.Error(), "fact") {
		t.Fatalf("error %v, want one that names the file", err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 {
		t.Errorf("a temporary file is left: %v", entries)
	}
}

func TestRemoveTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fact")
	if err := disk.Replace(path, []byte("x")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := disk.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

func TestLockIsExclusiveWithinAProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := disk.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = disk.TryLock(path)
	if held, ok := errors.AsType[*disk.HeldError](err); !ok || held.PID != os.Getpid() {
		t.Fatalf("second lock: %v, want held by %d", err, os.Getpid())
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	again, err := disk.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	again.Unlock()
}

func TestLockDiesWithItsProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	holder := exec.Command(os.Args[0], "hold", path)
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if line != "held\n" {
		t.Fatalf("holder says %q", line)
	}
	_, err = disk.TryLock(path)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint(holder.Process.Pid)) {
		t.Fatalf("error %v, want the holder's pid %d", err, holder.Process.Pid)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	holder.Wait()
	l, err := disk.TryLock(path)
	if err != nil {
		t.Fatalf("the lock outlived its holder: %v", err)
	}
	l.Unlock()
}
