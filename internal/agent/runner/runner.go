// Package runner runs a test framework: it turns a job into a command without
// a shell, and what the command left behind into a verdict.
//
// It imports the root package, internal/report and the agent's proc.
package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/proc"
	"github.com/qualgent/qgjob/internal/report"
)

// Task is one attempt, ready to run: its test file and its app are there.
type Task struct {
	Job     qgjob.Job
	Number  int // of the attempt, from 1
	Agent   qgjob.AgentID
	Project string        // the test project's folder: absolute, without symbolic links
	Report  string        // absolute and empty: the runner's reports
	Output  string        // absolute and empty: screenshots, traces, videos
	Env     []string      // what the test may see of the agent's environment, and what the device adds
	Serves  []string      // "host:port" that the agent serves to the test
	Timeout time.Duration // of the command
	Grace   time.Duration // between SIGINT and SIGKILL
	Phone   *Phone        // the Android device that the test runs on; nil on other devices
	Drive   *Drive        // of the appwright runner; nil for others
}

// Phone is what a driver such as Appium must be told of an Android device. The
// job's build is installed there and, as the job wants it, cleared.
type Phone struct {
	Serial     string // at its adb server
	ServerPort string // of the adb server, on loopback (ANDROID_ADB_SERVER_PORT)
	Package    string // of the installed build; empty when the job brings none
	Activity   string // that a launcher would start; empty when there is none
	App        string // the build's file, named .apk; empty when the job brings none
	PortBase   int    // the first of 8 ports in a row that are this device's alone
}

// Ending is how the command of a task came to its end.
type Ending struct {
	Result    proc.Result
	TimedOut  bool // the agent stopped it because its time was over
	Cancelled bool // the agent stopped it because the job was cancelled
	Returned  bool // the agent stopped it because it was told to leave
}

// Result is what an attempt says of its job.
type Result struct {
	report.Verdict
	Tests       []qgjob.TestResult
	Reinstalled bool                // the framework put the app on the device itself: what it holds now is not known
	Attachments []report.Attachment // files that the tests left, by their index in Tests
}

// Runner drives one test framework.
type Runner interface {
	// Name is the word that chooses it.
	Name() string
	// Command is what to run for the task. Its error is a *qgjob.Error that
	// says what the project lacks.
	Command(t Task) (proc.Command, error)
	// Judge reads what the command left.
	Judge(t Task, e Ending) Result
}

// evidence is what is known of an ending without any report.
func (e Ending) evidence(t Task) report.Evidence {
	out := report.Evidence{ExitCode: e.Result.ExitCode, Signal: e.Result.Signal, Err: e.Result.Err, Timeout: t.Timeout, Serves: t.Serves}
	switch {
	case e.Result.End == proc.NotStarted:
		out.Ended = report.EndNotStarted
	case e.Result.End == proc.Signalled:
		out.Ended = report.EndSignalled
	case e.Result.End == proc.Exited && e.Result.Err == nil:
		out.Ended = report.EndExited
	case e.Result.End == proc.Stopped && e.TimedOut:
		out.Ended = report.EndTimeout
	case e.Result.End == proc.Stopped && e.Cancelled:
		out.Ended = report.EndCancelled
	case e.Result.End == proc.Stopped && e.Returned:
		out.Ended = report.EndReturned
	}
	return out
}

// conclude judges the evidence and keeps the tests that it rests on.
func conclude(e report.Evidence) Result {
	out := Result{Verdict: report.Judge(e)}
	if e.Report != nil {
		out.Tests, out.Attachments = e.Report.Tests, e.Report.Attachments
	}
	return out
}

// maxReport bounds a report file, in bytes.
const maxReport = 64 << 20

// readReport reads a report that a test wrote: a regular file inside dir of a
// bounded size. A file that is not there gives nil without an error.
func readReport(dir, name string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	st, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("the report %s is no file", name)
	case st.Size() > maxReport:
		return nil, fmt.Errorf("the report %s has %d bytes; allowed: %d", name, st.Size(), maxReport)
	}
	return root.ReadFile(name)
}

// jobEnv is what every test is told of itself.
func jobEnv(t Task) []string {
	return []string{
		"QGJOB_JOB_ID=" + t.Job.JobID.String(),
		"QGJOB_RUN_ID=" + t.Job.RunID.String(),
		"QGJOB_ORG_ID=" + string(t.Job.OrgID),
		"QGJOB_TEST_PATH=" + t.Job.TestPath,
		"QGJOB_APP_VERSION_ID=" + string(t.Job.AppVersionID),
		"QGJOB_AGENT=" + string(t.Agent),
		"QGJOB_ATTEMPT=" + strconv.Itoa(t.Number),
		"QGJOB_REPORT_DIR=" + t.Report,
		"QGJOB_OUTPUT_DIR=" + t.Output,
	}
}
