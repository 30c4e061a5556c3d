package qgjob

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what the caller of a failed operation can do about it.
type Kind string

// The six kinds of error. Each maps to one HTTP status (server, client) and
// one exit code (cli), in one table there.
const (
	KindInvalid     Kind = "invalid"     // the request is wrong; change it
	KindNotFound    Kind = "not_found"   // no such thing; check the id
	KindConflict    Kind = "conflict"    // the thing's state forbids it; look at it again
	KindDenied      Kind = "denied"      // not allowed; get a token or a scope
	KindUnavailable Kind = "unavailable" // cannot be done now; try again later
	KindInternal    Kind = "internal"    // a fault of ours; report it
)

// Codes are stable words that programs may branch on, finer than a Kind.
const (
	CodeStaleLease      = "stale_lease"      // the lease is not the job's current one
	CodeCancelling      = "cancelling"       // the job is being cancelled
	CodeAgentSuperseded = "agent_superseded" // a newer incarnation of the agent has registered
	CodeAgentUnknown    = "agent_unknown"    // the agent must register first
	CodeAgentBusy       = "agent_busy"       // the agent holds a job already
	CodeOffset          = "offset"           // append at Error.Offset instead
	CodeKeyReused       = "key_reused"       // an idempotency key came back with another body
	CodeTerminal        = "terminal"         // the job has ended
	CodeUnauthenticated = "unauthenticated"  // no token, or not a valid one
	CodeTokenExpired    = "token_expired"    // the token was valid once; get a new one
	CodeTokenRevoked    = "token_revoked"    // somebody took the token back
	CodeScope           = "scope"            // the token is for other things
	CodeOtherOrg        = "other_org"        // the token is of another org than the one that the request names
	CodeUnreachable     = "unreachable"      // no answer from the server at the address tried
	CodeTooLarge        = "too_large"        // over a limit that the message names
	CodeNotStarted      = "not_started"      // a result for a lease that was never started
	CodeFailover        = "failover"         // the database failed over: no claims and starts for Error.RetryAfter
)

// Error is every error that crosses a room's border. Message says what
// happened and to which thing; Hint says what to do next.
type Error struct {
	Kind    Kind
	Code    string // one of the Code constants, or empty
	Field   string // the request field at fault, or empty
	Message string
	Hint    string
	Offset  int64        // with CodeOffset: the length at which to resume, in bytes
	Fields  []FieldError // every field at fault when there are several
	// RetryAfter is how long to wait before another try, of what is
	// unavailable; 0: no longer than usual.
	RetryAfter time.Duration
	Err        error // the cause, for logs; never shown to users of the API
}

// FieldError names one field of a request and what is allowed there.
type FieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// Error returns the message, the hint in brackets, and the cause.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	if e.Err != nil {
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Invalid returns an error of KindInvalid about one field.
func Invalid(field, message string) *Error {
	return &Error{Kind: KindInvalid, Field: field, Message: message}
}

// NotFound returns an error of KindNotFound.
func NotFound(format string, a ...any) *Error {
	return &Error{Kind: KindNotFound, Message: fmt.Sprintf(format, a...)}
}

// Conflict returns an error of KindConflict with a Code.
func Conflict(code, format string, a ...any) *Error {
	return &Error{Kind: KindConflict, Code: code, Message: fmt.Sprintf(format, a...)}
}

// Unavailable returns an error of KindUnavailable that wraps its cause.
func Unavailable(err error, format string, a ...any) *Error {
	return &Error{Kind: KindUnavailable, Message: fmt.Sprintf(format, a...), Err: err}
}

// KindOf returns the kind of the first *Error in err's chain; any other error
// is KindInternal, never not_found. No error has no kind.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}

// CodeOf returns the Code of the first *Error in err's chain, or "".
func CodeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}
