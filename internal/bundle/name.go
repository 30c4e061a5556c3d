package bundle

import (
	"path"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// checkName refuses every name that could mean different things to different
// systems, or a place outside. Pack and Unpack share it, so that what Pack
// writes Unpack takes. The name has no trailing slash.
func checkName(name string) error {
	const hint = "rename it, or leave it out of the archive"
	switch {
	case name == "":
		return invalid(hint, "a file without a name")
	case len(name) > maxName:
		return invalid(hint, "the name %s is longer than %d bytes", show(name), maxName)
	case !utf8.ValidString(name):
		return invalid(hint, "the name %s is not UTF-8", show(name))
	case strings.ContainsFunc(name, unicode.IsControl):
		return invalid(hint, "the name %s holds a control character", show(name))
	case strings.Contains(name, `\`):
		return invalid(hint, "the name %s holds a backslash", show(name))
	case path.IsAbs(name), len(name) > 1 && name[1] == ':' && isLetter(name[0]):
		return invalid(hint, "the name %s is absolute", show(name))
	}
	segments := strings.Split(name, "/")
	if len(segments) > maxDepth {
		return invalid(hint, "the name %s is deeper than %d directories", show(name), maxDepth)
	}
	for _, segment := range segments {
		switch {
		case segment == "..":
			return invalid(hint, "the name %s leads out of the archive", show(name))
		case segment == "" || segment == ".":
			return invalid(hint, "the name %s is not clean", show(name))
		case len(segment) > maxSegment:
			return invalid(hint, "the name %s has a part longer than %d bytes", show(name), maxSegment)
		}
	}
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return invalid(hint, "the name %s is not allowed on this system", show(name))
	}
	return nil
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// linkTarget refuses a link that could lead out of the tree, and returns its
// target in clean form. Allowed is a relative path that goes up first, at most
// to the top, and then only down. The directories above a link are real ones,
// so the way up is exact; the way down may pass other links, and each of them
// obeys this rule. So no chain of links leads out, also when a link's target
// does not exist yet.
func linkTarget(name, target string) (string, error) {
	const hint = "make it a relative link to something inside, or leave it out"
	if target == "" || len(target) > maxLink {
		return "", invalid(hint, "the link %s has a target of %d bytes", show(name), len(target))
	}
	if path.IsAbs(target) {
		return "", invalid(hint, "the link %s points to the absolute path %s", show(name), show(target))
	}
	depth, down := strings.Count(name, "/"), false
	for segment := range strings.SplitSeq(target, "/") {
		switch {
		case segment == "" || segment == ".":
		case segment != "..":
			down = true
			if err := checkName(segment); err != nil {
				return "", invalid(hint, "the link %s points to the unsafe path %s", show(name), show(target))
			}
		case down:
			return "", invalid(hint, "the link %s points to %s, which goes down and up again", show(name), show(target))
		default:
			depth--
		}
	}
	if depth < 0 {
		return "", invalid(hint, "the link %s points outside, to %s", show(name), show(target))
	}
	return path.Clean(target), nil
}

type kind uint8

const (
	aDir kind = iota
	aFile
	aLink
)

// tree gathers names and refuses those that cannot stand beside each other:
// the same name twice, names that differ only in case (one file on macOS and
// Windows, two on Linux), a name below a file or link.
type tree struct {
	limits Limits
	folded map[string]string // folded name → name
	kinds  map[string]kind
	dirs   []string // every directory, parents first
	leaves int
}

func newTree(limits Limits) *tree {
	return &tree{limits: limits, folded: map[string]string{}, kinds: map[string]kind{}}
}

// add takes a name that checkName has passed, and the directories above it.
func (t *tree) add(name string, as kind) error {
	const hint = "leave one of the two out"
	if was, ok := t.kinds[name]; ok {
		if was == aDir && as == aDir {
			return nil
		}
		return invalid(hint, "the name %s is there twice", show(name))
	}
	if other, ok := t.folded[fold(name)]; ok {
		return invalid(hint, "the names %s and %s differ only in case", show(other), show(name))
	}
	if parent := path.Dir(name); parent != "." && (t.kinds[parent] != aDir || !t.has(parent)) {
		if t.has(parent) {
			return invalid(hint, "the name %s lies below %s, which is not a directory", show(name), show(parent))
		}
		if err := t.add(parent, aDir); err != nil {
			return err
		}
	}
	t.folded[fold(name)] = name
	t.kinds[name] = as
	if as == aDir {
		t.dirs = append(t.dirs, name)
	} else {
		t.leaves++
	}
	if max(t.leaves, len(t.dirs)) > t.limits.MaxFiles {
		return tooLarge("leave out what the tests do not need", "more than %d files or directories", t.limits.MaxFiles)
	}
	return nil
}

func (t *tree) has(name string) bool {
	_, ok := t.kinds[name]
	return ok
}

// fold maps names that differ only in case to one text.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, name)
}
