package cli

import (
	"net"
	"os"
	"strings"
	"testing"
)

// farm is a real server, and the agent command beside it as a program of its
// own: what a lab's people run.
type farm struct {
	lab
	data string
}

// newFarm starts the server on an address that a restart can take again.
func newFarm(t *testing.T) *farm {
	t.Helper()
	f := &farm{lab: lab{t: t, project: t.TempDir()}, data: t.TempDir()}
	f.hosted = host(t, nil, "server", "--data-dir="+f.data)
	return f
}

// restart stops the server and starts it again on the same address and data.
func (f *farm) restart() {
	f.t.Helper()
	f.stop(f.t, os.Interrupt)
	address := strings.TrimPrefix(f.base, "http://")
	f.hosted = hostAll(f.t, nil, []string{"server", "--data-dir=" + f.data, "--lease-ttl=3s", "--listen=" + address})
}

// agent starts qgjob agent; its exit code comes when it leaves.
func (f *farm) agent(state string, args ...string) (*program, chan int) {
	f.t.Helper()
	program, asks := jobs(f.t)
	f.asks = asks
	p := newProgram(f.t, f.base)
	code := make(chan int, 1)
	go func() {
		got, _, _ := p.run(append(append([]string{"agent", "--target=emulator", "--project=" + f.project, "--state-dir=" + state}, args...), program...)...)
		code <- got
	}()
	p.err.await(f.t, "msg=registered")
	return p, code
}

// TestAgentDrainsBySignal: the first signal lets the running job finish, and
// no other begins.
func TestAgentDrainsBySignal(t *testing.T) {
	f := newFarm(t)
	defer func() { f.stop(t, os.Interrupt) }()
	p, code := f.agent(t.TempDir(), "--name=a1")
	f.run(0, tests("ask-1", "ask-2")...)
	job := <-f.asks
	p.signals <- os.Interrupt
	p.err.await(t, "draining: no more jobs are claimed")
	job.say("exit 0")
	if got := <-code; got != 0 {
		t.Errorf("a drained agent left with %d\n%s", got, p.err.String())
	}
	out, _ := f.run(0, "status", "run_1")
	has(t, out, "1 passed, 1 queued of 2")
	out, _ = f.run(0, "list", "--status=queued", "--json")
	has(t, out, `"attempts": 0`)
}

// TestAgentGivesBackBySecondSignal: the test is stopped, its job waits again,
// and the attempt cost it nothing.
func TestAgentGivesBackBySecondSignal(t *testing.T) {
	f := newFarm(t)
	defer func() { f.stop(t, os.Interrupt) }()
	p, code := f.agent(t.TempDir(), "--name=a1")
	f.run(0, tests("ask-1")...)
	job := <-f.asks
	p.signals <- os.Interrupt
	p.err.await(t, "draining")
	p.signals <- os.Interrupt
	if got := <-code; got != exitInterrupted {
		t.Errorf("left with %d\n%s", got, p.err.String())
	}
	_ = job.gone()
	out, _ := f.run(0, "status", "job_1")
	has(t, out, "Job job_1 status: queued")

	p, code = f.agent(t.TempDir(), "--name=a2")
	go func() { (<-f.asks).say("exit 0") }()
	out, _ = f.run(0, "wait", "job_1")
	has(t, out, "job_1 passed: 1 passed of 1", "a2")
	p.signals <- os.Interrupt
	if got := <-code; got != 0 {
		t.Errorf("left with %d", got)
	}
}

// TestAgentSlots: NAME-1 to NAME-N, each with one job at a time.
func TestAgentSlots(t *testing.T) {
	f := newFarm(t)
	defer func() { f.stop(t, os.Interrupt) }()
	p, code := f.agent(t.TempDir(), "--name=lab", "--slots=2", "--label=os=14")
	f.run(0, append(tests("ask-1"), "--requires=os=14")...)
	f.run(0, "submit", "--org-id=o", "--app-version-id=w", "--test=ask-2", "--requires=os=14")
	one, two := <-f.asks, <-f.asks // both run at the same time
	out, _ := f.run(0, "list")
	has(t, out, "lab-1", "lab-2")
	one.say("exit 0")
	two.say("exit 0")
	f.run(0, "wait", "job_1")
	f.run(0, "wait", "job_2")
	out, _ = f.run(0, "agents")
	has(t, out, "lab-1", "lab-2", "os=14")
	p.signals <- os.Interrupt
	if got := <-code; got != 0 {
		t.Errorf("left with %d", got)
	}
}

// TestServerRestartsUnderAWait: the server goes while a test runs and comes
// back; the wait ends with the test's own verdict.
func TestServerRestartsUnderAWait(t *testing.T) {
	f := newFarm(t)
	defer func() { f.stop(t, os.Interrupt) }()
	agent, code := f.agent(t.TempDir(), "--name=a1")
	p := newProgram(t, f.base)
	waited := make(chan int, 1)
	go func() {
		got, _, _ := p.run(append(tests("ask-1"), "--wait")...)
		waited <- got
	}()
	job := <-f.asks
	f.restart()
	p.err.await(t, "the server answers again")
	job.say("exit 1")
	if got := <-waited; got != exitFailed {
		t.Errorf("left with %d\n%s\n%s", got, p.out.String(), p.err.String())
	}
	has(t, p.out.String(), "run_1 failed: 1 failed of 1")
	agent.signals <- os.Interrupt
	if got := <-code; got != 0 {
		t.Errorf("the agent left with %d\n%s", got, agent.err.String())
	}
}

// TestAgentRefusedByItsServer leaves with the code of a wrong token, and does
// not show it.
func TestAgentRefusedByItsServer(t *testing.T) {
	h := host(t, func(p *program) { p.write("token", "a-token-of-the-test\n") }, "server", "--token-file=token")
	defer h.stop(t, os.Interrupt)
	p := newProgram(t, h.base)
	p.env = append(p.env, "QGJOB_TOKEN=another-token-of-ours")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	code, _, errs := p.run("agent", "--name=a1", "--target=emulator", "--state-dir=s", "--", self)
	if code != exitDenied || strings.Contains(errs, "another-token") || !strings.Contains(errs, "QGJOB_TOKEN") {
		t.Errorf("%d %q", code, errs)
	}
}

// TestRelativeProgram may come with the bundle, so it is only remarked on.
func TestRelativeProgram(t *testing.T) {
	p := newProgram(t, "http://127.0.0.1:1")
	p.write("project/here.sh", "#!/bin/sh\n")
	if err := os.Chmod(p.dir+"/project/here.sh", 0o755); err != nil {
		t.Fatal(err)
	}
	a := &app{printer: newPrinter(p.out, p.err, nil), dir: p.dir}
	for program, note := range map[string]string{"./here.sh": "", "./there.sh": "qgjob: ./there.sh is no program in project: only jobs that bring it in their bundle can run\n"} {
		p.err.b.Reset()
		o := agentOptions{slots: 1, project: "project", argv: []string{program}}
		if err := o.checkHere(a, "slots"); err != nil || p.err.String() != note {
			t.Errorf("%s: %v %q, want %q", program, err, p.err.String(), note)
		}
	}
}

// TestTwoServersOneFolder: the second says who has it.
func TestTwoServersOneFolder(t *testing.T) {
	f := newFarm(t)
	defer func() { f.stop(t, os.Interrupt) }()
	code, _, errs := newProgram(t, "").run("server", "--listen=127.0.0.1:0", "--data-dir="+f.data)
	if code == 0 || !strings.Contains(errs, "in use by another qgjob server") {
		t.Errorf("%d %q", code, errs)
	}
	_, port, err := net.SplitHostPort(strings.TrimPrefix(f.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	code, _, errs = newProgram(t, "").run("server", "--listen=127.0.0.1:"+port)
	if code != 3 || !strings.Contains(errs, "name another address with --listen") {
		t.Errorf("%d %q", code, errs)
	}
}
