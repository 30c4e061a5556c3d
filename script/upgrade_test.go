package script_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qualgent/qgjob/internal/store/pgtest"
)

// upgradeJobs is how many jobs are submitted at a time.
const upgradeJobs = 12

// upgrade is a farm whose servers are of two versions.
type upgrade struct {
	*testing.T
	dir, url, old string
}

// TestRollingUpgradeSlow replaces the servers of a farm one by one
// while agents and command lines of both versions work: nothing is lost, and
// no test runs twice.
func TestRollingUpgradeSlow(t *testing.T) {
	if os.Getenv("QGJOB_SLOW") == "" {
		t.Skip("the version before this one has to be built: set QGJOB_SLOW=1")
	}
	old, err := exec.Command("setup/previous").Output()
	var said *exec.ExitError
	if errors.As(err, &said) && strings.Contains(string(said.Stderr), "not in this clone") { // a shallow one: not a matter of this machine
		t.Skip(string(said.Stderr))
	}
	if err != nil {
		t.Fatalf("script/setup/previous: %v", err)
	}
	pgtest.Shared(t)
	c, err := pgtest.Start(true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Stop() }()
	u := &upgrade{T: t, dir: t.TempDir(), url: c.URL("postgres"), old: strings.TrimSpace(string(old))}
	u.tests()

	first, a := u.server(u.old, "127.0.0.1:0")
	u.agent(u.old, "old-1", a)
	u.passes(u.old, a, "all is old")

	_, b := u.server("", "127.0.0.1:0") // migrates beside the old one
	u.agent("", "new-1", b)
	u.agent(u.old, "old-2", b)
	u.agent("", "new-2", a)
	u.passes(u.old, a, "the old command line at the old server")
	u.passes("", a, "the new command line at the old server")
	u.passes(u.old, b, "the old command line at the new server")
	u.crosses(a, b)

	// The old server's place is taken while jobs run; agents of both versions
	// find the new one under its address.
	under := u.start("", "submit", "--server="+b, "--org-id=acme", "--app-version-id=v2", "--test=tests/*", "--wait", "--wait-timeout=2m")
	_ = first.Process.Signal(os.Interrupt)
	<-first.exited
	u.server("", strings.TrimPrefix(a, "http://"))
	<-under.exited
	if out, _ := under.out.state(); under.ProcessState.ExitCode() != 0 {
		t.Fatalf("the run in the middle of the upgrade ended with %d:\n%s", under.ProcessState.ExitCode(), out)
	}
	u.passes(u.old, a, "an old command line when all servers are new")
	u.once()
}

// tests writes the test files that the jobs name.
func (u *upgrade) tests() {
	if err := os.MkdirAll(filepath.Join(u.dir, "tests"), 0o755); err != nil {
		u.Fatal(err)
	}
	for i := range upgradeJobs {
		if err := os.WriteFile(filepath.Join(u.dir, "tests", fmt.Sprintf("pass-40-%d", i)), []byte("x"), 0o600); err != nil {
			u.Fatal(err)
		}
	}
}

// start runs the binary of a version; empty is this one.
func (u *upgrade) start(binary string, args ...string) *program {
	u.Helper()
	if binary == "" {
		binary = testBinary()
	}
	p, err := startBinary(binary, u.dir, args...)
	if err != nil {
		u.Fatal(err)
	}
	u.Cleanup(p.kill)
	return p
}

func (u *upgrade) server(binary, listen string) (*program, string) {
	u.Helper()
	p := u.start(binary, "server", "--listen="+listen, "--lease-ttl=6s", "--database="+u.url)
	base, err := p.await(listening)
	if err != nil {
		u.Fatal(err)
	}
	return p, base
}

func (u *upgrade) agent(binary, name, server string) {
	u.Helper()
	p := u.start(binary, "agent", "--server="+server, "--name="+name, "--target=emulator", "--state-dir="+filepath.Join(u.dir, name),
		"--project="+u.dir, "--runner=exec", "--", testBinary(), testJob, filepath.Join(u.dir, "journal"))
	if _, err := p.await("registered"); err != nil {
		u.Fatal(err)
	}
}

// ask runs a command to its end and gives what it printed.
func (u *upgrade) ask(binary string, args ...string) (string, int) {
	u.Helper()
	p := u.start(binary, args...)
	<-p.exited
	out, _ := p.out.state()
	return out, p.ProcessState.ExitCode()
}

func (u *upgrade) passes(binary, server, what string) {
	u.Helper()
	out, code := u.ask(binary, "submit", "--server="+server, "--org-id=acme", "--app-version-id=v1", "--test=tests/*", "--wait", "--wait-timeout=2m")
	if code != 0 || !strings.Contains(out, fmt.Sprintf("%d passed", upgradeJobs)) {
		u.Fatalf("%s: exit code %d\n%s", what, code, out)
	}
}

// crosses submits at one server, and waits and reads the log at the other.
func (u *upgrade) crosses(a, b string) {
	u.Helper()
	for _, way := range [][2]string{{a, b}, {b, a}} {
		out, _ := u.ask("", "submit", "--server="+way[0], "--org-id=acme", "--app-version-id=v3", "--test=tests/pass-40-1")
		_, id, ok := strings.Cut(out, "Job submitted: ")
		if !ok {
			u.Fatal(out)
		}
		id = strings.TrimSpace(id)
		if out, code := u.ask("", "logs", "-f", id, "--server="+way[1]); code != 0 || !strings.Contains(out, "running tests/pass-40-1 on") {
			u.Fatalf("the log of %s at the other server: exit code %d\n%s", id, code, out)
		}
		if out, code := u.ask("", "wait", id, "--server="+way[1]); code != 0 {
			u.Fatalf("waiting for %s at the other server: exit code %d\n%s", id, code, out)
		}
	}
}

// once looks into the journal of what really ran.
func (u *upgrade) once() {
	u.Helper()
	text, err := os.ReadFile(filepath.Join(u.dir, "journal"))
	if err != nil {
		u.Fatal(err)
	}
	begun := map[string]int{}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); words[0] == "begin" {
			begun[words[1]]++
		}
	}
	for job, n := range begun {
		if n != 1 {
			u.Errorf("%s ran %d times", job, n)
		}
	}
	if want := 6*upgradeJobs + 2; len(begun) != want {
		u.Errorf("%d jobs ran, want %d", len(begun), want)
	}
	u.Logf("%d jobs on servers and agents of two versions, each run once", len(begun))
}
