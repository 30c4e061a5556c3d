package cli

import (
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/server/oidc/oidctest"
)

// TestTokenCommands against the real server. What a token may do is shown by
// script/testdata/token.txtar.
func TestTokenCommands(t *testing.T) {
	h := host(t, func(p *program) { p.write("token", rootToken) }, "server", "--token-file=token")
	defer h.stop(t, os.Interrupt)
	run := func(code int, args ...string) (stdout, stderr string) {
		t.Helper()
		p := newProgram(t, h.base)
		p.env = append(p.env, "QGJOB_TOKEN="+rootToken, "QGJOB_ORG=habit")
		got, stdout, stderr := p.run(append([]string{"token"}, args...)...)
		if got != code {
			t.Errorf("%v left with %d, want %d\n%s", args, got, code, stderr)
		}
		return stdout, stderr
	}
	out, errs := run(0, "create", "--name=CI")
	if kind, ok := qgjob.TokenKindOf(strings.TrimSpace(out)); !ok || kind != qgjob.TokenSubmit || strings.Count(out, "\n") != 1 {
		t.Errorf("%q is no submit token alone on its line", out)
	}
	has(t, errs, "(submit, org habit) is valid until", "shown this once")
	if strings.Contains(errs, strings.TrimSpace(out)) {
		t.Error("stderr, which goes into logs, has the token, too")
	}
	out, _ = run(0, "create", "--kind=agent-join", "--agent=mac-7", "--ttl=1h", "--json")
	var join qgjob.CreateTokenResponse
	if err := json.Unmarshal([]byte(out), &join); err != nil || join.Token.AgentID != "mac-7" || join.Token.ExpiresAt.Sub(join.Token.CreatedAt) != time.Hour {
		t.Errorf("%v %+v", err, join.Token)
	}
	out, _ = run(0, "create", "--kind=admin", "--all-orgs", "--json") // QGJOB_ORG is a habit, --all-orgs was said
	var all qgjob.CreateTokenResponse
	if err := json.Unmarshal([]byte(out), &all); err != nil || all.Token.OrgID != "" || all.Token.Kind != qgjob.TokenAdmin {
		t.Errorf("%v %+v", err, all.Token)
	}
	for _, test := range []struct{ args, says string }{
		{"create --kind=king", "--kind"}, {"create --ttl=59s", "--ttl: 59s is out of range"}, {"create --ttl=20000h", "--ttl"}, {"create --org-id=", "--org-id: say whose"},
		{"create --all-orgs --org-id=o", "--all-orgs: a token is of one org"}, {"create --all-orgs", "a submit token is of one org"}, {"create --agent=a1", "only agent and agent-join"},
		{"revoke", "accepts 1 arg"}, {"revoke tok_0000000000000000", "no such token"}, {"revoke " + join.Secret, "that is a token, not a token's id"},
	} {
		_, errs := run(exitUsage, strings.Fields(test.args)...)
		has(t, errs, test.says)
		if strings.Contains(errs, join.Secret) {
			t.Errorf("%s: the token is shown", test.args)
		}
	}
	out, _ = run(0, "revoke", join.Token.TokenID, "--json")
	var revoked qgjob.Token
	if err := json.Unmarshal([]byte(out), &revoked); err != nil || revoked.RevokedAt == nil {
		t.Errorf("%v %s", err, out)
	}
	out, _ = run(0, "list")
	has(t, out, "TOKEN", "CI", "mac-7")
	if strings.Contains(out, all.Token.TokenID) || strings.Contains(out, qgjob.TokenPrefix) {
		t.Errorf("of another org, or a secret:\n%s", out)
	}
	out, _ = run(0, "list", "--org-id=", "--json")
	var listed []qgjob.Token
	if err := json.Unmarshal([]byte(out), &listed); err != nil || len(listed) != 3 {
		t.Errorf("%v %s", err, out)
	}
}

func TestStandingOfTokens(t *testing.T) {
	now := day
	ago := func(d time.Duration) *time.Time { at := now.Add(-d); return &at }
	for _, test := range []struct {
		token qgjob.Token
		want  string
	}{
		{qgjob.Token{ExpiresAt: now.Add(90 * time.Minute)}, "valid for 1h30m"},
		{qgjob.Token{ExpiresAt: now}, "expired "},
		{qgjob.Token{ExpiresAt: now.Add(-time.Hour)}, "expired 1h"},
		{qgjob.Token{ExpiresAt: now.Add(-time.Hour), RevokedAt: ago(2 * time.Hour)}, "revoked 2h"},
		{qgjob.Token{ExpiresAt: now.Add(time.Hour), UsedAt: ago(time.Minute)}, "used 1m"},
	} {
		if got := standing(test.token, now); !strings.HasPrefix(got, test.want) {
			t.Errorf("%+v stands as %q, want %q", test.token, got, test.want)
		}
	}
}

// TestGuardedByTokensInTheStore: others are served once somebody is asked for a
// token, wherever that token is from.
func TestGuardedByTokensInTheStore(t *testing.T) {
	p := newProgram(t, "")
	open := func(o serverOptions, env ...string) *running {
		t.Helper()
		a := &app{printer: newPrinter(io.Discard, io.Discard, nil), env: envMap(env), dir: p.dir}
		r, err := a.openServer(t.Context(), &o, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.listener.Close(); _ = r.store.Close() })
		return r
	}
	here := serverOptions{listen: "127.0.0.1:0", dataDir: "empty", leaseTTL: 30 * time.Second}
	r := open(here)
	for _, listen := range []string{"0.0.0.0:8443", ":8443", "[::]:8443", "q.example:8443", "10.0.0.1:8443"} {
		o := serverOptions{listen: listen}
		err := o.guarded(t.Context(), r)
		if exitCode(err) != exitUsage || !strings.Contains(err.Error(), "there is no token yet") || !strings.Contains(err.Error(), "--kind=admin --all-orgs") {
			t.Errorf("%s: %v", listen, err)
		}
		o.insecure = true
		if err := o.guarded(t.Context(), r); err != nil {
			t.Errorf("%s --insecure: %v", listen, err)
		}
	}
	if err := here.guarded(t.Context(), r); err != nil {
		t.Errorf("on loopback: %v", err)
	}
	made, err := r.store.CreateToken(t.Context(), qgjob.CreateTokenRequest{Kind: qgjob.TokenAdmin, AllOrgs: true}, qgjob.TokenSum("x"), "", true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.RevokeToken(t.Context(), made.TokenID); err != nil {
		t.Fatal(err)
	}
	_ = r.store.Close()
	others := serverOptions{listen: "0.0.0.0:8443"}
	if err := others.guarded(t.Context(), r); err == nil {
		t.Error("a database that cannot be asked counts as one with tokens")
	}
	github := oidctest.New()
	p.write("oidc.yaml", github.Config("https://q.example", "74", "o"))
	for name, r := range map[string]*running{
		"a token of the store, revoked": open(here),
		"the server's own token":        open(serverOptions{listen: here.listen, dataDir: "own", leaseTTL: here.leaseTTL}, "QGJOB_SERVER_TOKEN="+rootToken),
		"trusted id-tokens":             open(serverOptions{listen: here.listen, dataDir: "oidc", leaseTTL: here.leaseTTL, oidcConfig: "oidc.yaml"}),
	} {
		if err := others.guarded(t.Context(), r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if r.open(t.Context()) {
			t.Errorf("%s: it answers everybody", name)
		}
	}
}

// TestServerRefusesToTrust: a file that would trust nobody, or too many.
func TestServerRefusesToTrust(t *testing.T) {
	good := oidctest.New().Config("https://q.example", "74", "o")
	for _, test := range []struct{ name, file, says string }{
		{"no such file", "", "--oidc-config"},
		{"empty", " ", "audience"},
		{"an unknown key", good + "secret: x\n", "secret"},
		{"a name for a number", strings.Replace(good, `"74"`, "octo/app", 1), "gh api repos/OWNER/NAME"},
		{"an event of anybody's", good + "  events: [pull_request_target]\n", "never trusted"},
		{"http", strings.Replace(good, "http://127.0.0.1:1", "http://g.example", 1), "must be https"},
		{"nobody", "audience: https://q.example\n", "at least one repository"},
	} {
		p := newProgram(t, "")
		if test.file != "" {
			p.write("oidc.yaml", test.file)
		}
		code, out, errs := p.run("server", "--listen=127.0.0.1:0", "--oidc-config=oidc.yaml")
		if code != exitUsage || out != "" || !strings.Contains(errs, test.says) {
			t.Errorf("%s: %d %q %q, want %q", test.name, code, out, errs, test.says)
		}
	}
}

// TestAgentTokenFlags: where an agent's token comes from, and where it must not
// go.
func TestAgentTokenFlags(t *testing.T) {
	join := qgjob.NewToken(qgjob.TokenJoin)
	for _, test := range []struct {
		name   string
		change func(p *program)
		args   string
		code   int
		says   string
	}{
		{"no such file", nil, "--token-file=none", exitUsage, "--token-file"},
		{"an empty file", func(p *program) { p.write("t", "\n") }, "--token-file=t", exitUsage, "must hold one token"},
		{"two in a file", func(p *program) { p.write("t", join+"\n"+join) }, "--token-file=t", exitUsage, "must hold one token"},
		{"only a repository names the server", func(p *program) {
			p.env = append(p.env, "QGJOB_SERVER=", "QGJOB_TOKEN="+join)
			p.write(".qgjob.yaml", "server: http://127.0.0.1:1\n")
		}, "", exitUsage, "only .qgjob.yaml names the server"},
		{"the same with a file", func(p *program) {
			p.env = append(p.env, "QGJOB_SERVER=", "QGJOB_TOKEN=")
			p.write("t", join)
			p.write(".qgjob.yaml", "server: http://127.0.0.1:1\n")
		}, "--token-file=t", exitUsage, "only .qgjob.yaml names the server"},
	} {
		p := newProgram(t, "http://127.0.0.1:1")
		if test.change != nil {
			test.change(p)
		}
		args := append([]string{"agent", "--name=a1", "--target=emulator", "--state-dir=s"}, strings.Fields(test.args)...)
		code, _, errs := p.run(append(args, "--", "true")...)
		if code != test.code || !strings.Contains(errs, test.says) || strings.Contains(errs, join) {
			t.Errorf("%s: %d %q, want %d %q", test.name, code, errs, test.code, test.says)
		}
	}
}
