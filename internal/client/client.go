// Package client is asking: a typed client of qgjob's API for the command line
// and for agents. It gives back the same error kinds that the server raised,
// and it is the only place where a call is tried again.
//
// It imports the root package only.
package client

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
)

// Limits on what the client waits for and takes in.
const (
	callTimeout   = 30 * time.Second // without a byte from the server, for calls that answer at once
	streamTimeout = 45 * time.Second // without a byte on a stream; the server sends a heartbeat every 15 s
	maxAnswer     = 64 << 20         // bytes of one JSON answer
	maxAttempts   = 256 << 20        // bytes of a job's attempts with all their test results
	maxReport     = 256 << 20        // bytes of a run's JUnit or HTML report
	maxProblem    = 1 << 20          // bytes of an error's body
	maxRedirects  = 5
)

// Options are what a client needs besides the server's address.
type Options struct {
	Token string // sent as a bearer token when not empty
	// IDToken, if set, gives an id-token of the CI run that this is part of. It
	// is called when a server asks for a token and Token is empty: the id-token
	// is exchanged for a token of the server's, which is renewed in time.
	IDToken   func(context.Context) (string, error)
	UserAgent string       // such as "qgjob/1.2"; "qgjob" when empty
	HTTP      *http.Client // nil: one with sane dial and TLS time limits; its redirect policy is replaced
	Retry     Retry        // the zero value never tries again
}

// Client asks one server of a farm at a time. It is safe for concurrent use.
type Client struct {
	all   *replicas // shared by all copies of a client
	base  string    // the server of this try; set by here
	index uint32    // where base is in all
	token string
	pass  *pass // nil: the token never changes
	agent string
	http  *http.Client
	retry Retry
	reign func(string) // told what answers name; nil: nobody
}

// New returns a client of the server at base, an http or https URL that may
// have a path. A malformed address or token is a KindInvalid error whose Field
// is "server" or "token"; nothing is sent yet.
func New(base string, o Options) (*Client, error) { return NewOf([]string{base}, o) }

func parseBase(base string) (string, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return "", qgjob.Invalid("server", fmt.Sprintf("server %q is not an address such as http://127.0.0.1:8000", clip(base, 200)))
	case u.User != nil:
		return "", qgjob.Invalid("server", "server must not hold a user or password; give the token in QGJOB_TOKEN")
	case u.RawQuery != "" || u.Fragment != "":
		return "", qgjob.Invalid("server", fmt.Sprintf("server %q must not have a query or a fragment", clip(base, 200)))
	}
	return strings.TrimRight(u.String(), "/"), nil
}

func newClient(all *replicas, o Options) (*Client, error) {
	if badToken(o.Token) {
		return nil, qgjob.Invalid("token", "the token holds blanks, line ends or characters that are not ASCII")
	}
	c := &Client{all: all, token: o.Token, agent: o.UserAgent, retry: o.Retry}
	if o.Token == "" {
		c.pass = newPass(o.IDToken)
	}
	if c.agent == "" {
		c.agent = "qgjob"
	}
	if o.HTTP != nil {
		own := *o.HTTP
		c.http = &own
	} else {
		t := transport()
		if len(all.bases) > 1 {
			haste(t)
		}
		c.http = &http.Client{Transport: t}
	}
	c.http.CheckRedirect = sameOrigin
	return c, nil
}

// badToken reports whether a token could be no header of HTTP.
func badToken(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Base is the address, as given but without a slash at its end, of the server
// that is asked now.
func (c *Client) Base() string { return c.here().base }

// Bases are the addresses of all servers of the farm, in the form of Base.
func (c *Client) Bases() []string { return slices.Clone(c.all.bases) }

// With returns the same client with another retry policy. Both share their
// connections, and the server that they ask.
func (c *Client) With(r Retry) *Client {
	other := *c
	other.retry = r
	return &other
}

// WithReign returns the same client, which tells heard the reign that an answer
// names (qgjob.ReignHeader), refusals included. heard must not block.
func (c *Client) WithReign(heard func(name string)) *Client {
	other := *c
	other.reign = heard
	return &other
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	t.TLSHandshakeTimeout = 10 * time.Second
	t.MaxIdleConnsPerHost = 16
	return t
}

// sameOrigin follows a redirect only for a read and only to the very same
// scheme and host: anything else would carry the token elsewhere, or turn a
// POST into a GET whose answer looks like success.
func sameOrigin(req *http.Request, via []*http.Request) error {
	first := via[0]
	if len(via) > maxRedirects || first.Method != http.MethodGet ||
		req.URL.Scheme != first.URL.Scheme || req.URL.Host != first.URL.Host {
		return http.ErrUseLastResponse
	}
	return nil
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
