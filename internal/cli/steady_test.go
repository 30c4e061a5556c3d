package cli

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
)

// newForwarder is a proxy that passes requests on under a name of its own.
func newForwarder(t *testing.T, base string) string {
	t.Helper()
	to, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = "ci.example"
	}})
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// TestInterruptsWhileSubmitting: with a server that does not answer, the second
// interrupt leaves at once.
func TestInterruptsWhileSubmitting(t *testing.T) {
	for _, args := range [][]string{submitArgs(1), {"retry", "job_1", "--wait"}} {
		f := newFake(t)
		p := newProgram(t, f.URL)
		f.deny = func(_ http.ResponseWriter, r *http.Request) bool {
			io.Copy(io.Discard, r.Body) // until then a server does not see its client leave
			p.signals <- os.Interrupt
			p.err.await(t, "interrupt again to leave at once")
			p.signals <- syscall.SIGTERM
			<-r.Context().Done()
			return true
		}
		code, out, errs := p.run(args...)
		if code != 130 || out != "" || !strings.HasSuffix(errs, "qgjob: interrupted\n") || !strings.Contains(errs, "qgjob runs shows the run") {
			t.Errorf("%v: %d %q %q", args, code, out, errs)
		}
	}
}

// TestInterruptBeforeTheAnswer: the run of a submit that was answered after
// the interrupt is cancelled, not lost.
func TestInterruptBeforeTheAnswer(t *testing.T) {
	f := newFake(t)
	p := newProgram(t, f.URL)
	f.deny = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == "POST" && r.URL.Path == "/v1/runs" {
			p.signals <- os.Interrupt
			p.err.await(t, "interrupted while submitting")
		}
		return false
	}
	code, out, errs := p.run(submitArgs(1)...)
	if code != 130 || !strings.Contains(out, "Job submitted: job_1") || !strings.Contains(errs, "cancelling run_1") || f.requests("POST /v1/runs/run_1/cancel") != 1 {
		t.Errorf("%d %q %q", code, out, errs)
	}
}

// TestRefusedAfterAnInterrupt: the server's no is still said.
func TestRefusedAfterAnInterrupt(t *testing.T) {
	f := newFake(t)
	p := newProgram(t, f.URL)
	f.deny = func(w http.ResponseWriter, _ *http.Request) bool {
		p.signals <- os.Interrupt
		p.err.await(t, "interrupted while submitting")
		problem(w, 403, qgjob.KindDenied, "", "not yours")
		return true
	}
	if code, _, errs := p.run(submitArgs(1)...); code != 4 || !strings.Contains(errs, "not yours") {
		t.Errorf("%d %q", code, errs)
	}
}

// TestAnInterruptedSubmitGivesUp: a CI job that is being cancelled does not
// wait for its server for ever; and what was answered at the last moment
// counts.
func TestAnInterruptedSubmitGivesUp(t *testing.T) {
	for _, test := range []struct {
		name  string
		late  qgjob.SubmitResponse
		err   error
		after time.Duration
	}{
		{"no answer", qgjob.SubmitResponse{}, errInterrupted, answerWithin},
		{"an answer all the same", qgjob.SubmitResponse{RunID: 7}, nil, answerWithin},
	} {
		synctest.Test(t, func(t *testing.T) {
			stops := &interrupts{cancel: func(error) {}}
			a := &app{printer: newPrinter(newWatched(), newWatched(), nil), stops: stops}
			begin := time.Now()
			submit := a.steadily(func(ctx context.Context) (qgjob.SubmitResponse, error) {
				stops.hand(os.Interrupt)
				<-ctx.Done()
				return test.late, test.err
			})
			got, err := submit(t.Context())
			if got.RunID != test.late.RunID || !errors.Is(err, test.err) || time.Since(begin) != test.after {
				t.Errorf("%s: %+v %v after %v", test.name, got, err, time.Since(begin))
			}
			if left := len(stops.take()); (left == 1) != (err == nil) {
				t.Errorf("%s: %d interrupts are left for the wait", test.name, left)
			}
		})
	}
}
