package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/device"
	"github.com/qualgent/qgjob/internal/agent/proc"
	"github.com/qualgent/qgjob/internal/agent/runner"
	"github.com/qualgent/qgjob/internal/report"
)

// The folders and the log of an attempt, inside its own folder.
const (
	outputFolder = "output"
	reportFolder = "report"
	logName      = "log.txt"
)

// prepareTime bounds everything before the test: a minute less than the
// server adds to the job's timeout for it.
const prepareTime = qgjob.InstallAllowance - time.Minute

// attempt is one job on its way through this slot.
type attempt struct {
	slot     *slot
	offer    qgjob.Offer
	hold     *hold
	dir      string
	log      *attemptLog
	slog     *slog.Logger
	done     qgjob.CompleteRequest
	build    device.Build
	left     []report.Attachment
	innocent bool        // the device is not to blame for an install that failed
	reset    qgjob.Reset // how much of the last test this one may find
	staged   bool        // the runner installs the build itself, in every test
	stopped  error       // why the agent stopped it, or nil
}

// attempt runs one offer to its acknowledged result. It answers what the
// server offered with the acknowledgement, when more work is wanted.
func (s *slot) attempt(claims context.Context, offer qgjob.Offer, last bool) *qgjob.ClaimResponse {
	defer s.held.drop(offer.LeaseID)
	a := &attempt{
		slot: s, offer: offer, hold: s.held.add(s.ctx, offer.LeaseID), reset: offer.Job.Reset,
		dir:  filepath.Join(s.me.dir, "work", string(offer.LeaseID)),
		slog: s.log.With("job", offer.Job.JobID.String(), "attempt", offer.Number),
	}
	if claims.Err() != nil {
		a.giveBack()
		return nil
	}
	leave, err := a.start()
	if err != nil {
		a.notStarted(err)
		return nil
	}
	if err := a.open(); err != nil {
		a.slog.Error("the attempt has no folder", "error", err)
		a.conclude(qgjob.OutcomeErrored, qgjob.ReasonSetup, "the agent cannot write its state: "+err.Error())
		return a.finish(claims, last, nil)
	}
	defer a.log.close()
	ctx, cancel := s.finishing()
	defer cancel()
	streamed := make(chan error, 1)
	go func() { streamed <- a.log.stream(ctx, a.post) }()
	if leave == qgjob.LeaseCancel {
		a.stop(errCancelled)
	} else {
		a.perform()
	}
	if a.abandoned() {
		a.slog.Warn("stopped; reports nothing", "cause", a.stopped)
		cancel()
		<-streamed //nolint:errcheck // nobody waits for this log any more
		a.remove()
		return nil
	}
	s.learn(a)
	return a.finish(claims, last, streamed)
}

// start asks for leave until it is given or refused. Before that nothing of
// the job may run: the offer may be another agent's by now.
func (a *attempt) start() (qgjob.LeaseAnswer, error) {
	s := a.slot
	res, err := patiently(a.hold.ctx, s, "start", someFaults, func(ctx context.Context) (qgjob.StartResponse, error) {
		return s.server.Start(ctx, a.offer.LeaseID, qgjob.StartRequest{AgentID: s.id, Incarnation: s.me.incarnation})
	})
	if err != nil {
		return "", err
	}
	if res.Answer != qgjob.LeaseOK && res.Answer != qgjob.LeaseCancel {
		return "", fmt.Errorf("the server answered the start with %q", res.Answer)
	}
	return res.Answer, nil
}

// notStarted ends an attempt whose start was not acknowledged. When the
// answer was lost the server may take it for started: then the job is given
// back in words, or cancelled.
func (a *attempt) notStarted(err error) {
	switch {
	case qgjob.CodeOf(err) == qgjob.CodeAgentSuperseded:
		a.slot.superseded(err)
	case errors.Is(err, errCancelled):
		a.stop(errCancelled)
		a.finish(a.slot.ctx, false, nil)
	case errors.Is(err, errLeaving), errors.Is(err, errUnplugged):
		a.giveBack()
	default:
		a.slog.Info("the offer has lapsed", "cause", err)
	}
}

// giveBack returns an offer that nothing of was run.
func (a *attempt) giveBack() {
	a.stop(errLeaving)
	a.finish(a.slot.ctx, false, nil)
}

func (a *attempt) open() error {
	if err := os.RemoveAll(a.dir); err != nil {
		return err
	}
	for _, name := range artifactFolders {
		if err := os.MkdirAll(filepath.Join(a.dir, name), 0o700); err != nil {
			return err
		}
	}
	var err error
	if a.log, err = createLog(filepath.Join(a.dir, logName)); err != nil {
		return err
	}
	if c := a.slot.host.cloud; c != nil {
		a.log.hide(c.secrets)
	}
	return nil
}

// remove deletes the attempt's folder.
func (a *attempt) remove() { a.slot.removeWork(a.offer.LeaseID) }

// perform prepares and runs the test, and notes the result in a.done.
func (a *attempt) perform() {
	job := a.offer.Job
	a.slog.Info("starts", "test", job.TestPath, "org", job.OrgID, "app_version", job.AppVersionID)
	ctx, cancel := context.WithTimeoutCause(a.hold.ctx, prepareTime, fmt.Errorf("preparing took longer than %s", prepareTime))
	defer cancel()
	task, command, err := a.prepare(ctx)
	if cause := context.Cause(a.hold.ctx); cause != nil {
		a.stop(cause)
		return
	}
	if err != nil {
		why := qgjob.ReasonSetup
		if t, ok := errors.AsType[*trouble](err); ok {
			why = t.reason
		}
		_, a.innocent = errors.AsType[*device.BuildError](err)
		a.log.note("%v", err)
		a.conclude(qgjob.OutcomeErrored, why, err.Error())
		return
	}
	a.test(task, command)
}

// trouble is why an attempt could not come to its test.
type trouble struct {
	reason qgjob.Reason
	err    error
}

func (t *trouble) Error() string { return t.err.Error() }
func (t *trouble) Unwrap() error { return t.err }

// prepare has the project, the app and the command ready.
func (a *attempt) prepare(ctx context.Context) (runner.Task, proc.Command, error) {
	s, job := a.slot, a.offer.Job
	task := runner.Task{
		Job: job, Number: a.offer.Number, Agent: s.id, Grace: s.host.Grace,
		Report:  filepath.Join(a.dir, reportFolder),
		Output:  filepath.Join(a.dir, outputFolder),
		Timeout: time.Duration(job.TimeoutS) * time.Second,
	}
	if task.Timeout <= 0 {
		task.Timeout = qgjob.DefaultTimeout
	}
	var err error
	if task.Project, err = s.host.project(ctx, job, a.log); err != nil {
		return task, proc.Command{}, err
	}
	// What a test path means to an exec program without a bundle is that
	// program's business: it may be a name in a suite of its own.
	if s.host.Runner != "exec" || job.BundleSHA256 != "" {
		if err := checkTestFile(task.Project, job.TestPath); err != nil {
			return task, proc.Command{}, &trouble{qgjob.ReasonTestFileMissing, err}
		}
	}
	var suite runner.Suite
	if w := s.host.appwright; w != nil {
		// Before the install: a project that cannot run needs none.
		if suite, err = w.suite(ctx, a, task.Project); err != nil {
			return task, proc.Command{}, err
		}
	}
	build, err := a.install(ctx, s.host.appwright != nil && !suite.Hooked)
	a.build = build
	if err != nil {
		return task, proc.Command{}, err
	}
	task.Env = slices.Concat(s.host.env, s.device.Env(build))
	sessions, err := a.followSessions()
	if err != nil {
		return task, proc.Command{}, err
	}
	task.Env = append(task.Env, sessions...)
	task.Serves, task.Phone = s.device.Serves(), phone(s.device, build)
	if s.host.appwright != nil {
		if task.Drive, err = a.drive(ctx, suite, task); err != nil {
			return task, proc.Command{}, err
		}
		if task.Drive.Cloud == nil {
			task.Serves = append(slices.Clone(task.Serves), task.Drive.Server.Address())
		}
	}
	command, err := s.host.runner.Command(task)
	return task, command, err
}

// phone describes an Android device to the runner; other devices are nil.
func phone(d device.Device, b device.Build) *runner.Phone {
	a, ok := d.(*device.Android)
	if !ok {
		return nil
	}
	p := &runner.Phone{Serial: a.Serial(), ServerPort: a.ServerPort(), PortBase: a.PortBase()}
	if a.Wants(b) {
		p.Package, p.Activity, p.App = a.Package(), a.Activity(), a.App()
	}
	return p
}

// install has the job's app version on the device. stock means that the runner
// installs it itself, in every test: then its file lies ready.
func (a *attempt) install(ctx context.Context, stock bool) (device.Build, error) {
	s, job := a.slot, a.offer.Job
	if err := s.device.Check(ctx); err != nil {
		return device.Build{}, &trouble{qgjob.ReasonDevice, err}
	}
	build := device.Build{Installed: qgjob.Installed{OrgID: job.OrgID, AppVersionID: job.AppVersionID}}
	begin := time.Now()
	if app := a.offer.App; app != nil {
		build.BuildSHA256, build.FileName = app.SHA256, app.FileName
		file, err := s.host.cache.blob(ctx, app.SHA256, qgjob.MaxAppBuild)
		if err != nil {
			a.done.Install = qgjob.InstallFailed
			return build, &trouble{qgjob.ReasonInstall, fmt.Errorf("install %s %s: %w", job.OrgID, job.AppVersionID, err)}
		}
		build.File = file
	}
	if d, ok := s.device.(*device.Android); ok && stock && d.Wants(build) {
		return build, a.stage(ctx, d, build)
	}
	outcome, err := device.Ensure(ctx, s.device, build, a.reset)
	a.done.Install = outcome
	s.installed.Store(s.device.Installed())
	if outcome == qgjob.InstallDone || outcome == qgjob.InstallFailed {
		a.done.InstallMS = time.Since(begin).Milliseconds()
	}
	if err != nil {
		return build, &trouble{qgjob.ReasonInstall, err}
	}
	switch outcome {
	case qgjob.InstallDone:
		a.log.note("installed %s %s in %d ms", job.OrgID, job.AppVersionID, a.done.InstallMS)
	case qgjob.InstallAvoided:
		a.log.note("%s %s is on the device already", job.OrgID, job.AppVersionID)
	}
	if a.reset == qgjob.ResetReinstall {
		return build, nil // done by Ensure
	}
	if err := s.device.Reset(ctx, a.reset); err != nil {
		return build, &trouble{qgjob.ReasonDevice, fmt.Errorf("reset the device: %w", err)}
	}
	return build, nil
}

// stage hands the build to a runner that installs it itself. Its installs are
// counted by afterStock.
func (a *attempt) stage(ctx context.Context, d *device.Android, build device.Build) error {
	err := d.Stage(ctx, build)
	a.staged = true
	a.slot.installed.Store(d.Installed())
	if err != nil {
		a.done.Install = qgjob.InstallFailed
		return &trouble{qgjob.ReasonInstall, fmt.Errorf("install %s %s: %w", build.OrgID, build.AppVersionID, err)}
	}
	if a.reset == qgjob.ResetKeep {
		a.log.note("--reset=keep cannot be had in AppWright's stock mode: it installs the app anew for every test")
	}
	// AppWright takes app and data away in every test; this only notes the time.
	if err := d.Reset(ctx, qgjob.ResetKeep); err != nil {
		return &trouble{qgjob.ReasonDevice, fmt.Errorf("reset the device: %w", err)}
	}
	return nil
}

// afterStock says that AppWright installed the app, once an attempt as
// everywhere; how long its installs took is in the tests' own times.
func (a *attempt) afterStock() {
	ran := 0
	for _, t := range a.done.Tests {
		if t.Status != qgjob.TestSkipped {
			ran++
		}
	}
	if ran > 0 {
		a.done.Install = qgjob.InstallDone
		a.log.note("AppWright in stock mode installed %s %s by itself, in each of its tests (%d)", a.offer.Job.OrgID, a.offer.Job.AppVersionID, ran)
	}
}

// test runs the command under the job's timeout and judges what it left.
func (a *attempt) test(task runner.Task, command proc.Command) {
	ctx, cancel := context.WithTimeoutCause(a.hold.ctx, task.Timeout, errTimedOut)
	defer cancel()
	command.Stdout, command.Stderr, command.Warn = a.log, a.log, a.slot.host.warn
	result := a.watch(ctx, command)
	ending := runner.Ending{Result: result}
	if result.End == proc.Stopped {
		a.stopped = context.Cause(ctx)
		ending.TimedOut = errors.Is(a.stopped, errTimedOut)
		ending.Cancelled = errors.Is(a.stopped, errCancelled)
		ending.Returned = errors.Is(a.stopped, errLeaving)
		a.log.note("stopped: %v", a.stopped)
	}
	verdict := a.slot.host.runner.Judge(task, ending)
	a.conclude(verdict.Outcome, verdict.Reason, verdict.Message)
	a.done.Tests, a.left = verdict.Tests, verdict.Attachments
	if a.staged {
		a.afterStock()
	}
	a.askDevice(verdict.Reinstalled || task.Drive != nil && !task.Drive.Suite.Hooked)
	a.askCloud()
	took := result.Ended.Sub(result.Started)
	a.done.TestMS = took.Milliseconds()
	a.slot.brief.Store(result.End == proc.Exited && took < brief)
	if result.End == proc.NotStarted {
		a.log.note("%v", result.Err)
	}
	if result.End == proc.Exited {
		a.done.ExitCode = &result.ExitCode
	}
	if task.Drive != nil {
		a.afterAppium(result.End, task.Drive.Suite.Hooked)
	}
	if result.OutputErr != nil {
		a.log.note("the log is not whole: %v", result.OutputErr)
	}
}

// watch runs the command to its end or stops it: by the ladder, or at once
// when somebody else may be running the test already.
func (a *attempt) watch(ctx context.Context, command proc.Command) proc.Result {
	p, err := proc.Start(command)
	if err != nil {
		now := time.Now()
		return proc.Result{End: proc.NotStarted, ExitCode: -1, Err: err, Started: now, Ended: now}
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		cause := context.Cause(ctx)
		p.Cancel(cause)
		if notOurs(cause) {
			p.Kill()
		}
	}
	return p.Wait()
}

// notOurs causes mean that the job has left this agent.
func notOurs(cause error) bool {
	return errors.Is(cause, errStale) || qgjob.CodeOf(cause) == qgjob.CodeAgentSuperseded
}

func (a *attempt) abandoned() bool { return notOurs(a.stopped) }

// stop notes the result of an attempt that was stopped outside its test.
func (a *attempt) stop(cause error) {
	a.stopped = cause
	switch {
	case errors.Is(cause, errCancelled):
		a.conclude(qgjob.OutcomeCancelled, qgjob.ReasonCancelled, "cancelled before the test began")
	case !notOurs(cause):
		a.conclude(qgjob.OutcomeInterrupted, qgjob.ReasonAgentReturned, "the agent left before the test began")
	}
}

func (a *attempt) conclude(o qgjob.Outcome, why qgjob.Reason, message string) {
	a.done.Outcome, a.done.Reason, a.done.Message = o, why, clip(message, qgjob.MaxMessage)
}

// seal completes the request with what does not depend on the result, and
// with the digest that makes its repetition harmless.
func (a *attempt) seal() error {
	text, err := json.Marshal(a.done)
	if err != nil {
		return err
	}
	a.done.Digest = digest(string(a.offer.LeaseID) + string(text))
	a.done.AgentID, a.done.Incarnation = a.slot.id, a.slot.me.incarnation
	a.done.Installed = a.slot.installed.Load()
	return nil
}

// clip shortens text to n bytes without cutting a character.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	const dots = "…"
	cut := n - len(dots)
	for cut > 0 && text[cut]&0xC0 == 0x80 {
		cut--
	}
	return text[:cut] + dots
}
