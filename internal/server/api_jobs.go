package server

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/qualgent/qgjob"
)

func (s *Server) jobRoutes() []route {
	return []route{
		operation(s, route{Method: http.MethodGet, Pattern: "/v1/jobs", Scope: scopeRead, Owner: ownerQuery, ID: "list-jobs", Summary: "List jobs by id"}, s.listJobs),
		operation(s, route{Method: http.MethodGet, Pattern: "/v1/jobs/{job_id}", Scope: scopeRead, Owner: ownerJob, ID: "get-job", Summary: "Get a job"}, s.getJob),
		operation(s, route{Method: http.MethodPost, Pattern: "/v1/jobs/{job_id}/cancel", Scope: scopeSubmit, Owner: ownerJob, ID: "cancel-job", Summary: "Cancel a job that has not ended"}, s.cancelJob),
		operation(s, route{Method: http.MethodPost, Pattern: "/v1/jobs/{job_id}/retry", Scope: scopeSubmit, Owner: ownerJob, ID: "retry-job", Status: http.StatusCreated,
			Summary: "Submit a new run of one ended job"}, s.retryJob),
		operation(s, route{Method: http.MethodGet, Pattern: "/v1/jobs/{job_id}/attempts", Scope: scopeRead, Owner: ownerJob, ID: "list-attempts",
			Summary: "List a job's attempts, oldest first, with tests and artifacts"}, s.listAttempts),
		operation(s, route{Method: http.MethodGet, Pattern: "/v1/jobs/{job_id}/artifacts", Scope: scopeRead, Owner: ownerJob, ID: "list-artifacts",
			Summary: "List the files that a job's attempts left"}, s.listArtifacts),
	}
}

type listJobsInput struct {
	Paging
	OrgID        qgjob.OrgID        `query:"org_id" doc:"only this org's"`
	RunID        string             `query:"run_id" doc:"only this run's"`
	AppVersionID qgjob.AppVersionID `query:"app_version_id"`
	Target       string             `query:"target"`
	Status       string             `query:"status" doc:"one or more states, with commas between"`
	AgentID      qgjob.AgentID      `query:"agent_id" doc:"only those that this agent holds or ended"`
	Order        string             `query:"order" enum:"asc,desc" default:"asc" doc:"asc: oldest first; desc: newest first"`
}

// filter reads the query; what it cannot read is refused by name.
func (in *listJobsInput) filter() (f qgjob.JobFilter, err error) {
	f = qgjob.JobFilter{OrgID: in.OrgID, AppVersionID: in.AppVersionID, AgentID: in.AgentID, Newest: in.Order == "desc", Limit: in.Limit}
	if in.Cursor != "" {
		if f.After, err = qgjob.ParseJobID(in.Cursor); err != nil {
			return f, badCursor()
		}
	}
	if in.RunID != "" {
		if f.RunID, err = qgjob.ParseRunID(in.RunID); err != nil {
			return f, inQuery(err)
		}
	}
	if in.Target != "" {
		if f.Target, err = qgjob.ParseTarget(in.Target); err != nil {
			return f, inQuery(err)
		}
	}
	if in.Status != "" {
		for word := range strings.SplitSeq(in.Status, ",") {
			state, err := qgjob.ParseJobState(word)
			if err != nil {
				return f, inQuery(err)
			}
			f.Status = append(f.Status, state)
		}
		if len(f.Status) > len(qgjob.JobStates) {
			return f, qgjob.Invalid("query.status", "status names a state more than once")
		}
	}
	return f, nil
}

func inQuery(err error) error {
	if e, ok := errors.AsType[*qgjob.Error](err); ok {
		e.Field = "query." + e.Field
	}
	return err
}

func (s *Server) listJobs(ctx context.Context, in *listJobsInput) (*answer[qgjob.Page[qgjob.Job]], error) {
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	f.Bound = callerOf(ctx).run
	jobs, err := s.Store.Jobs(ctx, f)
	page := qgjob.Page[qgjob.Job]{Items: jobs}
	if err == nil && len(jobs) == in.Limit {
		last := jobs[len(jobs)-1].JobID
		f.After, f.Limit = last, 1
		more, err := s.Store.Jobs(ctx, f)
		if err != nil {
			return nil, err
		}
		if len(more) > 0 {
			page.Cursor = last.String()
		}
	}
	return answering(page, err)
}

// AtJob is the path of calls about a job; exported for huma, like AtRun.
type AtJob struct {
	JobID string `path:"job_id" example:"job_7"`
}

func (s *Server) getJob(ctx context.Context, in *AtJob) (*answer[qgjob.Job], error) {
	id, err := qgjob.ParseJobID(in.JobID)
	if err != nil {
		return nil, inPath(err)
	}
	return answering(s.Store.Job(ctx, id))
}

func (s *Server) cancelJob(ctx context.Context, in *AtJob) (*answer[qgjob.Job], error) {
	id, err := qgjob.ParseJobID(in.JobID)
	if err != nil {
		return nil, inPath(err)
	}
	return answering(s.Store.CancelJob(ctx, id))
}

type retryJobInput struct {
	AtJob
	Key string `header:"Idempotency-Key"`
}

func (s *Server) retryJob(ctx context.Context, in *retryJobInput) (*submitOutput, error) {
	id, err := qgjob.ParseJobID(in.JobID)
	if err != nil {
		return nil, inPath(err)
	}
	return submitted(s.Store.RetryJob(ctx, id, in.Key))
}

func (s *Server) listAttempts(ctx context.Context, in *AtJob) (*answer[list[qgjob.Attempt]], error) {
	id, err := qgjob.ParseJobID(in.JobID)
	if err != nil {
		return nil, inPath(err)
	}
	attempts, err := s.Store.Attempts(ctx, id)
	return answering(list[qgjob.Attempt]{attempts}, err)
}

func (s *Server) listArtifacts(ctx context.Context, in *AtJob) (*answer[list[qgjob.Artifact]], error) {
	id, err := qgjob.ParseJobID(in.JobID)
	if err != nil {
		return nil, inPath(err)
	}
	if _, err := s.Store.Job(ctx, id); err != nil {
		return nil, err
	}
	files, err := s.Store.Artifacts(ctx, id)
	return answering(list[qgjob.Artifact]{files}, err)
}
