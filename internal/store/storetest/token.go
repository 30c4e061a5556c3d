package storetest

import (
	"fmt"
	"time"

	"github.com/qualgent/qgjob"
)

var tokenTests = []test{
	{"token/kept by its sum, found, listed by org", func(w *world) {
		secret, made := w.token(qgjob.CreateTokenRequest{Kind: qgjob.TokenSubmit, OrgID: "acme", Name: "CI", TTLS: 3600})
		w.token(qgjob.CreateTokenRequest{Kind: qgjob.TokenRead, OrgID: "globex"})
		got, found, err := w.s.TokenOf(w.ctx, qgjob.TokenSum(secret))
		w.ok(err)
		if !found || got.TokenID != made.TokenID || got.OrgID != "acme" || got.Name != "CI" || got.ExpiresAt.Sub(got.CreatedAt) != time.Hour || got.LastUsed != nil || got.RevokedAt != nil {
			w.Fatalf("found %t %+v; made %+v", found, got, made)
		}
		if _, found, err := w.s.TokenOf(w.ctx, qgjob.TokenSum(secret+"x")); found || err != nil {
			w.Fatalf("another token is found: %v", err)
		}
		for org, want := range map[qgjob.OrgID]int{"": 2, "acme": 1, "globex": 1, "initech": 0} {
			list, err := w.s.Tokens(w.ctx, org)
			w.ok(err)
			if len(list) != want || list == nil {
				w.Fatalf("org %q has %d tokens; want %d", org, len(list), want)
			}
		}
	}},
	{"token/the first of an open server lets somebody make a second", func(w *world) {
		none, err := w.s.HasTokens(w.ctx)
		w.ok(err)
		_, err = w.s.CreateToken(w.ctx, qgjob.CreateTokenRequest{Kind: qgjob.TokenSubmit, OrgID: "acme"}, qgjob.TokenSum("a"), "", true)
		if none || qgjob.KindOf(err) != qgjob.KindConflict {
			w.Fatalf("has tokens %t, a first submit token: %v", none, err)
		}
		_, err = w.s.CreateToken(w.ctx, qgjob.CreateTokenRequest{Kind: qgjob.TokenAdmin, AllOrgs: true}, qgjob.TokenSum("b"), "", true)
		w.ok(err)
		_, err = w.s.CreateToken(w.ctx, qgjob.CreateTokenRequest{Kind: qgjob.TokenSubmit, OrgID: "acme"}, qgjob.TokenSum("c"), "", true)
		w.ok(err)
		w.reopen()
		if has, err := w.s.HasTokens(w.ctx); !has || err != nil {
			w.Fatalf("after a restart: %t, %v", has, err)
		}
	}},
	{"token/revoked for good, and never forgotten", func(w *world) {
		_, made := w.token(qgjob.CreateTokenRequest{Kind: qgjob.TokenAdmin, AllOrgs: true})
		got, err := w.s.RevokeToken(w.ctx, made.TokenID)
		w.ok(err)
		w.pass(time.Hour)
		again, err := w.s.RevokeToken(w.ctx, made.TokenID)
		w.ok(err)
		if got.RevokedAt == nil || again.RevokedAt == nil || !again.RevokedAt.Equal(*got.RevokedAt) {
			w.Fatalf("revoked at %v, again %v", got.RevokedAt, again.RevokedAt)
		}
		w.ok(w.s.TouchToken(w.ctx, made.TokenID))
		if has, err := w.s.HasTokens(w.ctx); !has || err != nil {
			w.Fatalf("with only a revoked token: %t, %v", has, err)
		}
		if _, err := w.s.RevokeToken(w.ctx, "tok_none"); qgjob.KindOf(err) != qgjob.KindNotFound {
			w.Fatalf("a token that is none: %v", err)
		}
	}},
	{"token/last use is coarse", func(w *world) {
		secret, made := w.token(qgjob.CreateTokenRequest{Kind: qgjob.TokenRead, OrgID: "acme"})
		at := func() time.Time {
			k, _, err := w.s.TokenOf(w.ctx, qgjob.TokenSum(secret))
			w.ok(err)
			return *k.LastUsed
		}
		w.ok(w.s.TouchToken(w.ctx, made.TokenID))
		first := at()
		w.pass(30 * time.Second)
		w.ok(w.s.TouchToken(w.ctx, made.TokenID))
		if !at().Equal(first) {
			w.Fatalf("written again after 30 s")
		}
		w.pass(time.Minute)
		w.ok(w.s.TouchToken(w.ctx, made.TokenID))
		if got := at(); got.Sub(first) < time.Minute {
			w.Fatalf("last use %v; first %v", got, first)
		}
	}},
	{"token/joins once", func(w *world) {
		_, join := w.token(qgjob.CreateTokenRequest{Kind: qgjob.TokenJoin, OrgID: "acme"})
		req := qgjob.JoinRequest{AgentID: "a1", SHA256: qgjob.TokenSum("drawn")}
		got, err := w.s.Join(w.ctx, join.TokenID, req)
		w.ok(err)
		if got.Kind != qgjob.TokenAgent || got.OrgID != "acme" || got.AgentID != "a1" || got.CreatedBy != join.TokenID {
			w.Fatalf("joined as %+v", got)
		}
		again, err := w.s.Join(w.ctx, join.TokenID, req)
		w.ok(err)
		if again.TokenID != got.TokenID {
			w.Fatalf("the same again gives %s; was %s", again.TokenID, got.TokenID)
		}
		for _, other := range []qgjob.JoinRequest{{AgentID: "a1", SHA256: qgjob.TokenSum("thief")}, {AgentID: "a2", SHA256: req.SHA256}} {
			if _, err := w.s.Join(w.ctx, join.TokenID, other); qgjob.CodeOf(err) != qgjob.CodeTokenRevoked {
				w.Fatalf("used again by %+v: %v", other, err)
			}
		}
		_, second := w.token(qgjob.CreateTokenRequest{Kind: qgjob.TokenJoin, OrgID: "acme", AgentID: "a1"})
		if _, err := w.s.Join(w.ctx, second.TokenID, qgjob.JoinRequest{AgentID: "a9", SHA256: qgjob.TokenSum("x")}); qgjob.CodeOf(err) != qgjob.CodeScope {
			w.Fatalf("another agent than the token's: %v", err)
		}
		if _, err := w.s.Join(w.ctx, second.TokenID, qgjob.JoinRequest{AgentID: "a1", SHA256: req.SHA256}); qgjob.KindOf(err) != qgjob.KindInvalid {
			w.Fatalf("a sum that is known: %v", err)
		}
		_, err = w.s.Join(w.ctx, second.TokenID, qgjob.JoinRequest{AgentID: "a1", SHA256: qgjob.TokenSum("new")})
		w.ok(err)
		if k, _, _ := w.s.TokenOf(w.ctx, req.SHA256); k.RevokedAt == nil {
			w.Fatalf("joined anew, and the name's old token is valid still")
		}
	}},
	{"token/an agent's own lives on while it is used", func(w *world) {
		_, join := w.token(qgjob.CreateTokenRequest{Kind: qgjob.TokenJoin, OrgID: "acme", TTLS: 60})
		got, err := w.s.Join(w.ctx, join.TokenID, qgjob.JoinRequest{AgentID: "a1", SHA256: qgjob.TokenSum("drawn")})
		w.ok(err)
		w.pass(60 * 24 * time.Hour)
		w.ok(w.s.TouchToken(w.ctx, got.TokenID))
		k, err := w.s.Token(w.ctx, got.TokenID)
		w.ok(err)
		if k.ExpiresAt.Sub(got.ExpiresAt) != 60*24*time.Hour {
			w.Fatalf("expires at %v; was %v", k.ExpiresAt, got.ExpiresAt)
		}
		_, people := w.token(qgjob.CreateTokenRequest{Kind: qgjob.TokenRead, OrgID: "acme"})
		w.pass(time.Hour)
		w.ok(w.s.TouchToken(w.ctx, people.TokenID))
		if k, _ := w.s.Token(w.ctx, people.TokenID); !k.ExpiresAt.Equal(people.ExpiresAt) {
			w.Fatalf("a token of people was prolonged by its use")
		}
	}},
	{"token/a jti is good for one token", func(w *world) {
		give := func(jti, sum string) error {
			_, err := w.s.GiveCIToken(w.ctx, qgjob.TokenSum(jti), time.Now().Add(10*time.Minute), qgjob.Token{OrgID: "acme", Run: "1/2/3"}, qgjob.TokenSum(sum))
			return err
		}
		w.ok(give("j1", "a"))
		if err := give("j1", "b"); qgjob.KindOf(err) != qgjob.KindDenied {
			w.Fatalf("the same jti again: %v", err)
		}
		if _, found, _ := w.s.TokenOf(w.ctx, qgjob.TokenSum("b")); found {
			w.Fatalf("the refused one was kept")
		}
		w.ok(give("j2", "c"))
		w.reopen()
		if err := give("j1", "d"); qgjob.KindOf(err) != qgjob.KindDenied {
			w.Fatalf("after a restart: %v", err)
		}
		if has, _ := w.s.HasTokens(w.ctx); has {
			w.Fatalf("tokens of CI runs count as tokens")
		}
		w.pass(3 * time.Hour)
		n, err := w.s.SweepTokens(w.ctx)
		w.ok(err)
		if _, found, _ := w.s.TokenOf(w.ctx, qgjob.TokenSum("a")); found || n != 4 {
			w.Fatalf("%d rows swept; want 2 tokens and 2 jtis", n)
		}
	}},
	{"org/an agent takes its org's jobs only", func(w *world) {
		w.registerFor("acme", "a1")
		w.registerFor("", "all")
		for _, org := range []qgjob.OrgID{"globex", "acme"} {
			_, err := w.s.Submit(w.ctx, "", qgjob.SubmitRequest{OrgID: org, Jobs: []qgjob.JobSpec{{AppVersionID: "v1", TestPath: "t.js", Target: qgjob.TargetEmulator}}})
			w.ok(err)
		}
		take := func(agent qgjob.AgentID) (orgs []qgjob.OrgID) {
			got, err := w.s.Claim(w.ctx, agent, qgjob.ClaimRequest{Incarnation: 1, ClaimID: fmt.Sprintf("claim-%s", agent)})
			w.ok(err)
			for _, o := range got.Offers {
				orgs = append(orgs, o.Job.OrgID)
			}
			return orgs
		}
		if got := fmt.Sprint(take("a1"), take("all")); got != "[acme] [globex]" {
			w.Fatalf("the org's agent and the one of all took %s", got)
		}
		w.reopen()
		a, err := w.s.Agent(w.ctx, "a1")
		w.ok(err)
		if a.OrgID != "acme" {
			w.Fatalf("after a restart it is of org %q", a.OrgID)
		}
	}},
	{"org/a name is of one org", func(w *world) {
		w.registerFor("acme", "a1")
		w.registerFor("", "shared")
		req := qgjob.RegisterRequest{Incarnation: 2, Target: qgjob.TargetEmulator, Runner: "exec"}
		for _, name := range []qgjob.AgentID{"a1", "shared"} {
			if _, err := w.s.RegisterFor(w.ctx, "globex", name, req); qgjob.CodeOf(err) != qgjob.CodeOtherOrg {
				w.Fatalf("%s for globex: %v", name, err)
			}
			if _, err := w.s.RegisterSeed(w.ctx, "globex", name, qgjob.TargetEmulator); qgjob.CodeOf(err) != qgjob.CodeOtherOrg {
				w.Fatalf("%s for globex by the seed's route: %v", name, err)
			}
		}
		_, err := w.s.Register(w.ctx, "a1", req) // by who may serve all orgs
		w.ok(err)
		if o, _ := w.s.AgentOwner(w.ctx, "a1"); o.Org != "acme" {
			w.Fatalf("it serves %q now", o.Org)
		}
	}},
	{"org/files are of those who sent them", func(w *world) {
		sum := qgjob.TokenSum("a file")
		owns := func(org qgjob.OrgID) bool {
			got, err := w.s.BlobOwned(w.ctx, org, sum)
			w.ok(err)
			return got
		}
		w.ok(w.s.ProveBlob(w.ctx, "acme", sum, 10, false))
		if n, err := w.s.BlobProven(w.ctx, "acme", sum); n != 10 || err != nil || owns("acme") {
			w.Fatalf("%d bytes proven, %v, owned %t", n, err, owns("acme"))
		}
		w.ok(w.s.ProveBlob(w.ctx, "acme", sum, 20, true))
		w.ok(w.s.OwnBlob(w.ctx, "globex", sum))
		w.ok(w.s.OwnBlob(w.ctx, "globex", sum))
		if !owns("acme") || !owns("globex") || owns("initech") {
			w.Fatalf("acme %t, globex %t, initech %t", owns("acme"), owns("globex"), owns("initech"))
		}
	}},
	{"org/a CI run's lists are its own", func(w *world) {
		var ids []qgjob.RunID
		for _, bound := range []string{"1/2/1", "1/3/1", ""} {
			got, err := w.s.SubmitBound(w.ctx, bound, "", qgjob.SubmitRequest{OrgID: "acme", Jobs: []qgjob.JobSpec{{AppVersionID: "v1", TestPath: "t.js", Target: qgjob.TargetEmulator}}})
			w.ok(err)
			ids = append(ids, got.RunID)
		}
		runs, err := w.s.RunsBound(w.ctx, "acme", "1/2/1", 0, 10)
		w.ok(err)
		jobs, err := w.s.Jobs(w.ctx, qgjob.JobFilter{OrgID: "acme", Bound: "1/3/1"})
		w.ok(err)
		group, err := w.s.SeedGroup(w.ctx, "v1", "acme", "1/2/1")
		w.ok(err)
		if len(runs) != 1 || runs[0].RunID != ids[0] || len(jobs) != 1 || jobs[0].RunID != ids[1] || len(group) != 1 {
			w.Fatalf("runs %+v, jobs %+v, group %+v", runs, jobs, group)
		}
		o, err := w.s.JobOwner(w.ctx, jobs[0].JobID)
		w.ok(err)
		if o.Org != "acme" || o.Run != "1/3/1" {
			w.Fatalf("owner %+v", o)
		}
		key := func(bound string) (qgjob.SubmitResponse, error) {
			return w.s.SubmitBound(w.ctx, bound, "key", qgjob.SubmitRequest{OrgID: "acme", Jobs: []qgjob.JobSpec{{AppVersionID: "v1", TestPath: "t.js", Target: qgjob.TargetEmulator}}})
		}
		_, err = key("1/2/1")
		w.ok(err)
		if again, err := key("1/2/1"); err != nil || !again.Repeat {
			w.Fatalf("its own key again: %+v, %v", again, err)
		}
		if _, err := key("1/2/2"); qgjob.CodeOf(err) != qgjob.CodeKeyReused {
			w.Fatalf("another CI run's key: %v", err)
		}
	}},
}

// token makes a token and its secret.
func (w *world) token(req qgjob.CreateTokenRequest) (secret string, made qgjob.Token) {
	w.Helper()
	secret = qgjob.NewToken(req.Kind)
	made, err := w.s.CreateToken(w.ctx, req, qgjob.TokenSum(secret), "", false)
	w.ok(err)
	return secret, made
}

func (w *world) registerFor(org qgjob.OrgID, id qgjob.AgentID) {
	w.Helper()
	_, err := w.s.RegisterFor(w.ctx, org, id, qgjob.RegisterRequest{Incarnation: 1, Target: qgjob.TargetEmulator, Runner: "exec"})
	w.ok(err)
}
