package bundle

import (
	"archive/zip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const encrypted = 1 // bit of zip.FileHeader.Flags

// contents is what an archive holds, looked at and found safe.
type contents struct {
	limits Limits
	tree   *tree
	files  []entry
	links  []entry
}

type entry struct {
	name string
	file *zip.File
}

// survey looks at all names, kinds and announced sizes.
func survey(archive *zip.Reader, limits Limits) (contents, error) {
	c := contents{limits: limits, tree: newTree(limits)}
	var announced uint64
	for _, file := range archive.File {
		name := file.Name
		for strings.HasPrefix(name, "./") {
			name = name[2:]
		}
		if name == "" && file.Name != "" {
			continue // the top itself
		}
		name, slash := strings.CutSuffix(name, "/")
		if err := checkName(name); err != nil {
			return contents{}, err
		}
		as, err := entryKind(file, name, slash)
		if err != nil {
			return contents{}, err
		}
		if err := c.tree.add(name, as); err != nil {
			return contents{}, err
		}
		switch as {
		case aFile:
			c.files = append(c.files, entry{name, file})
		case aLink:
			c.links = append(c.links, entry{name, file})
		case aDir:
			continue
		}
		if file.UncompressedSize64 > uint64(limits.MaxFileBytes) {
			return contents{}, fileTooLarge(name, limits)
		}
		// No overflow: each is at most MaxFileBytes, and the sum is checked.
		if announced += file.UncompressedSize64; announced > uint64(limits.MaxBytes) {
			return contents{}, allTooLarge(limits)
		}
	}
	return c, nil
}

func fileTooLarge(name string, limits Limits) error {
	return tooLarge("leave it out of the archive", "%s unpacks to more than the limit of %d bytes for one file", show(name), limits.MaxFileBytes)
}

func allTooLarge(limits Limits) error {
	return tooLarge("leave out what is not needed", "the archive unpacks to more than the limit of %d bytes", limits.MaxBytes)
}

func entryKind(file *zip.File, name string, slash bool) (kind, error) {
	const hint = "make the archive again with plain files only"
	if file.Flags&encrypted != 0 {
		return 0, invalid("make the archive again without a password", "%s is encrypted", show(name))
	}
	switch mode := file.Mode(); {
	case slash && mode&fs.ModeType == fs.ModeDir, !slash && mode.IsDir():
		return aDir, nil
	case slash:
		return 0, invalid(hint, "%s is a directory by name and something else by mode", show(name))
	case mode&fs.ModeSymlink != 0:
		return aLink, nil
	case !mode.IsRegular():
		return 0, invalid(hint, "%s is a device, pipe or socket", show(name))
	}
	return aFile, nil
}

// fill writes everything to a new directory below parent and syncs it. Links
// come last, so no file can be written through one.
func (c contents) fill(ctx context.Context, source *source, parent *os.Root, temp string) (Manifest, error) {
	if err := parent.Mkdir(temp, 0o700); err != nil {
		return Manifest{}, mapDisk("unpack", err)
	}
	root, err := parent.OpenRoot(temp)
	if err != nil {
		return Manifest{}, mapDisk("unpack", err)
	}
	defer root.Close()
	for _, dir := range c.tree.dirs {
		if err := root.Mkdir(filepath.FromSlash(dir), 0o700); err != nil {
			return Manifest{}, c.occupied(dir, err)
		}
	}
	manifest := Manifest{Files: len(c.files) + len(c.links)}
	for _, e := range c.files {
		n, err := c.writeFile(ctx, source, root, e, c.limits.MaxBytes-manifest.Bytes)
		if err != nil {
			return Manifest{}, err
		}
		manifest.Bytes += n
	}
	for _, e := range c.links {
		if err := c.writeLink(source, root, e); err != nil {
			return Manifest{}, err
		}
	}
	return manifest, mapDisk("sync unpacked files", syncTree(root))
}

// occupied explains a name that is taken in a directory that was empty: the
// file system holds two names for one, say in two Unicode spellings.
func (c contents) occupied(name string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return invalid("leave one of the two out", "%s is there twice for this file system", show(name))
	}
	return mapDisk("unpack "+show(name), err)
}

// writeFile inflates one file; left is how many bytes all files may still have.
func (c contents) writeFile(ctx context.Context, source *source, root *os.Root, e entry, left int64) (int64, error) {
	mode := fs.FileMode(0o600)
	if e.file.Mode()&0o100 != 0 {
		mode = 0o700
	}
	in, err := e.file.Open()
	if err != nil {
		return 0, source.explain("unpack "+show(e.name), err)
	}
	defer in.Close()
	file, err := root.OpenFile(filepath.FromSlash(e.name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return 0, c.occupied(e.name, err)
	}
	disk := &diskWriter{file: file}
	n, err := io.Copy(disk, io.LimitReader(stoppable{ctx, in}, min(left, c.limits.MaxFileBytes)+1))
	closed := errors.Join(syncFile(file), file.Close())
	switch {
	case disk.err != nil:
		return 0, mapDisk("unpack "+show(e.name), disk.err)
	case n > c.limits.MaxFileBytes:
		return 0, fileTooLarge(e.name, c.limits)
	case n > left:
		return 0, allTooLarge(c.limits)
	case err != nil:
		return 0, source.explain("unpack "+show(e.name), err)
	case closed != nil:
		return 0, mapDisk("unpack "+show(e.name), closed)
	}
	return n, nil
}

func (c contents) writeLink(source *source, root *os.Root, e entry) error {
	in, err := e.file.Open()
	if err != nil {
		return source.explain("unpack "+show(e.name), err)
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, maxLink+1))
	if err != nil && len(text) <= maxLink {
		return source.explain("unpack "+show(e.name), err)
	}
	target, err := linkTarget(e.name, string(text))
	if err != nil {
		return err
	}
	if err := root.Symlink(filepath.FromSlash(target), filepath.FromSlash(e.name)); err != nil {
		return c.occupied(e.name, err)
	}
	return nil
}

// diskWriter remembers that the disk failed, not the archive.
type diskWriter struct {
	file *os.File
	err  error
}

func (w *diskWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	if err != nil {
		w.err = err
	}
	return n, err
}
