package server

import (
	"bufio"
	"context"
	"io"
	"net/http"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/report"
)

// reportPolicy is what the report page needs, and no more: its own styles and
// the pictures in it. Nothing of it may run.
const reportPolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// resultRoutes are a run's results in other people's formats.
func (s *Server) resultRoutes() []route {
	return []route{
		{Method: http.MethodGet, Pattern: "/v1/runs/{run_id}/junit", Scope: scopeRead, Owner: ownerRun, Handler: s.runJUnit, Stream: true,
			ID: "run-junit", Summary: "A run's results as JUnit XML", Answers: "application/xml"},
		{Method: http.MethodGet, Pattern: "/v1/runs/{run_id}/report", Scope: scopeRead, Owner: ownerRun, Handler: s.runReport, Stream: true,
			ID: "run-report", Summary: "A run's results as one self-contained web page", Answers: "text/html"},
	}
}

func (s *Server) runJUnit(w http.ResponseWriter, r *http.Request) {
	s.writeResult(w, r, report.WriteJUnit, "application/xml; charset=utf-8", sandboxed)
}

func (s *Server) runReport(w http.ResponseWriter, r *http.Request) {
	write := func(w io.Writer, run qgjob.Run, jobs []report.JobReport) error {
		return report.WriteHTML(w, run, jobs, s.picture)
	}
	s.writeResult(w, r, write, "text/html; charset=utf-8", reportPolicy)
}

// picture reads a picture for the page. One that cannot be read costs the page
// a picture, not the run its report.
func (s *Server) picture(a qgjob.Artifact) []byte {
	file, size, err := s.Blobs.Open(a.SHA256)
	if err != nil {
		s.Log.Warn("a picture is not in the report", "lease", a.LeaseID, "name", a.Name, "error", err)
		return nil
	}
	defer file.Close()
	if size > report.MaxPicture {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(file, report.MaxPicture))
	if err != nil {
		s.Log.Warn("a picture is not in the report", "lease", a.LeaseID, "name", a.Name, "error", err)
		return nil
	}
	return data
}

// writeResult gathers a run with all its jobs and has it written. What cannot
// be read is an error before the first byte: a report never leaves out a job.
func (s *Server) writeResult(w http.ResponseWriter, r *http.Request, write func(io.Writer, qgjob.Run, []report.JobReport) error, kind, policy string) {
	id, err := qgjob.ParseRunID(r.PathValue("run_id"))
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
	run, jobs, err := s.jobReports(r.Context(), id)
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	out := bufio.NewWriterSize(&patientWriter{w, http.NewResponseController(w)}, writePiece)
	err = write(out, run, jobs)
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		// Cut the connection: half a report must not look like a whole one.
		panic(http.ErrAbortHandler)
	}
}

// jobReports reads a run's jobs, a page at a time, each with its attempts. The
// run is read last, so that it is never older than what its jobs show.
func (s *Server) jobReports(ctx context.Context, id qgjob.RunID) (qgjob.Run, []report.JobReport, error) {
	run, err := s.Store.Run(ctx, id)
	if err != nil {
		return run, nil, err
	}
	jobs := make([]report.JobReport, 0, run.Tally.Total)
	filter := qgjob.JobFilter{RunID: id, Limit: qgjob.MaxPage}
	for {
		page, err := s.Store.Jobs(ctx, filter)
		if err != nil {
			return run, nil, err
		}
		for _, job := range page {
			attempts, err := s.Store.Attempts(ctx, job.JobID)
			if err != nil {
				return run, nil, err
			}
			jobs = append(jobs, report.JobReport{Job: job, Attempts: attempts})
		}
		if len(page) < filter.Limit {
			break
		}
		filter.After = page[len(page)-1].JobID
	}
	run, err = s.Store.Run(ctx, id)
	return run, jobs, err
}
