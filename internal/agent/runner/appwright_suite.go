package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/appium"
	"github.com/qualgent/qgjob/internal/agent/proc"
	"github.com/qualgent/qgjob/internal/report"
)

// Suite is what a project says of itself when it is listed, before any test
// runs.
type Suite struct {
	Config        string // the configuration file, relative to the project
	Project       string // the Playwright project to run
	TestTimeoutMS int64  // of that project's tests; 0 is none
	Hooked        bool   // the hook fits; else stock mode
	Warning       string // why not, when the mode left the choice to us
}

// listTime bounds listing a project's tests; it takes a second.
const listTime = 2 * time.Minute

// minNode is the oldest major version of Node.js that AppWright's own
// package.json and Appium 2 agree on and that still gets fixes.
const minNode = 18

// Probe looks at a project with the job's test file in it, by listing that
// file's tests (all tests, when testPath is empty) under the hook. work is an
// empty folder for its own files. Its error is a *qgjob.Error with cause and remedy.
func (a Appwright) Probe(ctx context.Context, project, testPath, work string, env []string, warn func(string)) (Suite, error) {
	config, err := Inspect(project, a.Config)
	if err != nil {
		return Suite{}, err
	}
	if err := checkNode(ctx, project, env, warn); err != nil {
		return Suite{}, err
	}
	suite, hs, err := a.list(ctx, project, testPath, config, work, env, a.Mode != ModeStock, warn)
	if ctx.Err() != nil {
		return suite, context.Cause(ctx)
	}
	if a.Mode == ModeStock {
		return suite, err
	}
	why := hs.misfit(a.Cloud)
	switch {
	case why == "":
		suite.Hooked = true
		return suite, err
	case err != nil && !hs.tried():
		return suite, err // AppWright was not even loaded: the configuration's own trouble
	case a.Mode == ModeHook:
		return suite, wrong(why, "run the agent with --appwright-mode=stock")
	}
	suite, _, err = a.list(ctx, project, testPath, config, work, env, false, warn)
	suite.Warning = why + "; this job runs in stock mode: AppWright installs the app for every test"
	if a.Cloud {
		suite.Warning = why + "; this job runs without it: AppWright uploads by itself, and the links of its sessions are not known"
	}
	return suite, err
}

// tried tells a hook that met AppWright from one that did not.
func (h handshake) tried() bool { return len(h) > 0 }

func checkNode(ctx context.Context, project string, env []string, warn func(string)) error {
	var out bytes.Buffer
	res := proc.Run(ctx, proc.Command{Argv: []string{"node", "--version"}, Dir: project, Env: env, Stdout: &out, Warn: warn})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	const remedy = "install Node.js 20 or newer and put it in the agent's PATH"
	if !res.Passed() {
		return wrong("node cannot be run: "+res.String(), remedy)
	}
	version := strings.TrimSpace(out.String())
	major, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < minNode {
		return wrong("node "+version+" is too old for AppWright", remedy)
	}
	return nil
}

// listing is what is read of Playwright's JSON report.
type listing struct {
	Config *struct {
		Projects []struct {
			Name    string `json:"name"`
			Timeout int64  `json:"timeout"`
		} `json:"projects"`
	} `json:"config"`
	Errors []struct {
		Message string `json:"message"`
	} `json:"errors"`
}

func (a Appwright) list(ctx context.Context, project, testPath, config, work string, env []string, hooked bool, warn func(string)) (Suite, handshake, error) {
	suite := Suite{Config: config}
	if err := os.MkdirAll(work, 0o700); err != nil {
		return suite, nil, err
	}
	dir, err := os.MkdirTemp(work, "list-")
	if err != nil {
		return suite, nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the attempt's folder goes with all that is in it
	env = slices.Concat(env, []string{"PLAYWRIGHT_JSON_OUTPUT_NAME=" + filepath.Join(dir, resultsJSON), "CI=true", "FORCE_COLOR=0"})
	if hooked {
		d := Drive{Work: dir, Server: appium.Running{}}
		if a.Cloud {
			d.Cloud = &Cloud{}
		}
		if env, err = hookEnv(dir, env, d.hook(qgjob.DefaultReset)); err != nil {
			return suite, nil, err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, listTime, fmt.Errorf("listing the tests took longer than %s", listTime))
	defer cancel()
	out := &last{limit: 4 << 10}
	argv := []string{"node", filepath.FromSlash(playwrightCLI), "test"}
	if testPath != "" {
		argv = append(argv, fileArgument(project, testPath))
	}
	res := proc.Run(ctx, proc.Command{
		Argv: append(argv, "--list", "--reporter", "json", "--config", config),
		Dir:  project, Env: env, Stdout: out, Stderr: out, Grace: 3 * time.Second, Warn: warn,
	})
	hs := readHandshake(dir)
	text, err := readReport(dir, resultsJSON)
	var l listing
	if err != nil || text == nil || json.Unmarshal(text, &l) != nil || l.Config == nil {
		return suite, hs, wrong("the configuration "+config+" cannot be loaded: "+firstWords(l, out, res), "run npx playwright test --list --config "+config+" in the project")
	}
	err = a.choose(&suite, l)
	return suite, hs, err
}

// choose names the Playwright project to run.
func (a Appwright) choose(suite *Suite, l listing) error {
	var names []string
	for _, p := range l.Config.Projects {
		names = append(names, strconv.Quote(p.Name))
		if p.Name == a.Project || a.Project == "" && len(l.Config.Projects) == 1 {
			suite.Project, suite.TestTimeoutMS = p.Name, p.Timeout
		}
	}
	switch {
	case suite.Project != "":
		return nil
	case len(names) == 1 && a.Project == "":
		return wrong("the project in "+suite.Config+" has no name, which AppWright asks for", `give it one, such as name: "android"`)
	case a.Project == "":
		return wrong(fmt.Sprintf("%s has %d projects: %s", suite.Config, len(names), strings.Join(names, ", ")), "choose one by --appwright-project")
	}
	return wrong(fmt.Sprintf("%s has no project %q, but %s", suite.Config, a.Project, strings.Join(names, ", ")), "choose one of them by --appwright-project")
}

// firstWords gives a line of what went wrong.
func firstWords(l listing, out *last, res proc.Result) string {
	if len(l.Errors) > 0 {
		return firstLineOf(l.Errors[0].Message)
	}
	if line := firstLineOf(string(out.text)); line != "" {
		return line
	}
	return res.String()
}

func firstLineOf(text string) string {
	for line := range strings.Lines(report.Clean(text)) {
		if line = strings.TrimSpace(line); line != "" {
			return line[:min(len(line), 500)]
		}
	}
	return ""
}

// last keeps the end of what is written to it.
type last struct {
	limit int
	text  []byte
}

// Write never fails.
func (l *last) Write(p []byte) (int, error) {
	l.text = append(l.text, p...)
	if over := len(l.text) - l.limit; over > 0 {
		l.text = append([]byte(nil), l.text[over:]...)
	}
	return len(p), nil
}
