package qgjob

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"
)

// TokenKind says what a token is for.
type TokenKind string

// The kinds of tokens.
const (
	TokenSubmit TokenKind = "submit"     // CI and people: submit, cancel, retry, upload, and read
	TokenRead   TokenKind = "read"       // look, change nothing
	TokenJoin   TokenKind = "agent-join" // used once: exchanged for an agent token
	TokenAgent  TokenKind = "agent"      // the agent protocol
	TokenAdmin  TokenKind = "admin"      // everything in its org, tokens included
	TokenCI     TokenKind = "ci"         // a submit token of one CI run, given for a GitHub id-token
)

// TokenKinds are the kinds that people can ask for.
var TokenKinds = []TokenKind{TokenSubmit, TokenRead, TokenJoin, TokenAgent, TokenAdmin}

// Limits of tokens.
const (
	DefaultTokenTTL = 90 * 24 * time.Hour
	MinTokenTTL     = time.Minute
	MaxTokenTTL     = 2 * 365 * 24 * time.Hour
	CITokenTTL      = 15 * time.Minute
)

// TokenPrefix begins every token, so that scanners of repositories and logs
// find what was leaked. The letter behind it is the kind.
const TokenPrefix = "qgj_"

var tokenLetters = map[TokenKind]byte{TokenSubmit: 's', TokenRead: 'r', TokenJoin: 'j', TokenAgent: 'a', TokenAdmin: 'd', TokenCI: 'c'}

const (
	base62      = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	secretChars = 43 // of base62: 256 bits and a little
	sumChars    = 6  // of base62: 32 bits
)

// NewToken draws a token: qgj_, the kind's letter, 256 random bits and a
// checksum over all that, in letters and digits.
func NewToken(kind TokenKind) string {
	text := TokenPrefix + string(tokenLetters[kind]) + "_"
	for len(text) < len(TokenPrefix)+2+secretChars {
		var b [64]byte
		_, _ = rand.Read(b[:]) // never fails, see crypto/rand
		for _, c := range b {
			if c < 248 && len(text) < len(TokenPrefix)+2+secretChars { // 248 is 4·62: every character is as likely
				text += string(base62[c%62])
			}
		}
	}
	return text + checksum(text)
}

// checksum is the CRC-32 of a token's text in base 62. It keeps typing errors
// and made-up tokens away from the database; it proves nothing.
func checksum(text string) string {
	n := crc32.ChecksumIEEE([]byte(text))
	var b [sumChars]byte
	for i := range b {
		b[sumChars-1-i] = base62[n%62]
		n /= 62
	}
	return string(b[:])
}

// TokenKindOf reads the kind off a token's text; false when it is none of
// ours, or was mistyped.
func TokenKindOf(text string) (TokenKind, bool) {
	rest, ours := strings.CutPrefix(text, TokenPrefix)
	if !ours || len(rest) != 2+secretChars+sumChars || rest[1] != '_' {
		return "", false
	}
	body := text[:len(text)-sumChars]
	if strings.Trim(rest[2:], base62) != "" || checksum(body) != text[len(body):] {
		return "", false
	}
	for kind, letter := range tokenLetters {
		if rest[0] == letter {
			return kind, true
		}
	}
	return "", false
}

// TokenSum is what is kept of a token: its SHA-256.
func TokenSum(text string) Sum {
	sum := sha256.Sum256([]byte(text))
	return Sum(hex.EncodeToString(sum[:]))
}

// Token is a token as the API shows it: everything but the secret.
type Token struct {
	TokenID   string     `json:"token_id" doc:"tok_ and 16 hex digits; not secret"`
	Kind      TokenKind  `json:"kind" enum:"submit,read,agent-join,agent,admin,ci"`
	OrgID     OrgID      `json:"org_id" doc:"empty: all orgs"`
	Name      string     `json:"name" doc:"what people call it"`
	AgentID   AgentID    `json:"agent_id,omitempty" doc:"of an agent's token: it serves this agent, and AGENT-1, AGENT-2… of the same host; AGENT-*: and every AGENT-…, for its devices"`
	Run       string     `json:"run,omitempty" doc:"of a ci token: repository_id/run_id/run_attempt"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt time.Time  `json:"expires_at"`
	LastUsed  *time.Time `json:"last_used" doc:"give or take a minute; null when never"`
	RevokedAt *time.Time `json:"revoked_at" doc:"null while it is valid"`
	UsedAt    *time.Time `json:"used_at,omitempty" doc:"when a join token was exchanged"`
	CreatedBy string     `json:"created_by,omitempty" doc:"the id of the token that made it; empty: the server's own"`
}

// CreateTokenRequest asks for a token.
type CreateTokenRequest struct {
	Kind    TokenKind `json:"kind" enum:"submit,read,agent-join,agent,admin"`
	OrgID   OrgID     `json:"org_id,omitempty" doc:"whose it is"`
	AllOrgs bool      `json:"all_orgs,omitempty" doc:"of all orgs instead: admin, read, agent and agent-join only"`
	Name    string    `json:"name,omitempty" maxLength:"128" doc:"what people call it"`
	AgentID AgentID   `json:"agent_id,omitempty" doc:"agent and agent-join only: the one agent (or host) that may use it; of an agent token also AGENT-*, for a host with devices"`
	TTLS    int64     `json:"ttl_s,omitempty" doc:"seconds until it expires, 60 to 63072000; default 90 days"`
}

// TTL is how long the token is to be valid.
func (r CreateTokenRequest) TTL() time.Duration {
	if r.TTLS == 0 {
		return DefaultTokenTTL
	}
	return time.Duration(r.TTLS) * time.Second
}

// Check refuses a request with the field at fault.
func (r CreateTokenRequest) Check() error {
	agents := r.Kind == TokenAgent || r.Kind == TokenJoin
	switch {
	case !slices.Contains(TokenKinds, r.Kind):
		return Invalid("kind", fmt.Sprintf("kind %q is unknown; allowed: submit, read, agent-join, agent, admin", clip(string(r.Kind), 32)))
	case r.AllOrgs && r.OrgID != "":
		return Invalid("all_orgs", "a token is of one org or of all: give org_id or all_orgs, not both")
	case r.AllOrgs && r.Kind == TokenSubmit:
		return Invalid("all_orgs", "a submit token is of one org")
	case r.AgentID != "" && !agents:
		return Invalid("agent_id", "only agent and agent-join tokens are of an agent")
	case r.TTLS < 0 || r.TTLS > int64(MaxTokenTTL/time.Second) || r.TTL() < MinTokenTTL:
		return Invalid("ttl_s", fmt.Sprintf("ttl_s %d is out of range; allowed: 60 to %d", r.TTLS, int64(MaxTokenTTL/time.Second)))
	}
	if !r.AllOrgs {
		if err := CheckName("org_id", string(r.OrgID)); err != nil {
			return err
		}
	}
	if r.AgentID != "" {
		if err := CheckName("agent_id", string(r.AgentID)); err != nil {
			return err
		}
	}
	if r.Name == "" {
		return nil
	}
	return CheckName("name", r.Name)
}

// CreateTokenResponse holds the secret: it is shown this once and kept
// nowhere.
type CreateTokenResponse struct {
	Token  Token  `json:"token"`
	Secret string `json:"secret" doc:"shown this once"`
}

// JoinRequest exchanges a join token, which the request bears, for an agent
// token that the agent has drawn itself: its secret never travels before it is
// used. The same again gets the same answer, so a lost one can be asked for
// again.
type JoinRequest struct {
	AgentID AgentID `json:"agent_id" doc:"the agent's name; with several slots the name before -1, -2…"`
	SHA256  Sum     `json:"sha256" doc:"of the token that the agent has drawn"`
	Devices bool    `json:"devices,omitempty" doc:"the host has an agent for each of its devices, AGENT-SERIAL: the token serves every AGENT-…"`
}

// Bound is what the agent's token is of, in the form of ServesAgent.
func (r JoinRequest) Bound() AgentID {
	if r.Devices {
		return r.AgentID + devices
	}
	return r.AgentID
}

// devices ends the name that a token is of when it serves all of a host's
// devices, whose agents are named for their serial numbers.
const devices = "-*"

// OIDCInfo says what id-tokens the server trusts.
type OIDCInfo struct {
	Issuer   string `json:"issuer"`
	Audience string `json:"audience" doc:"what an id-token for this server must be asked for"`
}

// OIDCRequest exchanges an id-token of CI for a token of this server.
type OIDCRequest struct {
	IDToken string `json:"id_token"`
}

// OIDCResponse is a token of one CI run.
type OIDCResponse struct {
	Token     string    `json:"token"`
	OrgID     OrgID     `json:"org_id"`
	ExpiresAt time.Time `json:"expires_at"`
}

// ServesAgent reports whether a token of an agent's name may act as an agent:
// the name itself, or NAME-1, NAME-2… for the slots of one host. One of NAME-*
// may act as NAME and every NAME-…, for the devices of one host. An unbound
// token ("") may act as any.
func ServesAgent(name, id AgentID) bool {
	if name == "" || name == id {
		return true
	}
	if host, all := strings.CutSuffix(string(name), devices); all && host != "" {
		rest, of := strings.CutPrefix(string(id), host)
		return of && (rest == "" || len(rest) > 1 && rest[0] == '-')
	}
	slot, ok := strings.CutPrefix(string(id), string(name)+"-")
	return ok && slot != "" && len(slot) <= 2 && strings.Trim(slot, "0123456789") == "" && slot[0] != '0'
}
