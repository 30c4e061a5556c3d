package client

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/qualgent/qgjob"
)

// Log writes an attempt's log (attempt 0: the newest) from an offset in bytes
// to w, and returns the attempt and the offset behind the last byte. A cut
// connection is resumed where it broke.
func (c *Client) Log(ctx context.Context, id qgjob.JobID, attempt int, offset int64, w io.Writer) (int, int64, error) {
	t := tries{client: c, retry: c.retry}
	for {
		was := offset
		f := t.next().logOnce(ctx, id, &attempt, &offset, w)
		if f == nil {
			t.progress()
			return attempt, offset, nil
		}
		if offset > was {
			t.progress()
		}
		if err := t.again(ctx, f, true); err != nil {
			return attempt, offset, err
		}
	}
}

func (c *Client) logOnce(ctx context.Context, id qgjob.JobID, attempt *int, offset *int64, w io.Writer) *failure {
	what := get("/v1/jobs/" + id.String() + "/log")
	what.query = url.Values{"offset": {strconv.FormatInt(*offset, 10)}}
	if *attempt > 0 {
		what.query.Set("attempt", strconv.Itoa(*attempt))
	}
	res, f := c.open(ctx, what)
	if f != nil {
		return f
	}
	defer res.Body.Close()
	if n, err := strconv.Atoi(res.Header.Get("X-Attempt")); err == nil && n > 0 {
		*attempt = n
	}
	out := &counted{w: w}
	_, err := io.Copy(out, io.LimitReader(res.Body, qgjob.MaxAttemptLog))
	*offset += out.n
	if out.err != nil {
		return &failure{err: fmt.Errorf("write the log of %v: %w", id, out.err)}
	}
	if err != nil {
		return c.cut(err)
	}
	return nil
}
