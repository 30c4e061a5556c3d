package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
)

// idTokens is where a job of GitHub Actions gets id-tokens from, for servers
// that ask for a token when QGJOB_TOKEN is not set; nil elsewhere. An id-token
// is for the server that the user named, first if several, and for no other:
// what a repository's file or a server itself says does not count.
func (a *app) idTokens() func(context.Context) (string, error) {
	request := client.Actions{URL: a.env["ACTIONS_ID_TOKEN_REQUEST_URL"], Token: a.env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]}
	if a.env["QGJOB_TOKEN"] != "" || request.URL == "" || request.Token == "" {
		return nil
	}
	if err := a.mayProve(); err != nil {
		return func(context.Context) (string, error) { return "", err }
	}
	request.Audience = strings.TrimRight(a.servers[0], "/")
	return request.IDToken
}

// mayProve says why no server may get an id-token of this CI run.
func (a *app) mayProve() error {
	if !a.serverGiven || len(a.servers) == 0 {
		return &qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeUnauthenticated,
			Message: fmt.Sprintf("the server %s asks for a token, and gets no id-token of this CI run: nobody but a repository or a default names it", strings.Join(a.servers, ",")),
			Hint:    "set QGJOB_SERVER, or give --server, to say that it may have one"}
	}
	for _, s := range a.servers {
		if !client.Private(s) {
			return &qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeUnauthenticated, Message: fmt.Sprintf("the server %s asks for a token, and gets no id-token of this CI run: others could read it on the way", s),
				Hint: "give its https address with --server, or set QGJOB_TOKEN"}
		}
	}
	return nil
}
