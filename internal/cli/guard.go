package cli

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
)

// guard keeps web pages away from a server. A page of another site must not
// submit, cancel or drain with the browser of somebody who can reach it. And a
// server without a token trusts whoever reaches its loopback address; a page
// does too, under a name of its own that it makes resolve to that address (DNS
// rebinding), but then its Host header says so.
func guard(next http.Handler, trusting bool) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusForbidden, "a web page of another site must not do this", "")
	}))
	next = cross.Handler(next)
	if !trusting {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !localName(r.Host) {
			refuse(w, http.StatusMisdirectedRequest, "without a token this server answers only to localhost and loopback addresses",
				"ask for http://127.0.0.1 with its port, or start the server with --token-file")
			return
		}
		next.ServeHTTP(w, r)
	})
}

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

func refuse(w http.ResponseWriter, status int, detail, hint string) {
	text, err := json.Marshal(struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Kind   string `json:"kind"`
		Hint   string `json:"hint,omitempty"`
	}{http.StatusText(status), status, detail, "denied", hint})
	if err != nil {
		http.Error(w, detail, status)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	io.WriteString(w, string(text)+"\n")
}
