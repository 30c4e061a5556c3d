package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"strconv"
	"time"

	"github.com/qualgent/qgjob"
)

// RunEvents follows a run from the event after the given number (0: from the
// first) to its last, run.finished, after which the iteration ends without an
// error. A lost connection is opened again behind the last event seen, within
// the retry policy's budget; no event comes twice. An error is the last thing
// that comes. Kinds of events that this client does not know are handed on.
func (c *Client) RunEvents(ctx context.Context, id qgjob.RunID, after int64) iter.Seq2[qgjob.Event, error] {
	return func(yield func(qgjob.Event, error) bool) {
		last := ""
		if after > 0 {
			last = strconv.FormatInt(after, 10)
		}
		err := c.follow(ctx, "/v1/runs/"+id.String()+"/events", last, func(f frame) (bool, error) {
			var e qgjob.Event
			if err := json.Unmarshal([]byte(f.data), &e); err != nil {
				return false, c.garbled("event", err)
			}
			if e.Seq <= after {
				return true, nil
			}
			after = e.Seq
			return yield(e, nil) && e.Kind != qgjob.EventRunFinished, nil
		})
		if err != nil {
			yield(qgjob.Event{}, err)
		}
	}
}

// LogKind says what a LogChunk is.
type LogKind string

// The kinds of log chunks.
const (
	LogText    LogKind = "log"     // bytes of the log
	LogAttempt LogKind = "attempt" // a new attempt begins
	LogEnd     LogKind = "end"     // the job has ended; nothing follows
)

// LogChunk is a piece of a job's live log.
type LogChunk struct {
	Kind    LogKind `json:"-"`
	Attempt int     `json:"attempt"`
	Offset  int64   `json:"offset"` // of the text's first byte in its attempt's log
	Text    string  `json:"text"`
}

// FollowLog follows a job's log from its beginning (attempt 0: the newest
// attempt) through every attempt until the job has ended, under the same rules
// as RunEvents.
func (c *Client) FollowLog(ctx context.Context, id qgjob.JobID, attempt int) iter.Seq2[LogChunk, error] {
	return func(yield func(LogChunk, error) bool) {
		path := "/v1/jobs/" + id.String() + "/log/events"
		if attempt > 0 {
			path += "?attempt=" + strconv.Itoa(attempt)
		}
		seen := LogChunk{} // the attempt and offset up to which text was handed on
		err := c.follow(ctx, path, "", func(f frame) (bool, error) {
			chunk := LogChunk{Kind: LogKind(f.name)}
			if err := json.Unmarshal([]byte(f.data), &chunk); err != nil && chunk.Kind != LogEnd {
				return false, c.garbled("log event", err)
			}
			switch chunk.Kind {
			case LogText:
				chunk = unseen(chunk, seen)
				if chunk.Text == "" {
					return true, nil
				}
				seen = LogChunk{Attempt: chunk.Attempt, Offset: chunk.Offset + int64(len(chunk.Text))}
			case LogAttempt:
				if chunk.Attempt <= seen.Attempt {
					return true, nil
				}
				seen = LogChunk{Attempt: chunk.Attempt}
			case LogEnd:
			default:
				return true, nil
			}
			return yield(chunk, nil) && chunk.Kind != LogEnd, nil
		})
		if err != nil {
			yield(LogChunk{}, err)
		}
	}
}

// unseen cuts off what was handed on already.
func unseen(chunk, seen LogChunk) LogChunk {
	if chunk.Attempt < seen.Attempt {
		chunk.Text = ""
	}
	if chunk.Attempt == seen.Attempt && chunk.Offset < seen.Offset {
		n := min(seen.Offset-chunk.Offset, int64(len(chunk.Text)))
		chunk.Text, chunk.Offset = chunk.Text[n:], chunk.Offset+n
	}
	return chunk
}

// follow reads a stream of server-sent events until got returns false or an
// error, opening it again behind the last id when it breaks off.
func (c *Client) follow(ctx context.Context, path, last string, got func(frame) (bool, error)) error {
	t := tries{client: c, retry: c.retry}
	for {
		more, f := t.next().followOnce(ctx, path, &last, &t, got)
		if f == nil && !more {
			return nil
		}
		if f != nil && f.renew {
			continue
		}
		if f == nil {
			f = &failure{transient: true, elsewhere: true, err: &qgjob.Error{
				Kind: qgjob.KindUnavailable, Code: qgjob.CodeUnreachable,
				Message: "the stream from " + t.here.base + " ended before its last event",
			}}
		}
		if err := t.again(ctx, f, true); err != nil {
			return err
		}
	}
}

func (c *Client) followOnce(ctx context.Context, path string, last *string, t *tries, got func(frame) (bool, error)) (more bool, _ *failure) {
	what := get(path)
	what.idle, what.stream = streamTimeout, true
	what.header = map[string]string{"Accept": "text/event-stream"}
	if *last != "" {
		what.header["Last-Event-ID"] = *last
	}
	res, f := c.open(ctx, what)
	if f != nil {
		return true, f
	}
	defer res.Body.Close()
	if kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err != nil || kind != "text/event-stream" {
		return true, &failure{err: c.foreign(res)}
	}
	t.answered()
	in := newFrames(res.Body)
	in.id = *last
	for {
		e, err := in.next()
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if errors.Is(err, errFrame) {
			return true, &failure{err: c.garbled("event stream", err)}
		}
		if errors.Is(err, errRenew) {
			return true, &failure{err: err, renew: true}
		}
		if err != nil {
			return true, c.cut(err)
		}
		t.progress()
		if e.retry > 0 {
			t.retry.Base = min(e.retry, time.Minute)
			t.retry.Max = max(t.retry.Max, t.retry.Base)
		}
		if e.beat {
			continue
		}
		more, err := got(e)
		if err != nil {
			return false, &failure{err: err}
		}
		*last = e.id
		if !more {
			return false, nil
		}
	}
}

func (c *Client) garbled(what string, err error) error {
	return &qgjob.Error{
		Kind: qgjob.KindInternal, Message: fmt.Sprintf("an %s from %s cannot be read", what, c.Base()),
		Hint: "are server and client of the same version?", Err: err,
	}
}
