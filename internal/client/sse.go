package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// maxFrame bounds one server-sent event, in bytes.
const maxFrame = 4 << 20

var errFrame = errors.New("a server-sent event is longer than 4 MiB")

// frame is one server-sent event, or a heartbeat when it has no data.
type frame struct {
	id    string // the last id seen, also from earlier events
	name  string // "message" when the event names none
	data  string
	retry time.Duration // the wait that the server asks for before a reconnect; 0 without one
	beat  bool          // a comment line: the stream is alive
}

// frames reads a stream of server-sent events (HTML Living Standard, 9.2).
type frames struct {
	lines *bufio.Scanner
	id    string
}

func newFrames(r io.Reader) *frames {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), maxFrame)
	s.Split(splitLine())
	return &frames{lines: s}
}

// next returns the next event or heartbeat. At the end of the stream the error
// is io.EOF; an event that was not ended by a blank line is dropped, as the
// standard says: it may be cut.
func (f *frames) next() (frame, error) {
	var data []string
	size := 0
	e := frame{name: "message"}
	for f.lines.Scan() {
		line := f.lines.Text()
		if line == "" {
			if data == nil {
				e.name = "message"
				continue
			}
			e.id, e.data = f.id, strings.Join(data, "\n")
			return e, nil
		}
		if strings.HasPrefix(line, ":") {
			if data == nil {
				return frame{id: f.id, retry: e.retry, beat: true}, nil
			}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "data":
			if size += len(value); size > maxFrame {
				return e, errFrame
			}
			data = append(data, value)
		case "event":
			e.name = value
		case "id":
			if !strings.ContainsRune(value, 0) {
				f.id = value
			}
		case "retry":
			if ms, err := strconv.ParseUint(value, 10, 31); err == nil {
				e.retry = time.Duration(ms) * time.Millisecond
			}
		}
	}
	if err := f.lines.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			err = errFrame
		}
		return e, err
	}
	return e, io.EOF
}

// splitLine splits at CRLF, LF and CR, and drops a byte order mark. A CR at
// the end of what has come ends its line at once; an LF after it belongs to
// it.
func splitLine() bufio.SplitFunc {
	first, afterCR := true, false
	return func(data []byte, atEOF bool) (int, []byte, error) {
		skip := 0
		if first && len(data) > 0 {
			bom := []byte("\xef\xbb\xbf")
			if len(data) < len(bom) && !atEOF && bytes.HasPrefix(bom, data) {
				return 0, nil, nil
			}
			if bytes.HasPrefix(data, bom) {
				skip = len(bom)
			}
			first = false
			data = data[skip:]
		}
		if afterCR && len(data) > 0 {
			afterCR = false
			if data[0] == '\n' {
				skip++
				data = data[1:]
			}
		}
		i := bytes.IndexAny(data, "\r\n")
		if i < 0 {
			return skip, nil, nil // at the end of the stream: a cut line, which is no event's
		}
		afterCR = data[i] == '\r'
		return skip + i + 1, data[:i], nil
	}
}
