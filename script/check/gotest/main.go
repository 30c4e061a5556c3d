// Command gotest runs "go test" with the arguments after its own flags, shows each package's verdict as it comes and the whole output
// of what failed, and ends with what go test keeps quiet about: how many tests ran and which ones were skipped, with their reasons.
//
// It leaves with 1 when a test failed, when no test ran at all, and when a skipped test matches -must-run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, "", os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run works in dir ("" is the current folder) and gives the exit code.
func run(ctx context.Context, dir string, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("gotest", flag.ContinueOnError)
	flags.SetOutput(stderr)
	mustRun := flags.String("must-run", "", "`regexp` of tests whose skipping is a failure; looked for in package, name and reason")
	mayWait := flags.String("may-wait", "", "`regexp` of reasons that excuse from -must-run: such tests run in another step")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	required, err := regexp.Compile(*mustRun)
	if err != nil {
		fmt.Fprintf(stderr, "gotest: -must-run: %v\n", err)
		return 2
	}
	if *mustRun == "" {
		required = nil
	}
	excused, err := regexp.Compile(*mayWait)
	if err != nil {
		fmt.Fprintf(stderr, "gotest: -may-wait: %v\n", err)
		return 2
	}
	if *mayWait == "" {
		excused = nil
	}
	began := time.Now()
	tally, err := test(ctx, dir, flags.Args(), stdout, stderr)
	code := tally.report(stdout, required, excused, time.Since(began))
	var left *exec.ExitError
	switch {
	case errors.As(err, &left):
		return 1
	case err != nil:
		fmt.Fprintf(stderr, "gotest: %v\n", err)
		return 1
	}
	return code
}

// test runs go test to its end. An interrupt is passed on, so that tests can stop what they started.
func test(ctx context.Context, dir string, args []string, stdout, stderr io.Writer) (*tally, error) {
	command := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	command.Dir = dir
	command.Stderr = stderr
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 10 * time.Second
	t := newTally(stdout)
	events, err := command.StdoutPipe()
	if err != nil {
		return t, err
	}
	if err := command.Start(); err != nil {
		return t, err
	}
	readErr := t.read(events)
	return t, errors.Join(command.Wait(), readErr)
}
