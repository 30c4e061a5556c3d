package cli

import (
	"context"
	"os"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent"
	"github.com/qualgent/qgjob/internal/agent/adb"
	"github.com/qualgent/qgjob/internal/agent/doctor"
	"github.com/spf13/cobra"
)

func (a *app) doctorCmd() *cobra.Command {
	o := &agentOptions{slots: 1}
	var build string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find what would keep tests from running here, and say how to mend it",
		Long: `Find what would keep tests from running here, and say how to mend it. It takes
the flags of an agent and looks at what that agent would use. It leaves with 0
only when tests can run.`,
		Example: `  qgjob agent doctor --target=emulator --project=e2e
  qgjob agent doctor --target=device --app=app.apk --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := a.examine(cmd.Context(), o, build)
			if err != nil {
				return err
			}
			return a.printDoctor(report, asJSON)
		},
	}
	o.add(cmd)
	o.name = "doctor"
	cmd.Flags().StringVar(&o.stateDir, "state-dir", a.stateDir(), "the agent's state-dir")
	cmd.Flags().StringVar(&build, "app", "", "a build to look at: would the devices take it?")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) examine(ctx context.Context, o *agentOptions, build string) (doctor.Report, error) {
	if o.runner == "exec" {
		o.argv = []string{"true"} // its program is not the doctor's
	}
	c, err := o.config(a)
	if err != nil {
		return doctor.Report{}, err
	}
	if _, err := qgjob.ParseTarget(string(c.Target)); err != nil {
		return doctor.Report{}, err
	}
	q := doctor.Question{
		Target: c.Target, Runner: c.Runner, Device: c.Device, Project: c.ProjectDir, Config: c.PlaywrightConfig, StateDir: c.StateDir,
		Appium: c.Appium, AppiumDriver: c.AppiumDriver, Serials: c.Serials, Demands: c.Demands,
		Mode: c.AppwrightMode, Suite: c.AppwrightProject, PassEnv: c.PassEnv, AVDs: c.AVDs,
		Path: os.Getenv("PATH"), Home: a.env["HOME"], Chromium: a.env["QGJOB_CHROMIUM"],
	}
	if len(c.AVDs) > 0 {
		_, q.EmulatorErr = agent.FindEmulator(os.Getenv)
	}
	if build != "" {
		q.App = a.path(build)
	}
	if c.Device == agent.DeviceADB {
		if q.ADB, err = adb.FromEnv(func(key string) string { return a.env[key] }); err != nil {
			return doctor.Report{}, &qgjob.Error{Kind: qgjob.KindInvalid, Message: err.Error()}
		}
	}
	return doctor.Diagnose(doctor.Gather(ctx, q)), nil
}

func (a *app) printDoctor(r doctor.Report, asJSON bool) error {
	if asJSON {
		if err := a.json(r); err != nil {
			return err
		}
	} else {
		rows := make([][]string, len(r.Findings))
		for i, f := range r.Findings {
			rows[i] = []string{string(f.Level), f.Check, f.Message, or(f.Fix, "-")}
		}
		a.table([]string{"LEVEL", "CHECK", "FOUND", "FIX"}, rows)
	}
	if !r.Ready {
		bad := 0
		for _, f := range r.Findings {
			if f.Level == doctor.LevelFail {
				bad++
			}
		}
		a.note("tests cannot run here: %s to mend", count(bad, "thing"))
		return verdict(exitInfra)
	}
	if !asJSON {
		a.answer("Tests can run here.")
	}
	return nil
}
