package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/qualgent/qgjob"
)

// problem is an error's body (RFC 9457) with the members that qgjob adds.
type problem struct {
	Title  string     `json:"title"`
	Detail string     `json:"detail"`
	Kind   qgjob.Kind `json:"kind"`
	Code   string     `json:"code"`
	Field  string     `json:"field"`
	Hint   string     `json:"hint"`
	Offset int64      `json:"offset"`
	Errors []struct {
		Location string `json:"location"`
		Message  string `json:"message"`
	} `json:"errors"`
}

var kinds = []qgjob.Kind{qgjob.KindInvalid, qgjob.KindNotFound, qgjob.KindConflict, qgjob.KindDenied, qgjob.KindUnavailable, qgjob.KindInternal}

// kindOfStatus reads the server's table backwards, for answers that name no
// kind themselves.
func kindOfStatus(status int) qgjob.Kind {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return qgjob.KindDenied
	case http.StatusNotFound, http.StatusGone:
		return qgjob.KindNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return qgjob.KindConflict
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return qgjob.KindUnavailable
	}
	if status >= 400 && status < 500 {
		return qgjob.KindInvalid
	}
	return qgjob.KindInternal
}

// transientStatus are the answers after which a repeated call may succeed.
func transientStatus(status int) bool {
	return slices.Contains([]int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}, status)
}

// refused turns an answer that is no success into a failure. It reads the
// body, and leaves closing it to the caller.
func (c *Client) refused(res *http.Response) *failure {
	f := &failure{transient: transientStatus(res.StatusCode), elsewhere: elsewhere(res.StatusCode), after: retryAfter(res.Header, time.Now())}
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		f.err = c.redirected(res)
		return f
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxProblem))
	var p problem
	if !isJSON(res.Header) || json.Unmarshal(body, &p) != nil {
		f.err = c.foreign(res)
		return f
	}
	e := &qgjob.Error{Kind: p.Kind, Code: p.Code, Field: p.Field, Message: p.Detail, Hint: p.Hint, Offset: p.Offset}
	if !slices.Contains(kinds, p.Kind) {
		e.Kind = kindOfStatus(res.StatusCode)
	}
	if e.Message == "" {
		e.Message = p.Title
	}
	if e.Message == "" {
		e.Message = fmt.Sprintf("%s answered %s without saying why", c.base, status(res))
	}
	if e.Code == "" {
		e.Code = codeOfStatus(res.StatusCode)
	}
	for _, at := range p.Errors {
		e.Fields = append(e.Fields, qgjob.FieldError{Field: strings.TrimPrefix(at.Location, "body."), Message: at.Message})
	}
	f.err = e
	return f
}

func codeOfStatus(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return qgjob.CodeUnauthenticated
	case http.StatusRequestEntityTooLarge:
		return qgjob.CodeTooLarge
	}
	return ""
}

// foreign is the error for an answer that no qgjob server gives, such as a
// proxy's page. Its 404 is not a missing job, so it is never not_found.
func (c *Client) foreign(res *http.Response) error {
	e := &qgjob.Error{
		Kind:    kindOfStatus(res.StatusCode),
		Code:    codeOfStatus(res.StatusCode),
		Message: fmt.Sprintf("%s answered %s, not in the words of a qgjob server", c.base, status(res)),
		Hint:    "is the address right, or is a proxy in between?",
	}
	if e.Kind == qgjob.KindNotFound || e.Kind == qgjob.KindConflict || res.StatusCode < 300 {
		e.Kind = qgjob.KindUnavailable
	}
	return e
}

func (c *Client) redirected(res *http.Response) error {
	to := "another address"
	if u, err := res.Location(); err == nil {
		to = u.Scheme + "://" + u.Host
	}
	return &qgjob.Error{
		Kind:    qgjob.KindUnavailable,
		Message: fmt.Sprintf("%s redirects to %s, which is not followed: the token would go there too", c.base, to),
		Hint:    "if that is your server, give its address with --server",
	}
}

// status is "502 Bad Gateway"; the server's own words in the status line are
// not shown.
func status(res *http.Response) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", res.StatusCode, http.StatusText(res.StatusCode)))
}

func isJSON(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
}

// unreached turns an error of the transport into a failure.
func (c *Client) unreached(err error) *failure {
	f := &failure{transient: true, elsewhere: true}
	var op *net.OpError
	if errors.As(err, &op) {
		f.unsent = op.Op == "dial"
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		f.transient, f.unsent = !dns.IsNotFound, true
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		f.unsent = true
	}
	e := &qgjob.Error{
		Kind:    qgjob.KindUnavailable,
		Code:    qgjob.CodeUnreachable,
		Message: "no answer from the server at " + c.base,
		Hint:    "is it running, and is the address right?",
		Err:     cause(err),
	}
	if certificate(err) {
		f.transient, f.unsent = false, true // the request follows the handshake
		e.Message = "no trusted connection to the server at " + c.base
		e.Hint = "is its certificate signed by an authority that this machine trusts?"
	}
	f.err = e
	return f
}

// cause is the innermost part of a transport error that still says something:
// the outer ones repeat the address.
func cause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return errors.New(dns.Err)
	}
	return err
}

func certificate(err error) bool {
	return strings.Contains(err.Error(), "x509:") || strings.Contains(err.Error(), "tls: failed to verify")
}
