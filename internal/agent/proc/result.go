package proc

import (
	"fmt"
	"time"
)

// End is how a test came to its end.
type End int

const (
	// NotStarted means that nothing ran; Result.Err says why and what to do.
	NotStarted End = iota
	// Exited by itself with Result.ExitCode.
	Exited
	// Signalled means that it died by a signal that was not ours (a crash, the OOM killer, a person): infrastructure, not a verdict.
	Signalled
	// Stopped means that it was ended by us, or was cancelled before it started. Never a pass, whatever its exit code says.
	Stopped
)

// String gives the word used in logs and events.
func (e End) String() string {
	switch e {
	case NotStarted:
		return "not started"
	case Exited:
		return "exited"
	case Signalled:
		return "signalled"
	case Stopped:
		return "stopped"
	}
	return fmt.Sprintf("end(%d)", int(e))
}

// Result is how a test ended. Look at End first.
type Result struct {
	End End
	// ExitCode of the main process; -1 when it did not exit by itself. After a cancel (End Stopped) it is what the
	// program answered to SIGINT, often 130 and sometimes 0: it is no verdict.
	ExitCode int
	// Signal that ended the main process, such as "SIGSEGV"; empty when it exited.
	Signal string
	// OursSignal: Cancel or Kill reached the test before it ended.
	OursSignal bool
	// Cause given to Cancel, or of the context of Run.
	Cause error
	// Started and Ended are when the main process started and when the last of its tree and output was gone.
	Started, Ended time.Time
	// Isolated is the isolation obtained: IsolationPIDNamespace or IsolationProcessGroup.
	Isolated Isolation
	// Warning is not empty when Command asked for IsolationAuto and the machine refused a PID namespace.
	Warning string
	// OutputErr is the first error of Stdout or Stderr, or says that output was cut off; the verdict stands without it.
	OutputErr error
	// Err says why nothing was started, or why the end of a started test could not be learnt.
	Err error
}

// Passed is true only for a test that ended by itself with code 0.
func (r Result) Passed() bool { return r.End == Exited && r.ExitCode == 0 && r.Err == nil }

// String says in a few words how the test ended, for logs and reasons.
func (r Result) String() string {
	switch r.End {
	case Exited:
		return fmt.Sprintf("exited with code %d", r.ExitCode)
	case Signalled:
		if r.Err != nil {
			return fmt.Sprintf("died by %s, not sent by the agent: %v", r.Signal, r.Err)
		}
		return fmt.Sprintf("died by %s, not sent by the agent", r.Signal)
	case Stopped:
		return r.stopped()
	}
	return fmt.Sprintf("not started: %v", r.Err)
}

func (r Result) stopped() string {
	why := ""
	if r.Cause != nil {
		why = fmt.Sprintf(" (%v)", r.Cause)
	}
	switch {
	case !r.OursSignal:
		return "stopped before it started" + why
	case r.Signal != "":
		return "stopped by " + r.Signal + why
	}
	return fmt.Sprintf("stopped, exit code %d%s", r.ExitCode, why)
}

// ending is what a tree reports: a signal number, or 0 and an exit code.
type ending struct {
	code   int
	signal int
	err    error // set when the report itself is missing
}
