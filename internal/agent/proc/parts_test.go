//go:build linux

package proc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// parts are the programs that the tests start: this binary with PROC_TEST_HELPER set, in the place of a shell.
var parts = map[string]func(args []string){
	"exit":     func(a []string) { leave(number(a[0])) },
	"signal":   playSignal,
	"polite":   playPolite,
	"stubborn": playStubborn,
	"family":   playFamily,
	"daemon":   playDaemon,
	"fork":     playFork,
	"flood":    playFlood,
	"env":      playEnv,
	"orphans":  playOrphans,
	"forkexit": playForkExit,
	"agent":    playAgent,
	"deaf":     playDeafAgent,
	"tty":      playTTY,
	"stdin":    playStdin,
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "helper:", err)
		leave(98)
	}
}

// again starts this binary in another part, in a new session when asked to.
func again(part string, session bool, args ...string) *exec.Cmd {
	c := helperCommand(part, args...)
	cmd := &exec.Cmd{Path: c.Argv[0], Args: c.Argv, Env: c.Env, Stdout: os.Stdout, Stderr: os.Stderr}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: session}
	return cmd
}

func pause() {
	for {
		_ = unix.Pause()
	}
}

// playSignal dies by signal args[0] as a program without handlers does; if the signal is ignored it "passes".
func playSignal(args []string) {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	sig := syscall.Signal(number(args[0]))
	defaultAction(sig)
	must(syscall.Kill(os.Getpid(), sig))
}

// playPolite answers SIGINT by writing file args[0] and leaving with code args[1].
func playPolite(args []string) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGINT)
	fmt.Println("ready")
	s := <-c
	must(os.WriteFile(args[0], []byte(s.String()), 0o600))
	fmt.Println("last words")
	leave(number(args[1]))
}

// playStubborn ignores all that can be ignored and holds the lifelines args.
func playStubborn(args []string) {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	for _, path := range args {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		must(err)
		_, err = fmt.Fprintln(f, os.Getpid())
		must(err)
	}
	fmt.Println("ready")
	pause()
}

// playFork leaves a stubborn daemon in its own session behind and exits: the daemon becomes an orphan.
func playFork(args []string) { must(again("stubborn", true, args...).Start()) }

// playFamily has an orphaned daemon as grandchild, on lifeline args[0], and stays.
func playFamily(args []string) {
	must(again("fork", false, args...).Run())
	playPolite([]string{os.DevNull, "130"})
}

// playDaemon has an orphaned daemon that holds its output, and leaves with code args[1] once the daemon lives.
func playDaemon(args []string) {
	r, w, err := os.Pipe()
	must(err)
	cmd := again("fork", false, args[0])
	cmd.Stdout = w
	must(cmd.Run())
	w.Close()
	// The daemon holds w; its "ready" tells that it lives and ignores signals.
	_, err = io.ReadFull(r, make([]byte, len("ready\n")))
	must(err)
	leave(number(args[1]))
}

// playFlood writes args[0] numbered lines, in turn to stdout and stderr.
func playFlood(args []string) {
	pad := strings.Repeat("x", 87)
	for i := range number(args[0]) {
		to := os.Stdout
		if i%2 == 1 {
			to = os.Stderr
		}
		_, err := fmt.Fprintf(to, "%07d %s\n", i, pad)
		must(err)
	}
}

// world is what a program sees around it.
type world struct {
	Env       []string
	Dir       string
	PID, PPID int
	UID, GID  int
	ProcSelf  string
	Processes int
	CapEff    string
	Open      []string
	Args      []string
}

func playEnv(args []string) {
	w := world{Env: os.Environ(), PID: os.Getpid(), PPID: os.Getppid(), UID: os.Getuid(), GID: os.Getgid(), Args: args}
	w.Dir, _ = os.Getwd()
	w.ProcSelf, _ = os.Readlink("/proc/self")
	names, _ := os.ReadDir("/proc")
	for _, n := range names {
		if _, err := strconv.Atoi(n.Name()); err == nil {
			w.Processes++
		}
	}
	text, _ := os.ReadFile("/proc/thread-self/status")
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			w.CapEff = strings.TrimSpace(v)
		}
	}
	for fd := 3; fd < 64; fd++ {
		// Pipes only: the Go runtime of this very helper opens files of its own (epoll, eventfd).
		if isPipe(fd) {
			w.Open = append(w.Open, strconv.Itoa(fd))
		}
	}
	must(json.NewEncoder(os.Stdout).Encode(w))
}

// playForkExit leaves a child behind that ends at once.
func playForkExit([]string) { must(again("exit", false, "0").Start()) }

// playOrphans makes many short-lived orphans and waits until no zombie of them is left in what it can see.
func playOrphans(args []string) {
	for range number(args[0]) {
		must(again("forkexit", false).Run())
	}
	fmt.Println("ready")
	for zombies() > 0 {
		runtime.Gosched()
	}
}

func zombies() (n int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, _ := os.ReadFile(path)
		if f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])); len(f) > 0 && f[0] == "Z" {
			n++
		}
	}
	return n
}

// agentSays is what playAgent reports on its standard output.
type agentSays struct {
	Result  Result
	Err     string
	Warned  []string
	Forced  string
	Refused bool
}

// playAgent stands for `qgjob agent`: it runs part args[1:] with isolation args[0] and reports. To be killed.
//
// The environment "weaken" of the agent takes its namespaces away first, as sysctls and containers do.
func playAgent(args []string) {
	weaken(os.Getenv("weaken"))
	var says agentSays
	c := helperCommand(args[1], args[2:]...)
	c.Isolation = Isolation(number(args[0]))
	c.Warn = Once(func(s string) { says.Warned = append(says.Warned, s) })
	for range 2 {
		says.Result = Run(context.Background(), c)
	}
	if err := says.Result.Err; err != nil {
		says.Err, says.Result.Err = err.Error(), nil
	}
	if c.Isolation == IsolationAuto {
		c.Isolation = IsolationPIDNamespace
		r := Run(context.Background(), c)
		says.Refused = r.End == NotStarted && errors.Is(r.Err, errRefused)
		says.Forced = fmt.Sprint(r.Err)
	}
	must(json.NewEncoder(os.Stdout).Encode(says))
}

// playDeafAgent is an agent that was started with SIGINT and SIGHUP ignored, as `qgjob agent &` in a script is. It
// cancels a test that has no handler and says how that ended.
func playDeafAgent(args []string) {
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP)
	c := Command{Argv: []string{args[1], "1000"}, Isolation: Isolation(number(args[0]))}
	p, err := Start(c)
	must(err)
	p.Cancel(errors.New("cancelled"))
	must(json.NewEncoder(os.Stdout).Encode(p.Wait().Signal))
}

// playTTY passes when it has no controlling terminal.
func playTTY([]string) {
	if f, err := os.Open("/dev/tty"); err == nil {
		f.Close()
		leave(1)
	}
}

// playStdin passes when standard input is empty.
func playStdin([]string) {
	b, err := io.ReadAll(os.Stdin)
	must(err)
	leave(len(b))
}

// weaken makes the kernel refuse this process what it normally grants. The caller has put us into a user namespace
// (and a mount namespace) of our own, so nothing outside is touched.
func weaken(how string) {
	switch how {
	case "":
	case "no-pid-namespaces": // as an administrator forbids them
		must(os.WriteFile("/proc/sys/user/max_pid_namespaces", []byte("0"), 0))
	case "masked-proc": // as container engines hide parts of /proc: the kernel then refuses a fresh one
		must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		must(unix.Mount("tmpfs", "/proc/sys", "tmpfs", 0, ""))
	default:
		panic(how)
	}
}

// defaultAction undoes the handler that the Go runtime has for sig, so that this process is like any C program
// (rt_sigaction(2) with an empty struct is SIG_DFL).
func defaultAction(sig syscall.Signal) {
	var empty [64]byte
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&empty)), 0, 8, 0, 0)
	if errno != 0 && sig != syscall.SIGKILL {
		must(errno)
	}
}
