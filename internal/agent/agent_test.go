//go:build unix

package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// rig is an agent under test with its server and its test project.
type rig struct {
	*fakeServer
	dir    string // state, project
	config Config
	drain  chan struct{}
	cancel chan struct{}
	ended  chan error
	logged *lockedBuffer
	quick  bool // waits milliseconds where an agent waits seconds
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newRig makes an exec agent named a1 that is not started yet.
func newRig(t *testing.T) *rig {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{fakeServer: newFakeServer(t), dir: t.TempDir(), drain: make(chan struct{}), cancel: make(chan struct{}), logged: &lockedBuffer{}}
	if err := os.Mkdir(filepath.Join(r.dir, "project"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.config = Config{
		Server: r.client(), Name: "a1", Target: qgjob.TargetEmulator, Runner: "exec", ExecArgv: []string{self, "test-program"},
		StateDir: filepath.Join(r.dir, "state"), ProjectDir: filepath.Join(r.dir, "project"), Version: "test",
		Grace: 5 * time.Second, LeaveGrace: 5 * time.Second, Log: slog.New(slog.NewTextHandler(r.logged, nil)),
		Drain: r.drain, Cancel: r.cancel,
	}
	return r
}

// begin starts the agent; it is cancelled at the end of the test.
func (r *rig) begin(t *testing.T) {
	t.Helper()
	r.ended = make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	config, ended := r.config, r.ended
	if r.quick {
		config.retryPause = 10 * time.Millisecond
	}
	go func() { ended <- Run(ctx, config) }()
	t.Cleanup(func() {
		stop()
		select {
		case <-ended:
		case <-tooLate():
			t.Error("the agent does not end")
		}
		if t.Failed() {
			t.Logf("the agent logged:\n%s", r.logged)
		}
	})
}

// end waits for the end of the agent.
func (r *rig) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		r.ended <- err
		return err
	case <-tooLate():
		t.Fatalf("the agent does not end; it logged:\n%s", r.logged)
		return nil
	}
}

// test writes a test file with orders for the test program.
func (r *rig) test(t *testing.T, name string, orders ...string) qgjob.Job {
	t.Helper()
	path := filepath.Join(r.dir, "project", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Join(orders, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return qgjob.Job{TestPath: name, Target: qgjob.TargetEmulator}
}

// pipe makes a named pipe for the order await.
func (r *rig) pipe(t *testing.T) string {
	t.Helper()
	path := filepath.Join(r.dir, fmt.Sprintf("pipe%d", time.Now().UnixNano()))
	mkfifo(t, path)
	return path
}

// release lets a program that awaits a pipe go on.
func release(t *testing.T, pipe string) {
	t.Helper()
	f, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// workIsEmpty waits until no attempt's folder and no spooled result is left.
func (r *rig) workIsEmpty(t *testing.T) {
	t.Helper()
	for _, name := range []string{"work", "spool"} {
		entries, err := os.ReadDir(filepath.Join(r.config.StateDir, "agents", "a1", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "damaged" && e.Name() != "kept" {
				t.Errorf("%s still holds %s", name, e.Name())
			}
		}
	}
}

func want(t *testing.T, got qgjob.CompleteRequest, outcome qgjob.Outcome, reason qgjob.Reason) {
	t.Helper()
	if got.Outcome != outcome || got.Reason != reason {
		t.Errorf("the attempt ended %s(%s) %q, want %s(%s)", got.Outcome, got.Reason, got.Message, outcome, reason)
	}
}

func TestRunsAJobAndReportsIt(t *testing.T) {
	r := newRig(t)
	l := r.submit(r.test(t, "tests/a.spec.js", "say hello", "output shot.png picture"), nil)
	r.begin(t)
	got := r.result(t, l)
	want(t, got, qgjob.OutcomePassed, "")
	if got.ExitCode == nil || *got.ExitCode != 0 || got.AgentID != "a1" || len(got.Digest) < 8 || got.Install != qgjob.InstallDone {
		t.Errorf("result %+v", got)
	}
	close(r.drain)
	if err := r.end(t); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(l.log), "hello\n") {
		t.Errorf("log %q", l.log)
	}
	a, ok := l.artifacts["output/shot.png"]
	if !ok || string(r.blobs[a.SHA256]) != "picture" || a.ContentType != "image/png" {
		t.Errorf("artifacts %v", l.artifacts)
	}
	r.workIsEmpty(t)
	if r.told[0].Runner != "exec" || r.told[0].Target != qgjob.TargetEmulator || r.told[0].Version != "test" {
		t.Errorf("registered as %+v", r.told[0])
	}
}

func TestVerdictsOfExec(t *testing.T) {
	const passing = `<testsuite name="s" tests="1" failures="0"><testcase classname="c" name="ok"></testcase></testsuite>`
	const failing = `<testsuite name="s" tests="2" failures="1"><testcase name="ok"/><testcase name="no"><failure message="1 is not 2">x</failure></testcase></testsuite>`
	cases := []struct {
		name    string
		orders  []string
		outcome qgjob.Outcome
		reason  qgjob.Reason
		tests   int
	}{
		{"exit0", []string{"exit 0"}, qgjob.OutcomePassed, "", 0},
		{"exit1", []string{"exit 1"}, qgjob.OutcomeFailed, qgjob.ReasonExit, 0},
		{"exit75", []string{"exit 75"}, qgjob.OutcomeErrored, qgjob.ReasonInfrastructure, 0},
		{"signal", []string{"die"}, qgjob.OutcomeErrored, qgjob.ReasonKilled, 0},
		{"junit", []string{"report r.xml " + passing}, qgjob.OutcomePassed, "", 1},
		{"junits", []string{"report a.xml " + passing, "report b.xml " + passing}, qgjob.OutcomePassed, "", 2},
		{"junit-fails", []string{"report r.xml " + failing, "exit 0"}, qgjob.OutcomeFailed, qgjob.ReasonAssertion, 2},
		{"second-junit-fails", []string{"report a.xml " + passing, "report b.xml " + failing}, qgjob.OutcomeFailed, qgjob.ReasonAssertion, 3},
		{"junit-broken", []string{"report r.xml <testsuite><testcase"}, qgjob.OutcomeErrored, qgjob.ReasonNoReport, 0},
		{"junit-empty", []string{"report r.xml "}, qgjob.OutcomeErrored, qgjob.ReasonNoReport, 0},
	}
	r := newRig(t)
	leases := make([]*fakeLease, len(cases))
	for i, c := range cases {
		leases[i] = r.submit(r.test(t, c.name+".js", c.orders...), nil)
	}
	r.begin(t)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := r.result(t, leases[i])
			want(t, got, c.outcome, c.reason)
			if len(got.Tests) != c.tests {
				t.Errorf("%d tests, want %d", len(got.Tests), c.tests)
			}
		})
	}
}

// TestFault_SecretsStayWithTheAgent: tests see their job and what was allowed
// by name, and their logs hold no access keys.
func TestFault_SecretsStayWithTheAgent(t *testing.T) {
	t.Setenv("QGJOB_TOKEN", "the-agents-secret")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
	t.Setenv("MY_SETTING", "wanted")
	r := newRig(t)
	r.config.PassEnv = []string{"MY_SETTING"}
	job := r.test(t, "tests/env.js", "env")
	job.AppVersionID, job.OrgID = "v 7", "org"
	l := r.submit(job, nil)
	r.begin(t)
	r.result(t, l)
	log := string(l.log)
	for _, text := range []string{"QGJOB_JOB_ID=job_1\n", "QGJOB_TEST_PATH=tests/env.js\n", "QGJOB_APP_VERSION_ID=v 7\n", "QGJOB_AGENT=a1\n",
		"QGJOB_ATTEMPT=1\n", "QGJOB_ORG_ID=org\n", "QGJOB_RUN_ID=run_1\n", "QGJOB_REPORT_DIR=/", "MY_SETTING=wanted\n", "PATH="} {
		if !strings.Contains(log, text) {
			t.Errorf("the test does not see %q", text)
		}
	}
	if strings.Contains(log, "secret") {
		t.Errorf("the test sees a secret:\n%s", log)
	}
}

// TestFault_NoTestFileIsNotAPass: a file that its bundle does not hold ends as
// errored, whatever the program would have said.
func TestFault_NoTestFileIsNotAPass(t *testing.T) {
	r := newRig(t)
	r.config.ExecArgv = []string{"/bin/true"}
	if err := os.WriteFile(filepath.Join(r.dir, "outside.js"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := r.upload(zipOf(t, map[string]string{"there.js": "", "folder.js/x": ""}))
	r.begin(t)
	for _, name := range []string{"missing.js", "folder.js", "../outside.js", "-rf", "--config=evil.js"} {
		l := r.submit(qgjob.Job{TestPath: name, BundleSHA256: sum}, nil)
		got := r.result(t, l)
		want(t, got, qgjob.OutcomeErrored, qgjob.ReasonTestFileMissing)
		if !strings.Contains(got.Message, strings.Trim(name, ".")) {
			t.Errorf("%s: the message %q does not name it", name, got.Message)
		}
	}
	want(t, r.result(t, r.submit(qgjob.Job{TestPath: "there.js", BundleSHA256: sum}, nil)), qgjob.OutcomePassed, "")
}

// TestTestFileOfThePlaywrightRunner is looked for in the agent's own project
// too: links out of it, folders and other names do not count.
func TestTestFileOfThePlaywrightRunner(t *testing.T) {
	r := newRig(t)
	r.config.Runner, r.config.Target, r.config.ExecArgv = "playwright", qgjob.TargetBrowser, nil
	r.test(t, "folder.js/x")
	if err := os.WriteFile(filepath.Join(r.dir, "outside.js"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(r.dir, "outside.js"), filepath.Join(r.config.ProjectDir, "link.js")); err != nil {
		t.Fatal(err)
	}
	r.begin(t)
	for _, name := range []string{"missing.js", "link.js", "folder.js", "../outside.js"} {
		want(t, r.result(t, r.submit(qgjob.Job{TestPath: name}, nil)), qgjob.OutcomeErrored, qgjob.ReasonTestFileMissing)
	}
	// It is there, but the project has no Playwright.
	want(t, r.result(t, r.submit(r.test(t, "a.spec.js"), nil)), qgjob.OutcomeErrored, qgjob.ReasonSetup)
}

// TestExecTestPathMayBeAName: without a bundle it is the program's business
// what its test paths mean.
func TestExecTestPathMayBeAName(t *testing.T) {
	r := newRig(t)
	r.config.ExecArgv = []string{"/usr/bin/printenv", "QGJOB_TEST_PATH"}
	l := r.submit(qgjob.Job{TestPath: "suite/login"}, nil)
	r.begin(t)
	want(t, r.result(t, l), qgjob.OutcomePassed, "")
	if !strings.Contains(string(l.log), "suite/login\n") {
		t.Errorf("log %q", l.log)
	}
}

// TestFault_TestPathIsNoShellText: a path is a path, whatever is in it.
func TestFault_TestPathIsNoShellText(t *testing.T) {
	r := newRig(t)
	proof := filepath.Join(r.dir, "proof")
	job := r.test(t, "a; touch $(dirname "+filepath.Base(proof)+") `touch proof`.js", "say ran as it is")
	l := r.submit(job, nil)
	r.begin(t)
	want(t, r.result(t, l), qgjob.OutcomePassed, "")
	if !strings.Contains(string(l.log), "ran as it is") {
		t.Errorf("log %q", l.log)
	}
	for _, dir := range []string{r.dir, r.config.ProjectDir} {
		if _, err := os.Stat(filepath.Join(dir, "proof")); err == nil {
			t.Error("a shell read the path")
		}
	}
}

func TestJobWithoutBundleWantsAProject(t *testing.T) {
	r := newRig(t)
	r.config.ProjectDir = ""
	l := r.submit(qgjob.Job{TestPath: "a.js"}, nil)
	r.begin(t)
	got := r.result(t, l)
	want(t, got, qgjob.OutcomeErrored, qgjob.ReasonSetup)
	if !strings.Contains(got.Message, "--bundle") {
		t.Errorf("message %q", got.Message)
	}
}

func TestProgramThatIsNotThere(t *testing.T) {
	r := newRig(t)
	r.config.ExecArgv = []string{"./no-such-program"}
	l := r.submit(r.test(t, "a.js"), nil)
	r.begin(t)
	got := r.result(t, l)
	want(t, got, qgjob.OutcomeErrored, qgjob.ReasonSetup)
	if !strings.Contains(got.Message, "no-such-program") {
		t.Errorf("message %q", got.Message)
	}
}

// TestOneInstallForTwelveJobs counts installs as events, for versions with
// and without an uploaded build.
func TestOneInstallForTwelveJobs(t *testing.T) {
	r := newRig(t)
	build := []byte("an app build")
	app := &qgjob.App{OrgID: "qualgent", AppVersionID: "v2", SHA256: r.upload(build), FileName: "shop.apk", Size: int64(len(build))}
	var leases []*fakeLease
	for i := range 12 {
		leases = append(leases, r.submit(r.test(t, fmt.Sprintf("n%d.js", i), "say x"), nil))
	}
	for i := range 12 {
		job := r.test(t, fmt.Sprintf("b%d.js", i), "app")
		job.AppVersionID = "v2"
		leases = append(leases, r.submit(job, app))
	}
	r.begin(t)
	var done, avoided int
	for _, l := range leases {
		got := r.result(t, l)
		want(t, got, qgjob.OutcomePassed, "")
		switch got.Install {
		case qgjob.InstallDone:
			done++
		case qgjob.InstallAvoided:
			avoided++
		}
	}
	if done != 2 || avoided != 22 {
		t.Errorf("%d installs and %d avoided, want 2 and 22", done, avoided)
	}
	if !strings.Contains(string(leases[23].log), "app shop.apk: an app build") {
		t.Errorf("log %q", leases[23].log)
	}
	if n := r.fetches[app.SHA256]; n != 1 {
		t.Errorf("the build was fetched %d times", n)
	}
	last := r.result(t, leases[23])
	if last.Installed == nil || last.Installed.AppVersionID != "v2" || last.Installed.BuildSHA256 != app.SHA256 {
		t.Errorf("the device holds %+v", last.Installed)
	}
}

func TestFailingInstallIsInfrastructure(t *testing.T) {
	r := newRig(t)
	app := &qgjob.App{AppVersionID: "v1", SHA256: qgjob.Sum(strings.Repeat("0", 64)), FileName: "gone.apk"}
	l := r.submit(r.test(t, "a.js"), app)
	r.begin(t)
	got := r.result(t, l)
	want(t, got, qgjob.OutcomeErrored, qgjob.ReasonInstall)
	if got.Install != qgjob.InstallFailed || got.TestMS != 0 {
		t.Errorf("result %+v", got)
	}
}

// TestNextJobComesWithTheAnswer: between two jobs there is no claim of its own.
func TestNextJobComesWithTheAnswer(t *testing.T) {
	r := newRig(t)
	var leases []*fakeLease
	for i := range 5 {
		leases = append(leases, r.submit(r.test(t, fmt.Sprintf("%d.js", i), "exit 0"), nil))
	}
	r.begin(t)
	for _, l := range leases {
		r.result(t, l)
	}
	r.until(t, "an idle claim", func() bool { return r.countLocked("POST /v1/agents/a1/claim 200") >= 1 && len(r.claims) >= 2 })
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, l := range leases[:4] {
		if l.results[0].Next == nil || l.results[0].Next.Max != briefBatch {
			t.Errorf("result %d of a short job does not ask for several more", i)
		}
	}
	if n := len(r.claims); n > 3 {
		t.Errorf("%d claims for 5 jobs that waited", n)
	}
	ids := map[string]bool{}
	for _, c := range r.claims {
		if len(c.ClaimID) < 8 || ids[c.ClaimID] {
			t.Errorf("claim id %q is short or used twice", c.ClaimID)
		}
		ids[c.ClaimID] = true
	}
}

func TestSeveralSlots(t *testing.T) {
	r := newRig(t)
	r.config.Slots = 3
	var leases []*fakeLease
	var pipes []string
	for i := range 3 {
		pipe := r.pipe(t)
		pipes = append(pipes, pipe)
		leases = append(leases, r.submit(r.test(t, fmt.Sprintf("%d.js", i), "await "+pipe), nil))
	}
	r.begin(t)
	for _, l := range leases {
		r.logHas(t, l, "waits") // all three at once
	}
	for _, pipe := range pipes {
		release(t, pipe)
	}
	var agents []string
	for _, l := range leases {
		got := r.result(t, l)
		want(t, got, qgjob.OutcomePassed, "")
		agents = append(agents, string(got.AgentID))
	}
	slices.Sort(agents)
	if !slices.Equal(agents, []string{"a1-1", "a1-2", "a1-3"}) {
		t.Errorf("ran on %v", agents)
	}
}

func TestCheckNamesTheFlag(t *testing.T) {
	good := newRig(t).config
	cases := []struct {
		field  string
		change func(*Config)
	}{
		{"server", func(c *Config) { c.Server = nil }},
		{"name", func(c *Config) { c.Name = "" }},
		{"name", func(c *Config) { c.Name = strings.Repeat("n", 127); c.Slots = 2 }},
		{"slots", func(c *Config) { c.Slots = 65 }},
		{"target", func(c *Config) { c.Target = "toaster" }},
		{"target", func(c *Config) { c.Runner = "playwright" }},
		{"runner", func(c *Config) { c.Runner = "mystery" }},
		{"runner", func(c *Config) { c.ExecArgv = nil }},
		{"state-dir", func(c *Config) { c.StateDir = "" }},
		{"env", func(c *Config) { c.PassEnv = []string{"QGJOB_TOKEN"} }},
		{"config", func(c *Config) { c.PlaywrightConfig = "../evil.js" }},
		{"labels", func(c *Config) { c.Labels = map[string]string{"a=b": "c"} }},
	}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		bad := good
		c.change(&bad)
		err := bad.Check()
		e, ok := errors.AsType[*qgjob.Error](err)
		if !ok || e.Kind != qgjob.KindInvalid || !strings.HasPrefix(e.Field, c.field) {
			t.Errorf("%s: %v", c.field, err)
		}
		if Run(context.Background(), bad) == nil {
			t.Errorf("%s: Run took it", c.field)
		}
	}
}
