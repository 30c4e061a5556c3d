package runner

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/proc"
	"github.com/qualgent/qgjob/internal/report"
)

// Playwright runs one test file with Playwright Test, as it is installed in
// the project.
type Playwright struct {
	Config string // the configuration file, relative to the project; empty for Playwright's own choice
}

const (
	playwrightCLI = "node_modules/@playwright/test/cli.js"
	resultsJSON   = "results.json"
	resultsJUnit  = "results.xml"
	// backstop is how much later than the agent Playwright ends a run itself:
	// the agent's SIGINT makes it write its report, its own limit would hide
	// the timeout among other errors.
	backstop = 30 * time.Second
)

// Name is "playwright".
func (Playwright) Name() string { return "playwright" }

// Command runs exactly the job's file with one worker and without retries of
// its own. The limits of single tests are the project's.
func (p Playwright) Command(t Task) (proc.Command, error) {
	if err := installed(t.Project); err != nil {
		return proc.Command{}, err
	}
	argv := []string{
		"node", filepath.FromSlash(playwrightCLI), "test", fileArgument(t.Project, t.Job.TestPath),
		"--workers", "1", "--retries", "0",
		"--global-timeout", strconv.FormatInt((t.Timeout + t.Grace + backstop).Milliseconds(), 10),
		"--output", t.Output,
		"--reporter", "list,json,junit",
	}
	if p.Config != "" {
		argv = append(argv, "--config", p.Config)
	}
	env := slices.Concat(t.Env, jobEnv(t), []string{
		"PLAYWRIGHT_JSON_OUTPUT_NAME=" + filepath.Join(t.Report, resultsJSON),
		"PLAYWRIGHT_JUNIT_OUTPUT_NAME=" + filepath.Join(t.Report, resultsJUnit),
		"PLAYWRIGHT_HTML_OPEN=never",
		"CI=true",
		"FORCE_COLOR=0",
	})
	return proc.Command{Argv: argv, Dir: t.Project, Env: env, Grace: t.Grace}, nil
}

// installed tells whether the project can run Playwright at all. The packages
// may be a link to those of another bundle with the same lock file.
func installed(project string) error {
	st, err := os.Stat(filepath.Join(project, filepath.FromSlash(playwrightCLI)))
	if errors.Is(err, fs.ErrNotExist) {
		return missing(project)
	}
	if err == nil && !st.Mode().IsRegular() {
		return missing(project)
	}
	return err
}

// fileArgument is the regular expression that matches one file only. A bare
// argument would match anywhere in the path, and in either case; one between
// slashes is taken as it is (playwright: forceRegExp).
func fileArgument(project, testPath string) string {
	quoted := regexp.QuoteMeta(filepath.ToSlash(project) + "/" + testPath)
	if runtime.GOOS == "windows" {
		quoted = strings.ReplaceAll(quoted, "/", `[\\/]`)
	}
	return "/^" + quoted + "$/"
}

// Judge takes Playwright's JSON report; without one there is no verdict. That
// the tests are those of the job's file follows from fileArgument: Playwright
// itself reports "No tests found" when nothing matches. Their names may still
// show other files, for a test stands where test() was called, and a project
// may depend on another one.
func (Playwright) Judge(t Task, e Ending) Result {
	evidence := e.evidence(t)
	evidence.ReportExpected = true
	text, err := readReport(t.Report, resultsJSON)
	switch {
	case err != nil:
		evidence.ReportErr = err
	case text != nil:
		r, err := report.ParsePlaywright(text, report.Limits{Project: filepath.ToSlash(t.Project)})
		if err != nil {
			evidence.ReportErr = err
		} else {
			evidence.Report = &r
		}
	}
	return conclude(evidence)
}

var errNoPlaywright = errors.New("@playwright/test is not installed")

func missing(project string) error {
	return &qgjob.Error{Kind: qgjob.KindInvalid, Message: "the test project has no node_modules/@playwright/test",
		Hint: "run npm ci in " + project + ", or submit the project as a bundle with its package-lock.json", Err: errNoPlaywright}
}
