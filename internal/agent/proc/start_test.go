//go:build linux

package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func look(t *testing.T, c Command) world {
	t.Helper()
	out := newTranscript()
	c.Stdout = out
	if r := finish(t, start(t, c)); !r.Passed() {
		t.Fatalf("%v: %s", r, out)
	}
	var w world
	if err := json.Unmarshal([]byte(out.String()), &w); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return w
}

// The test has the environment, folder, arguments, user and capabilities that it was given, and no pipe of ours.
func TestWorldOfATest(t *testing.T) {
	t.Setenv("PROC_LEAK", "secret of the agent")
	eachIsolation(t, func(t *testing.T, i Isolation) {
		args := []string{"--a", "b c", "", "$(touch x)", "\xff\xfe", "ü"}
		c := helper(t, "env", args[:4]...)
		c.Argv = append(c.Argv, args[5])
		c.Isolation, c.Dir = i, t.TempDir()
		c.Env = append(c.Env, "A=1", "B=x=y", "EMPTY=", "A=2")
		w := look(t, c)

		if want := []string{c.Env[0], "A=2", "B=x=y", "EMPTY="}; !slices.Equal(w.Env, want) {
			t.Errorf("environment %q, want %q", w.Env, want)
		}
		if !reflect.DeepEqual(w.Args, c.Argv[1:]) {
			t.Errorf("arguments %q, want %q", w.Args, c.Argv[1:])
		}
		dir, err := filepath.EvalSymlinks(c.Dir)
		if err != nil || w.Dir != dir {
			t.Errorf("folder %q, want %q (%v)", w.Dir, dir, err)
		}
		if w.UID != os.Getuid() || w.GID != os.Getgid() {
			t.Errorf("user %d group %d, the agent has %d and %d", w.UID, w.GID, os.Getuid(), os.Getgid())
		}
		if mine := effectiveCaps(t); w.CapEff != mine {
			t.Errorf("capabilities %s, the agent has %s", w.CapEff, mine)
		}
		if len(w.Open) > 0 {
			t.Errorf("pipes of the agent are open in the test: %v", w.Open)
		}
		if inside := i == IsolationPIDNamespace; inside != (w.PPID == 1) || inside && w.PID == 1 {
			t.Errorf("pid %d, parent %d", w.PID, w.PPID)
		} else if inside && w.Processes != 2 {
			t.Errorf("%d processes in /proc, want the init and the test", w.Processes)
		}
		if w.ProcSelf != "" && number(w.ProcSelf) != w.PID {
			t.Errorf("/proc/self is %s, pid is %d", w.ProcSelf, w.PID)
		}
	})
}

func effectiveCaps(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "CapEff:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}

// Bytes that are no UTF-8 reach the test as they are.
func TestArgumentsAreBytes(t *testing.T) {
	odd := "x\xff\x80y"
	c := Command{Argv: []string{"printf", "%s", odd}, Env: []string{"PATH=" + os.Getenv("PATH"), "ODD=" + odd}}
	out := newTranscript()
	c.Stdout = out
	if r := finish(t, start(t, c)); !r.Passed() || out.String() != odd {
		t.Errorf("%v: %q", r, out)
	}
	out = newTranscript()
	c.Argv, c.Stdout = []string{"printenv", "ODD"}, out
	if r := finish(t, start(t, c)); !r.Passed() || out.String() != odd+"\n" {
		t.Errorf("%v: %q", r, out)
	}
}

func TestNoInput(t *testing.T) {
	eachIsolation(t, func(t *testing.T, i Isolation) {
		c := helper(t, "stdin")
		c.Isolation = i
		if r := finish(t, start(t, c)); !r.Passed() {
			t.Error(r)
		}
	})
}

// An agent in a terminal keeps it to itself: Ctrl-C goes to the agent, and no test can read the keyboard.
func TestNoTerminal(t *testing.T) {
	on := func(cmd *exec.Cmd) []byte {
		t.Helper()
		cmd.Stdin, cmd.Stdout = terminal(t), nil
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		out, _ := cmd.Output() // the exit code is looked at below
		return out
	}
	bare := again("tty", false)
	on(bare)
	if code := bare.ProcessState.ExitCode(); code != 1 {
		t.Fatalf("the terminal of this test is none: exit code %d", code)
	}
	eachIsolation(t, func(t *testing.T, i Isolation) {
		var says agentSays
		if out := on(again("agent", false, fmt.Sprint(int(i)), "tty")); json.Unmarshal(out, &says) != nil {
			t.Fatalf("the agent says %q", out)
		}
		if !says.Result.Passed() {
			t.Errorf("the test has a terminal: %v", says.Result)
		}
	})
}

// terminal is a new pseudo-terminal (pty(7)) for a program to run in.
func terminal(t *testing.T) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("NOT TESTED here, no pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return slave
}

func TestCannotStart(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("here", "#!/bin/true\n", 0o755)
	write("bin/here", "#!/bin/true\n", 0o755)
	t.Chdir(dir)
	env := []string{"PATH=" + os.Getenv("PATH")}
	huge := []string{"true", strings.Repeat("x", 3<<20)}
	tests := map[string]struct {
		c    Command
		want []string
		is   error
	}{
		"no command":   {Command{}, []string{"no command"}, nil},
		"empty name":   {Command{Argv: []string{""}}, []string{"no command"}, nil},
		"not found":    {Command{Argv: []string{"qgjob-no-such"}, Env: env}, []string{"qgjob-no-such", "install it", "path"}, exec.ErrNotFound},
		"no PATH":      {Command{Argv: []string{"true"}}, []string{"true", "no PATH"}, nil},
		"path missing": {Command{Argv: []string{"/no/such"}, Env: env}, []string{"/no/such", "must exist"}, fs.ErrNotExist},
		"not in dot":   {Command{Argv: []string{"here"}, Dir: dir, Env: []string{"PATH=:.:bin:/usr/bin"}}, []string{"here", "install it"}, exec.ErrNotFound},
		"Dir missing":  {Command{Argv: []string{"true"}, Env: env, Dir: dir + "/gone"}, []string{"working directory", dir + "/gone"}, fs.ErrNotExist},
		"Dir is file":  {Command{Argv: []string{"true"}, Env: env, Dir: dir + "/here"}, []string{"not a directory"}, nil},
		"no x bit":     {Command{Argv: []string{write("plain", "x", 0o644)}}, []string{"plain", "executable"}, fs.ErrPermission},
		"no program":   {Command{Argv: []string{write("text", "hello", 0o755)}}, []string{"text", "#! line"}, nil},
		"interpreter":  {Command{Argv: []string{write("script", "#!/no/such/node\n", 0o755)}}, []string{"script", "interpreter"}, nil},
		"NUL":          {Command{Argv: []string{"true", "a\x00b"}, Env: env}, []string{"NUL"}, nil},
		"too long":     {Command{Argv: huge, Env: env}, []string{"smaller"}, nil},
		"far too long": {Command{Argv: append(huge, strings.Repeat("y", specMost)), Env: env}, []string{"more than"}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := Run(context.Background(), test.c)
			if r.End != NotStarted || r.Err == nil || r.Passed() || r.ExitCode != -1 {
				t.Fatalf("got %+v", r)
			}
			for _, word := range test.want {
				if !strings.Contains(r.Err.Error(), word) {
					t.Errorf("%q does not say %q", r.Err, word)
				}
			}
			if test.is != nil && !errors.Is(r.Err, test.is) {
				t.Errorf("%v is not %v", r.Err, test.is)
			}
			if strings.Contains(r.Err.Error(), InitArg) {
				t.Errorf("%q speaks of the inside", r.Err)
			}
			noChildren(t)
		})
	}
}

// A path with a slash is relative to Dir, which is where the user thinks it is.
func TestPathRelativeToDir(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "tool")); err != nil {
		t.Fatal(err)
	}
	c := helper(t, "exit", "9")
	c.Argv[0], c.Dir = "./tool", dir
	if r := finish(t, start(t, c)); r.ExitCode != 9 {
		t.Errorf("got %v", r)
	}
}

// Without MaybeInit a test binary would run all its tests again inside each of its tests.
func TestStartWithoutTheHook(t *testing.T) {
	hooked.Store(false)
	defer hooked.Store(true)
	if _, err := Start(helper(t, "exit", "0")); !errors.Is(err, errNoHook) {
		t.Errorf("got %v", err)
	}
}

// A person who types the private argument gets a sentence, not a hang.
func TestInitTypedByHand(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(self, InitArg).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), "started by the agent only") {
		t.Errorf("%v: %s", err, out)
	}
}

// An init whose spec is nonsense says so; one whose agent died before the spec just leaves.
func TestInitWithBrokenSpec(t *testing.T) {
	for _, text := range []string{"", "\x00\x00", "\xff\xff\xff\xff", "\x00\x00\x00\x02zz"} {
		out, err := newOutput(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		tr, theirs, err := newTree(spec{}, out)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.init.Start(); err != nil {
			t.Fatal(err)
		}
		for _, f := range theirs {
			f.Close()
		}
		out.closeWriters()
		if _, err := tr.control.WriteString(text); err != nil {
			t.Fatal(err)
		}
		tr.control.Close()
		st, err := next(tr.lines)
		if err != nil || st.word != "start-error" || !strings.Contains(st.text, "read spec") {
			t.Errorf("%q: %+v, %v", text, st, err)
		}
		_ = tr.init.Wait()
		if code := tr.init.ProcessState.Sys().(syscall.WaitStatus).ExitStatus(); code != 127 {
			t.Errorf("%q: exit code %d", text, code)
		}
		tr.status.Close()
	}
	noChildren(t)
}
