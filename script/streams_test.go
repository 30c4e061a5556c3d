package script_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob/internal/store/pgtest"
)

// TestStreamsThroughAnotherServer: two servers share one PostgreSQL database,
// and the agent knows only the first. The second tells the log and the events
// of a job while that runs; who stopped reading at the first goes on at the
// second behind the last event seen, and misses or hears nothing twice.
func TestStreamsThroughAnotherServer(t *testing.T) {
	pgtest.Shared(t)
	c, err := pgtest.Start(true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Stop() }()
	u := &upgrade{T: t, dir: t.TempDir(), url: c.URL("postgres")}
	_, a := u.server("", "127.0.0.1:0")
	_, b := u.server("", "127.0.0.1:0")
	u.tests()
	gate := filepath.Join(u.dir, "gate") // jobs of "gate" run until it is there
	if err := os.WriteFile(filepath.Join(u.dir, "tests", "gate-1"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	agent := u.start("", "agent", "--server="+a, "--name=a1", "--target=emulator", "--state-dir="+filepath.Join(u.dir, "a1"),
		"--project="+u.dir, "--runner=exec", "--", testBinary(), testJob, filepath.Join(u.dir, "journal"), gate)
	if _, err := agent.await("registered"); err != nil {
		t.Fatal(err)
	}
	if out, code := u.ask("", "submit", "--server="+b, "--org-id=acme", "--app-version-id=v1", "--test=tests/gate-1"); code != 0 {
		t.Fatalf("submit: exit code %d\n%s", code, out)
	}
	first := follow(t, a, "")
	seen := first.until("job.started")
	logs := u.start("", "logs", "-f", "job_1", "--server="+b)
	if _, err := logs.await("running tests/gate-1 on"); err != nil { // it runs: nothing has opened the gate
		t.Fatalf("the log at the other server: %v", err)
	}
	whole := follow(t, b, "")
	early := whole.until("job.started")
	if got, want := strings.Join(early, " "), strings.Join(seen, " "); got != want {
		t.Errorf("the other server told %s, the first %s", got, want)
	}
	first.close()
	id, _, _ := strings.Cut(seen[len(seen)-1], ":")
	after := follow(t, b, id)
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rest := after.until("run.finished")
	if got, want := strings.Join(append(early, whole.until("run.finished")...), " "), strings.Join(append(seen, rest...), " "); got != want {
		t.Errorf("from the first to the second server: %s\nthe second alone: %s", want, got)
	}
	if !strings.Contains(strings.Join(rest, " "), ":job.finished") || strings.Contains(strings.Join(rest, " "), ":job.started") {
		t.Errorf("behind event %s came %v", id, rest)
	}
	<-logs.exited
	if out, _ := logs.out.state(); logs.ProcessState.ExitCode() != 0 || strings.Count(out, "running tests/gate-1 on") != 1 || strings.Count(out, "the gate is open") != 1 {
		t.Errorf("logs -f at the other server: exit code %d\n%s", logs.ProcessState.ExitCode(), out)
	}
}

// stream is an open stream of run_1's events.
type stream struct {
	t     *testing.T
	lines *bufio.Scanner
	close func()
}

func follow(t *testing.T, base, last string) *stream {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/v1/runs/run_1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("the events of run_1 at %s: %v, %v", base, res, err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return &stream{t, bufio.NewScanner(res.Body), func() { _ = res.Body.Close() }}
}

// until reads on to an event of a kind, and gives each as "id:kind".
func (s *stream) until(kind string) (events []string) {
	s.t.Helper()
	id := ""
	for s.lines.Scan() {
		if text, ok := strings.CutPrefix(s.lines.Text(), "id: "); ok {
			id = text
		}
		if text, ok := strings.CutPrefix(s.lines.Text(), "event: "); ok {
			if events = append(events, fmt.Sprint(id, ":", text)); text == kind {
				return events
			}
		}
	}
	s.t.Fatalf("the stream ended without %s: %v, %v", kind, events, s.lines.Err())
	return nil
}
