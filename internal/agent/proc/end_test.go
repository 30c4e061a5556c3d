//go:build linux

package proc

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var errByHand = errors.New("cancelled by hand")

// noChildren: a tree that has ended leaves nothing behind, not even a zombie.
func noChildren(t *testing.T) {
	t.Helper()
	if left := children(); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}

func TestExitCodesAreTold(t *testing.T) {
	eachIsolation(t, func(t *testing.T, i Isolation) {
		for _, code := range []int{0, 1, 75, 130, 255} {
			c := helper(t, "exit", strconv.Itoa(code))
			c.Isolation = i
			r := finish(t, start(t, c))
			if r.End != Exited || r.ExitCode != code || r.Signal != "" || r.OursSignal || r.Err != nil {
				t.Errorf("exit %d: got %+v", code, r)
			}
			if r.Passed() != (code == 0) {
				t.Errorf("exit %d: passed = %v", code, r.Passed())
			}
			if r.Isolated != i || r.Warning != "" {
				t.Errorf("exit %d: isolated %v, warning %q", code, r.Isolated, r.Warning)
			}
			if r.Started.IsZero() || r.Ended.Before(r.Started) {
				t.Errorf("exit %d: started %v, ended %v", code, r.Started, r.Ended)
			}
		}
	})
}

func TestOwnSignalIsNotOurs(t *testing.T) {
	eachIsolation(t, func(t *testing.T, i Isolation) {
		for _, sig := range []syscall.Signal{unix.SIGSEGV, unix.SIGKILL, unix.SIGABRT, unix.SIGTERM, unix.SIGINT} {
			c := helper(t, "signal", strconv.Itoa(int(sig)))
			c.Isolation = i
			r := finish(t, start(t, c))
			if r.End != Signalled || r.Signal != unix.SignalName(sig) || r.ExitCode != -1 || r.OursSignal || r.Passed() {
				t.Errorf("%v: got %+v", sig, r)
			}
		}
	})
}

// A program that is PID 1 itself ignores SIGINT and goes on: this is why we bring an init. The trap is shown first.
func TestPID1WouldIgnoreSIGINT(t *testing.T) {
	needNamespace(t)
	c := helper(t, "signal", strconv.Itoa(int(unix.SIGINT)))
	trap := &exec.Cmd{Path: c.Argv[0], Args: c.Argv, Env: c.Env, SysProcAttr: &syscall.SysProcAttr{}}
	if err := intoNamespaces(trap.SysProcAttr); err != nil {
		t.Fatal(err)
	}
	if err := trap.Run(); err != nil {
		t.Fatalf("PID 1 after SIGINT: %v; the trap is gone, and with it the need for an init", err)
	}

	c.Isolation = IsolationPIDNamespace
	if r := finish(t, start(t, c)); r.Signal != "SIGINT" || r.Passed() {
		t.Errorf("the same under our init: %v", r)
	}
}

func TestCancelIsHeardByDefaultAction(t *testing.T) {
	eachIsolation(t, func(t *testing.T, i Isolation) {
		c := sleeper(t)
		c.Isolation = i
		p := start(t, c)
		p.Cancel(errByHand)
		r := finish(t, p)
		if r.End != Stopped || r.Signal != "SIGINT" || !r.OursSignal || !errors.Is(r.Cause, errByHand) || r.Passed() {
			t.Errorf("got %+v", r)
		}
	})
}

// sleeper is a program without any handler, and with a grace that only a broken ladder uses up.
func sleeper(t *testing.T) Command {
	t.Helper()
	return Command{Argv: []string{"sleep", "1000"}, Env: []string{"PATH=" + os.Getenv("PATH")}, Grace: 2 * patience}
}

func TestCancelIsAnsweredByTheTest(t *testing.T) {
	eachIsolation(t, func(t *testing.T, i Isolation) {
		// 0 is the dangerous one: a program that ends tidily on SIGINT has not passed.
		for _, code := range []int{130, 0, 1} {
			note := filepath.Join(t.TempDir(), "note")
			out := newTranscript()
			c := helper(t, "polite", note, strconv.Itoa(code))
			c.Isolation, c.Stdout, c.Grace = i, out, 2*patience
			p := start(t, c)
			out.await(t, "ready")
			p.Cancel(errByHand)
			p.Cancel(errors.New("a second cause"))
			r := finish(t, p)
			if r.End != Stopped || r.ExitCode != code || !r.OursSignal || !errors.Is(r.Cause, errByHand) || r.Passed() {
				t.Errorf("exit %d after SIGINT: got %+v", code, r)
			}
			if b, err := os.ReadFile(note); err != nil || string(b) != "interrupt" {
				t.Errorf("the test noted %q, %v", b, err)
			}
			if !strings.Contains(out.String(), "last words") {
				t.Errorf("output after the cancel is lost: %q", out)
			}
		}
	})
}

func TestGraceEndsInSIGKILL(t *testing.T) {
	eachIsolation(t, func(t *testing.T, i Isolation) {
		for _, grace := range []time.Duration{50 * time.Millisecond, -1} {
			out := newTranscript()
			c := helper(t, "stubborn")
			c.Isolation, c.Stdout, c.Grace = i, out, grace
			p := start(t, c)
			out.await(t, "ready")
			before := time.Now()
			p.Cancel(errByHand)
			r := finish(t, p)
			if r.End != Stopped || r.Signal != "SIGKILL" || !r.OursSignal || !errors.Is(r.Cause, errByHand) {
				t.Errorf("grace %v: got %+v", grace, r)
			}
			if took := time.Since(before); took < grace {
				t.Errorf("killed after %v, before its grace of %v", took, grace)
			}
		}
	})
}

func TestKillCutsGraceShort(t *testing.T) {
	eachIsolation(t, func(t *testing.T, i Isolation) {
		out := newTranscript()
		c := helper(t, "stubborn")
		c.Isolation, c.Stdout, c.Grace = i, out, 2*patience
		p := start(t, c)
		out.await(t, "ready")
		p.Cancel(errByHand)
		p.Kill()
		p.Kill()
		if r := finish(t, p); r.Signal != "SIGKILL" || !errors.Is(r.Cause, errByHand) || r.End != Stopped {
			t.Errorf("got %+v", r)
		}
	})
}

func TestCancelAfterTheEndChangesNothing(t *testing.T) {
	eachIsolation(t, func(t *testing.T, i Isolation) {
		c := helper(t, "exit", "3")
		c.Isolation = i
		p := start(t, c)
		first := finish(t, p)
		p.Cancel(errByHand)
		p.Kill()
		if again := p.Wait(); again != first || again.End != Exited || again.OursSignal {
			t.Errorf("was %+v, is %+v", first, again)
		}
	})
}

func TestRunObeysItsContext(t *testing.T) {
	eachIsolation(t, func(t *testing.T, i Isolation) {
		out := newTranscript()
		c := helper(t, "polite", os.DevNull, "130")
		c.Isolation, c.Stdout, c.Grace = i, out, 2*patience
		ctx, cancel := context.WithCancelCause(t.Context())
		got := make(chan Result, 1)
		go func() { got <- Run(ctx, c) }()
		out.await(t, "ready")
		cancel(errByHand)
		if r := <-got; r.End != Stopped || r.ExitCode != 130 || !errors.Is(r.Cause, errByHand) {
			t.Errorf("got %+v", r)
		}
		// The context has ended: nothing may start now.
		note := filepath.Join(t.TempDir(), "note")
		c.Argv = append(c.Argv[:1:1], note, "0")
		r := Run(ctx, c)
		if r.End != Stopped || r.OursSignal || !errors.Is(r.Cause, errByHand) || r.Passed() {
			t.Errorf("after the end of the context: %+v", r)
		}
		if s := r.String(); !strings.Contains(s, "before it started") || !strings.Contains(s, errByHand.Error()) {
			t.Errorf("said as %q", s)
		}
	})
}

// A signal to the init itself (systemd, an administrator) goes on to the test, and is not ours.
func TestInitForwardsSignals(t *testing.T) {
	eachIsolation(t, func(t *testing.T, i Isolation) {
		for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} {
			c := sleeper(t)
			c.Isolation = i
			p := start(t, c)
			if err := p.tree.init.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if r := finish(t, p); r.End != Signalled || r.Signal != unix.SignalName(sig) || r.OursSignal {
				t.Errorf("%v: got %+v", sig, r)
			}
		}
	})
}
