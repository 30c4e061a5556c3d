package client

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// said is a server that gives one answer to everything.
type said struct {
	status int
	header http.Header
	body   []byte
}

// RoundTrip answers.
func (s said) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: s.status, Header: s.header, Body: io.NopCloser(bytes.NewReader(s.body)), Request: r, ProtoMajor: 1, ProtoMinor: 1}, nil
}

// FuzzAnswers: whatever a server or a proxy answers, every call ends with what
// was asked for or with one of the six kinds of errors.
func FuzzAnswers(f *testing.F) {
	f.Add(200, "application/json", []byte(`{"job_id":"job_1","run_id":"run_1","group_id":"group_1"}`), "")
	f.Add(409, "application/problem+json", []byte(`{"kind":"conflict","code":"offset","offset":-5,"errors":[{"location":"body.x","message":"y"}]}`), "3")
	f.Add(503, "text/html", []byte("<h1>"), "Fri, 31 Dec 9999 23:59:59 GMT")
	f.Add(200, "text/event-stream", []byte("id: 1\nevent: job.finished\ndata: {\"seq\":1,\"kind\":\"run.finished\"}\n\nretry: 99999999999\ndata: {\"attempt\":1,\"offset\":-3,\"text\":\"x\"}\nevent: log\n\n"), "")
	f.Add(302, "", []byte(nil), "")
	f.Fuzz(func(t *testing.T, status int, kind string, body []byte, after string) {
		if status < 100 || status > 999 {
			return
		}
		c, err := New("http://server.test/base", Options{Token: "s3cret", HTTP: &http.Client{Transport: said{status, http.Header{"Content-Type": {kind}, "Retry-After": {after}, "Location": {"http://elsewhere.test/" + after}}, body}}})
		if err != nil {
			t.Fatal(err)
		}
		look := func(err error) {
			t.Helper()
			if e, ok := errors.AsType[*qgjob.Error](err); err != nil && (!ok || !slices.Contains(kinds, e.Kind)) || err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%d %q %q: %v", status, kind, body, err)
			}
		}
		j, err := c.Job(t.Context(), 1)
		look(err)
		if err == nil && (status > 299 || j.JobID < 0) {
			t.Errorf("%d %q: %+v", status, body, j)
		}
		_, err = c.Claim(t.Context(), "a1", qgjob.ClaimRequest{})
		look(err)
		n := int64(0)
		for e, err := range c.RunEvents(t.Context(), 1, 0) {
			look(err)
			if err == nil && e.Seq <= n {
				t.Errorf("event %d after %d", e.Seq, n)
			}
			n = e.Seq
		}
		for _, err := range c.FollowLog(t.Context(), 1, 0) {
			look(err)
		}
		if d := retryAfter(http.Header{"Retry-After": {after}}, time.Now()); d < 0 {
			t.Errorf("Retry-After %q is %v", after, d)
		}
	})
}

// FuzzParseBase: an address that is taken is one of http, without a user, a
// query or a fragment; one that is refused is not shown with its password.
func FuzzParseBase(f *testing.F) {
	for _, s := range []string{"http://127.0.0.1:8000/", "https://a/b//", "http://u:pw-of-u@h", "http://h?q", "//h", "http://[::1]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, err := parseBase(s)
		if err != nil {
			return
		}
		u, err := url.Parse(at)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(at, "/") {
			t.Errorf("%q is taken as %q: %v", s, at, err)
		}
		again, err := parseBase(at)
		if err != nil || again != at {
			t.Errorf("%q is %q, and that %q: %v", s, at, again, err)
		}
	})
}
