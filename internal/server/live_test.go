package server

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/qualgent/qgjob"
)

func TestLogEventsThroughAttempts(t *testing.T) {
	h := newHouse(t)
	h.submit("v1", 1, "a.js")
	f := h.follow("/v1/jobs/job_1/log/events") // before there is any attempt
	w := h.agent("b1")
	o := w.start()
	if e := f.must(); e != (sseEvent{"1:0", "attempt", `{"attempt":1,"agent_id":"b1"}`}) {
		t.Errorf("first %+v", e)
	}
	h.appendLog(o, 0, "one\n")
	if e := f.must(); e != (sseEvent{"1:4", "log", `{"attempt":1,"offset":0,"text":"one\n"}`}) {
		t.Errorf("then %+v", e)
	}
	h.appendLog(o, 4, "two <\x1b[31m>")
	if e := f.must(); e.id != "1:15" || decode[logChunk](t, e.data) != (logChunk{1, 4, "two <\x1b[31m>"}) {
		t.Errorf("then %+v", e)
	}
	w.complete(o, qgjob.OutcomeFailed)
	if _, err := h.store.CancelJob(t.Context(), 1); err != nil { // it waits for its retry
		t.Fatal(err)
	}
	if e := f.must(); e != (sseEvent{"1:15", "end", `{"attempt":1,"status":"cancelled"}`}) {
		t.Errorf("last %+v", e)
	}
	if more := f.rest(); len(more) != 0 {
		t.Errorf("after the end came %v", more)
	}
}

func TestLogEventsOfASecondAttempt(t *testing.T) {
	h := newHouse(t)
	h.submit("v1", 0, "a.js")
	w := h.agent("b1")
	for i, outcome := range []qgjob.Outcome{qgjob.OutcomeInterrupted, qgjob.OutcomePassed} {
		o := w.start()
		h.appendLog(o, 0, fmt.Sprintf("try %d", i+1))
		w.complete(o, outcome)
	}
	path := "/v1/jobs/job_1/log/events"
	for _, c := range []struct{ query, last, want string }{
		{"?attempt=1", "", `1:0 attempt, 1:5 log try 1, 2:0 attempt, 2:5 log try 2, 2:5 end`},
		{"", "", `2:0 attempt, 2:5 log try 2, 2:5 end`}, // the newest
		{"?attempt=2", "", `2:0 attempt, 2:5 log try 2, 2:5 end`},
		{"", "1:2", `1:5 log y 1, 2:0 attempt, 2:5 log try 2, 2:5 end`},
		{"?attempt=1", "2:4", `2:5 log 2, 2:5 end`},
		{"", "2:5", `2:5 end`},
	} {
		var got []string
		for _, e := range h.follow(path+c.query, "Last-Event-ID: "+c.last).rest() {
			text := ""
			if e.name == "log" {
				text = " " + decode[logChunk](t, e.data).Text
			}
			got = append(got, e.id+" "+e.name+text)
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%q after %q: %s\nwant %s", c.query, c.last, strings.Join(got, ", "), c.want)
		}
	}
	for path, want := range map[string]int{
		path + "?attempt=3": 404, path + "?attempt=x": 422, path + "?attempt=-1": 422,
		"/v1/jobs/job_2/log/events": 404, "/v1/jobs/x/log/events": 422,
	} {
		if status, body := h.get(path); status != want {
			t.Errorf("%s: %d %s, want %d", path, status, body, want)
		}
	}
	for _, last := range []string{"1", "0:1", "1:-1", "a:b", "1:2:3"} {
		if status, _ := h.get(path, "Last-Event-ID: "+last); status != 422 {
			t.Errorf("Last-Event-ID %s: %d, want 422", last, status)
		}
	}
}

// TestLogEventsKeepCharactersWhole: a character that two chunks share comes
// whole, and bytes that are no text change nothing about the offsets.
func TestLogEventsKeepCharactersWhole(t *testing.T) {
	h := newHouse(t)
	h.submit("v1", 0, "a.js")
	w := h.agent("b1")
	o := w.start()
	f := h.follow("/v1/jobs/job_1/log/events")
	f.must()
	euro := "€"
	h.appendLog(o, 0, "x"+euro[:2])
	if e := f.must(); e.id != "1:1" || decode[logChunk](t, e.data).Text != "x" {
		t.Errorf("a cut character: %+v", e)
	}
	h.appendLog(o, 3, euro[2:]+"y")
	if e := f.must(); e.id != "1:5" || decode[logChunk](t, e.data) != (logChunk{1, 1, "€y"}) {
		t.Errorf("its rest: %+v", e)
	}
	h.appendLog(o, 5, "\xff\x00\xc3(\xed\xa0\x80\xf0\x9f")
	e := f.must()
	got := decode[logChunk](t, e.data)
	if got.Text != "?\x00?(???" || e.id != "1:12" {
		t.Errorf("no text: %+v at %s", got, e.id)
	}
	w.complete(o, qgjob.OutcomePassed)
	e = f.must()
	if got := decode[logChunk](t, e.data); got != (logChunk{1, 12, "??"}) || e.id != "1:14" {
		t.Errorf("a cut character at the very end: %+v", e)
	}
	if got := names(f.rest()); got != "end" {
		t.Errorf("then %q", got)
	}
}

func TestPlainLog(t *testing.T) {
	h := newHouse(t)
	h.submit("v1", 0, "a.js")
	if status, body := h.get("/v1/jobs/job_1/log"); status != 404 || !strings.Contains(body, "no attempt yet") {
		t.Errorf("before the first attempt: %d %s", status, body)
	}
	w := h.agent("b1")
	for _, text := range []string{"first\xff<script>", "second"} {
		o := w.start()
		h.appendLog(o, 0, text)
		outcome := qgjob.OutcomeInterrupted
		if text == "second" {
			outcome = qgjob.OutcomePassed
		}
		w.complete(o, outcome)
	}
	path := "/v1/jobs/job_1/log"
	for query, want := range map[string]string{"": "second", "?attempt=1": "first\xff<script>", "?attempt=1&offset=5": "\xff<script>", "?attempt=2&offset=6": "", "?follow=true": "second", "?attempt=1&follow=1&offset=6": "<script>"} {
		if status, body := h.get(path + query); status != 200 || body != want {
			t.Errorf("%s: %d %q, want %q", query, status, body, want)
		}
	}
	res := h.send("HEAD", path+"?attempt=1", "")
	h.read(res)
	for name, want := range map[string]string{"X-Attempt": "1", "X-Log-Length": "14", "Content-Length": "14", "Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if status, body := h.get(path + "?offset=7"); status != 409 || !strings.Contains(body, `"code":"offset"`) || !strings.Contains(body, `"offset":6`) {
		t.Errorf("behind the end: %d %s", status, body)
	}
	for _, query := range []string{"?offset=-1", "?offset=x", "?attempt=x", "?follow=perhaps"} {
		if status, _ := h.get(path + query); status != 422 {
			t.Errorf("%s: %d, want 422", query, status)
		}
	}
	if status, _ := h.get(path + "?attempt=9"); status != 404 {
		t.Error("an attempt that never was is there")
	}
}

// TestPlainLogFollows: from before the first attempt to the attempt's end, in
// chunks larger than one read.
func TestPlainLogFollows(t *testing.T) {
	h := newHouse(t)
	h.submit("v1", 0, "a.js")
	type answer struct {
		status int
		body   string
	}
	got := make(chan answer, 1)
	go func() {
		res := h.send("GET", "/v1/jobs/job_1/log?follow=true", "")
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		got <- answer{res.StatusCode, string(body)}
	}()
	w := h.agent("b1")
	o := w.start()
	big := strings.Repeat("0123456789abcde\n", 3*logPage/16)
	h.appendLog(o, 0, big)
	h.appendLog(o, len(big), "end")
	w.complete(o, qgjob.OutcomePassed)
	if a := <-got; a.status != 200 || a.body != big+"end" {
		t.Errorf("status %d, %d bytes of %d", a.status, len(a.body), len(big)+3)
	}
	h.submit("v1", 0, "b.js")
	if _, err := h.store.CancelJob(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if status, _ := h.get("/v1/jobs/job_2/log?follow=true"); status != 404 {
		t.Errorf("a job that ended without an attempt: %d, want 404", status)
	}
}

// FuzzCleanText: what is sent is UTF-8, as long as the bytes it stands for,
// and the same wherever those were text; a cut at any place loses nothing.
func FuzzCleanText(f *testing.F) {
	for _, s := range []string{"", "plain", "€", "\xe2\x82", "\xff", "a\xed\xa0\x80b", "😀\xf0\x9f\x98", "\ufffd"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := cleanText(b)
		if !utf8.ValidString(got) || len(got) != len(b) {
			t.Fatalf("%q became %q", b, got)
		}
		if utf8.Valid(b) && got != string(b) {
			t.Fatalf("text %q became %q", b, got)
		}
		n := wholeRunes(b)
		if n < len(b)-3 || n > len(b) {
			t.Fatalf("wholeRunes(%q) = %d", b, n)
		}
		if cleanText(b[:n])+cleanText(b[n:]) != got {
			t.Fatalf("the cut at %d changes %q", n, b)
		}
	})
}
