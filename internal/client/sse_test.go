package client

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func readFrames(t *testing.T, r io.Reader) (out []frame, err error) {
	t.Helper()
	in := newFrames(r)
	for {
		f, err := in.next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, f)
	}
}

func TestFrames(t *testing.T) {
	msg := func(id, data string) frame { return frame{id: id, name: "message", data: data} }
	for _, test := range []struct {
		name, in string
		want     []frame
	}{
		{"one", "data: x\n\n", []frame{msg("", "x")}},
		{"crlf", "id: 7\r\ndata: x\r\n\r\n", []frame{msg("7", "x")}},
		{"cr", "data: x\r\rdata: y\r\r", []frame{msg("", "x"), msg("", "y")}},
		{"byte order mark", "\xef\xbb\xbfdata: x\n\n", []frame{msg("", "x")}},
		{"lines are joined", "data: a\ndata:b\ndata\n\n", []frame{msg("", "a\nb\n")}},
		{"one blank only is dropped", "data:  x\n\n", []frame{msg("", " x")}},
		{"named", "event: job.finished\ndata: {}\n\n", []frame{{name: "job.finished", data: "{}"}}},
		{"the id stays", "id: 3\ndata: a\n\ndata: b\n\n", []frame{msg("3", "a"), msg("3", "b")}},
		{"an id with NUL is ignored", "id: 3\ndata: a\n\nid: \x00\ndata: b\n\n", []frame{msg("3", "a"), msg("3", "b")}},
		{"a name without data is forgotten", "event: x\n\ndata: a\n\n", []frame{msg("", "a")}},
		{"heartbeat", ": hi\n\ndata: a\n\n", []frame{{beat: true}, msg("", "a")}},
		{"comment inside", "data: a\n: hi\ndata: b\n\n", []frame{msg("", "a\nb")}},
		{"retry", "retry: 1500\ndata: a\n\n", []frame{{name: "message", data: "a", retry: 1500 * time.Millisecond}}},
		{"retry that is no number", "retry: soon\ndata: a\n\n", []frame{msg("", "a")}},
		{"unknown field", "colour: red\ndata: a\n\n", []frame{msg("", "a")}},
		{"cut in an event", "data: a\n\ndata: b\n", []frame{msg("", "a")}},
		{"cut in a line", "data: a\n\ndata: b", []frame{msg("", "a")}},
		{"nothing", "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{"whole": strings.NewReader(test.in), "by bytes": iotest.OneByteReader(strings.NewReader(test.in))} {
				got, err := readFrames(t, r)
				if err != nil || !reflect.DeepEqual(got, test.want) {
					t.Errorf("%s: %+v, %v; want %+v", how, got, err, test.want)
				}
			}
		})
	}
}

func TestFrameTooLong(t *testing.T) {
	for name, in := range map[string]string{
		"one line":   "data: " + strings.Repeat("x", maxFrame+1) + "\n\n",
		"many lines": strings.Repeat("data: "+strings.Repeat("x", 1<<20)+"\n", 5) + "\n",
	} {
		if got, err := readFrames(t, strings.NewReader(in)); !errors.Is(err, errFrame) || len(got) != 0 {
			t.Errorf("%s: %d events, %v", name, len(got), err)
		}
	}
}

// FuzzFrames: whatever comes, in whatever pieces, the same events are read,
// and none holds a line end that its text did not have.
func FuzzFrames(f *testing.F) {
	for _, s := range []string{"data: x\n\n", "\xef\xbb\xbfid: 1\r\ndata: a\r\ndata: b\r\n\r\n", ": \n\nretry: 1\rdata\r\r", "\xef\xbb", "\r\n\n\r"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if len(in) > 1<<16 {
			return
		}
		whole, err1 := readFrames(t, strings.NewReader(in))
		bytes, err2 := readFrames(t, iotest.OneByteReader(strings.NewReader(in)))
		if err1 != nil || err2 != nil || !reflect.DeepEqual(whole, bytes) {
			t.Errorf("%q: %+v %v, by bytes %+v %v", in, whole, err1, bytes, err2)
		}
		for _, e := range whole {
			if strings.ContainsAny(e.id+e.name, "\r\n") || strings.Contains(e.data, "\r") {
				t.Errorf("%q: a line end in %+v", in, e)
			}
		}
	})
}
