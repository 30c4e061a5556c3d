package cli

import (
	"strings"

	"github.com/qualgent/qgjob"
	"github.com/spf13/cobra"
)

// subject is the job or the run that a command is about: exactly one is set.
type subject struct {
	job qgjob.JobID
	run qgjob.RunID
}

// subjectFlags are the ways to name it: --job-id, --run-id, or the bare id.
type subjectFlags struct{ job, run string }

func (s *subjectFlags) add(a *app, cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.job, "job-id", "", "the job, such as job_1")
	cmd.Flags().StringVar(&s.run, "run-id", "", "the run, such as run_1")
	cmd.ValidArgsFunction = a.completeSubject
	must(cmd.RegisterFlagCompletionFunc("job-id", a.completeJobs))
	must(cmd.RegisterFlagCompletionFunc("run-id", a.completeRuns))
}

// parse reads the one id that was given.
func (s *subjectFlags) parse(args []string) (subject, error) {
	given := append([]string{}, args...)
	for _, id := range []string{s.job, s.run} {
		if id != "" {
			given = append(given, id)
		}
	}
	if len(given) != 1 {
		why := "name one job or run, such as job_1, --job-id=job_1 or --run-id=run_1"
		if len(given) > 1 {
			why = "name only one job or run; given: " + strings.Join(given, ", ")
		}
		return subject{}, &qgjob.Error{Kind: qgjob.KindInvalid, Message: why}
	}
	id := given[0]
	if s.run != "" || (s.job == "" && strings.HasPrefix(id, "run_")) {
		run, err := qgjob.ParseRunID(id)
		return subject{run: run}, err
	}
	job, err := qgjob.ParseJobID(id)
	if err != nil && s.job == "" {
		return subject{}, &qgjob.Error{Kind: qgjob.KindInvalid, Message: "\"" + fit(id, 64) + "\" is neither a job such as job_1 nor a run such as run_1"}
	}
	return subject{job: job}, err
}

func (s subject) String() string {
	if s.run != 0 {
		return s.run.String()
	}
	return s.job.String()
}

// must is for mistakes of the program, not of its user.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
