package client

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// shelf is a server of one blob, with faults.
type shelf struct {
	mu      sync.Mutex
	sum     qgjob.Sum
	held    []byte
	total   int64
	patches int
	gets    int
	cut     func(patch int, chunk []byte) int // keeps so many bytes, then closes the connection; -1: keeps all and answers
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case strings.HasSuffix(r.URL.Path, "/info"):
		reply(w, 200, s.info())
	case r.Method == http.MethodPatch:
		s.patch(w, r)
	default:
		s.gets++
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.held))
	}
}

func (s *shelf) info() qgjob.BlobInfo {
	sum := sha256.Sum256(s.held)
	return qgjob.BlobInfo{SHA256: s.sum, Received: int64(len(s.held)), Complete: hex.EncodeToString(sum[:]) == string(s.sum) && s.patches > 0}
}

func (s *shelf) patch(w http.ResponseWriter, r *http.Request) {
	s.patches++
	chunk, _ := io.ReadAll(r.Body)
	offset, _ := strconv.ParseInt(r.Header.Get("Upload-Offset"), 10, 64)
	s.total, _ = strconv.ParseInt(r.Header.Get("Upload-Length"), 10, 64)
	if offset != int64(len(s.held)) {
		reply(w, 409, map[string]any{"detail": "elsewhere", "kind": "conflict", "code": "offset", "offset": len(s.held)})
		return
	}
	if s.cut != nil {
		if n := s.cut(s.patches, chunk); n >= 0 {
			s.held = append(s.held, chunk[:min(n, len(chunk))]...)
			panic(http.ErrAbortHandler)
		}
	}
	s.held = append(s.held, chunk...)
	reply(w, 200, s.info())
}

// stock makes a blob and a client of its shelf.
func stock(t *testing.T, size int, r Retry) (*shelf, *Client, []byte) {
	t.Helper()
	file := make([]byte, size)
	rnd := rand.NewChaCha8([32]byte{1})
	rnd.Read(file)
	sum := sha256.Sum256(file)
	s := &shelf{sum: qgjob.Sum(hex.EncodeToString(sum[:]))}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	c, err := New(srv.URL, Options{Retry: r})
	if err != nil {
		t.Fatal(err)
	}
	return s, c, file
}

func TestUpload(t *testing.T) {
	for _, size := range []int{0, 1, uploadChunk, uploadChunk*2 + 17} {
		s, c, file := stock(t, size, NoRetry)
		var seen []int64
		sent, err := c.Upload(t.Context(), bytes.NewReader(file), int64(size), s.sum, func(n int64) { seen = append(seen, n) })
		if err != nil || sent != int64(size) || !bytes.Equal(s.held, file) || s.total != int64(size) {
			t.Errorf("%d bytes: sent %d, held %d of %d, %v", size, sent, len(s.held), s.total, err)
		}
		if len(seen) == 0 || seen[len(seen)-1] != int64(size) {
			t.Errorf("%d bytes: progress %v", size, seen)
		}
		patches := s.patches
		if sent, err := c.Upload(t.Context(), bytes.NewReader(file), int64(size), s.sum, nil); err != nil || sent != 0 || s.patches != patches {
			t.Errorf("%d bytes again: sent %d, %v", size, sent, err)
		}
	}
}

// TestUploadResumes cuts the connection in the middle of a chunk, after a
// whole chunk whose answer is lost, and before anything has come.
func TestUploadResumes(t *testing.T) {
	s, c, file := stock(t, uploadChunk*3+5, quick)
	s.cut = func(patch int, chunk []byte) int {
		switch patch {
		case 1:
			return 1000
		case 3:
			return len(chunk)
		case 4, 5:
			return 0
		}
		return -1
	}
	sent, err := c.Upload(t.Context(), bytes.NewReader(file), int64(len(file)), s.sum, nil)
	if err != nil || !bytes.Equal(s.held, file) {
		t.Fatalf("held %d of %d, sent %d: %v", len(s.held), len(file), sent, err)
	}
	if sent > int64(len(file)) {
		t.Errorf("%d bytes were counted as sent for a file of %d", sent, len(file))
	}
}

func TestUploadGoesOnWhereAnotherStopped(t *testing.T) {
	s, c, file := stock(t, uploadChunk+100, NoRetry)
	s.held = append(s.held, file[:uploadChunk]...)
	sent, err := c.Upload(t.Context(), bytes.NewReader(file), int64(len(file)), s.sum, nil)
	if err != nil || sent != 100 || s.patches != 1 {
		t.Errorf("sent %d in %d chunks: %v", sent, s.patches, err)
	}
}

func TestUploadFollowsTheOffset(t *testing.T) {
	s, c, file := stock(t, 5000, NoRetry)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/info") {
			reply(w, 200, qgjob.BlobInfo{SHA256: s.sum}) // out of date: another upload went on meanwhile
			return
		}
		s.ServeHTTP(w, r)
	}))
	defer srv.Close()
	s.held = append(s.held, file[:3000]...)
	c.all.bases[0] = srv.URL
	if sent, err := c.Upload(t.Context(), bytes.NewReader(file), 5000, s.sum, nil); err != nil || sent != 2000 {
		t.Errorf("sent %d: %v", sent, err)
	}
}

func TestUploadThatGoesNowhereEnds(t *testing.T) {
	for name, info := range map[string]qgjob.BlobInfo{"stays": {Received: 0}, "beyond": {Received: 1 << 40}, "negative": {Received: -1}} {
		c := serve(t, NoRetry, func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, info) })
		if _, err := c.Upload(t.Context(), strings.NewReader("abc"), 3, qgjob.Sum(strings.Repeat("a", 64)), nil); qgjob.KindOf(err) != qgjob.KindInternal || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUploadRefused(t *testing.T) {
	c := serve(t, quick, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			reply(w, 200, qgjob.BlobInfo{})
			return
		}
		reply(w, 413, map[string]string{"detail": "at most 2 bytes", "kind": "invalid", "code": "too_large"})
	})
	_, err := c.Upload(t.Context(), strings.NewReader("abc"), 3, qgjob.Sum(strings.Repeat("a", 64)), nil)
	if qgjob.CodeOf(err) != qgjob.CodeTooLarge {
		t.Error(err)
	}
}

func TestDownload(t *testing.T) {
	s, c, file := stock(t, 300_000, NoRetry)
	s.held = file
	var out bytes.Buffer
	n, err := c.Download(t.Context(), s.sum, &out, 300_000)
	if err != nil || n != 300_000 || !bytes.Equal(out.Bytes(), file) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if _, err := c.Download(t.Context(), s.sum, io.Discard, 299_999); qgjob.CodeOf(err) != qgjob.CodeTooLarge {
		t.Errorf("over the limit: %v", err)
	}
	s.held = append([]byte{file[0] ^ 1}, file[1:]...)
	if _, err := c.Download(t.Context(), s.sum, io.Discard, 300_000); qgjob.KindOf(err) != qgjob.KindInternal || err == nil {
		t.Errorf("one bit is wrong: %v", err)
	}
	s.held = file[:299_999]
	if _, err := c.Download(t.Context(), s.sum, io.Discard, 300_000); err == nil {
		t.Error("a byte is missing, and nobody says so")
	}
	if _, err := c.Download(t.Context(), s.sum, full{}, 300_000); err == nil {
		t.Error("the disk is full, and nobody says so")
	}
}

func TestDownloadResumes(t *testing.T) {
	s, c, file := stock(t, 500_000, quick)
	s.held = file
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(&short{ResponseWriter: w, left: 150_000}, r)
	}))
	defer srv.Close()
	c.all.bases[0] = srv.URL
	var out bytes.Buffer
	n, err := c.Download(t.Context(), s.sum, &out, 1<<20)
	if err != nil || n != 500_000 || !bytes.Equal(out.Bytes(), file) || s.gets < 4 {
		t.Errorf("%d bytes in %d requests: %v", n, s.gets, err)
	}
}

// short breaks the connection off after so many bytes.
type short struct {
	http.ResponseWriter
	left int
}

func (s *short) Write(p []byte) (int, error) {
	if s.left <= 0 {
		s.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	n, err := s.ResponseWriter.Write(p[:min(len(p), s.left)])
	if s.left -= n; err == nil && n < len(p) {
		s.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}
