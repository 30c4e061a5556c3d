package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// farm is several servers of which a test says how each answers.
type farm struct {
	t     *testing.T
	list  []*httptest.Server
	asked []atomic.Int32
	how   []atomic.Pointer[http.HandlerFunc]
}

func fine(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	reply(w, 200, map[string]any{"job_id": "job_1", "run_id": "run_1", "group_id": "group_1"})
}

func answers(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { reply(w, status, map[string]string{"detail": "not now"}) }
}

func cutOff(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func newFarm(t *testing.T, n int) *farm {
	f := &farm{t: t, asked: make([]atomic.Int32, n), how: make([]atomic.Pointer[http.HandlerFunc], n)}
	for i := range n {
		f.does(i, fine)
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f.asked[i].Add(1)
			if r.Header.Get("Authorization") != "Bearer s3cret" {
				t.Errorf("server %d is asked without the token", i)
			}
			(*f.how[i].Load())(w, r)
		}))
		t.Cleanup(srv.Close)
		f.list = append(f.list, srv)
	}
	return f
}

func (f *farm) does(i int, h http.HandlerFunc) { f.how[i].Store(&h) }

// client begins at server 0.
func (f *farm) client(r Retry) *Client {
	f.t.Helper()
	var bases []string
	for _, s := range f.list {
		bases = append(bases, s.URL)
	}
	c, err := NewOf(bases, Options{Token: "s3cret", Retry: r})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(c.Close)
	c.all.at.Store(0)
	return c
}

func (f *farm) counts() []int32 {
	out := make([]int32, len(f.asked))
	for i := range f.asked {
		out[i] = f.asked[i].Swap(0)
	}
	return out
}

func (f *farm) want(what string, counts ...int32) {
	f.t.Helper()
	if got := f.counts(); !slices.Equal(got, counts) {
		f.t.Errorf("%s: the servers were asked %v times; want %v", what, got, counts)
	}
}

func TestNewOf(t *testing.T) {
	many := make([]string, MaxServers+1)
	for i := range many {
		many[i] = fmt.Sprintf("http://s%d", i)
	}
	for _, bad := range [][]string{nil, {""}, {"http://a", ""}, {"http://a", "b:80"}, {"http://a", "http://u:pw@b"}, many} {
		_, err := NewOf(bad, Options{})
		if e := asError(t, err); e.Kind != qgjob.KindInvalid || e.Field != "server" || strings.Contains(err.Error(), "pw") {
			t.Errorf("%v: %v", bad, err)
		}
	}
	began := map[string]bool{}
	for range 200 {
		c, err := NewOf([]string{"http://a/", "http://b", "http://a"}, Options{})
		if err != nil || len(c.all.bases) != 2 {
			t.Fatalf("%v %v", c.all.bases, err)
		}
		began[c.Base()] = true
	}
	if len(began) != 2 {
		t.Errorf("200 clients of two servers all began at %v", began)
	}
}

// TestTheNextServerIsAsked: what fails at one server goes to the next at once,
// whatever the retry policy, and the client stays there.
func TestTheNextServerIsAsked(t *testing.T) {
	for name, trouble := range map[string]http.HandlerFunc{"cut": cutOff, "502": answers(502), "503": answers(503), "504": answers(504)} {
		t.Run(name, func(t *testing.T) {
			f := newFarm(t, 3)
			c := f.client(NoRetry)
			f.does(0, trouble)
			f.does(1, trouble)
			if _, err := c.Job(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			f.want("first", 1, 1, 1)
			f.does(0, fine)
			for range 3 {
				if _, err := c.With(NoRetry).Job(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
			}
			f.want("then", 0, 0, 3)
			f.does(2, trouble)
			if _, err := c.Job(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			// A connection that was used before and breaks is opened again by net/http.
			if got := f.counts(); got[0] != 1 || got[1] != 0 || got[2] < 1 {
				t.Errorf("round the corner: %v", got)
			}
		})
	}
}

// TestDefiniteAnswersAreNotAskedForElsewhere: a second opinion would differ
// only in time.
func TestDefiniteAnswersAreNotAskedForElsewhere(t *testing.T) {
	for _, status := range []int{401, 403, 404, 409, 413, 422, 429, 500} {
		f := newFarm(t, 2)
		f.does(0, answers(status))
		if _, err := f.client(NoRetry).Job(t.Context(), 1); err == nil {
			t.Errorf("%d is no error", status)
		}
		f.want(fmt.Sprint(status), 1, 0)
	}
}

// TestNothingIsSentTwiceThatMustNotBe: a submit without a key goes on to the
// next server only when the first cannot have seen it.
func TestNothingIsSentTwiceThatMustNotBe(t *testing.T) {
	submit := func(c *Client, key string) error {
		_, err := c.Submit(t.Context(), qgjob.SubmitRequest{OrgID: "o"}, key)
		return err
	}
	f := newFarm(t, 2)
	c := f.client(quick)
	f.does(0, cutOff)
	if err := submit(c, ""); qgjob.KindOf(err) != qgjob.KindUnavailable {
		t.Errorf("cut without a key: %v", err)
	}
	f.want("cut without a key", 1, 0)
	if err := submit(c, ""); err != nil { // a new call, and the farm has another server
		t.Error(err)
	}
	f.want("the next call", 0, 1)
	c.all.at.Store(0)
	if err := submit(c, "key"); err != nil {
		t.Error(err)
	}
	f.want("cut with a key", 1, 1)
	f.list[0].Close()
	c.all.at.Store(0)
	if err := submit(c, ""); err != nil {
		t.Errorf("refused connection: %v", err)
	}
	f.want("refused connection", 0, 1)
}

func TestAllServersDown(t *testing.T) {
	f := newFarm(t, 3)
	for i := range 3 {
		f.does(i, answers(503))
	}
	if _, err := f.client(NoRetry).Job(t.Context(), 1); qgjob.KindOf(err) != qgjob.KindUnavailable {
		t.Error(err)
	}
	f.want("once round", 1, 1, 1)
	heard := 0
	r := quick
	r.Notify = func(err error) {
		if err == nil {
			return
		}
		if heard++; heard == 3 {
			f.does(1, fine)
		}
	}
	if _, err := f.client(r).Job(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if got := f.counts(); got[0]+got[2] < 6 || heard != 3 {
		t.Errorf("asked %v times with %d waits; want three rounds with one wait each", got, heard)
	}
	f = newFarm(t, 2)
	f.list[0].Close()
	f.list[1].Close()
	_, err := f.client(Retry{Budget: 20 * time.Millisecond, Base: time.Millisecond}).Job(t.Context(), 1)
	if e := asError(t, err); e.Code != qgjob.CodeUnreachable {
		t.Error(err)
	}
}

// TestManyCallsMoveOnOnce: those that fail together do not push each other
// past a server that is well.
func TestManyCallsMoveOnOnce(t *testing.T) {
	f := newFarm(t, 3)
	c := f.client(NoRetry)
	var all sync.WaitGroup
	gate := make(chan struct{})
	f.does(0, func(http.ResponseWriter, *http.Request) { <-gate; panic(http.ErrAbortHandler) })
	for range 12 {
		all.Go(func() {
			if _, err := c.Job(t.Context(), 1); err != nil {
				t.Error(err)
			}
		})
	}
	for f.asked[0].Load() < 12 {
		time.Sleep(time.Millisecond) //budget:allow real connections
	}
	close(gate)
	all.Wait()
	f.want("twelve calls", 12, 12, 0)
}

// TestASilentServerIsLeft: an answer that did not come in the caller's time
// says something of the server; a caller that goes away says nothing.
func TestASilentServerIsLeft(t *testing.T) {
	f := newFarm(t, 2)
	c := f.client(NoRetry)
	f.does(0, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	gone, cancel := context.WithCancel(t.Context())
	over := make(chan error)
	go func() { _, err := c.Job(gone, 1); over <- err }()
	for f.asked[0].Load() == 0 {
		time.Sleep(time.Millisecond) //budget:allow real connections
	}
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	f.want("given up by its caller", 1, 0)
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Job(short, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	f.want("silent", 1, 0)
	if _, err := c.Job(t.Context(), 1); err != nil {
		t.Error(err)
	}
	f.want("after silence", 0, 1)
}

// TestAStreamGoesOnElsewhere: the events behind the last one seen come from
// the next server, none twice.
func TestAStreamGoesOnElsewhere(t *testing.T) {
	f := newFarm(t, 3)
	events := someEvents(10)
	asked := make([][]string, 3)
	for i := range 3 {
		f.does(i, eventLog(events, 4, &asked[i])) // each server is cut off after four events
	}
	var got []int64
	for e, err := range f.client(NoRetry).RunEvents(t.Context(), 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Seq)
	}
	if len(got) != 10 || !slices.IsSorted(got) {
		t.Errorf("events %v", got)
	}
	f.want("stream", 1, 1, 1)
	if asked[1][0] != "14" || asked[2][0] != "26" {
		t.Errorf("asked behind %v", asked)
	}
}

// TestBytesGoOnElsewhere: uploads and downloads move with the rest.
func TestBytesGoOnElsewhere(t *testing.T) {
	s, _, file := stock(t, 50_000, NoRetry)
	f := newFarm(t, 2)
	c := f.client(NoRetry)
	f.does(0, cutOff)
	f.does(1, s.ServeHTTP)
	if _, err := c.Upload(t.Context(), bytes.NewReader(file), int64(len(file)), s.sum, nil); err != nil {
		t.Fatal(err)
	}
	c.all.at.Store(0)
	var out bytes.Buffer
	if _, err := c.Download(t.Context(), s.sum, &out, 1<<20); err != nil || !bytes.Equal(out.Bytes(), file) {
		t.Errorf("%d bytes: %v", out.Len(), err)
	}
}
