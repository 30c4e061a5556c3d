package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/qualgent/qgjob"
)

const (
	heartbeat     = 15 * time.Second // between comment lines of a silent stream
	backstop      = 2 * time.Second  // a stream looks at the store so often even when nothing rings
	writePatience = 30 * time.Second // a client that takes nothing for so long is gone
	writePiece    = 64 << 10         // bytes written under one deadline
	reconnectMS   = 1000             // what a stream asks its client to wait before it comes back
)

// streamRoutes are the live streams and logs.
func (s *Server) streamRoutes() []route {
	return []route{
		{Method: http.MethodGet, Pattern: "/v1/runs/{run_id}/events", Scope: scopeRead, Owner: ownerRun, Handler: s.runEvents, Stream: true,
			ID: "run-events", Summary: "Follow a run's events live (server-sent events; Last-Event-ID resumes)", Answers: "text/event-stream"},
		{Method: http.MethodGet, Pattern: "/v1/jobs/{job_id}/log", Scope: scopeRead, Owner: ownerJob, Handler: s.jobLog, Stream: true,
			ID: "job-log", Summary: "Read an attempt's log; follow=true stays until the attempt has ended", Answers: "text/plain"},
		{Method: http.MethodGet, Pattern: "/v1/jobs/{job_id}/log/events", Scope: scopeRead, Owner: ownerJob, Handler: s.logEvents, Stream: true,
			ID: "job-log-events", Summary: "Follow a job's log live, through all its attempts (server-sent events)", Answers: "text/event-stream"},
	}
}

// sse writes server-sent events (HTML Living Standard, 9.2) to one client. It
// reads no channel of the hub while it writes, so a slow client holds up only
// itself; one that takes nothing for writePatience is given up.
type sse struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// openSSE sends the headers, so that the client knows at once that it is
// connected, also through a proxy.
func openSSE(w http.ResponseWriter) (*sse, error) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would gather the stream
	h.Set("X-Content-Type-Options", "nosniff")
	out := &sse{w: w, rc: http.NewResponseController(w)}
	w.WriteHeader(http.StatusOK)
	return out, out.send([]byte("retry: " + strconv.Itoa(reconnectMS) + "\n\n"))
}

// event appends one event to buf. data is JSON, which holds no line ends.
func appendEvent(buf []byte, id, name string, data any) ([]byte, error) {
	body, err := json.Marshal(data)
	if err != nil {
		return buf, err
	}
	return fmt.Appendf(buf, "id: %s\nevent: %s\ndata: %s\n\n", id, name, body), nil
}

// send writes in pieces, so that a client on a thin line is given its time.
func (o *sse) send(frames []byte) error {
	for piece := range slices.Chunk(frames, writePiece) {
		if err := o.rc.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
			return err
		}
		if _, err := o.w.Write(piece); err != nil {
			return err
		}
	}
	return o.rc.Flush()
}

func (o *sse) beat() error { return o.send([]byte(": beat\n\n")) }

// pulse is what makes a stream look again: a ring, the backstop, a heartbeat
// that is due. The zero channels of bells that it has not are never ready.
type pulse struct {
	stopping <-chan struct{}
	look     *time.Ticker
	beat     *time.Ticker
}

func (s *Server) newPulse() *pulse {
	return &pulse{stopping: s.stopping, look: time.NewTicker(backstop), beat: time.NewTicker(heartbeat)}
}

func (p *pulse) stop() {
	p.look.Stop()
	p.beat.Stop()
}

// wait returns when there is reason to look at the store, sending heartbeats
// meanwhile. more is false when the stream is over: the client is gone or the
// server stops.
func (p *pulse) wait(ctx context.Context, out *sse, bells ...<-chan struct{}) (more bool) {
	var run, log <-chan struct{}
	switch len(bells) {
	case 2:
		run, log = bells[0], bells[1]
	case 1:
		run = bells[0]
	}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-p.stopping:
			return false
		case <-run:
			return true
		case <-log:
			return true
		case <-p.look.C:
			return true
		case <-p.beat.C:
			if out == nil {
				continue
			}
			if out.beat() != nil {
				return false
			}
		}
	}
}

// runEvents streams a run's events and ends after run.finished. A client that
// comes back with that one's id has had everything: 204 tells an EventSource
// to stay away.
func (s *Server) runEvents(w http.ResponseWriter, r *http.Request) {
	id, err := qgjob.ParseRunID(r.PathValue("run_id"))
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
	after, err := lastEvent(r)
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
	rings, cancel := s.Hub.SubscribeRun(id)
	defer cancel()
	// The run is read first: if it has ended by then, its last event is there.
	run, err := s.Store.Run(r.Context(), id)
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
	first, err := s.Store.Events(r.Context(), id, after, qgjob.MaxPage)
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
	if len(first) == 0 && run.FinishedAt != nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	out, err := openSSE(w)
	if err != nil {
		return
	}
	s.pumpEvents(r.Context(), out, id, after, first, rings)
}

// pumpEvents sends pages of events until the last one, or the client's or the
// server's end. A store that fails ends the stream: the client comes back.
func (s *Server) pumpEvents(ctx context.Context, out *sse, id qgjob.RunID, after int64, page []qgjob.Event, rings <-chan struct{}) {
	p := s.newPulse()
	defer p.stop()
	for {
		var frames []byte
		var err error
		for i := range page {
			if frames, err = appendEvent(frames, strconv.FormatInt(page[i].Seq, 10), string(page[i].Kind), page[i]); err != nil {
				return
			}
			after = page[i].Seq
		}
		if len(frames) > 0 && out.send(frames) != nil {
			return
		}
		if n := len(page); n > 0 && page[n-1].Kind == qgjob.EventRunFinished {
			return
		}
		if len(page) < qgjob.MaxPage && !p.wait(ctx, out, rings) {
			return
		}
		if page, err = s.Store.Events(ctx, id, after, qgjob.MaxPage); err != nil {
			return
		}
	}
}

// lastEvent reads where to resume: the header that browsers send, or the
// query's after, for people.
func lastEvent(r *http.Request) (int64, error) {
	field, text := "header.Last-Event-ID", r.Header.Get("Last-Event-ID")
	if text == "" {
		field, text = "query.after", r.URL.Query().Get("after")
	}
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, qgjob.Invalid(field, bare(field)+" must be the number of an event of this run")
	}
	return n, nil
}

// queryNumber reads a query parameter that is a whole number from 0; missing
// is 0.
func queryNumber(r *http.Request, name string, bits int) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, bits)
	if err != nil || n < 0 {
		return 0, qgjob.Invalid("query."+name, name+" must be a whole number from 0")
	}
	return n, nil
}

// queryFlag reads a query parameter that is true or false; missing is false.
func queryFlag(r *http.Request, name string) (bool, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, qgjob.Invalid("query."+name, name+" must be true or false")
	}
	return on, nil
}

// cleanText makes log bytes fit for JSON: what is not UTF-8 becomes one
// question mark a byte. The text stays as long as the bytes that it stands
// for, so offsets into the log stay true for whoever counts the text.
func cleanText(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		n := validPrefix(b)
		out = append(out, b[:n]...)
		if b = b[n:]; len(b) > 0 {
			out = append(out, '?')
			b = b[1:]
		}
	}
	return string(out)
}
