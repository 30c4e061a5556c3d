package script_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
	"github.com/qualgent/qgjob/internal/store/pgtest"
)

// TestAFarmMovesToPostgresSlow moves a running farm from SQLite to PostgreSQL: the
// server stops, the database is copied, the server comes back on the same
// address. Agents run jobs all the while and nobody tells them; a command line
// waits through it. No job is lost, none runs twice, no number is given again.
func TestAFarmMovesToPostgresSlow(t *testing.T) {
	if os.Getenv("QGJOB_SLOW") == "" {
		t.Skip("a whole farm: set QGJOB_SLOW=1")
	}
	pgtest.Shared(t)
	c, err := pgtest.Start(true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Stop() }()
	u := &upgrade{T: t, dir: t.TempDir(), url: c.URL("postgres")}
	u.tests()
	data := filepath.Join(u.dir, "data")
	serve := func(listen string, more ...string) (*program, string) {
		p := u.start("", append([]string{"server", "--listen=" + listen, "--data-dir=" + data}, more...)...)
		base, err := p.await(listening)
		if err != nil {
			t.Fatal(err)
		}
		return p, base
	}
	first, base := serve("127.0.0.1:0")
	for _, name := range []string{"a1", "a2", "a3"} {
		u.agent("", name, base)
	}
	u.passes("", base, "before the move")
	for i := range 3 * upgradeJobs { // longer ones, that are under way when the server goes
		name := "pass-300-" + strings.Repeat("x", i+1)
		if err := os.WriteFile(filepath.Join(u.dir, "tests", name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	submit := []string{"submit", "--server=" + base, "--org-id=acme", "--app-version-id=v2", "--test=tests/pass-300-*", "--idempotency-key=key-1"}
	waiting := u.start("", append(submit, "--wait", "--wait-timeout=3m")...)
	under := u.jobs(base, qgjob.Passed, 12+3) // some have ended, some run
	if out, code := u.ask("", "server", "copy", "--from=sqlite:"+data, "--to="+u.url); code == 0 || !strings.Contains(out, "in use") {
		t.Fatalf("copied under a running server: exit code %d\n%s", code, out)
	}
	_ = first.Process.Signal(os.Interrupt)
	<-first.exited
	out, code := u.ask("", "server", "copy", "--from=sqlite:"+data, "--to="+u.url)
	if code != 0 || !strings.Contains(out, "Moved: sqlite:") || !strings.Contains(out, "48 jobs") || strings.Contains(out, pgtest.Password) {
		t.Fatalf("copy: exit code %d\n%s", code, out)
	}
	t.Logf("%d jobs had ended before the move\n%s", under, out)
	if out, code := u.ask("", "server", "--listen=127.0.0.1:0", "--data-dir="+data); code == 0 || !strings.Contains(out, "was moved to postgres://") {
		t.Fatalf("the old database is served: exit code %d\n%s", code, out)
	}
	serve(strings.TrimPrefix(base, "http://"), "--database="+u.url)
	<-waiting.exited
	if out, _ := waiting.out.state(); waiting.ProcessState.ExitCode() != 0 || !strings.Contains(out, "36 passed") {
		t.Fatalf("the run in the middle of the move ended with %d:\n%s", waiting.ProcessState.ExitCode(), out)
	}
	if out, code := u.ask("", submit...); code != 0 || !strings.Contains(out, "job_13") || strings.Contains(out, "job_49") {
		t.Errorf("the same key after the move: exit code %d\n%s", code, out)
	}
	if out, code := u.ask("", "submit", "--server="+base, "--org-id=acme", "--app-version-id=v1", "--test=tests/pass-40-1", "--wait"); code != 0 {
		t.Errorf("after the move: exit code %d\n%s", code, out)
	}
	u.ran(base, 49)
}

// jobs waits until so many jobs are in a state, and gives how many are.
func (u *upgrade) jobs(base string, state qgjob.JobState, n int) int {
	u.Helper()
	api, err := client.New(base, client.Options{})
	if err != nil {
		u.Fatal(err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		page, err := api.Jobs(u.Context(), qgjob.JobFilter{Status: []qgjob.JobState{state}, Limit: qgjob.MaxPage}, "")
		if err != nil {
			u.Fatal(err)
		}
		if len(page.Items) >= n {
			return len(page.Items)
		}
	}
}

// ran wants the jobs 1 to n to have passed, each after one attempt, and to
// have really run once.
func (u *upgrade) ran(base string, n int) {
	u.Helper()
	api, err := client.New(base, client.Options{})
	if err != nil {
		u.Fatal(err)
	}
	page, err := api.Jobs(u.Context(), qgjob.JobFilter{Limit: qgjob.MaxPage}, "")
	if err != nil {
		u.Fatal(err)
	}
	if len(page.Items) != n {
		u.Fatalf("%d jobs; want %d", len(page.Items), n)
	}
	text, err := os.ReadFile(filepath.Join(u.dir, "journal"))
	if err != nil {
		u.Fatal(err)
	}
	for i, j := range page.Items {
		if j.JobID != qgjob.JobID(i+1) || j.Status != qgjob.Passed || j.Attempts != 1 {
			u.Errorf("%s is %s after %d attempts (place %d)", j.JobID, j.Status, j.Attempts, i+1)
		}
		if begun := strings.Count(string(text), "begin "+j.JobID.String()+" "); begun != 1 {
			u.Errorf("%s ran %d times", j.JobID, begun)
		}
	}
}
