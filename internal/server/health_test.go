package server

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob/internal/store"
)

func TestHealth(t *testing.T) {
	h := newHouse(t)
	for path, want := range map[string]string{"/healthz": `{"status":"ok"}`, "/readyz": `{"status":"ready"}`} {
		if status, body := h.get(path); status != 200 || strings.TrimSpace(body) != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if info, err := h.blobs.Stat(sumOf(strings.Repeat("\x00", 4096))); err != nil || info.Complete {
		t.Errorf("asking for readiness left a blob: %+v, %v", info, err)
	}
}

// TestReadyNamesWhatIsWrong, and healthz stays good: a restart would not help.
func TestReadyNamesWhatIsWrong(t *testing.T) {
	h := newHouse(t)
	if err := os.RemoveAll(h.blobDir); err != nil {
		t.Fatal(err)
	}
	res := h.send("GET", "/readyz", "")
	status, body := h.read(res)
	if status != 503 || !strings.Contains(body, "builds and artifacts cannot be stored") || strings.Contains(body, "database") || strings.Contains(body, h.blobDir) {
		t.Errorf("%d %s", status, body)
	}
	if kind := res.Header.Get("Content-Type"); kind != "application/problem+json" || res.Header.Get("Retry-After") == "" {
		t.Errorf("Content-Type %s, Retry-After %q", kind, res.Header.Get("Retry-After"))
	}
	if status, _ := h.get("/healthz"); status != 200 {
		t.Errorf("healthz: %d", status)
	}
}

func TestReadyWithoutItsDatabase(t *testing.T) {
	h := newHouse(t)
	gone, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	s := &Server{Config: Config{Store: gone, Blobs: h.blobs, Log: slog.New(slog.DiscardHandler)}}
	err = s.checkReady(t.Context())
	if err == nil || !strings.Contains(err.Error(), "not ready: the database does not answer") {
		t.Errorf("%v", err)
	}
}

// TestReadyAsksSeldom: the route is open, so its questions are not for sale.
func TestReadyAsksSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, wrong := 0, errors.New("wrong")
		r := &readiness{check: func(context.Context) error { asked++; return wrong }}
		for range 100 {
			if err := r.now(t.Context()); !errors.Is(err, wrong) {
				t.Fatal(err)
			}
		}
		if asked != 1 {
			t.Errorf("asked %d times in an instant", asked)
		}
		time.Sleep(readyFor)
		wrong = nil
		if err := r.now(t.Context()); err != nil || asked != 2 {
			t.Errorf("after %s: %v, asked %d times", readyFor, err, asked)
		}
	})
}
