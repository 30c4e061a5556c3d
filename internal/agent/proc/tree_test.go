//go:build linux

package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The orphaned grandchild has its own session and ignores every signal that can be ignored.
func TestCancelReachesDaemons(t *testing.T) {
	eachIsolation(t, func(t *testing.T, i Isolation) {
		for _, kill := range []bool{false, true} {
			line, out := newLifeline(t), newTranscript()
			c := helper(t, "family", line.path)
			c.Isolation, c.Stdout, c.Grace = i, out, 2*patience
			p := start(t, c)
			line.held(t)
			out.await(t, "ready\nready") // the daemon's and, after it, the family's
			if kill {
				p.Kill()
			} else {
				p.Cancel(errByHand)
			}
			r := finish(t, p)
			line.cut(t)
			if r.End != Stopped || r.OutputErr != nil || kill != (r.Signal == "SIGKILL") {
				t.Errorf("kill %v: got %+v", kill, r)
			}
		}
	})
}

// What a test leaves running ends with it, and does not hold Wait through the output it inherited.
func TestNothingOutlivesTheMainProcess(t *testing.T) {
	eachIsolation(t, func(t *testing.T, i Isolation) {
		line, out := newLifeline(t), newTranscript()
		c := helper(t, "daemon", line.path, "7")
		c.Isolation, c.Stdout, c.Stderr = i, out, out
		p := start(t, c)
		line.held(t)
		r := finish(t, p)
		line.cut(t)
		if r.End != Exited || r.ExitCode != 7 || r.OursSignal || r.OutputErr != nil {
			t.Errorf("got %+v", r)
		}
	})
}

// Rule 5 of the lease protocol: kill -9 of the agent ends its tests, whatever they have become.
func TestTreeDiesWithItsAgent(t *testing.T) {
	eachIsolation(t, func(t *testing.T, i Isolation) {
		line := newLifeline(t)
		agent := again("agent", false, fmt.Sprint(int(i)), "family", line.path)
		agent.Stdout, agent.Stderr = nil, nil
		if err := agent.Start(); err != nil {
			t.Fatal(err)
		}
		line.held(t)
		if err := agent.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = agent.Wait() // "signal: killed"
		line.cut(t)
	})
}

// A parent-death signal is sent when the thread that forked ends. That thread must not be the caller's.
func TestTestOutlivesTheStartingThread(t *testing.T) {
	eachIsolation(t, func(t *testing.T, i Isolation) {
		out := newTranscript()
		c := helper(t, "polite", os.DevNull, "130")
		c.Isolation, c.Stdout, c.Grace = i, out, 2*patience
		got := make(chan *Process)
		var tid atomic.Int64
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
			tid.Store(int64(unix.Gettid()))
			p, err := Start(c)
			if err != nil {
				t.Error(err)
			}
			got <- p
		}()
		p := <-got
		if p == nil {
			return
		}
		task := fmt.Sprintf("/proc/self/task/%d", tid.Load())
		for _, err := os.Stat(task); err == nil && tid.Load() != int64(os.Getpid()); _, err = os.Stat(task) {
			runtime.Gosched()
		}
		out.await(t, "ready")
		p.Cancel(errByHand)
		if r := finish(t, p); r.ExitCode != 130 {
			t.Errorf("got %v", r)
		}
	})
}

// Many at once, ended in every way, at any moment: each result is its own, nothing is left.
func TestManyAtOnce(t *testing.T) {
	eachIsolation(t, func(t *testing.T, i Isolation) {
		var all sync.WaitGroup
		for n := range 24 {
			all.Go(func() {
				out := newTranscript()
				c := helper(t, "exit", strconv.Itoa(n))
				if n%3 > 0 {
					c = helper(t, "stubborn")
				}
				c.Isolation, c.Stdout, c.Grace = i, out, time.Millisecond
				p, err := Start(c)
				if err != nil {
					t.Error(err)
					return
				}
				switch n % 3 {
				case 1:
					p.Cancel(errByHand)
				case 2:
					go p.Cancel(errByHand)
					p.Kill()
				}
				r := p.Wait()
				if n%3 == 0 && (r.End != Exited || r.ExitCode != n) || n%3 > 0 && r.End != Stopped {
					t.Errorf("%d: %+v", n, r)
				}
			})
		}
		all.Wait()
	})
}

// In a namespace even an init that is stopped, and so reads no pipe, dies with its agent: the parent-death signal.
func TestStoppedInitDiesWithItsAgent(t *testing.T) {
	needNamespace(t)
	line := newLifeline(t)
	agent := again("agent", false, fmt.Sprint(int(IsolationPIDNamespace)), "family", line.path)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	line.held(t)
	for _, pid := range childrenOf(agent.Process.Pid) {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = agent.Wait()
	line.cut(t)
}

// BenchmarkStart is what isolation costs each test: start to gone, of a program that does nothing.
func BenchmarkStart(b *testing.B) {
	for _, i := range []Isolation{IsolationPIDNamespace, IsolationProcessGroup} {
		b.Run(i.String(), func(b *testing.B) {
			c := Command{Argv: []string{"true"}, Env: []string{"PATH=" + os.Getenv("PATH")}, Isolation: i}
			for b.Loop() {
				if r := Run(b.Context(), c); !r.Passed() {
					b.Fatal(r)
				}
			}
		})
	}
}

func childrenOf(ppid int) (pids []int) {
	names, _ := os.ReadDir("/proc")
	for _, n := range names {
		stat, err := os.ReadFile("/proc/" + n.Name() + "/stat")
		if err == nil && parentOf(string(stat)) == ppid {
			pids = append(pids, number(n.Name()))
		}
	}
	return pids
}

// The out-of-memory killer may take the init. In a namespace that ends the test; the result is no verdict.
func TestInitKilledInNamespace(t *testing.T) {
	needNamespace(t)
	line, out := newLifeline(t), newTranscript()
	c := helper(t, "family", line.path)
	c.Isolation, c.Stdout = IsolationPIDNamespace, out
	p := start(t, c)
	line.held(t)
	if err := p.tree.init.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	r := finish(t, p)
	line.cut(t)
	if r.End != Signalled || r.Signal != "SIGKILL" || r.OursSignal || r.Passed() || r.Err == nil {
		t.Errorf("got %+v", r)
	}
	if !strings.Contains(r.String(), "init of the test was killed") {
		t.Errorf("said as %q", r)
	}
	noChildren(t)
}

// In a process group the same leaves what has a session of its own: the caveat of the warning. Wait ends all the same,
// and says that output was cut off.
func TestInitKilledInProcessGroup(t *testing.T) {
	line, out := newLifeline(t), newTranscript()
	c := helper(t, "family", line.path)
	c.Isolation, c.Stdout = IsolationProcessGroup, out
	p := start(t, c)
	daemon := line.held(t)
	out.await(t, "ready\nready")
	if err := p.tree.init.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	r := finish(t, p)
	if r.End != Signalled || r.Signal != "SIGKILL" || r.OursSignal || r.Passed() || r.Err == nil {
		t.Errorf("got %+v", r)
	}
	if !errors.Is(r.OutputErr, errCutOff) {
		t.Errorf("output error %v", r.OutputErr)
	}
	if err := syscall.Kill(daemon, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	line.cut(t)
	noChildren(t)
}

// A hung init (here: stopped) cannot hold its agent for ever after a Kill.
func TestStoppedInitIsDestroyed(t *testing.T) {
	eachIsolation(t, func(t *testing.T, i Isolation) {
		line, out := newLifeline(t), newTranscript()
		c := helper(t, "stubborn", line.path)
		c.Isolation, c.Stdout = i, out
		p := start(t, c)
		line.held(t)
		if err := p.tree.init.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		p.Kill()
		r := finish(t, p)
		line.cut(t)
		if r.End != Stopped || r.Signal != "SIGKILL" || !r.OursSignal {
			t.Errorf("got %+v", r)
		}
	})
}

func TestOrphansAreReaped(t *testing.T) {
	needNamespace(t)
	c := helper(t, "orphans", "20")
	c.Isolation = IsolationPIDNamespace
	if r := finish(t, start(t, c)); !r.Passed() {
		t.Errorf("zombies stay: %v", r)
	}
}

// A script starts `qgjob agent &` with SIGINT ignored, nohup with SIGHUP: the test must hear a cancel all the same.
func TestAgentThatIgnoresSIGINT(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	eachIsolation(t, func(t *testing.T, i Isolation) {
		agent := again("deaf", false, fmt.Sprint(int(i)), sleep)
		agent.Stdout = nil
		got, err := agent.Output()
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != "\"SIGINT\"\n" {
			t.Errorf("the test ended by %s, wanted SIGINT", got)
		}
	})
}

// A machine that refuses namespaces runs the tests all the same, says so loudly once, and refuses who insists.
func TestRefusedNamespaceFallsBack(t *testing.T) {
	for how, as := range map[string]struct {
		uid  int
		says string
	}{
		"no-pid-namespaces": {0, "the limit in /proc/sys/user is reached"},
		// Not root, so that its test gets a user namespace too: only there are the masks locked.
		"masked-proc": {1000, "mount /proc: operation not permitted"},
	} {
		t.Run(how, func(t *testing.T) {
			says := weakAgent(t, how, as.uid, "exit", "7")
			r := says.Result
			if r.End != Exited || r.ExitCode != 7 || r.Isolated != IsolationProcessGroup {
				t.Errorf("got %+v", r)
			}
			for _, part := range []string{"weaker isolation", as.says, groupCaveat} {
				if !strings.Contains(r.Warning, part) {
					t.Errorf("warning %q does not say %q", r.Warning, part)
				}
			}
			if len(says.Warned) != 1 || says.Warned[0] != r.Warning {
				t.Errorf("warned %d times: %q", len(says.Warned), says.Warned)
			}
			if !says.Refused {
				t.Errorf("the namespace asked for by name: %s", says.Forced)
			}
			t.Log(r.Warning)
		})
	}
}

// weakAgent plays the agent as uid of its own user and mount namespace, and gives what it reports.
func weakAgent(t *testing.T, how string, uid int, part ...string) agentSays {
	t.Helper()
	agent := again("agent", false, append([]string{fmt.Sprint(int(IsolationAuto))}, part...)...)
	agent.Env = append(agent.Env, "weaken="+how)
	agent.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getgid(), Size: 1}},
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN},
	}
	agent.Stdout = nil
	out, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Skipf("NOT TESTED here, a user namespace cannot be had: %v", err)
	}
	text, err := io.ReadAll(out)
	if err := errors.Join(err, agent.Wait()); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var says agentSays
	if err := json.Unmarshal(text, &says); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return says
}
