package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/qualgent/qgjob"
)

// requestKey finds a request's frame in its context.
type requestKey struct{}

// frame is what every layer may want to know of a request.
type frame struct {
	server *Server
	caller caller
	id     string // random; shown with faults of the server and in its log
}

// nobody answers for requests that came in by no server's door.
var nobody = &Server{Config: Config{Log: slog.New(slog.DiscardHandler)}}

func serverOf(ctx context.Context) *Server {
	if f, ok := ctx.Value(requestKey{}).(*frame); ok {
		return f.server
	}
	return nobody
}

func requestID(ctx context.Context) string {
	if f, ok := ctx.Value(requestKey{}).(*frame); ok {
		return f.id
	}
	return "unknown"
}

// announce gives every request its id and every answer the headers that keep
// browsers from guessing: what a test left behind is never run by a viewer.
func (s *Server) announce(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails, see crypto/rand
		id := hex.EncodeToString(b[:])
		h := w.Header()
		h.Set("X-Request-Id", id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		if s.Store != nil { // there is none yet: see Waiting
			if reign := s.Store.Reign(); reign != "" {
				h.Set(qgjob.ReignHeader, reign)
			}
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, &frame{server: s, id: id})))
	})
}

// sameOrigin refuses what a page of another site makes a browser send, except
// to look: a server on loopback needs no token, and must not run tests for
// whoever's page its user has open. Other clients send no such headers.
func (s *Server) sameOrigin(next http.Handler) http.Handler {
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.writeProblem(w, r, &qgjob.Error{Kind: qgjob.KindDenied, Message: "a page of another site may not change anything here", Hint: "call the API from a program, or from a page of this server"})
	}))
	return guard.Handler(next)
}

// onceWriter remembers whether an answer has begun.
type onceWriter struct {
	http.ResponseWriter
	begun bool
}

// WriteHeader notes that the answer has begun.
func (w *onceWriter) WriteHeader(status int) {
	w.begun = w.begun || status >= 200
	w.ResponseWriter.WriteHeader(status)
}

// Write notes that the answer has begun.
func (w *onceWriter) Write(b []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *onceWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// survive turns a panic into a 500, or cuts the connection when the answer
// has begun already: half an answer must not look like a whole one.
func (s *Server) survive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		once := &onceWriter{ResponseWriter: w}
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if cut, ok := p.(error); ok && errors.Is(cut, http.ErrAbortHandler) {
				panic(p)
			}
			err := fmt.Errorf("%s %s panicked: %v\n%s", r.Method, r.URL.Path, p, debug.Stack())
			if once.begun {
				s.Log.ErrorContext(r.Context(), "request failed", "request", requestID(r.Context()), "error", err)
				panic(http.ErrAbortHandler)
			}
			s.writeProblem(w, r, err)
		}()
		next.ServeHTTP(once, r)
	})
}

// lost answers what no route is for. The mux knows which: an unknown path
// (404) or a method that the path does not have (405, with Allow).
func (s *Server) lost(w http.ResponseWriter, r *http.Request, answer http.Handler) {
	heard := &muted{header: http.Header{}}
	answer.ServeHTTP(heard, r)
	if allow := heard.header.Get("Allow"); heard.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", allow)
		s.writeProblem(w, r, &statusError{&qgjob.Error{Kind: qgjob.KindInvalid, Message: fmt.Sprintf("%s is not possible here", r.Method), Hint: "allowed: " + allow}, heard.status})
		return
	}
	e := qgjob.NotFound("the API has no such path")
	e.Hint = "see /openapi.json for what there is"
	s.writeProblem(w, r, e)
}

// muted takes an answer that nobody is to see.
type muted struct {
	header http.Header
	status int
}

// Header gives the headers of the answer.
func (m *muted) Header() http.Header { return m.header }

// Write throws the body away.
func (m *muted) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader notes the status.
func (m *muted) WriteHeader(status int) { m.status = status }
