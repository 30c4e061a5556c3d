package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent"
	"github.com/qualgent/qgjob/internal/agent/browserstack"
	"github.com/qualgent/qgjob/internal/agent/browserstack/browserstacktest"
	"github.com/qualgent/qgjob/internal/client"
)

const cloudKey = "an-access+key/of-tests"

// runCloudJob is a test program that drives a session of BrowserStack: it says
// the key aloud, begins a session with the uploaded app, asks the test what to
// do, and ends the session.
func runCloudJob(address, hub string) int {
	if strings.Contains(os.Getenv("QGJOB_TEST_PATH"), "late") {
		ask(address, "before "+os.Getenv("QGJOB_TEST_PATH"))
	}
	user, key := os.Getenv(browserstack.EnvUser), os.Getenv(browserstack.EnvKey)
	fmt.Println("the key is", key)
	os.WriteFile(filepath.Join(os.Getenv("QGJOB_OUTPUT_DIR"), "env.txt"), []byte("key="+key+"\n"), 0o600)
	call := func(method, path string, body any) (map[string]any, error) {
		text, _ := json.Marshal(body)
		req, err := http.NewRequestWithContext(context.Background(), method, hub+path, bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		req.SetBasicAuth(user, key)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		defer res.Body.Close()
		var got struct{ Value map[string]any }
		text, _ = io.ReadAll(res.Body)
		return got.Value, json.Unmarshal(text, &got)
	}
	note := func(what, id string) {
		f, err := os.OpenFile(os.Getenv(browserstack.EnvJournal), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			fmt.Fprintf(f, "{%q:%q}\n", what, id)
			f.Close()
		}
	}
	begun, err := call(http.MethodPost, "/wd/hub/session", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{"appium:app": os.Getenv("QGJOB_APP_PATH")}}})
	id, _ := begun["sessionId"].(string)
	if err != nil || id == "" {
		fmt.Println("no session:", begun, err)
		return 75
	}
	note("session", id)
	code := ask(address, "open "+id)
	if _, err := call(http.MethodDelete, "/wd/hub/session/"+id, nil); err != nil {
		fmt.Println(err)
	}
	note("ended", id)
	return code
}

// cloudLab is a server with an agent whose slots are a fake BrowserStack's.
type cloudLab struct {
	*hosted
	t     *testing.T
	stack *browserstacktest.Server
	asks  chan *asking
	said  *bytesLog
}

type bytesLog struct{ ch chan []byte }

func (b *bytesLog) Write(p []byte) (int, error) {
	select {
	case b.ch <- bytes.Clone(p):
	default:
	}
	return len(p), nil
}

func newCloudLab(t *testing.T, parallel int) *cloudLab {
	t.Helper()
	stack := browserstacktest.New("ann", cloudKey, parallel)
	web := httptest.NewServer(stack)
	t.Cleanup(web.Close)
	l := &cloudLab{t: t, stack: stack, hosted: host(t, nil, "server"), said: &bytesLog{make(chan []byte, 10000)}}
	t.Cleanup(func() { l.stop(t, syscall.SIGTERM) })
	program, asks := jobs(t)
	l.asks = asks
	account, err := browserstack.FromEnv(func(name string) string {
		return map[string]string{browserstack.EnvUser: "ann", browserstack.EnvKey: cloudKey}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	api, err := browserstack.New(account, web.URL+"/app-automate", nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(l.base, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel, ended := make(chan struct{}), make(chan error, 1)
	config := agent.Config{
		Server: c, Name: "bs", Target: qgjob.TargetBrowserStack, Device: agent.DeviceBrowserStack, Cloud: api, Runner: "exec",
		ExecArgv: append(program[1:len(program):len(program)], cloudRole, web.URL), StateDir: t.TempDir(), ProjectDir: t.TempDir(),
		Log: slog.New(slog.NewTextHandler(l.said, nil)), Cancel: cancel, Grace: time.Second,
	}
	go func() { ended <- agent.Run(context.Background(), config) }()
	t.Cleanup(func() {
		close(cancel)
		if err := <-ended; err != nil {
			t.Errorf("the agent ended: %v", err)
		}
	})
	return l
}

// submit uploads a build and submits tests of it.
func (l *cloudLab) submit(version, build string, paths ...string) {
	l.t.Helper()
	p := newProgram(l.t, l.base)
	p.write("app.apk", build)
	args := []string{"submit", "--org-id=o", "--app-version-id=" + version, "--target=browserstack", "--app=app.apk"}
	for _, path := range paths {
		args = append(args, "--test="+path)
	}
	if code, out, text := p.run(args...); code != 0 {
		l.t.Fatalf("submit: %d %s %s", code, out, text)
	}
}

// done waits until every job has ended, and gives them.
func (l *cloudLab) done(n int) []qgjob.Job {
	l.t.Helper()
	c, err := client.New(l.base, client.Options{})
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	for run := qgjob.RunID(1); ; run++ {
		r, err := c.Run(ctx, run)
		if qgjob.KindOf(err) == qgjob.KindNotFound {
			break
		}
		for _, err := range c.RunEvents(ctx, r.RunID, 0) {
			if err != nil {
				l.t.Fatalf("the run does not end: %v", err)
			}
		}
	}
	list, _, err := c.AllJobs(ctx, qgjob.JobFilter{OrgID: "o"}, 1000)
	if err != nil || len(list) != n {
		l.t.Fatalf("%d jobs, %v", len(list), err)
	}
	return list
}

// seen is all that people can see of a job: its log and its artifacts.
func (l *cloudLab) seen(id qgjob.JobID) (text string, links string) {
	l.t.Helper()
	c, err := client.New(l.base, client.Options{})
	if err != nil {
		l.t.Fatal(err)
	}
	var b bytes.Buffer
	if _, _, err := c.Log(l.t.Context(), id, 0, 0, &b); err != nil {
		l.t.Fatal(err)
	}
	list, err := c.Artifacts(l.t.Context(), id)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, a := range list {
		begin := b.Len()
		if _, err := c.Download(l.t.Context(), a.SHA256, &b, 1<<20); err != nil {
			l.t.Fatal(err)
		}
		if strings.HasSuffix(a.Name, browserstack.LinksName) {
			links = b.String()[begin:]
		}
	}
	return b.String(), links
}

// TestCloudUploadsOnceAndHoldsBack is the whole path: two builds, eight jobs,
// a plan of three sessions of which somebody else has one.
func TestCloudUploadsOnceAndHoldsBack(t *testing.T) {
	l := newCloudLab(t, 3)
	l.stack.SetOthers(1)
	l.submit("v1", "build one", "a.js", "b.js", "c.js", "d.js")
	l.submit("v2", "build two", "a.js", "b.js", "c.js", "d.js")
	first, second := <-l.asks, <-l.asks
	// Both sessions of ours run now; a third must not be asked for.
	first.say("exit 0")
	first.gone()
	third := <-l.asks
	second.say("exit 0")
	third.say("exit 1")
	go func() {
		for a := range l.asks {
			a.say("exit 0")
		}
	}()
	failed := 0
	for _, j := range l.done(8) {
		switch {
		case j.Status == qgjob.Failed:
			failed++
		case j.Status != qgjob.Passed:
			t.Errorf("%s is %s: %s", j.JobID, j.Status, j.Message)
		}
		text, links := l.seen(j.JobID)
		if strings.Contains(text, cloudKey) || !strings.Contains(text, "the key is [access key]") || !strings.Contains(text, "key=[access key]") {
			t.Errorf("%s shows %s", j.JobID, text)
		}
		for _, want := range []string{"/video?token=t", "/appiumlogs", `"device": "Google Pixel 8"`} {
			if !strings.Contains(links, want) {
				t.Errorf("%s has no %s in its links: %s", j.JobID, want, links)
			}
		}
	}
	uploads := l.stack.Uploads()
	if failed != 1 || len(uploads) != 2 || l.stack.Calls("POST upload") != 2 || l.stack.Busiest() > 3 || l.stack.Dropped() != 0 || len(l.stack.Sessions()) != 8 {
		t.Errorf("%d failed; uploads %v (%d calls), at most %d sessions, %d dropped, sessions %v", failed, uploads, l.stack.Calls("POST upload"),
			l.stack.Busiest(), l.stack.Dropped(), l.stack.Sessions())
	}
	byBuild := map[string]int{}
	for _, custom := range l.stack.Sessions() {
		byBuild[custom]++
	}
	for custom, n := range byBuild {
		if n != 4 {
			t.Errorf("%d sessions with %s", n, custom)
		}
	}
	l.quiet()
}

// quiet looks for the key in what the agent logged.
func (l *cloudLab) quiet() {
	for {
		select {
		case p := <-l.said.ch:
			if bytes.Contains(p, []byte(cloudKey)) {
				l.t.Errorf("the agent logged %s", p)
			}
		default:
			return
		}
	}
}

// TestCloudDropIsRetried: a session that BrowserStack's queue gave up is no
// verdict, and the job runs again.
func TestCloudDropIsRetried(t *testing.T) {
	l := newCloudLab(t, 1)
	l.stack.SetQueueTime(50 * time.Millisecond)
	l.submit("v1", "build one", "late.js")
	before := <-l.asks
	l.stack.SetOthers(1) // between our look at the plan and our session
	before.say("exit 0")
	before.gone()
	go func() {
		for a := range l.asks {
			a.say("exit 0")
		}
	}()
	c, err := client.New(l.base, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for l.stack.Dropped() == 0 {
		time.Sleep(5 * time.Millisecond) //budget:allow polls a fake
	}
	l.stack.SetOthers(0)
	job := l.done(1)[0]
	attempts, err := c.Attempts(t.Context(), job.JobID)
	if err != nil || job.Status != qgjob.Passed || len(attempts) < 2 || attempts[0].Outcome != qgjob.OutcomeErrored ||
		attempts[0].Reason != qgjob.ReasonInfrastructure || attempts[len(attempts)-1].Outcome != qgjob.OutcomePassed {
		t.Errorf("%s %+v %v", job.Status, attempts, err)
	}
	if l.stack.Calls("POST upload") != 1 {
		t.Errorf("%d uploads", l.stack.Calls("POST upload"))
	}
}
