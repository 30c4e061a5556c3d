package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// tree writes files into a new folder, in the order given.
func tree(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("content of "+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPackHoldsEveryFileByItsRelativeName(t *testing.T) {
	packed, err := pack(tree(t, "index.html", "js/views/cart.js", "js/app.js"))
	if err != nil {
		t.Fatal(err)
	}
	archive, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range archive.File {
		names = append(names, file.Name)
		reader, err := file.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		if want := "content of " + file.Name; string(content) != want {
			t.Errorf("%s holds %q, want %q", file.Name, content, want)
		}
		if !file.Modified.Equal(epoch) || file.Mode() != 0o644 {
			t.Errorf("%s has time %v and mode %v, want %v and 0644", file.Name, file.Modified, file.Mode(), epoch)
		}
	}
	if want := []string{"index.html", "js/app.js", "js/views/cart.js"}; !slices.Equal(names, want) {
		t.Errorf("names are %v, want %v", names, want)
	}
}

func TestPackGivesTheSameBytesWhateverTheFolderLooksLike(t *testing.T) {
	first := tree(t, "a.txt", "b/c.txt", "b/d.txt")
	second := tree(t, "b/d.txt", "b/c.txt", "a.txt")
	later := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	for _, name := range []string{"a.txt", "b", "b/c.txt"} {
		if err := os.Chtimes(filepath.Join(second, name), later, later); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(second, "a.txt"), 0o600); err != nil {
		t.Fatal(err)
	}
	one, err := pack(first)
	if err != nil {
		t.Fatal(err)
	}
	two, err := pack(second)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, two) {
		t.Error("the same files gave two different zips")
	}
	if err := os.WriteFile(filepath.Join(second, "a.txt"), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if two, err = pack(second); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(one, two) {
		t.Error("a changed file gave the same zip")
	}
}

func TestPackRefusesASymbolicLink(t *testing.T) {
	dir := tree(t, "index.html")
	if err := os.Symlink("index.html", filepath.Join(dir, "link.html")); err != nil {
		t.Skip("this system makes no symbolic links:", err)
	}
	if _, err := pack(dir); err == nil || !strings.Contains(err.Error(), "link.html") {
		t.Errorf("pack gave %v, want an error that names link.html", err)
	}
}

func TestRun(t *testing.T) {
	out := t.TempDir()
	missing := filepath.Join(out, "missing")
	for _, test := range []struct {
		name  string
		args  []string
		usage bool
		says  string
	}{
		{"no folder", nil, true, "usage"},
		{"no equals sign", []string{"dir"}, true, `"dir"`},
		{"no zip name", []string{"dir="}, true, `"dir="`},
		{"no folder name", []string{"=a.zip"}, true, `"=a.zip"`},
		{"folder that is not there", []string{missing + "=" + filepath.Join(out, "a.zip")}, false, "missing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := run(test.args)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("run gave %v, want an error that says %s", err, test.says)
			}
			if errors.Is(err, errUsage) != test.usage {
				t.Errorf("run gave %v, usage error wanted: %v", err, test.usage)
			}
		})
	}
	if left, _ := os.ReadDir(out); len(left) != 0 {
		t.Errorf("a refused run left %v behind", left)
	}
}

func TestRunLeavesAnEqualZipAlone(t *testing.T) {
	dir, file := tree(t, "index.html"), filepath.Join(t.TempDir(), "app.zip")
	if err := run([]string{dir + "=" + file}); err != nil {
		t.Fatal(err)
	}
	old := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{dir + "=" + file}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || !info.ModTime().Equal(old) {
		t.Errorf("an equal zip was written again (%v, %v)", info.ModTime(), err)
	}
	if err := os.WriteFile(file, []byte("torn"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{dir + "=" + file}); err != nil {
		t.Fatal(err)
	}
	if archive, err := zip.OpenReader(file); err != nil {
		t.Errorf("a torn zip was not replaced: %v", err)
	} else if err := archive.Close(); err != nil {
		t.Error(err)
	}
}
