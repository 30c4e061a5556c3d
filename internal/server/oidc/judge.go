package oidc

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/qualgent/qgjob"
)

// Limits of an id-token.
const (
	MaxToken = 16 << 10         // bytes; GitHub's have about 2,000
	leeway   = 30 * time.Second // for clocks that differ
	maxAge   = 10 * time.Minute // since iat; GitHub's live five minutes
	maxLife  = time.Hour        // from iat to exp
	maxText  = 512              // bytes of a claim that is looked at
)

// Claims are what is read of an id-token; others are left alone.
// https://docs.github.com/en/actions/reference/security/oidc
type Claims struct {
	Issuer            string  `json:"iss"`
	Audience          string  `json:"aud"`
	Subject           string  `json:"sub"`
	ID                string  `json:"jti"`
	Expires           float64 `json:"exp"`
	NotBefore         float64 `json:"nbf"`
	IssuedAt          float64 `json:"iat"`
	Repository        string  `json:"repository"`
	RepositoryID      string  `json:"repository_id"`
	RepositoryOwner   string  `json:"repository_owner"`
	RepositoryOwnerID string  `json:"repository_owner_id"`
	Event             string  `json:"event_name"`
	Ref               string  `json:"ref"`
	Environment       string  `json:"environment"`
	Workflow          string  `json:"job_workflow_ref"`
	RunID             string  `json:"run_id"`
	RunAttempt        string  `json:"run_attempt"`
}

// Run names the CI run: repository_id/run_id/run_attempt.
func (k *Claims) Run() string { return k.RepositoryID + "/" + k.RunID + "/" + k.RunAttempt }

// header is all that a token's header may hold; x5t is GitHub's and is not
// looked at. Whatever would name another key, or change the rules, is unknown
// and so refused.
type header struct {
	Alg  string `json:"alg"`
	Kid  string `json:"kid"`
	Typ  string `json:"typ"`
	X5T  string `json:"x5t"`
	X5T2 string `json:"x5t#S256"`
}

// parsed is a token taken apart, of which nothing is believed yet.
type parsed struct {
	header    header
	signed    string // what the signature is over
	payload   []byte
	signature []byte
}

var part = base64.RawURLEncoding.Strict()

// parse takes a compact JWS apart (RFC 7515) and judges its header.
func parse(token string) (*parsed, *Refusal) {
	if len(token) > MaxToken {
		return nil, forged("size", fmt.Sprintf("%d bytes long", len(token)))
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, forged("form", fmt.Sprintf("%d parts; a JWS has three", len(parts)))
	}
	p := &parsed{signed: parts[0] + "." + parts[1]}
	var raw [3][]byte
	for i, text := range parts {
		var err error
		if raw[i], err = part.DecodeString(text); err != nil || strings.ContainsAny(text, "\r\n") {
			return nil, forged("encoding", fmt.Sprintf("part %d is not base64url", i+1))
		}
	}
	p.payload, p.signature = raw[1], raw[2]
	// Duplicate and case-variant names are errors of this decoder.
	if err := json.Unmarshal(raw[0], &p.header, json.RejectUnknownMembers(true)); err != nil || !isObject(raw[0]) {
		return nil, forged("header", fmt.Sprintf("the header is not one of GitHub's: %v", brief(err)))
	}
	switch {
	case p.header.Alg != "RS256":
		return nil, forged("algorithm", fmt.Sprintf("alg is %.32q; only RS256 is taken", p.header.Alg))
	case p.header.Typ != "JWT":
		return nil, forged("type", fmt.Sprintf("typ is %.32q; want JWT", p.header.Typ))
	case p.header.Kid == "" || len(p.header.Kid) > 256:
		return nil, forged("key id", "kid is missing or too long")
	}
	return p, nil
}

func isObject(text []byte) bool { return jsontext.Value(text).Kind() == '{' }

// brief is an error of the JSON decoder, which may repeat some of its input.
func brief(err error) string {
	if err == nil {
		return "not an object"
	}
	return fmt.Sprintf("%.160s", err.Error())
}

// verify checks the signature (RFC 7518, 3.3).
func (p *parsed) verify(key *rsa.PublicKey) *Refusal {
	sum := sha256.Sum256([]byte(p.signed))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], p.signature); err != nil {
		return forged("signature", "the signature is not by the key "+fmt.Sprintf("%.64q", p.header.Kid))
	}
	return nil
}

// claims reads the payload: strictly, since a claim given twice, or as another
// type, may be read otherwise elsewhere.
func (p *parsed) claims() (*Claims, *Refusal) {
	c := &Claims{}
	if err := json.Unmarshal(p.payload, c); err != nil || !isObject(p.payload) {
		r := forged("claims", brief(err))
		r.Known = true
		return nil, r
	}
	return c, nil
}

// judge decides whether a token with these claims is taken, and for which org.
// It looks at nothing but its arguments; whether the jti is new is asked of
// the store afterwards.
func (c *Config) judge(k *Claims, now time.Time) (qgjob.OrgID, *Refusal) {
	if r := c.judgeToken(k, now); r != nil {
		return "", r
	}
	if r := judgeRun(k); r != nil {
		return "", r
	}
	var refusal *Refusal
	for i := range c.Trust {
		t := &c.Trust[i]
		if t.RepositoryID != k.RepositoryID || t.RepositoryOwnerID != k.RepositoryOwnerID {
			continue
		}
		if refusal = t.judge(k); refusal == nil {
			return qgjob.OrgID(t.OrgID), nil
		}
	}
	if refusal == nil {
		refusal = wrong("repository", fmt.Sprintf("repository_id %s, repository_owner_id %s (%s) is not trusted", k.RepositoryID, k.RepositoryOwnerID, k.Repository),
			"this server does not trust this repository", fmt.Sprintf("ask its admin to trust repository_id %s with repository_owner_id %s", k.RepositoryID, k.RepositoryOwnerID))
	}
	return "", refusal
}

// judgeToken checks what every OIDC token has.
func (c *Config) judgeToken(k *Claims, now time.Time) *Refusal {
	at := func(seconds float64) time.Time { return time.Unix(int64(seconds), 0) }
	fresh := "ask GitHub for a fresh one right before it is exchanged; are the clocks of both machines right?"
	switch {
	case k.Issuer != c.Issuer:
		return wrong("issuer", fmt.Sprintf("iss is %.128q", k.Issuer), "the id-token is of another issuer", "send one of GitHub Actions")
	case k.Audience != c.Audience:
		return wrong("audience", fmt.Sprintf("aud is %.128q", k.Audience), "the id-token is meant for somebody else",
			"name the server by the address that GET /v1/oidc shows as its audience, or ask for an id-token with that audience")
	case k.ID == "" || len(k.ID) > maxText:
		return wrong("jti", "jti is missing or too long", "the id-token has no jti", fresh)
	case !instant(k.Expires) || !instant(k.IssuedAt) || !instant(k.NotBefore):
		return wrong("times", "exp, iat or nbf is missing or no instant", "the id-token does not say when it is valid", fresh)
	case now.After(at(k.Expires).Add(leeway)):
		return wrong("expired", fmt.Sprintf("expired at %s", at(k.Expires).UTC().Format(time.RFC3339)), "the id-token has expired", fresh)
	case now.Before(at(k.NotBefore).Add(-leeway)):
		return wrong("not before", fmt.Sprintf("valid from %s", at(k.NotBefore).UTC().Format(time.RFC3339)), "the id-token is not valid yet", fresh)
	case now.Before(at(k.IssuedAt).Add(-leeway)):
		return wrong("issued", fmt.Sprintf("issued at %s, in the future", at(k.IssuedAt).UTC().Format(time.RFC3339)), "the id-token is of the future", fresh)
	case now.After(at(k.IssuedAt).Add(maxAge + leeway)):
		return wrong("age", fmt.Sprintf("issued at %s; taken for %v", at(k.IssuedAt).UTC().Format(time.RFC3339), maxAge), "the id-token is too old", fresh)
	case k.Expires <= k.IssuedAt || k.Expires-k.IssuedAt > maxLife.Seconds():
		return wrong("life", fmt.Sprintf("lives %v s", k.Expires-k.IssuedAt), "the id-token lives too long", fresh)
	}
	return nil
}

// instant is a whole second between 2001 and 2286.
func instant(seconds float64) bool {
	return seconds >= 1e9 && seconds < 1e10 && seconds == float64(int64(seconds))
}

// judgeRun checks that the claims of a workflow run are all there and agree.
func judgeRun(k *Claims) *Refusal {
	refuse := func(check, why string) *Refusal {
		return wrong(check, why, "the id-token is not one of a workflow run", "send the id-token of a GitHub Actions job as it is")
	}
	for name, id := range map[string]string{"repository_id": k.RepositoryID, "repository_owner_id": k.RepositoryOwnerID, "run_id": k.RunID, "run_attempt": k.RunAttempt} {
		if !numeric(id) {
			return refuse(name, fmt.Sprintf("%s is %.32q", name, id))
		}
	}
	owner, name, ok := strings.Cut(k.Repository, "/")
	if !ok || name == "" || owner != k.RepositoryOwner || strings.Contains(name, "/") || len(k.Repository) > maxText {
		return refuse("repository", fmt.Sprintf("repository is %.64q of owner %.64q", k.Repository, k.RepositoryOwner))
	}
	if k.Event == "" || k.Ref == "" || k.Workflow == "" {
		return refuse("missing", "event_name, ref or job_workflow_ref is missing")
	}
	return nil
}

// subject is what sub must be, by GitHub's default format.
func (k *Claims) subject() string {
	of := "repo:" + k.Repository + ":"
	switch {
	case k.Environment != "":
		return of + "environment:" + k.Environment
	case k.Event == "pull_request":
		return of + "pull_request"
	}
	return of + "ref:" + k.Ref
}

// judge checks what a repository's trust asks for.
func (t *Trust) judge(k *Claims) *Refusal {
	refuse := func(check, why string) *Refusal {
		return wrong(check, fmt.Sprintf("%s run %s: %s", k.Repository, k.RunID, why), "this server does not trust this workflow run: its "+check+" is not one that the repository is trusted for",
			"run it in a way that is trusted, or ask the server's admin to trust this "+check)
	}
	want := t.Subject
	if want == "" {
		want = k.subject()
	}
	switch {
	case slices.Contains(neverEvents, k.Event) || !slices.Contains(t.Events, k.Event):
		return refuse("event", fmt.Sprintf("event_name is %.64q", k.Event))
	case !matches(t.Refs, k.Ref):
		return refuse("ref", fmt.Sprintf("ref is %.128q", k.Ref))
	case len(t.Environments) > 0 && !slices.Contains(t.Environments, k.Environment):
		return refuse("environment", fmt.Sprintf("environment is %.128q", k.Environment))
	case !matches(t.Workflows, k.Workflow):
		return refuse("workflow", fmt.Sprintf("job_workflow_ref is %.256q", k.Workflow))
	case k.Subject != want:
		return refuse("subject", fmt.Sprintf("sub is %.256q; want %.256q", k.Subject, want))
	}
	return nil
}
