package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent"
	"github.com/qualgent/qgjob/internal/agent/device"
	"github.com/spf13/cobra"
)

// agentOptions are the flags of everything that runs agents.
type agentOptions struct {
	target, name, runner       string
	project, stateDir, baseURL string
	playwrightConfig           string
	appwrightMode              string
	appwrightProject           string
	appium, appiumDriver       string
	labels, passEnv, argv      []string
	device, appPackage         string
	serials, avds              []string
	freeMB, battery, broken    int
	network                    bool
	slots                      int
	tokenFile                  string
	planSlots                  bool // --slots was left away
	verbose                    bool
}

// add registers the flags that every command with agents has.
func (o *agentOptions) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.target, "target", string(qgjob.TargetBrowser), "what the agent is: emulator, device, browserstack or browser")
	f.StringVar(&o.runner, "runner", "", "appwright, playwright or exec; exec when a program follows --, else playwright for browsers and appwright for all else")
	f.StringVar(&o.project, "project", ".", "the tests of jobs that bring no bundle")
	f.StringVar(&o.playwrightConfig, "playwright-config", "", "Playwright's configuration file, relative to the project")
	f.StringVar(&o.appwrightMode, "appwright-mode", "auto", "how Appium is taken out of AppWright's hands: hook, stock (one run per host), or auto")
	f.StringVar(&o.appwrightProject, "appwright-project", "", "the project of AppWright's configuration to run; may be left away when there is one")
	f.StringVar(&o.appium, "appium", "", "folder of the Appium to run (QGJOB_APPIUM); else the test project's, else the one in PATH")
	f.StringVar(&o.appiumDriver, "appium-driver", "", "folder of Appium's driver (QGJOB_APPIUM_DRIVER); else uiautomator2, in the version that fits")
	f.StringVar(&o.baseURL, "base-url", "", "BASE_URL of browser tests whose app version has no uploaded build")
	f.StringVar(&o.device, "device", "", "adb (one agent for each Android device), simctl (each iOS simulator), devicectl (each iPhone), browserstack (one for each session of the plan) or own; that of the target for the appwright runner, else own")
	f.StringArrayVar(&o.serials, "serial", nil, "only this device; may be repeated")
	f.StringArrayVar(&o.avds, "avd", nil, "start the emulator of this AVD and stop it with the agent; may be repeated")
	f.StringVar(&o.appPackage, "app-package", "", "take only builds of this application id")
	f.IntVar(&o.freeMB, "min-free-mb", int(device.DefaultDemands.FreeBytes>>20), "storage that an Android device must have free")
	f.IntVar(&o.battery, "min-battery", device.DefaultDemands.Battery, "percent that an Android device without power must have")
	f.BoolVar(&o.network, "need-network", false, "an Android device must have a network")
	f.IntVar(&o.broken, "quarantine-after", 3, "jobs in a row that an Android device may break; -1 for any number")
	f.StringArrayVar(&o.labels, "label", nil, "label that jobs may require, key=value; may be repeated")
	f.StringSliceVar(&o.passEnv, "pass-env", nil, "names of environment variables that tests may see")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "log more")
	must(cmd.RegisterFlagCompletionFunc("target", completeTargets))
	must(cmd.RegisterFlagCompletionFunc("runner", cobra.FixedCompletions([]string{"appwright", "playwright", "exec"}, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("appwright-mode", cobra.FixedCompletions([]string{"auto", "hook", "stock"}, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("device", cobra.FixedCompletions([]string{agent.DeviceADB, agent.DeviceSimctl, agent.DeviceDevicectl, agent.DeviceBrowserStack, agent.DeviceOwn}, cobra.ShellCompDirectiveNoFileComp)))
}

// takeArgs takes the program of the exec runner from behind the dashes.
func (o *agentOptions) takeArgs(cmd *cobra.Command, args []string) error {
	if n := cmd.ArgsLenAtDash(); n > 0 || (n < 0 && len(args) > 0) {
		return &qgjob.Error{Kind: qgjob.KindInvalid, Message: "unexpected argument " + args[0], Hint: "the program of the exec runner stands behind --"}
	}
	o.argv = args
	return nil
}

// checkHere refuses what this machine cannot do, before an agent takes jobs
// that it could only break. slots names the flag that counts the agents.
func (o *agentOptions) checkHere(a *app, slots string) error {
	if o.slots < 1 || o.slots > agent.MaxSlots {
		return usage(slots, "%d is out of range; allowed: 1 to %d", o.slots, agent.MaxSlots)
	}
	if info, err := os.Stat(a.path(o.project)); err != nil || !info.IsDir() {
		return usage("project", "%s is not a folder (name the one with the tests)", o.project)
	}
	if len(o.argv) == 0 || o.argv[0] == "" {
		return nil
	}
	program, local := o.argv[0], strings.ContainsRune(filepath.ToSlash(o.argv[0]), '/') && !filepath.IsAbs(o.argv[0])
	if local {
		program = filepath.Join(a.path(o.project), program)
	}
	_, err := exec.LookPath(program)
	switch {
	case err == nil || errors.Is(err, exec.ErrDot):
	case local:
		a.note("%s is no program in %s: only jobs that bring it in their bundle can run", o.argv[0], o.project)
	default:
		return &qgjob.Error{Kind: qgjob.KindInvalid, Message: fmt.Sprintf("the program %s cannot be run here", o.argv[0]), Err: err,
			Hint: "it must exist and be executable"}
	}
	return nil
}

// folder is a flag's folder, else that of an environment variable, else "".
func (a *app) folder(flag, variable string) string {
	if flag == "" {
		flag = a.env[variable]
	}
	if flag == "" {
		return ""
	}
	return a.path(flag)
}

// config makes the agent's configuration, without its server.
func (o *agentOptions) config(a *app) (agent.Config, error) {
	labels, err := pairs("label", o.labels)
	if err != nil {
		return agent.Config{}, err
	}
	runner := o.runner
	if runner == "" {
		runner = "playwright"
		switch target := qgjob.Target(o.target); {
		case len(o.argv) > 0:
			runner = "exec"
		case target != qgjob.TargetBrowser:
			runner = "appwright"
		}
	}
	if o.device == "" {
		o.device = agent.DeviceOwn
		if t := qgjob.Target(o.target); runner == "appwright" && (t == qgjob.TargetEmulator || t == qgjob.TargetDevice) {
			o.device = agent.DeviceADB
		} else if runner == "appwright" && t == qgjob.TargetBrowserStack {
			o.device = agent.DeviceBrowserStack
		}
	}
	slots := o.slots
	if o.device == agent.DeviceBrowserStack && o.planSlots {
		slots = 0
	}
	if o.freeMB < 0 || o.battery < 0 || o.battery > 100 || o.broken == 0 {
		return agent.Config{}, usage("min-battery", "--min-free-mb must be 0 or more, --min-battery 0 to 100, --quarantine-after 1 or more, or -1")
	}
	return agent.Config{
		Device: o.device, Serials: o.serials, AVDs: o.avds, Quarantine: o.broken,
		Demands: device.Demands{FreeBytes: int64(o.freeMB) << 20, Battery: o.battery, Network: o.network, Package: o.appPackage},
		Name:    o.name, Slots: slots, Target: qgjob.Target(o.target), Runner: runner, ExecArgv: o.argv, Labels: labels,
		StateDir: a.path(o.stateDir), ProjectDir: a.path(o.project), PlaywrightConfig: o.playwrightConfig, BaseURL: o.baseURL,
		AppwrightMode: o.appwrightMode, AppwrightProject: o.appwrightProject,
		Appium: a.folder(o.appium, "QGJOB_APPIUM"), AppiumDriver: a.folder(o.appiumDriver, "QGJOB_APPIUM_DRIVER"),
		PassEnv: o.passEnv, Version: Version, Log: a.logger(o.verbose),
	}, nil
}

func (a *app) agentCmd() *cobra.Command {
	o := &agentOptions{}
	cmd := &cobra.Command{
		Use:   "agent [-- PROGRAM ARGUMENT…]",
		Short: "Run an agent: claim jobs, run them on a device, report",
		Long: `Run an agent: it claims jobs, installs their app version once, runs them and
reports. With --slots=N it serves N agents, NAME-1 to NAME-N. With --device=adb
it serves every Android device of the adb server that fits the target, each as
an agent NAME-SERIAL: plugged in it claims jobs, unplugged it leaves. With
--target=browserstack it runs AppWright on BrowserStack, with the account of
BROWSERSTACK_USERNAME and BROWSERSTACK_ACCESS_KEY: a build is uploaded once, and
a job waits here until the plan has a free session.

Its token is in QGJOB_TOKEN or --token-file. A join token is good once: the agent
exchanges it for a token of its own, which it keeps in --state-dir and uses from
then on, whether it is given the join token again or not.

The first interrupt drains (running jobs finish), the second stops running jobs
and gives them back, the third leaves at once.

With --runner=exec the program behind -- runs once for each job, with
QGJOB_JOB_ID, QGJOB_TEST_PATH, QGJOB_APP_VERSION_ID, QGJOB_APP_PATH, QGJOB_AGENT
and QGJOB_REPORT_DIR in its environment; exit code 0 is passed, 75 is broken
infrastructure, anything else is failed.`,
		Example: `  qgjob agent --target=browser --name=b1 --runner=playwright --project=e2e
  qgjob agent --target=emulator --name=a1 --runner=exec -- ./run-one-test.sh
  qgjob agent --target=device --device=adb --name=lab1 -- ./run-one-test.sh
  qgjob agent --target=browserstack --name=bs --project=e2e`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.takeArgs(cmd, args); err != nil {
				return err
			}
			o.planSlots = !cmd.Flags().Changed("slots")
			return a.runAgent(cmd.Context(), o)
		},
	}
	o.add(cmd)
	host, _ := os.Hostname()
	cmd.Flags().StringVar(&o.name, "name", host, "the agent's id")
	cmd.Flags().IntVar(&o.slots, "slots", 1, "how many agents to serve, each one job at a time; of BrowserStack as many as the plan runs sessions")
	cmd.Flags().StringVar(&o.stateDir, "state-dir", a.stateDir(), "results not delivered yet and caches; several agents may share one")
	cmd.Flags().StringVar(&o.tokenFile, "token-file", "", "file with the agent's token or join token (else QGJOB_TOKEN)")
	cmd.AddCommand(a.doctorCmd())
	return cmd
}

// stateDir is where programs keep their state for a user (XDG Base Directory
// Specification); a folder of the working directory when there is no home.
func (a *app) stateDir() string {
	switch {
	case filepath.IsAbs(a.env["XDG_STATE_HOME"]):
		return filepath.Join(a.env["XDG_STATE_HOME"], "qgjob")
	case filepath.IsAbs(a.env["HOME"]):
		return filepath.Join(a.env["HOME"], ".local", "state", "qgjob")
	}
	return "qgjob-agent"
}

// connect gives the agent its server and its token, or its join token.
func (o *agentOptions) connect(a *app, config *agent.Config) (err error) {
	token := a.env["QGJOB_TOKEN"]
	if o.tokenFile != "" {
		if token, err = a.readToken(o.tokenFile); err != nil {
			return err
		}
	}
	config.ServerFound = a.serverByFile
	if kind, ours := qgjob.TokenKindOf(token); ours && kind == qgjob.TokenJoin {
		if err := a.mayGo(token); err != nil {
			return err
		}
		config.JoinToken, token = token, ""
	}
	config.Server, err = a.clientWith(token, nil)
	return err
}

func (a *app) runAgent(ctx context.Context, o *agentOptions) error {
	if err := o.checkHere(a, "slots"); err != nil {
		return err
	}
	config, err := o.config(a)
	if err != nil {
		return err
	}
	if err := o.connect(a, &config); err != nil {
		return err
	}
	if err := config.Check(); err != nil {
		return err
	}
	steps := newLadder()
	config.Drain, config.Cancel = steps.drain, steps.cancel
	climbing, stop := context.WithCancel(ctx)
	var climbed sync.WaitGroup
	signals := a.stops.take()
	climbed.Go(func() { steps.climb(climbing, a, signals) })
	err = agent.Run(ctx, config)
	stop()
	climbed.Wait()
	if err == nil && steps.climbed > 1 {
		return verdict(exitInterrupted)
	}
	return err
}
