package cli

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
)

// onlyLocal keeps web pages away from a server that trusts whoever reaches its
// loopback address. A page may do so under a name of its own that it makes
// resolve to that address (DNS rebinding): to the browser all is of one origin
// then, but the Host header names the page's site.
//
// open says whether the server trusts everybody now: that ends when it asks
// for tokens.
func onlyLocal(open func(context.Context) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if localName(r.Host) || !open(r.Context()) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusMisdirectedRequest)
		_, _ = io.WriteString(w, misdirected)
	})
}

const misdirected = `{"type":"about:blank","title":"Misdirected Request","status":421,"kind":"denied",` +
	`"detail":"without a token this server answers only to localhost and loopback addresses",` +
	`"hint":"ask for http://127.0.0.1 with its port, or start the server with --token-file"}` + "\n"

// localName says that a Host header names this machine and nothing that
// somebody else's name server answers for (RFC 6761, 6.3).
func localName(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return loopback(name) || strings.HasSuffix(name, ".localhost")
}
