package browserstack

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/browserstack/browserstacktest"
)

const key = "an-access+key/of-tests"

func account(t *testing.T) Account {
	t.Helper()
	a, err := FromEnv(func(name string) string { return map[string]string{EnvUser: "ann", EnvKey: key}[name] })
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// inProcess asks a handler without a network, so that it runs in a bubble.
type inProcess struct{ http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result(), r.Context().Err()
}

func newClient(t *testing.T, h http.Handler) *Client {
	t.Helper()
	c, err := New(account(t), "", inProcess{h})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func buildFile(t *testing.T, text string) (qgjob.Sum, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "app.apk")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return qgjob.Sum(fmt.Sprintf("%064x", len(text))), file
}

func TestAccountFromEnv(t *testing.T) {
	for _, c := range []struct{ user, key, want string }{
		{"", key, EnvUser + " is not set"}, {"ann", "", EnvKey + " is not set"}, {"ann", "short", "hold no account"}, {"a:b", key, "hold no account"}, {"ann", key, ""},
	} {
		a, err := FromEnv(func(name string) string { return map[string]string{EnvUser: c.user, EnvKey: c.key}[name] })
		if c.want == "" {
			if text := fmt.Sprintf("%v %+v %#v %s", a, a, a, err); strings.Contains(text, key) {
				t.Errorf("an account prints its key: %s", text)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "short") {
			t.Errorf("%q: %v", c.user, err)
		}
	}
}

func TestNewWantsHTTPS(t *testing.T) {
	for base, ok := range map[string]bool{"": true, "https://x.example/y": true, "http://127.0.0.1:7/y": true, "http://localhost:7": true,
		"http://x.example": false, "http://10.0.0.1": false, "https://u:p@x.example": false, "ftp://x": false, "%": false} {
		if _, err := New(account(t), base, nil); (err == nil) != ok {
			t.Errorf("%q: %v", base, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	s := browserstacktest.New("ann", key, 2)
	c := newClient(t, s)
	for status, kind := range map[int]qgjob.Kind{401: qgjob.KindDenied, 403: qgjob.KindDenied, 404: qgjob.KindNotFound, 422: qgjob.KindInvalid,
		429: qgjob.KindUnavailable, 500: qgjob.KindUnavailable, 503: qgjob.KindUnavailable, 302: qgjob.KindInvalid} {
		s.Refuse("GET plan.json", status)
		_, err := c.Plan(t.Context())
		if qgjob.KindOf(err) != kind {
			t.Errorf("%d: %v", status, err)
		}
		if e, ok := errors.AsType[*qgjob.Error](err); !ok || status == 429 && e.RetryAfter != time.Second {
			t.Errorf("%d: %#v", status, err)
		}
	}
	other, err := New(Account{"bob", "another-key"}, "", inProcess{s})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Plan(t.Context()); qgjob.KindOf(err) != qgjob.KindDenied {
		t.Errorf("a wrong key: %v", err)
	}
	// An answer that repeats the key, or is no JSON, or is cut off.
	for _, body := range []string{`{"error":"bad key ` + key + `"}`, "<html>", `{"error":{}}`, strings.Repeat("x", 10000)} {
		for _, status := range []int{200, 400, 500} {
			c := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				io.WriteString(w, body)
			}))
			_, err := c.Session(t.Context(), "abc")
			if status != 200 && err == nil || err != nil && (strings.Contains(err.Error(), key) || len(err.Error()) > 1000) {
				t.Errorf("%d %.30q: %v", status, body, err)
			}
		}
	}
	if _, err := c.Session(t.Context(), "../plan"); qgjob.KindOf(err) != qgjob.KindInvalid {
		t.Errorf("a path for a session: %v", err)
	}
	gone := newClient(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	gone.http.Transport = failing{}
	if _, err := gone.Plan(t.Context()); qgjob.KindOf(err) != qgjob.KindUnavailable {
		t.Errorf("no network: %v", err)
	}
}

type failing struct{}

func (failing) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no route to host")
}

// TestUploadsOnce: eight agents of two processes want a build at once, and it
// is uploaded once; a fresh state finds it again by its custom id.
func TestUploadsOnce(t *testing.T) {
	s := browserstacktest.New("ann", key, 2)
	sum, file := buildFile(t, "build")
	dir := t.TempDir()
	var stores []*Uploads
	for range 2 {
		u, err := NewUploads(newClient(t, s), dir)
		if err != nil {
			t.Fatal(err)
		}
		stores = append(stores, u)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	done, addresses := 0, map[string]bool{}
	for i := range 8 {
		all.Go(func() {
			address, did, err := stores[i%2].Put(t.Context(), sum, "app.apk", file)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			addresses[address] = true
			if did {
				done++
			}
		})
	}
	all.Wait()
	if done != 1 || len(addresses) != 1 || s.Uploads()[customIDOf(sum)] != 1 {
		t.Errorf("%d uploads, %v, %v", done, addresses, s.Uploads())
	}
	fresh, err := NewUploads(newClient(t, s), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if address, ok, err := fresh.Have(t.Context(), sum); !ok || err != nil || !addresses[address] {
		t.Errorf("another host does not find it: %q %v", address, err)
	}
	if _, _, err := fresh.Have(t.Context(), "../../x"); qgjob.KindOf(err) != qgjob.KindInvalid {
		t.Errorf("no sum: %v", err)
	}
}

// TestUploadsAgain: an app that has expired, that BrowserStack has lost, or
// that is another account's, is uploaded again; one that BrowserStack cannot be
// asked about is believed in.
func TestUploadsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := browserstacktest.New("ann", key, 2)
		sum, file := buildFile(t, "build")
		dir := t.TempDir()
		open := func() *Uploads {
			u, err := NewUploads(newClient(t, s), dir)
			if err != nil {
				t.Fatal(err)
			}
			return u
		}
		u := open()
		put := func(what string, uploads int) string {
			t.Helper()
			address, _, err := u.Put(t.Context(), sum, "app.apk", file)
			if err != nil || s.Uploads()[customIDOf(sum)] != uploads {
				t.Errorf("%s: %v, %d uploads, want %d", what, err, s.Uploads()[customIDOf(sum)], uploads)
			}
			return address
		}
		first := put("new", 1)
		time.Sleep(29 * 24 * time.Hour)
		asked := s.Calls("GET recent_apps")
		if put("29 days old", 1) != first || s.Calls("GET recent_apps") != asked+1 {
			t.Error("an old upload is not asked about once")
		}
		put("just asked", 1)
		if s.Calls("GET recent_apps") != asked+1 {
			t.Error("asked again at once")
		}
		time.Sleep(20 * time.Hour)
		if put("hours before its end", 2) == first {
			t.Error("an address that is about to go")
		}
		s.Forget()
		put("lost, and believed", 2)
		u.Doubt(sum)
		put("lost, and doubted", 3)
		u = open()
		s.Refuse("GET recent_apps", 503)
		put("nobody can be asked", 3)
		s.Refuse("GET recent_apps", 401)
		u.Doubt(sum)
		if _, _, err := u.Have(t.Context(), sum); qgjob.KindOf(err) != qgjob.KindDenied {
			t.Errorf("refused: %v", err)
		}
		if err := os.WriteFile(u.path(sum), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		put("a damaged record", 3)
	})
}

// hub starts a session the way a test does and gives its id, or what was said.
func hub(s *browserstacktest.Server, app string) (string, string) {
	r := httptest.NewRequest(http.MethodPost, "/wd/hub/session", strings.NewReader(`{"capabilities":{"alwaysMatch":{"appium:app":"`+app+`"}}}`))
	r.SetBasicAuth("ann", key)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	_, id, _ := strings.Cut(w.Body.String(), `"sessionId":"`)
	id, _, _ = strings.Cut(id, `"`)
	return id, w.Body.String()
}

func unhub(s *browserstacktest.Server, id string) {
	r := httptest.NewRequest(http.MethodDelete, "/wd/hub/session/"+id, nil)
	r.SetBasicAuth("ann", key)
	s.ServeHTTP(httptest.NewRecorder(), r)
}

// TestQueueOfTheFake is what the documentation says of the real one: max(5,
// parallels) wait, more are refused, and who waits for 15 minutes is dropped.
func TestQueueOfTheFake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := browserstacktest.New("ann", key, 2)
		sum, file := buildFile(t, "build")
		app, err := newClient(t, s).Upload(t.Context(), sum, "app.apk", file)
		if err != nil {
			t.Fatal(err)
		}
		if _, said := hub(s, "bs://none"); !strings.Contains(said, "INVALID_APP") {
			t.Errorf("a session without an app: %s", said)
		}
		one, _ := hub(s, app.URL)
		two, _ := hub(s, app.URL)
		begin := time.Now()
		var waiting sync.WaitGroup
		var mu sync.Mutex
		began, dropped := 0, 0
		for range 5 {
			waiting.Go(func() {
				id, said := hub(s, app.URL)
				mu.Lock()
				defer mu.Unlock()
				if id != "" {
					began++
				} else if strings.Contains(said, browserstacktest.Dropped) && time.Since(begin) == browserstacktest.QueueTime {
					dropped++
				}
			})
		}
		synctest.Wait()
		if _, said := hub(s, app.URL); !strings.Contains(said, "including the queued tests") {
			t.Errorf("the queue takes a sixth: %s", said)
		}
		plan, err := newClient(t, s).Plan(t.Context())
		if err != nil || plan != (Plan{Running: 2, Allowed: 2, Team: 2, Queued: 5, QueueAllowed: 5}) || plan.Free(0) != -5 {
			t.Errorf("%+v %v", plan, err)
		}
		time.Sleep(14 * time.Minute)
		unhub(s, one)
		unhub(s, two)
		waiting.Wait()
		if began != 2 || dropped != 3 || s.Dropped() != 3 {
			t.Errorf("%d began, %d dropped (%d)", began, dropped, s.Dropped())
		}
	})
}

// TestGate: agents that follow it never have more sessions than the plan
// allows, whatever others do meanwhile, and use all that is free.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := browserstacktest.New("ann", key, 3)
		sum, file := buildFile(t, "build")
		c := newClient(t, s)
		app, err := c.Upload(t.Context(), sum, "app.apk", file)
		if err != nil {
			t.Fatal(err)
		}
		g, dir := NewGate(c.Plan), t.TempDir()
		s.SetOthers(1)
		ran, most, now := 0, 0, 0
		var mu sync.Mutex
		var agents sync.WaitGroup
		for i := range 8 {
			agents.Go(func() {
				for n := range 5 {
					pass := enter(t, g)
					time.Sleep(time.Duration(i) * 100 * time.Millisecond) // until an offer comes
					for pass.Commit(t.Context()) != nil {
						time.Sleep(time.Second)
					}
					j := NewJournal(filepath.Join(dir, fmt.Sprintf("%d-%d", i, n)))
					pass.Follow(j)
					time.Sleep(3 * time.Second) // AppWright takes its time
					id, said := hub(s, app.URL)
					if id == "" {
						t.Error(said)
					}
					note(t, j, "session", id)
					mu.Lock()
					ran, now = ran+1, now+1
					most = max(most, now)
					mu.Unlock()
					time.Sleep(20 * time.Second)
					mu.Lock()
					now--
					mu.Unlock()
					unhub(s, id)
					note(t, j, "ended", id)
					pass.Leave()
				}
			})
		}
		time.Sleep(time.Minute)
		s.SetOthers(0)
		time.Sleep(3 * time.Minute)
		begin := time.Now()
		agents.Wait()
		if ran != 40 || most != 3 || s.Busiest() > 3 || s.Dropped() > 0 {
			t.Errorf("%d ran, at most %d of ours and %d at all, %d dropped", ran, most, s.Busiest(), s.Dropped())
		}
		if took := time.Since(begin); took > 10*time.Minute {
			t.Errorf("took %s after the first four minutes: sessions stood free", took)
		}
		// Others take the room between the look and the session.
		pass := enter(t, g)
		s.SetOthers(3)
		if _, full := errors.AsType[*FullError](pass.Commit(t.Context())); !full {
			t.Error("a session is let in that would wait in the queue")
		}
		pass.Leave()
		pass.Leave()
		(*Pass)(nil).Leave()
	})
}

func enter(t *testing.T, g *Gate) *Pass {
	for {
		pass, err := g.Enter(t.Context())
		if err == nil {
			return pass
		}
		if _, full := errors.AsType[*FullError](err); !full {
			t.Error(err)
		}
		time.Sleep(5 * time.Second)
	}
}

func note(t *testing.T, j *Journal, what, id string) {
	t.Helper()
	f, err := os.OpenFile(j.Path(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "{%q:%q}\n", what, id)
}

// TestGateWithoutJournal: what tells nothing of its sessions is taken to show in
// the plan after a minute, and not before.
func TestGateWithoutJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running := 0
		g := NewGate(func(context.Context) (Plan, error) { return Plan{Allowed: 2, Running: running}, nil })
		first := enter(t, g)
		if err := first.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		running = 1
		time.Sleep(30 * time.Second)
		if _, err := g.Enter(t.Context()); err == nil {
			t.Error("let in before the first can be told apart")
		}
		time.Sleep(31 * time.Second)
		if _, err := g.Enter(t.Context()); err != nil {
			t.Error(err)
		}
		g = NewGate(func(context.Context) (Plan, error) { return Plan{}, qgjob.Unavailable(nil, "away") })
		if _, err := g.Enter(t.Context()); qgjob.KindOf(err) != qgjob.KindUnavailable {
			t.Error(err)
		}
	})
}

func TestPlanFree(t *testing.T) {
	for _, c := range []struct {
		plan     Plan
		promised int
		want     int
	}{
		{Plan{Allowed: 5}, 0, 5}, {Plan{Allowed: 5, Running: 3}, 1, 1}, {Plan{Allowed: 5, Team: 2}, 0, 2}, {Plan{Allowed: 2, Team: 5}, 0, 2},
		{Plan{Allowed: 5, Running: 4, Queued: 1}, 0, 0}, {Plan{}, 0, 0}, {Plan{Allowed: -1, Running: -3, Queued: -1}, 0, 0},
	} {
		if got := c.plan.Free(c.promised); got != c.want {
			t.Errorf("%+v: %d, want %d", c.plan, got, c.want)
		}
	}
}

func TestFilterAcrossWrites(t *testing.T) {
	secrets := NewSecrets(account(t))
	basic := base64.StdEncoding.EncodeToString([]byte("ann:" + key))
	text := "a " + key + " b " + key[:10] + "\nAuthorization: Basic " + basic + "\n" + strings.ReplaceAll(strings.ReplaceAll(key, "+", "%2B"), "/", "%2F") + key
	want := "a [access key] b " + key[:10] + "\nAuthorization: Basic [access key]\n[access key][access key]"
	for size := 1; size < len(text); size++ {
		var out bytes.Buffer
		f := secrets.NewFilter(&out)
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if m, err := f.Write([]byte(rest[:n])); m != n || err != nil {
				t.Fatal(m, err)
			}
			rest = rest[n:]
		}
		if err := f.Flush(); err != nil || out.String() != want {
			t.Fatalf("in parts of %d: %q", size, out.String())
		}
	}
}

func TestCleanFolder(t *testing.T) {
	secrets, dir := NewSecrets(account(t)), t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	for name, text := range map[string]string{filepath.Join(dir, "a", "b.txt"): "x" + key + "y", filepath.Join(dir, "c"): "nothing", outside: key} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := secrets.CleanFolder(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{filepath.Join(dir, "a", "b.txt"): "x[access key]y", filepath.Join(dir, "c"): "nothing", outside: key} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	req := qgjob.CompleteRequest{Message: "with " + key, Tests: []qgjob.TestResult{{File: "t", Message: key}, {File: "u"}}}
	got, err := CleanJSON(secrets, req)
	if err != nil || got.Message != "with [access key]" || got.Tests[0].Message != "[access key]" || got.Tests[1].File != "u" || req.Tests[0].Message != key {
		t.Errorf("%+v %v", got, err)
	}
}

func TestWriteLinks(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	if err := errors.Join(os.WriteFile(outside, nil, 0o600), os.Symlink(outside, filepath.Join(dir, LinksName))); err != nil {
		t.Fatal(err)
	}
	if err := WriteLinks(dir, []Session{{ID: "s1", VideoURL: "https://v"}}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, LinksName))
	away, _ := os.ReadFile(outside)
	if err != nil || !strings.Contains(string(text), `"video_url": "https://v"`) || len(away) != 0 {
		t.Errorf("%s %v; outside %q", text, err, away)
	}
	if !(Session{OwnStatus: "error"}).Broke() || (Session{OwnStatus: "timeout", Status: "failed"}).Broke() {
		t.Error("whose fault it was")
	}
}

func TestJournal(t *testing.T) {
	j := NewJournal(filepath.Join(t.TempDir(), "j"))
	if n, told := j.Running(); n != 0 || told {
		t.Error("told by no file")
	}
	text := `{"session":"a"}` + "\n" + `{"session":"b"}` + "\nrubbish\n" + `{"ended":"a"}` + "\n" + `{"ended":"zzz"}` + "\n" + `{"session":"../x"}` + "\n" + `{"session":"b"}` + "\n{\"sess"
	if err := os.WriteFile(j.Path(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, told := j.Running(); n != 1 || !told || strings.Join(j.Sessions(), " ") != "a b" {
		t.Errorf("%d %v %v", n, told, j.Sessions())
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte("{\"session\":\"a\"}\n{\"ended\":\"a\"}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		begun, ended := parseJournal(text)
		if len(begun) > maxSessions {
			t.Errorf("%d sessions", len(begun))
		}
		for _, id := range append(begun, ended...) {
			if !sessionID.MatchString(id) {
				t.Errorf("%q is no session", id)
			}
		}
	})
}

func FuzzApps(f *testing.F) {
	f.Add([]byte(`[{"app_url":"bs://1","custom_id":"x","uploaded_at":"2020-05-05 14:52:54 UTC"}]`))
	f.Add([]byte(`{"message":"No results found"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, a := range parseApps(text, "x") {
			if a.CustomID != "x" || !strings.HasPrefix(a.URL, "bs://") {
				t.Errorf("%+v", a)
			}
			expires(a, time.Unix(0, 0))
		}
		_ = saidIn(text)
	})
}

func FuzzFilter(f *testing.F) {
	f.Add([]byte("a "+key), 3)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		secrets := Secrets{[]byte("aab"), []byte("ba")}
		if size < 1 || len(text) > 1000 {
			return
		}
		var out bytes.Buffer
		filter := secrets.NewFilter(&out)
		for rest := text; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			filter.Write(rest[:min(size, len(rest))])
		}
		filter.Flush()
		if bytes.Contains(out.Bytes(), []byte("aab")) {
			t.Errorf("%q shows in %q", text, out.Bytes())
		}
	})
}

// FuzzAnswers: no answer of the API, whatever its status, breaks the client,
// and none of its errors shows the key.
func FuzzAnswers(f *testing.F) {
	f.Add(200, []byte(`{"automation_session":{"hashed_id":"a","video_url":"https://v","duration":3}}`))
	f.Add(500, []byte(`{"error":"no","message":3}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 200 || status > 599 {
			return
		}
		c, err := New(Account{"ann", key}, "", inProcess{http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			w.Write(append(body, key...))
		})})
		if err != nil {
			t.Fatal(err)
		}
		_, one := c.Session(t.Context(), "abc")
		_, two := c.Plan(t.Context())
		for _, err := range []error{one, two} {
			if err != nil && strings.Contains(err.Error(), key) {
				t.Error(err)
			}
		}
	})
}

// FuzzUploadRecord: a record that a crash or a person left never breaks the
// agent, and gives no address that is none.
func FuzzUploadRecord(f *testing.F) {
	f.Add([]byte(`{"app_url":"bs://1","user":"ann","expires":"2030-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		u := &Uploads{dir: t.TempDir()}
		sum := qgjob.Sum(strings.Repeat("a", 64))
		if err := os.WriteFile(u.path(sum), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, ok := u.read(sum); ok && r.URL == "" {
			t.Errorf("%+v", r)
		}
	})
}
