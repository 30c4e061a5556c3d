package server

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
	"golang.org/x/sys/unix"
)

// TestNoLeaseExpiresWhileNobodyCanRenew: the disk is full for longer than a
// TTL. When there is room again the agent is the second to come, after the
// sweep: its test goes on, and so does its own time.
func TestNoLeaseExpiresWhileNobodyCanRenew(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("mounting needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true, dir: dir})
		r.submit(spec("v1", "a.js"))
		r.register("a1")
		offer := r.take("a1")
		r.start("a1", offer.LeaseID)
		renewal := qgjob.RenewRequest{Incarnation: 1, Leases: []qgjob.LeaseID{offer.LeaseID}}
		renew := func() reply { return r.ask("POST", "/v1/agents/a1/renew", renewal) }
		time.Sleep(5 * time.Second)
		if p := renew(); p.Status != 200 {
			t.Fatal(p)
		}
		if err := os.WriteFile(ballast, make([]byte, 32<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("fill the disk: %v", err)
		}
		for range 9 {
			time.Sleep(5 * time.Second)
			if p := renew(); p.Status != 503 || !strings.Contains(string(p.Body), "full") {
				t.Fatalf("with a full disk: %s", p)
			}
		}
		if p := r.ask("GET", "/readyz", nil); p.Status != 503 || !strings.Contains(string(p.Body), "the disk of the database is full") {
			t.Errorf("ready with a full disk: %s", p)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		time.Sleep(ttl - time.Second)
		if p := r.ask("GET", "/readyz", nil); p.Status != 200 {
			t.Errorf("not ready with room again: %s", p)
		}
		if p := renew(); p.Status != 200 || !strings.Contains(string(p.Body), string(qgjob.LeaseOK)) {
			t.Fatalf("with room again: %s", p)
		}
		if j := r.job(1); j.Status != qgjob.Running || j.AgentID != "a1" || j.Attempts != 1 {
			t.Errorf("%+v; want it running on a1", j)
		}
		if a := must[qgjob.Agent](r, 200, "GET", "/v1/agents/a1", nil); a.Status == qgjob.AgentOffline {
			t.Errorf("%+v", a)
		}
		time.Sleep(ttl - 2*time.Second)
		if j := r.job(1); j.Status != qgjob.Running {
			t.Errorf("%+v before its TTL", j)
		}
		r.until(1, qgjob.Queued, 4*time.Second) // the dead do not live longer for it
	})
}
