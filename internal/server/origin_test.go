package server

import (
	"net/http"
	"strings"
	"testing"
)

// A page of another site cannot submit to a server on loopback, not by any
// route and not with any content type; programs, which send neither header,
// and pages of this server can.
func TestFault_PagesOfOtherSitesSubmitToLoopback(t *testing.T) {
	r := newRig(t, rigOptions{})
	body := `{"org_id":"q","app_version_id":"v","test_path":"tests/a.spec.js","target":"browser"}`
	for _, c := range []struct {
		name, header, value string
		want                int
	}{
		{"another site", "Sec-Fetch-Site", "cross-site", http.StatusForbidden},
		{"another port of this machine", "Sec-Fetch-Site", "same-site", http.StatusForbidden},
		{"an old browser", "Origin", "https://evil.example", http.StatusForbidden},
		{"a page of this server", "Sec-Fetch-Site", "same-origin", http.StatusOK},
		{"the address bar", "Sec-Fetch-Site", "none", http.StatusOK},
		{"a program", "User-Agent", "curl/8", http.StatusOK},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://server/jobs/submit", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(c.header, c.value)
		resp, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != c.want {
			t.Errorf("%s: status %d, want %d", c.name, resp.StatusCode, c.want)
		}
	}
}
