package bundle

import (
	"archive/zip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
)

// Options change what Pack takes.
type Options struct {
	IncludeEnv bool   // take .env files too, also those that git ignores
	Limits     Limits // zero means DefaultLimits
}

// item is one entry of the archive to be.
type item struct {
	name string
	mode fs.FileMode // regular 0644 or 0755, or a link
	size int64
	link string // clean target of a link
}

// packTime is the time of every entry: the first that zip can tell.
var packTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// Pack writes the test project in dir to w as a zip archive. The same tree
// gives the same bytes.
//
// Left out are: what git ignores; .git, node_modules, .qgjob, test-results and
// playwright-report at any depth; .env files, unless Options.IncludeEnv (then
// those beside packed files and at the top come along, ignored or not); empty
// directories, pipes, sockets and devices. Links that lead out of dir are
// refused. Nothing is written to w before the whole tree has been looked at.
//
// The error kinds: invalid (nothing to pack, unsafe name or link; over a limit
// with qgjob.CodeTooLarge), conflict (a file changed meanwhile), unavailable
// (disk full), internal.
func Pack(ctx context.Context, dir string, w io.Writer, opts Options) (Manifest, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Manifest{}, mapDisk("pack "+show(dir), err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return Manifest{}, invalid("name the directory of the test project", "cannot pack %s: %v", show(dir), err)
	}
	defer root.Close()
	items, manifest, err := plan(ctx, root, abs, opts)
	if err != nil {
		return Manifest{}, err
	}
	if len(items) == 0 {
		return Manifest{}, invalid("name the directory of the test project, and look at its .gitignore",
			"nothing to pack in %s", show(dir))
	}
	out := zip.NewWriter(w)
	for _, it := range items {
		if err := it.write(ctx, root, out); err != nil {
			return Manifest{}, err
		}
	}
	return manifest, mapDisk("write bundle", out.Close())
}

// plan looks at the whole tree, so that what cannot be packed is refused
// before anything is sent.
func plan(ctx context.Context, root *os.Root, dir string, opts Options) ([]item, Manifest, error) {
	limits := opts.Limits.orDefault()
	names, chooser, err := choose(ctx, root, dir, limits)
	if err != nil {
		return nil, Manifest{}, err
	}
	manifest := Manifest{Chooser: chooser}
	env, err := envBeside(root, names)
	if err != nil {
		return nil, Manifest{}, err
	}
	if opts.IncludeEnv {
		names = append(names, env...)
	} else {
		manifest.EnvLeftOut = env
	}
	slices.Sort(names)
	all := newTree(limits)
	var items []item
	var largest item
	links := map[string]bool{}
	for _, name := range names {
		it, err := look(root, name)
		if errors.Is(err, errGone) || belowLink(links, name) {
			continue
		}
		if err != nil {
			return nil, Manifest{}, err
		}
		if it.link != "" {
			links[name] = true
		}
		if err := all.add(name, kindOf(it.mode)); err != nil {
			return nil, Manifest{}, err
		}
		if it.size > limits.MaxFileBytes {
			return nil, Manifest{}, tooLarge("leave it out, for example by .gitignore",
				"%s has %d bytes; the limit for one file is %d", show(name), it.size, limits.MaxFileBytes)
		}
		if it.size > largest.size {
			largest = it
		}
		manifest.Bytes += it.size
		items = append(items, it)
	}
	if manifest.Bytes > limits.MaxBytes {
		return nil, Manifest{}, tooLarge("leave out what the tests do not need, for example by .gitignore",
			"%s holds %d bytes; the limit is %d (the largest file is %s with %d)",
			show(dir), manifest.Bytes, limits.MaxBytes, show(largest.name), largest.size)
	}
	manifest.Files = len(items)
	return items, manifest, nil
}

// belowLink is true for files that git still tracks below a directory that has
// become a link. The link is packed, and they are reached through it.
func belowLink(links map[string]bool, name string) bool {
	for dir := path.Dir(name); len(links) > 0 && dir != "."; dir = path.Dir(dir) {
		if links[dir] {
			return true
		}
	}
	return false
}

// envBeside finds the .env files at the top and beside the chosen files.
func envBeside(root *os.Root, names []string) ([]string, error) {
	dirs := map[string]bool{".": true}
	for _, name := range names {
		dirs[path.Dir(name)] = true
	}
	var out []string
	for dir := range dirs {
		entries, err := readDir(root, dir)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if isEnv(entry.Name()) && (entry.Type().IsRegular() || entry.Type()&fs.ModeSymlink != 0) {
				out = append(out, path.Join(dir, entry.Name()))
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// errGone is a file that was there when the list was made.
var errGone = errors.New("the file is gone")

func look(root *os.Root, name string) (item, error) {
	if err := checkName(name); err != nil {
		return item{}, err
	}
	info, err := root.Lstat(filepath.FromSlash(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return item{}, errGone
	case err != nil:
		return item{}, mapDisk("look at "+show(name), err)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := root.Readlink(filepath.FromSlash(name))
		if err != nil {
			return item{}, mapDisk("read link "+show(name), err)
		}
		target, err = linkTarget(name, filepath.ToSlash(target))
		return item{name: name, mode: fs.ModeSymlink | 0o777, link: target}, err
	case !info.Mode().IsRegular():
		return item{}, errGone
	case info.Mode()&0o100 != 0:
		return item{name: name, mode: 0o755, size: info.Size()}, nil
	}
	return item{name: name, mode: 0o644, size: info.Size()}, nil
}

func kindOf(mode fs.FileMode) kind {
	if mode&fs.ModeSymlink != 0 {
		return aLink
	}
	return aFile
}

func (it item) write(ctx context.Context, root *os.Root, out *zip.Writer) error {
	header := &zip.FileHeader{Name: it.name, Method: zip.Deflate, Modified: packTime}
	header.SetMode(it.mode)
	if it.link != "" {
		header.Method = zip.Store
	}
	entry, err := out.CreateHeader(header)
	if err != nil {
		return mapDisk("write bundle", err)
	}
	if it.link != "" {
		_, err := io.Copy(entry, strings.NewReader(it.link))
		return mapDisk("write bundle", err)
	}
	file, err := root.Open(filepath.FromSlash(it.name))
	if errors.Is(err, fs.ErrNotExist) {
		return it.changed(err)
	}
	if err != nil {
		return mapDisk("pack "+show(it.name), err)
	}
	defer file.Close()
	n, err := io.Copy(entry, io.LimitReader(stoppable{ctx, file}, it.size+1))
	if err != nil {
		return mapDisk("pack "+show(it.name), err)
	}
	if n != it.size {
		return it.changed(nil)
	}
	return nil
}

func (it item) changed(cause error) error {
	out := qgjob.Conflict("", "%s changed while it was packed", show(it.name))
	out.Hint, out.Err = "wait until nothing writes there, and pack again", cause
	return out
}
