package server

import (
	"bytes"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
)

// TestOurClientFollowsAndMovesBytes: both ends of the wire, on the parts that
// no schema describes: streams, logs, uploads. Every room passed its own tests
// when it stood alone; this is where they must fit.
func TestOurClientFollowsAndMovesBytes(t *testing.T) {
	h := newHouse(t)
	c, err := client.New(h.url, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	run := h.submit("v1", 0, "a.js").RunID
	w := h.agent("b1")
	log := "one \xff\xfe two €\nthree" // the bad bytes stand before more text
	for _, outcome := range []qgjob.Outcome{qgjob.OutcomeInterrupted, qgjob.OutcomePassed} {
		o := w.start()
		for at := 0; at < len(log); at += 6 {
			h.appendLog(o, at, log[at:min(at+6, len(log))])
		}
		w.complete(o, outcome)
	}
	var kinds []string
	for e, err := range c.RunEvents(t.Context(), run, 0) {
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, string(e.Kind))
	}
	if got := strings.Join(kinds, " "); got != "run.submitted job.assigned job.started job.requeued job.assigned job.started job.finished run.finished" {
		t.Errorf("events %s", got)
	}
	texts := map[int]string{}
	ended := false
	for chunk, err := range c.FollowLog(t.Context(), 1, 1) {
		if err != nil {
			t.Fatal(err)
		}
		texts[chunk.Attempt] += chunk.Text
		ended = chunk.Kind == client.LogEnd
	}
	want := "one ?? two €\nthree"
	if !ended || texts[1] != want || texts[2] != want {
		t.Errorf("ended %t, followed %v", ended, texts)
	}
	var plain bytes.Buffer
	if attempt, end, err := c.Log(t.Context(), 1, 0, 0, &plain); err != nil || attempt != 2 || end != int64(len(log)) || plain.String() != log {
		t.Errorf("log of attempt %d to %d: %q, %v", attempt, end, plain.String(), err)
	}
	build := strings.Repeat("build", 1_300_000) // more than one piece
	sum := sumOf(build)
	if sent, err := c.Upload(t.Context(), strings.NewReader(build), int64(len(build)), sum, nil); err != nil || sent != int64(len(build)) {
		t.Errorf("sent %d of %d: %v", sent, len(build), err)
	}
	if sent, err := c.Upload(t.Context(), strings.NewReader(build), int64(len(build)), sum, nil); err != nil || sent != 0 {
		t.Errorf("sent %d bytes of an identical build: %v", sent, err)
	}
	var back bytes.Buffer
	if n, err := c.Download(t.Context(), sum, &back, int64(len(build))); err != nil || n != int64(len(build)) || back.String() != build {
		t.Errorf("fetched %d of %d: %v", n, len(build), err)
	}
}
