package server

import (
	"context"
	"net/http"
	"time"

	"github.com/qualgent/qgjob"
)

// scheduleRoutes are what people ask of the scheduler: why a job waits, and
// what ran, for playing it again.
func (s *Server) scheduleRoutes() []route {
	return []route{
		operation(s, route{Method: http.MethodGet, Pattern: "/v1/jobs/{job_id}/explain", Scope: scopeRead, Owner: ownerJob, ID: "explain-job",
			Summary: "Say why a job waits, behind whom, when it may start, and what would start it sooner"}, s.explainJob),
		operation(s, route{Method: http.MethodGet, Pattern: "/v1/history", Scope: scopeRead, Owner: ownerQuery, ID: "list-history",
			Summary: "List ended jobs with how long they took, for simulations"}, s.listHistory),
	}
}

func (s *Server) explainJob(ctx context.Context, in *AtJob) (*answer[qgjob.Explanation], error) {
	id, err := qgjob.ParseJobID(in.JobID)
	if err != nil {
		return nil, inPath(err)
	}
	e, err := s.Store.Explain(ctx, id)
	who := callerOf(ctx)
	if err != nil || who.org == "" {
		return answering(e, err)
	}
	agents, err := s.Store.Agents(ctx)
	return answering(who.shownExplanation(e, agents), err)
}

type listHistoryInput struct {
	Paging
	OrgID qgjob.OrgID `query:"org_id" doc:"only this org's"`
	Since time.Time   `query:"since" doc:"submitted since this instant, RFC 3339; default: all"`
}

func (s *Server) listHistory(ctx context.Context, in *listHistoryInput) (*answer[qgjob.Page[qgjob.HistoryJob]], error) {
	var after qgjob.JobID
	if in.Cursor != "" {
		var err error
		if after, err = qgjob.ParseJobID(in.Cursor); err != nil {
			return nil, badCursor()
		}
	}
	jobs, err := s.Store.History(ctx, in.OrgID, callerOf(ctx).run, in.Since, after, in.Limit)
	page := qgjob.Page[qgjob.HistoryJob]{Items: jobs}
	if err == nil && len(jobs) == in.Limit {
		page.Cursor = jobs[len(jobs)-1].JobID.String() // the next page may be empty
	}
	return answering(page, err)
}
