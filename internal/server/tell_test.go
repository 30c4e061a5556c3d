package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/hook"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

var loopbackOnly = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// eventually waits for what background loops do over real connections.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	over, tick := time.NewTimer(30*time.Second), time.NewTicker(20*time.Millisecond)
	defer over.Stop()
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-over.C:
			t.Fatalf("in vain: %s", what)
		}
	}
}

// finish has an agent run the one job that waits.
func (r *rig) finish(agent string, outcome qgjob.Outcome) {
	r.t.Helper()
	offer := r.take(agent)
	r.start(agent, offer.LeaseID)
	must[qgjob.CompleteResponse](r, 200, "POST", "/v1/leases/"+string(offer.LeaseID)+"/complete",
		qgjob.CompleteRequest{AgentID: qgjob.AgentID(agent), Incarnation: 1, Outcome: outcome, Message: "expected <b>1</b> @everyone", Digest: string(offer.LeaseID)})
}

// TestWebhookIsTold: signed, in order, and again after a refusal under the
// same id.
func TestWebhookIsTold(t *testing.T) {
	var mu sync.Mutex
	var ids []string
	var got []qgjob.WebhookMessage
	refuse, secret := 1, ""
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(req.Body)
		ids = append(ids, req.Header.Get("webhook-id"))
		if refuse > 0 {
			refuse--
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		receiver, err := standardwebhooks.NewWebhook(secret)
		if err != nil || receiver.Verify(body, req.Header) != nil {
			t.Errorf("the signature is wrong")
		}
		var m qgjob.WebhookMessage
		if err := json.Unmarshal(body, &m); err != nil {
			t.Error(err)
		}
		got = append(got, m)
	}))
	defer web.Close()
	r := newRig(t, rigOptions{loops: true, tells: Telling{Webhooks: hook.NewSender(loopbackOnly, "qgjob/test")}})
	made := must[qgjob.Webhook](r, 200, "POST", "/v1/webhooks", qgjob.WebhookRequest{OrgID: "acme", URL: web.URL + "/?key=hush", Kinds: []qgjob.EventKind{qgjob.EventJobFinished, qgjob.EventRunFinished}})
	mu.Lock()
	secret = made.Secret
	mu.Unlock()
	r.register("a1")
	r.submit(spec("v1", "a.js"))
	r.finish("a1", qgjob.OutcomeFailed)
	listed := func() qgjob.Webhook {
		return must[list[qgjob.Webhook]](r, 200, "GET", "/v1/webhooks?org_id=acme", nil).Items[0]
	}
	eventually(t, "the refusal is told", func() bool { return listed().Tries == 1 })
	if h := listed(); !strings.Contains(h.Problem, "502") || h.NextAt == nil || h.Disabled || strings.Contains(h.Problem, "hush") {
		t.Errorf("after a refusal: %+v", h)
	}
	eventually(t, "both messages arrive", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == 2 })
	if got[0].Type != qgjob.EventJobFinished || got[0].Data.Status != qgjob.Failed || got[1].Type != qgjob.EventRunFinished || got[1].Run == nil || got[1].Run.Conclusion != "failed" {
		t.Errorf("told %+v", got)
	}
	if len(ids) != 3 || ids[0] != ids[1] || ids[1] == ids[2] {
		t.Errorf("message ids %v: one told again must keep its own", ids)
	}
	if strings.Contains(r.logs.String(), "hush") || strings.Contains(r.logs.String(), "whsec_") {
		t.Error("the log holds secrets")
	}
	eventually(t, "all is well again", func() bool { h := listed(); return h.Tries == 0 && h.Problem == "" && h.NextAt == nil })
	must[deleted](r, 200, "DELETE", "/v1/webhooks/acme/"+made.ID, nil)
}

// TestWebhookCannotReachInside: whoever may make a webhook must not be able to
// ask the server's own network.
func TestWebhookCannotReachInside(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("an inner address was asked") }))
	defer web.Close()
	r := newRig(t, rigOptions{loops: true, tells: Telling{Webhooks: hook.NewSender(nil, "qgjob/test")}})
	must[qgjob.Webhook](r, 200, "POST", "/v1/webhooks", qgjob.WebhookRequest{OrgID: "acme", URL: web.URL, Kinds: []qgjob.EventKind{qgjob.EventRunSubmitted}})
	r.submit(spec("v1", "a.js"))
	eventually(t, "it is refused", func() bool {
		return strings.Contains(must[list[qgjob.Webhook]](r, 200, "GET", "/v1/webhooks", nil).Items[0].Problem, "not a public one")
	})
}

// fakeGitHub follows the documented calls for statuses and comments.
type fakeGitHub struct {
	mu       sync.Mutex
	statuses []hook.Status
	comments []string
	calls    []string
}

func (g *fakeGitHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls = append(g.calls, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
	var in struct {
		hook.Status
		Body string
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	switch {
	case r.Method == http.MethodPost && strings.Contains(r.URL.Path, "/statuses/"):
		g.statuses = append(g.statuses, in.Status)
		w.WriteHeader(http.StatusCreated)
	case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/comments"):
		var list []map[string]any
		for i, c := range g.comments {
			list = append(list, map[string]any{"id": i + 1, "body": c})
		}
		_ = json.NewEncoder(w).Encode(list)
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/comments"):
		g.comments = append(g.comments, in.Body)
		w.WriteHeader(http.StatusCreated)
	case r.Method == http.MethodPatch:
		var id int
		_, _ = fmt.Sscanf(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], "%d", &id)
		g.comments[id-1] = in.Body
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// TestGitHubIsTold: pending, then the verdict; one comment, updated; nothing
// for repositories that the org may not speak for.
func TestGitHubIsTold(t *testing.T) {
	g := &fakeGitHub{comments: []string{"a person's comment"}}
	web := httptest.NewServer(g)
	defer web.Close()
	github, err := hook.NewGitHub(hook.GitHubOptions{API: web.URL, Token: "ghs_hush", Allow: loopbackOnly, Agent: "qgjob/test"})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, rigOptions{loops: true, tells: Telling{GitHub: github, Repos: map[qgjob.OrgID][]string{"acme": {"Acme/Shop"}}, PublicURL: "https://farm.example"}})
	eventually(t, "the place is made", func() bool {
		if err := r.Store.TellGitHub(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
		return true
	})
	r.register("a1")
	run := func(repository string, outcome qgjob.Outcome) {
		must[qgjob.SubmitResponse](r, 201, "POST", "/v1/runs", qgjob.SubmitRequest{OrgID: "acme", Jobs: []qgjob.JobSpec{spec("v1", "a.js")}, Labels: map[string]string{
			hook.LabelRepository: repository, hook.LabelCommit: strings.Repeat("c", 40), hook.LabelPull: "7", hook.LabelContext: "e2e"}})
		r.finish("a1", outcome)
	}
	state := func() string {
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.statuses) == 0 {
			return ""
		}
		return g.statuses[len(g.statuses)-1].State
	}
	run("acme/shop", qgjob.OutcomeFailed)
	eventually(t, "the comment is there", func() bool { g.mu.Lock(); defer g.mu.Unlock(); return len(g.comments) == 2 })
	last := g.statuses[len(g.statuses)-1]
	if last.State != "failure" || last.Context != "qgjob / e2e" || last.TargetURL != "https://farm.example/v1/runs/run_1/report" || !strings.HasPrefix(last.Description, "1 failed") {
		t.Errorf("status %+v", last)
	}
	if c := g.comments[1]; !strings.HasPrefix(c, "<!-- qgjob:acme%2Fqgjob+%2F+e2e run_1 -->\n") || !strings.Contains(c, "| expected &#60;b&#62;1&#60;/b&#62; &#64;everyone |") {
		t.Errorf("comment %q", c)
	}
	run("someone/else", qgjob.OutcomePassed) // run_2 is told nowhere
	run("acme/shop", qgjob.OutcomePassed)
	eventually(t, "the comment is updated", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return strings.Contains(g.comments[1], "run_3")
	})
	if state() != "success" || len(g.comments) != 2 || g.comments[0] != "a person's comment" {
		t.Errorf("state %s, comments %q", state(), g.comments)
	}
	for _, c := range g.calls {
		if strings.Contains(c, "someone") || !strings.HasSuffix(c, " Bearer ghs_hush") {
			t.Errorf("call %s", c)
		}
	}
	if strings.Contains(r.logs.String(), "hush") {
		t.Error("the log holds the token")
	}
}
