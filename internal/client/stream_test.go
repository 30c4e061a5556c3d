package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// eventLog serves a run's events like the server does, and cuts the connection
// after every few of them.
func eventLog(events []qgjob.Event, each int, asked *[]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.Header.Get("Last-Event-ID"))
		after, _ := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64)
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, ": connected\n\n")
		n := 0
		for _, e := range events {
			if e.Seq <= after {
				continue
			}
			text, _ := json.Marshal(e)
			fmt.Fprintf(w, "id: %d\nevent: %s\ndata: %s\n\n", e.Seq, e.Kind, text)
			w.(http.Flusher).Flush()
			if n++; each > 0 && n == each {
				io.WriteString(w, "id: 99\nevent: job.finished\ndata: {\"seq\":") // cut in the middle
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
		}
	}
}

func someEvents(n int) []qgjob.Event {
	job := qgjob.JobID(1)
	out := []qgjob.Event{}
	for i := range n - 1 {
		out = append(out, qgjob.Event{Seq: int64(i*3 + 5), Kind: qgjob.EventJobFinished, RunID: 1, JobID: &job})
	}
	return append(out, qgjob.Event{Seq: 99, Kind: qgjob.EventRunFinished, RunID: 1, Final: qgjob.ConclusionPassed})
}

func TestRunEventsResumeAfterEveryCut(t *testing.T) {
	events := someEvents(10)
	for _, each := range []int{0, 1, 3} {
		var asked []string
		c := serve(t, quick, eventLog(events, each, &asked))
		var got []int64
		for e, err := range c.RunEvents(t.Context(), 1, 5) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Seq)
		}
		want := []int64{}
		for _, e := range events[1:] {
			want = append(want, e.Seq)
		}
		if !slices.Equal(got, want) {
			t.Errorf("cut after %d: events %v, want %v", each, got, want)
		}
		if asked[0] != "5" || (each == 3 && !slices.Equal(asked, []string{"5", "14", "23"})) {
			t.Errorf("cut after %d: asked behind %q", each, asked)
		}
	}
}

func TestRunEventsComeOnce(t *testing.T) {
	events := someEvents(3)
	c := serve(t, quick, func(w http.ResponseWriter, r *http.Request) {
		var asked []string
		r.Header.Del("Last-Event-ID") // a server that always begins again
		eventLog(append(slices.Clone(events[:2]), events...), 0, &asked)(w, r)
	})
	n := 0
	for _, err := range c.RunEvents(t.Context(), 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d events, want each of 3 once", n)
	}
}

func TestRunEventsStopWhenTheLoopDoes(t *testing.T) {
	var asked []string
	c := serve(t, quick, eventLog(someEvents(10), 0, &asked))
	for range c.RunEvents(t.Context(), 1, 0) {
		break
	}
	if len(asked) != 1 {
		t.Errorf("%d connections after a break", len(asked))
	}
}

func TestRunEventsErrors(t *testing.T) {
	for _, test := range []struct {
		name string
		h    http.HandlerFunc
		want qgjob.Kind
	}{
		{"unknown run", func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 404, map[string]string{"detail": "run_1 is not known", "kind": "not_found"})
		}, qgjob.KindNotFound},
		{"a page", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<h1>hello</h1>")
		}, qgjob.KindUnavailable},
		{"no JSON", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: {\n\n")
		}, qgjob.KindInternal},
		{"ends early, no retry", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
		}, qgjob.KindUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := serve(t, NoRetry, test.h)
			var errs []error
			for _, err := range c.RunEvents(t.Context(), 1, 0) {
				errs = append(errs, err)
			}
			if len(errs) != 1 || qgjob.KindOf(errs[0]) != test.want {
				t.Errorf("%v, want one error of kind %s", errs, test.want)
			}
		})
	}
}

func TestRunEventsTellOfALostServer(t *testing.T) {
	var n atomic.Int32
	events := someEvents(2)
	var asked []string
	c := serve(t, NoRetry, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) < 4 {
			reply(w, 503, map[string]string{"detail": "restarting"})
			return
		}
		eventLog(events, 0, &asked)(w, r)
	})
	var heard []string
	policy := quick
	policy.Notify = func(err error) { heard = append(heard, fmt.Sprint(err)) }
	for _, err := range c.With(policy).RunEvents(t.Context(), 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(heard, []string{"restarting", "restarting", "restarting", "<nil>"}) {
		t.Errorf("heard %q", heard)
	}
}

// TestFollowLog resumes a log whose chunks come again, overlap, and go over
// two attempts.
func TestFollowLog(t *testing.T) {
	var n atomic.Int32
	send := func(w io.Writer, id, event, data string) {
		fmt.Fprintf(w, "id: %s\nevent: %s\ndata: %s\n\n", id, event, data)
	}
	var asked []string
	c := serve(t, quick, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Last-Event-ID"))
		w.Header().Set("Content-Type", "text/event-stream")
		switch n.Add(1) {
		case 1:
			send(w, "1:0", "attempt", `{"attempt":1}`)
			send(w, "1:6", "log", `{"attempt":1,"offset":0,"text":"hello "}`)
		case 2:
			send(w, "1:8", "log", `{"attempt":1,"offset":3,"text":"lo wo"}`)
			send(w, "1:8", "log", `{"attempt":1,"offset":0,"text":"hello"}`)
			send(w, "2:0", "attempt", `{"attempt":2}`)
			send(w, "2:3", "weather", `{"attempt":2}`)
			send(w, "2:3", "log", `{"attempt":2,"offset":0,"text":"rld"}`)
		default:
			send(w, "2:3", "end", `{}`)
		}
	})
	text, kinds := "", []string{}
	for chunk, err := range c.FollowLog(t.Context(), 7, 0) {
		if err != nil {
			t.Fatal(err)
		}
		text += chunk.Text
		kinds = append(kinds, fmt.Sprint(chunk.Kind, chunk.Attempt))
	}
	if text != "hello world" || !slices.Equal(kinds, []string{"attempt1", "log1", "log1", "attempt2", "log2", "end0"}) {
		t.Errorf("%q in %q", text, kinds)
	}
	if !slices.Equal(asked, []string{"", "1:6", "2:3"}) {
		t.Errorf("asked behind %q", asked)
	}
}

func TestLogResumes(t *testing.T) {
	whole := strings.Repeat("0123456789", 30_000)
	var offsets []string
	c := serve(t, quick, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		offsets = append(offsets, q.Get("attempt")+":"+q.Get("offset"))
		from, _ := strconv.Atoi(q.Get("offset"))
		w.Header().Set("X-Attempt", "2")
		w.Header().Set("Content-Length", strconv.Itoa(len(whole)-from))
		io.WriteString(w, whole[from:min(len(whole), from+120_000)])
		if from+120_000 < len(whole) {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	var out bytes.Buffer
	attempt, end, err := c.Log(t.Context(), 7, 0, 0, &out)
	if err != nil || attempt != 2 || end != int64(len(whole)) || out.String() != whole {
		t.Errorf("attempt %d, end %d, %d bytes, %v", attempt, end, out.Len(), err)
	}
	if len(offsets) < 3 || offsets[0] != ":0" || !strings.HasPrefix(offsets[1], "2:") {
		t.Errorf("asked for %q, want the attempt to be kept", offsets)
	}
}

func TestLogWriterFails(t *testing.T) {
	var n atomic.Int32
	c := serve(t, quick, func(w http.ResponseWriter, _ *http.Request) {
		n.Add(1)
		io.WriteString(w, "text")
	})
	if _, _, err := c.Log(t.Context(), 7, 0, 0, full{}); err == nil || n.Load() != 1 {
		t.Errorf("%v after %d requests", err, n.Load())
	}
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// TestAnOpenStreamIsAnAnswer: a stream that is open again but has nothing to
// say yet is no lost server; whoever waits must not be told so until the next
// heartbeat.
func TestAnOpenStreamIsAnAnswer(t *testing.T) {
	heard := make(chan error, 8)
	times := 0
	c := serve(t, Retry{Budget: time.Hour, Base: time.Millisecond, Max: time.Millisecond, Notify: func(err error) { heard <- err }},
		func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			if times++; times > 1 {
				<-r.Context().Done() // open, and silent
			}
		})
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		var last error
		for _, err := range c.RunEvents(ctx, 1, 0) {
			last = err
		}
		ended <- last
	}()
	if err := <-heard; err == nil {
		t.Error("the broken stream was not noticed")
	}
	select {
	case err := <-heard:
		if err != nil {
			t.Errorf("the stream is open, but: %v", err)
		}
	case err := <-ended:
		t.Errorf("ended: %v", err)
	case <-time.After(10 * time.Second): //budget:allow a stream over a real connection is waited for
		t.Error("nobody was told that the stream is open again")
	}
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}
