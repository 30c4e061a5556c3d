package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/appium"
	"github.com/qualgent/qgjob/internal/agent/proc"
	"github.com/qualgent/qgjob/internal/agent/runner"
)

// hookFolder in an attempt's folder holds what the appwright runner gives to
// AppWright; nothing of it is an artifact.
const hookFolder = "hook"

// appwright is what the slots of a host with the appwright runner share.
type appwright struct {
	runner.Appwright
	host *host

	mu     sync.Mutex
	suites map[string]runner.Suite // by what they were read from
}

func newAppwright(h *host) *appwright {
	return &appwright{
		host: h, suites: map[string]runner.Suite{},
		Appwright: runner.Appwright{Config: h.PlaywrightConfig, Project: h.AppwrightProject, Mode: runner.Mode(h.AppwrightMode), Cloud: h.cloud != nil},
	}
}

// suite looks at the job's project, once for as long as its configuration and
// its packages stay.
func (w *appwright) suite(ctx context.Context, a *attempt, project string) (runner.Suite, error) {
	config, err := runner.Inspect(project, w.Config)
	if err != nil {
		return runner.Suite{}, err
	}
	key := project
	for _, name := range []string{config, "node_modules/appwright/package.json", "node_modules/@playwright/test/package.json"} {
		if st, err := os.Stat(filepath.Join(project, filepath.FromSlash(name))); err == nil {
			key += fmt.Sprintf("\x00%s %d %d", name, st.Size(), st.ModTime().UnixNano())
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s, ok := w.suites[key]; ok {
		return s, nil
	}
	s, err := w.Probe(ctx, project, a.offer.Job.TestPath, filepath.Join(a.dir, hookFolder), w.host.env, w.host.warn)
	if err != nil {
		return s, err
	}
	if s.Warning != "" {
		w.host.Log.Warn("AppWright runs in stock mode", "cause", s.Warning)
	}
	w.suites[key] = s
	return s, nil
}

// drive has the slot's Appium ready for the job's session.
func (a *attempt) drive(ctx context.Context, suite runner.Suite, t runner.Task) (*runner.Drive, error) {
	if a.slot.host.cloud != nil {
		return a.driveCloud(suite)
	}
	if err := checkPhone(t.Phone, t.Job); err != nil {
		return nil, err
	}
	d := &runner.Drive{Suite: suite, Phone: *t.Phone, Work: filepath.Join(a.dir, hookFolder)}
	if suite.Warning != "" {
		a.log.note("%s", suite.Warning)
	}
	s := a.slot
	if s.appium != nil && (s.appium.Port == 0) != suite.Hooked {
		if err := s.appium.Close(); err != nil {
			return nil, err
		}
		s.appium = nil
	}
	var err error
	if s.appium == nil {
		if s.appium, err = s.newAppium(ctx, a, suite, t); err != nil {
			return nil, err
		}
	}
	s.appium.Mark()
	if d.Server, err = s.appium.Ready(ctx); err != nil {
		return nil, err
	}
	a.log.note("Appium %s at %s drives %s", s.appium.Program.Version, d.Server.URL, d.Phone.Serial)
	return d, nil
}

// newAppium prepares the device's Appium without starting it.
func (s *slot) newAppium(ctx context.Context, a *attempt, suite runner.Suite, t runner.Task) (*appium.Server, error) {
	h := s.host
	path := os.Getenv("PATH")
	program, err := appium.Find(h.Appium, path, h.ProjectDir, t.Project)
	if err != nil {
		return nil, err
	}
	driver, err := appium.FindDriver(h.AppiumDriver, program)
	if err != nil {
		return nil, err
	}
	home, err := appium.Home(ctx, filepath.Join(h.StateDir, "appium"), program, driver,
		appium.Setup{Env: runner.SetupEnv(os.Environ(), h.PassEnv), Log: a.log, Warn: h.warn})
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.me.dir, "appium")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	o := appium.Options{Program: program, Home: home, Driver: driver.Name, Dir: dir, Env: t.Env, Log: s.log, Warn: h.warn}
	if !suite.Hooked {
		o.Port, o.Defaults = runner.StockPort, runner.StockDefaults(*t.Phone)
	}
	return appium.NewServer(o), nil
}

// checkPhone refuses a device that AppWright has nothing to do with, and a job
// without an app.
func checkPhone(p *runner.Phone, job qgjob.Job) error {
	switch {
	case p == nil:
		return &qgjob.Error{Kind: qgjob.KindInvalid, Message: "the appwright runner has no Android device",
			Hint: "start the agent with --target=emulator or --target=device, and look at adb devices"}
	case p.Package == "":
		return &qgjob.Error{Kind: qgjob.KindInvalid, Message: fmt.Sprintf("app version %s has no uploaded build that could be installed", job.AppVersionID),
			Hint: "submit with --app=FILE.apk, or qgjob app upload"}
	case p.Activity == "":
		return &qgjob.Error{Kind: qgjob.KindInvalid, Message: p.Package + " has no activity that a launcher could start",
			Hint: "upload the app's own APK, not its test APK"}
	}
	return nil
}

// afterAppium looks at the Appium that a test has used, corrects a verdict
// that was its fault, and frees the device from sessions left behind.
func (a *attempt) afterAppium(end proc.End, hooked bool) {
	s := a.slot
	if s.appium == nil {
		return
	}
	ctx, cancel := s.finishing()
	defer cancel()
	ill := s.appium.Status(ctx)
	if ill != nil && a.done.Outcome == qgjob.OutcomeFailed {
		a.conclude(qgjob.OutcomeErrored, qgjob.ReasonDevice, fmt.Sprintf("Appium went away during the test: %v\n%s", ill, a.done.Message))
	}
	if a.done.Outcome == qgjob.OutcomeFailed || a.done.Outcome == qgjob.OutcomeErrored {
		if err := os.WriteFile(filepath.Join(a.dir, outputFolder, "appium.log"), s.appium.Said(), 0o600); err != nil {
			a.log.note("Appium's log: %v", err)
		}
	}
	var err error
	switch {
	case !hooked:
		// The next run of the host waits for its port, and may be a hooked one here.
		err, s.appium = s.appium.Close(), nil
	case end != proc.Exited || ill != nil:
		err = s.appium.Close() // a session may be half open
	default:
		err = s.appium.Tidy(ctx)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		s.log.Warn("Appium after the test", "error", err)
	}
}
