package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/qualgent/qgjob"
)

// Submit asks for a run. With an idempotency key the call is tried again after
// a lost answer, and gives the same ids; without one it is sent again only
// when it cannot have arrived.
func (c *Client) Submit(ctx context.Context, req qgjob.SubmitRequest, key string) (qgjob.SubmitResponse, error) {
	what := call{method: http.MethodPost, path: "/v1/runs", json: req, repeatable: key != ""}
	if key != "" {
		what.header = map[string]string{"Idempotency-Key": key}
	}
	return ask[qgjob.SubmitResponse](ctx, c, what)
}

// Runs is one page of runs, newest first. An empty org is every org; cursor is
// the last page's; limit 0 is the server's default, at most qgjob.MaxPage.
func (c *Client) Runs(ctx context.Context, org qgjob.OrgID, cursor string, limit int) (qgjob.Page[qgjob.Run], error) {
	what := get("/v1/runs")
	what.query = page(cursor, limit)
	set(what.query, "org_id", string(org))
	return ask[qgjob.Page[qgjob.Run]](ctx, c, what)
}

// Run is one run, or a KindNotFound error.
func (c *Client) Run(ctx context.Context, id qgjob.RunID) (qgjob.Run, error) {
	return ask[qgjob.Run](ctx, c, get("/v1/runs/"+id.String()))
}

// CancelRun cancels every job of a run that has not ended. A run that has
// ended is a KindConflict error with CodeTerminal.
func (c *Client) CancelRun(ctx context.Context, id qgjob.RunID) (qgjob.Run, error) {
	return ask[qgjob.Run](ctx, c, post("/v1/runs/"+id.String()+"/cancel", nil))
}

// RetryRun submits a new run of the failed, errored and cancelled jobs of a
// run; KindConflict when there are none. It is never sent twice.
func (c *Client) RetryRun(ctx context.Context, id qgjob.RunID) (qgjob.SubmitResponse, error) {
	what := post("/v1/runs/"+id.String()+"/retry", nil)
	what.repeatable = false
	return ask[qgjob.SubmitResponse](ctx, c, what)
}

// JUnit is a run's results as JUnit XML.
func (c *Client) JUnit(ctx context.Context, id qgjob.RunID) ([]byte, error) {
	return c.bytes(ctx, "/v1/runs/"+id.String()+"/junit")
}

// Report is a run's results as one self-contained HTML page.
func (c *Client) Report(ctx context.Context, id qgjob.RunID) ([]byte, error) {
	return c.bytes(ctx, "/v1/runs/"+id.String()+"/report")
}

// Jobs is one page of jobs by rising id. The page's cursor belongs into the
// next call's cursor; the filter's After is not used.
func (c *Client) Jobs(ctx context.Context, f qgjob.JobFilter, cursor string) (qgjob.Page[qgjob.Job], error) {
	what := get("/v1/jobs")
	what.query = page(cursor, f.Limit)
	set(what.query, "org_id", string(f.OrgID))
	set(what.query, "app_version_id", string(f.AppVersionID))
	set(what.query, "agent_id", string(f.AgentID))
	set(what.query, "target", string(f.Target))
	if f.RunID != 0 {
		set(what.query, "run_id", f.RunID.String())
	}
	states := ""
	for i, s := range f.Status {
		if i > 0 {
			states += ","
		}
		states += string(s)
	}
	set(what.query, "status", states)
	if f.Newest {
		set(what.query, "order", "desc")
	}
	return ask[qgjob.Page[qgjob.Job]](ctx, c, what)
}

// AllJobs is every job of a filter, page by page, at most limit of them (0: no
// limit); more says that there are others.
func (c *Client) AllJobs(ctx context.Context, f qgjob.JobFilter, limit int) (jobs []qgjob.Job, more bool, err error) {
	cursor := ""
	for {
		f.Limit = qgjob.MaxPage
		if limit > 0 {
			f.Limit = min(qgjob.MaxPage, limit-len(jobs))
		}
		p, err := c.Jobs(ctx, f, cursor)
		if err != nil {
			return nil, false, err
		}
		jobs = append(jobs, p.Items...)
		if p.Cursor == "" || p.Cursor == cursor {
			return jobs, false, nil
		}
		if limit > 0 && len(jobs) >= limit {
			return jobs, true, nil
		}
		cursor = p.Cursor
	}
}

// Job is one job, or a KindNotFound error.
func (c *Client) Job(ctx context.Context, id qgjob.JobID) (qgjob.Job, error) {
	return ask[qgjob.Job](ctx, c, get("/v1/jobs/"+id.String()))
}

// CancelJob cancels a job. One that has ended is a KindConflict error with
// CodeTerminal.
func (c *Client) CancelJob(ctx context.Context, id qgjob.JobID) (qgjob.Job, error) {
	return ask[qgjob.Job](ctx, c, post("/v1/jobs/"+id.String()+"/cancel", nil))
}

// RetryJob submits a new run of one ended job. It is never sent twice.
func (c *Client) RetryJob(ctx context.Context, id qgjob.JobID) (qgjob.SubmitResponse, error) {
	what := post("/v1/jobs/"+id.String()+"/retry", nil)
	what.repeatable = false
	return ask[qgjob.SubmitResponse](ctx, c, what)
}

// Attempts is every attempt of a job, oldest first, with tests and artifacts.
func (c *Client) Attempts(ctx context.Context, id qgjob.JobID) ([]qgjob.Attempt, error) {
	what := get("/v1/jobs/" + id.String() + "/attempts")
	what.limit = maxAttempts
	p, err := ask[qgjob.Page[qgjob.Attempt]](ctx, c, what)
	return p.Items, err
}

// Artifacts is every artifact of a job.
func (c *Client) Artifacts(ctx context.Context, id qgjob.JobID) ([]qgjob.Artifact, error) {
	p, err := ask[qgjob.Page[qgjob.Artifact]](ctx, c, get("/v1/jobs/"+id.String()+"/artifacts"))
	return p.Items, err
}

func ask[T any](ctx context.Context, c *Client, what call) (T, error) {
	var out T
	err := c.send(ctx, what, &out)
	return out, err
}

// post is a repeatable POST; a nil body is sent as an empty object.
func post(path string, in any) call {
	if in == nil {
		in = struct{}{}
	}
	return call{method: http.MethodPost, path: path, json: in, repeatable: true}
}

func page(cursor string, limit int) url.Values {
	q := url.Values{}
	set(q, "cursor", cursor)
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return q
}

func set(q url.Values, key, value string) {
	if value != "" {
		q.Set(key, value)
	}
}

// bytes reads an answer that is not JSON.
func (c *Client) bytes(ctx context.Context, path string) ([]byte, error) {
	t := tries{client: c, retry: c.retry}
	for {
		text, f := t.next().bytesOnce(ctx, path)
		if f == nil {
			t.progress()
			return text, nil
		}
		if err := t.again(ctx, f, true); err != nil {
			return nil, err
		}
	}
}

func (c *Client) bytesOnce(ctx context.Context, path string) ([]byte, *failure) {
	res, f := c.open(ctx, get(path))
	if f != nil {
		return nil, f
	}
	defer res.Body.Close()
	return c.readAll(res, maxReport)
}
