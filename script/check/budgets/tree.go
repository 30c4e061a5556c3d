package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
)

// maxRead is the size in bytes from which a file that is not Go is taken for data and not read.
const maxRead = 1 << 20

// tree is what git tracks or would track, by slash path from the root.
type tree struct {
	golang []*goFile // parsed, sorted by path
	text   []textFile
	gomod  string          // text of go.mod
	paths  map[string]bool // every path, read or not
}

// textFile is a file of any kind that can be looked at line by line.
type textFile struct {
	path  string
	lines []string
}

// readTree asks git for the paths and reads them. Paths that are tracked but gone from the disk are left out.
func readTree(root string) (*tree, error) {
	list := exec.CommandContext(context.Background(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("list files of %s: git ls-files: %w", root, err)
	}
	names := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	slices.Sort(names)
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return load(dir.FS(), slices.Compact(names))
}

// load reads the named files of a file system.
func load(files fs.FS, names []string) (*tree, error) {
	t := &tree{paths: map[string]bool{}}
	for _, name := range names {
		data, err := readText(files, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		t.paths[name] = true
		if data == nil {
			continue
		}
		t.text = append(t.text, textFile{path: name, lines: lines(data)})
		if name == "go.mod" {
			t.gomod = string(data)
		}
		if strings.HasSuffix(name, ".go") && !inTestdata(name) {
			parsed, err := parseGo(name, data)
			if err != nil {
				return nil, err
			}
			t.golang = append(t.golang, parsed)
		}
	}
	return t, nil
}

// readText gives nil for what is not text: links, folders, large files and files with a NUL byte.
func readText(files fs.FS, name string) ([]byte, error) {
	info, err := fs.Lstat(files, name)
	if err != nil {
		return nil, err
	}
	isGo := strings.HasSuffix(name, ".go")
	if !info.Mode().IsRegular() || (info.Size() > maxRead && !isGo) {
		return nil, nil
	}
	file, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(data, 0) >= 0 && !isGo {
		return nil, nil
	}
	return data, nil
}

// lines splits without an empty last line, so that len is what wc -l says.
func lines(data []byte) []string {
	text := strings.TrimSuffix(string(data), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// inTestdata tells whether the go tool passes over the file.
func inTestdata(name string) bool {
	for _, part := range strings.Split(path.Dir(name), "/") {
		if part == "testdata" || strings.HasPrefix(part, "_") {
			return true
		}
	}
	return false
}
