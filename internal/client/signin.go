package client

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/qualgent/qgjob"
)

const (
	renewAhead = time.Minute      // before a token expires a new one is asked for
	renewAgain = 20 * time.Second // after that was in vain, while the token is valid still
	minLife    = 2 * renewAhead   // of a token whose server's clock says less: one that goes wrong
)

// errRenew ends a stream whose token is about to expire.
var errRenew = errors.New("the token is about to expire")

// pass is a token that is exchanged for an id-token when a server asks for
// one, and renewed while calls go on. All copies of a client share it.
type pass struct {
	idToken func(context.Context) (string, error)
	turn    chan struct{} // holds one thing while a token is asked for

	mu    sync.Mutex
	token string    // empty: no server has asked yet
	until time.Time // by this machine's clock
	renew time.Time // when to ask for the next one
}

func newPass(idToken func(context.Context) (string, error)) *pass {
	if idToken == nil {
		return nil
	}
	return &pass{idToken: idToken, turn: make(chan struct{}, 1)}
}

func (p *pass) held() (token string, until, renew time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.token, p.until, p.renew
}

// keep takes a new token. Clocks may differ: it lives as long as the server
// says, but no longer than any of its kind, and a moment at least. A server
// that refuses it earlier has it renewed as well.
func (p *pass) keep(got qgjob.OIDCResponse, now time.Time) {
	life := min(max(got.ExpiresAt.Sub(now), minLife), qgjob.CITokenTTL)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.token, p.until, p.renew = got.Token, now.Add(life), now.Add(life-renewAhead)
}

// openSigned sends a call, with the token that is held or renewed, and once more when
// the server wants another token: what it refuses for want of one it has not
// begun.
func (c *Client) openSigned(ctx context.Context, what call) (*http.Response, *failure) {
	token, renew, f := c.fresh(ctx)
	if f != nil {
		return nil, f
	}
	res, f := c.openAs(ctx, what, token, renew)
	if f == nil || !wantsToken(f.err) {
		return res, f
	}
	token, renew, f = c.signIn(ctx, token)
	if f != nil {
		return nil, f
	}
	return c.openAs(ctx, what, token, renew)
}

// wantsToken are the refusals that a new token may end. One that somebody has
// revoked is not replaced.
func wantsToken(err error) bool {
	return qgjob.KindOf(err) == qgjob.KindDenied && slices.Contains([]string{qgjob.CodeUnauthenticated, qgjob.CodeTokenExpired}, qgjob.CodeOf(err))
}

// fresh is the token that is held; it is renewed when its time is nearly up.
func (c *Client) fresh(ctx context.Context) (string, time.Time, *failure) {
	token, until, renew := c.pass.held()
	if token == "" || time.Now().Before(renew) {
		return token, renew, nil
	}
	next, again, f := c.signIn(ctx, token)
	if now := time.Now(); f != nil && ctx.Err() == nil && now.Before(until) {
		c.pass.mu.Lock()
		defer c.pass.mu.Unlock()
		if c.pass.token == token {
			c.pass.renew = now.Add(renewAgain)
		}
		return c.pass.token, c.pass.renew, nil
	}
	return next, again, f
}

// signIn gets a token other than the one that was refused: one that another
// call has got meanwhile, else a new one.
func (c *Client) signIn(ctx context.Context, refused string) (string, time.Time, *failure) {
	p := c.pass
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return "", time.Time{}, &failure{err: context.Cause(ctx)}
	}
	defer func() { <-p.turn }()
	if token, _, renew := p.held(); token != refused {
		return token, renew, nil
	}
	idToken, err := p.idToken(ctx)
	if err != nil {
		return "", time.Time{}, &failure{err: err, transient: qgjob.KindOf(err) == qgjob.KindUnavailable, unsent: true}
	}
	var got qgjob.OIDCResponse
	what := post("/v1/oidc/token", qgjob.OIDCRequest{IDToken: idToken})
	if f := c.WithToken("").once(ctx, what, &got); f != nil {
		f.unsent = true // the call that this is for was refused, whatever became of the exchange
		if e, ok := errors.AsType[*qgjob.Error](f.err); ok && e.Kind == qgjob.KindNotFound {
			f.err = &qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeUnauthenticated, Message: "the server at " + c.base + " asks for a token, and trusts no id-tokens of CI",
				Hint: "set QGJOB_TOKEN; or its admin starts it with --oidc-config (docs/security.md)"}
		}
		return "", time.Time{}, f
	}
	if got.Token == "" || badToken(got.Token) {
		return "", time.Time{}, &failure{err: &qgjob.Error{Kind: qgjob.KindInternal, Message: "the server at " + c.base + " took the id-token and gave no token for it", Hint: "are server and client of the same version?"}}
	}
	p.keep(got, time.Now())
	token, _, renew := p.held()
	return token, renew, nil
}
