package server

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/qualgent/qgjob/internal/blob"
	"github.com/qualgent/qgjob/internal/client"
	"github.com/qualgent/qgjob/internal/store"
)

// TestBucketServesEveryServer uploads through one server what was begun at
// another, and reads it through a third: they share a bucket and no disk.
func TestBucketServesEveryServer(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "k")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	back := s3mem.New()
	if err := back.CreateBucket("farm"); err != nil {
		t.Fatal(err)
	}
	s3 := httptest.NewServer(gofakes3.New(back).Server())
	defer s3.Close()
	place := "s3://farm?region=us-east-1&endpoint=" + url.QueryEscape(s3.URL)
	var urls []string
	for range 3 {
		bucket, err := blob.OpenBucket(t.Context(), place, blob.Limits{MaxSize: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		st, err := store.Open(t.Context(), t.TempDir(), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		s, err := New(Config{Store: st, Hub: NewHub(), Blobs: bucket, Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		web := httptest.NewServer(s.Handler())
		defer web.Close()
		urls = append(urls, web.URL)
	}
	data := bytes.Repeat([]byte("0123456789"), 900_000)
	sum := sumOf(string(data))
	begin, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, urls[0]+"/v1/blobs/"+string(sum), bytes.NewReader(data[:1_000_000]))
	if err != nil {
		t.Fatal(err)
	}
	begin.Header.Set("Upload-Offset", "0")
	begin.Header.Set("Upload-Length", "9000000")
	res, err := http.DefaultClient.Do(begin)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("begin: %v %v", res, err)
	}
	res.Body.Close()
	c, err := client.New(urls[1], client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if sent, err := c.Upload(t.Context(), bytes.NewReader(data), int64(len(data)), sum, nil); err != nil || sent != 8_000_000 {
		t.Fatalf("the second server took %d bytes, %v; want the 8000000 that were missing", sent, err)
	}
	c, err = client.New(urls[2], client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := c.Download(t.Context(), sum, &got, int64(len(data))); err != nil || !bytes.Equal(got.Bytes(), data) {
		t.Fatalf("the third server gave %d bytes, %v", got.Len(), err)
	}
	ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, urls[2]+"/v1/blobs/"+string(sum), nil)
	if err != nil {
		t.Fatal(err)
	}
	ask.Header.Set("Range", "bytes=-4")
	if res, err = http.DefaultClient.Do(ask); err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if end, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusPartialContent || string(end) != "6789" {
		t.Errorf("the last four bytes: %d %q %v", res.StatusCode, end, err)
	}
}
