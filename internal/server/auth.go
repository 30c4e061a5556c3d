package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/qualgent/qgjob"
)

// authenticate lets a request through that bears the server's token, or when
// the route is open or the server has none. It compares sums, so that the time
// it takes tells nothing about the token, its length included.
func (s *Server) authenticate(need scope, next http.Handler) http.Handler {
	if s.Token == "" || need == scopeNone {
		return next
	}
	want := sha256.Sum256([]byte(s.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, given := bearer(r)
		got := sha256.Sum256([]byte(token))
		if !given || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			s.writeProblem(w, r, unauthenticated(given))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// bearer reads the token of a request. The scheme's case does not matter
// (RFC 9110).
func bearer(r *http.Request) (token string, given bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(token), true
}

func unauthenticated(given bool) error {
	e := &qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeUnauthenticated, Message: "this needs a token, and the request has none",
		Hint: "set QGJOB_TOKEN, or send Authorization: Bearer TOKEN"}
	if given {
		e.Message = "the token is not a valid one"
	}
	return e
}
