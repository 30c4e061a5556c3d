package store

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/qualgent/qgjob"
	"golang.org/x/sys/unix"
)

// smallDisk mounts a small file system in memory, or skips.
func smallDisk(t *testing.T, options string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("mounting needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

func remount(t *testing.T, dir string, flags uintptr, options string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|flags, options); err != nil {
		t.Fatal(err)
	}
}

func TestAFullDiskLosesNothingAccepted(t *testing.T) {
	ctx := context.Background()
	dir := smallDisk(t, "size=3m")
	s, err := Open(ctx, dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	big := oneJob("acme", 5)
	for len(big.Jobs) < 50 {
		big.Jobs = append(big.Jobs, big.Jobs[0])
	}
	var mu sync.Mutex
	accepted := map[string]qgjob.SubmitResponse{}
	var wg sync.WaitGroup
	for caller := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				key := fmt.Sprintf("key-%d-%d", caller, n)
				resp, err := s.Submit(ctx, key, big)
				if err != nil {
					wantError(t, err, qgjob.KindUnavailable, "full", "nothing accepted was lost")
					return
				}
				mu.Lock()
				accepted[key] = resp
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(accepted) == 0 {
		t.Fatal("nothing was ever accepted")
	}
	checkAccepted(t, s, accepted)
	remount(t, dir, 0, "size=64m") // someone frees space
	resp, err := s.Submit(ctx, "key-after", big)
	if err != nil {
		t.Fatalf("with space again: %v", err)
	}
	accepted["key-after"] = resp
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if s, err = Open(ctx, dir, Options{}); err != nil {
		t.Fatal(err)
	}
	checkAccepted(t, s, accepted)
	for key, was := range accepted {
		again, err := s.Submit(ctx, key, big)
		if err != nil || again.RunID != was.RunID || !again.Repeat {
			t.Errorf("%s: %+v %v; was %s", key, again, err, was.RunID)
		}
	}
}

// checkAccepted wants every accepted run, whole, and nothing else.
func checkAccepted(t *testing.T, s *Store, accepted map[string]qgjob.SubmitResponse) {
	t.Helper()
	if s.writer.mirror != nil { // with a full disk even looking takes space
		audit(t, s)
	}
	var runs, jobs int
	if err := s.read.QueryRow(`SELECT (SELECT COUNT(*) FROM runs), (SELECT COUNT(*) FROM jobs)`).Scan(&runs, &jobs); err != nil {
		t.Fatal(err)
	}
	if runs != len(accepted) || jobs != 50*len(accepted) {
		t.Errorf("%d runs with %d jobs are there; %d were accepted", runs, jobs, len(accepted))
	}
	for key, resp := range accepted {
		r, err := s.Run(context.Background(), resp.RunID)
		if err != nil || r.Tally.Total != 50 {
			t.Errorf("%s: %+v %v", key, r, err)
		}
	}
}

func TestAReadOnlyDisk(t *testing.T) {
	ctx := context.Background()
	dir := smallDisk(t, "size=16m")
	s, err := Open(ctx, dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	remount(t, dir, unix.MS_RDONLY, "")
	_, err = Open(ctx, dir, Options{})
	wantError(t, err, qgjob.KindUnavailable, dir)
}
