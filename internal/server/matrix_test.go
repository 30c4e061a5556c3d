package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
)

// tenant is an org with one of everything, all of it named so that an answer
// that gives something away can be told.
type tenant struct {
	org, version, test, agent string
	run, job, lease, blob     string
	artifact, token           string
	bytes                     string
}

// secrets are the texts that no other org may read.
func (o *tenant) secrets() []string { return []string{o.version, o.test, o.bytes} }

const matrixCI = "901/902/1"

// settle makes a tenant: its agent runs a job that a CI run of its submitted.
func settle(r *rig, org string) *tenant {
	r.t.Helper()
	ctx := r.t.Context()
	o := &tenant{org: org, version: "version-of-" + org, test: "tests/private-" + org + ".js", agent: org + "-a1", bytes: "the bytes of " + org}
	sum := r.upload(o.bytes)
	o.blob = string(sum)
	check(r.t, r.Store.OwnBlob(ctx, qgjob.OrgID(org), sum))
	_, err := r.Store.PutApp(ctx, qgjob.App{OrgID: qgjob.OrgID(org), AppVersionID: qgjob.AppVersionID(o.version), SHA256: sum, Size: int64(len(o.bytes)), FileName: "app.zip"})
	check(r.t, err)
	_, err = r.Store.RegisterFor(ctx, qgjob.OrgID(org), qgjob.AgentID(o.agent), qgjob.RegisterRequest{Incarnation: 1, Target: qgjob.TargetEmulator, Runner: "exec"})
	check(r.t, err)
	resp, err := r.Store.SubmitBound(ctx, matrixCI, "", qgjob.SubmitRequest{OrgID: qgjob.OrgID(org), Jobs: []qgjob.JobSpec{spec(o.version, o.test), spec(o.version, o.test)}})
	check(r.t, err)
	o.run, o.job = resp.RunID.String(), resp.JobIDs[0].String()
	got, err := r.Store.Claim(ctx, qgjob.AgentID(o.agent), claimOf(0))
	check(r.t, err)
	o.lease = string(got.Offers[0].LeaseID)
	_, err = r.Store.Start(ctx, got.Offers[0].LeaseID, qgjob.StartRequest{AgentID: qgjob.AgentID(o.agent), Incarnation: 1})
	check(r.t, err)
	_, err = r.Store.AddArtifact(ctx, qgjob.Artifact{LeaseID: got.Offers[0].LeaseID, Name: "shot.png", SHA256: sum, Size: int64(len(o.bytes)), ContentType: "image/png"})
	check(r.t, err)
	o.artifact = "shot.png"
	_, id := r.token(qgjob.CreateTokenRequest{Kind: qgjob.TokenRead, OrgID: qgjob.OrgID(org), Name: "to be revoked"})
	o.token = id
	return o
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// token makes a token past HTTP.
func (r *rig) token(req qgjob.CreateTokenRequest) (secret, id string) {
	r.t.Helper()
	secret = qgjob.NewToken(req.Kind)
	k, err := r.Store.CreateToken(r.t.Context(), req, qgjob.TokenSum(secret), "", false)
	check(r.t, err)
	return secret, k.TokenID
}

// unknown is a tenant that does not exist, with ids in the right form.
func unknown() *tenant {
	return &tenant{org: "nobody-org", version: "version-of-nobody", test: "t.js", agent: "nobody-a1", run: "run_999", job: "job_999",
		lease: strings.Repeat("8", 32), blob: strings.Repeat("9", 64), artifact: "shot.png", token: "tok_9999999999999999", bytes: "other bytes"}
}

// matrixCaller is a row of the matrix.
type matrixCaller struct {
	name   string
	secret string
	kind   string // scope words are looked up by it; "root" has all
	org    string // "" is all
	agent  string // the agent that its token is for
}

// matrixScopes says which scopes a kind has. It is written out here on its
// own: what the server thinks is what is tested.
var matrixScopes = map[string]string{
	"root": "read fetch submit upload agent admin join", "read": "read fetch", "submit": "read fetch submit upload", "ci": "read fetch submit upload",
	"agent": "agent fetch upload", "agent-join": "join", "admin": "read fetch submit upload agent admin",
}

func matrixCallers(r *rig, orgs ...*tenant) (list []matrixCaller) {
	for _, o := range orgs {
		for _, kind := range qgjob.TokenKinds {
			req := qgjob.CreateTokenRequest{Kind: kind, OrgID: qgjob.OrgID(o.org)}
			c := matrixCaller{name: string(kind) + " of " + o.org, kind: string(kind), org: o.org}
			if kind == qgjob.TokenAgent {
				req.AgentID, c.agent = qgjob.AgentID(o.agent), o.agent
			}
			c.secret, _ = r.token(req)
			list = append(list, c)
		}
		ci := qgjob.NewToken(qgjob.TokenCI)
		_, err := r.Store.GiveCIToken(r.t.Context(), qgjob.TokenSum(o.org), time.Now().Add(time.Hour), qgjob.Token{OrgID: qgjob.OrgID(o.org), Run: matrixCI}, qgjob.TokenSum(ci))
		check(r.t, err)
		list = append(list, matrixCaller{name: "ci of " + o.org, secret: ci, kind: "ci", org: o.org})
	}
	for _, kind := range []qgjob.TokenKind{qgjob.TokenRead, qgjob.TokenAgent, qgjob.TokenAdmin, qgjob.TokenJoin} {
		secret, _ := r.token(qgjob.CreateTokenRequest{Kind: kind, AllOrgs: true})
		list = append(list, matrixCaller{name: string(kind) + " of all", secret: secret, kind: string(kind)})
	}
	return append(list, matrixCaller{name: "the server's own", secret: matrixRoot, kind: "root"})
}

const matrixRoot = "the root token of the matrix"

// refusedCallers have no right to anything.
func refusedCallers(r *rig) []matrixCaller {
	expired, _ := r.token(qgjob.CreateTokenRequest{Kind: qgjob.TokenAdmin, AllOrgs: true, TTLS: 60})
	revoked, id := r.token(qgjob.CreateTokenRequest{Kind: qgjob.TokenAdmin, AllOrgs: true})
	_, err := r.Store.RevokeToken(r.t.Context(), id)
	check(r.t, err)
	time.Sleep(2 * time.Minute) // of the bubble
	whole := qgjob.NewToken(qgjob.TokenAdmin)
	return []matrixCaller{{name: "nobody"}, {name: "bad", secret: "letmein"}, {name: "unknown", secret: whole}, {name: "mistyped", secret: whole[:len(whole)-1] + "!"},
		{name: "expired", secret: expired}, {name: "revoked", secret: revoked}}
}

// question is a request of the matrix for one route about one tenant's things.
func question(rt route, o *tenant, who matrixCaller) (path string, body any, header []string) {
	path = strings.NewReplacer("{run_id}", o.run, "{job_id}", o.job, "{lease_id}", o.lease, "{sha256}", o.blob, "{agent_id}", o.agent, "{org_id}", o.org,
		"{app_version_id}", o.version, "{name...}", o.artifact, "{token_id}", o.token, "{file}", "docs.js", "{id}", "wh_none").Replace(rt.Pattern)
	header = []string{"Authorization", "Bearer " + who.secret}
	if who.secret == "" {
		header = nil
	}
	if rt.Owner == ownerQuery {
		path += "?org_id=" + o.org
	}
	agent := qgjob.AgentID(o.agent)
	switch rt.Method + " " + rt.Pattern {
	case "POST /v1/runs":
		body = qgjob.SubmitRequest{OrgID: qgjob.OrgID(o.org), Jobs: []qgjob.JobSpec{spec("v1", "a.js")}}
	case "POST /jobs/submit":
		body = map[string]any{"org_id": o.org, "app_version_id": "v1", "test_path": "a.js", "target": "emulator"}
	case "POST /agents/register":
		body = map[string]any{"agent_id": o.agent, "target": "emulator"}
	case "POST /agents/assign":
		body = map[string]any{"agent_id": o.agent, "app_version_id": "v1"}
	case "PUT /v1/apps/{org_id}/{app_version_id}":
		body = map[string]any{"sha256": o.blob, "file_name": "app.zip"}
	case "PUT /v1/orgs/{org_id}":
		body = map[string]any{"weight": 1}
	case "POST /v1/agents/{agent_id}/register":
		body = qgjob.RegisterRequest{Incarnation: 1, Target: qgjob.TargetEmulator, Runner: "exec"}
	case "POST /v1/agents/{agent_id}/claim":
		body = claimOf(0)
	case "POST /v1/agents/{agent_id}/renew":
		body = qgjob.RenewRequest{Incarnation: 1, Leases: []qgjob.LeaseID{qgjob.LeaseID(o.lease)}}
	case "POST /v1/leases/{lease_id}/start":
		body = qgjob.StartRequest{AgentID: agent, Incarnation: 1}
	case "POST /v1/leases/{lease_id}/log":
		path, body = path+"?offset=0", "a line\n"
	case "POST /v1/leases/{lease_id}/artifacts":
		body = qgjob.ArtifactRequest{Name: "again.png", SHA256: qgjob.Sum(o.blob)}
	case "POST /v1/leases/{lease_id}/complete":
		body = result(o.agent, qgjob.OutcomePassed)
	case "PATCH /v1/blobs/{sha256}":
		wrong := strings.Repeat("x", len(o.bytes)) // not the bytes, so that nobody is given the file
		body, header = wrong, append(header, "Upload-Offset", "0", "Upload-Length", fmt.Sprint(len(wrong)))
	case "POST /v1/webhooks":
		body = map[string]any{"org_id": o.org, "url": "https://hooks.example.com/" + o.org}
	case "POST /v1/tokens":
		body = qgjob.CreateTokenRequest{Kind: qgjob.TokenRead, OrgID: qgjob.OrgID(o.org)}
	case "POST /v1/tokens/join":
		body = qgjob.JoinRequest{AgentID: qgjob.AgentID("joined-" + strings.ReplaceAll(who.name, " ", "-")), SHA256: qgjob.TokenSum(who.name)}
	}
	return path, body, header
}

// Verdicts of the matrix.
const (
	letIn      = "let in"
	asUnknown  = "404, as if it were not there"
	noToken    = "401"
	noScope    = "403 scope"
	otherOrg   = "403 other_org"
	notYours   = "403"
	seedNoSuch = "400, as if it were not there"
	notSent    = "422, or not complete: the org has not sent the file"
)

// verdict is what a caller must get, by the rules of docs/security.md.
func verdict(rt route, who matrixCaller, o *tenant) string {
	switch {
	case who.kind == "":
		return noToken
	case !strings.Contains(" "+matrixScopes[who.kind]+" ", " "+string(rt.Scope)+" "):
		return noScope
	case rt.Pattern == "/v1/tokens/join" && who.kind == "root":
		return noScope // it has nothing to exchange
	}
	own := who.org == "" || who.org == o.org
	protocol := rt.Owner == ownerAgent || rt.Owner == ownerName || rt.Pattern == "/agents/register"
	switch {
	case rt.Owner == ownerAll && who.org != "":
		return noScope
	case protocol && who.agent != "" && who.agent != o.agent && rt.Owner == ownerBody:
		return notYours
	case protocol && who.agent != "" && who.agent != o.agent:
		return noScope
	case own || rt.Owner == ownerNobody || rt.Owner == ownerList:
		return letIn
	}
	switch rt.Owner {
	case ownerRun, ownerJob, ownerLease, ownerArtifact, ownerShown, ownerManaged, ownerToken, ownerAgent:
		return asUnknown
	case ownerOrg, ownerQuery, ownerName:
		return otherOrg
	case ownerBody:
		if rt.Pattern == "/agents/assign" {
			return seedNoSuch
		}
		if strings.HasPrefix(rt.Pattern, "/jobs/") || strings.HasPrefix(rt.Pattern, "/agents/") {
			return notYours // the seed's bodies have no code
		}
		return otherOrg
	case ownerFile:
		if rt.Method == "GET" && !strings.HasSuffix(rt.Pattern, "/info") {
			return asUnknown
		}
		return notSent
	}
	return "no rule for owner " + string(rt.Owner)
}

// heard is an answer, of a stream its beginning.
func (r *rig) heard(method, path string, body any, header []string) (status int, text string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	var send io.Reader
	switch b := body.(type) {
	case string:
		send = strings.NewReader(b)
	case nil:
	default:
		raw, err := json.Marshal(b)
		check(r.t, err)
		send = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://memory"+path, send)
	check(r.t, err)
	if send != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := r.client.Do(req)
	check(r.t, err)
	defer res.Body.Close()
	if res.Header.Get("Content-Type") == "text/event-stream" {
		first := make([]byte, 64)
		n, _ := res.Body.Read(first)
		return res.StatusCode, string(first[:n])
	}
	raw, err := io.ReadAll(res.Body)
	check(r.t, err)
	return res.StatusCode, string(raw)
}

// judge says what an answer amounts to, next to that of an id nobody has.
func judge(want string, status int, text string, nobody func() (int, string)) string {
	var p problem
	_ = json.Unmarshal([]byte(text), &p)
	switch want {
	case letIn:
		if status != 401 && status != 403 && status != 404 && status < 500 {
			return ""
		}
	case noToken:
		if status == 401 && p.Kind == qgjob.KindDenied && p.Hint != "" {
			return ""
		}
	case noScope:
		if status == 403 && p.Code == qgjob.CodeScope && p.Hint != "" {
			return ""
		}
	case otherOrg:
		if status == 403 && p.Code == qgjob.CodeOtherOrg && p.Hint != "" {
			return ""
		}
	case notYours:
		if status == 403 {
			return ""
		}
	case notSent:
		if status == 422 || status == 200 && strings.Contains(text, `"complete":false`) || status == 404 {
			return ""
		}
	case asUnknown, seedNoSuch:
		code, body := nobody()
		if wantCode := map[string]int{asUnknown: 404, seedNoSuch: 400}[want]; status == wantCode && code == status && body == text {
			return ""
		}
		return fmt.Sprintf("an id that nobody has gets %d %s", code, body)
	}
	return "want " + want
}

// TestMatrix asks every route as every sort of caller about its own org's
// things and another's, and compares with the rules.
func TestMatrix(t *testing.T) { synctest.Test(t, matrix) }

func matrix(t *testing.T) {
	r := newRig(t, rigOptions{token: matrixRoot})
	acme, globex, none := settle(r, "acme"), settle(r, "globex"), unknown()
	callers := append(refusedCallers(r), matrixCallers(r, acme, globex)...)
	asked, verdicts := 0, map[string]int{}
	for _, rt := range r.routes() {
		if rt.Scope == scopeOpen {
			continue
		}
		for _, who := range callers {
			for _, o := range []*tenant{acme, globex} {
				want := verdict(rt, who, o)
				path, body, header := question(rt, o, who)
				status, text := r.heard(rt.Method, path, body, header)
				asked++
				verdicts[want]++
				hide := strings.NewReplacer(o.run, "ID", o.job, "ID", o.lease, "ID", o.blob, "ID", o.token, "ID", o.agent, "ID", none.run, "ID", none.job, "ID", none.lease, "ID", none.blob, "ID", none.token, "ID", none.agent, "ID")
				if rt.Method == http.MethodDelete && status == http.StatusNotFound && want == letIn {
					continue // there is nothing to delete, and the caller may know
				}
				why := judge(want, status, hide.Replace(text), func() (int, string) {
					path, body, header := question(rt, none, who)
					code, body2 := r.heard(rt.Method, path, body, header)
					return code, hide.Replace(body2)
				})
				if why != "" {
					t.Errorf("%s %s as %s: %d %s; %s", rt.Method, path, who.name, status, text, why)
				}
				r.leaks(rt, who, []*tenant{acme, globex}, path, text)
			}
		}
	}
	for _, want := range []string{letIn, asUnknown, noToken, noScope, otherOrg} {
		if verdicts[want] == 0 {
			t.Errorf("no cell of the matrix is %q", want)
		}
	}
	t.Logf("%d requests: %v", asked, verdicts)
	if log := r.logs.String(); strings.Contains(log, qgjob.TokenPrefix) || strings.Contains(log, matrixRoot) {
		t.Error("the log holds a token")
	}
}

// leaks looks for what another org keeps to itself.
func (r *rig) leaks(rt route, who matrixCaller, all []*tenant, path, text string) {
	r.t.Helper()
	if who.org == "" && who.kind != "" {
		return
	}
	for _, o := range all {
		if o.org == who.org {
			continue
		}
		for _, secret := range o.secrets() {
			if strings.Contains(text, secret) && !strings.Contains(path, secret) {
				r.t.Errorf("%s %s as %s gives away %q: %s", rt.Method, path, who.name, secret, text)
			}
		}
	}
	if who.secret != "" && strings.Contains(text, who.secret) {
		r.t.Errorf("%s %s as %s repeats the token", rt.Method, path, who.name)
	}
}

// TestRouteWithoutDeclaration: a route that does not say who may use it is not
// served: the server does not start.
func TestRouteWithoutDeclaration(t *testing.T) {
	for _, rt := range []route{{Pattern: "/x", Method: "GET"}, {Pattern: "/x", Method: "GET", Scope: scopeRead}, {Pattern: "/x", Method: "GET", Owner: ownerRun}, {Pattern: "/x", Scope: scopeOpen}} {
		if err := rt.declared(); err == nil {
			t.Errorf("%+v passes", rt)
		}
	}
	if err := (route{Pattern: "/x", Scope: scopeOpen, Owner: ownerNobody}).declared(); err != nil {
		t.Error(err)
	}
	r := newRig(t, rigOptions{})
	for _, rt := range r.routes() {
		if rt.Scope == scopeOpen && rt.Owner != ownerNobody {
			t.Errorf("%s %s is open to everybody, and about %s", rt.Method, rt.Pattern, rt.Owner)
		}
	}
}
