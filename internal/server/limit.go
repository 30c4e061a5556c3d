package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/qualgent/qgjob"
)

// How long a request's body may take: bodyGrace, and a second for each
// bodyRate bytes that have come. What drips slower is cut off, however large
// the body may be.
const (
	bodyGrace = 20 * time.Second
	bodyRate  = 64 << 10 // bytes a second: a bad mobile link
)

// bounded cuts bodies that are too large (413) or too slow (the connection's
// read deadline). limit is in bytes; below zero the route sees to it itself.
func (s *Server) bounded(limit int64, next http.Handler) http.Handler {
	if limit == 0 {
		limit = smallBody
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if limit > 0 && r.ContentLength > limit {
			w.Header().Set("Connection", "close") // the rest of it is not read
			s.writeProblem(w, r, tooLarge(limit))
			return
		}
		if limit > 0 && r.Body != nil && r.Body != http.NoBody {
			r.Body = newBoundBody(w, r.Body, limit)
		}
		next.ServeHTTP(w, r)
	})
}

func tooLarge(limit int64) error {
	return &qgjob.Error{Kind: qgjob.KindInvalid, Code: qgjob.CodeTooLarge, Message: fmt.Sprintf("the request's body is over the limit of %d bytes", limit)}
}

// boundBody is a body with bounds of size and time.
type boundBody struct {
	io.ReadCloser
	control *http.ResponseController
	limit   int64 // bytes
	read    int64 // bytes so far
	began   time.Time
}

func newBoundBody(w http.ResponseWriter, body io.ReadCloser, limit int64) *boundBody {
	return &boundBody{ReadCloser: body, control: http.NewResponseController(w), limit: limit, began: time.Now()}
}

// Read reads, or refuses what is too large (code too_large) or too slow
// (unavailable).
func (b *boundBody) Read(p []byte) (int, error) {
	// Errors mean a connection without deadlines, such as a test's recorder.
	_ = b.control.SetReadDeadline(b.began.Add(bodyGrace + time.Duration(b.read/bodyRate)*time.Second))
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	switch {
	case b.read > b.limit:
		n, err = 0, tooLarge(b.limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, qgjob.Unavailable(err, "the request's body came too slowly")
	case err != nil && !errors.Is(err, io.EOF):
		err = qgjob.Unavailable(err, "the request's body was cut off")
	}
	if err != nil {
		// The answer may take its time: a claim waits for work.
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// Close closes the body and forgets its deadline.
func (b *boundBody) Close() error {
	_ = b.control.SetReadDeadline(time.Time{})
	return b.ReadCloser.Close()
}
