package script_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store/pgtest"
)

// TestStartsBeforeItsDatabase is a morning on which everything but PostgreSQL
// has started: the server says what it waits for, an agent and a submit hold
// on, and when the database comes the job runs.
func TestStartsBeforeItsDatabase(t *testing.T) {
	pgtest.Shared(t)
	c, err := pgtest.Start(true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Stop() }()
	if err := c.Down(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "tests"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tests", "pass-10-1"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	begin := func(args ...string) *program {
		t.Helper()
		p, err := start(dir, args...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.kill)
		return p
	}
	server := begin("server", "--listen=127.0.0.1:0", "--lease-ttl=3s", "--database="+c.URL("postgres"))
	base, err := server.await(listening)
	if err != nil {
		t.Fatal(err)
	}
	refusesWork(t, base)
	agent := begin("agent", "--server="+base, "--name=a1", "--target=emulator", "--state-dir="+filepath.Join(dir, "a1"), "--project="+dir,
		"--runner=exec", "--", testBinary(), testJob, filepath.Join(dir, "journal"))
	submit := begin("submit", "--server="+base, "--retry-for=2m", "--org-id=acme", "--app-version-id=v1", "--test=tests/pass-10-1", "--wait")
	other := begin("server", "--listen=127.0.0.1:0", "--database="+c.URL("postgres"), "--data-dir=other")
	if _, err := other.await("not ready, trying again"); err != nil {
		t.Fatal(err)
	}
	if err := other.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-other.exited
	if code := other.ProcessState.ExitCode(); code != 0 {
		out, _ := other.out.state()
		t.Errorf("a server that waited left with %d:\n%s", code, out)
	}
	if err := c.Up(); err != nil {
		t.Fatal(err)
	}
	readiness(t, base, http.StatusOK, "ready")
	<-submit.exited
	if out, _ := submit.out.state(); submit.ProcessState.ExitCode() != 0 || !strings.Contains(out, "passed") {
		text, _ := agent.out.state()
		t.Errorf("submitted before the database was there: %s\nagent: %s", out, text)
	}
	for _, p := range []*program{server, other} {
		if out, _ := p.out.state(); strings.Contains(out, pgtest.Password) || strings.Count(out, listening) != 1 || !strings.Contains(out, "the database cannot be reached") {
			t.Errorf("said:\n%s", out)
		}
	}
}

// refusesWork wants a server that is alive, not ready, and sends work away in
// the words of the API.
func refusesWork(t *testing.T, base string) {
	t.Helper()
	readiness(t, base, http.StatusServiceUnavailable, "not ready: the database cannot be reached")
	res, err := http.Get(base + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("healthz: %s", res.Status)
	}
	if res, err = http.Post(base+"/v1/runs", "application/json", strings.NewReader(`{}`)); err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var problem struct {
		Kind   qgjob.Kind `json:"kind"`
		Detail string     `json:"detail"`
		Hint   string     `json:"hint"`
	}
	if err := json.Unmarshal(body, &problem); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || problem.Kind != qgjob.KindUnavailable ||
		problem.Detail != "the database cannot be reached" || !strings.Contains(problem.Hint, "the server goes on as soon as it answers") {
		t.Errorf("a submit: %s %v %s", res.Status, res.Header, body)
	}
}
