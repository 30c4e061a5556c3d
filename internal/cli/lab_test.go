package cli

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// asJob makes this test binary a test program of an exec agent. Its argument
// is an address of the test, which it calls when its path says "ask": what it
// does then, and when it ends, is said there, so that no test has to sleep.
const asJob = "__job"

// cloudRole is asJob's next argument but one for a test program that drives
// sessions of BrowserStack.
const cloudRole = "__cloud"

// runJob acts on QGJOB_TEST_PATH.
func runJob(address string, more []string) int {
	if len(more) > 1 && more[0] == cloudRole {
		return runCloudJob(address, more[1])
	}
	name := filepath.Base(os.Getenv("QGJOB_TEST_PATH"))
	if len(more) > 0 {
		name = more[0] // a child of a job
	}
	switch {
	case strings.HasPrefix(name, "fail"):
		fmt.Println("this test fails")
		return 1
	case strings.HasPrefix(name, "infra"):
		return 75
	case strings.HasPrefix(name, "killed"):
		self, _ := os.FindProcess(os.Getpid())
		self.Kill()
		select {}
	case strings.HasPrefix(name, "junit"):
		code, text, _ := strings.Cut(strings.TrimPrefix(name, "junit-"), "-")
		if err := os.WriteFile(filepath.Join(os.Getenv("QGJOB_REPORT_DIR"), "r.xml"), []byte(junits[text]), 0o644); err != nil {
			fmt.Println(err)
			return 99
		}
		n, _ := strconv.Atoi(code)
		return n
	case strings.HasPrefix(name, "world"):
		dir, _ := os.Getwd()
		fmt.Printf("argc=%d cwd=%s\n", len(os.Args), dir)
		for _, kv := range os.Environ() {
			fmt.Println(kv)
		}
	case strings.HasPrefix(name, "ask"), strings.HasPrefix(name, "child"):
		return ask(address, name)
	}
	return 0
}

var junits = map[string]string{
	"red":     `<testsuite name="s" tests="2"><testcase classname="c" name="good"/><testcase classname="c" name="bad"><failure message="wanted 1, got 2">trace</failure></testcase></testsuite>`,
	"green":   `<testsuite name="s" tests="1"><testcase classname="c" name="good"/></testsuite>`,
	"cut":     `<testsuite name="s"><testcase`,
	"none":    `<testsuite name="s" tests="0"/>`,
	"special": specialReport(),
	"evil": "<testsuite name=\"s\" tests=\"1\"><testcase name=\"::error::te&#x9b;2Jst\"><failure message=\"::stop-commands::x ##[add-mask]y\">" +
		"&#x9d;0;title&#xa;::set-output name=a::b</failure></testcase></testsuite>",
}

// ask calls the test and does what it says, line by line.
func ask(address, name string) int {
	c, err := net.Dial("tcp", address)
	if err != nil {
		fmt.Println(err)
		return 99
	}
	defer c.Close()
	fmt.Fprintln(c, name)
	for lines := bufio.NewScanner(c); lines.Scan(); {
		verb, rest, _ := strings.Cut(lines.Text(), " ")
		switch verb {
		case "exit":
			code, _ := strconv.Atoi(rest)
			return code
		case "print":
			fmt.Println(rest)
		case "spawn":
			child := exec.Command(os.Args[0], asJob, address, rest)
			detach(child)
			if err := child.Start(); err != nil {
				fmt.Println(err)
				return 99
			}
		}
	}
	return 98
}

// lab is a real server with a real exec agent whose jobs ask the test.
type lab struct {
	*hosted
	t       *testing.T
	project string
	asks    chan *asking
}

// asking is a job that waits for orders.
type asking struct {
	net.Conn
	name string
	in   *bufio.Reader
}

// say gives one order.
func (a *asking) say(order string) { fmt.Fprintln(a.Conn, order) }

// gone blocks until the process behind it has ended.
func (a *asking) gone() error {
	_, err := io.Copy(io.Discard, a.in)
	return err
}

// jobs listens for asking jobs and returns the program for an agent.
func jobs(t *testing.T) (program []string, asks chan *asking) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	asks = make(chan *asking, 16)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(c)
			name, _ := in.ReadString('\n')
			asks <- &asking{Conn: c, name: strings.TrimSpace(name), in: in}
		}
	}()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{"--", self, asJob, l.Addr().String()}, asks
}

// newLab starts the server and its agent "local"; both end with the test.
func newLab(t *testing.T, args ...string) *lab {
	t.Helper()
	program, asks := jobs(t)
	l := &lab{t: t, project: t.TempDir(), asks: asks}
	l.hosted = hostWith(t, program, append([]string{"up", "--target=emulator", "--project=" + l.project}, args...)...)
	t.Cleanup(func() { l.stop(t, os.Interrupt) })
	l.err.await(t, "msg=registered")
	return l
}

// run runs one command against the lab's server; it must leave with a code.
func (l *lab) run(code int, args ...string) (stdout, stderr string) {
	l.t.Helper()
	return l.in(newProgram(l.t, l.base), code, args...)
}

func (l *lab) in(p *program, code int, args ...string) (stdout, stderr string) {
	l.t.Helper()
	got, stdout, stderr := p.run(args...)
	if got != code {
		l.t.Errorf("%v left with %d, want %d\n%s\n%s", args, got, code, stdout, stderr)
	}
	return stdout, stderr
}

// tests is a submit of some tests to the lab's agent.
func tests(paths ...string) []string {
	args := []string{"submit", "--org-id=o", "--app-version-id=v"}
	for _, p := range paths {
		args = append(args, "--test="+p)
	}
	return args
}

// has checks that a text holds every part.
func has(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is not in\n%s", p, text)
		}
	}
}
