//go:build linux

package proc

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

const (
	floodLines = 54_000
	floodWidth = 96 // floodLines × floodWidth: 5.2 MB
)

// One writer, no lock in it: the race detector sees it if two goroutines write.
func TestFloodIntoOneWriterKeepsOrder(t *testing.T) {
	eachIsolation(t, func(t *testing.T, i Isolation) {
		var both bytes.Buffer
		c := helper(t, "flood", fmt.Sprint(floodLines))
		c.Isolation, c.Stdout, c.Stderr = i, &both, &both
		if r := finish(t, start(t, c)); !r.Passed() || r.OutputErr != nil {
			t.Fatalf("got %+v", r)
		}
		if both.Len() != floodLines*floodWidth {
			t.Fatalf("%d bytes, want %d", both.Len(), floodLines*floodWidth)
		}
		for n := range floodLines {
			if line := both.Next(floodWidth); !bytes.HasPrefix(line, fmt.Appendf(nil, "%07d ", n)) {
				t.Fatalf("line %d is %q", n, line)
			}
		}
	})
}

func TestFloodIntoTwoWriters(t *testing.T) {
	var stdout, stderr bytes.Buffer
	c := helper(t, "flood", fmt.Sprint(floodLines))
	c.Stdout, c.Stderr = &stdout, &stderr
	if r := finish(t, start(t, c)); !r.Passed() {
		t.Fatalf("got %+v", r)
	}
	for n, b := range []*bytes.Buffer{&stdout, &stderr} {
		if b.Len() != floodLines/2*floodWidth || !strings.HasPrefix(b.String(), fmt.Sprintf("%07d ", n)) {
			t.Errorf("stream %d: %d bytes", n, b.Len())
		}
	}
}

// A disk that is full on the agent's side is no verdict on the test.
func TestFloodIntoAFullDisk(t *testing.T) {
	c := helper(t, "flood", fmt.Sprint(floodLines))
	c.Stdout = &failing{after: 1 << 20}
	r := finish(t, start(t, c))
	if !r.Passed() || r.OutputErr == nil {
		t.Errorf("got %+v", r)
	}
}
