package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/qualgent/qgjob"
)

// problem is an error as the API writes it: RFC 9457 with members of ours.
type problem struct {
	Type   string         `json:"type" doc:"always about:blank"`
	Title  string         `json:"title" doc:"the status in words"`
	Status int            `json:"status"`
	Detail string         `json:"detail" doc:"what happened, and to which thing"`
	Kind   qgjob.Kind     `json:"kind" enum:"invalid,not_found,conflict,denied,unavailable,internal" doc:"what the caller can do about it"`
	Code   string         `json:"code,omitempty" doc:"finer than kind; programs may branch on it"`
	Field  string         `json:"field,omitempty" doc:"the first field at fault, such as jobs[3].test_path"`
	Hint   string         `json:"hint,omitempty" doc:"what to do next"`
	Offset *int64         `json:"offset,omitempty" doc:"with code offset: the byte to go on from"`
	Errors []problemField `json:"errors,omitempty" doc:"every field at fault"`
}

// problemField is one field at fault.
type problemField struct {
	Location string `json:"location" doc:"body.…, query.…, path.… or header.…"`
	Message  string `json:"message"`
}

// problemError is a problem on its way through huma, which writes it as it is.
type problemError struct {
	problem
	header http.Header
}

// Error returns the detail.
func (p *problemError) Error() string { return p.Detail }

// GetStatus tells huma the status.
func (p *problemError) GetStatus() int { return p.Status }

// GetHeaders tells huma the headers that belong to the status.
func (p *problemError) GetHeaders() http.Header { return p.header }

// ContentType tells huma that this is no plain JSON.
func (p *problemError) ContentType(string) string { return problemType }

const problemType = "application/problem+json"

// retryAfterSeconds is what an unavailable server asks its callers to wait.
const retryAfterSeconds = 1

// statusOf is the one map from an error to an HTTP status; the client reads
// it backwards.
func statusOf(e *qgjob.Error) int {
	switch e.Code {
	case qgjob.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case qgjob.CodeUnauthenticated, qgjob.CodeTokenExpired, qgjob.CodeTokenRevoked:
		return http.StatusUnauthorized
	}
	switch e.Kind {
	case qgjob.KindInvalid:
		return http.StatusUnprocessableEntity
	case qgjob.KindNotFound:
		return http.StatusNotFound
	case qgjob.KindConflict:
		return http.StatusConflict
	case qgjob.KindDenied:
		return http.StatusForbidden
	case qgjob.KindUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// statusError gives an error another status than its kind has: malformed JSON
// is 400, a wrong content type 415.
type statusError struct {
	err    *qgjob.Error
	status int
}

// Error returns the error's own text.
func (e *statusError) Error() string { return e.err.Error() }

// Unwrap returns the error without its status.
func (e *statusError) Unwrap() error { return e.err }

// problemOf turns any error into the problem that is shown for it. What is
// not one of ours, and what is internal, is logged here, once, and shown
// without its cause.
func (s *Server) problemOf(ctx context.Context, err error) *problemError {
	e, ok := errors.AsType[*qgjob.Error](err)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		// Nobody is there to read this; it is no fault of ours.
		e, ok = qgjob.Unavailable(err, "the request was given up"), true
	}
	if !ok || e.Kind == qgjob.KindInternal {
		id := requestID(ctx)
		s.Log.LogAttrs(ctx, slog.LevelError, "request failed", slog.String("request", id), slog.Any("error", err))
		e = &qgjob.Error{Kind: qgjob.KindInternal, Message: "the server could not do this: a fault of its own", Hint: "report it; its log has the cause under request " + id}
	}
	status := statusOf(e)
	if other, ok := errors.AsType[*statusError](err); ok {
		status = other.status
	}
	p := &problemError{problem: problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: e.Message, Kind: e.Kind, Code: e.Code, Field: bare(e.Field), Hint: e.Hint}}
	if e.Code == qgjob.CodeOffset {
		p.Offset = &e.Offset
	}
	for _, f := range e.Fields {
		p.Errors = append(p.Errors, problemField{Location: located(f.Field), Message: f.Message})
	}
	if len(p.Errors) == 0 && e.Field != "" {
		p.Errors = []problemField{{Location: located(e.Field), Message: e.Message}}
	}
	switch status {
	case http.StatusServiceUnavailable:
		wait := max(retryAfterSeconds, int((e.RetryAfter+time.Second-1)/time.Second))
		p.header = http.Header{"Retry-After": {strconv.Itoa(wait)}}
	case http.StatusUnauthorized:
		p.header = http.Header{"Www-Authenticate": {`Bearer realm="qgjob"`}}
	}
	return p
}

// located writes a field's place in the request; a bare name is in the body.
func located(field string) string {
	for _, in := range []string{"body.", "query.", "path.", "header."} {
		if strings.HasPrefix(field, in) {
			return field
		}
	}
	if field == "Idempotency-Key" {
		return "header." + field
	}
	return "body." + field
}

// writeProblem answers with an error, as problem+json.
func (s *Server) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := s.problemOf(r.Context(), err)
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", problemType)
	w.Header().Del("Content-Length")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p.problem) // the client is gone, or has its answer
}

func init() {
	// huma makes its own errors (validation, negotiation) with these two
	// variables of its package; there is no other way to shape them.
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		return serverOf(ctx.Context()).problemOf(ctx.Context(), refusal(status, msg, errs))
	}
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return serverOf(context.Background()).problemOf(context.Background(), refusal(status, msg, errs))
	}
}

// refusal turns what huma found wrong with a request into an error that names
// the fields as the API's users know them.
func refusal(status int, msg string, errs []error) error {
	if status >= 500 {
		return errors.Join(append([]error{errors.New(msg)}, errs...)...)
	}
	e := &qgjob.Error{Kind: qgjob.KindInvalid, Message: msg}
	for _, err := range errs {
		var detail huma.ErrorDetailer
		if !errors.As(err, &detail) {
			e.Fields = append(e.Fields, qgjob.FieldError{Field: "body", Message: err.Error()})
			continue
		}
		d := detail.ErrorDetail()
		e.Fields = append(e.Fields, fieldError(d.Location, d.Message))
	}
	if len(e.Fields) > 0 {
		first := e.Fields[0]
		e.Field = bare(first.Field)
		e.Message = e.Field + ": " + first.Message
		if n := len(e.Fields) - 1; n > 0 {
			e.Message += " (and " + strconv.Itoa(n) + " more)"
		}
	}
	switch status {
	case http.StatusUnprocessableEntity, 0:
		return e
	}
	return &statusError{e, status}
}

// fieldError says in our words what huma says of one place.
func fieldError(location, message string) qgjob.FieldError {
	if name, what, ok := strings.Cut(message, ": "); ok && location == "body" { // see unmarshal
		return qgjob.FieldError{Field: "body." + name, Message: what}
	}
	if name, ok := strings.CutPrefix(message, "expected required property "); ok {
		name, _, _ = strings.Cut(name, " ")
		return qgjob.FieldError{Field: location + "." + name, Message: "is required"}
	}
	switch message {
	case "unexpected property":
		message = "is not a known field"
	case "unknown query parameter":
		message = "is not a known parameter"
	}
	return qgjob.FieldError{Field: location, Message: message}
}

// bare is the field without the part of the request that it stands in.
func bare(location string) string {
	for _, in := range []string{"body.", "query.", "path.", "header."} {
		if name, ok := strings.CutPrefix(location, in); ok {
			return name
		}
	}
	return location
}
