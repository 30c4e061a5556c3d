package bundle

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
)

const (
	ignoreFile    = ".gitignore"
	maxIgnoreFile = 1 << 20 // bytes; longer ones are not patterns of people
)

// walker finds files where git cannot be asked. Names that it hands to keep
// are relative to root; patterns see them with prefix, the way from the top of
// the checkout down to root.
type walker struct {
	ctx    context.Context
	root   *os.Root
	prefix string
	keep   func(string) error
}

func (w walker) walk(dir string, files []patterns) error {
	if w.ctx.Err() != nil {
		return w.ctx.Err()
	}
	base := path.Join(w.prefix, dir)
	if base == "." {
		base = ""
	}
	if text, err := readSmall(w.root, path.Join(dir, ignoreFile)); err == nil {
		files = append(slices.Clip(files), parsePatterns(base, text))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return mapDisk("read "+show(path.Join(dir, ignoreFile)), err)
	}
	entries, err := readDir(w.root, dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		if isLeftOut(entry.Name()) || ignored(files, path.Join(base, entry.Name()), entry.IsDir()) {
			continue
		}
		switch {
		case entry.IsDir():
			err = w.walk(name, files)
		case entry.Type().IsRegular() || entry.Type()&fs.ModeSymlink != 0:
			err = w.keep(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func readDir(root *os.Root, dir string) ([]fs.DirEntry, error) {
	file, err := root.Open(filepath.FromSlash(dir))
	if err != nil {
		return nil, mapDisk("list "+show(dir), err)
	}
	entries, err := file.ReadDir(-1)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, mapDisk("list "+show(dir), err)
	}
	return entries, nil
}

// filesAbove reads the .gitignore files between the top of the checkout that
// dir lies in and dir, without dir's own, and the checkout's exclude file. It
// returns the way from the top to dir. In no checkout there are none. Nor do
// they count when they ignore dir itself: who names it wants it packed.
func filesAbove(dir string) (files []patterns, prefix string) {
	top := dir
	for {
		if _, err := os.Lstat(filepath.Join(top, ".git")); err == nil {
			break
		}
		if filepath.Dir(top) == top {
			return nil, ""
		}
		top = filepath.Dir(top)
	}
	rel, err := filepath.Rel(top, dir)
	if err != nil {
		return nil, ""
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, ""
	}
	defer root.Close()
	if text, err := readSmall(root, ".git/info/exclude"); err == nil {
		files = append(files, parsePatterns("", text))
	}
	prefix = filepath.ToSlash(rel)
	if prefix == "." {
		return files, ""
	}
	for i := 0; i < len(prefix); i++ {
		if i > 0 && prefix[i] != '/' {
			continue
		}
		if base := prefix[:i]; base == "" {
			files = appendFile(files, root, "")
		} else if ignored(files, base, true) {
			return nil, prefix
		} else {
			files = appendFile(files, root, base)
		}
	}
	if ignored(files, prefix, true) {
		return nil, prefix
	}
	return files, prefix
}

// appendFile leaves out a file that is not there or cannot be read, as git does.
func appendFile(files []patterns, root *os.Root, base string) []patterns {
	text, err := readSmall(root, path.Join(base, ignoreFile))
	if err != nil {
		return files
	}
	return append(files, parsePatterns(base, text))
}

// readSmall reads a regular file of at most maxIgnoreFile bytes. Anything else
// under that name, a directory or a pipe, is as good as not there.
func readSmall(root *os.Root, name string) (string, error) {
	info, err := root.Lstat(filepath.FromSlash(name))
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > maxIgnoreFile {
		return "", fs.ErrNotExist
	}
	text, err := root.ReadFile(filepath.FromSlash(name))
	return string(text), err
}
