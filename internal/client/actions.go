package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
)

const (
	actionsTimeout = 10 * time.Second
	maxActions     = 64 << 10 // bytes of the answer with an id-token
	maxIDToken     = 16 << 10 // bytes, as much as a server takes
)

// Actions is the place where a job of GitHub Actions gets its id-tokens
// (docs.github.com/en/actions/reference/security/oidc). What it needs stands in
// the job's environment: ACTIONS_ID_TOKEN_REQUEST_URL and
// ACTIONS_ID_TOKEN_REQUEST_TOKEN, where the job has the permission
// "id-token: write".
type Actions struct {
	URL      string            // https, or http on loopback
	Token    string            // goes to URL and nowhere else
	Audience string            // whom the id-tokens are for
	HTTP     http.RoundTripper // nil: one with sane dial and TLS time limits
}

// IDToken asks for an id-token. Redirects are not followed. No error of its
// quotes what was sent or answered.
func (a Actions) IDToken(ctx context.Context) (string, error) {
	at, err := url.Parse(a.URL)
	if err != nil || !Private(a.URL) || at.User != nil {
		return "", qgjob.Invalid("", "ACTIONS_ID_TOKEN_REQUEST_URL is no https address: no id-token is asked for")
	}
	query := at.Query()
	query.Set("audience", a.Audience)
	at.RawQuery = query.Encode()
	ctx, stop := context.WithTimeout(ctx, actionsTimeout)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return "", qgjob.Invalid("", "ACTIONS_ID_TOKEN_REQUEST_URL is no address")
	}
	req.Header.Set("Authorization", "Bearer "+a.Token)
	req.Header.Set("Accept", "application/json")
	via := a.HTTP
	if via == nil {
		own := transport()
		defer own.CloseIdleConnections()
		via = own
	}
	res, err := via.RoundTrip(req)
	if err != nil {
		return "", actionsAway(at.Host, cause(err).Error())
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxActions+1))
	if err != nil {
		return "", actionsAway(at.Host, cause(err).Error())
	}
	return readIDToken(at.Host, res.StatusCode, text)
}

func actionsAway(host, why string) error {
	return &qgjob.Error{Kind: qgjob.KindUnavailable, Code: qgjob.CodeUnreachable, Message: "GitHub Actions gives no id-token: " + host + ": " + why,
		Hint: "try again; or set QGJOB_TOKEN, which needs none"}
}

// readIDToken reads GitHub's answer.
func readIDToken(host string, status int, text []byte) (string, error) {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return "", &qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeUnauthenticated, Message: fmt.Sprintf("GitHub Actions gives this job no id-token: %s answered %d", host, status),
			Hint: "has the job the permission id-token: write? Or set QGJOB_TOKEN"}
	case status >= 300 && status < 400:
		return "", actionsAway(host, "it redirects, which is not followed: the request's token would go there too")
	case status != http.StatusOK:
		return "", actionsAway(host, fmt.Sprintf("it answered %d", status))
	}
	var got struct {
		Value string `json:"value"`
	}
	if len(text) > maxActions || json.Unmarshal(text, &got) != nil || !isIDToken(got.Value) {
		return "", actionsAway(host, "its answer holds no id-token")
	}
	return got.Value, nil
}

// isIDToken looks at the form only: three parts of base64url.
func isIDToken(text string) bool {
	return len(text) <= maxIDToken && strings.Count(text, ".") == 2 && !strings.ContainsFunc(text, func(r rune) bool {
		return r != '.' && r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// Private reports whether nobody on the way reads what is sent to an address:
// it is https, or http that does not leave the machine.
func Private(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}
