package script_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// standIn is an action that does nothing: what GitHub fetches cannot be had here, and the machine has it already.
const standIn = "name: stand-in\ndescription: nothing\nruns:\n  using: composite\n  steps:\n    - shell: bash\n      run: 'true'\n"

// TestActProjectSlow runs this project's own appwright-test.yml: it builds qgjob, starts a server and a browser agent, and runs the shop's real
// Playwright tests. Only the port and two actions of others are replaced.
func TestActProjectSlow(t *testing.T) {
	f := newCIFarm(t)
	needBrowser(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	text, err := os.ReadFile("../.github/workflows/appwright-test.yml")
	if err != nil {
		t.Fatal(err)
	}
	caches, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	builds, stand := strings.Fields(string(caches)), t.TempDir()
	f.write(stand, map[string]string{"action.yml": standIn})
	args := []string{"--env", "GOCACHE=" + builds[0], "--env", "GOMODCACHE=" + builds[1], "--env", "GOFLAGS=-trimpath", "--env", "PWD_OF_TEST=" + stand}
	for line := range strings.Lines(string(text)) {
		if _, action, ok := strings.Cut(line, "uses: actions/"); ok && !strings.HasPrefix(action, "checkout@") {
			args = append(args, "--local-repository", "actions/"+strings.Fields(action)[0]+"="+stand)
		}
	}
	t.Cleanup(func() { // GitHub ends what a job leaves running; act does not
		if pid := processOf("bin/qgjob up --listen="+address+" ", "PWD_OF_TEST="+stand); pid != 0 {
			_ = tell(pid, os.Kill)
		}
	})
	r := f.play(strings.ReplaceAll(string(text), "127.0.0.1:8000", address), f.tree(), args...).end()
	log, _ := os.ReadFile(filepath.Join(r.home, "qgjob.log"))
	if r.cmd.ProcessState.ExitCode() != 0 || r.job != "success" {
		t.Fatalf("code %d, job %q\n%s\n%s", r.cmd.ProcessState.ExitCode(), r.job, r.text(), log)
	}
	r.wantSummary("## ✅ All 10 test files passed", "Installs: 1 done", "9 avoided")
	r.wantAnnotations()
}
