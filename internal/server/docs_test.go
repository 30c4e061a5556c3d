package server

import (
	"context"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestDocsAreWholeAndOurs(t *testing.T) {
	h := newHouse(t)
	status, page := h.get("/docs")
	if status != 200 || !strings.Contains(page, `spec-url="openapi.json"`) {
		t.Fatalf("%d %s", status, page)
	}
	asked := regexp.MustCompile(`(?:src|href|spec-url)="([^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(asked) < 5 {
		t.Fatalf("the page asks for %v", asked)
	}
	for _, m := range asked {
		if strings.Contains(m[1], ":") || strings.HasPrefix(m[1], "//") {
			t.Errorf("the page asks elsewhere: %s", m[1])
			continue
		}
		res := h.send("GET", "/"+m[1], "")
		if status, body := h.read(res); status != 200 || body == "" {
			t.Errorf("%s: %d", m[1], status)
		}
	}
	res := h.send("GET", "/docs", "")
	h.read(res)
	policy := res.Header.Get("Content-Security-Policy")
	for _, need := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, need) {
			t.Errorf("policy %q lacks %s", policy, need)
		}
	}
	if strings.Contains(policy, "http") || strings.Contains(policy, "*") || strings.Contains(policy, "unsafe-eval") {
		t.Errorf("policy %q lets others in", policy)
	}
	for _, path := range []string{"/docs/README.md", "/docs/..%2Fdocs.html", "/docs/rapidoc", "/docs/"} {
		if status, _ := h.get(path); status != 404 {
			t.Errorf("%s: %d, want 404", path, status)
		}
	}
}

func TestDocsTypes(t *testing.T) {
	h := newHouse(t)
	for path, want := range map[string]string{
		"/docs": "text/html; charset=utf-8", "/docs/docs.js": "text/javascript; charset=utf-8", "/docs/docs.css": "text/css; charset=utf-8",
		"/docs/favicon.svg": "image/svg+xml", "/docs/rapidoc.min.js": "text/javascript; charset=utf-8",
		"/docs/rapidoc-license.txt": "text/plain; charset=utf-8", "/docs/third-party.txt": "text/plain; charset=utf-8",
	} {
		res := h.send("GET", path, "")
		h.read(res)
		if got := res.Header.Get("Content-Type"); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// TestVendoredViewer: its licence is with it, no source map, and not too much
// of it.
func TestVendoredViewer(t *testing.T) {
	var size int64
	err := fs.WalkDir(docsFiles, "web", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		size += info.Size()
		if strings.HasSuffix(path, ".map") {
			t.Errorf("%s is a source map", path)
		}
		return err
	})
	if err != nil || size > 2<<20 {
		t.Errorf("%d bytes (%v), allowed 2 MiB", size, err)
	}
	licence, err := docsFiles.ReadFile("web/rapidoc/LICENSE.txt")
	if err != nil || !strings.Contains(string(licence), "MIT License") {
		t.Errorf("licence: %v", err)
	}
	viewer, err := docsFiles.ReadFile("web/rapidoc/rapidoc.min.js")
	if err != nil || strings.Contains(string(viewer), "sourceMappingURL") {
		t.Errorf("the viewer names a source map (%v)", err)
	}
}

func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium-headless-shell", "chromium"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no Chromium here; script/setup/chromium installs one")
	return ""
}

// huma's own page loads its viewer from a public CDN. A real browser whose
// every request goes through our proxy renders ours and asks nobody else.
func TestFault_docs_load_from_elsewhere(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	browser := chromium(t)
	h := newHouse(t)
	var mu sync.Mutex
	var elsewhere, ours []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodConnect || r.Host != "qgjob.test" {
			elsewhere = append(elsewhere, r.Method+" "+r.Host+r.URL.Path)
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		ours = append(ours, r.URL.Path)
		h.srv.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	shot := filepath.Join(t.TempDir(), "docs.png")
	if keep := os.Getenv("QGJOB_DOCS_SCREENSHOT"); keep != "" {
		shot = keep
	}
	args := []string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run",
		"--user-data-dir=" + t.TempDir(), "--proxy-server=" + proxy.URL, "--window-size=1280,900", "--virtual-time-budget=8000", "--screenshot=" + shot, "--dump-dom", "http://qgjob.test/docs"}
	cmd := exec.CommandContext(ctx, browser, args...)
	cmd.WaitDelay = 5 * time.Second
	dom, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", browser, err)
	}
	mu.Lock()
	defer mu.Unlock()
	switch shell := strings.HasSuffix(browser, "headless-shell"); {
	case len(elsewhere) > 0 && shell:
		t.Errorf("the page asked elsewhere: %v", elsewhere)
	case len(elsewhere) > 0:
		t.Logf("not judged, because a whole Chromium asks on its own account: %v", elsewhere)
	}
	if !strings.Contains(string(dom), `data-loaded="true"`) || strings.Contains(string(dom), `id="failed">`) {
		t.Errorf("the description was not shown; asked for %v:\n%.600s", ours, dom)
	}
}
