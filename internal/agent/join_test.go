//go:build unix

package agent

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
)

// joining is the server's side of joining: it exchanges join tokens and takes
// no agent without a token that it gave.
type joining struct {
	mu     sync.Mutex
	asked  []qgjob.JoinRequest
	used   map[string]qgjob.Sum // join token to what it was exchanged for
	valid  map[qgjob.Sum]bool
	bore   []string // the tokens that agents registered with
	answer func(n int, w http.ResponseWriter) bool
}

func (j *joining) hook(w http.ResponseWriter, r *http.Request) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if r.URL.Path != "/v1/tokens/join" {
		if strings.HasSuffix(r.URL.Path, "/register") {
			j.bore = append(j.bore, token)
		}
		if j.valid[qgjob.TokenSum(token)] {
			return false
		}
		refuse(w, 401, qgjob.CodeTokenRevoked, "the token tok_1 was revoked at noon")
		return true
	}
	var req qgjob.JoinRequest
	_ = json.NewDecoder(r.Body).Decode(&req)
	j.asked = append(j.asked, req)
	if was, ok := j.used[token]; ok && was != req.SHA256 {
		refuse(w, 401, qgjob.CodeTokenRevoked, "this join token was used already")
		return true
	}
	j.used[token] = req.SHA256
	j.valid[req.SHA256] = true
	if j.answer != nil && j.answer(len(j.asked), w) {
		return true
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(qgjob.Token{TokenID: "tok_given", Kind: qgjob.TokenAgent, AgentID: req.Bound(), ExpiresAt: time.Now().Add(time.Hour)})
	return true
}

func refuse(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"kind": "denied", "code": code, "detail": detail, "hint": "the server's hint"})
}

// drop cuts the connection off instead of an answer.
func drop(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w.(*statusWriter).ResponseWriter).Hijack()
	if err == nil {
		_ = c.Close()
	}
}

// newJoiner is an agent that was given a join token, not started yet.
func newJoiner(t *testing.T) (*rig, *joining, string) {
	t.Helper()
	r := newRig(t)
	j := &joining{used: map[string]qgjob.Sum{}, valid: map[qgjob.Sum]bool{}}
	r.fakeServer.hook = j.hook
	r.quick = true
	bare, err := client.New(r.http.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.config.Server, r.config.JoinToken = bare, qgjob.NewToken(qgjob.TokenJoin)
	t.Cleanup(func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		for _, secret := range append(j.bore, r.config.JoinToken) {
			if secret != "" && strings.Contains(r.logged.String(), secret) {
				t.Error("the log holds a token")
			}
		}
	})
	return r, j, ringPath(r.config.StateDir, "a1")
}

// serves starts the agent, waits until it is registered, and ends it.
func (r *rig) serves(t *testing.T) {
	t.Helper()
	r.drain = make(chan struct{})
	r.config.Drain = r.drain
	const registered = "POST /v1/agents/a1/register 200"
	before := r.count(registered)
	r.begin(t)
	r.until(t, "registered", func() bool { return r.countLocked(registered) > before })
	close(r.drain)
	if err := r.end(t); err != nil {
		t.Error(err)
	}
}

func TestJoinIsOnceForGood(t *testing.T) {
	r, j, path := newJoiner(t)
	r.serves(t)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	text, _ := os.ReadFile(path)
	if strings.Contains(string(text), r.config.JoinToken) {
		t.Error("the join token is kept")
	}
	r.serves(t) // given the same again, as by a unit file
	r.config.JoinToken = ""
	r.serves(t) // given nothing
	if len(j.asked) != 1 || j.asked[0].AgentID != "a1" || j.asked[0].Devices {
		t.Errorf("asked %+v", j.asked)
	}
	if len(j.bore) != 3 || len(slices.Compact(slices.Clone(j.bore))) != 1 {
		t.Errorf("registered with %d tokens", len(j.bore))
	}
	if kind, ok := qgjob.TokenKindOf(j.bore[0]); !ok || kind != qgjob.TokenAgent {
		t.Errorf("a token of kind %q", kind)
	}
}

// TestJoinAsksAgainForALostAnswer: by the same process, and by the next one.
func TestJoinAsksAgainForALostAnswer(t *testing.T) {
	r, j, path := newJoiner(t)
	lost := make(chan struct{}, 100)
	j.answer = func(n int, w http.ResponseWriter) bool {
		if n <= 3 {
			drop(w)
			lost <- struct{}{}
		}
		return n <= 3
	}
	r.begin(t)
	<-lost
	close(r.cancel) // the process goes away before the answer comes
	if err := r.end(t); err != nil {
		t.Errorf("it was told to leave: %v", err)
	}
	r.cancel = make(chan struct{})
	r.config.Cancel = r.cancel
	join := r.config.JoinToken
	r.config.JoinToken = ""
	if err := Run(t.Context(), r.config); qgjob.KindOf(err) != qgjob.KindDenied || !strings.Contains(err.Error(), "never came") {
		t.Errorf("without the join token: %v", err)
	}
	r.config.JoinToken = join
	r.serves(t)
	for _, req := range j.asked {
		if req != j.asked[0] {
			t.Errorf("asked for another token: %+v", j.asked)
		}
	}
	if got, err := readRing(path); err != nil || len(got.Keys) != 1 || got.Keys[0].Next != "" || qgjob.TokenSum(got.Keys[0].Token) != j.asked[0].SHA256 {
		t.Errorf("kept %+v, %v", got, err)
	}
}

func TestJoinRefused(t *testing.T) {
	r, j, _ := newJoiner(t)
	j.used[r.config.JoinToken] = "somebody else's"
	err := Run(t.Context(), r.config)
	if qgjob.KindOf(err) != qgjob.KindDenied || qgjob.CodeOf(err) != qgjob.CodeTokenRevoked || !strings.Contains(err.Error(), "used already") ||
		!strings.Contains(err.Error(), "--kind=agent-join --agent=a1") {
		t.Errorf("a used one: %v", err)
	}
	r.config.JoinToken = qgjob.NewToken(qgjob.TokenJoin)
	r.serves(t)
	// A host that has joined is not stopped by a join token that is no good.
	r.config.JoinToken = qgjob.NewToken(qgjob.TokenJoin)
	j.used[r.config.JoinToken] = "somebody else's"
	r.serves(t)
	if !strings.Contains(r.logged.String(), "going on with the token of an earlier one") {
		t.Error("nobody is told")
	}
	// Nor does the next good one get lost.
	r.config.JoinToken = qgjob.NewToken(qgjob.TokenJoin)
	r.serves(t)
	if len(j.bore) != 3 || j.bore[0] != j.bore[1] || j.bore[1] == j.bore[2] {
		t.Error("the third start did not take the new token")
	}
	clear(j.valid)
	r.config.Drain = nil
	if err := Run(t.Context(), r.config); qgjob.CodeOf(err) != qgjob.CodeTokenRevoked || !strings.Contains(err.Error(), "make another join token") {
		t.Errorf("its own was revoked: %v", err)
	}
}

// TestJoinIsSharedByProcesses: several of one name, such as one a device, get
// one token with one join token.
func TestJoinIsSharedByProcesses(t *testing.T) {
	r, j, _ := newJoiner(t)
	r.config.Device, r.config.Serials = DeviceADB, []string{"s1"}
	tokens := make([]*host, 6)
	var asking sync.WaitGroup
	for i := range tokens {
		h, err := newHost(r.config)
		if err != nil {
			t.Fatal(err)
		}
		tokens[i] = h
		asking.Go(func() {
			if err := h.join(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	if len(j.asked) != 1 || !j.asked[0].Devices {
		t.Errorf("asked %+v", j.asked)
	}
	for _, h := range tokens {
		if !h.own || !h.Server.Bears() {
			t.Error("one has no token")
		}
	}
}

// TestJoinedElsewhere: what one farm gave goes to no other, and an address that
// a repository names gets nothing that it did not get before.
func TestJoinedElsewhere(t *testing.T) {
	a, b, c := "https://a", "https://b", "https://c"
	r := &ring{Keys: []*key{{Servers: []string{a, b}, Token: "ab"}, {Servers: []string{c}, Token: "c"}}}
	for _, test := range []struct {
		servers []string
		given   bool
		want    string
	}{
		{[]string{a}, true, "ab"}, {[]string{b, a}, false, "ab"}, {[]string{c}, true, "c"}, {[]string{"https://d"}, true, ""},
		{[]string{a, "https://d"}, true, "ab"}, {[]string{a, "https://d"}, false, ""}, {[]string{a, c}, false, ""},
	} {
		got := ""
		if k := r.of(test.servers, test.given); k != nil {
			got = k.Token
		}
		if got != test.want {
			t.Errorf("%v given %t: %q, want %q", test.servers, test.given, got, test.want)
		}
	}
	k, changed := r.widen([]string{b, c, "https://d"})
	if !changed || k.Token != "ab" || len(r.Keys) != 1 || !slices.Equal(k.Servers, []string{a, b, c, "https://d"}) {
		t.Errorf("%t %+v of %d", changed, k, len(r.Keys))
	}
}

// TestJoinKeepsWhatItWasGiven: a token of another kind is used as it is.
func TestJoinKeepsWhatItWasGiven(t *testing.T) {
	r, j, path := newJoiner(t)
	given := qgjob.NewToken(qgjob.TokenAgent)
	j.valid[qgjob.TokenSum(given)] = true
	r.config.JoinToken = ""
	r.config.Server = r.config.Server.WithToken(given)
	r.serves(t)
	if len(j.asked) != 0 || j.bore[0] != given || !absent(path) {
		t.Errorf("asked %+v", j.asked)
	}
}

func TestDamagedRing(t *testing.T) {
	r, _, path := newJoiner(t)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{", `{"keys":[null]}`, `{"keys":"qgj_a_secret"}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		err := Run(ctx, r.config)
		stop()
		if qgjob.KindOf(err) != qgjob.KindInvalid || !strings.Contains(err.Error(), "is damaged") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
