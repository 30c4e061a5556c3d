package server

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
)

func TestBodyLimits(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.register("a1")
	blanks := func(n int) string { return strings.Repeat(" ", n) }
	for _, test := range []struct {
		method, path, body string
		limit              int
	}{
		{"POST", "/v1/agents/a1/renew", `{"incarnation":1,"leases":[]}`, smallBody},
		{"POST", "/v1/agents/a1/drain", `{}`, smallBody},
		{"PUT", "/v1/orgs/acme", `{}`, smallBody},
		{"POST", "/v1/runs", `{"org_id":"acme","jobs":[{"app_version_id":"v1","test_path":"a.js","target":"emulator"}]}`, submitBody},
	} {
		exact := test.body + blanks(test.limit-len(test.body))
		if p := r.ask(test.method, test.path, exact); p.Status >= 300 {
			t.Errorf("%s with exactly %d bytes: %s", test.path, test.limit, p)
		}
		for _, announced := range []bool{true, false} {
			var body any = exact + " "
			p := r.askBody(test.method, test.path, body.(string), announced)
			if p.Status != 413 || !strings.Contains(string(p.Body), `"code":"too_large"`) || !strings.Contains(string(p.Body), fmt.Sprint(test.limit)) {
				t.Errorf("%s with a byte too many (announced: %v): %s", test.path, announced, p)
			}
		}
	}
	if got := r.routeLimit("POST", "/v1/leases/{lease_id}/complete"); got != completeBody {
		t.Errorf("complete takes %d bytes; want %d", got, completeBody)
	}
}

// askBody sends a body with or without its length up front.
func (r *rig) askBody(method, path, body string, announced bool) reply {
	r.t.Helper()
	var from io.Reader = strings.NewReader(body)
	if !announced {
		from = io.MultiReader(from)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://memory"+path, from)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, raw}
}

func (r *rig) routeLimit(method, pattern string) int64 {
	for _, route := range r.routes() {
		if route.Method == method && route.Pattern == pattern {
			return route.Limit
		}
	}
	return -1
}

// A client that dribbles its body is cut off, on a route that takes large
// bodies as soon as on any other; one that dribbles its headers, too.
func TestSlowBodyIsCut(t *testing.T) {
	for _, path := range []string{"/v1/agents/a1/renew", "/v1/runs"} {
		t.Run(path, func(t *testing.T) { slowBodyIsCut(t, path) })
	}
}

func slowBodyIsCut(t *testing.T, path string) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		conn, err := r.client.Transport.(*http.Transport).DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		var dribbling sync.WaitGroup
		defer dribbling.Wait()
		defer conn.Close()
		began := time.Now()
		if _, err := io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		dribbling.Go(func() { dribble(conn, " ") })
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		if took != bodyGrace {
			t.Errorf("cut off after %s; want %s", took, bodyGrace)
		}
		if !strings.HasPrefix(string(answer), "HTTP/1.1 503") || !strings.Contains(string(answer), "too slowly") {
			t.Errorf("answer %q", answer)
		}
	})
}

func TestSlowHeadersAreCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		conn, err := r.client.Transport.(*http.Transport).DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		var dribbling sync.WaitGroup
		defer dribbling.Wait()
		defer conn.Close()
		began := time.Now()
		dribbling.Go(func() { dribble(conn, "G") })
		if _, err := io.ReadAll(conn); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != headerTimeout {
			t.Errorf("cut off after %s; want %s", took, headerTimeout)
		}
	})
}

// dribble writes a byte a second until the other side has had enough.
func dribble(conn net.Conn, text string) {
	for {
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

func TestHugeHeaders(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.ask("GET", "/v1/agents", nil, "X-Big", strings.Repeat("x", 2*maxHeaderBytes))
	if p.Status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d; want 431", p.Status)
	}
	must[list[qgjob.Agent]](r, 200, "GET", "/v1/agents", nil)
}
