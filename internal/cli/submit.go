package cli

import (
	"context"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
	"github.com/spf13/cobra"
)

type submitOptions struct {
	org, version     string
	tests            []string
	target, priority string
	appFile, bundle  string
	retries          int
	reset            string
	timeout          time.Duration
	key              string
	requires, labels []string
	supersede        string
	reuse, failFast  bool
	json             bool
	wait             bool
	waits            waitOptions
	fromEnv, github  bool
}

func (a *app) submitCmd() *cobra.Command {
	o := &submitOptions{}
	cmd := &cobra.Command{
		Use:   "submit [TEST…]",
		Short: "Submit tests: one job for each test file, all in one run",
		Long: `Submit one job for each test file, all in one run.

--test takes a path or a glob (** too) and may be repeated; globs are expanded
here, relative to --bundle or to the working directory. With --bundle the test
project is packed (git-ignored files and node_modules left out) and sent once,
so that agents which never saw the repository run the very tests of this
commit. Without it agents run the tests of their own --project.

With --wait the exit code is the verdict: 0 all passed, 1 a test failed or was
cancelled, 3 infrastructure broke a job, 8 --wait-timeout ran out. An interrupt
cancels the run.

In a job of GitHub Actions with the permission "id-token: write" no QGJOB_TOKEN
is needed when the server trusts the repository (docs/security.md).

In a CI job the idempotency key follows from the job, so that a step which is
tried again finds its run. On GitHub Actions the results also go to the step's
summary, its annotations and its outputs.`,
		Example: `  qgjob submit --org-id=qualgent --app-version-id=xyz123 --test=tests/onboarding.spec.js
  qgjob submit --org-id=qualgent --app-version-id=xyz123 --test='tests/**/*.spec.js' \
      --target=browser --bundle=. --app=build/shop.zip --wait --junit=results.xml
  qgjob submit --org-id=qualgent --app-version-id=xyz123 --test=tests/login.spec.js \
      --requires=platform=android,os=14 --retries=1 --timeout=10m --priority=high`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.tests = append(o.tests, args...)
			o.waits.ci = a.githubJob(o)
			err := a.runSubmit(cmd.Context(), o)
			o.waits.ci.finish(err)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.org, "org-id", "", "the org that the tests belong to (QGJOB_ORG)")
	f.StringVar(&o.version, "app-version-id", "", "the app version to test (QGJOB_APP_VERSION)")
	f.StringArrayVar(&o.tests, "test", nil, "test file or glob; may be repeated")
	f.StringVar(&o.target, "target", string(qgjob.TargetEmulator), "where to run: emulator, device, browserstack or browser (QGJOB_TARGET)")
	f.StringVar(&o.priority, "priority", "1", "1 to 10, higher is more urgent; or low, normal, high, urgent")
	f.StringVar(&o.appFile, "app", "", "app build to upload as this app version (.apk, .ipa, .zip)")
	f.StringVar(&o.bundle, "bundle", "", "test project to pack and send to the agents")
	f.IntVar(&o.retries, "retries", 0, "how often a failed test may run again, 0 to 10")
	f.StringVar(&o.reset, "reset", string(qgjob.DefaultReset), "what tests see of the app's past: clear, keep or reinstall")
	f.DurationVar(&o.timeout, "timeout", qgjob.DefaultTimeout, "how long one attempt of one job may take")
	f.StringVar(&o.key, "idempotency-key", "", "a repeated submit with the same key gives the same jobs; in CI the job's own by default")
	f.StringArrayVar(&o.requires, "requires", nil, "label that the agent must have, key=value; may be repeated")
	f.StringArrayVar(&o.labels, "label", nil, "text to keep with the run, key=value; may be repeated")
	f.StringVar(&o.supersede, "supersede-key", "", "stop older runs of the org with the same key; in CI repository, ref and workflow by default, none for no key")
	f.BoolVar(&o.reuse, "reuse-passed", false, "take over results of tests that passed with the same build and bundle within seven days (with --app or an uploaded build, and --bundle)")
	f.BoolVar(&o.failFast, "fail-fast", false, "stop the rest of the run once a test has failed")
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.BoolVar(&o.wait, "wait", false, "wait for the verdict and exit with it")
	f.BoolVar(&o.github, "github", onGitHub(a.env), "write summary, annotations and outputs for GitHub Actions")
	f.BoolVar(&o.fromEnv, "from-env", false, "take flags from QGJOB_INPUT_… too, a list one a line, as the GitHub Action does")
	o.waits.add(cmd, false)
	must(cmd.RegisterFlagCompletionFunc("target", completeTargets))
	must(cmd.RegisterFlagCompletionFunc("reset", cobra.FixedCompletions([]string{"clear", "keep", "reinstall"}, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("priority", cobra.FixedCompletions([]string{"low", "normal", "high", "urgent"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// request checks everything that can be checked here, before a byte is sent.
// The tests are not expanded yet.
func (o *submitOptions) request() (qgjob.SubmitRequest, qgjob.JobSpec, error) {
	fail := func(err error) (qgjob.SubmitRequest, qgjob.JobSpec, error) {
		return qgjob.SubmitRequest{}, qgjob.JobSpec{}, err
	}
	switch {
	case o.org == "":
		return fail(usage("org-id", "say whose tests these are, such as --org-id=qualgent (or set QGJOB_ORG, or org_id in .qgjob.yaml)"))
	case o.version == "":
		return fail(usage("app-version-id", "say which app version to test, such as --app-version-id=xyz123"))
	case len(o.tests) == 0:
		return fail(usage("test", "say what to run, such as --test=tests/onboarding.spec.js or --test='tests/**/*.spec.js'"))
	case o.timeout < qgjob.MinTimeout || o.timeout > qgjob.MaxTimeout:
		return fail(usage("timeout", "%v is out of range; allowed: %v to %v", o.timeout, qgjob.MinTimeout, qgjob.MaxTimeout))
	}
	priority, err := qgjob.ParsePriority(o.priority)
	if err != nil {
		return fail(err)
	}
	requires, err := pairs("requires", o.requires)
	if err != nil {
		return fail(err)
	}
	labels, err := pairs("label", o.labels)
	if err != nil {
		return fail(err)
	}
	if err := qgjob.CheckIdempotencyKey(o.key); err != nil {
		return fail(err)
	}
	if o.reuse && o.bundle == "" {
		return fail(usage("reuse-passed", "only with --bundle: what the agents' own projects hold is not known here"))
	}
	req := qgjob.SubmitRequest{OrgID: qgjob.OrgID(o.org), Labels: labels, ReusePassed: o.reuse, FailFast: o.failFast}
	spec := qgjob.JobSpec{
		AppVersionID: qgjob.AppVersionID(o.version), Target: qgjob.Target(o.target), Priority: priority,
		Requires: requires, Retries: o.retries, Reset: o.askedReset(), TimeoutS: int64((o.timeout + time.Second - 1) / time.Second),
	}
	probe := spec
	probe.TestPath = "any" // the paths are checked when they are known
	return req, spec, qgjob.SubmitRequest{OrgID: req.OrgID, Labels: labels, Jobs: []qgjob.JobSpec{probe}}.Check()
}

// askedReset is empty for the default: a server of the version before knows no
// reset and refuses what it does not know.
func (o *submitOptions) askedReset() qgjob.Reset {
	if r := qgjob.Reset(o.reset); r != qgjob.DefaultReset {
		return r
	}
	return ""
}

func (a *app) runSubmit(ctx context.Context, o *submitOptions) error {
	if err := o.waits.check(o.wait); err != nil {
		return err
	}
	req, spec, err := o.request()
	if err != nil {
		return err
	}
	req.Labels = ciLabels(a.env, req.Labels)
	req.SupersedeKey = supersedeKey(a.env, o.supersede)
	o.waits.failFast = o.failFast
	c, err := a.client()
	if err != nil {
		return err
	}
	tests, bundled, err := a.findTests(ctx, o)
	if err != nil {
		return err
	}
	if bundled != nil {
		defer bundled.remove()
		spec.BundleSHA256 = bundled.sum
	}
	for _, t := range tests {
		spec.TestPath = t
		req.Jobs = append(req.Jobs, spec)
	}
	if err := req.Check(); err != nil {
		return err
	}
	var app qgjob.App
	if o.appFile != "" {
		if app, err = a.uploadApp(ctx, c, req.OrgID, spec.AppVersionID, "app", o.appFile); err != nil {
			return err
		}
	}
	if bundled != nil {
		if err := a.send(ctx, c, bundled.hashed, "test bundle"); err != nil {
			return err
		}
	}
	if o.key == "" {
		o.key = a.keyFor(req, app.SHA256)
	}
	return a.submitAndWait(ctx, c, o.wait, o.json, o.waits, func(ctx context.Context) (qgjob.SubmitResponse, error) {
		return o.submit(ctx, c, req)
	})
}

// findTests packs the bundle, if one is wanted, and expands --test in it.
func (a *app) findTests(ctx context.Context, o *submitOptions) ([]string, *packed, error) {
	if o.bundle != "" {
		bundled, err := a.packBundle(ctx, o.bundle)
		if err != nil {
			return nil, nil, err
		}
		tests, err := bundled.project.expand(o.tests)
		if err != nil {
			bundled.remove()
			return nil, nil, err
		}
		return tests, bundled, nil
	}
	here, closing, err := workingDir(a.dir)
	if err != nil {
		return nil, nil, err
	}
	defer closing()
	tests, err := here.expand(o.tests)
	return tests, nil, err
}

// submitAndWait submits, says what came of it, and waits when asked to. From
// the moment of the submit an interrupt must not lose sight of the run (see
// steadily).
func (a *app) submitAndWait(ctx context.Context, c *client.Client, wait, asJSON bool, o waitOptions, submit submitFunc) error {
	if wait {
		submit = a.steadily(submit)
	}
	got, err := submit(ctx)
	if err != nil {
		return err
	}
	o.ci.submitted(got.RunID, wait)
	if got.Warning != "" {
		a.note("%s", got.Warning)
	}
	if got.Repeat {
		a.note("the idempotency key was used before: these are the jobs given then")
	}
	switch {
	case asJSON && wait:
		a.note("%v submitted with %s", got.RunID, count(len(got.JobIDs), "job"))
	case asJSON:
		return a.json(got)
	default:
		for _, id := range got.JobIDs {
			a.answer("Job submitted: %v", id)
		}
		if len(got.JobIDs) > 1 {
			a.answer("Run submitted: %v (%s)", got.RunID, count(len(got.JobIDs), "job"))
		}
	}
	if !wait {
		return nil
	}
	o.cancels, o.json = true, asJSON
	return a.waitForRun(ctx, c, got.RunID, o, submit)
}
