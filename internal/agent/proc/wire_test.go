//go:build unix

package proc

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestSpecTravelsExactly(t *testing.T) {
	tests := map[string]spec{
		"small": {Path: "/bin/true", Argv: []string{"true"}},
		"bytes": {Path: "/bin/\xff", Argv: []string{"", "\xff\xfe", "a\nb", "ü"}, Env: []string{"A=\x80", "=", "x"}, Dir: "/a b", Namespace: true},
		"large": {Path: "/bin/true", Argv: []string{"true", strings.Repeat("x", 1<<20)}},
	}
	for name, want := range tests {
		data, err := want.encode()
		if err != nil {
			t.Fatal(err)
		}
		r := strings.NewReader(string(data) + "IK")
		got, err := readSpec(r)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
		if rest, _ := io.ReadAll(r); string(rest) != "IK" {
			t.Errorf("%s: the orders behind the spec are %q", name, rest)
		}
	}
}

func TestSpecRefused(t *testing.T) {
	whole, err := spec{Path: "/bin/true", Argv: []string{"true"}}.encode()
	if err != nil {
		t.Fatal(err)
	}
	empty, err := spec{Dir: "/"}.encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":      "",
		"half a head":  "\x00\x00",
		"cut":          string(whole[:len(whole)-1]),
		"too long":     "\x00\x80\x00\x01" + strings.Repeat("x", 64),
		"not gob":      "\x00\x00\x00\x03abc",
		"no program":   string(empty),
		"empty length": "\x00\x00\x00\x00",
	} {
		if s, err := readSpec(strings.NewReader(text)); err == nil {
			t.Errorf("%s: read as %+v", name, s)
		}
	}
	if _, err := (spec{Path: strings.Repeat("x", specMost)}).encode(); err == nil {
		t.Error("a spec beyond the bound was sent")
	}
}

func TestStatusLines(t *testing.T) {
	for _, want := range []status{
		{word: "started", n: 1}, {word: "started", n: 4194304},
		{word: "exit"}, {word: "exit", n: 255}, {word: "signal", n: 9},
		{word: "refused", text: "mount /proc: no\n\"exit 0\"\n"}, {word: "start-error", text: "\xff ü"},
	} {
		got, err := next(bufio.NewReader(strings.NewReader(want.line())))
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v", want.line(), got, err)
		}
	}
	for _, bad := range []string{
		"", "exit", "exit ", "exit x", "exit -1", "exit 256", "signal 0", "signal 300", "started 0", "started -1",
		"exit 0 0", "Exit 0", "refused no quotes", "passed 0", "exit 99999999999999999999",
	} {
		if s, err := parseStatus(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, s)
		}
	}
}

// A line that was cut off by the death of the init is no status: "exit 1" may have been "exit 137".
func TestStatusCutOff(t *testing.T) {
	if s, err := next(bufio.NewReader(strings.NewReader("exit 1"))); !errors.Is(err, io.EOF) {
		t.Errorf("got %+v, %v", s, err)
	}
}

func FuzzParseStatus(f *testing.F) {
	for _, s := range []string{"exit 0", "signal 9", "started 17", `refused "x"`, `start-error "\xff"`, "exit -0", "exit +1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		s, err := parseStatus(line)
		if err != nil {
			return
		}
		again, err := parseStatus(strings.TrimSuffix(s.line(), "\n"))
		if err != nil || again != s {
			t.Errorf("%q is %+v, which is said as %q and read as %+v, %v", line, s, s.line(), again, err)
		}
	})
}

func FuzzReadSpec(f *testing.F) {
	whole, err := spec{Path: "/bin/true", Argv: []string{"true", "\xff"}, Env: []string{"A=1"}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte("\x00\x00\x00\x03abc"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := readSpec(bytes.NewReader(data))
		if err == nil && (s.Path == "" || len(s.Argv) == 0) {
			t.Errorf("a spec without a program: %+v", s)
		}
	})
}
