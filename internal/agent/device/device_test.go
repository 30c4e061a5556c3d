package device

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

// build makes an uploaded build of the files, a zip when there are several.
func build(t *testing.T, version string, files map[string]string) Build {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, name := range qgjob.SortedKeys(files) {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, files[name])
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return rawBuild(t, version, "shop.zip", out.Bytes())
}

func rawBuild(t *testing.T, version, fileName string, content []byte) Build {
	t.Helper()
	sum := sha256.Sum256(content)
	path := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return Build{
		Installed: qgjob.Installed{OrgID: "qualgent", AppVersionID: qgjob.AppVersionID(version), BuildSHA256: qgjob.Sum(hex.EncodeToString(sum[:]))},
		FileName:  fileName, File: path,
	}
}

func shop(t *testing.T, version string) Build {
	t.Helper()
	return build(t, version, map[string]string{
		"index.html": "shop " + version, "app.js": "export {}", "sub/index.html": "sub", "assets/x.svg": "<svg/>", "m.webmanifest": "{}",
	})
}

func ensure(t *testing.T, d Device, b Build, want qgjob.InstallOutcome) {
	t.Helper()
	got, err := Ensure(t.Context(), d, b, qgjob.ResetClear)
	if err != nil || got != want {
		t.Fatalf("%s: %q, %v; want %q", b.AppVersionID, got, err, want)
	}
}

func baseURL(t *testing.T, d Device, b Build) string {
	t.Helper()
	for _, kv := range d.Env(b) {
		if url, ok := strings.CutPrefix(kv, "BASE_URL="); ok {
			return url
		}
	}
	t.Fatalf("no BASE_URL in %v", d.Env(b))
	return ""
}

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

func newBrowser(t *testing.T, dir string) *Browser {
	t.Helper()
	b := NewBrowser(dir, "", "")
	t.Cleanup(func() { b.Close() })
	return b
}

// TestBrowserServesTheInstalledVersion over real HTTP, one at a time.
func TestBrowserServesTheInstalledVersion(t *testing.T) {
	dir := t.TempDir()
	d := newBrowser(t, dir)
	v1, v2 := shop(t, "v1"), shop(t, "v2")
	ensure(t, d, v1, qgjob.InstallDone)
	ensure(t, d, v1, qgjob.InstallAvoided)
	first := baseURL(t, d, v1)
	if _, text := get(t, first); text != "shop v1" {
		t.Errorf("serves %q", text)
	}
	if !slices.Equal(d.Serves(), []string{strings.TrimPrefix(first, "http://")}) || !strings.HasPrefix(first, "http://127.0.0.1:") {
		t.Errorf("serves at %v, %s", d.Serves(), first)
	}
	ensure(t, d, v2, qgjob.InstallDone)
	second := baseURL(t, d, v2)
	if _, text := get(t, second); text != "shop v2" {
		t.Errorf("serves %q", text)
	}
	if second == first {
		t.Error("two versions share an origin: a service worker of the first could answer for the second")
	}
	if _, err := http.Get(first); err == nil {
		t.Error("the version before is still served")
	}
	ensure(t, d, v1, qgjob.InstallDone) // it was really gone
	entries, _ := os.ReadDir(dir)
	if len(entries) != 2 {
		t.Errorf("the device holds %d things, want one version and its record", len(entries))
	}
}

func TestBrowserAnswersAsAWebServer(t *testing.T) {
	d := newBrowser(t, t.TempDir())
	b := shop(t, "v1")
	ensure(t, d, b, qgjob.InstallDone)
	url := baseURL(t, d, b)
	cases := []struct {
		path, kind string
		status     int
	}{
		{"/", "text/html; charset=utf-8", 200},
		{"/sub/", "text/html; charset=utf-8", 200},
		{"/app.js", "text/javascript; charset=utf-8", 200},
		{"/assets/x.svg", "image/svg+xml", 200},
		{"/m.webmanifest", "application/manifest+json", 200},
		{"/assets/", "", 404}, // no listing
		{"/no/such/page", "", 404},
		{"/../installed.json", "", 404},
		{"/%2e%2e/installed.json", "", 404},
	}
	for _, c := range cases {
		res, text := get(t, url+c.path)
		if res.StatusCode != c.status || c.kind != "" && res.Header.Get("Content-Type") != c.kind {
			t.Errorf("%s: %d %s", c.path, res.StatusCode, res.Header.Get("Content-Type"))
		}
		if strings.Contains(text, "x.svg") || strings.Contains(text, "digest") {
			t.Errorf("%s tells %q", c.path, text)
		}
	}
	res, err := http.Post(url, "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", res.StatusCode)
	}
}

// TestBrowserLooksAtTheDevice: after a restart and after tampering.
func TestBrowserLooksAtTheDevice(t *testing.T) {
	dir := t.TempDir()
	b := shop(t, "v1")
	ensure(t, newBrowser(t, dir), b, qgjob.InstallDone)
	again := newBrowser(t, dir)
	if held := again.Installed(); held == nil || *held != b.Installed {
		t.Fatalf("holds %+v", held)
	}
	ensure(t, again, b, qgjob.InstallAvoided)
	if _, text := get(t, baseURL(t, again, b)); text != "shop v1" {
		t.Errorf("serves %q", text)
	}
	tamper := map[string]func() error{
		"changed": func() error { return os.WriteFile(filepath.Join(dir, "app", "app.js"), []byte("evil"), 0o600) },
		"added":   func() error { return os.WriteFile(filepath.Join(dir, "app", "new.js"), nil, 0o600) },
		"removed": func() error { return os.Remove(filepath.Join(dir, "app", "app.js")) },
		"renamed": func() error { return os.Rename(filepath.Join(dir, "app", "app.js"), filepath.Join(dir, "app", "b.js")) },
		"gone":    func() error { return os.RemoveAll(filepath.Join(dir, "app")) },
		"linked":  func() error { return os.Symlink("/etc", filepath.Join(dir, "app", "etc")) },
	}
	for name, do := range tamper {
		if err := do(); err != nil {
			t.Fatal(name, err)
		}
		ensure(t, again, b, qgjob.InstallDone)
		ensure(t, again, b, qgjob.InstallAvoided)
	}
	for _, text := range []string{"", "{", `{"installed":{}}`} {
		if err := os.WriteFile(filepath.Join(dir, recordName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		ensure(t, newBrowser(t, dir), b, qgjob.InstallDone)
	}
}

// TestBrowserKnowsIdenticalContent: a build under another version's name is
// not installed again.
func TestBrowserKnowsIdenticalContent(t *testing.T) {
	d := newBrowser(t, t.TempDir())
	b := shop(t, "v1")
	ensure(t, d, b, qgjob.InstallDone)
	b.AppVersionID = "v1-again"
	ensure(t, d, b, qgjob.InstallAvoided)
	if d.Installed().AppVersionID != "v1-again" {
		t.Errorf("tells %+v", d.Installed())
	}
}

func TestBrowserWithoutABuild(t *testing.T) {
	d := NewBrowser(t.TempDir(), "", "http://staging.test/")
	none := Build{Installed: qgjob.Installed{OrgID: "qualgent", AppVersionID: "v9"}}
	ensure(t, d, none, qgjob.InstallNone)
	if env := d.Env(none); !slices.Equal(env, []string{"BASE_URL=http://staging.test/"}) {
		t.Errorf("env %v", env)
	}
	if env := NewBrowser(t.TempDir(), "", "").Env(none); len(env) != 0 {
		t.Errorf("env %v", env)
	}
}

func TestBrowserTakesAZipOfOneFolder(t *testing.T) {
	d := newBrowser(t, t.TempDir())
	b := build(t, "v1", map[string]string{"dist/index.html": "inside", "dist/a.js": ""})
	ensure(t, d, b, qgjob.InstallDone)
	if _, text := get(t, baseURL(t, d, b)); text != "inside" {
		t.Errorf("serves %q", text)
	}
}

func TestBrowserRefusesWhatItCannotServe(t *testing.T) {
	dir := t.TempDir()
	d := newBrowser(t, dir)
	good := shop(t, "v1")
	ensure(t, d, good, qgjob.InstallDone)
	for name, bad := range map[string]Build{
		"no index": build(t, "v2", map[string]string{"readme.txt": "x"}),
		"no zip":   rawBuild(t, "v2", "shop.apk", []byte("not a zip")),
		"escape":   build(t, "v2", map[string]string{"index.html": "x", "../evil": "x"}),
	} {
		outcome, err := Ensure(t.Context(), d, bad, qgjob.ResetClear)
		if outcome != qgjob.InstallFailed || err == nil || !strings.Contains(err.Error(), "v2") {
			t.Errorf("%s: %q, %v", name, outcome, err)
		}
		if d.Holds(t.Context(), good) {
			t.Errorf("%s: the version before is believed to be there", name)
		}
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(dir), "evil")); err == nil {
		t.Error("a file escaped")
	}
	ensure(t, d, good, qgjob.InstallDone)
}

func TestInstallEndsWithItsContext(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for _, d := range []Device{newBrowser(t, t.TempDir()), NewNone(t.TempDir())} {
		b := shop(t, "v1")
		if outcome, err := Ensure(ctx, d, b, qgjob.ResetClear); outcome != qgjob.InstallFailed || err == nil {
			t.Errorf("%T: %q %v", d, outcome, err)
		}
		if d.Holds(t.Context(), b) {
			t.Errorf("%T holds a build that was not installed", d)
		}
	}
}

// TestNoneCountsSwitches of version, with and without builds, and remembers.
func TestNoneCountsSwitches(t *testing.T) {
	dir := t.TempDir()
	d := NewNone(dir)
	bare := func(org, version string) Build {
		return Build{Installed: qgjob.Installed{OrgID: qgjob.OrgID(org), AppVersionID: qgjob.AppVersionID(version)}}
	}
	ensure(t, d, bare("o", "v1"), qgjob.InstallDone)
	ensure(t, d, bare("o", "v1"), qgjob.InstallAvoided)
	ensure(t, NewNone(dir), bare("o", "v1"), qgjob.InstallAvoided)
	ensure(t, d, bare("o", "v2"), qgjob.InstallDone)
	ensure(t, d, bare("other", "v2"), qgjob.InstallDone)
	if env := d.Env(bare("other", "v2")); len(env) != 1 || env[0] != "QGJOB_APP_PATH=" {
		t.Errorf("env %v", env)
	}
	b := rawBuild(t, "v2", "../..//My App.apk", []byte("apk"))
	ensure(t, d, b, qgjob.InstallDone)
	path := strings.TrimPrefix(d.Env(b)[0], "QGJOB_APP_PATH=")
	if text, err := os.ReadFile(path); err != nil || string(text) != "apk" || filepath.Ext(path) != ".apk" || !strings.HasPrefix(path, dir) {
		t.Errorf("%s holds %q, %v", path, text, err)
	}
	if err := os.WriteFile(path, []byte("evil"), 0o600); err != nil {
		t.Fatal(err)
	}
	ensure(t, NewNone(dir), b, qgjob.InstallDone)
	if text, _ := os.ReadFile(path); string(text) != "apk" {
		t.Errorf("after the repair it holds %q", text)
	}
	if text, _ := os.ReadFile(b.File); string(text) != "apk" {
		t.Error("a test changed the agent's cache")
	}
}

func TestKeepName(t *testing.T) {
	for in, want := range map[string]string{"shop.apk": "shop.apk", "": "app", "..": "app", "../../x.ipa": "_.._x.ipa", "-rf": "rf", "a b\n.zip": "a_b_.zip"} {
		if got := keepName(in); got != want {
			t.Errorf("%q is kept as %q, want %q", in, got, want)
		}
	}
	if long := keepName(strings.Repeat("x", 300) + ".apk"); len(long) > 100 || !strings.HasSuffix(long, ".apk") {
		t.Errorf("a long name is kept as %q", long)
	}
}

func TestFindChromium(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "chromium")
	if err := os.WriteFile(program, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := FindChromium(program); err != nil || got != program {
		t.Errorf("%q, %v", got, err)
	}
	for _, wish := range []string{filepath.Join(dir, "nothing"), dir} {
		if _, err := FindChromium(wish); qgjob.KindOf(err) != qgjob.KindInvalid || !strings.Contains(err.Error(), wish) {
			t.Errorf("%s: %v", wish, err)
		}
	}
	t.Setenv("PATH", dir)
	if got, err := FindChromium(""); err != nil || got != program {
		t.Errorf("in PATH: %q, %v", got, err)
	}
	t.Setenv("PATH", t.TempDir())
	if got, err := FindChromium(""); err != nil || got != "" {
		t.Errorf("without one: %q, %v", got, err)
	}
	b := NewBrowser(dir, program, "")
	if err := b.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	if b.Check(t.Context()) == nil {
		t.Error("a browser that went away is not noticed")
	}
}
