// Package oidc is trusting CI: it checks the id-tokens that GitHub Actions
// gives to a workflow run, and says which org a run may act for. What it
// checks, one by one, stands in docs/security.md.
//
// It imports the root package only. Tokens are judged by a pure function; the
// keys of the issuer are fetched, and kept, by Keys.
package oidc

import "github.com/qualgent/qgjob"

// Refusal is why an id-token is not taken. Why is for the server's log and
// names what was found; Error and Hint are for the caller, who may be anybody:
// they tell what to do and nothing of what the server trusts.
type Refusal struct {
	Check string // a stable word for the check that failed, such as audience
	Why   string // for the log; holds claims, never the token
	Say   string
	Hint  string
	Known bool // the signature is the issuer's, so the claims in Why are true
}

// Error says to the caller what is wrong.
func (r *Refusal) Error() string { return r.Say }

// Problem is the refusal as the API shows it: a token that proves nothing is
// unauthenticated, a true one of a run that is not trusted is denied.
func (r *Refusal) Problem() error {
	e := &qgjob.Error{Kind: qgjob.KindDenied, Message: r.Say, Hint: r.Hint}
	if !r.Known {
		e.Code = qgjob.CodeUnauthenticated
	}
	return e
}

// forged refuses what is not shown to be the issuer's.
func forged(check, why string) *Refusal {
	return &Refusal{Check: check, Why: why, Say: "the id-token is not a valid one of the issuer that this server trusts",
		Hint: "ask GitHub for a fresh one (permissions: id-token: write) and send it as it is; the server's log says more"}
}

// wrong refuses a true id-token that is not meant for this, or not any more.
func wrong(check, why, say, hint string) *Refusal {
	return &Refusal{Check: check, Why: why, Say: say, Hint: hint, Known: true}
}
