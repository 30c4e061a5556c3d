package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/qualgent/qgjob"
)

// sick is a PostgreSQL that refuses every session with one error.
type sick struct {
	url  string
	code atomic.Pointer[string]
}

const passwordOfSick = "pa55-of-the-test"

func newSick(t *testing.T, code string) *sick {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &sick{url: "postgres://qgjob:" + passwordOfSick + "@" + l.Addr().String() + "/q?sslmode=disable"}
	s.code.Store(&code)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.refuse(c)
		}
	}()
	return s
}

func (s *sick) refuse(c net.Conn) {
	defer c.Close()
	b := pgproto3.NewBackend(c, c)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return
	}
	b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: *s.code.Load(), Message: "so says the test"})
	_ = b.Flush()
}

// look gives status and body of a GET.
func look(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// TestServerWaitsForItsDatabase: what may pass does not end it. It says what is
// wrong, on its log and to whoever asks, and leaves when it is told to.
func TestServerWaitsForItsDatabase(t *testing.T) {
	for code, says := range map[string]string{
		"57P01": "the database went away",
		"57P03": "the database went away",
		"53300": "the database has no connection left",
		"53100": "the disk of the database is full",
		"25006": "the database is read-only",
		"":      "the database cannot be reached",
	} {
		t.Run(code, func(t *testing.T) {
			url := "postgres://qgjob:" + passwordOfSick + "@127.0.0.1:1/q" // where nobody listens
			if code != "" {
				url = newSick(t, code).url
			}
			h := host(t, nil, "server", "--database="+url)
			h.err.await(t, "not ready, trying again: "+says)
			if status, body := look(t, h.base+"/healthz"); status != 200 || body != `{"status":"ok"}`+"\n" {
				t.Errorf("healthz: %d %s", status, body)
			}
			status, body := look(t, h.base+"/readyz")
			if status != 503 || !strings.Contains(body, "not ready: "+says) || !strings.Contains(body, "the server goes on") || strings.Contains(body, "127.0.0.1") {
				t.Errorf("readyz: %d %s", status, body)
			}
			left, out, errs := newProgram(t, h.base).run("submit", "--org-id=o", "--app-version-id=v", "--test=a.js")
			if left != exitInfra || out != "" || !strings.Contains(errs, says) {
				t.Errorf("submit: %d %q %q", left, out, errs)
			}
			if code == "" {
				h.stop(t, syscall.SIGTERM)
			} else {
				h.stop(t, os.Interrupt)
			}
			log := h.out.String() + h.err.String()
			if strings.Contains(log, passwordOfSick) || strings.Count(log, "Server listening: ") != 1 || strings.Count(log, "not ready") != 1 {
				t.Errorf("said:\n%s", log)
			}
		})
	}
}

// TestServerDoesNotWait for what only a person mends; nor does a command that
// comes and goes.
func TestServerDoesNotWait(t *testing.T) {
	for args, test := range map[string]struct {
		code string
		exit int
		says string
	}{
		"server":                       {"28P01", exitInfra, "refused the login"},
		"server -v":                    {"28000", exitInfra, "refused the login"},
		"server --insecure":            {"3D000", exitInfra, "does not exist"},
		"server --ha":                  {"42501", exitInfra, "may not do that"},
		"server migrate":               {"57P03", exitInfra, "start it again when it answers"},
		"server --oidc-config=none":    {"57P03", exitUsage, "--oidc-config"},
		"server --webhook-allow=none":  {"57P03", exitUsage, "--webhook-allow"},
		"server --listen=0.0.0.0:8000": {"57P03", exitUsage, "--insecure"},
	} {
		p := newProgram(t, "http://127.0.0.1:1")
		argv := append(strings.Fields(args), "--database="+newSick(t, test.code).url)
		if !strings.Contains(args, "migrate") && !strings.Contains(args, "listen") {
			argv = append(argv, "--listen=127.0.0.1:0")
		}
		code, out, errs := p.run(argv...)
		if code != test.exit || out != "" || !strings.Contains(errs, test.says) || strings.Contains(errs, "trying again") || strings.Contains(errs, passwordOfSick) {
			t.Errorf("%s, told %s: %d %q %q", args, test.code, code, out, errs)
		}
	}
	p := newProgram(t, "http://127.0.0.1:1")
	if code, _, errs := p.run("server", "--listen=127.0.0.1:0", "--database=postgres://q:"+passwordOfSick+"@%zz"); code != exitUsage || strings.Contains(errs, passwordOfSick) {
		t.Errorf("an unreadable URL: %d %q", code, errs)
	}
}

// TestServerStopsWaiting when the database is back and does not want it.
func TestServerStopsWaiting(t *testing.T) {
	db := newSick(t, "57P03")
	h := host(t, nil, "server", "--database="+db.url)
	h.err.await(t, "trying again")
	wrong := "28P01"
	db.code.Store(&wrong)
	if code := <-h.code; code != exitInfra || !strings.Contains(h.err.String(), "refused the login") {
		t.Errorf("left with %d\n%s", code, h.err.String())
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(h.base, "http://")); err == nil {
		t.Error("it listens still")
	}
}

// away is what store.Open says of a database that is not there.
func away(message string) error { return qgjob.Unavailable(io.ErrUnexpectedEOF, "%s", message) }

// TestAwaitingSaysWhatIsNews: a cause once, another one at once, and the same
// again only after a long while; the pauses grow up to their limit.
func TestAwaitingSaysWhatIsNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		listens, tries, last := 0, 0, time.Now()
		var longest time.Duration
		w := newAwaiting(slog.New(slog.NewTextHandler(&log, nil)), func() { listens++ })
		err := w.open(t.Context(), nil, func(context.Context) error {
			longest = max(longest, time.Since(last))
			last = time.Now()
			tries++
			switch {
			case tries < 4:
				return away("the database cannot be reached")
			case tries < 100:
				return away("the database is read-only")
			}
			return nil
		})
		waited := time.Since(w.began)
		w.end()
		if err != nil || listens != 1 || longest > awaitMost || waited < awaitMost*96/2-awaitMost*4 {
			t.Errorf("%v, said %d times where it is, paused %v at most, waited %v", err, listens, longest, waited)
		}
		said := strings.Count(log.String(), "trying again: the database is read-only")
		if once := strings.Count(log.String(), "trying again: the database cannot be reached"); once != 1 || said < 2 || said > int(waited/awaitAgain)+1 {
			t.Errorf("in %v said %d times that it is away and %d times that it is read-only", waited, once, said)
		}
		if !strings.Contains(log.String(), "the database is there") {
			t.Errorf("%s", log.String())
		}
	})
}

// TestAwaitingWhatTakesLong: an upgrade is no failure, but nobody is left
// without a word.
func TestAwaitingWhatTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		listens := 0
		w := newAwaiting(slog.New(slog.NewTextHandler(&log, nil)), func() { listens++ })
		quick := func(context.Context) error { return nil }
		if err := w.open(t.Context(), nil, quick); err != nil || listens != 0 || log.Len() > 0 {
			t.Errorf("a database that is there: %v, %q", err, log.String())
		}
		slow := func(ctx context.Context) error {
			over := time.NewTimer(time.Hour)
			defer over.Stop()
			<-over.C
			return ctx.Err()
		}
		if err := w.open(t.Context(), nil, slow); err != nil || listens != 1 || strings.Count(log.String(), "still being opened") != 1 {
			t.Errorf("%v, said %d times where it is: %s", err, listens, log.String())
		}
	})
}

// TestAwaitingRepeatsItselfSeldom: causes that take turns are no news each time.
func TestAwaitingRepeatsItselfSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w := newAwaiting(slog.New(slog.NewTextHandler(&log, nil)), func() {})
		tries := 0
		err := w.open(t.Context(), nil, func(context.Context) error {
			if tries++; tries == 200 {
				return nil
			}
			return away([]string{"the database cannot be reached", "the database is read-only"}[tries%2])
		})
		if lines, most := strings.Count(log.String(), "trying again"), 2*(int(time.Since(w.began)/awaitAgain)+1); err != nil || lines > most {
			t.Errorf("%v, %d lines in %v: %s", err, lines, time.Since(w.began), log.String())
		}
	})
}

// TestAwaitingEnds when it is told to, in the middle of a pause or of a try,
// and when nobody can reach it any more.
func TestAwaitingEnds(t *testing.T) {
	for name, try := range map[string]func(context.Context) error{
		"pause": func(context.Context) error { return away("the database cannot be reached") },
		"try":   func(ctx context.Context) error { <-ctx.Done(); return away("the request ended") },
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newAwaiting(slog.New(slog.DiscardHandler), func() {})
			ctx, stop := context.WithCancel(t.Context())
			time.AfterFunc(time.Hour+time.Second, stop)
			if err := w.open(ctx, nil, try); err == nil || ctx.Err() == nil {
				t.Errorf("%s: %v", name, err)
			}
			if late := time.Since(w.began) - time.Hour - time.Second; late != 0 {
				t.Errorf("%s: it went on for %v", name, late)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan error, 1)
		broken := errors.New("the listener broke")
		failed <- broken
		w := newAwaiting(slog.New(slog.DiscardHandler), func() {})
		if err := w.open(t.Context(), failed, func(context.Context) error { return away("the database cannot be reached") }); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	})
}
