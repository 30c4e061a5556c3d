package server

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// tape is a client's end of a stream, recorded. It takes deadlines, as a
// connection does, and breaks when told so.
type tape struct {
	bytes.Buffer
	header   http.Header
	deadline time.Time
	flushed  int
	broken   atomic.Bool
}

var errHungUp = errors.New("hung up")

func (p *tape) Header() http.Header { return p.header }
func (p *tape) WriteHeader(int)     {}
func (p *tape) FlushError() error   { p.flushed = p.Len(); return nil }

// SetWriteDeadline notes the deadline.
func (p *tape) SetWriteDeadline(at time.Time) error { p.deadline = at; return nil }

// Write records, unless the client has hung up.
func (p *tape) Write(b []byte) (int, error) {
	if p.broken.Load() {
		return 0, errHungUp
	}
	return p.Buffer.Write(b)
}

func TestSilentStreamsBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{stopping: make(chan struct{})}
		client := &tape{header: http.Header{}}
		out, err := openSSE(client)
		if err != nil || client.flushed == 0 {
			t.Fatalf("the headers were not sent at once: %v", err)
		}
		p := s.newPulse()
		defer p.stop()
		begun, looks := time.Now(), 0
		for time.Since(begun) < time.Minute {
			if !p.wait(t.Context(), out) {
				t.Fatal("a silent stream was ended")
			}
			looks++
		}
		if beats := strings.Count(client.String(), ": beat\n\n"); beats < 3 || beats > 4 {
			t.Errorf("%d heartbeats in a minute, want one in %s", beats, heartbeat)
		}
		if looks != int(time.Minute/backstop) {
			t.Errorf("looked %d times in a minute, want one in %s", looks, backstop)
		}
		if client.flushed != client.Len() {
			t.Error("a heartbeat was not flushed")
		}
		if left := time.Until(client.deadline); left > writePatience || client.deadline.IsZero() {
			t.Errorf("the last write had %s", left)
		}
	})
}

func TestStreamsStopWaiting(t *testing.T) {
	for name, end := range map[string]func(*Server, *tape, context.CancelFunc){
		"the server stops":    func(s *Server, _ *tape, _ context.CancelFunc) { close(s.stopping) },
		"the client is gone":  func(_ *Server, _ *tape, cancel context.CancelFunc) { cancel() },
		"the client hangs up": func(_ *Server, c *tape, _ context.CancelFunc) { c.broken.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Server{stopping: make(chan struct{})}
				client := &tape{header: http.Header{}}
				out, err := openSSE(client)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				p := s.newPulse()
				defer p.stop()
				p.look.Stop() // only the end may wake it
				begun := time.Now()
				time.AfterFunc(time.Second, func() { end(s, client, cancel) })
				if p.wait(ctx, out, nil, nil) {
					t.Error("there is nothing to look for")
				}
				if took := time.Since(begun); took > heartbeat {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// TestBellsWake: either bell, at once; and a piece of the answer is never
// larger than what one deadline is for.
func TestBellsWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{stopping: make(chan struct{})}
		p := s.newPulse()
		defer p.stop()
		a, b := newBell(), newBell()
		for _, bell := range []*bell{a, b} {
			begun := time.Now()
			bell.ring()
			bell.ring() // one ring
			if !p.wait(t.Context(), nil, a.wake, b.wake) || time.Since(begun) != 0 {
				t.Error("a ring was not heard at once")
			}
		}
		begun := time.Now()
		if !p.wait(t.Context(), nil, a.wake, b.wake) || time.Since(begun) == 0 {
			t.Error("two rings were heard as two")
		}
	})
}
