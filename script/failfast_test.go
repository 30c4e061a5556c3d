package script_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFailFastOfTwoHundredSlow: one test of two hundred fails. The command is
// red soon after that test has ended, and not when the others would have.
func TestFailFastOfTwoHundredSlow(t *testing.T) {
	if os.Getenv("QGJOB_SLOW") == "" {
		t.Skip("two hundred jobs: set QGJOB_SLOW=1")
	}
	dir := t.TempDir()
	server, err := start(dir, "server", "--listen=127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.kill)
	url, err := server.await(listening)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "tests"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		name := fmt.Sprintf("pass-5000-%03d", i)
		if i == 7 {
			name = "fail-1000-007"
		}
		if err := os.WriteFile(filepath.Join(dir, "tests", name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	journal := filepath.Join(dir, "journal")
	agent, err := start(dir, "agent", "--server="+url, "--name=a", "--slots=4", "--target=emulator", "--state-dir="+filepath.Join(dir, "a"), "--project="+dir,
		"--runner=exec", "--", testBinary(), testJob, journal)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(agent.kill)
	ask := func(args ...string) (string, int, time.Time) {
		p, err := start(dir, append(args, "--server="+url, "--org-id=acme", "--app-version-id=v1", "--wait", "--junit="+filepath.Join(dir, "r.xml"))...)
		if err != nil {
			t.Fatal(err)
		}
		<-p.exited
		out, _ := p.out.state()
		return out, p.ProcessState.ExitCode(), time.Now()
	}
	// The failing test is known from before, so it goes first the next time.
	if out, code, _ := ask("submit", "--test=tests/fail-1000-007"); code != 1 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	out, code, red := ask("submit", "--test=tests/*", "--fail-fast")
	if code != 1 || !strings.Contains(out, "fail-1000-007") {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	text, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "begin "); n > 40 {
		t.Errorf("%d of 200 tests began: the rest was not stopped", n-1)
	}
	info, err := os.Stat(journal)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "r.xml")); err != nil {
		t.Errorf("no JUnit: %v", err)
	}
	t.Logf("200 tests, one failing after 1 s: %d began; red %v after the last line of the journal", strings.Count(string(text), "begin ")-1, red.Sub(info.ModTime()).Round(100*time.Millisecond))
}
