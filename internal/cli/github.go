package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
	"github.com/qualgent/qgjob/internal/report"
)

// Bounds on what is asked of the server once the verdict is known.
const (
	maxDetailed   = 300 // jobs whose attempts are fetched: more find no room in a summary
	detailsAtOnce = 8
	detailsWithin = 30 * time.Second
)

// githubJob tells a job of GitHub Actions how a submit ended: annotations on the log, a summary, outputs. Nothing that goes wrong here changes the
// verdict.
type githubJob struct {
	*app
	project string // the test project's folder
	junit   string // the file that was asked for
	flaky   bool   // --fail-on-flaky

	run    qgjob.RunID // 0 until it is known
	waited bool
	wrote  bool // the outputs are written
}

// githubJob is nil off GitHub.
func (a *app) githubJob(o *submitOptions) *githubJob {
	if !o.github {
		return nil
	}
	project := a.dir
	if o.bundle != "" {
		project = a.path(o.bundle)
	}
	return &githubJob{app: a, project: project, junit: o.waits.junit, flaky: o.waits.failOnFlaky}
}

// submitted notes the run.
func (g *githubJob) submitted(run qgjob.RunID, waits bool) {
	if g != nil {
		g.run, g.waited = run, waits
	}
}

// ended reports how the wait ended.
func (g *githubJob) ended(ctx context.Context, c *client.Client, end ending) {
	if g == nil {
		return
	}
	r := end.result
	jobs := make([]report.JobReport, 0, len(r.Jobs))
	for _, j := range r.ranked() {
		jobs = append(jobs, report.JobReport{Job: j})
	}
	if end.how == ended && !end.cancelled { // whoever was interrupted has no time to look closer
		g.details(ctx, c, jobs)
	}
	note := ""
	switch end.how {
	case outOfTime:
		note = fmt.Sprintf("Not finished in time: --wait-timeout ran out. The run goes on; qgjob wait %v waits for it again.", g.run)
	case leftCancelled, leftRunning:
		note = "This job was cancelled; the run is being cancelled too."
	}
	list, left := report.Annotate(jobs, g.fromRoot())
	if note == "" {
		note = r.stopped(end.how)
	}
	for _, an := range list {
		g.command(an.Command())
	}
	if left > 0 {
		g.note("%s left out: GitHub shows %d of a kind; the summary has them all", count(left, "annotation"), report.MaxAnnotations)
	}
	run := qgjob.Run{RunID: g.run, Installs: r.Installs, InstallsAvoided: r.InstallsAvoided, InstallMS: r.InstallMS}
	if r.took > 0 && r.ended() {
		finished := time.Time{}.Add(r.took)
		run.FinishedAt = &finished
	}
	g.summary(run, jobs, report.SummaryOptions{Server: c.Base(), Note: note})
	g.outputs(conclusionOf(end, g.flaky), r)
}

// conclusionOf is the word of the output conclusion: passed is said only of what is green.
func conclusionOf(end ending, failOnFlaky bool) string {
	switch {
	case end.how == outOfTime:
		return "timed_out"
	case end.how == failedFast:
		return string(qgjob.ConclusionFailed)
	case end.how != ended || end.cancelled:
		return string(qgjob.ConclusionCancelled)
	case failOnFlaky && end.result.Conclusion == qgjob.ConclusionPassed && end.result.Flaky > 0:
		return "flaky"
	}
	return string(end.result.Conclusion)
}

// finish says what is left to say when a submit has come to its end: an error that no summary told of, and outputs in every case.
func (g *githubJob) finish(err error) {
	if g == nil || g.wrote {
		return
	}
	conclusion := "unknown"
	switch code := exitCode(err); {
	case err == nil && !g.waited:
		conclusion = "submitted"
	case code == exitInterrupted:
		conclusion = string(qgjob.ConclusionCancelled)
	default:
		g.command(report.Annotation{Level: report.LevelError, Title: "qgjob: no verdict", Message: err.Error()}.Command())
	}
	g.outputs(conclusion, result{})
}

// details fetches the attempts of the jobs that did not plainly pass, the most urgent first.
func (g *githubJob) details(ctx context.Context, c *client.Client, jobs []report.JobReport) {
	ctx, stop := context.WithTimeout(ctx, detailsWithin)
	defer stop()
	var wanted []*report.JobReport
	for i := range jobs {
		if j := jobs[i].Job; (j.Status != qgjob.Passed || j.Flaky) && j.Attempts > 0 && len(wanted) < maxDetailed {
			wanted = append(wanted, &jobs[i])
		}
	}
	var failed error
	var mu sync.Mutex
	var group sync.WaitGroup
	slots := make(chan struct{}, detailsAtOnce)
	for _, j := range wanted {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			attempts, err := c.Attempts(ctx, j.Job.JobID)
			if err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
				return
			}
			j.Attempts = attempts
		})
	}
	group.Wait()
	if failed != nil {
		g.note("the summary lacks details: %s", short(failed))
	}
}

// fromRoot is the test project's folder, relative to the root of its repository: of the git repository around it, else of the workspace.
func (g *githubJob) fromRoot() string {
	project, err := filepath.EvalSymlinks(g.project)
	if err != nil {
		return ""
	}
	root := ""
	for at := project; ; at = filepath.Dir(at) {
		if isGitRoot(at) {
			root = at
			break
		}
		if filepath.Dir(at) == at {
			break
		}
	}
	if root == "" {
		if root, err = filepath.EvalSymlinks(g.env["GITHUB_WORKSPACE"]); err != nil {
			return ""
		}
	}
	rel, err := filepath.Rel(root, project)
	if err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	return filepath.ToSlash(rel)
}

// summary adds the run to the step's summary.
func (g *githubJob) summary(run qgjob.Run, jobs []report.JobReport, o report.SummaryOptions) {
	g.append("GITHUB_STEP_SUMMARY", func(w io.Writer, taken int64) error {
		o.Taken = int(min(taken, report.MaxSummary))
		return report.WriteSummary(w, run, jobs, o)
	})
}

// outputs hands the figures to the steps that follow.
func (g *githubJob) outputs(conclusion string, r result) {
	g.wrote = true
	run, junit := "", ""
	if g.run != 0 {
		run = g.run.String()
	}
	if g.junit != "" && g.junit != "-" {
		if _, err := os.Stat(g.path(g.junit)); err == nil {
			junit = g.junit
		}
	}
	text, err := report.FormatOutputs(rand.Text(), []report.Output{
		{Name: "run-id", Value: run}, {Name: "conclusion", Value: conclusion},
		{Name: "passed", Value: strconv.Itoa(r.Passed)}, {Name: "failed", Value: strconv.Itoa(r.Failed)}, {Name: "flaky", Value: strconv.Itoa(r.Flaky)},
		{Name: "errored", Value: strconv.Itoa(r.Errored)}, {Name: "cancelled", Value: strconv.Itoa(r.Cancelled)}, {Name: "junit", Value: junit},
	})
	if err != nil {
		g.note("no outputs: %v", err)
		return
	}
	g.append("GITHUB_OUTPUT", func(w io.Writer, _ int64) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

// append adds to a file that the runner named; taken is its size.
func (g *githubJob) append(variable string, write func(w io.Writer, taken int64) error) {
	name := g.env[variable]
	if strings.TrimSpace(name) == "" {
		return
	}
	if err := appendTo(name, write); err != nil {
		g.note("%s was not written: %v", variable, err)
	}
}

func appendTo(name string, write func(w io.Writer, taken int64) error) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		err = write(f, info.Size())
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
