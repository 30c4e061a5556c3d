package store

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

func TestWebhooks(t *testing.T)           { webhooks(t) }
func TestWebhooksOnPostgres(t *testing.T) { webhooks(t) }

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// webhooks: a place in the events that one server at a time goes on from.
func webhooks(t *testing.T) {
	ctx := context.Background()
	s := openTest(t, Options{})
	submit := func(org string) { ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob(org, 5))) }
	submit("acme")
	made := ok[qgjob.Webhook](t)(s.CreateWebhook(ctx, qgjob.WebhookRequest{OrgID: "acme", URL: "https://x.example/hook"}))
	if !strings.HasPrefix(made.Secret, "whsec_") || !strings.HasPrefix(made.ID, "wh_") || len(made.Kinds) != 1 || made.Kinds[0] != qgjob.EventRunFinished {
		t.Errorf("made %+v", made)
	}
	ok[qgjob.Webhook](t)(s.CreateWebhook(ctx, qgjob.WebhookRequest{OrgID: "other", URL: "https://x.example/hook"}))
	if list := ok[[]qgjob.Webhook](t)(s.Webhooks(ctx, "acme")); len(list) != 1 || list[0].ID != made.ID || list[0].Secret != "" {
		t.Errorf("listed %+v", list)
	}
	if due := ok[[]Told](t)(s.DueTold(ctx)); len(due) != 0 {
		t.Errorf("what happened before is told: %+v", due)
	}
	submit("acme")
	due := ok[[]Told](t)(s.DueTold(ctx))
	if len(due) != 1 || due[0].ID != made.ID || due[0].Secret != made.Secret {
		t.Fatalf("due %+v", due)
	}
	first, second := due[0], due[0]
	if !ok[bool](t)(s.TakeTold(ctx, &first, time.Minute)) || ok[bool](t)(s.TakeTold(ctx, &second, time.Minute)) {
		t.Error("it must be taken once")
	}
	if due := ok[[]Told](t)(s.DueTold(ctx)); len(due) != 0 {
		t.Errorf("taken, and due all the same: %+v", due)
	}
	events := ok[[]qgjob.Event](t)(s.OrgEvents(ctx, "acme", first.Cursor, 10))
	if len(events) != 1 || events[0].Kind != qgjob.EventRunSubmitted || events[0].RunID != 2 || events[0].Seq <= first.Cursor {
		t.Fatalf("events %+v", events)
	}
	second.Problem = "not mine"
	mustDo(t, s.SaveTold(ctx, second)) // is not let
	first.Cursor, first.Tries, first.Problem = events[0].Seq, 0, ""
	mustDo(t, s.SaveTold(ctx, first))
	if due := ok[[]Told](t)(s.DueTold(ctx)); len(due) != 0 {
		t.Errorf("told, and due all the same: %+v", due)
	}
	if list := ok[[]qgjob.Webhook](t)(s.Webhooks(ctx, "acme")); list[0].Cursor != events[0].Seq || list[0].Problem != "" {
		t.Errorf("saved %+v", list[0])
	}
	submit("acme")
	again := ok[[]Told](t)(s.DueTold(ctx))[0]
	if !ok[bool](t)(s.TakeTold(ctx, &again, -time.Minute)) { // its server dies
		t.Fatal("not taken")
	}
	if due := ok[[]Told](t)(s.DueTold(ctx)); len(due) != 1 {
		t.Errorf("held up by a dead server: %+v", due)
	}
	later := time.Now().Add(time.Hour)
	again.NextAt, again.Tries = &later, 1
	mustDo(t, s.SaveTold(ctx, again))
	if due := ok[[]Told](t)(s.DueTold(ctx)); len(due) != 0 {
		t.Errorf("due before its time: %+v", due)
	}
	mustDo(t, s.DeleteWebhook(ctx, "acme", made.ID))
	wantError(t, s.DeleteWebhook(ctx, "acme", made.ID), qgjob.KindNotFound, made.ID)
}

func TestWebhookLimits(t *testing.T) {
	ctx := context.Background()
	s := openTest(t, Options{})
	for range qgjob.MaxWebhooks {
		ok[qgjob.Webhook](t)(s.CreateWebhook(ctx, qgjob.WebhookRequest{OrgID: "acme", URL: "https://x.example"}))
	}
	_, err := s.CreateWebhook(ctx, qgjob.WebhookRequest{OrgID: "acme", URL: "https://x.example"})
	wantError(t, err, qgjob.KindConflict, "20")
	for url, says := range map[string]string{
		"": "url", "ftp://x": "url", "https://u:hush@x.example": "user", "https://x.example/#f": "fragment", "https://x.example/" + strings.Repeat("a", 2000): "2000",
	} {
		_, err := s.CreateWebhook(ctx, qgjob.WebhookRequest{OrgID: "other", URL: url})
		wantError(t, err, qgjob.KindInvalid, says)
	}
	_, err = s.CreateWebhook(ctx, qgjob.WebhookRequest{OrgID: "other", URL: "https://x.example", Kinds: []qgjob.EventKind{"run.lost"}})
	wantError(t, err, qgjob.KindInvalid, "run.lost", "run.finished")
	mustDo(t, s.TellGitHub(ctx, "acme"))
	mustDo(t, s.TellGitHub(ctx, "acme")) // begins once
	wantError(t, s.DeleteWebhook(ctx, "acme", ToldGitHub), qgjob.KindNotFound)
}
