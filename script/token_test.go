package script_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"
)

// makeToken is the script command "token NAME [flag...]": qgjob token create,
// with the token that is borne. "bear NAME" bears it, $NAME_ID is its id.
func makeToken(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(ts.Exec("qgjob", append([]string{"token", "create", "--json"}, args[1:]...)...))
	var made qgjob.CreateTokenResponse
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &made))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".token"), []byte(made.Secret+"\n"), 0o600))
	ts.Setenv(args[0]+"_ID", made.Token.TokenID)
}

// bearToken is the script command "bear NAME".
func bearToken(ts *testscript.TestScript, neg bool, args []string) {
	ts.Setenv("QGJOB_TOKEN", strings.TrimSpace(ts.ReadFile(args[0]+".token")))
}

// expireToken is the script command "expire NAME INSTANT", for a token that was
// not used yet: it changes the server's database behind its back.
func expireToken(ts *testscript.TestScript, neg bool, args []string) {
	at, err := time.Parse(time.RFC3339, args[1])
	ts.Check(err)
	db, err := sql.Open("sqlite", "file:"+ts.MkAbs("server-data/qgjob.db")+"?_pragma=busy_timeout(20000)")
	ts.Check(err)
	defer db.Close()
	_, err = db.Exec(`UPDATE tokens SET expires_at = $1 WHERE token_id = $2`, at.UnixMilli(), ts.Getenv(args[0]+"_ID"))
	ts.Check(err)
}

// TestAgentJoins: a real agent with a join token, through restarts.
func TestAgentJoins(t *testing.T) {
	dir := t.TempDir()
	server, err := start(dir, "server", "--listen=127.0.0.1:0", "--data-dir=data")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.kill)
	base, err := server.await(listening)
	if err != nil {
		t.Fatal(err)
	}
	token := func(bearer string, args ...string) (secret string) {
		cmd := exec.Command(testBinary(), append([]string{"token", "create", "--server=" + base}, args...)...)
		cmd.Env = append(os.Environ(), asProgram+"=1", "QGJOB_TOKEN="+bearer)
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v %s", err, &said)
		}
		return strings.TrimSpace(string(out))
	}
	admin := token("", "--kind=admin", "--all-orgs")
	join := token(admin, "--kind=agent-join", "--org-id=acme", "--agent=host")
	if err := os.WriteFile(filepath.Join(dir, "join"), []byte(join+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var logs []string
	agent := func(state string, more ...string) *program {
		args := append([]string{"agent", "--server=" + base, "--name=host", "--slots=2", "--state-dir=" + state, "--target=emulator", "--project=."}, more...)
		p, err := start(dir, append(args, "--", testBinary(), testJob, filepath.Join(dir, "journal"))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.kill)
		return p
	}
	serves := func(p *program) {
		t.Helper()
		for _, id := range []string{"host-1", "host-2"} {
			if _, err := p.await("registered agent=" + id); err != nil {
				t.Fatal(err)
			}
		}
		p.kill()
		said, _ := p.out.state()
		logs = append(logs, said)
	}
	serves(agent("state", "--token-file=join"))
	serves(agent("state", "--token-file=join")) // as a unit file does
	serves(agent("state"))                      // the join token is long gone
	thief := agent("elsewhere", "--token-file=join")
	<-thief.exited
	said, _ := thief.out.state()
	if code := thief.ProcessState.ExitCode(); code != 4 || !strings.Contains(said, "used already") || !strings.Contains(said, "--kind=agent-join --agent=host") {
		t.Errorf("another host with the same join token left with %d:\n%s", code, said)
	}
	nobody := agent("empty")
	<-nobody.exited
	if code := nobody.ProcessState.ExitCode(); code != 4 {
		t.Errorf("a host without any token left with %d", code)
	}
	own, err := os.ReadFile(filepath.Join(dir, "state", "tokens", "host.json"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(own), `"token":"`)
	kept, _, _ := strings.Cut(rest, `"`)
	if kind, ok := qgjob.TokenKindOf(kept); !ok || kind != qgjob.TokenAgent {
		t.Fatalf("it keeps %q", kind)
	}
	served, _ := server.out.state()
	for _, log := range append(logs, said, served) {
		for _, secret := range []string{join, kept, admin} {
			if strings.Contains(log, secret) {
				t.Errorf("a log holds a token:\n%s", log)
			}
		}
	}
}
