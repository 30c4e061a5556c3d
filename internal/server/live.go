package server

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/qualgent/qgjob"
)

// logPage is how many bytes of a log are read and sent at a time.
const logPage = 64 << 10

// logAt is a place in a job's log: an attempt, and an offset in bytes.
type logAt struct {
	attempt int
	offset  int64
}

// String writes the place as the id of a server-sent event.
func (at logAt) String() string {
	return strconv.Itoa(at.attempt) + ":" + strconv.FormatInt(at.offset, 10)
}

func parseLogAt(text string) (logAt, error) {
	number, offset, ok := strings.Cut(text, ":")
	n, err1 := strconv.ParseInt(number, 10, 31)
	off, err2 := strconv.ParseInt(offset, 10, 64)
	if !ok || err1 != nil || err2 != nil || n < 1 || off < 0 {
		return logAt{}, qgjob.Invalid("header.Last-Event-ID", "Last-Event-ID must be an attempt and an offset in bytes, such as 1:4096")
	}
	return logAt{int(n), off}, nil
}

// The data of the events of a live log.
type (
	logChunk struct {
		Attempt int    `json:"attempt"`
		Offset  int64  `json:"offset"` // of the text's first byte
		Text    string `json:"text"`
	}
	logAttempt struct {
		Attempt int           `json:"attempt"`
		AgentID qgjob.AgentID `json:"agent_id"`
	}
	logEnd struct {
		Attempt int            `json:"attempt"`
		Status  qgjob.JobState `json:"status"`
	}
)

// liveLog is one client that follows a job's log through its attempts.
type liveLog struct {
	s     *Server
	job   qgjob.Job
	at    logAt // attempt 0: none has begun yet
	begun bool  // the client knows of the attempt
	lease qgjob.LeaseID
	rings <-chan struct{} // of the attempt's log
	quit  func()
	runs  <-chan struct{} // of the job's run
	out   *sse
	*pulse
}

// logEvents streams a job's log: event attempt when one begins, event log for
// text, event end when the job has ended.
func (s *Server) logEvents(w http.ResponseWriter, r *http.Request) {
	live := &liveLog{s: s, quit: func() {}}
	if err := live.begin(r); err != nil {
		s.writeProblem(w, r, err)
		return
	}
	runs, cancel := s.Hub.SubscribeRun(live.job.RunID)
	defer cancel()
	live.runs, live.pulse = runs, s.newPulse()
	defer live.stop()
	defer func() { live.quit() }()
	var err error
	if live.out, err = openSSE(w); err != nil {
		return
	}
	for {
		more, err := live.step(r.Context())
		if err != nil || !more {
			return
		}
	}
}

// begin finds the job and the place to begin at.
func (l *liveLog) begin(r *http.Request) error {
	id, err := qgjob.ParseJobID(r.PathValue("job_id"))
	if err != nil {
		return err
	}
	number, err := queryNumber(r, "attempt", 31)
	if err != nil {
		return err
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		if l.at, err = parseLogAt(last); err != nil {
			return err
		}
		number, l.begun = int64(l.at.attempt), true
	}
	if l.job, err = l.s.Store.Job(r.Context(), id); err != nil {
		return err
	}
	a, err := l.s.Store.Attempt(r.Context(), id, int(number))
	if number == 0 && qgjob.KindOf(err) == qgjob.KindNotFound {
		return nil // it waits: the first attempt is to come
	}
	if err != nil {
		return err
	}
	l.enter(&a)
	return nil
}

// enter goes on to an attempt; the subscription comes before the first read.
func (l *liveLog) enter(a *qgjob.Attempt) {
	l.quit()
	if l.at.attempt != a.Number {
		l.at, l.begun = logAt{attempt: a.Number}, false
	}
	l.lease = a.LeaseID
	l.rings, l.quit = l.s.Hub.SubscribeLog(a.LeaseID)
}

// step sends what is there, or waits for more. more is false at the end.
func (l *liveLog) step(ctx context.Context) (more bool, err error) {
	// Whether job and attempt have ended is read before the log: then what the
	// log holds after that is all.
	if l.job, err = l.s.Store.Job(ctx, l.job.JobID); err != nil {
		return false, err
	}
	ended := true
	if l.at.attempt > 0 {
		a, err := l.s.Store.Attempt(ctx, l.job.JobID, l.at.attempt)
		if err != nil {
			return false, err
		}
		if err := l.announce(&a); err != nil {
			return false, err
		}
		ended = a.EndedAt != nil
		sent, err := l.sendLog(ctx, ended)
		if err != nil || sent {
			return true, err
		}
	}
	if ended {
		next, err := l.s.Store.Attempt(ctx, l.job.JobID, l.at.attempt+1)
		if err == nil {
			l.enter(&next)
			return true, nil
		}
		if qgjob.KindOf(err) != qgjob.KindNotFound {
			return false, err
		}
		if l.job.Status.Terminal() {
			return false, l.tell("end", logEnd{l.at.attempt, l.job.Status})
		}
	}
	return l.wait(ctx, l.out, l.runs, l.rings), nil
}

func (l *liveLog) announce(a *qgjob.Attempt) error {
	if l.begun {
		return nil
	}
	l.begun = true
	return l.tell("attempt", logAttempt{a.Number, a.AgentID})
}

func (l *liveLog) tell(name string, data any) error {
	frame, err := appendEvent(nil, l.at.String(), name, data)
	if err != nil {
		return err
	}
	return l.out.send(frame)
}

// sendLog sends the next piece of the attempt's log, never half of a
// character unless the attempt has ended with one.
func (l *liveLog) sendLog(ctx context.Context, ended bool) (sent bool, err error) {
	data, err := l.s.Store.Log(ctx, l.lease, l.at.offset, logPage)
	if err != nil || len(data) == 0 {
		return false, err
	}
	data = data[:min(len(data), 4*logPage)]
	if n := wholeRunes(data); n > 0 || !ended {
		data = data[:n]
	}
	if len(data) == 0 {
		return false, nil
	}
	chunk := logChunk{l.at.attempt, l.at.offset, cleanText(data)}
	l.at.offset += int64(len(data))
	return true, l.tell("log", chunk)
}

// wholeRunes is the length of b without a character that its end has cut.
func wholeRunes(b []byte) int {
	for back := 1; back <= min(utf8.UTFMax-1, len(b)); back++ {
		c := b[len(b)-back]
		if utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(b[len(b)-back:]) {
				return len(b) - back
			}
			break
		}
	}
	return len(b)
}

// validPrefix is the length of the UTF-8 text at the beginning of b.
func validPrefix(b []byte) int {
	n := 0
	for n < len(b) {
		c, size := utf8.DecodeRune(b[n:])
		if c == utf8.RuneError && size == 1 {
			break
		}
		n += size
	}
	return n
}
