package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/qualgent/qgjob"
)

// call is one request of the API, ready to be sent any number of times.
type call struct {
	method     string
	path       string // from /v1, escaped
	query      url.Values
	header     map[string]string
	json       any    // sent as JSON when not nil
	raw        []byte // sent as it is when json is nil
	repeatable bool   // may be sent twice; GET always may
	limit      int64  // bytes of the answer; 0: maxAnswer
	idle       time.Duration
	stream     bool // ends when the token has to be renewed
}

func get(path string) call { return call{method: http.MethodGet, path: path, repeatable: true} }

// errIdle ends a request whose server has gone silent.
var errIdle = errors.New("no byte for too long")

// body is an answer's body under a watchdog: without a byte for the call's
// idle time the request is ended.
type body struct {
	io.ReadCloser
	timer  *time.Timer
	idle   time.Duration
	cancel context.CancelCauseFunc
	ctx    context.Context
}

// Read reads and feeds the watchdog.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.timer.Reset(b.idle)
	if why := context.Cause(b.ctx); err != nil && !errors.Is(err, io.EOF) && (errors.Is(why, errIdle) || errors.Is(why, errRenew)) {
		err = why
	}
	return n, err
}

// Close ends the request.
func (b *body) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	return b.ReadCloser.Close()
}

// open sends a call once and returns the answer when it is a success (2xx).
// The caller closes its body.
func (c *Client) open(ctx context.Context, what call) (*http.Response, *failure) {
	if c.pass != nil {
		return c.openSigned(ctx, what)
	}
	return c.openAs(ctx, what, c.token, time.Time{})
}

// openAs is open with a token, which is to be renewed at an instant (zero:
// never).
func (c *Client) openAs(ctx context.Context, what call, token string, renew time.Time) (*http.Response, *failure) {
	idle := what.idle
	if idle == 0 {
		idle = callTimeout
	}
	inner, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(idle, func() { cancel(errIdle) })
	stop := func() { timer.Stop(); cancel(nil) }
	req, err := c.request(inner, what, token)
	if err != nil {
		stop()
		return nil, &failure{err: err}
	}
	res, err := c.http.Do(req)
	if err != nil {
		if errors.Is(context.Cause(inner), errIdle) {
			err = fmt.Errorf("no byte for %v", idle)
		}
		stop()
		return nil, c.unreached(err)
	}
	if name := res.Header.Get(qgjob.ReignHeader); c.reign != nil && name != "" {
		c.reign(name)
	}
	res.Body = &body{ReadCloser: res.Body, timer: timer, idle: idle, cancel: cancel, ctx: inner}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		defer res.Body.Close()
		return nil, c.refused(res)
	}
	if what.stream && !renew.IsZero() {
		ending := time.AfterFunc(time.Until(renew), func() { cancel(errRenew) })
		context.AfterFunc(inner, func() { ending.Stop() })
	}
	return res, nil
}

func (c *Client) request(ctx context.Context, what call, token string) (*http.Request, error) {
	content, kind := what.raw, "application/octet-stream"
	if what.json != nil {
		text, err := json.Marshal(what.json)
		if err != nil {
			return nil, fmt.Errorf("write the body of %s %s: %w", what.method, what.path, err)
		}
		content, kind = text, "application/json"
	}
	address := c.base + what.path
	if len(what.query) > 0 {
		address += "?" + what.query.Encode()
	}
	var reader io.Reader
	if what.method != http.MethodGet {
		reader = bytes.NewReader(content)
	}
	req, err := http.NewRequestWithContext(ctx, what.method, address, reader)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", what.method, what.path, err)
	}
	if reader != nil {
		req.Header.Set("Content-Type", kind)
	}
	req.Header.Set("User-Agent", c.agent)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for k, v := range what.header {
		req.Header.Set(k, v)
	}
	return req, nil
}

// send makes a call, tries it again as the policy allows, and reads its JSON
// answer into out (nil: the answer is not looked at).
func (c *Client) send(ctx context.Context, what call, out any) error {
	t := tries{client: c, retry: c.retry}
	for {
		f := t.next().once(ctx, what, out)
		if f == nil {
			t.progress()
			return nil
		}
		if err := t.again(ctx, f, what.repeatable); err != nil {
			return err
		}
	}
}

func (c *Client) once(ctx context.Context, what call, out any) *failure {
	res, f := c.open(ctx, what)
	if f != nil {
		return f
	}
	defer res.Body.Close()
	text, f := c.readAll(res, what.limit)
	if f != nil || out == nil {
		return f
	}
	if !isJSON(res.Header) {
		return &failure{err: c.foreign(res)}
	}
	if err := json.Unmarshal(text, out); err != nil {
		return &failure{err: &qgjob.Error{
			Kind:    qgjob.KindInternal,
			Message: fmt.Sprintf("the answer of %s to %s %s cannot be read", c.base, what.method, what.path),
			Hint:    "are server and client of the same version?",
			Err:     err,
		}}
	}
	return nil
}

// readAll reads an answer of at most limit bytes.
func (c *Client) readAll(res *http.Response, limit int64) ([]byte, *failure) {
	if limit == 0 {
		limit = maxAnswer
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, c.cut(err)
	}
	if int64(len(text)) > limit {
		return nil, &failure{err: &qgjob.Error{
			Kind: qgjob.KindInternal, Code: qgjob.CodeTooLarge,
			Message: fmt.Sprintf("the answer of %s is longer than %d bytes", c.base, limit),
		}}
	}
	return text, nil
}

// cut is the failure of an answer that broke off.
func (c *Client) cut(err error) *failure {
	return &failure{transient: true, elsewhere: true, err: &qgjob.Error{
		Kind: qgjob.KindUnavailable, Code: qgjob.CodeUnreachable,
		Message: "the connection to " + c.base + " broke off", Err: cause(err),
	}}
}

// seg escapes one segment of a path.
func seg[T ~string](s T) string { return url.PathEscape(string(s)) }
