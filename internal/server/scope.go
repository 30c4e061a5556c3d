package server

import (
	"fmt"
	"slices"
	"strings"

	"github.com/qualgent/qgjob"
)

// scope is what a caller must be allowed to do to use a route. The zero scope
// is none that a route may have: whoever adds a route says which it needs.
type scope string

// The scopes.
const (
	scopeOpen   scope = "open"   // open to everybody: health, docs, the exchange of id-tokens
	scopeRead   scope = "read"   // look at runs, jobs, agents
	scopeSubmit scope = "submit" // submit, cancel, retry
	scopeFetch  scope = "fetch"  // read files: people and agents
	scopeUpload scope = "upload" // send files: people and agents
	scopeAgent  scope = "agent"  // the agent protocol
	scopeJoin   scope = "join"   // exchange a join token
	scopeAdmin  scope = "admin"  // tokens, weights, draining
)

// scopeNone is the old name of scopeOpen.
const scopeNone = scopeOpen

// scopesOf is what each kind of token may do.
var scopesOf = map[qgjob.TokenKind][]scope{
	qgjob.TokenRead:   {scopeRead, scopeFetch},
	qgjob.TokenSubmit: {scopeRead, scopeFetch, scopeSubmit, scopeUpload},
	qgjob.TokenCI:     {scopeRead, scopeFetch, scopeSubmit, scopeUpload},
	qgjob.TokenAgent:  {scopeAgent, scopeFetch, scopeUpload},
	qgjob.TokenJoin:   {scopeJoin},
	qgjob.TokenAdmin:  {scopeRead, scopeFetch, scopeSubmit, scopeUpload, scopeAgent, scopeAdmin},
}

// may refuses a caller without the scope, and says which kinds have it.
func (c caller) may(need scope) error {
	if c.kind == "" || slices.Contains(scopesOf[c.kind], need) {
		return nil
	}
	var kinds []string
	for _, kind := range qgjob.TokenKinds {
		if slices.Contains(scopesOf[kind], need) {
			kinds = append(kinds, string(kind))
		}
	}
	return &qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeScope,
		Message: fmt.Sprintf("this needs the scope %s, which a token of kind %s (%s) has not", need, c.kind, c.id),
		Hint:    "use a token of kind " + strings.Join(kinds, " or ") + ": qgjob token create --kind=" + kinds[0]}
}
