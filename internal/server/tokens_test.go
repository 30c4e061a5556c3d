package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/blob"
	"github.com/qualgent/qgjob/internal/store"
)

func bear(secret string) []string { return []string{"Authorization", "Bearer " + secret} }

// TestOpenUntilTheFirstToken: a server on a laptop asks for nothing until
// somebody makes a token, which has to be one that can make others.
func TestOpenUntilTheFirstToken(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.submit(spec("v1", "a.js"))
	p := r.refuse(409, qgjob.KindConflict, "", "POST", "/v1/tokens", qgjob.CreateTokenRequest{Kind: qgjob.TokenSubmit, OrgID: "acme"})
	if !strings.Contains(p.Hint, "--kind=admin --all-orgs") {
		t.Errorf("hint %q", p.Hint)
	}
	must[list[qgjob.Agent]](r, 200, "GET", "/v1/agents", nil)
	admin := must[qgjob.CreateTokenResponse](r, 201, "POST", "/v1/tokens", qgjob.CreateTokenRequest{Kind: qgjob.TokenAdmin, AllOrgs: true})
	p = r.refuse(401, qgjob.KindDenied, "", "GET", "/v1/agents", nil)
	if p.Code != qgjob.CodeUnauthenticated || !strings.Contains(p.Hint, "QGJOB_TOKEN") {
		t.Errorf("without a token: %+v", p)
	}
	must[list[qgjob.Agent]](r, 200, "GET", "/v1/agents", nil, bear(admin.Secret)...)
	// Revoking the last token does not open the server again.
	must[qgjob.Token](r, 200, "POST", "/v1/tokens/"+admin.Token.TokenID+"/revoke", nil, bear(admin.Secret)...)
	if p := r.refuse(401, qgjob.KindDenied, "", "GET", "/v1/agents", nil, bear(admin.Secret)...); p.Code != qgjob.CodeTokenRevoked || !strings.Contains(p.Detail, "was revoked at ") {
		t.Errorf("a revoked token: %+v", p)
	}
	r.stop()
	again := newRig(t, rigOptions{dir: r.dir})
	again.refuse(401, qgjob.KindDenied, "", "GET", "/v1/agents", nil)
	again.stop()
	// The server's own token is the way back in.
	root := newRig(t, rigOptions{dir: r.dir, token: "the way back in"})
	must[qgjob.CreateTokenResponse](root, 201, "POST", "/v1/tokens", qgjob.CreateTokenRequest{Kind: qgjob.TokenAdmin, AllOrgs: true}, bear("the way back in")...)
}

func TestExpiredTokenSaysWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{token: matrixRoot})
		secret, id := r.token(qgjob.CreateTokenRequest{Kind: qgjob.TokenRead, OrgID: "acme", TTLS: 60})
		must[list[qgjob.Agent]](r, 200, "GET", "/v1/agents", nil, bear(secret)...)
		at := time.Now().Add(time.Minute)
		time.Sleep(time.Minute)
		p := r.refuse(401, qgjob.KindDenied, "", "GET", "/v1/agents", nil, bear(secret)...)
		if p.Code != qgjob.CodeTokenExpired || !strings.Contains(p.Detail, id+" expired at "+at.UTC().Format(time.RFC3339)) || !strings.Contains(p.Hint, "--kind=read") {
			t.Errorf("%+v", p)
		}
	})
}

// TestRevokedWithinASecond: a second server on the same database, to which no
// news come, refuses a revoked token within a second of virtual time; its
// streams end then, too.
func TestRevokedWithinASecond(t *testing.T) {
	if tokenFresh > time.Second/2 {
		t.Fatalf("what is known of a token counts for %v: a revocation may take longer than a second", tokenFresh)
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{token: matrixRoot})
		secret, id := r.token(qgjob.CreateTokenRequest{Kind: qgjob.TokenSubmit, OrgID: "acme"})
		deaf, err := New(Config{Store: r.Store, Hub: NewHub(), Blobs: r.Blobs, Token: matrixRoot})
		check(t, err)
		ask := func() int {
			return straight(t, deaf, secret)
		}
		r.ask("POST", "/v1/runs", qgjob.SubmitRequest{OrgID: "acme", Jobs: []qgjob.JobSpec{spec("v1", "a.js")}}, bear(secret)...)
		ended := make(chan time.Time, 1)
		go func() { // ended with the stream, which the test waits for
			_, _ = r.send(t.Context(), "GET", "/v1/runs/run_1/events", nil, bear(secret)...)
			ended <- time.Now()
		}()
		if got := ask(); got != 200 {
			t.Fatalf("before: %d", got)
		}
		synctest.Wait()
		revoked := time.Now()
		_, err = r.Store.RevokeToken(t.Context(), id)
		check(t, err)
		r.refuse(401, qgjob.KindDenied, "", "GET", "/v1/agents", nil, bear(secret)...) // told: at once
		if at := <-ended; at.Sub(revoked) > time.Second {
			t.Errorf("a stream went on for %v", at.Sub(revoked))
		}
		time.Sleep(time.Until(revoked.Add(time.Second)))
		if got := ask(); got != 401 {
			t.Errorf("a second later a server that was told nothing answers %d", got)
		}
	})
}

// straight asks a server for its agents, past any connection.
func straight(t *testing.T, s *Server, secret string) int {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/agents", nil)
	req.Header.Set("Authorization", "Bearer "+secret)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, req)
	return w.Code
}

// TestRevokedOnAllReplicasOnPostgres: two real servers on one PostgreSQL.
func TestRevokedOnAllReplicasOnPostgres(t *testing.T) {
	url := postgresURL(t)
	var servers []*Server
	for range 2 {
		hub := NewHub()
		st, err := store.Open(t.Context(), url, store.Options{Notify: hub.Notify})
		check(t, err)
		blobs, err := blob.OpenFolder(t.TempDir(), blob.Limits{MaxSize: 1 << 20})
		check(t, err)
		t.Cleanup(func() { _, _ = st.Close(), blobs.Close() })
		s, err := New(Config{Store: st, Hub: hub, Blobs: blobs, Token: matrixRoot})
		check(t, err)
		servers = append(servers, s)
	}
	secret := qgjob.NewToken(qgjob.TokenAdmin)
	made, err := servers[0].Store.CreateToken(t.Context(), qgjob.CreateTokenRequest{Kind: qgjob.TokenAdmin, AllOrgs: true}, qgjob.TokenSum(secret), "", false)
	check(t, err)
	ask := func(s *Server) int {
		return straight(t, s, secret)
	}
	for i, s := range servers {
		if got := ask(s); got != 200 {
			t.Fatalf("server %d answers %d", i, got)
		}
	}
	began := time.Now()
	_, err = servers[0].Store.RevokeToken(t.Context(), made.TokenID)
	check(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i, s := range servers {
		for ask(s) != 401 {
			if ctx.Err() != nil {
				t.Fatalf("server %d never refused it", i)
			}
		}
		t.Logf("server %d refuses it after %v", i, time.Since(began).Round(time.Millisecond))
	}
}

// TestJoinOverHTTP: a join token becomes an agent token, once; that one acts as
// its agent only.
func TestJoinOverHTTP(t *testing.T) {
	r := newRig(t, rigOptions{token: matrixRoot})
	join, _ := r.token(qgjob.CreateTokenRequest{Kind: qgjob.TokenJoin, OrgID: "acme"})
	drawn := qgjob.NewToken(qgjob.TokenAgent)
	req := qgjob.JoinRequest{AgentID: "mac-7", SHA256: qgjob.TokenSum(drawn)}
	for range 2 {
		must[qgjob.Token](r, 200, "POST", "/v1/tokens/join", req, bear(join)...)
	}
	other := req
	other.SHA256 = qgjob.TokenSum("a thief's")
	r.refuse(401, qgjob.KindDenied, "", "POST", "/v1/tokens/join", other, bear(join)...)
	r.refuse(403, qgjob.KindDenied, "", "POST", "/v1/tokens/join", req, bear(matrixRoot)...)
	announce := qgjob.RegisterRequest{Incarnation: 1, Target: qgjob.TargetEmulator, Runner: "exec"}
	for id, want := range map[string]int{"mac-7": 200, "mac-7-1": 200, "mac-7-12": 200, "mac-70": 403, "mac-7-": 403, "mac-7-01": 403, "mac-7-x": 403, "mac": 403} {
		if p := r.ask("POST", "/v1/agents/"+id+"/register", announce, bear(drawn)...); p.Status != want {
			t.Errorf("register %s: %s; want %d", id, p, want)
		}
	}
	if a := must[qgjob.Agent](r, 200, "GET", "/v1/agents/mac-7", nil, bear(matrixRoot)...); a.OrgID != "acme" {
		t.Errorf("it serves org %q", a.OrgID)
	}
	// A host with devices has an agent for each, named for its serial number.
	join, _ = r.token(qgjob.CreateTokenRequest{Kind: qgjob.TokenJoin, OrgID: "acme", AgentID: "mac-7"})
	all := qgjob.NewToken(qgjob.TokenAgent)
	req = qgjob.JoinRequest{AgentID: "mac-7", SHA256: qgjob.TokenSum(all), Devices: true}
	for range 2 {
		if got := must[qgjob.Token](r, 200, "POST", "/v1/tokens/join", req, bear(join)...); got.AgentID != "mac-7-*" {
			t.Errorf("it is of %q", got.AgentID)
		}
	}
	req.Devices = false
	r.refuse(401, qgjob.KindDenied, "", "POST", "/v1/tokens/join", req, bear(join)...)
	r.refuse(401, qgjob.KindDenied, "", "POST", "/v1/agents/mac-7/register", announce, bear(drawn)...) // the earlier token of the name
	announce.Incarnation = 2
	for id, want := range map[string]int{"mac-7": 200, "mac-7-1": 200, "mac-7-emulator-5554": 200, "mac-7-192.168.0.7:5555": 200, "mac-70": 403, "mac-7-": 403, "mac": 403} {
		if p := r.ask("POST", "/v1/agents/"+id+"/register", announce, bear(all)...); p.Status != want {
			t.Errorf("register %s with the token of all devices: %s; want %d", id, p, want)
		}
	}
}

// TestAFileIsOfWhoSentIt: to know a file's SHA-256 is not to have it.
func TestAFileIsOfWhoSentIt(t *testing.T) {
	r := newRig(t, rigOptions{token: matrixRoot})
	acme, _ := r.token(qgjob.CreateTokenRequest{Kind: qgjob.TokenSubmit, OrgID: "acme"})
	globex, _ := r.token(qgjob.CreateTokenRequest{Kind: qgjob.TokenSubmit, OrgID: "globex"})
	text := "the build of acme"
	sum := string(sumOf(text))
	send := func(secret, from string, offset string) reply {
		return r.ask("PATCH", "/v1/blobs/"+sum, from, append(bear(secret), "Upload-Offset", offset, "Upload-Length", "17", "Content-Type", "application/octet-stream")...)
	}
	if p := send(acme, text, "0"); p.Status != 200 || !strings.Contains(string(p.Body), `"complete":true`) {
		t.Fatalf("acme sends it: %s", p)
	}
	info := func(secret string) qgjob.BlobInfo {
		return must[qgjob.BlobInfo](r, 200, "GET", "/v1/blobs/"+sum+"/info", nil, bear(secret)...)
	}
	use := qgjob.SubmitRequest{OrgID: "globex", Jobs: []qgjob.JobSpec{{AppVersionID: "v1", TestPath: "a.js", Target: qgjob.TargetEmulator, BundleSHA256: qgjob.Sum(sum)}}}
	hidden := func() {
		t.Helper()
		if got := info(globex); got.Complete {
			t.Errorf("globex is told that it is here: %+v", got)
		}
		r.refuse(404, qgjob.KindNotFound, "", "GET", "/v1/blobs/"+sum, nil, bear(globex)...)
		r.refuse(404, qgjob.KindNotFound, "sha256", "PUT", "/v1/apps/globex/v1", map[string]string{"sha256": sum, "file_name": "a.zip"}, bear(globex)...)
		r.refuse(422, qgjob.KindInvalid, "jobs[0].bundle_sha256", "POST", "/v1/runs", use, bear(globex)...)
	}
	hidden()
	for _, wrong := range []reply{send(globex, "the build of ACME", "0"), send(globex, "build of acme", "4")} {
		if wrong.Status != 422 && wrong.Status != 409 {
			t.Errorf("globex sends what it has not: %s", wrong)
		}
	}
	if p := send(globex, text[:9], "0"); p.Status != 200 || !strings.Contains(string(p.Body), `"received":9`) || !strings.Contains(string(p.Body), `"complete":false`) {
		t.Errorf("globex sends half: %s", p)
	}
	hidden()
	if p := send(globex, text[9:], "9"); p.Status != 200 || !strings.Contains(string(p.Body), `"complete":true`) {
		t.Errorf("globex sends the rest: %s", p)
	}
	if p := r.ask("GET", "/v1/blobs/"+sum, nil, bear(globex)...); p.Status != 200 || string(p.Body) != text {
		t.Errorf("globex has sent it: %s", p)
	}
	must[qgjob.SubmitResponse](r, 201, "POST", "/v1/runs", use, bear(globex)...)
	if !info(acme).Complete {
		t.Error("acme has lost it")
	}
}

// TestListsAreOfTheOrg: nothing of another org is in a list, also without a
// filter; an agent of all orgs shows, and what it does for others does not.
func TestListsAreOfTheOrg(t *testing.T) {
	r := newRig(t, rigOptions{token: matrixRoot})
	acme, globex := settle(r, "acme"), settle(r, "globex")
	_, err := r.Store.Register(t.Context(), "shared", qgjob.RegisterRequest{Incarnation: 1, Target: qgjob.TargetEmulator, Runner: "exec"})
	check(t, err)
	_, err = r.Store.Submit(t.Context(), "", qgjob.SubmitRequest{OrgID: "acme", Jobs: []qgjob.JobSpec{spec("another-of-acme", "a.js")}})
	check(t, err)
	got, err := r.Store.Claim(t.Context(), "shared", claimOf(0))
	check(t, err)
	if len(got.Offers) != 1 {
		t.Fatal("the shared agent got nothing")
	}
	for _, me := range []*tenant{acme, globex} {
		other := acme
		if me == acme {
			other = globex
		}
		secret, _ := r.token(qgjob.CreateTokenRequest{Kind: qgjob.TokenAdmin, OrgID: qgjob.OrgID(me.org)})
		for _, path := range []string{"/v1/runs", "/v1/jobs", "/v1/groups", "/v1/apps", "/v1/agents", "/v1/history", "/v1/tokens", "/agents", "/jobs/group/" + other.version, "/v1/runs?org_id=",
			"/v1/agents/shared", "/v1/jobs/" + me.job + "/explain", "/v1/jobs/" + me.job} {
			p := r.ask("GET", path, nil, bear(secret)...)
			if p.Status != 200 || strings.Contains(strings.ReplaceAll(string(p.Body), path, ""), other.org) {
				t.Errorf("GET %s as %s: %s", path, me.org, p)
			}
		}
		agents := must[list[qgjob.Agent]](r, 200, "GET", "/v1/agents", nil, bear(secret)...)
		if len(agents.Items) != 2 {
			t.Errorf("%s sees %d agents; want its own and the shared one", me.org, len(agents.Items))
		}
		for _, a := range agents.Items {
			mine := a.AgentID == qgjob.AgentID(me.agent) || got.Offers[0].Job.OrgID == qgjob.OrgID(me.org)
			if mine != (a.JobID != nil) {
				t.Errorf("%s sees %s with %v; mine: %t", me.org, a.AgentID, a.JobID, mine)
			}
		}
	}
}

// TestACIRunSeesItsOwn: a token of one CI run is blind for the org's others.
func TestACIRunSeesItsOwn(t *testing.T) {
	r := newRig(t, rigOptions{token: matrixRoot})
	token := func(run string) string {
		secret := qgjob.NewToken(qgjob.TokenCI)
		_, err := r.Store.GiveCIToken(t.Context(), qgjob.TokenSum(run), time.Now().Add(time.Hour), qgjob.Token{OrgID: "acme", Run: run}, qgjob.TokenSum(secret))
		check(t, err)
		return secret
	}
	one, two := token("1/1/1"), token("1/2/1")
	people, _ := r.token(qgjob.CreateTokenRequest{Kind: qgjob.TokenSubmit, OrgID: "acme"})
	body := qgjob.SubmitRequest{OrgID: "acme", Jobs: []qgjob.JobSpec{spec("v1", "a.js")}}
	for i, secret := range []string{one, two, people} {
		if got := must[qgjob.SubmitResponse](r, 201, "POST", "/v1/runs", body, bear(secret)...); got.RunID != qgjob.RunID(i+1) {
			t.Fatalf("run %v", got.RunID)
		}
	}
	must[qgjob.Run](r, 200, "GET", "/v1/runs/run_1", nil, bear(one)...)
	for _, run := range []string{"run_2", "run_3"} {
		r.refuse(404, qgjob.KindNotFound, "", "GET", "/v1/runs/"+run, nil, bear(one)...)
		r.refuse(404, qgjob.KindNotFound, "", "POST", "/v1/runs/"+run+"/cancel", nil, bear(one)...)
		r.refuse(404, qgjob.KindNotFound, "", "GET", "/v1/jobs/"+strings.Replace(run, "run", "job", 1)+"/log", nil, bear(one)...)
	}
	if page := must[qgjob.Page[qgjob.Run]](r, 200, "GET", "/v1/runs", nil, bear(one)...); len(page.Items) != 1 {
		t.Errorf("%d runs; want its own", len(page.Items))
	}
	if page := must[qgjob.Page[qgjob.Job]](r, 200, "GET", "/v1/jobs", nil, bear(two)...); len(page.Items) != 1 || page.Items[0].JobID != 2 {
		t.Errorf("jobs %+v; want its own", page.Items)
	}
	if page := must[qgjob.Page[qgjob.Run]](r, 200, "GET", "/v1/runs", nil, bear(people)...); len(page.Items) != 3 {
		t.Errorf("people see %d runs; want 3", len(page.Items))
	}
	// Its retry stays its own.
	must[qgjob.Run](r, 200, "POST", "/v1/runs/run_1/cancel", nil, bear(one)...)
	again := must[qgjob.SubmitResponse](r, 201, "POST", "/v1/runs/run_1/retry", nil, bear(one)...)
	must[qgjob.Run](r, 200, "GET", "/v1/runs/"+again.RunID.String(), nil, bear(one)...)
}
