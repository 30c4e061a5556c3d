package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store"
)

// caller is who makes a request. The zero caller may do everything: the
// bearer of the server's own token, or anybody on a server that asks for none.
type caller struct {
	id    string          // of the token; empty: the server's own, or none
	kind  qgjob.TokenKind // empty: as above
	org   qgjob.OrgID     // empty: all orgs
	agent qgjob.AgentID   // of an agent's token: the name it may bear; empty: any
	run   string          // of a CI run's token: the CI run; empty: any
}

// sees reports whether a thing is one that the caller may know of.
func (c caller) sees(o store.Owner) bool {
	return (c.org == "" || c.org == o.Org) && (c.run == "" || c.run == o.Run)
}

// mayOrg refuses (denied) an org that the caller names and does not belong to.
// That says nothing of the org: it need not exist.
func (c caller) mayOrg(org qgjob.OrgID) error {
	if c.org == "" || c.org == org {
		return nil
	}
	return &qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeOtherOrg, Message: fmt.Sprintf("this token is of org %s, and the request is about another one", c.org),
		Hint: "name the token's org, or use a token of the other"}
}

// callerOf is who made the request that a context belongs to.
func callerOf(ctx context.Context) caller {
	if f, ok := ctx.Value(requestKey{}).(*frame); ok {
		return f.caller
	}
	return caller{}
}

// authenticate lets a request through whose token is valid, has the route's
// scope, and is of the org and the agent that the route's thing belongs to.
func (s *Server) authenticate(rt route, next http.Handler) http.Handler {
	if rt.Scope == scopeOpen {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := s.identify(r)
		if err == nil {
			err = who.may(rt.Scope)
		}
		if err != nil {
			s.writeProblem(w, r, err)
			return
		}
		if f, ok := r.Context().Value(requestKey{}).(*frame); ok {
			f.caller = who
		}
		if r, err = s.admit(who, rt.Owner, r); err != nil {
			s.refuse(rt, w, r, err)
			return
		}
		if rt.Stream && who.id != "" {
			s.watched(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuse answers what the caller may not see as if it were not there.
func (s *Server) refuse(rt route, w http.ResponseWriter, r *http.Request, err error) {
	if rt.Missing != nil && qgjob.KindOf(err) == qgjob.KindNotFound {
		rt.Missing(w, r)
		return
	}
	s.writeProblem(w, r, err)
}

// identify finds out who asks.
func (s *Server) identify(r *http.Request) (caller, error) {
	token, given := bearer(r)
	if given && (same(token, s.Token) || same(token, s.Inner)) {
		return caller{}, nil
	}
	asks, err := s.AsksForTokens(r.Context())
	switch {
	case err != nil:
		return caller{}, err
	case !asks:
		return caller{}, nil
	case !given:
		return caller{}, unauthenticated("this needs a token, and the request has none", "set QGJOB_TOKEN, or send Authorization: Bearer TOKEN; an admin makes one: qgjob token create")
	}
	if _, ours := qgjob.TokenKindOf(token); !ours {
		return caller{}, invalidToken()
	}
	k, found, err := s.tokens.find(r.Context(), qgjob.TokenSum(token))
	if err != nil {
		return caller{}, err
	}
	if !found {
		return caller{}, invalidToken()
	}
	if err := usable(k, time.Now()); err != nil {
		return caller{}, err
	}
	if store.NeedsTouch(k, time.Now()) && s.tokens.touching(k.TokenID) {
		if err := s.Store.TouchToken(r.Context(), k.TokenID); err != nil {
			s.Log.DebugContext(r.Context(), "note a token's last use", "token", k.TokenID, "error", err)
		}
	}
	return caller{id: k.TokenID, kind: k.Kind, org: k.OrgID, agent: k.AgentID, run: k.Run}, nil
}

// usable refuses a token that is not valid any more, and says since when.
func usable(k qgjob.Token, now time.Time) error {
	again := "make another one: qgjob token create --kind=" + string(k.Kind)
	switch {
	case k.RevokedAt != nil:
		e := unauthenticated(fmt.Sprintf("the token %s was revoked at %s", k.TokenID, k.RevokedAt.Format(time.RFC3339)), again)
		e.Code = qgjob.CodeTokenRevoked
		return e
	case !now.Before(k.ExpiresAt):
		if k.Kind == qgjob.TokenCI {
			again = "exchange a new id-token of the CI run"
		}
		e := unauthenticated(fmt.Sprintf("the token %s expired at %s", k.TokenID, k.ExpiresAt.Format(time.RFC3339)), again)
		e.Code = qgjob.CodeTokenExpired
		return e
	}
	return nil
}

// same compares sums, so that the time it takes tells nothing about the token,
// its length included. An empty want is no token.
func same(got, want string) bool {
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return want != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// AsksForTokens reports whether requests must bear a token: the server was
// started with one or trusts CI's id-tokens, or its database has had a token.
// That stays so when the last token has expired.
func (s *Server) AsksForTokens(ctx context.Context) (bool, error) {
	if s.Token != "" || s.OIDC != nil {
		return true, nil
	}
	return s.tokens.any(ctx)
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

func unauthenticated(message, hint string) *qgjob.Error {
	return &qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeUnauthenticated, Message: message, Hint: hint}
}

func invalidToken() error {
	return unauthenticated("the token is not a valid one", "is QGJOB_TOKEN whole, and of this server? an admin makes one: qgjob token create")
}

// watched ends a stream soon after its token was revoked or has expired.
func (s *Server) watched(w http.ResponseWriter, r *http.Request, next http.Handler) {
	ctx, end := context.WithCancel(r.Context())
	token, _ := bearer(r)
	var watching sync.WaitGroup
	watching.Go(func() {
		look := time.NewTicker(tokenFresh)
		defer look.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
			}
			k, found, err := s.tokens.find(ctx, qgjob.TokenSum(token))
			if err == nil && (!found || usable(k, time.Now()) != nil) {
				end()
				return
			}
		}
	})
	defer watching.Wait()
	defer end()
	r = r.WithContext(ctx)
	if r.Body != nil {
		r.Body = cutBody{r.Body, ctx}
	}
	next.ServeHTTP(&cutWriter{w, ctx}, r)
}

// cutWriter takes nothing more once its context has ended.
type cutWriter struct {
	http.ResponseWriter
	ctx context.Context
}

// Write writes, or gives the context's error.
func (w *cutWriter) Write(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *cutWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// cutBody gives nothing more once its context has ended.
type cutBody struct {
	io.ReadCloser
	ctx context.Context
}

// Read reads, or gives the context's error.
func (b cutBody) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.ReadCloser.Read(p)
}
