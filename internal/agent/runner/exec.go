package runner

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/proc"
	"github.com/qualgent/qgjob/internal/report"
)

// Exec runs one given program for every job. The program learns of the job by
// its environment; nothing is appended to its arguments.
type Exec struct {
	Argv []string
}

// maxJUnitFiles bounds the JUnit files read of one attempt.
const maxJUnitFiles = 100

// Name is "exec".
func (Exec) Name() string { return "exec" }

// Command is the program as given, in the project's folder.
func (x Exec) Command(t Task) (proc.Command, error) {
	return proc.Command{
		Argv:  slices.Clone(x.Argv),
		Dir:   t.Project,
		Env:   slices.Concat(t.Env, jobEnv(t)),
		Grace: t.Grace,
	}, nil
}

// Judge takes the exit code and, where the program left JUnit files at the top
// of its report dir, the tests in them.
func (Exec) Judge(t Task, e Ending) Result {
	evidence := e.evidence(t)
	evidence.Report, evidence.ReportErr = readJUnit(t)
	return conclude(evidence)
}

// readJUnit reads every .xml file at the top of the report dir as one report.
// Without a file there is no report, and no error.
func readJUnit(t Task) (*report.Report, error) {
	root, err := os.OpenRoot(t.Report)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var all *report.Report
	files := 0
	for _, e := range entries {
		if e.IsDir() || !strings.EqualFold(path.Ext(e.Name()), ".xml") {
			continue
		}
		if files++; files > maxJUnitFiles {
			return nil, fmt.Errorf("the report dir holds more than %d JUnit files", maxJUnitFiles)
		}
		text, err := readReport(t.Report, e.Name())
		if err != nil {
			return nil, err
		}
		r, err := report.ParseJUnit(text, report.Limits{Project: t.Project})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		if all = merge(all, r); len(all.Tests) > qgjob.MaxTestsPerReport {
			return nil, fmt.Errorf("the JUnit files hold more than %d tests", qgjob.MaxTestsPerReport)
		}
	}
	return all, nil
}

func merge(all *report.Report, r report.Report) *report.Report {
	if all == nil {
		return &r
	}
	for _, a := range r.Attachments {
		a.Test += len(all.Tests)
		all.Attachments = append(all.Attachments, a)
	}
	all.Tests = append(all.Tests, r.Tests...)
	all.Errors = append(all.Errors, r.Errors...)
	all.Interrupted += r.Interrupted
	all.NotRun += r.NotRun
	all.DurationMS += r.DurationMS
	return all
}
