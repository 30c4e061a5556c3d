package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/qualgent/qgjob"
)

func (s *Server) runRoutes() []route {
	return []route{
		operation(s, route{Method: http.MethodPost, Pattern: "/v1/runs", Scope: scopeSubmit, Owner: ownerBody, ID: "submit-run", Status: http.StatusCreated, Limit: submitBody,
			Summary: "Submit a run of one or more jobs; all are accepted or none"}, s.submitRun),
		operation(s, route{Method: http.MethodGet, Pattern: "/v1/runs", Scope: scopeRead, Owner: ownerQuery, ID: "list-runs", Summary: "List runs, newest first"}, s.listRuns),
		operation(s, route{Method: http.MethodGet, Pattern: "/v1/runs/{run_id}", Scope: scopeRead, Owner: ownerRun, ID: "get-run", Summary: "Get a run with its tally"}, s.getRun),
		operation(s, route{Method: http.MethodPost, Pattern: "/v1/runs/{run_id}/cancel", Scope: scopeSubmit, Owner: ownerRun, ID: "cancel-run",
			Summary: "Cancel every job of a run that has not ended"}, s.cancelRun),
		operation(s, route{Method: http.MethodPost, Pattern: "/v1/runs/{run_id}/retry", Scope: scopeSubmit, Owner: ownerRun, ID: "retry-run", Status: http.StatusCreated,
			Summary: "Submit a new run of the jobs of an ended run that did not pass"}, s.retryRun),
	}
}

type submitInput struct {
	Key  string `header:"Idempotency-Key" doc:"the same key with the same body gives the same run again"`
	Body qgjob.SubmitRequest
}

type submitOutput struct {
	Status int
	Body   qgjob.SubmitResponse
}

// submitted answers 201, or 200 when the run was there already.
func submitted(resp qgjob.SubmitResponse, err error) (*submitOutput, error) {
	out := &submitOutput{Status: http.StatusCreated, Body: resp}
	if resp.Repeat {
		out.Status = http.StatusOK
	}
	return out, err
}

func (s *Server) submitRun(ctx context.Context, in *submitInput) (*submitOutput, error) {
	if err := in.Body.Check(); err != nil {
		return nil, err
	}
	who := callerOf(ctx)
	if err := who.mayOrg(in.Body.OrgID); err != nil {
		return nil, err
	}
	if err := s.checkBundles(ctx, in.Body.OrgID, in.Body.Jobs); err != nil {
		return nil, err
	}
	resp, err := s.Store.SubmitBound(ctx, who.run, in.Key, in.Body)
	if err == nil && !resp.Repeat {
		resp.Warning = s.warning(ctx, in.Body.OrgID, in.Body.Jobs)
	}
	return submitted(resp, err)
}

// checkBundles refuses jobs whose test bundle was not uploaded: an agent would
// wait for it in vain.
func (s *Server) checkBundles(ctx context.Context, org qgjob.OrgID, jobs []qgjob.JobSpec) error {
	known := map[qgjob.Sum]bool{"": true}
	for i, j := range jobs {
		if known[j.BundleSHA256] {
			continue
		}
		info, err := s.Blobs.Stat(j.BundleSHA256)
		if err != nil {
			return err
		}
		mine, err := s.mayUse(ctx, org, j.BundleSHA256, info.Complete)
		if err != nil {
			return err
		}
		if !mine {
			e := qgjob.Invalid(fmt.Sprintf("jobs[%d].bundle_sha256", i), fmt.Sprintf("the test bundle %s was not uploaded, or not to its end", j.BundleSHA256))
			e.Hint = "upload it first: PATCH /v1/blobs/{sha256}"
			return e
		}
		known[j.BundleSHA256] = true
	}
	return nil
}

// warning says in one line when no agent that is online could take one of the
// jobs. The run is accepted all the same: agents come and go.
func (s *Server) warning(ctx context.Context, org qgjob.OrgID, jobs []qgjob.JobSpec) string {
	agents, err := s.Store.Agents(ctx)
	if err != nil {
		return "" // the run is on disk; a missing warning is no reason to say otherwise
	}
	seen := map[string]bool{}
	for i, j := range jobs {
		labels := qgjob.LabelText(j.Requires)
		wish := string(j.Target) + " " + labels
		if seen[wish] {
			continue
		}
		seen[wish] = true
		if !served(agents, org, j) {
			text := fmt.Sprintf("no agent online serves target %s", j.Target)
			if labels != "" {
				text += " with " + strings.ReplaceAll(labels, ",", ", ")
			}
			return fmt.Sprintf("%s, which jobs[%d] needs; it waits until one comes", text, i)
		}
	}
	return ""
}

func served(agents []qgjob.Agent, org qgjob.OrgID, j qgjob.JobSpec) bool {
	for _, a := range agents {
		if a.Incarnation > 0 && a.Status != qgjob.AgentOffline && a.Status != qgjob.AgentDraining && a.Status != qgjob.AgentQuarantined && a.Target == j.Target && (a.OrgID == "" || a.OrgID == org) && qgjob.Meets(a.Labels, j.Requires) {
			return true
		}
	}
	return false
}

// Paging is how every list is asked for its next page; exported for huma, like
// AtRun.
type Paging struct {
	Cursor string `query:"cursor" doc:"of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100" doc:"most items of a page"`
}

type listRunsInput struct {
	Paging
	OrgID qgjob.OrgID `query:"org_id" doc:"only this org's"`
}

func (s *Server) listRuns(ctx context.Context, in *listRunsInput) (*answer[qgjob.Page[qgjob.Run]], error) {
	var before qgjob.RunID
	if in.Cursor != "" {
		var err error
		if before, err = qgjob.ParseRunID(in.Cursor); err != nil {
			return nil, badCursor()
		}
	}
	runs, err := s.Store.RunsBound(ctx, in.OrgID, callerOf(ctx).run, before, in.Limit)
	page := qgjob.Page[qgjob.Run]{Items: runs}
	if err == nil && len(runs) == in.Limit {
		last := runs[len(runs)-1].RunID
		more, err := s.Store.RunsBound(ctx, in.OrgID, callerOf(ctx).run, last, 1)
		if err != nil {
			return nil, err
		}
		if len(more) > 0 {
			page.Cursor = last.String()
		}
	}
	return answering(page, err)
}

func badCursor() error {
	e := qgjob.Invalid("query.cursor", "cursor is not one that a page came with")
	e.Hint = "leave it out for the first page"
	return e
}

// AtRun is the path of calls about a run. It is exported for huma, which looks
// into no other embedded structs.
type AtRun struct {
	RunID string `path:"run_id" example:"run_7"`
}

func (s *Server) getRun(ctx context.Context, in *AtRun) (*answer[qgjob.Run], error) {
	id, err := qgjob.ParseRunID(in.RunID)
	if err != nil {
		return nil, inPath(err)
	}
	return answering(s.Store.Run(ctx, id))
}

// inPath moves an error about an id into the path, where it came from.
func inPath(err error) error {
	if e, ok := errors.AsType[*qgjob.Error](err); ok {
		e.Field = "path." + e.Field
	}
	return err
}

func (s *Server) cancelRun(ctx context.Context, in *AtRun) (*answer[qgjob.Run], error) {
	id, err := qgjob.ParseRunID(in.RunID)
	if err != nil {
		return nil, inPath(err)
	}
	return answering(s.Store.CancelRun(ctx, id))
}

type retryRunInput struct {
	AtRun
	Key string `header:"Idempotency-Key"`
}

func (s *Server) retryRun(ctx context.Context, in *retryRunInput) (*submitOutput, error) {
	id, err := qgjob.ParseRunID(in.RunID)
	if err != nil {
		return nil, inPath(err)
	}
	return submitted(s.Store.RetryRun(ctx, id, in.Key))
}
