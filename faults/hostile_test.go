//go:build unix

package faults_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// TestHostileClientsSlow besieges a server from many sides at once: it must
// go on answering others, refuse each attacker in HTTP's own words, close what
// only holds it up, and stay small.
func TestHostileClientsSlow(t *testing.T) {
	slow(t)
	t.Parallel() // it mostly waits to be cut off
	r := newReport(t, "hostile clients")
	f := newFarm(t, shape{servers: 1, ttl: 30 * time.Second}, r)
	at := strings.TrimPrefix(f.servers[0].base, "http://")
	before := f.servers[0].memory()
	over, stop := context.WithCancel(t.Context())
	var probing, attacks sync.WaitGroup
	var peak atomic.Int64
	probing.Go(func() { probe(over, t, f, r, &peak) })
	idle := occupy(t, at, 2000)
	defer idle()
	r.fault("idle connections held: 2000")
	for name, a := range map[string]func(string) error{
		"300 slow headers (slowloris)":         slowHeaders,
		"40 slow bodies":                       slowBodies,
		"a body of 10 GB announced":            announcesTooMuch,
		"a body that never ends":               neverEnds,
		"JSON a million levels deep":           deepJSON,
		"JSON with 200,000 names":              wideJSON,
		"a header of 1 MiB":                    headerBomb("X-Bomb: " + strings.Repeat("x", 1<<20) + "\r\n"),
		"30,000 headers":                       headerBomb(strings.Repeat("X-Bomb: x\r\n", 30_000)),
		"a request line of 1 MiB":              longLine,
		"bytes that are no HTTP":               noHTTP,
		"two lengths of one body":              twoLengths,
		"a compressed body":                    compressed,
		"events followed and never read":       neverReads,
		"a path that climbs":                   climbs,
		"200 requests for work in a long poll": manyPolls,
	} {
		attacks.Go(func() {
			r.fault(name)
			if err := a(at); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	attacks.Wait()
	stop()
	probing.Wait()
	if before > 0 {
		t.Logf("memory of the server: %d MiB before, at most %d MiB under siege", before>>20, peak.Load()>>20)
		if peak.Load() > before+512<<20 {
			t.Errorf("the server grew from %d to %d MiB", before>>20, peak.Load()>>20)
		}
	}
	if _, err := f.client(patient).Submit(t.Context(), qgjob.SubmitRequest{OrgID: "acme", Jobs: []qgjob.JobSpec{{AppVersionID: "v1", Target: "emulator", TestPath: "a.js"}}}, "after"); err != nil {
		t.Errorf("after the siege: %v", err)
	}
}

// probe is an honest client in the midst of it.
func probe(over context.Context, t *testing.T, f *farm, r *report, peak *atomic.Int64) {
	c := f.servers[0].ask(patient)
	for over.Err() == nil {
		began := time.Now()
		if _, err := c.Runs(over, "acme", "", 5); err != nil && over.Err() == nil {
			t.Errorf("an honest client: %v", err)
		}
		r.took("answers to an honest client under siege", time.Since(began))
		peak.Store(max(peak.Load(), f.servers[0].memory()))
		wait(30 * time.Millisecond)
	}
}

// memory is the resident memory of the program in bytes, 0 where /proc does
// not tell.
func (s *server) memory() int64 {
	s.mu.Lock()
	pid := s.p.cmd.Process.Pid
	s.mu.Unlock()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64)
	return kib << 10
}

// occupy opens connections and says nothing on them.
func occupy(t *testing.T, at string, n int) (leave func()) {
	t.Helper()
	var list []net.Conn
	for range n {
		c, err := net.DialTimeout("tcp", at, 10*time.Second) //nolint:noctx // loopback
		if err != nil {
			t.Errorf("connection %d: %v", len(list), err)
			break
		}
		list = append(list, c)
	}
	return func() {
		for _, c := range list {
			_ = c.Close()
		}
	}
}

// talk sends text and reads the status of the answer.
func talk(at string, text string, wanted ...int) error {
	c, err := net.DialTimeout("tcp", at, 10*time.Second) //nolint:noctx // loopback
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(90 * time.Second))
	go func() { _, _ = io.WriteString(c, text) }() // the server may hang up in the middle
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	defer res.Body.Close()
	for _, status := range wanted {
		if res.StatusCode == status {
			return nil
		}
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, 300))
	return fmt.Errorf("answered %d, want %v: %s", res.StatusCode, wanted, body)
}

const head = "POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

func post(body string) string {
	return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body)
}

// drips sends a text byte by byte on many connections and wants the server to
// end each of them before a limit.
func drips(at, first string, connections int, limit time.Duration) error {
	errs := make(chan error, connections)
	for range connections {
		go func() {
			c, err := net.DialTimeout("tcp", at, 10*time.Second) //nolint:noctx // loopback
			if err != nil {
				errs <- err
				return
			}
			defer c.Close()
			began := time.Now()
			_, _ = io.WriteString(c, first)
			ended := make(chan struct{})
			go func() { defer close(ended); _, _ = io.Copy(io.Discard, c) }()
			for {
				select {
				case <-ended:
					errs <- nil
					return
				default:
				}
				if _, err := io.WriteString(c, "x"); err != nil {
					errs <- nil
					return
				}
				if time.Since(began) > limit {
					errs <- fmt.Errorf("still served after %v", limit)
					return
				}
				wait(500 * time.Millisecond)
			}
		}()
	}
	var all error
	for range connections {
		all = errors.Join(all, <-errs)
	}
	return all
}

func slowHeaders(at string) error {
	return drips(at, "GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", 300, 40*time.Second)
}

func slowBodies(at string) error {
	return drips(at, head+"Content-Length: 100000\r\n\r\n{", 40, time.Minute)
}

func announcesTooMuch(at string) error {
	return talk(at, head+"Content-Length: 10737418240\r\n\r\n{", http.StatusRequestEntityTooLarge)
}

func neverEnds(at string) error {
	chunk := "10000\r\n" + strings.Repeat(" ", 1<<16) + "\r\n"
	return talk(at, head+"Transfer-Encoding: chunked\r\n\r\n"+strings.Repeat(chunk, 1500), http.StatusRequestEntityTooLarge)
}

func deepJSON(at string) error {
	return errors.Join(talk(at, post(strings.Repeat("[", 1_000_000)), http.StatusBadRequest),
		talk(at, post(strings.Repeat(`{"a":`, 100_000)), http.StatusBadRequest))
}

func wideJSON(at string) error {
	var b strings.Builder
	for n := range 200_000 {
		fmt.Fprintf(&b, `"k%d":1,`, n)
	}
	return talk(at, post("{"+b.String()+`"z":1}`), http.StatusBadRequest, http.StatusUnprocessableEntity)
}

func headerBomb(headers string) func(string) error {
	return func(at string) error {
		return talk(at, "GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n"+headers+"\r\n", http.StatusRequestHeaderFieldsTooLarge)
	}
}

func longLine(at string) error {
	return talk(at, "GET /v1/jobs?org_id="+strings.Repeat("x", 1<<20)+" HTTP/1.1\r\nHost: localhost\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge, http.StatusRequestURITooLong)
}

func noHTTP(at string) error {
	return talk(at, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", http.StatusBadRequest)
}

func twoLengths(at string) error {
	return talk(at, head+"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", http.StatusBadRequest)
}

func compressed(at string) error {
	return talk(at, head+"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", http.StatusBadRequest, http.StatusUnsupportedMediaType)
}

func climbs(at string) error {
	return talk(at, "GET /v1/blobs/..%2f..%2fqgjob.db HTTP/1.1\r\nHost: localhost\r\n\r\n", http.StatusBadRequest, http.StatusNotFound, http.StatusUnprocessableEntity)
}

// neverReads asks for much and takes nothing of it.
func neverReads(at string) error {
	var list []net.Conn
	defer func() {
		for _, c := range list {
			_ = c.Close()
		}
	}()
	for range 100 {
		c, err := net.DialTimeout("tcp", at, 10*time.Second) //nolint:noctx // loopback
		if err != nil {
			return err
		}
		list = append(list, c)
		for range 20 {
			if _, err := io.WriteString(c, "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
				break
			}
		}
	}
	wait(5 * time.Second)
	return nil
}

// manyPolls asks for work as agents that do not exist, which must be told so
// at once and must not wait.
func manyPolls(at string) error {
	for n := range 200 {
		body := `{"incarnation":1,"claim_id":"claim-0001","wait_ms":60000}`
		text := fmt.Sprintf("POST /v1/agents/ghost-%d/claim HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", n, len(body), body)
		if err := talk(at, text, http.StatusConflict, http.StatusNotFound); err != nil {
			return err
		}
	}
	return nil
}
