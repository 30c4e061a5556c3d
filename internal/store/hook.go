package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
)

// Told is a place in an org's events from which somebody is told: a webhook,
// or GitHub.
type Told struct {
	qgjob.Webhook
	Kind string // ToldWebhook or ToldGitHub
	ver  int64
}

// The kinds of those who are told.
const (
	ToldWebhook = "webhook"
	ToldGitHub  = "github"
)

const toldColumns = `org_id, id, kind, url, secret, kinds, told, tries, next_at, ver, problem, disabled, created_at`

func scanTold(row scanner) (h Told, err error) {
	var kinds string
	var nextAt, createdAt int64
	if err := row.Scan(&h.OrgID, &h.ID, &h.Kind, &h.URL, &h.Secret, &kinds, &h.Cursor, &h.Tries, &nextAt, &h.ver, &h.Problem, &h.Disabled, &createdAt); err != nil {
		return h, err
	}
	for k := range strings.SplitSeq(kinds, ",") {
		h.Kinds = append(h.Kinds, qgjob.EventKind(k))
	}
	h.NextAt, h.CreatedAt = timePtr(nextAt), fromMS(createdAt)
	return h, nil
}

// CreateWebhook makes a webhook that is told of what happens from now on. Its
// answer is the only one that holds the secret.
func (s *Store) CreateWebhook(ctx context.Context, req qgjob.WebhookRequest) (qgjob.Webhook, error) {
	if err := req.Check(); err != nil {
		return qgjob.Webhook{}, err
	}
	if len(req.Kinds) == 0 {
		req.Kinds = []qgjob.EventKind{qgjob.EventRunFinished}
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	h := Told{Kind: ToldWebhook, Webhook: qgjob.Webhook{
		ID: "wh_" + strings.ToLower(rand.Text()), OrgID: req.OrgID, URL: req.URL, Kinds: req.Kinds,
		Secret: "whsec_" + base64.StdEncoding.EncodeToString(secret),
	}}
	return h.Webhook, s.update(ctx, func(t *tx) error {
		var have int
		if _, err := t.queryRow(`SELECT COUNT(*) FROM webhooks WHERE org_id = $1 AND kind = $2`, []any{string(req.OrgID), ToldWebhook}, &have); err != nil {
			return err
		}
		if have >= qgjob.MaxWebhooks {
			e := qgjob.Conflict("", "org %s has %d webhooks already; allowed: %d", req.OrgID, have, qgjob.MaxWebhooks)
			e.Hint = "delete one first: qgjob webhook delete"
			return e
		}
		h.CreatedAt = fromMS(t.nowMS)
		return t.createTold(&h)
	})
}

// createTold writes a row that begins at the newest event.
func (t *tx) createTold(h *Told) error {
	if _, err := t.queryRow(`SELECT value FROM counters WHERE name = 'event'`, nil, &h.Cursor); err != nil {
		return err
	}
	kinds := make([]string, len(h.Kinds))
	for i, k := range h.Kinds {
		kinds[i] = string(k)
	}
	return t.write("make "+h.ID, `INSERT INTO webhooks (org_id, id, kind, url, secret, kinds, told, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		string(h.OrgID), h.ID, h.Kind, h.URL, h.Secret, strings.Join(kinds, ","), h.Cursor, t.nowMS)
}

// TellGitHub keeps a place from which GitHub is told of an org's runs; it
// begins now, or stays where it was.
func (s *Store) TellGitHub(ctx context.Context, org qgjob.OrgID) error {
	return s.update(ctx, func(t *tx) error {
		var n int
		found, err := t.queryRow(`SELECT 1 FROM webhooks WHERE org_id = $1 AND id = $2`, []any{string(org), ToldGitHub}, &n)
		if err != nil || found {
			return err
		}
		return t.createTold(&Told{Kind: ToldGitHub, Webhook: qgjob.Webhook{OrgID: org, ID: ToldGitHub, Kinds: []qgjob.EventKind{qgjob.EventRunSubmitted, qgjob.EventRunFinished}}})
	})
}

// Webhooks lists an org's webhooks, oldest first, without their secrets.
func (s *Store) Webhooks(ctx context.Context, org qgjob.OrgID) ([]qgjob.Webhook, error) {
	all, err := s.told(ctx, `WHERE kind = $1 AND ($2 = '' OR org_id = $3) ORDER BY created_at, id`, ToldWebhook, string(org), string(org))
	hooks := make([]qgjob.Webhook, len(all))
	for i, h := range all {
		hooks[i] = h.Webhook
		hooks[i].Secret = ""
	}
	return hooks, err
}

// DeleteWebhook makes an end of a webhook.
func (s *Store) DeleteWebhook(ctx context.Context, org qgjob.OrgID, id string) error {
	return s.update(ctx, func(t *tx) error {
		var n int
		found, err := t.queryRow(`SELECT 1 FROM webhooks WHERE org_id = $1 AND id = $2 AND kind = $3`, []any{string(org), id, ToldWebhook}, &n)
		if err == nil && !found {
			err = qgjob.NotFound("org %s has no webhook %s", org, id)
		}
		if err != nil {
			return err
		}
		return t.write("delete "+id, `DELETE FROM webhooks WHERE org_id = $1 AND id = $2`, string(org), id)
	})
}

// DueTold gives those who have events to be told of now.
func (s *Store) DueTold(ctx context.Context) ([]Told, error) {
	now := time.Now().UnixMilli()
	return s.told(ctx, `WHERE disabled = 0 AND next_at <= $1 AND taken_until <= $2
		AND (EXISTS (SELECT 1 FROM events e WHERE e.org_id = webhooks.org_id AND e.seq > webhooks.told)
			OR EXISTS (SELECT 1 FROM history_events e WHERE e.org_id = webhooks.org_id AND e.seq > webhooks.told)) ORDER BY org_id, id`, now, now)
}

func (s *Store) told(ctx context.Context, tail string, args ...any) ([]Told, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT `+toldColumns+` FROM webhooks `+tail, args...) //nolint:gosec // constants and numbered parameters only
	if err != nil {
		return nil, unavailable(fmt.Errorf("list webhooks: %w", err))
	}
	list := []Told{}
	err = eachRow(rows, func(rows *sql.Rows) error {
		h, err := scanTold(rows)
		list = append(list, h)
		return err
	})
	return list, unavailable(err)
}

// TakeTold makes a server the only one that tells h for a while. taken is
// false when another was faster. A server that dies meanwhile holds it up for
// that long and no longer.
func (s *Store) TakeTold(ctx context.Context, h *Told, while time.Duration) (taken bool, err error) {
	err = s.update(ctx, func(t *tx) error {
		taken = false
		ver, err := t.toldVersion(h)
		if err != nil || ver != h.ver {
			return err
		}
		taken = true
		return t.write("take "+h.ID, `UPDATE webhooks SET taken_until = $1, ver = ver + 1 WHERE org_id = $2 AND id = $3`,
			t.nowMS+while.Milliseconds(), string(h.OrgID), h.ID)
	})
	if taken && err == nil {
		h.ver++
	}
	return taken && err == nil, err
}

// toldVersion is how often a row was changed; -1 when it is gone.
func (t *tx) toldVersion(h *Told) (ver int64, err error) {
	ver = -1
	_, err = t.queryRow(`SELECT ver FROM webhooks WHERE org_id = $1 AND id = $2`, []any{string(h.OrgID), h.ID}, &ver)
	return ver, err
}

// SaveTold writes how far h has come, and lets go of it. Nothing is written
// when it was taken by another meanwhile: that one tells again what was told,
// which receivers know by the message's id.
func (s *Store) SaveTold(ctx context.Context, h Told) error {
	return s.update(ctx, func(t *tx) error {
		ver, err := t.toldVersion(&h)
		if err != nil || ver != h.ver {
			return err
		}
		var nextAt int64
		if h.NextAt != nil {
			nextAt = ms(*h.NextAt)
		}
		return t.write("save "+h.ID, `UPDATE webhooks SET told = $1, tries = $2, next_at = $3, problem = $4, disabled = $5, taken_until = 0, ver = ver + 1 WHERE org_id = $6 AND id = $7`,
			h.Cursor, h.Tries, nextAt, h.Problem, flag(h.Disabled), string(h.OrgID), h.ID)
	})
}

// OrgEvents lists an org's events behind a sequence number, in order. Flushes
// follow one another, so none appears later behind one that was given.
func (s *Store) OrgEvents(ctx context.Context, org qgjob.OrgID, after int64, limit int) ([]qgjob.Event, error) {
	rows, err := s.read.QueryContext(ctx, either(`SELECT seq, body FROM @events WHERE org_id = $1 AND seq > $2`)+` ORDER BY seq LIMIT $3`, string(org), after, pageLimit(limit))
	if err != nil {
		return nil, unavailable(fmt.Errorf("list the events of %s: %w", org, err))
	}
	list := []qgjob.Event{}
	err = eachRow(rows, func(rows *sql.Rows) error {
		var seq int64
		var body string
		if err := rows.Scan(&seq, &body); err != nil {
			return err
		}
		var e qgjob.Event
		err := json.Unmarshal([]byte(body), &e)
		e.Seq = seq
		list = append(list, e)
		return err
	})
	return list, unavailable(err)
}
