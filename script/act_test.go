package script_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
)

// The tests of this file run real workflows by nektos/act, in host mode, with this repository's action.yml, against a real server and a real agent.
// What act does not do as GitHub's runner does is said where it matters: it kills a step where the runner interrupts it first.

// ciFarm is a server with an agent whose tests do as their names say, and a program built from this tree.
type ciFarm struct {
	t       *testing.T
	dir     string
	url     string
	act     string
	program string
	client  *client.Client
}

// builtDir holds what built made; it goes when the tests have ended.
var builtDir string

// built is the program, made once for all tests.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "qgjob-act-")
	if err != nil {
		return "", err
	}
	builtDir = dir
	program := filepath.Join(dir, "qgjob")
	out, err := exec.Command("go", "build", "-trimpath", "-o", program, "../cmd/qgjob").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build qgjob: %w\n%s", err, out)
	}
	return program, nil
})

func newCIFarm(t *testing.T) *ciFarm {
	t.Helper()
	if os.Getenv("QGJOB_SLOW") == "" {
		t.Skip("runs whole workflows: set QGJOB_SLOW=1")
	}
	act, err := filepath.Abs("../.bin/act")
	if err == nil {
		_, err = os.Stat(act)
	}
	switch {
	case err == nil:
	case os.Getenv("QGJOB_REQUIRE_ACT") != "":
		t.Fatal("act is not built: run make .bin/act")
	default:
		t.Skip("needs act: make .bin/act")
	}
	f := &ciFarm{t: t, dir: t.TempDir(), act: act}
	if f.program, err = built(); err != nil {
		t.Fatal(err)
	}
	server, err := start(f.dir, "server", "--listen", "127.0.0.1:0", "--data-dir", filepath.Join(f.dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.kill)
	if f.url, err = server.await(listening); err != nil {
		t.Fatal(err)
	}
	agent, err := start(f.dir, "agent", "--server", f.url, "--name", "a1", "--target", "emulator", "--state-dir", filepath.Join(f.dir, "agent"),
		"--", testBinary(), testJob, filepath.Join(f.dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(agent.kill)
	if _, err := agent.await("registered"); err != nil {
		t.Fatal(err)
	}
	if f.client, err = client.New(f.url, client.Options{Retry: client.Retry{Budget: 5 * time.Second}}); err != nil {
		t.Fatal(err)
	}
	return f
}

// workflow is a job whose second step is the action (or steps of its own), and whose last one keeps the action's outputs.
func workflow(steps string) string {
	return `on: push
jobs:
  e2e:
    runs-on: ubuntu-latest
    strategy:
      matrix:
        leg: [one]
    steps:
      - uses: actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2
` + steps + `
      - if: always()
        shell: bash
        env:
          OUTPUTS: ${{ toJSON(steps.q.outputs) }}
        run: printf '%s' "$OUTPUTS" >"$OUTPUTS_FILE"
`
}

// action is a step that uses the action with some inputs.
func action(inputs ...string) string {
	return "      - id: q\n        uses: ./.qgjob-action\n        with:\n          version: ${{ env.PROGRAM }}\n          org-id: shop\n          app-version-id: v1\n          junit: r.xml\n          " +
		strings.Join(inputs, "\n          ") + "\n"
}

// localAction is the action as a repository may hold it itself.
func (f *ciFarm) localAction() map[string]string {
	f.t.Helper()
	files := map[string]string{"tests/spec-a.spec.js": "// a test\n"}
	for _, name := range []string{"action.yml", "script/action/install"} {
		text, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			f.t.Fatal(err)
		}
		files[filepath.Join(".qgjob-action", name)] = string(text)
	}
	return files
}

// actionFolder is a folder with this whole tree, as a checkout of the action is.
func (f *ciFarm) actionFolder() string {
	f.t.Helper()
	dir := f.t.TempDir()
	f.write(dir, f.tree())
	return dir
}

// tree is this whole source tree.
func (f *ciFarm) tree() map[string]string {
	f.t.Helper()
	names, err := exec.Command("git", "-C", "..", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		f.t.Fatal(err)
	}
	files := map[string]string{}
	for name := range strings.SplitSeq(strings.Trim(string(names), "\x00"), "\x00") {
		if text, err := os.ReadFile(filepath.Join("..", name)); err == nil { // else deleted here, or a link to a folder
			files[name] = string(text)
		}
	}
	return files
}

func (f *ciFarm) write(dir string, files map[string]string) {
	f.t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, []byte(text), 0o755)
		}
		if err != nil {
			f.t.Fatal(err)
		}
	}
}

// repository is a fresh git repository with a workflow and files.
func (f *ciFarm) repository(workflow string, files map[string]string) string {
	f.t.Helper()
	repo := f.t.TempDir()
	f.write(repo, files)
	f.write(repo, map[string]string{".github/workflows/e2e.yml": workflow})
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "."}, {"-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "a commit"},
		{"remote", "add", "origin", "https://github.com/qualgent/e2e"}} {
		if out, err := exec.Command("git", append([]string{"-C", repo}, args...)...).CombinedOutput(); err != nil {
			f.t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	return repo
}

// actRun is a workflow that runs or has run.
type actRun struct {
	t       *testing.T
	cmd     *exec.Cmd
	log     *lockedBuffer
	ended   chan struct{}
	home    string
	outputs map[string]string
	commands,
	summaries []actLine
	job string // the job's result
}

// actLine is one line of act's log in JSON.
type actLine struct {
	Command, Content, Arg, Msg, JobResult string
	KVPairs                               map[string]string `json:"kvPairs"`
}

// begin starts act on a workflow of some steps.
func (f *ciFarm) begin(steps string) *actRun {
	f.t.Helper()
	return f.play(workflow(steps), f.localAction(), "--env", "PROGRAM="+f.program, "--env", "QGJOB_SERVER="+f.url)
}

// play starts act on a workflow, in a repository of its own with some files.
func (f *ciFarm) play(workflow string, files map[string]string, more ...string) *actRun {
	f.t.Helper()
	repo, home := f.repository(workflow, files), f.t.TempDir()
	r := &actRun{t: f.t, log: &lockedBuffer{on: make(chan struct{})}, ended: make(chan struct{}), home: home}
	args := []string{"push", "--json", "-W", ".github/workflows/e2e.yml", "-P", "ubuntu-latest=-self-hosted", "--no-cache-server", "--artifact-server-addr", "127.0.0.1",
		"--env", "OUTPUTS_FILE=" + filepath.Join(home, "outputs.json")}
	r.cmd = exec.Command(f.act, append(args, more...)...)
	r.cmd.Dir = repo
	r.cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME="+filepath.Join(home, "cache"), "XDG_CONFIG_HOME="+home)
	r.cmd.Stdout, r.cmd.Stderr = r.log, r.log
	if err := r.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	go func() { _ = r.cmd.Wait(); close(r.ended) }()
	f.t.Cleanup(func() { _ = r.cmd.Process.Kill(); <-r.ended })
	return r
}

// end waits for act and reads what it said.
func (r *actRun) end() *actRun {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(8 * time.Minute): //budget:allow a workflow that hangs must fail
		r.t.Fatalf("act goes on after 8 minutes:\n%s", r.text())
	}
	for lines := bufio.NewScanner(strings.NewReader(r.text())); lines.Scan(); {
		var l actLine
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			continue
		}
		switch l.Command {
		case "error", "warning":
			r.commands = append(r.commands, l)
		case "summary":
			r.summaries = append(r.summaries, l)
		}
		if l.JobResult != "" {
			r.job = l.JobResult
		}
	}
	text, err := os.ReadFile(filepath.Join(r.home, "outputs.json"))
	if err == nil {
		err = json.Unmarshal(bytes.ToValidUTF8(text, nil), &r.outputs)
	}
	if err != nil {
		r.t.Logf("outputs: %v", err)
	}
	return r
}

func (r *actRun) text() string {
	text, _ := r.log.state()
	return text
}

func (r *actRun) summary() string {
	var b strings.Builder
	for _, l := range r.summaries {
		b.WriteString(l.Content)
	}
	return b.String()
}

// annotations are the annotations as GitHub would show them.
func (r *actRun) annotations() []string {
	var out []string
	for _, l := range r.commands {
		at := l.KVPairs["file"]
		if line := l.KVPairs["line"]; line != "" {
			at += ":" + line
		}
		out = append(out, fmt.Sprintf("%s %s [%s] %s", l.Command, at, l.KVPairs["title"], l.Arg))
	}
	return out
}

// wantGreen and wantRed hold the workflow's colour against what it must be, with the action's conclusion.
func (r *actRun) want(green bool, conclusion string) {
	r.t.Helper()
	if got := r.cmd.ProcessState.ExitCode() == 0; got != green || (r.job == "success") != green {
		r.t.Errorf("act left with %d, the job with %q; want green: %v\n%s", r.cmd.ProcessState.ExitCode(), r.job, green, r.text())
	}
	if r.outputs["conclusion"] != conclusion {
		r.t.Errorf("outputs %v, want conclusion %s\n%s", r.outputs, conclusion, r.text())
	}
}

func (r *actRun) wantAnnotations(want ...string) {
	r.t.Helper()
	if got := r.annotations(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		r.t.Errorf("annotations\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (r *actRun) wantSummary(parts ...string) {
	r.t.Helper()
	for _, p := range parts {
		if !strings.Contains(r.summary(), p) {
			r.t.Errorf("%q is not in the summary\n%s", p, r.summary())
		}
	}
}

// TestActVerdictsSlow: right colour, right summary, right annotations, right outputs of each way in which a run ends by itself.
func TestActVerdictsSlow(t *testing.T) {
	f := newCIFarm(t)
	t.Run("passing", func(t *testing.T) {
		r := f.in(t).begin(action("test: |", "  tests/pass-0-1", "  tests/pass-0-2")).end()
		r.want(true, "passed")
		r.wantAnnotations()
		r.wantSummary("## ✅ All 2 test files passed", "2 test files passed</summary>", "Installs: ", "/report)")
		if r.outputs["passed"] != "2" || r.outputs["failed"] != "0" || r.outputs["junit"] != "r.xml" || !strings.HasPrefix(r.outputs["run-id"], "run_") {
			t.Errorf("outputs %v", r.outputs)
		}
	})
	t.Run("failing", func(t *testing.T) {
		r := f.in(t).begin(action("test: |", "  tests/pass-0-1", "  tests/fail-0-1", "  tests/spec-a.spec.js")).end()
		r.want(false, "failed")
		r.wantAnnotations("error tests/spec-a.spec.js:12 [cart › adds, then pays] expected 1, got 2\nat tests/spec-a.spec.js:12",
			"error tests/fail-0-1 [failed: tests/fail-0-1] the test runner left with code 1")
		r.wantSummary("## ❌ 2 of 3 test files failed", "| ❌ failed | tests/fail", "adds, then pays", "1 test file passed")
	})
	t.Run("flaky", func(t *testing.T) {
		r := f.in(t).begin(action("retries: 1", "test: tests/flaky-0-1")).end()
		r.want(true, "passed")
		if got := r.annotations(); len(got) != 1 || !strings.HasPrefix(got[0], "warning tests/flaky-0-1 [flaky: tests/flaky-0-1] passed only after a retry") {
			t.Errorf("annotations %q", got)
		}
		r.wantSummary("| 🔁 flaky |", "only after a retry")
		if r.outputs["flaky"] != "1" || r.outputs["passed"] != "1" {
			t.Errorf("outputs %v", r.outputs)
		}
	})
	t.Run("flaky is red when asked", func(t *testing.T) {
		r := f.in(t).begin(action("retries: 1", "fail-on-flaky: true", "test: tests/flaky-0-2")).end()
		r.want(false, "flaky")
	})
	t.Run("broken infrastructure", func(t *testing.T) {
		r := f.in(t).begin(action("test: tests/broken-0-1")).end()
		r.want(false, "errored")
		r.wantSummary("could not be tested", "| ⚠️ errored |")
		if got := r.annotations(); len(got) != 1 || !strings.HasPrefix(got[0], "error tests/broken-0-1 [errored: tests/broken-0-1]") {
			t.Errorf("annotations %q", got)
		}
	})
}

// TestActNoVerdictSlow: what keeps a run from a verdict, or from being, is red too, and inputs are never commands.
func TestActNoVerdictSlow(t *testing.T) {
	f := newCIFarm(t)
	t.Run("timeout", func(t *testing.T) {
		r := f.in(t).begin(action("wait-timeout: 1s", "test: tests/pass-4000-1")).end()
		r.want(false, "timed_out")
		r.wantAnnotations()
		r.wantSummary("Not finished", "wait&#45;timeout ran out")
	})
	t.Run("no test matches", func(t *testing.T) {
		r := f.in(t).begin(action("test: tests/**/*.nothing")).end()
		r.want(false, "unknown")
		if got := r.annotations(); len(got) != 1 || !strings.Contains(got[0], "[qgjob: no verdict]") || !strings.Contains(got[0], "*.nothing") {
			t.Errorf("annotations %q", got)
		}
	})
	t.Run("server down", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		l.Close()
		began := time.Now()
		r := f.in(t).begin(action("retry-for: 1s", "server: http://"+address, "test: tests/pass-0-1")).end()
		r.want(false, "unknown")
		if got := r.annotations(); len(got) != 1 || !strings.Contains(got[0], address) {
			t.Errorf("annotations %q", got)
		}
		t.Logf("red after %v", time.Since(began).Round(time.Millisecond))
	})
	t.Run("no input is a command", func(t *testing.T) {
		evil := "v1 $(touch pwned) `touch pwned` ; touch pwned ::error::x"
		r := f.in(t).begin(action("test: tests/pass-0-1", "label: \"note="+evil+"\"")).end()
		r.want(true, "passed")
		r.wantAnnotations()
		if _, err := os.Stat(filepath.Join(r.cmd.Dir, "pwned")); err == nil {
			t.Error("an input was run")
		}
		id, err := qgjob.ParseRunID(r.outputs["run-id"])
		if err != nil {
			t.Fatal(err)
		}
		if run, err := f.client.Run(t.Context(), id); err != nil || run.Labels["note"] != evil {
			t.Errorf("%v %q", err, run.Labels)
		}
	})
}

// in is the farm for a subtest.
func (f *ciFarm) in(t *testing.T) *ciFarm {
	other := *f
	other.t = t
	return &other
}

// TestActStoppedSlow: runs that the farm itself ends early are red, say why, and name what failed.
func TestActStoppedSlow(t *testing.T) {
	f := newCIFarm(t)
	t.Run("superseded", func(t *testing.T) {
		g := f.in(t)
		old := g.begin(action("supersede-key: main", "test: |", "  tests/pass-60000-1", "  tests/pass-60000-2"))
		g.awaitRunning()
		newer := g.begin(action("supersede-key: main", "test: tests/pass-0-1"))
		old.end()
		old.want(false, "cancelled")
		newer.end()
		newer.want(true, "passed")
		old.wantSummary("superseded by "+strings.ReplaceAll(newer.outputs["run-id"], "_", "&#95;"), "| 🚫 cancelled |")
	})
	t.Run("fail fast", func(t *testing.T) {
		r := f.in(t).begin(action("fail-fast: true", "test: |", "  tests/fail-0-1", "  tests/pass-60000-1", "  tests/pass-60000-2")).end()
		r.want(false, "failed")
		if r.outputs["failed"] != "1" || r.outputs["passed"] != "0" {
			t.Errorf("outputs %v", r.outputs)
		}
		r.wantSummary("| ❌ failed | tests/fail")
		if got := r.annotations(); len(got) == 0 || !strings.HasPrefix(got[0], "error tests/fail-0-1 [failed: tests/fail-0-1]") {
			t.Errorf("annotations %q", got)
		}
	})
}

// TestActCancelledSlow: the runner interrupts the process of a step. The action's is qgjob itself, so its run is cancelled on the server and the
// step is red; the agent's test is stopped.
func TestActCancelledSlow(t *testing.T) {
	f := newCIFarm(t)
	r := f.begin(action("test: tests/pass-60000-1"))
	f.awaitRunning()
	step := f.stepProcess()
	if err := tell(step, os.Interrupt); err != nil {
		t.Fatal(err)
	}
	r.end()
	r.want(false, "cancelled")
	r.wantSummary("🚫")
	f.wantCancelled()
}

// TestActKilledSlow: act itself, interrupted, kills the shell of a step where GitHub's runner would have interrupted it. The terminal that it gave to
// the step goes away with that, which qgjob takes for an interrupt. On a busy machine act's SIGKILL may reach qgjob first: then nobody is left to
// cancel anything, and it is tried again.
func TestActKilledSlow(t *testing.T) {
	if os.Getenv("QGJOB_SLOW") == "" {
		t.Skip("runs whole workflows: set QGJOB_SLOW=1")
	}
	for try := range 3 {
		cancelled := false
		t.Run(fmt.Sprint(try+1), func(t *testing.T) { cancelled = killAct(t) })
		if cancelled {
			return
		}
	}
	t.Error("three jobs were cancelled, and none of their runs")
}

// killAct reports whether the run of a step that act killed was cancelled.
func killAct(t *testing.T) bool {
	// Where these tests run under nohup a hang-up is ignored, and children inherit that; not so what is handled.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	f := newCIFarm(t)
	r := f.begin("      - id: q\n        shell: bash\n        run: |\n          \"$PROGRAM\" submit --org-id=shop --app-version-id=v1 --test=tests/pass-60000-1 --wait\n          echo done\n")
	f.awaitRunning()
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	r.end()
	if r.cmd.ProcessState.ExitCode() == 0 {
		t.Errorf("act is green:\n%s", r.text())
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	for ctx.Err() == nil {
		if run, err := f.client.Run(ctx, 1); err == nil && run.Conclusion == qgjob.ConclusionCancelled {
			return true
		}
		<-time.After(50 * time.Millisecond) //budget:allow processes of others cannot be waited for
	}
	return false
}

// await asks until the answer is yes.
func (f *ciFarm) await(what string, yes func() bool) {
	f.t.Helper()
	ctx, stop := context.WithTimeout(f.t.Context(), time.Minute)
	defer stop()
	for !yes() {
		select {
		case <-ctx.Done():
			f.t.Fatalf("after a minute: not %s", what)
		case <-time.After(50 * time.Millisecond): //budget:allow processes of others cannot be waited for
		}
	}
}

func (f *ciFarm) awaitRunning() {
	f.await("running", func() bool {
		job, err := f.client.Job(f.t.Context(), 1)
		return err == nil && job.Status == qgjob.Running
	})
}

func (f *ciFarm) wantCancelled() {
	f.t.Helper()
	f.await("cancelled", func() bool {
		run, err := f.client.Run(f.t.Context(), 1)
		return err == nil && run.Conclusion == qgjob.ConclusionCancelled
	})
}

// stepProcess finds the process of the action's last step.
func (f *ciFarm) stepProcess() int {
	f.t.Helper()
	pid := processOf(f.program+" submit --from-env ", "QGJOB_SERVER="+f.url)
	if pid == 0 {
		f.t.Fatal("no step of the action runs")
	}
	return pid
}

// tell sends a process of others a signal.
func tell(pid int, what os.Signal) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Signal(what)
}

// processOf finds a process by its command line, words ended by blanks, and a variable of its environment; 0 is none.
func processOf(line, variable string) int {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		words, _ := os.ReadFile(name)
		env, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "environ"))
		if strings.HasPrefix(strings.ReplaceAll(string(words), "\x00", " "), line) && strings.Contains("\x00"+string(env), "\x00"+variable+"\x00") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			return pid
		}
	}
	return 0
}
