package cli

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
)

// browse sends one request to a server as a browser would.
func browse(t *testing.T, method, base, path, host string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(`{"org_id":"o","app_version_id":"v","test_path":"t","target":"device"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// TestPagesOfOtherSites: a page that the user of a laptop looks at cannot
// change anything on the server of that laptop, neither through the browser's
// reach nor by a name that resolves to loopback.
func TestPagesOfOtherSites(t *testing.T) {
	h := host(t, nil, "server")
	defer h.stop(t, os.Interrupt)
	at, err := url.Parse(h.base)
	if err != nil {
		t.Fatal(err)
	}
	port := at.Port()
	for _, test := range []struct {
		name, method, path, host string
		headers                  []string
		want                     int
	}{
		{"a program", "POST", "/jobs/submit", at.Host, nil, 200},
		{"a program by name", "POST", "/jobs/submit", "localhost:" + port, nil, 200},
		{"a name beneath localhost", "POST", "/jobs/submit", "qgjob.localhost:" + port, nil, 200},
		{"IPv6", "GET", "/agents", "[::1]:" + port, nil, 200},
		{"no port", "GET", "/agents", "localhost", nil, 200},
		{"a final dot", "GET", "/agents", "LOCALHOST.:" + port, nil, 200},
		{"its own page", "POST", "/jobs/submit", at.Host, []string{"Origin", h.base, "Sec-Fetch-Site", "same-origin"}, 200},
		{"the address bar", "GET", "/docs", at.Host, []string{"Sec-Fetch-Site", "none"}, 200},
		{"a link elsewhere", "GET", "/agents", at.Host, []string{"Sec-Fetch-Site", "cross-site"}, 200},
		{"another site", "POST", "/jobs/submit", at.Host, []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, 403},
		{"another site, old browser", "POST", "/jobs/submit", at.Host, []string{"Origin", "https://evil.example"}, 403},
		{"another port", "POST", "/v1/agents/local/drain", at.Host, []string{"Origin", "http://127.0.0.1:1", "Sec-Fetch-Site", "same-site"}, 403},
		{"no body needed", "POST", "/v1/runs/run_1/cancel", at.Host, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"a sandboxed page", "POST", "/jobs/submit", at.Host, []string{"Origin", "null"}, 403},
		{"rebinding", "POST", "/jobs/submit", "evil.example:" + port, []string{"Origin", "http://evil.example:" + port, "Sec-Fetch-Site", "same-origin"}, 421},
		{"rebinding reads", "GET", "/agents", "evil.example:" + port, nil, 421},
		{"nearly localhost", "GET", "/agents", "localhost.evil.example:" + port, nil, 421},
		{"nearly an address", "GET", "/agents", "127.0.0.1.evil.example:" + port, nil, 421},
		{"no loopback", "GET", "/agents", "192.0.2.1:" + port, nil, 421},
	} {
		code, text := browse(t, test.method, h.base, test.path, test.host, test.headers...)
		if code != test.want {
			t.Errorf("%s: %d %s, want %d", test.name, code, text, test.want)
		}
		if code > 400 && (!strings.Contains(text, `"detail":`) || strings.Contains(text, "evil")) {
			t.Errorf("%s: %q", test.name, text)
		}
	}
	if _, text := browse(t, "GET", h.base, "/jobs/group/v", at.Host); strings.Count(text, "job_id") != 4 {
		t.Errorf("the jobs of programs and of its own page: %s", text)
	}
}

// TestATokenMakesNamesHarmless: a page has none, so a server with a token may
// go by any name; cross-site writes stay refused.
func TestATokenMakesNamesHarmless(t *testing.T) {
	h := host(t, func(p *program) { p.write("token", "a-token-of-the-test\n") }, "server", "--token-file=token")
	defer h.stop(t, os.Interrupt)
	for token, want := range map[string]int{"a-token-of-the-test": 200, "a-token-of-some-test": 401} {
		if code, text := browse(t, "GET", h.base, "/agents", "ci.example", "Authorization", "Bearer "+token); code != want {
			t.Errorf("%d %s, want %d", code, text, want)
		}
	}
	if code, _ := browse(t, "POST", h.base, "/jobs/submit", "ci.example", "Authorization", "Bearer a-token-of-the-test", "Sec-Fetch-Site", "cross-site"); code != 403 {
		t.Errorf("cross-site with a token: %d", code)
	}
}

// TestRefusalsReachTheClient: the refusal is a problem that the client reads
// back.
func TestRefusalsReachTheClient(t *testing.T) {
	h := host(t, nil, "server")
	defer h.stop(t, os.Interrupt)
	proxy := newForwarder(t, h.base)
	code, out, errs := newProgram(t, proxy).run("list")
	if code != 4 || out != "" || !strings.Contains(errs, "without a token this server answers only to localhost") || !strings.Contains(errs, "--token-file") {
		t.Errorf("%d %q %q", code, out, errs)
	}
}
