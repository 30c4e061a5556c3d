package client

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/qualgent/qgjob"
)

// Explain says why a job stands where it stands.
func (c *Client) Explain(ctx context.Context, id qgjob.JobID) (qgjob.Explanation, error) {
	return ask[qgjob.Explanation](ctx, c, get("/v1/jobs/"+id.String()+"/explain"))
}

// History lists the jobs that were submitted since an instant and have ended
// with a test run, of one org or of all (empty), oldest first.
func (c *Client) History(ctx context.Context, org qgjob.OrgID, since time.Time) ([]qgjob.HistoryJob, error) {
	var all []qgjob.HistoryJob
	q := url.Values{"since": {since.UTC().Format(time.RFC3339)}, "limit": {strconv.Itoa(qgjob.MaxPage)}}
	set(q, "org_id", string(org))
	for {
		p, err := ask[qgjob.Page[qgjob.HistoryJob]](ctx, c, get("/v1/history?"+q.Encode()))
		if err != nil {
			return nil, err
		}
		all = append(all, p.Items...)
		if p.Cursor == "" || p.Cursor == q.Get("cursor") {
			return all, nil
		}
		q.Set("cursor", p.Cursor)
	}
}
