package cli

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qualgent/qgjob/internal/agent/proc"
)

func TestMain(m *testing.M) {
	proc.MaybeInit()
	if len(os.Args) > 2 && os.Args[1] == asJob {
		os.Exit(runJob(os.Args[2], os.Args[3:]))
	}
	os.Exit(m.Run())
}

func TestServerOptions(t *testing.T) {
	good := serverOptions{listen: "127.0.0.1:0", dataDir: "d", leaseTTL: 30 * time.Second}
	for _, test := range []struct {
		name   string
		change func(*serverOptions)
		want   string // "" is fine
	}{
		{"defaults", func(*serverOptions) {}, ""},
		{"localhost", func(o *serverOptions) { o.listen = "localhost:80" }, ""},
		{"ipv6 loopback", func(o *serverOptions) { o.listen = "[::1]:80" }, ""},
		{"everywhere", func(o *serverOptions) { o.listen = "0.0.0.0:80" }, "--insecure"},
		{"everywhere by nothing", func(o *serverOptions) { o.listen = ":80" }, "--insecure"},
		{"everywhere in ipv6", func(o *serverOptions) { o.listen = "[::]:80" }, "--insecure"},
		{"a name", func(o *serverOptions) { o.listen = "ci.example.com:80" }, "--insecure"},
		{"said so", func(o *serverOptions) { o.listen, o.insecure = ":80", true }, ""},
		{"tls without token", func(o *serverOptions) { o.listen, o.tlsCert, o.tlsKey = ":80", "c", "k" }, ""}, // the database may have one: see guarded
		{"token without tls", func(o *serverOptions) { o.listen, o.tokenFile = ":80", "t" }, "--tls-cert"},
		{"tls and token", func(o *serverOptions) { o.listen, o.tlsCert, o.tlsKey, o.tokenFile = ":80", "c", "k", "t" }, ""},
		{"half of tls", func(o *serverOptions) { o.tlsCert = "c" }, "--tls-key"},
		{"no port", func(o *serverOptions) { o.listen = "127.0.0.1" }, "--listen"},
		{"postgres", func(o *serverOptions) { o.database = "postgres://x" }, ""},
		{"another database", func(o *serverOptions) { o.database = "mysql://x" }, "--database"},
		{"history at once", func(o *serverOptions) { o.historyAfter = time.Millisecond }, "--history-after"},
		{"history shorter than keys", func(o *serverOptions) { o.keepHistory = 24 * time.Hour }, "--keep-history"},
		{"short lease", func(o *serverOptions) { o.leaseTTL = time.Millisecond }, "--lease-ttl"},
		{"no folder", func(o *serverOptions) { o.dataDir = "" }, "--data-dir"},
	} {
		o := good
		test.change(&o)
		err := o.check()
		if (err == nil) != (test.want == "") || (err != nil && (exitCode(err) != exitUsage || !strings.Contains(err.Error(), test.want))) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

// hosted is a command that serves until it is told to stop.
type hosted struct {
	*program
	base string
	code chan int
}

// host runs a host, and waits until it listens.
func host(t *testing.T, prepare func(*program), args ...string) *hosted {
	t.Helper()
	return hostAll(t, prepare, append(args, "--listen=127.0.0.1:0", "--lease-ttl=3s"))
}

// hostWith runs a host whose command line ends with a program.
func hostWith(t *testing.T, program []string, args ...string) *hosted {
	t.Helper()
	return hostAll(t, nil, append(append(args, "--listen=127.0.0.1:0", "--lease-ttl=3s"), program...))
}

func hostAll(t *testing.T, prepare func(*program), args []string) *hosted {
	t.Helper()
	h := &hosted{program: newProgram(t, "http://127.0.0.1:1"), code: make(chan int, 1)}
	if prepare != nil {
		prepare(h.program)
	}
	go func() {
		code, _, _ := h.run(args...)
		h.code <- code
		h.out.Write([]byte("the command has ended: \n")) // so that nobody waits for it
	}()
	h.out.await(t, ": ")
	_, h.base, _ = strings.Cut(strings.SplitN(h.out.String(), "\n", 2)[0], ": ")
	if !strings.HasPrefix(h.base, "http://127.0.0.1:") {
		t.Fatalf("%q %q", h.out.String(), h.err.String())
	}
	return h
}

func (h *hosted) stop(t *testing.T, signals ...os.Signal) {
	t.Helper()
	for _, s := range signals {
		h.signals <- s
	}
	if code := <-h.code; code != 0 {
		t.Errorf("the host left with %d\n%s", code, h.err.String())
	}
}

func TestServerAsksForItsToken(t *testing.T) {
	h := host(t, func(p *program) { p.write("token", "a-token-of-the-test\n") }, "server", "--token-file=token")
	defer h.stop(t, syscall.SIGTERM)
	for token, want := range map[string]int{"a-token-of-the-test": 0, "another-token": 4, "": 4} {
		p := newProgram(t, h.base)
		p.env = append(p.env, "QGJOB_TOKEN="+token)
		if code, _, err := p.run("agents"); code != want || strings.Contains(err, "a-token") {
			t.Errorf("token %q: %d %q, want %d", token, code, err, want)
		}
	}
}

// TestServerRestart: a restart loses nothing, and ids never begin again.
func TestServerRestart(t *testing.T) {
	data := t.TempDir()
	submit := func(want string) {
		h := host(t, nil, "server", "--data-dir="+data)
		defer h.stop(t, os.Interrupt)
		if code, out, err := newProgram(t, h.base).run("submit", "--org-id=o", "--app-version-id=v", "--test=a.js"); code != 0 || out != want {
			t.Errorf("%d %q %q, want %q", code, out, err, want)
		}
	}
	submit("Job submitted: job_1\n")
	submit("Job submitted: job_2\n")
}

func TestServerRefusals(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"server --listen=" + taken.Addr().String():                     {3, "in use"},
		"server --listen=127.0.0.1:0 --token-file=none":                {2, "--token-file"},
		"server --listen=127.0.0.1:0 --token-file=short":               {2, "16 to 4096"},
		"server --listen=127.0.0.1:0 --tls-cert=short --tls-key=short": {2, "--tls-cert"},
		"server --listen=0.0.0.0:0":                                    {2, "--insecure"},
		"up --listen=0.0.0.0:0":                                        {2, "listens on loopback only (use qgjob server"},
		"up --listen=127.0.0.1:0 --agents=0":                           {2, "--agents: 0 is out of range; allowed: 1 to 64"},
		"up --listen=127.0.0.1:0 --project=none":                       {2, "--project: none is not a folder"},
		"agent --name=a1 --target=emulator --slots=0 -- true":          {2, "--slots: 0 is out of range; allowed: 1 to 64"},
		"agent --name=a1 --target=emulator -- /no/such/program":        {2, "the program /no/such/program cannot be run here"},
		"agent --name=a1 --target=emulator -- no-such-program-here":    {2, "no-such-program-here cannot be run here"},
		"agent --name=a1 --target=emulator --state-dir=s -- short":     {2, "short cannot be run here"},
		"agent --name=a1 --project=short --state-dir=s":                {2, "--project: short is not a folder"},
		"completion tcsh": {2, "tcsh"},
		"up --listen=127.0.0.1:0 --agents=65 -- true":                                   {2, "65"},
		"up --listen=127.0.0.1:0 extra":                                                 {2, "unexpected argument extra"},
		"agent --name=a1 --target=toaster -- true":                                      {2, "--target"},
		"agent --name=a1 --target=emulator --runner=exec":                               {2, "exec"},
		"agent --name=a1 --target=emulator --runner=magic":                              {2, "--runner"},
		"agent --name=a1 --target=emulator --label=x -- true":                           {2, "--label"},
		"agent --name=a1 before -- true":                                                {2, "unexpected argument before"},
		"agent --name=a1 --target=emulator --server=nowhere -- true":                    {2, "--server"},
		"agent --name=a1 --target=emulator --slots=-1 --state-dir=s --runner=exec -- x": {2, "--slots"},
	} {
		p := newProgram(t, "http://127.0.0.1:1")
		p.write("short", "abc")
		if code, _, err := p.run(strings.Fields(args)...); code != want.code || !strings.Contains(err, want.text) {
			t.Errorf("%s: %d %q, want %d %q", args, code, err, want.code, want.text)
		}
	}
}

// TestUp is the whole program in one process: submit, run, report.
func TestUp(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh here")
	}
	data := t.TempDir()
	for name, text := range map[string]string{
		"a.js": "", "b.js": "", "bad.js": "", "run.sh": "echo \"runs $QGJOB_TEST_PATH\"\ncase $QGJOB_TEST_PATH in bad*) exit 3;; esac\n",
	} {
		if err := os.WriteFile(filepath.Join(data, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h := hostWith(t, []string{"--", sh, filepath.Join(data, "run.sh")}, "up", "--agents=2", "--target=emulator", "--project="+data)
	defer h.stop(t, os.Interrupt)
	p := newProgram(t, h.base)
	code, out, errs := p.run("submit", "--org-id=o", "--app-version-id=v", "--target=emulator", "a.js", "b.js", "bad.js", "--wait", "--junit=r.xml")
	junit, _ := os.ReadFile(filepath.Join(p.dir, "r.xml"))
	if code != 1 || !strings.Contains(out, "run_1 failed: 2 passed, 1 failed of 3") || !strings.Contains(string(junit), `failures="1"`) {
		t.Errorf("%d\n%s\n%s\n%s", code, out, errs, junit)
	}
	if code, out, errs := newProgram(t, h.base).run("logs", "job_1"); code != 0 || !strings.Contains(out, "runs a.js") {
		t.Errorf("%d %q %q", code, out, errs)
	}
	if code, out, errs := newProgram(t, h.base).run("logs", "-f", "job_3"); code != 0 || !strings.Contains(out, "runs bad.js") {
		t.Errorf("%d %q %q", code, out, errs)
	}
	if code, _, errs := newProgram(t, h.base).run("wait", "job_1"); code != 0 {
		t.Errorf("%d %q", code, errs)
	}
}

func TestStateDir(t *testing.T) {
	for want, env := range map[string]map[string]string{
		filepath.Join("/s", "qgjob"): {"XDG_STATE_HOME": "/s", "HOME": "/h"}, filepath.Join("/h", ".local", "state", "qgjob"): {"XDG_STATE_HOME": "rel", "HOME": "/h"},
		"qgjob-agent": {},
	} {
		if got := (&app{env: env}).stateDir(); got != want {
			t.Errorf("%v: %s, want %s", env, got, want)
		}
	}
}

// TestLadder: one signal drains, two cancel, three leave.
func TestLadder(t *testing.T) {
	p := newProgram(t, "")
	left := make(chan int, 1)
	a := &app{printer: newPrinter(p.out, p.err, nil), exit: func(code int) { left <- code }}
	l := newLadder()
	go l.climb(t.Context(), a, p.signals)
	p.signals <- os.Interrupt
	<-l.drain
	select {
	case <-l.cancel:
		t.Error("one signal cancels")
	default:
	}
	p.signals <- syscall.SIGTERM
	<-l.cancel
	p.signals <- os.Interrupt
	if code := <-left; code != exitInterrupted {
		t.Errorf("left with %d", code)
	}
}
