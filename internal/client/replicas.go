package client

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/qualgent/qgjob"
)

// MaxServers is the most addresses that one client takes.
const MaxServers = 16

// replicas are the servers of one farm: any of them answers for all. A client
// stays with one as long as that answers, and all that share the client move
// on together.
type replicas struct {
	bases []string // scheme, host and path prefix, without a slash at the end
	at    atomic.Uint32
}

// NewOf returns a client of the servers at bases, all of one farm: it asks one
// of them, and the next when that one cannot be reached, breaks off, or says
// that it is stopping or has lost its database. Where it begins is random, so
// that many clients spread. The token goes to these servers and to no other.
// Errors are those of New.
func NewOf(bases []string, o Options) (*Client, error) {
	all := &replicas{}
	for _, base := range bases {
		at, err := parseBase(base)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(all.bases, at) {
			all.bases = append(all.bases, at)
		}
	}
	switch n := len(all.bases); {
	case n == 0:
		return nil, qgjob.Invalid("server", "server must not be empty")
	case n > MaxServers:
		return nil, qgjob.Invalid("server", fmt.Sprintf("%d servers are given; allowed: %d", n, MaxServers))
	case n > 1:
		all.at.Store(uint32(rand.IntN(n))) //nolint:gosec // below MaxServers, and nothing to guess
	}
	return newClient(all, o)
}

// here is the client bound to the server that is asked now: one try must speak
// of one server in all its errors.
func (c *Client) here() *Client {
	at := c.all.at.Load()
	bound := *c
	bound.base, bound.index = c.all.bases[at], at
	return &bound
}

// leave has the next try go to the next server. Of many calls that fail at one
// server only the first moves on.
func (c *Client) leave() {
	if n := uint32(len(c.all.bases)); n > 1 { //nolint:gosec // at most MaxServers
		c.all.at.CompareAndSwap(c.index, (c.index+1)%n)
	}
}

// elsewhere are the answers of a server that is stopping, or stands cut off
// from what it needs, which another one may have.
func elsewhere(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// haste makes a transport notice a dead machine sooner: there is another one
// to ask. A process that was killed is noticed at once either way.
func haste(t *http.Transport) {
	t.DialContext = (&net.Dialer{
		Timeout:         1500 * time.Millisecond, // two SYNs
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
	}).DialContext
}
