// Package script_test runs whole programs: the real binary's command line
// against a real server and real agents.
package script_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qualgent/qgjob/internal/agent/proc"
	"github.com/qualgent/qgjob/internal/cli"
	"github.com/qualgent/qgjob/internal/store/pgtest"
	"github.com/rogpeppe/go-internal/testscript"
)

// asProgram makes this test binary be qgjob itself, so that what is tested is
// what is released but for its main function of three lines.
const asProgram = "QGJOB_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	proc.MaybeInit()
	if len(os.Args) > 1 && os.Args[1] == testJob {
		os.Exit(runTestJob(os.Args[2:]))
	}
	if os.Getenv(asProgram) != "" {
		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
	}
	testscript.Main(stopping{m}, map[string]func(){
		"qgjob": func() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ())) },
	})
}

// stopping is the tests, after which a PostgreSQL of theirs is stopped.
type stopping struct{ *testing.M }

// Run runs the tests.
func (s stopping) Run() int {
	defer pgtest.Stop()
	defer func() {
		if builtDir != "" {
			_ = os.RemoveAll(builtDir)
		}
	}()
	return s.M.Run()
}

// TestScripts runs every script of testdata. Each starts its own server on a
// free port; $SERVER names it.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server": startServer,
			"agent":  startAgent,
			"http":   doHTTP,
			"exits":  exits,
			"token":  makeToken,
			"bear":   bearToken,
			"expire": expireToken,
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("TESTJOB", testBinary())
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
	})
}

func testBinary() string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}

// program is a qgjob process of a test.
type program struct {
	*exec.Cmd
	out    *lockedBuffer
	exited chan struct{}
}

// lockedBuffer keeps a process's output while it grows.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
	on  chan struct{} // closed and made anew at each write
}

// Write appends and wakes those who wait for a line.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.on)
	b.on = make(chan struct{})
	return b.buf.Write(p)
}

func (b *lockedBuffer) state() (string, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String(), b.on
}

// start runs qgjob with arguments; it is killed when the test ends.
func start(dir string, args ...string) (*program, error) {
	return startBinary(testBinary(), dir, args...)
}

// startBinary is start for another qgjob than this one.
func startBinary(binary, dir string, args ...string) (*program, error) {
	p := &program{Cmd: exec.Command(binary, args...), out: &lockedBuffer{on: make(chan struct{})}, exited: make(chan struct{})}
	p.Dir = dir
	p.Env = append(os.Environ(), asProgram+"=1")
	p.Stdout, p.Stderr = p.out, p.out
	if err := p.Start(); err != nil {
		return nil, err
	}
	go func() { _ = p.Wait(); close(p.exited) }()
	return p, nil
}

// kill ends the process at once and waits for it.
func (p *program) kill() {
	_ = p.Process.Kill()
	<-p.exited
}

// await waits until the output holds a line with the text, and gives what
// follows it on that line.
func (p *program) await(text string) (string, error) {
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for {
		out, more := p.out.state()
		if _, rest, ok := strings.Cut(out, text); ok && strings.Contains(rest, "\n") {
			line, _, _ := strings.Cut(rest, "\n")
			return strings.TrimSpace(line), nil
		}
		select {
		case <-more:
		case <-p.exited:
			out, _ := p.out.state()
			if strings.Contains(out, text) {
				continue
			}
			return "", fmt.Errorf("%v ended without saying %q:\n%s", p.Args[1:], text, out)
		case <-limit.C:
			return "", fmt.Errorf("%v did not say %q:\n%s", p.Args[1:], text, out)
		}
	}
}

const listening = "Server listening: "

// startServer is the script command "server [flag...]": $SERVER and $QGJOB_SERVER name it.
func startServer(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs("server-data")
	p, err := start(ts.MkAbs("."), append([]string{"server", "--listen", "127.0.0.1:0", "--data-dir", dir}, args...)...)
	ts.Check(err)
	ts.Defer(p.kill)
	url, err := p.await(listening)
	ts.Check(err)
	ts.Setenv("SERVER", url)
	ts.Setenv("QGJOB_SERVER", url)
}

// startAgent is the script command "agent NAME [flag...]", which waits until
// the agent is registered.
func startAgent(ts *testscript.TestScript, neg bool, args []string) {
	state := ts.MkAbs("agent-" + args[0])
	argv := append([]string{"agent", "--server", ts.Getenv("SERVER"), "--name", args[0], "--state-dir", state}, args[1:]...)
	p, err := start(ts.MkAbs("."), argv...)
	ts.Check(err)
	ts.Defer(p.kill)
	_, err = p.await("registered")
	ts.Check(err)
}

// exits is the script command "exits CODE PROGRAM [ARG...]".
func exits(ts *testscript.TestScript, neg bool, args []string) {
	code := 0
	var ee *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &ee) {
		code = ee.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%v: exit code %d, want %s", args[1:], code, args[0])
	}
}

// doHTTP is the script command "http METHOD PATH [BODY]": status and body go
// to the file http.out.
func doHTTP(ts *testscript.TestScript, neg bool, args []string) {
	var body io.Reader
	if len(args) > 2 {
		body = strings.NewReader(args[2])
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, args[0], ts.Getenv("SERVER")+args[1], body)
	ts.Check(err)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(ts.MkAbs("."), "http.out"), fmt.Appendf(nil, "%d\n%s\n", resp.StatusCode, bytes.TrimSpace(text)), 0o600))
}
