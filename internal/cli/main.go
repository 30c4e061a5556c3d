// Package cli is talking to people and to CI: every command of qgjob, one file
// a command. What is printed where, and which exit code says what, stands in
// output.go and nowhere else.
//
// A command is an options struct, a constructor that only parses, and run,
// which acts. It may import every room.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/proc"
	"github.com/qualgent/qgjob/internal/client"
	"github.com/spf13/cobra"
)

// Version is the binary's version; release builds set it by the linker.
var Version = "dev"

// Commit is what the binary was built from, set by the linker where the
// build itself does not note it, as release builds do not.
var Commit string

// Main runs one command line (without the program's name) and returns its exit
// code. env is in the form of os.Environ. A binary whose Main is called may
// also be started as the init of a test (see proc.MaybeInit), and is then
// nothing else.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer, env []string) int {
	proc.MaybeInit()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup says that it is to be left alone
		signal.Notify(signals, syscall.SIGHUP) // the terminal is gone: so it is when a CI runner kills the shell of a step
	}
	defer signal.Stop(signals)
	dir, err := os.Getwd()
	a := &app{printer: newPrinter(stdout, stderr, env), in: stdin, env: envMap(env), dir: dir, exit: os.Exit}
	if err != nil {
		a.fail(nil, err)
		return exitInfra
	}
	return a.main(args, signals)
}

// app is what every command has: its streams, its environment and the settings
// that all commands share.
type app struct {
	*printer
	in    io.Reader
	env   map[string]string
	dir   string // the working directory
	exit  func(int)
	stops *interrupts

	servers  []string
	retryFor time.Duration
	file     *configFile
	started  bool // the command line was understood

	serverByFile bool // only .qgjob.yaml names the server
	serverGiven  bool // a flag or the environment names it
	orgFound     bool // --org-id is from the environment or the file
}

func (a *app) main(args []string, signals <-chan os.Signal) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	a.stops = &interrupts{cancel: cancel}
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { a.stops.watch(signals, done) })
	defer watching.Wait()
	defer close(done)
	defer cancel(nil)

	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !a.started {
		err = asUsage(cmd, err)
	}
	code := exitCode(err)
	a.fail(cmd, err)
	if a.broken != nil && code == exitPassed {
		a.fail(cmd, a.broken)
		return exitInfra
	}
	return code
}

// asUsage makes an error of the command line itself a usage error.
func asUsage(cmd *cobra.Command, err error) error {
	if _, ok := errors.AsType[*qgjob.Error](err); ok {
		return err
	}
	what, more, _ := strings.Cut(err.Error(), "\n")
	hint := "see " + cmd.CommandPath() + " --help"
	if _, names, ok := strings.Cut(more, "Did you mean this?"); ok {
		hint = "did you mean " + strings.Join(strings.Fields(names), " or ") + "?"
	}
	return &qgjob.Error{Kind: qgjob.KindInvalid, Message: what, Hint: hint}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "qgjob",
		Short: "Queue mobile end-to-end tests, run them on a fleet of devices, and tell CI the truth",
		Long: `qgjob queues mobile end-to-end tests, groups them by app version, runs them on
a fleet of devices, and tells CI the truth about the result.

Settings: flags win over the environment (QGJOB_SERVER, QGJOB_TOKEN, QGJOB_ORG,
QGJOB_APP_VERSION, QGJOB_TARGET), and that over .qgjob.yaml in the repository.

Exit codes: 0 passed, 1 tests failed, 2 wrong usage, 3 server unreachable or
infrastructure error, 4 not authorised, 8 still running, 130 interrupted.`,
		Example: `  qgjob up                                   # server and one agent on this machine
  qgjob submit --org-id=qualgent --app-version-id=xyz123 --test=tests/onboarding.spec.js
  qgjob submit --org-id=qualgent --app-version-id=xyz123 --test='tests/**/*.spec.js' --wait
  qgjob status --job-id=job_1`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRunE: a.prepare,
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	flags := root.PersistentFlags()
	flags.StringSliceVar(&a.servers, "server", []string{defaultServer}, "address of the qgjob server; several of one farm with commas between them (QGJOB_SERVER)")
	flags.DurationVar(&a.retryFor, "retry-for", 5*time.Second, "how long to try again while the server cannot be reached (QGJOB_RETRY_FOR)")
	root.AddCommand(
		a.submitCmd(), a.statusCmd(), a.waitCmd(), a.listCmd(), a.runsCmd(), a.groupsCmd(), a.agentsCmd(),
		a.logsCmd(), a.explainCmd(), a.simulateCmd(), a.orgCmd(), a.webhookCmd(), a.tokenCmd(), a.cancelCmd(), a.retryCmd(), a.appCmd(), a.reportCmd(), a.versionCmd(),
	)
	root.AddCommand(a.hostCmds()...)
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Args = cobra.NoArgs // a shell that is not known is a mistake, not a question
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
			c.Example = "  source <(qgjob completion bash)"
		}
	}
	return root
}

const defaultServer = "http://127.0.0.1:8000"

// prepare lays the environment and the file under the flags, before any
// command runs.
func (a *app) prepare(cmd *cobra.Command, _ []string) error {
	if p := cmd.Parent(); cmd.Name() != "version" && (p == nil || p.Name() != "completion") {
		if err := a.settle(cmd); err != nil {
			return err
		}
	}
	a.started = true
	return nil
}

// client returns a client of the server that the settings name. A token goes
// only where its owner said: a repository's file may name a server, but must
// not be able to collect tokens with it.
func (a *app) client() (*client.Client, error) {
	return a.clientWith(a.env["QGJOB_TOKEN"], a.idTokens())
}

// mayGo refuses to send a token to a server that only a repository names.
func (a *app) mayGo(token string) error {
	if token == "" || !a.serverByFile {
		return nil
	}
	return &qgjob.Error{Kind: qgjob.KindInvalid, Field: "server",
		Message: "QGJOB_TOKEN is set, but only .qgjob.yaml names the server " + strings.Join(a.servers, ","),
		Hint:    "set QGJOB_SERVER, or give --server, to say that the token may go there"}
}

func (a *app) clientWith(token string, idToken func(context.Context) (string, error)) (*client.Client, error) {
	if err := a.mayGo(token); err != nil {
		return nil, err
	}
	return client.NewOf(a.servers, client.Options{
		Token:     token,
		IDToken:   idToken,
		UserAgent: "qgjob/" + Version,
		Retry:     client.Retry{Budget: a.retryFor, Max: 2 * time.Second},
	})
}

func envMap(env []string) map[string]string {
	m := make(map[string]string, len(env))
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok {
			m[k] = v
		}
	}
	return m
}

// interrupts turns signals into the end of the command's context, until a
// command takes them itself.
type interrupts struct {
	mu     sync.Mutex
	cancel context.CancelCauseFunc
	taken  chan os.Signal
}

var errInterrupted = errors.New("interrupted")

func (i *interrupts) watch(signals <-chan os.Signal, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case s := <-signals:
			i.hand(s)
		}
	}
}

func (i *interrupts) hand(s os.Signal) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.taken == nil {
		i.cancel(errInterrupted)
		return
	}
	select {
	case i.taken <- s:
	default: // a fifth signal that nobody has looked at says nothing new
	}
}

// take gives the caller the signals from now on.
func (i *interrupts) take() <-chan os.Signal {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.taken == nil {
		i.taken = make(chan os.Signal, 4)
	}
	return i.taken
}
