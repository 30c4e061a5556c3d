package server

import (
	"context"
	"sync"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store"
)

const (
	// tokenFresh is how long what was read of a token counts. A token revoked
	// at any server is refused by all of them after that time at the latest,
	// and usually at once: see store.Note.Tokens.
	tokenFresh = 500 * time.Millisecond
	maxTokens  = 10_000 // remembered, made-up ones included
)

// tokenCache keeps a busy agent from costing a read of the database for each
// of its requests.
type tokenCache struct {
	store *store.Store

	mu      sync.Mutex
	known   map[qgjob.Sum]knownToken
	touched map[string]time.Time // by token id: when its use was last written
	has     bool                 // the database has tokens; that never ends
	hasAt   time.Time            // when has was read
}

type knownToken struct {
	token qgjob.Token
	found bool
	at    time.Time
}

func newTokenCache(st *store.Store) *tokenCache {
	return &tokenCache{store: st, known: map[qgjob.Sum]knownToken{}, touched: map[string]time.Time{}}
}

// heard forgets everything when a token was made or revoked, wherever.
func (c *tokenCache) heard(n store.Note) {
	if !n.Tokens {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.known)
	c.hasAt = time.Time{}
}

// find gives a token by its sum; found is false when there is none.
func (c *tokenCache) find(ctx context.Context, sum qgjob.Sum) (k qgjob.Token, found bool, err error) {
	now := time.Now()
	c.mu.Lock()
	have, ok := c.known[sum]
	c.mu.Unlock()
	if ok && now.Sub(have.at) < tokenFresh {
		return have.token, have.found, nil
	}
	k, found, err = c.store.TokenOf(ctx, sum)
	if err != nil {
		return k, false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxTokens {
		clear(c.known)
	}
	c.known[sum] = knownToken{k, found, now} // as of before the read
	return k, found, nil
}

// any reports whether the database has, or had, tokens. When it cannot be
// asked that is an error, never a no.
func (c *tokenCache) any(ctx context.Context) (bool, error) {
	now := time.Now()
	c.mu.Lock()
	has, fresh := c.has, now.Sub(c.hasAt) < tokenFresh
	c.mu.Unlock()
	if has || fresh {
		return has, nil
	}
	has, err := c.store.HasTokens(ctx)
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.has, c.hasAt = c.has || has, now
	return c.has, nil
}

// touching reports whether this caller is to write a token's last use: one a
// minute is.
func (c *tokenCache) touching(id string) bool {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.touched[id]) < time.Minute {
		return false
	}
	if len(c.touched) >= maxTokens {
		clear(c.touched)
	}
	c.touched[id] = now
	return true
}
