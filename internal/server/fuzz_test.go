package server

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

// FuzzParams: places in logs, and the numbers and flags of queries.
func FuzzParams(f *testing.F) {
	f.Add("1:4096", "job_7", "attempt=1&offset=2&follow=true")
	f.Add("0:-1", "job_x", "attempt=-1")
	f.Add("1:99999999999999999999", "job_1", "offset=1e3&follow=maybe")
	f.Fuzz(func(t *testing.T, at, id, query string) {
		if place, err := parseLogAt(at); err == nil {
			if again, err := parseLogAt(place.String()); err != nil || again != place || place.attempt < 1 || place.offset < 0 {
				t.Errorf("%q is %+v, then %+v: %v", at, place, again, err)
			}
		} else if qgjob.KindOf(err) != qgjob.KindInvalid {
			t.Errorf("%q: %v", at, err)
		}
		r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/", RawQuery: query}}
		r.SetPathValue("job_id", id)
		q, err := readLogQuery(r)
		if err != nil && qgjob.KindOf(err) != qgjob.KindInvalid {
			t.Errorf("%q: %v", query, err)
		}
		if err == nil && (q.job < 1 || q.attempt < 0 || q.offset < 0) {
			t.Errorf("%q %q is %+v", id, query, q)
		}
	})
}

// FuzzUnmarshal: bodies that passed the walk over their JSON are read into the
// types of requests; what does not fit is told in one short line.
func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"org_id":"o","jobs":[{"test_path":"a.js","priority":"high","requires":{"a":"b"}}]}`))
	f.Add([]byte(`{"outcome":"passed","digest":"12345678","tests":[{"title":["a"],"status":"passed"}],"next":{"claim_id":"x"}}`))
	f.Add([]byte(`{"jobs":{"a":1}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if checkJSON(body, map[string]bool{"installed": true}) != nil {
			return
		}
		for _, v := range []any{&qgjob.SubmitRequest{}, &qgjob.CompleteRequest{}, &qgjob.ClaimRequest{}, &qgjob.RegisterRequest{}, &qgjob.RenewRequest{}, &qgjob.ArtifactRequest{}} {
			err := unmarshal(body, v)
			if err != nil && (len(err.Error()) > 2000 || strings.ContainsAny(err.Error(), "\x00\x1b")) {
				t.Errorf("%T: %q", v, err)
			}
		}
	})
}
