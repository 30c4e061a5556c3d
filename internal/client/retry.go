package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// Retry says how long calls are tried again. Only calls that are safe to
// repeat are: reads, calls that are idempotent by design, a submit with an
// idempotency key; others only when they cannot have reached the server. The
// zero value never tries again.
type Retry struct {
	// Budget is how long after its first failure a call may be tried again.
	// Progress (bytes of a stream, a chunk of an upload) opens a new budget.
	Budget time.Duration
	// Base and Max bound the back-off: before try n+1 a random time up to
	// Base·2ⁿ, at most Max. Zero: 200 ms and 5 s.
	Base, Max time.Duration
	// Notify, if set, hears of every failed try that is followed by another,
	// and of the server's next answer as nil. It is called from the
	// goroutine of the call.
	Notify func(error)
}

// NoRetry never tries again: for callers that decide themselves.
var NoRetry = Retry{}

// Unlimited is a Budget that only the context ends.
const Unlimited = time.Duration(1<<63 - 1)

// failure is why one try did not succeed.
type failure struct {
	err       error
	transient bool          // another try may succeed
	unsent    bool          // the server cannot have seen it
	renew     bool          // a stream that has to be opened again with another token: nothing is wrong
	elsewhere bool          // another server of the farm may do better
	after     time.Duration // the server's Retry-After; 0 without one
}

// tries counts the failures of one call in a row.
type tries struct {
	client *Client // of the farm
	here   *Client // of the server that is asked now
	hops   int     // other servers asked since the last wait
	retry  Retry
	n      int
	first  time.Time
	lost   bool // Notify was told so, and nothing better since
}

// next is the client for the next try.
func (t *tries) next() *Client {
	t.here = t.client.here()
	return t.here
}

// hop leaves a server that is of no use now, and reports whether another one
// is to be asked at once: every one of the farm once, and no call twice that
// must not be.
func (t *tries) hop(ctx context.Context, f *failure, repeatable bool) bool {
	if t.client == nil || !f.elsewhere || errors.Is(ctx.Err(), context.Canceled) {
		return false // the caller has gone, which says nothing of the server
	}
	t.here.leave()
	if ctx.Err() != nil || (!repeatable && !f.unsent) || t.hops+1 >= len(t.client.all.bases) {
		return false
	}
	t.hops++
	return true
}

// again waits before the next try and returns nil, or returns the error to
// give up with. repeatable says that the call may be sent twice. Another
// server of the farm is asked without waiting, whatever the policy: that is
// no repetition at a server in trouble.
func (t *tries) again(ctx context.Context, f *failure, repeatable bool) error {
	if t.hop(ctx, f, repeatable) {
		return nil
	}
	t.hops = 0
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !f.transient || (!repeatable && !f.unsent) || t.retry.Budget <= 0 {
		return f.err
	}
	if t.n == 0 {
		t.first = time.Now()
	}
	wait := max(backoff(t.retry, t.n), f.after)
	t.n++
	if spent := time.Since(t.first); t.retry.Budget != Unlimited && spent+wait > t.retry.Budget {
		return f.err
	}
	if t.retry.Notify != nil {
		t.retry.Notify(f.err)
		t.lost = true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// answered tells Notify that the server is there, though nothing has come yet
// of what was asked for: the budget goes on being spent, so that a server that
// only takes calls and drops them is given up.
func (t *tries) answered() {
	if t.lost {
		t.retry.Notify(nil)
		t.lost = false
	}
}

// progress forgets past failures.
func (t *tries) progress() {
	t.answered()
	t.n, t.hops = 0, 0
}

// backoff is full jitter: uniform in (0, min(Max, Base·2ⁿ)].
func backoff(r Retry, n int) time.Duration {
	base, top := r.Base, r.Max
	if base <= 0 {
		base = 200 * time.Millisecond
	}
	if top <= 0 {
		top = 5 * time.Second
	}
	limit := top
	if n < 30 && base<<n < top {
		limit = base << n
	}
	return rand.N(limit) + 1 //nolint:gosec // a wait to spread callers, nothing to guess
}

// retryAfter reads the header in both its forms (RFC 9110, 10.2.3); 0 without
// a usable one.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if s, err := strconv.ParseInt(v, 10, 32); err == nil && s > 0 {
		return time.Duration(s) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}
