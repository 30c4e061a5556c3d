// Command zipdir packs folders into zip files, the same bytes every time.
//
//	zipdir DIR=FILE.zip [DIR=FILE.zip ...]
//
// Names are sorted, times and modes are fixed and nothing of the machine gets in, so an
// unchanged folder keeps its SHA-256 and an agent that holds it installs nothing.
package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// epoch is the time of every entry: the first that the zip format can hold.
var epoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// errUsage tells a wrong command line from a folder that could not be packed.
var errUsage = errors.New("usage: zipdir DIR=FILE.zip [DIR=FILE.zip ...]")

func main() {
	err := run(os.Args[1:])
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "zipdir:", err)
	if errors.Is(err, errUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}

func run(args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	for _, arg := range args {
		dir, file, ok := strings.Cut(arg, "=")
		if !ok || dir == "" || file == "" {
			return fmt.Errorf("%q: %w", arg, errUsage)
		}
		packed, err := pack(dir)
		if err != nil {
			return fmt.Errorf("pack %s: %w", dir, err)
		}
		if err := replace(file, packed); err != nil {
			return err
		}
	}
	return nil
}

// pack gives the zip of the regular files under dir. Names are relative to dir, with slashes.
// A symbolic link or a device is an error: the app would differ from one machine to the next.
func pack(dir string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()

	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	// WalkDir goes in lexical order, which is what makes the order of the entries fixed.
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if !entry.Type().IsRegular() {
			return fmt.Errorf("%s is not a regular file", name)
		}
		return add(archive, root, name)
	})
	if err != nil {
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func add(archive *zip.Writer, root *os.Root, name string) error {
	content, err := root.ReadFile(name)
	if err != nil {
		return err
	}
	header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: epoch}
	header.SetMode(0o644)
	entry, err := archive.CreateHeader(header)
	if err != nil {
		return err
	}
	_, err = entry.Write(content)
	return err
}

// replace writes file by way of a neighbour, so that a reader never sees half a zip, and leaves
// an equal file alone.
func replace(file string, content []byte) error {
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, content) {
		return nil
	}
	half := file + ".part"
	if err := os.WriteFile(half, content, 0o644); err != nil {
		return err
	}
	return os.Rename(half, file)
}
