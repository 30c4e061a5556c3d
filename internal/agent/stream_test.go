//go:build unix

package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
)

// sink is a server's side of a log.
type sink struct {
	mu     sync.Mutex
	log    []byte
	sizes  []int
	at     []time.Time
	first  chan struct{} // closed by the first request, when set
	before func(n int, offset int64, chunk []byte) (qgjob.LogResponse, error, bool)
}

func (s *sink) take(_ context.Context, offset int64, chunk []byte) (qgjob.LogResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sizes = append(s.sizes, len(chunk))
	s.at = append(s.at, time.Now())
	if s.first != nil && len(s.at) == 1 {
		close(s.first)
	}
	if s.before != nil {
		if res, err, done := s.before(len(s.sizes), offset, chunk); done {
			return res, err
		}
	}
	if offset != int64(len(s.log)) {
		return qgjob.LogResponse{}, &qgjob.Error{Kind: qgjob.KindConflict, Code: qgjob.CodeOffset, Offset: int64(len(s.log))}
	}
	s.log = append(s.log, chunk...)
	return qgjob.LogResponse{Length: int64(len(s.log))}, nil
}

// seen is what arrived so far.
func (s *sink) seen() (log string, sizes []int, at []time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.log), slices.Clone(s.sizes), slices.Clone(s.at)
}

func newLog(t *testing.T) *attemptLog {
	t.Helper()
	l, err := createLog(filepath.Join(t.TempDir(), logName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.close() })
	return l
}

// TestLogIsSentInTime: a line alone within the flush time, much at once.
func TestLogIsSentInTime(t *testing.T) {
	l := newLog(t)
	synctest.Test(t, func(t *testing.T) {
		l.signal = make(chan struct{}, 1) // of this bubble
		s := &sink{}
		done := make(chan error, 1)
		begin := time.Now()
		go func() { done <- l.stream(t.Context(), s.take) }()
		fmt.Fprintln(l, "one line")
		synctest.Wait()
		if _, sizes, _ := s.seen(); len(sizes) != 0 {
			t.Error("a line was sent at once, alone")
		}
		time.Sleep(logFlush + time.Millisecond)
		synctest.Wait()
		log, _, at := s.seen()
		if log != "one line\n" || at[0].Sub(begin) != logFlush {
			t.Errorf("%q was sent after %v", log, at[0].Sub(begin))
		}
		l.Write(bytes.Repeat([]byte("x"), logEager))
		synctest.Wait()
		if _, sizes, at := s.seen(); len(sizes) != 2 || at[1].Sub(begin) > logFlush+2*time.Millisecond {
			t.Errorf("32 KiB were not sent at once: %v", sizes)
		}
		fmt.Fprintln(l, "the end")
		l.finish()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if log, _, _ := s.seen(); !strings.HasSuffix(log, "the end\n") {
			t.Error("the end is missing")
		}
	})
}

// TestLogResumes where the server stands: behind after it lost bytes, ahead
// after it kept bytes whose answer was lost.
func TestLogResumes(t *testing.T) {
	text := strings.Repeat("0123456789", 10_000)
	cases := map[string]func(s *sink) func(int, int64, []byte) (qgjob.LogResponse, error, bool){
		"server is behind": func(s *sink) func(int, int64, []byte) (qgjob.LogResponse, error, bool) {
			return func(n int, _ int64, chunk []byte) (qgjob.LogResponse, error, bool) {
				if n == 1 { // takes half and says it took all: a crash lost the rest
					s.log = append(s.log, chunk[:len(chunk)/2]...)
					return qgjob.LogResponse{Length: int64(len(chunk))}, nil, true
				}
				return qgjob.LogResponse{}, nil, false
			}
		},
		"server is ahead": func(s *sink) func(int, int64, []byte) (qgjob.LogResponse, error, bool) {
			s.log = []byte(text[:12_345]) // of an earlier process
			return nil
		},
		"server took a part": func(s *sink) func(int, int64, []byte) (qgjob.LogResponse, error, bool) {
			return func(n int, offset int64, chunk []byte) (qgjob.LogResponse, error, bool) {
				if n > 3 || offset != int64(len(s.log)) {
					return qgjob.LogResponse{}, nil, false
				}
				s.log = append(s.log, chunk[:7]...)
				return qgjob.LogResponse{Length: int64(len(s.log))}, nil, true
			}
		},
	}
	for name, begin := range cases {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			s := &sink{}
			s.before = begin(s)
			s.first = make(chan struct{})
			l.Write([]byte(text))
			done := waitStream(l, s)
			<-s.first
			l.Write([]byte("tail"))
			l.finish()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if string(s.log) != text+"tail" {
				t.Errorf("the server has %d bytes, want %d", len(s.log), len(text)+4)
			}
		})
	}
}

func waitStream(l *attemptLog, s *sink) chan error {
	done := make(chan error, 1)
	go func() { done <- l.stream(context.Background(), s.take) }()
	return done
}

// TestLogGivesUpOnNonsense instead of asking for ever.
func TestLogGivesUpOnNonsense(t *testing.T) {
	answers := map[string]func() (qgjob.LogResponse, error){
		"no progress":  func() (qgjob.LogResponse, error) { return qgjob.LogResponse{Length: 0}, nil },
		"same offset":  func() (qgjob.LogResponse, error) { return qgjob.LogResponse{}, offsetError(0) },
		"behind start": func() (qgjob.LogResponse, error) { return qgjob.LogResponse{}, offsetError(-1) },
		"beyond end":   func() (qgjob.LogResponse, error) { return qgjob.LogResponse{}, offsetError(1 << 40) },
		"stale": func() (qgjob.LogResponse, error) {
			return qgjob.LogResponse{}, qgjob.Conflict(qgjob.CodeStaleLease, "stale")
		},
	}
	for name, say := range answers {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			l.note("a line")
			l.finish()
			s := &sink{before: func(int, int64, []byte) (qgjob.LogResponse, error, bool) {
				res, err := say()
				return res, err, true
			}}
			if err := <-waitStream(l, s); err == nil {
				t.Error("no error")
			}
			if len(s.sizes) != 1 {
				t.Errorf("asked %d times", len(s.sizes))
			}
		})
	}
}

func offsetError(n int64) error {
	return &qgjob.Error{Kind: qgjob.KindConflict, Code: qgjob.CodeOffset, Offset: n}
}

// TestLogHasALimit: the rest is dropped, once said, and writers never fail.
func TestLogHasALimit(t *testing.T) {
	l := newLog(t)
	l.limit = 1 << 20
	for range 40 {
		if n, err := l.Write(bytes.Repeat([]byte("y"), 50_000)); n != 50_000 || err != nil {
			t.Fatal(n, err)
		}
	}
	l.finish()
	s := &sink{}
	if err := <-waitStream(l, s); err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(s.log), "limit of 1 MiB") != 1 || len(s.log) > 1<<20+200 {
		t.Errorf("the log has %d bytes and ends %q", len(s.log), s.log[max(0, len(s.log)-80):])
	}
}

// TestLogSurvivesAFullServer: nothing more is sent, nothing fails.
func TestLogSurvivesAFullServer(t *testing.T) {
	l := newLog(t)
	l.Write(make([]byte, 1<<20))
	l.finish()
	s := &sink{before: func(int, int64, []byte) (qgjob.LogResponse, error, bool) {
		return qgjob.LogResponse{Length: 10, Full: true}, nil, true
	}}
	if err := <-waitStream(l, s); err != nil || len(s.sizes) != 1 {
		t.Errorf("%v after %d requests", err, len(s.sizes))
	}
}

// TestSlowServerHoldsNothingUp: writers go on while a request hangs.
func TestSlowServerHoldsNothingUp(t *testing.T) {
	l := newLog(t)
	ctx, stop := context.WithCancelCause(context.Background())
	hangs := make(chan struct{})
	var once sync.Once
	done := make(chan error, 1)
	go func() {
		done <- l.stream(ctx, func(ctx context.Context, _ int64, _ []byte) (qgjob.LogResponse, error) {
			once.Do(func() { close(hangs) })
			<-ctx.Done()
			return qgjob.LogResponse{}, context.Cause(ctx)
		})
	}()
	l.Write(make([]byte, logEager))
	<-hangs
	for range 100 {
		l.Write(make([]byte, 64<<10))
	}
	if size, _ := l.state(); size != logEager+100*64<<10 {
		t.Errorf("the file has %d bytes", size)
	}
	why := errors.New("enough")
	stop(why)
	if err := <-done; !errors.Is(err, why) {
		t.Errorf("ended with %v", err)
	}
}

func TestOpenLogOfAnEarlierProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), logName)
	if err := os.WriteFile(path, []byte("left behind"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	s := &sink{log: []byte("left")}
	if err := <-waitStream(l, s); err != nil || string(s.log) != "left behind" {
		t.Errorf("%q, %v", s.log, err)
	}
}
