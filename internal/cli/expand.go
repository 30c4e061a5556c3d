package cli

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/qualgent/qgjob"
)

// project is where test files are looked for: the packed bundle (then every
// file must be in it), or the working directory (then a literal path is taken
// as it is, since the agent may have a project of its own).
type project struct {
	files  fs.FS
	dir    string // as people call it
	bundle bool
}

// workingDir is the project without a bundle. close ends it.
func workingDir(dir string) (p project, closing func(), err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return p, nil, err
	}
	return project{files: root.FS(), dir: dir}, func() { _ = root.Close() }, nil
}

// expand turns --test values into test paths: globs (** included) into the
// files that they match, in order; each file once. A glob without a match is a
// usage error: a run of nothing would look green.
func (p project) expand(patterns []string) ([]string, error) {
	var out []string
	seen := map[string]bool{}
	for _, pattern := range patterns {
		found, err := p.one(strings.TrimPrefix(filepath.ToSlash(pattern), "./"))
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if !seen[f] {
				seen[f] = true
				out = append(out, f)
			}
		}
	}
	return out, nil
}

func (p project) one(pattern string) ([]string, error) {
	literal := path.Clean(pattern)
	if pattern == "" {
		literal = ""
	}
	info, err := fs.Stat(p.files, literal)
	switch {
	case err == nil && info.IsDir():
		return nil, usage("test", "%s is a folder; name its files, such as '%s/**/*.spec.js'", literal, strings.TrimSuffix(literal, "/"))
	case err == nil:
		return []string{literal}, nil
	case !strings.ContainsAny(pattern, "*?[{"):
		if p.bundle && qgjob.CheckTestPath(literal) == nil {
			return nil, usage("test", "no file %s in the bundle of %s (paths are relative to --bundle; git-ignored files are left out)", literal, p.dir)
		}
		return []string{literal}, nil
	}
	if !doublestar.ValidatePattern(pattern) {
		return nil, usage("test", "%q is not a pattern that can be read", pattern)
	}
	found, err := doublestar.Glob(pruned{p.files}, pattern, doublestar.WithFilesOnly())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, usage("test", "%q: %v", pattern, err)
	}
	if len(found) == 0 {
		return nil, usage("test", "no file matches %q in %s", pattern, p.dir)
	}
	slices.Sort(found)
	return found, nil
}

// pruned is a file system without the folders that never hold a project's own
// tests: a ** would walk tens of thousands of files there.
type pruned struct{ fs.FS }

// ReadDir lists a folder.
func (p pruned) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(p.FS, name)
	return slices.DeleteFunc(all, func(e fs.DirEntry) bool {
		return e.IsDir() && (e.Name() == "node_modules" || e.Name() == ".git")
	}), err
}

// Stat describes a file.
func (p pruned) Stat(name string) (fs.FileInfo, error) { return fs.Stat(p.FS, name) }
