package server

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
)

func sumOf(data string) qgjob.Sum {
	sum := sha256.Sum256([]byte(data))
	return qgjob.Sum(hex.EncodeToString(sum[:]))
}

func (h *house) patch(sum qgjob.Sum, offset, total int, data string) (int, string) {
	h.Helper()
	return h.read(h.send("PATCH", "/v1/blobs/"+string(sum), data, fmt.Sprintf("Upload-Offset: %d", offset), fmt.Sprintf("Upload-Length: %d", total)))
}

func TestBlobUploadResumes(t *testing.T) {
	h := newHouse(t)
	data := strings.Repeat("an app build ", 1000)
	sum, n := sumOf(data), len(data)
	info := func(received int, complete bool) string {
		return fmt.Sprintf(`{"sha256":"%s","complete":%t,"received":%d}`+"\n", sum, complete, received)
	}
	for i, step := range []struct {
		offset int
		data   string
		status int
		want   string
	}{
		{0, data[:4000], 200, info(4000, false)},
		{0, data[:4000], 409, `"offset":4000`}, // sent again: nothing changes
		{5000, data[5000:], 409, `"offset":4000`},
		{4000, data[4000:9000], 200, info(9000, false)},
		{9000, data[9000:], 200, info(n, true)},
		{0, data, 200, info(n, true)}, // all of it again: it is here
	} {
		if status, body := h.patch(sum, step.offset, n, step.data); status != step.status || !strings.Contains(body, step.want) {
			t.Errorf("step %d: %d %s, want %d %s", i, status, body, step.status, step.want)
		}
	}
	if status, body := h.get("/v1/blobs/" + string(sum)); status != 200 || body != data {
		t.Errorf("fetched %d, %d bytes of %d", status, len(body), n)
	}
}

func TestBlobUploadIsRefused(t *testing.T) {
	h := newHouse(t)
	sum := string(sumOf("good"))
	for _, c := range []struct {
		what, sum, offset, total, body string
		status                         int
		want                           string
	}{
		{"not a sum", "XYZ", "0", "4", "good", 422, "sha256"},
		{"no offset", sum, "", "4", "good", 422, "Upload-Offset"},
		{"no length", sum, "0", "", "good", 422, "Upload-Length"},
		{"offset below zero", sum, "-1", "4", "good", 422, "Upload-Offset"},
		{"no number", sum, "0", "four", "good", 422, "Upload-Length"},
		{"offset behind the end", sum, "5", "4", "", 422, "offset"},
		{"more than announced", sum, "0", "3", "good", 422, "announced"},
		{"over the folder's limit", sum, "0", "9000000", "good", 413, "too_large"},
		{"over every limit", sum, "0", "99999999999999", "good", 413, "too_large"},
		{"other bytes", sum, "0", "4", "evil", 422, string(sumOf("evil"))},
	} {
		var header []string
		if c.offset != "" {
			header = append(header, "Upload-Offset: "+c.offset)
		}
		if c.total != "" {
			header = append(header, "Upload-Length: "+c.total)
		}
		status, body := h.read(h.send("PATCH", "/v1/blobs/"+c.sum, c.body, header...))
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s, want %d %s", c.what, status, body, c.status, c.want)
		}
	}
	if status, _ := h.get("/v1/blobs/" + sum); status != 404 {
		t.Error("a refused upload left a blob")
	}
	if info, err := h.blobs.Stat(qgjob.Sum(sum)); err != nil || info.Received != 0 {
		t.Errorf("and %d bytes of one (%v)", info.Received, err)
	}
}

func TestBlobRangesAndETags(t *testing.T) {
	h := newHouse(t)
	data := "0123456789"
	sum := sumOf(data)
	h.patch(sum, 0, len(data), data)
	path := "/v1/blobs/" + string(sum)
	for _, c := range []struct {
		header string
		status int
		body   string
	}{
		{"Range: bytes=4-", 206, "456789"}, {"Range: bytes=2-3", 206, "23"}, {"Range: bytes=-1", 206, "9"},
		{"If-None-Match: \"" + string(sum) + "\"", 304, ""}, {"If-None-Match: \"other\"", 200, data},
	} {
		if status, body := h.get(path, c.header); status != c.status || body != c.body {
			t.Errorf("%s: %d %q, want %d %q", c.header, status, body, c.status, c.body)
		}
	}
	if status, _ := h.get(path, "Range: bytes=99-"); status != 416 {
		t.Errorf("a range behind the end: %d, want 416", status)
	}
	res := h.send("HEAD", path, "")
	h.read(res)
	if res.ContentLength != 10 || res.Header.Get("ETag") != `"`+string(sum)+`"` {
		t.Errorf("HEAD: length %d, ETag %s", res.ContentLength, res.Header.Get("ETag"))
	}
}

// TestArtifactsCannotAct: whatever a test left behind, a browser at most shows
// a picture.
func TestArtifactsCannotAct(t *testing.T) {
	h := newHouse(t)
	h.submit("v1", 0, "a.js")
	o := h.agent("b1").start()
	for _, c := range []struct{ name, kind, wantKind, wantDisposition string }{
		{"shots/home.png", "image/png", "image/png", `inline; filename=home.png`},
		{"a b.webm", "video/webm; codecs=vp9", "video/webm", `inline; filename="a b.webm"`},
		{"evil.html", "text/html", "text/html", `attachment; filename=evil.html`},
		{"evil.svg", "image/svg+xml", "image/svg+xml", `attachment; filename=evil.svg`},
		{"trace.zip", "application/zip", "application/zip", `attachment; filename=trace.zip`},
		{"nothing", "", "application/octet-stream", `attachment; filename=nothing`},
		{"odd", "a\r\nSet-Cookie: x=1", "application/octet-stream", `attachment; filename=odd`},
		{"IMAGE", "IMAGE/PNG", "image/png", `inline; filename=IMAGE`},
		{`x";y=.txt`, "text/plain", "text/plain", `attachment; filename="x_;y=.txt"`},
		{"ü.txt", "text/plain", "text/plain", `attachment; filename*=utf-8''%C3%BC.txt`},
	} {
		body := "<script>alert(1)</script>" + c.name
		h.patch(sumOf(body), 0, len(body), body)
		if _, err := h.store.AddArtifact(t.Context(), qgjob.Artifact{LeaseID: o.LeaseID, Name: c.name, SHA256: sumOf(body), Size: int64(len(body)), ContentType: c.kind}); err != nil {
			t.Fatal(err)
		}
		path := "/v1/artifacts/" + string(o.LeaseID) + "/" + (&urlPath{c.name}).String()
		res := h.send("GET", path, "")
		if status, got := h.read(res); status != 200 || got != body {
			t.Errorf("%s: %d %q", c.name, status, got)
			continue
		}
		for name, want := range map[string]string{
			"Content-Type": c.wantKind, "Content-Disposition": c.wantDisposition, "X-Content-Type-Options": "nosniff",
			"Content-Security-Policy": "sandbox; default-src 'none'", "Cross-Origin-Resource-Policy": "same-origin", "Set-Cookie": "",
		} {
			if got := res.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", c.name, name, got, want)
			}
		}
	}
}

// urlPath escapes a name for a URL, slashes left as they are.
type urlPath struct{ name string }

// String gives the escaped path.
func (p *urlPath) String() string {
	u, _ := http.NewRequest("GET", "http://x", nil)
	u.URL.Path = "/" + p.name
	return strings.TrimPrefix(u.URL.EscapedPath(), "/")
}

func TestArtifactNamesLeadNowhere(t *testing.T) {
	h := newHouse(t)
	h.submit("v1", 0, "a.js")
	o := h.agent("b1").start()
	lease := "/v1/artifacts/" + string(o.LeaseID) + "/"
	for path, want := range map[string]int{
		lease + "none.png": 404, lease + "..%2F..%2Fetc%2Fpasswd": 404, lease + "%00": 404, lease: 404,
		"/v1/artifacts/short/x.png": 422, "/v1/artifacts/" + strings.Repeat("0", 32) + "/x.png": 404,
	} {
		if status, body := h.get(path); status != want {
			t.Errorf("%s: %d %.200s, want %d", path, status, body, want)
		}
	}
	// An artifact whose bytes are gone is not found, and not a fault of the server.
	gone := qgjob.Artifact{LeaseID: o.LeaseID, Name: "gone.png", SHA256: sumOf("gone"), ContentType: "image/png"}
	if _, err := h.store.AddArtifact(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if status, _ := h.get(lease + "gone.png"); status != 404 {
		t.Errorf("bytes that are gone: %d, want 404", status)
	}
}

// trickle gives a byte every so often.
type trickle struct {
	every time.Duration
	size  int
}

// Read waits and gives size bytes.
func (s trickle) Read(p []byte) (int, error) {
	time.Sleep(s.every)
	return min(s.size, len(p)), nil
}

// TestUploadMustProgress: a trickle is given up after a minute, a thin line
// that moves is not, however long it takes.
func TestUploadMustProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		n, err := io.Copy(io.Discard, &steadyBody{r: trickle{5 * time.Second, 1}})
		if e, ok := errors.AsType[*qgjob.Error](err); !ok || e.Kind != qgjob.KindUnavailable {
			t.Fatalf("a trickle ended with %v", err)
		}
		if took := time.Since(begun); took < bodyPatience || took > bodyPatience+10*time.Second || n > 20 {
			t.Errorf("given up after %s and %d bytes", took, n)
		}
		slow := &steadyBody{r: io.LimitReader(trickle{20 * time.Second, 8 << 10}, 8<<20)}
		begun = time.Now()
		if n, err := io.Copy(io.Discard, slow); err != nil || n != 8<<20 {
			t.Errorf("a thin line was given up after %s: %d bytes, %v", time.Since(begun), n, err)
		}
		if took := time.Since(begun); took < 5*time.Hour {
			t.Errorf("8 MiB on a thin line took %s only", took)
		}
	})
}
