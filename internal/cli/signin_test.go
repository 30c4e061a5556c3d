package cli

import (
	"encoding/json"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/server/oidc/oidctest"
)

const rootToken = "the-servers-own-token"

// trusting is a real server that trusts one repository for the org "o", and
// the GitHub of its jobs.
type trusting struct {
	*hosted
	t      *testing.T
	github *oidctest.GitHub
}

func newTrusting(t *testing.T, repositoryID string) *trusting {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // the audience is the address, which must be known before
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	l.Close()
	github, stop := oidctest.Start()
	t.Cleanup(stop)
	s := &trusting{t: t, github: github}
	s.hosted = hostAll(t, func(p *program) {
		p.write("token", rootToken)
		p.write("oidc.yaml", github.Config("http://"+at, repositoryID, "o"))
	}, []string{"server", "--token-file=token", "--oidc-config=oidc.yaml", "--listen=" + at, "--lease-ttl=3s"})
	t.Cleanup(func() {
		s.stop(t, os.Interrupt)
		s.quiet(s.out.String() + s.err.String())
	})
	return s
}

// quiet checks that a text holds no secret.
func (s *trusting) quiet(text string) {
	s.t.Helper()
	for _, secret := range []string{oidctest.RequestToken, rootToken, qgjob.TokenPrefix + "c_", "eyJ"} {
		if strings.Contains(text, secret) {
			s.t.Errorf("%s… is in\n%s", secret[:3], text)
		}
	}
}

// job is a command line in a job of GitHub Actions.
func (s *trusting) job() *program {
	p := newProgram(s.t, s.base)
	p.env = append(append(p.env, "QGJOB_TOKEN="), s.github.Environment()...)
	return p
}

// as runs a command with a token.
func (s *trusting) as(token string, args ...string) string {
	s.t.Helper()
	p := newProgram(s.t, s.base)
	p.env = append(p.env, "QGJOB_TOKEN="+token)
	code, out, errs := p.run(args...)
	if code != 0 {
		s.t.Fatalf("%v left with %d\n%s", args, code, errs)
	}
	return strings.TrimSpace(out)
}

// agent starts an agent that joins; its jobs ask the test.
func (s *trusting) agent() chan *asking {
	s.t.Helper()
	program, asks := jobs(s.t)
	p := newProgram(s.t, s.base)
	p.write("join", s.as(rootToken, "token", "create", "--kind=agent-join", "--org-id=o")+"\n")
	p.env = append(p.env, "QGJOB_TOKEN=") // the file counts
	over := make(chan int, 1)
	go func() {
		code, _, _ := p.run(append([]string{"agent", "--name=a1", "--target=emulator", "--token-file=join", "--state-dir=state"}, program...)...)
		over <- code
	}()
	p.err.await(s.t, "msg=registered")
	s.t.Cleanup(func() {
		p.signals <- os.Interrupt
		if code := <-over; code != 0 {
			s.t.Errorf("the agent left with %d\n%s", code, p.err.String())
		}
		s.quiet(strings.ReplaceAll(p.err.String(), "tok_", ""))
	})
	return asks
}

// TestSubmitSignsIn: a job of GitHub Actions without any secret submits, waits
// and has its verdict; interrupted it cancels its run.
func TestSubmitSignsIn(t *testing.T) {
	s := newTrusting(t, oidctest.RepositoryID)
	asks := s.agent()
	p := s.job()
	code, out, errs := p.run(append(tests("pass", "fail-x"), "--wait", "--junit=r.xml")...)
	if code != 1 {
		t.Fatalf("left with %d\n%s\n%s", code, out, errs)
	}
	has(t, out, "1 passed", "1 failed")
	s.quiet(out + errs)
	if n, to := s.github.Asked.Load(), s.github.Audience.Load(); n != 1 || to != s.base {
		t.Errorf("%d id-tokens, the last for %v", n, to)
	}
	p = s.job()
	over := make(chan int, 1)
	go func() {
		code, _, _ := p.run(append(tests("ask-1"), "--wait")...)
		over <- code
	}()
	job := <-asks
	p.signals <- os.Interrupt
	if code := <-over; code != exitInterrupted {
		t.Errorf("interrupted, and left with %d\n%s", code, p.err.String())
	}
	_ = job.gone()
	var j qgjob.Job
	if err := json.Unmarshal([]byte(s.as(rootToken, "status", "--json", "job_3")), &j); err != nil || j.Status != qgjob.Cancelled {
		t.Errorf("%v %+v", err, j)
	}
	// A later step of the same CI run may look at its own run, and at no other.
	p = s.job()
	if code, out, errs := p.run("status", "run_1"); code != 0 {
		t.Errorf("%d %s %s", code, out, errs)
	}
	s.as(rootToken, tests("pass")...)
	p = s.job()
	if code, _, errs := p.run("status", "run_3"); code != exitUsage || !strings.Contains(errs, "run_3") {
		t.Errorf("somebody else's run: %d %s", code, errs)
	}
}

// TestSubmitDoesNotSignIn: who gets no id-token, who takes none, and what
// people are told.
func TestSubmitDoesNotSignIn(t *testing.T) {
	s, strict := newTrusting(t, oidctest.RepositoryID), newTrusting(t, "75")
	fresh := newTrusting(t, "75") // it has not asked the issuer for its keys yet
	for _, test := range []struct {
		name   string
		of     *trusting
		change func(p *program)
		args   []string
		code   int
		says   string
		asked  int64
	}{
		{"the repository is not trusted", strict, nil, nil, exitDenied, "trust repository_id 74", 1},
		{"the address is not the audience", s, func(p *program) {
			p.env = append(p.env, "QGJOB_SERVER="+strings.Replace(s.base, "127.0.0.1", "localhost", 1))
		}, nil,
			exitDenied, "meant for somebody else", 1},
		{"only the repository names the server", s, func(p *program) {
			p.env = append(p.env, "QGJOB_SERVER=")
			p.write(".qgjob.yaml", "server: "+s.base+"\n")
		}, nil, exitDenied, "set QGJOB_SERVER, or give --server", 0},
		{"another org", s, nil, []string{"--org-id=globex"}, exitDenied, "this token is of org o", 1},
		{"a token is there", s, func(p *program) { p.env = append(p.env, "QGJOB_TOKEN=of-somebody") }, nil, exitDenied, "not a valid one", 0},
		{"GitHub is down", s, func(*program) { s.github.Mute.Store(true) }, nil, exitInfra, "answered 503", 0},
		{"no permission", s, func(p *program) { p.env = append(p.env, "ACTIONS_ID_TOKEN_REQUEST_TOKEN=of-another-job") }, nil, exitDenied, "id-token: write", 0},
		{"half of it", s, func(p *program) { p.env = append(p.env, "ACTIONS_ID_TOKEN_REQUEST_URL=") }, nil, exitDenied, "set QGJOB_TOKEN", 0},
		{"GitHub's address is none", s, func(p *program) { p.env = append(p.env, "ACTIONS_ID_TOKEN_REQUEST_URL=http://github.example/x") }, nil, exitUsage, "no https address", 0},
		{"the issuer is down", fresh, func(*program) { fresh.github.Down.Store(true) }, nil, exitInfra, "issuer", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := test.of.github.Asked.Load()
			p := test.of.job()
			if test.change != nil {
				test.change(p)
			}
			code, out, errs := p.run(append(append(tests("pass"), "--wait"), test.args...)...)
			test.of.github.Mute.Store(false)
			if code != test.code || !strings.Contains(errs, test.says) {
				t.Errorf("left with %d, want %d and %q\n%s", code, test.code, test.says, errs)
			}
			if n := test.of.github.Asked.Load() - before; n != test.asked {
				t.Errorf("%d id-tokens were asked for, want %d", n, test.asked)
			}
			test.of.quiet(out + errs)
		})
	}
}

// TestMayProve: an id-token goes only where somebody said, and where nobody on
// the way can read it.
func TestMayProve(t *testing.T) {
	for _, test := range []struct {
		servers       []string
		given, byFile bool
		want          string // empty: it may
	}{
		{[]string{"https://q.example"}, true, false, ""},
		{[]string{"http://127.0.0.1:8000/"}, true, false, ""},
		{[]string{"http://q.example"}, true, false, "others could read it"},
		{[]string{"https://q.example", "http://r.example"}, true, false, "http://r.example"},
		{[]string{defaultServer}, false, false, "set QGJOB_SERVER"},
		{[]string{"https://q.example"}, false, true, "set QGJOB_SERVER"},
	} {
		a := &app{servers: test.servers, serverGiven: test.given, serverByFile: test.byFile}
		err := a.mayProve()
		if (err == nil) != (test.want == "") || err != nil && (exitCode(err) != exitDenied || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%v given %t: %v", test.servers, test.given, err)
		}
	}
}
