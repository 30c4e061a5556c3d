package script_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob/internal/store/pgtest"
)

// TestTwoServersOnPostgres is a farm with two servers: work goes from one to
// the other, goes on when one of them is killed, and survives an outage of the
// database, which /readyz names.
func TestTwoServersOnPostgres(t *testing.T) {
	pgtest.Shared(t)
	c, err := pgtest.Start(true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Stop() }()
	dir := t.TempDir()
	url := c.URL("postgres")
	qgjob := func(args ...string) string {
		t.Helper()
		p, err := start(dir, args...)
		if err != nil {
			t.Fatal(err)
		}
		<-p.exited
		out, _ := p.out.state()
		return out
	}
	if out := qgjob("server", "migrate", "--database="+url); !strings.Contains(out, "Database ready: postgres://qgjob@127.0.0.1:") || strings.Contains(out, pgtest.Password) {
		t.Fatalf("migrate: %s", out)
	}
	var servers [2]*program
	var base [2]string
	for i := range servers {
		p, err := start(dir, "server", "--listen=127.0.0.1:0", "--lease-ttl=3s", "--database="+url)
		if err != nil {
			t.Fatal(err)
		}
		defer p.kill()
		if base[i], err = p.await("Server listening: "); err != nil {
			t.Fatal(err)
		}
		servers[i] = p
	}
	if err := os.MkdirAll(filepath.Join(dir, "tests"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tests", "pass-10-1"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	agent, err := start(dir, "agent", "--server="+base[1], "--name=a1", "--target=emulator", "--state-dir="+filepath.Join(dir, "a1"), "--project="+dir,
		"--runner=exec", "--", testBinary(), testJob, filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer agent.kill()
	run := func(on string) {
		t.Helper()
		out := qgjob("submit", "--server="+on, "--org-id=acme", "--app-version-id=v1", "--test=tests/pass-10-1", "--wait")
		if !strings.Contains(out, "passed") {
			text, _ := agent.out.state()
			t.Fatalf("submitted to %s: %s\nagent: %s", on, out, text)
		}
	}
	run(base[0]) // the agent hangs on the other one
	servers[0].kill()
	run(base[1])
	if err := c.Down(); err != nil {
		t.Fatal(err)
	}
	readiness(t, base[1], http.StatusServiceUnavailable, "the database")
	if err := c.Up(); err != nil {
		t.Fatal(err)
	}
	readiness(t, base[1], http.StatusOK, "ready")
	run(base[1])
	for _, p := range servers {
		if out, _ := p.out.state(); strings.Contains(out, pgtest.Password) {
			t.Errorf("the password is in the log:\n%s", out)
		}
	}
}

// readiness waits until /readyz answers so.
func readiness(t *testing.T, base string, status int, words string) {
	t.Helper()
	over := time.NewTimer(30 * time.Second).C
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		last := ""
		if res, err := http.Get(base + "/readyz"); err == nil {
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if last = fmt.Sprint(res.StatusCode, " ", string(body)); res.StatusCode == status && strings.Contains(last, words) {
				return
			}
		}
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("/readyz says %s; wanted %d %s", last, status, words)
		}
	}
}
