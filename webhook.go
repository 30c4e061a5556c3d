package qgjob

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Webhook is an address that is told of an org's events, signed as Standard
// Webhooks asks (https://www.standardwebhooks.com). It gets every event at
// least once, in order.
type Webhook struct {
	ID        string      `json:"id" doc:"wh_ and random letters"`
	OrgID     OrgID       `json:"org_id"`
	URL       string      `json:"url"`
	Kinds     []EventKind `json:"kinds" doc:"the events it is told of"`
	Secret    string      `json:"secret,omitempty" doc:"whsec_…, to check signatures with; shown once, when the webhook is made"`
	Cursor    int64       `json:"cursor" doc:"sequence number of the last event that was delivered or is not for it"`
	Tries     int         `json:"tries" doc:"how often the next event was tried in vain"`
	NextAt    *time.Time  `json:"next_at,omitempty" doc:"when it is tried again"`
	Problem   string      `json:"problem,omitempty" doc:"why the last try failed"`
	Disabled  bool        `json:"disabled" doc:"given up after too many tries; delete it, or make it anew"`
	CreatedAt time.Time   `json:"created_at"`
}

// WebhookRequest asks for a webhook.
type WebhookRequest struct {
	OrgID OrgID       `json:"org_id"`
	URL   string      `json:"url" doc:"https, or http when the server allows the address"`
	Kinds []EventKind `json:"kinds,omitempty" doc:"default: run.finished"`
}

// WebhookKinds are the events that a webhook may ask for.
var WebhookKinds = []EventKind{EventRunSubmitted, EventJobAssigned, EventJobStarted, EventJobRequeued, EventJobCancelling, EventJobFinished, EventRunFinished}

// MaxWebhooks is how many webhooks an org may have.
const MaxWebhooks = 20

// Check refuses a request with the field at fault and what is allowed there.
// Whether the address may be reached is seen when it is dialled.
func (r WebhookRequest) Check() error {
	if err := CheckName("org_id", string(r.OrgID)); err != nil {
		return err
	}
	u, err := url.Parse(r.URL)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return Invalid("url", fmt.Sprintf("url %.200q must be like https://ci.example.com/hook", r.URL))
	case len(r.URL) > 2000:
		return Invalid("url", fmt.Sprintf("url has %d bytes; allowed: 2000", len(r.URL)))
	case u.User != nil:
		return Invalid("url", "url must not hold a user or password; receivers check the signature")
	case u.Fragment != "":
		return Invalid("url", "url must not have a fragment")
	}
	for _, k := range r.Kinds {
		if !slices.Contains(WebhookKinds, k) {
			words := make([]string, len(WebhookKinds))
			for i, w := range WebhookKinds {
				words[i] = string(w)
			}
			return Invalid("kinds", fmt.Sprintf("kinds holds %.80q; allowed: %s", k, strings.Join(words, ", ")))
		}
	}
	return nil
}

// WebhookMessage is the body that a webhook gets.
type WebhookMessage struct {
	Type      EventKind `json:"type"`
	Timestamp time.Time `json:"timestamp" doc:"of the event"`
	Data      Event     `json:"data"`
	Run       *Run      `json:"run,omitempty" doc:"with run.finished: how it ended"`
}
