package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// checkout writes files into a new git repository; ignored names go into .gitignore.
func checkout(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		full := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git(t, dir, "init", "-q")
	return dir
}

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	command := exec.Command("git", args...)
	command.Dir = dir
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

// files is the sound tree as text.
func files() map[string]string {
	out := map[string]string{}
	for name, file := range sound() {
		out[name] = string(file.Data)
	}
	return out
}

func TestRun(t *testing.T) {
	bad := "package p\n// TO" + "DO\n"
	for _, test := range []struct {
		name  string
		extra map[string]string
		args  []string
		code  int
		want  string // in stdout or stderr
	}{
		{"sound", nil, nil, 0, "CHANGELOG.md"},
		{"untracked file counts", map[string]string{"internal/store/x.go": bad}, nil, 1, "internal/store/x.go:2: unfinished"},
		{"ignored file does not", map[string]string{"internal/store/x.go": bad, ".gitignore": "x.go\n"}, nil, 0, ""},
		{"broken ratio", map[string]string{"internal/lease/x.go": "package p\n//\n//\n//\n"}, nil, 1, "budgets: 1 broken"},
		{"broken ratio in a young tree", map[string]string{"internal/lease/x.go": "package p\n//\n//\n//\n"}, []string{"-young"}, 0, "forgiven by -young"},
		{"young forgives nothing else", map[string]string{"internal/store/x.go": bad}, []string{"-young"}, 1, "BROKEN"},
		{"Go that does not parse", map[string]string{"x.go": "package"}, nil, 2, "x.go"},
		{"test data is not Go", map[string]string{"testdata/x.go": "package"}, nil, 0, ""},
		{"unknown flag", nil, []string{"-old"}, 2, "-old"},
		{"help", nil, []string{"-h"}, 0, "-young"},
	} {
		t.Run(test.name, func(t *testing.T) {
			all := files()
			for name, text := range test.extra {
				all[name] = text
			}
			var stdout, stderr bytes.Buffer
			code := run(append([]string{"-root", checkout(t, all)}, test.args...), &stdout, &stderr)
			if code != test.code {
				t.Errorf("code %d, want %d\n%s%s", code, test.code, &stdout, &stderr)
			}
			if !strings.Contains(stdout.String()+stderr.String(), test.want) {
				t.Errorf("output lacks %q:\n%s%s", test.want, &stdout, &stderr)
			}
		})
	}
}

func TestTrackedFilesCount(t *testing.T) {
	all := files()
	all["internal/store/x.go"] = "package p\n// FIX" + "ME\n"
	dir := checkout(t, all)
	git(t, dir, "add", ".")
	// Tracked files count even when a later rule ignores them, and those deleted from the disk do not.
	if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte("x.go\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := run([]string{"-root", dir}, &out, &out); code != 1 {
		t.Errorf("code %d, want 1\n%s", code, &out)
	}
	if err := os.Remove(filepath.Join(dir, "internal/store/x.go")); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if code := run([]string{"-root", dir}, &out, &out); code != 0 {
		t.Errorf("after the removal: code %d, want 0\n%s", code, &out)
	}
}

func TestNoCheckout(t *testing.T) {
	var out bytes.Buffer
	if code := run([]string{"-root", filepath.Join(t.TempDir(), "gone")}, &out, &out); code != 2 {
		t.Errorf("code %d, want 2\n%s", code, &out)
	}
	if !strings.Contains(out.String(), "list files of") {
		t.Errorf("output does not say what failed: %s", &out)
	}
}

func TestLoadPassesOverData(t *testing.T) {
	path := "/" + "tmp/x\n"
	tree := fstest.MapFS{
		"image.png": {Data: []byte("\x00" + path)},
		"huge.json": {Data: []byte(strings.Repeat("x", maxRead) + path)},
		"small.txt": {Data: []byte(path)},
	}
	loaded, err := load(tree, []string{"huge.json", "image.png", "small.txt", "gone.txt"})
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded.text) != 1 || loaded.text[0].path != "small.txt" {
		t.Errorf("read %v, want small.txt alone", loaded.text)
	}
	if len(loaded.paths) != 3 || loaded.paths["gone.txt"] {
		t.Errorf("paths %v, want the three that exist", loaded.paths)
	}
}

func TestLines(t *testing.T) {
	for text, want := range map[string]int{"": 0, "\n": 0, "a": 1, "a\n": 1, "a\nb": 2, "a\n\nb\n": 3} {
		if got := len(lines([]byte(text))); got != want {
			t.Errorf("%q has %d lines, want %d", text, got, want)
		}
	}
}

func TestInTestdata(t *testing.T) {
	for name, want := range map[string]bool{
		"testdata/a.go": true, "a/testdata/b/c.go": true, "a/_old/b.go": true, "a/testdata.go": false, "a.go": false, "latest/data/a.go": false,
	} {
		if got := inTestdata(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
