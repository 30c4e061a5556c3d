package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// module writes a Go module with one test file.
func module(t *testing.T, body string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":    "module m\n\ngo 1.26\n",
		"m_test.go": "package m\n\nimport \"testing\"\n\n" + body,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestRun runs the real go test on small modules.
func TestRun(t *testing.T) {
	const ok, bad = "func TestOK(t *testing.T) { t.Log(\"quiet\") }\n", "func TestBad(t *testing.T) { t.Fatal(\"the wheel is square\") }\n"
	const skips = "func TestPage(t *testing.T) { t.Skip(\"no browser here\") }\n"
	for _, test := range []struct {
		name, body string
		args       []string
		code       int
		want, not  []string
	}{
		{"passes", ok, []string{"./..."}, 0, []string{"ok  \tm\t", "tests: 1 passed, 0 failed, 0 skipped in 1 packages"}, []string{"quiet", "=== RUN"}},
		{"fails", ok + bad, []string{"./..."}, 1, []string{"the wheel is square", "FAIL\tm\t", "failed: m TestBad", "1 passed, 1 failed"}, []string{"quiet"}},
		{"skips", ok + skips, []string{"./..."}, 0, []string{"skipped: m TestPage", "no browser here", "1 skipped"}, nil},
		{"skips what must run", ok + skips, []string{"-must-run", "(?i)browser", "--", "./..."}, 1, []string{"SKIPPED, but must run here: m TestPage"}, nil},
		{"skips something else", ok + skips, []string{"-must-run", "postgres", "--", "./..."}, 0, []string{"skipped: m TestPage"}, nil},
		{"only skips", skips, []string{"./..."}, 1, []string{"no test ran"}, nil},
		{"runs none", ok, []string{"--", "-run", "Nothing", "./..."}, 1, []string{"no test ran"}, nil},
		{"passes arguments on", ok + bad, []string{"--", "-run", "TestOK", "./..."}, 0, []string{"1 passed, 0 failed"}, nil},
		{"does not build", "func TestOK(t *testing.T) { undefined() }\n", []string{"./..."}, 1, []string{"undefined: undefined", "build failed"}, nil},
		{"panics", "func TestBoom(t *testing.T) { panic(\"boom\") }\n", []string{"./..."}, 1, []string{"panic: boom", "m_test.go:5", "failed: m TestBoom"}, nil},
		{"bad regexp", ok, []string{"-must-run", "("}, 2, []string{"-must-run"}, nil},
		{"bad package", ok, []string{"./gone"}, 1, []string{"gone"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out, errs bytes.Buffer // two, because go test writes to both at once
			code := run(context.Background(), module(t, test.body), test.args, &out, &errs)
			out.Write(errs.Bytes())
			if code != test.code {
				t.Errorf("code %d, want %d", code, test.code)
			}
			for _, want := range test.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("output lacks %q", want)
				}
			}
			for _, not := range test.not {
				if strings.Contains(out.String(), not) {
					t.Errorf("output has %q", not)
				}
			}
			if t.Failed() {
				t.Log(out.String())
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, module(t, "func TestOK(t *testing.T) {}\n"), []string{"./..."}, &out, &errs); code != 1 {
		t.Errorf("code %d after an interrupt, want 1\n%s%s", code, &out, &errs)
	}
}
