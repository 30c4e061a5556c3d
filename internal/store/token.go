package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/qualgent/qgjob"
)

// Tokens are kept by their SHA-256 only. Rows of people's and agents' tokens
// are never deleted: that a database has had tokens is what keeps its servers
// from ever being open again.

const tokenColumns = `token_id, kind, org_id, name, agent_id, bound, created_at, expires_at, last_used, revoked_at, used_at, created_by` //nolint:gosec // names of columns

// touchEvery is how exact a token's last use is: a write for each request
// would cost more than it tells.
const touchEvery = time.Minute

func scanToken(row scanner) (t qgjob.Token, err error) {
	var created, expires, last, revoked, used int64
	err = row.Scan(&t.TokenID, &t.Kind, &t.OrgID, &t.Name, &t.AgentID, &t.Run, &created, &expires, &last, &revoked, &used, &t.CreatedBy)
	t.CreatedAt, t.ExpiresAt, t.LastUsed, t.RevokedAt, t.UsedAt = fromMS(created), fromMS(expires), timePtr(last), timePtr(revoked), timePtr(used)
	return t, err
}

// newTokenID draws a token's public name.
func newTokenID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return "tok_" + hex.EncodeToString(b[:])
}

// CreateToken keeps a token by its sum and gives its record. Where nothing
// else lets anybody in (first), a first token that is not an admin's of all
// orgs is refused: nobody could make a second one.
func (s *Store) CreateToken(ctx context.Context, req qgjob.CreateTokenRequest, sum qgjob.Sum, by string, first bool) (made qgjob.Token, err error) {
	if err := req.Check(); err != nil {
		return made, err
	}
	err = s.update(ctx, func(t *tx) error {
		if first && (req.Kind != qgjob.TokenAdmin || !req.AllOrgs) {
			var n int64
			if _, err := t.queryRow(`SELECT COUNT(*) FROM tokens WHERE kind <> 'ci'`, nil, &n); err != nil {
				return err
			}
			if n == 0 {
				e := qgjob.Conflict("", "the first token of a server without --token-file must be an admin token of all orgs: from then on the server asks everybody for a token, and nobody could make another one")
				e.Hint = "qgjob token create --kind=admin --all-orgs"
				return e
			}
		}
		made = qgjob.Token{TokenID: newTokenID(), Kind: req.Kind, OrgID: req.OrgID, Name: req.Name, AgentID: req.AgentID,
			CreatedAt: fromMS(t.nowMS), ExpiresAt: fromMS(t.nowMS + req.TTL().Milliseconds()), CreatedBy: by}
		return t.insertToken(made, sum, 0)
	})
	return made, err
}

func (t *tx) insertToken(k qgjob.Token, sum qgjob.Sum, idle time.Duration) error {
	t.note.Tokens = true
	_, err := t.exec(`INSERT INTO tokens (token_id, sum, kind, org_id, name, agent_id, bound, created_at, expires_at, idle_ms, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		k.TokenID, string(sum), string(k.Kind), string(k.OrgID), k.Name, string(k.AgentID), k.Run, ms(k.CreatedAt), ms(k.ExpiresAt), idle.Milliseconds(), k.CreatedBy)
	return err
}

// TokenOf finds a token by its sum, expired and revoked ones too; false when
// there is none.
func (s *Store) TokenOf(ctx context.Context, sum qgjob.Sum) (k qgjob.Token, found bool, err error) {
	k, err = scanToken(s.read.QueryRowContext(ctx, `SELECT `+tokenColumns+` FROM tokens WHERE sum = $1`, string(sum)))
	if isNoRows(err) {
		return k, false, nil
	}
	return k, err == nil, unavailable(err)
}

// Token gives one token.
func (s *Store) Token(ctx context.Context, id string) (qgjob.Token, error) {
	k, err := scanToken(s.read.QueryRowContext(ctx, `SELECT `+tokenColumns+` FROM tokens WHERE token_id = $1`, id))
	if isNoRows(err) {
		return k, NoToken()
	}
	return k, unavailable(err)
}

// NoToken is what is answered for a token that does not exist, or is of
// another org.
func NoToken() error { return qgjob.NotFound("no such token") }

// Tokens lists an org's tokens, or everybody's when org is empty, oldest
// first. Those of CI runs come and go and are left out.
func (s *Store) Tokens(ctx context.Context, org qgjob.OrgID) ([]qgjob.Token, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT `+tokenColumns+` FROM tokens WHERE ($1 = '' OR org_id = $2) AND kind <> 'ci' ORDER BY created_at, token_id`, string(org), string(org))
	if err != nil {
		return nil, unavailable(fmt.Errorf("list tokens: %w", err))
	}
	list := []qgjob.Token{}
	err = eachRow(rows, func(rows *sql.Rows) error {
		k, err := scanToken(rows)
		list = append(list, k)
		return err
	})
	return list, unavailable(err)
}

// HasTokens reports whether the database ever had a token of people or agents.
func (s *Store) HasTokens(ctx context.Context) (bool, error) {
	var n int64
	err := s.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT 1 AS one FROM tokens WHERE kind <> 'ci' LIMIT 1) t`).Scan(&n)
	return n > 0, unavailable(err)
}

// RevokeToken takes a token back, for good. Again it changes nothing.
func (s *Store) RevokeToken(ctx context.Context, id string) (qgjob.Token, error) {
	err := s.update(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE tokens SET revoked_at = $1 WHERE token_id = $2 AND revoked_at = 0`, t.nowMS, id)
		t.note.Tokens = t.note.Tokens || n > 0
		return err
	})
	if err != nil {
		return qgjob.Token{}, err
	}
	return s.Token(ctx, id)
}

// TouchToken notes that a token was used. One that lives as long as it is
// used (an agent's own) lives on from now.
func (s *Store) TouchToken(ctx context.Context, id string) error {
	return s.update(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE tokens SET last_used = $1, expires_at = CASE WHEN idle_ms > 0 AND expires_at > 0 THEN $2 + idle_ms ELSE expires_at END
			WHERE token_id = $3 AND last_used < $4 AND revoked_at = 0`, t.nowMS, t.nowMS, id, t.nowMS-touchEvery.Milliseconds())
		return err
	})
}

// NeedsTouch reports whether the last use that a token's record tells of is
// too long ago.
func NeedsTouch(k qgjob.Token, now time.Time) bool {
	return k.Kind != qgjob.TokenCI && (k.LastUsed == nil || now.Sub(*k.LastUsed) > touchEvery)
}

// Join exchanges a join token for the agent token with the sum given: once.
// The same again gives the same record, so that a lost answer can be asked for
// again; anybody else is refused (denied). The name's tokens from earlier
// joins are revoked. The token lives for qgjob.DefaultTokenTTL from its last
// use.
func (s *Store) Join(ctx context.Context, joinID string, req qgjob.JoinRequest) (made qgjob.Token, err error) {
	if err := qgjob.CheckName("agent_id", string(req.AgentID)); err != nil {
		return made, err
	}
	if _, err := qgjob.ParseSum(string(req.SHA256)); err != nil {
		return made, err
	}
	err = s.update(ctx, func(t *tx) error {
		made, err = t.join(joinID, req)
		return err
	})
	return made, err
}

func (t *tx) join(joinID string, req qgjob.JoinRequest) (made qgjob.Token, err error) {
	var org, name, only, usedFor string
	var used int64
	found, err := t.queryRow(`SELECT org_id, name, agent_id, used_at, used_for FROM tokens WHERE token_id = $1 AND kind = 'agent-join' AND revoked_at = 0`,
		[]any{joinID}, &org, &name, &only, &used, &usedFor)
	switch {
	case err != nil:
		return made, err
	case !found:
		return made, NoToken()
	case only != "" && only != string(req.AgentID):
		return made, &qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeScope, Field: "agent_id", Message: fmt.Sprintf("this join token is for agent %s", only), Hint: "give the agent that --name"}
	case used > 0 && usedFor != string(req.Bound())+" "+string(req.SHA256):
		return made, &qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeTokenRevoked, Message: "this join token was used already", Hint: "make another one: qgjob token create --kind=agent-join"}
	}
	if a := t.m.agents[req.AgentID]; a != nil && !a.free(qgjob.OrgID(org)) {
		return made, nameTaken(req.AgentID)
	}
	if used > 0 {
		_, err = t.one(`SELECT `+tokenColumns+` FROM tokens WHERE sum = $1`, []any{string(req.SHA256)}, func(row scanner) error {
			made, err = scanToken(row)
			return err
		})
		return made, err
	}
	var other int64
	if found, err := t.queryRow(`SELECT 1 FROM tokens WHERE sum = $1`, []any{string(req.SHA256)}, &other); err != nil || found {
		if err == nil {
			err = qgjob.Invalid("sha256", "sha256 is of a token that is known already: draw another one")
		}
		return made, err
	}
	made = qgjob.Token{TokenID: newTokenID(), Kind: qgjob.TokenAgent, OrgID: qgjob.OrgID(org), Name: name, AgentID: req.Bound(),
		CreatedAt: fromMS(t.nowMS), ExpiresAt: fromMS(t.nowMS + qgjob.DefaultTokenTTL.Milliseconds()), CreatedBy: joinID}
	if _, err := t.exec(`UPDATE tokens SET used_at = $1, used_for = $2, last_used = $3 WHERE token_id = $4`, t.nowMS, string(req.Bound())+" "+string(req.SHA256), t.nowMS, joinID); err != nil {
		return made, err
	}
	if _, err := t.exec(`UPDATE tokens SET revoked_at = $1 WHERE kind = 'agent' AND org_id = $2 AND agent_id IN ($3, $4) AND idle_ms > 0 AND revoked_at = 0`, t.nowMS, org,
		string(req.AgentID), string(qgjob.JoinRequest{AgentID: req.AgentID, Devices: true}.Bound())); err != nil {
		return made, err
	}
	return made, t.insertToken(made, req.SHA256, qgjob.DefaultTokenTTL)
}

// GiveCIToken keeps a token of a CI run, in the same transaction that marks
// the id-token's jti (by its hash) as used until it could not be used anyway.
// A jti that was used before, at whatever server, is refused (denied).
func (s *Store) GiveCIToken(ctx context.Context, jti qgjob.Sum, until time.Time, k qgjob.Token, sum qgjob.Sum) (qgjob.Token, error) {
	err := s.update(ctx, func(t *tx) error {
		var used int64
		if found, err := t.queryRow(`SELECT 1 FROM id_tokens WHERE jti = $1`, []any{string(jti)}, &used); err != nil {
			return err
		} else if found {
			return &qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeUnauthenticated, Message: "the id-token was used before", Hint: "ask GitHub for a fresh one: each is good for one token"}
		}
		if _, err := t.exec(`INSERT INTO id_tokens (jti, expires_at) VALUES ($1, $2)`, string(jti), ms(until)); err != nil {
			return err
		}
		k.TokenID, k.Kind, k.CreatedAt, k.ExpiresAt = newTokenID(), qgjob.TokenCI, fromMS(t.nowMS), fromMS(t.nowMS+qgjob.CITokenTTL.Milliseconds())
		return t.insertToken(k, sum, 0)
	})
	return k, err
}

// ciRunsFor is how long it is kept which CI run submitted a run: GitHub ends a
// workflow run after 35 days.
const ciRunsFor = 40 * 24 * time.Hour

// SweepTokens deletes the tokens of CI runs that have expired, the jtis that
// can come no more, and whose runs they were that have ended long ago. It gives how many rows that were.
func (s *Store) SweepTokens(ctx context.Context) (n int64, err error) {
	err = s.update(ctx, func(t *tx) error {
		tokens, err := t.exec(`DELETE FROM tokens WHERE kind = 'ci' AND expires_at < $1`, t.nowMS-time.Hour.Milliseconds())
		if err != nil {
			return err
		}
		jtis, err := t.exec(`DELETE FROM id_tokens WHERE expires_at < $1`, t.nowMS)
		if err != nil {
			return err
		}
		runs, err := t.exec(`DELETE FROM ci_runs WHERE created_at < $1`, t.nowMS-ciRunsFor.Milliseconds())
		n = tokens + jtis + runs
		return err
	})
	return n, err
}
