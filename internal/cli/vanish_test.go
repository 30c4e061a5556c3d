package cli

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// vanish makes the server forget a run and all keys, as a failover does. The
// number stays used.
func (f *fake) vanish(run qgjob.RunID) {
	f.mu.Lock()
	delete(f.runs, run)
	delete(f.events, run)
	clear(f.keys)
	f.runs[1_000_000] = &qgjob.Run{RunID: 1_000_000}
	f.change()
	f.mu.Unlock()
	f.CloseClientConnections()
}

// onceWatched calls do when the first stream of events has been asked for.
func (f *fake) onceWatched(t *testing.T, do func()) {
	t.Helper()
	over := time.After(20 * time.Second)
	for f.requests("GET /v1/runs/run_1/events") == 0 {
		f.mu.Lock()
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-time.After(10 * time.Millisecond): //budget:allow nothing tells that a request came
		case <-over:
			t.Error("nobody watches")
			return
		}
	}
	do()
}

// TestAVanishedRunIsSubmittedAgain: what a failover lost is submitted with the
// same key, and its verdict is the one that counts.
func TestAVanishedRunIsSubmittedAgain(t *testing.T) {
	f := newFake(t)
	f.onSubmit = func(run qgjob.RunID) {
		if run == 1 {
			f.onceWatched(t, func() { f.vanish(run) })
			return
		}
		f.end(qgjob.JobID(len(f.jobs)), qgjob.Failed, qgjob.ReasonAssertion, "wrong")
	}
	code, out, err := newProgram(t, f.URL).run(submitArgs(1, "--idempotency-key=key-1")...)
	f.mu.Lock()
	defer f.mu.Unlock()
	if code != exitFailed || len(f.submits) != 2 || !slices.Equal(slices.Collect(maps.Keys(f.keys)), []string{"key-1"}) {
		t.Errorf("code %d after %d submits, keys %v", code, len(f.submits), f.keys)
	}
	if !strings.Contains(err, "run_1 is gone") || !strings.Contains(err, "submitted again with the same key as run_") || !strings.Contains(out, "failed") {
		t.Errorf("%s\n%s", out, err)
	}
}

// TestAWaitForAVanishedRun says that it is gone. It is no verdict.
func TestAWaitForAVanishedRun(t *testing.T) {
	f := newFake(t)
	p := newProgram(t, f.URL)
	if code, _, err := p.run("submit", "--org-id=o", "--app-version-id=v", "--test=tests/a.spec.js"); code != 0 {
		t.Fatal(err)
	}
	go f.onceWatched(t, func() { f.vanish(1) })
	code, out, err := newProgram(t, f.URL).run("wait", "run_1")
	if code != exitInfra || out != "" || !strings.Contains(err, "run_1 is gone") || strings.Contains(err, "come back") {
		t.Errorf("code %d\n%s\n%s", code, out, err)
	}
}
