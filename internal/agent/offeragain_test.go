//go:build unix

package agent

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// reign makes the fake server name a reign in its answers, and lose what the
// hook says.
func (r *rig) reign(t *testing.T) (name *atomic.Value, lose *atomic.Int32) {
	t.Helper()
	name, lose = &atomic.Value{}, &atomic.Int32{}
	name.Store("c-1-1")
	r.intercept(func(w http.ResponseWriter, q *http.Request) bool {
		w.Header().Set(qgjob.ReignHeader, name.Load().(string))
		if strings.HasSuffix(q.URL.Path, "/complete") && lose.Load() > 0 {
			lose.Add(-1)
			problem(w, http.StatusConflict, qgjob.Error{Kind: qgjob.KindConflict, Code: qgjob.CodeNotStarted, Message: "it was never started"})
			return true
		}
		return false
	})
	return name, lose
}

// TestAcknowledgedResultsAreOfferedAgain: another primary may have lost them.
// What it has is not counted twice, and no test runs again.
func TestAcknowledgedResultsAreOfferedAgain(t *testing.T) {
	r := newRig(t)
	name, _ := r.reign(t)
	first := r.submit(r.test(t, "a.js", "say a"), nil)
	second := r.submit(r.test(t, "b.js", "exit 1"), nil)
	r.begin(t)
	want(t, r.result(t, first), qgjob.OutcomePassed, "")
	want(t, r.result(t, second), qgjob.OutcomeFailed, qgjob.ReasonExit)
	r.change(func() { first.digest, first.state = "", qgjob.Running }) // lost
	name.Store("c-2-2")
	r.until(t, "both results come again", func() bool { return first.accepted == 2 && len(second.results) == 2 })
	r.mu.Lock()
	a, b := first.results, second.results
	r.mu.Unlock()
	if a[0].Digest != a[1].Digest || a[1].Outcome != qgjob.OutcomePassed || a[1].Next != nil || b[0].Digest != b[1].Digest || second.accepted != 1 {
		t.Errorf("first %+v\nsecond %+v", a, b)
	}
	name.Store("c-1-1") // a server that has not heard of it yet
	third := r.submit(r.test(t, "c.js", "say c"), nil)
	want(t, r.result(t, third), qgjob.OutcomePassed, "")
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(first.results) != 2 || len(first.log) == 0 {
		t.Errorf("the first result was offered %d times", len(first.results))
	}
}

// TestALostStartIsToldAgain: a result is not thrown away because the server
// has forgotten that its test was started.
func TestALostStartIsToldAgain(t *testing.T) {
	r := newRig(t)
	_, lose := r.reign(t)
	lose.Store(2) // when it is completed first, and when that is tried again
	l := r.submit(r.test(t, "a.js", "say a"), nil)
	r.begin(t)
	want(t, r.result(t, l), qgjob.OutcomePassed, "")
	if starts := r.count("POST /v1/leases/" + string(l.offer.LeaseID) + "/start"); starts != 2 {
		t.Errorf("%d starts; wanted one before the test and one after", starts)
	}
}

// TestAFailoverWhileTheAgentWasAway is noticed by the reign on disk.
func TestAFailoverWhileTheAgentWasAway(t *testing.T) {
	r := newRig(t)
	name, _ := r.reign(t)
	l := r.submit(r.test(t, "a.js", "say a"), nil)
	r.begin(t)
	want(t, r.result(t, l), qgjob.OutcomePassed, "")
	r.until(t, "the result is kept", func() bool {
		kept, _ := filepath.Glob(filepath.Join(r.dir, "state", "agents", "a1", "spool", "kept", "*.json"))
		return len(kept) == 1
	})
	close(r.drain)
	r.ended <- <-r.ended // for who waits at the end
	name.Store("c-2-2")
	r.change(func() { l.digest = "" })
	again := *r
	again.drain, again.cancel = make(chan struct{}), make(chan struct{})
	again.config.Drain, again.config.Cancel = again.drain, again.cancel
	again.begin(t)
	r.until(t, "the result comes again", func() bool { return l.accepted == 2 })
}

// TestKeptResultsAreBounded by their age and by their number.
func TestKeptResultsAreBounded(t *testing.T) {
	r := newRig(t)
	s, err := openSpool(t.TempDir(), r.config.Log)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	id := func(n int) qgjob.LeaseID {
		return qgjob.LeaseID(strings.Repeat("0", 26) + "abcdef"[:6-len(strconv.Itoa(n))] + strconv.Itoa(n))
	}
	for n := range keptMost + 20 {
		if err := s.put(spooled{LeaseID: id(n), JobID: 1, At: now}); err != nil {
			t.Fatal(err)
		}
		at := now.Add(-time.Duration(n) * time.Second)
		if n < 10 {
			at = now.Add(-keptFor - time.Minute)
		}
		if err := os.Chtimes(s.path(id(n)), at, at); err != nil {
			t.Fatal(err)
		}
		if err := s.keep(id(n)); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := s.kept()
	if err != nil || len(kept) != keptMost || kept[0].LeaseID != id(10) || kept[keptMost-1].LeaseID != id(keptMost+9) {
		t.Errorf("%d are kept, %v; %s", len(kept), err, r.logged)
	}
	if left, err := s.list(now); err != nil || len(left) != 0 {
		t.Errorf("%d wait to be delivered, %v", len(left), err)
	}
}
