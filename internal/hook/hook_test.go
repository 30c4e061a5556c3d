package hook

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func secret() string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
}

func TestSendIsSigned(t *testing.T) {
	var header http.Header
	var body []byte
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		body, _ = io.ReadAll(r.Body)
	}))
	defer web.Close()
	message := qgjob.WebhookMessage{Type: qgjob.EventRunFinished, Timestamp: time.Now(), Data: qgjob.Event{Seq: 7, Kind: qgjob.EventRunFinished, RunID: 3, Final: "failed", Message: "<b>&"}}
	if err := NewSender(loopback, "qgjob/test").Send(t.Context(), qgjob.Webhook{URL: web.URL, Secret: secret()}, "msg_7", message); err != nil {
		t.Fatal(err)
	}
	receiver, err := standardwebhooks.NewWebhook(secret())
	if err != nil {
		t.Fatal(err)
	}
	if err := receiver.Verify(body, header); err != nil {
		t.Errorf("a receiver refuses it: %v", err)
	}
	if err := receiver.Verify(append(body, ' '), header); err == nil {
		t.Error("a receiver takes a changed body")
	}
	var got qgjob.WebhookMessage
	if err := json.Unmarshal(body, &got); err != nil || got.Data.Seq != 7 || got.Type != qgjob.EventRunFinished {
		t.Errorf("body %s, %v", body, err)
	}
	if header.Get("webhook-id") != "msg_7" || header.Get("Content-Type") != "application/json" || header.Get("User-Agent") != "qgjob/test" {
		t.Errorf("header %v", header)
	}
}

func TestSendTellsWhyNot(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		case "/broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "/endless":
			for w.Header().Set("Content-Type", "text/plain"); r.Context().Err() == nil; {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}
	}))
	defer web.Close()
	s := NewSender(loopback, "qgjob")
	for _, c := range []struct {
		url, secret, says string
	}{
		{web.URL + "/moved", secret(), "307"},
		{web.URL + "/broken", secret(), "500 Internal Server Error"},
		{web.URL + "/endless", secret(), ""},
		{"http://127.0.0.1:1/?token=hush", secret(), "cannot be reached"},
		{"http://10.1.2.3/?token=hush", secret(), "not a public one"},
		{"http://[::1]:9/?token=hush", secret(), "not a public one"},
		{"http://169.254.169.254/latest?token=hush", secret(), "not a public one"},
		{web.URL, "whsec_%%%", "secret"},
		{"http://bad host/?token=hush", secret(), "url"},
	} {
		err := s.Send(t.Context(), qgjob.Webhook{URL: c.url, Secret: c.secret}, "m", qgjob.WebhookMessage{})
		switch {
		case c.says == "" && err != nil, c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v; want %q", c.url, err, c.says)
		case err != nil && (strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: the error shows too much: %v", c.url, err)
		}
	}
}

func TestSendEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then the server sees that the client is gone
		cancel()
		<-r.Context().Done()
	}))
	defer web.Close()
	if err := NewSender(loopback, "qgjob").Send(ctx, qgjob.Webhook{URL: web.URL, Secret: secret()}, "m", qgjob.WebhookMessage{}); err == nil {
		t.Error("a call that was given up counts as taken")
	}
}

// The addresses of a cloud's metadata service, of the farm's own network and
// of every other spelling of them.
func TestReachable(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8:443": true, "140.82.121.3:443": true, "[2606:4700::1111]:443": true,
		"127.0.0.1:80": false, "127.9.9.9:80": false, "0.0.0.0:80": false, "10.0.0.1:80": false, "172.16.0.1:80": false, "192.168.1.1:80": false,
		"169.254.169.254:80": false, "100.64.0.1:80": false, "224.0.0.1:80": false, "255.255.255.255:80": false, "198.18.0.1:80": false,
		"192.0.0.192:80": false, "240.0.0.1:80": false,
		"[::1]:80": false, "[::]:80": false, "[fe80::1%eth0]:80": false, "[fc00::1]:80": false, "[fd00:ec2::254]:80": false, "[ff02::1]:80": false,
		"[::ffff:127.0.0.1]:80": false, "[::ffff:169.254.169.254]:80": false, "[64:ff9b::a9fe:a9fe]:80": false, "[2002:7f00:1::]:80": false,
		"[fec0::1]:80": false, "no address": false,
	} {
		if err := reachable(address, nil); (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := reachable("[::ffff:127.0.0.1]:80", loopback); err != nil {
		t.Errorf("an allowed network: %v", err)
	}
	if err := reachable("10.0.0.1:80", loopback); err == nil {
		t.Error("allowing one network allows another")
	}
}

func TestPause(t *testing.T) {
	var all time.Duration
	before := time.Duration(0)
	for tries := 1; ; tries++ {
		wait, again := Pause(tries, 0.5)
		if !again {
			if tries != len(pauses)+1 {
				t.Errorf("given up after %d tries", tries)
			}
			break
		}
		least, _ := Pause(tries, 0)
		most, _ := Pause(tries, 1)
		if wait <= before || least >= wait || most <= wait {
			t.Errorf("try %d: %v in %v to %v, after %v", tries, wait, least, most, before)
		}
		before = wait
		all += wait
	}
	if all < 48*time.Hour || all > 72*time.Hour {
		t.Errorf("tries for %v in all", all)
	}
	if _, again := Pause(0, 0); again {
		t.Error("a pause before the first try")
	}
}
