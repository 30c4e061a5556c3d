package bundle

import (
	"context"
	"errors"
	"os"
	"path"
	"slices"
	"strings"
)

// leftOut are never packed, at any depth: they are large, of one machine, or
// of an earlier run.
var leftOut = []string{".git", "node_modules", ".qgjob", "test-results", "playwright-report"}

func isLeftOut(name string) bool {
	for segment := range strings.SplitSeq(name, "/") {
		if slices.Contains(leftOut, segment) {
			return true
		}
	}
	return false
}

// isEnv says whether a file is one that people keep secrets in. Examples and
// templates are made to be shared.
func isEnv(name string) bool {
	base := path.Base(name)
	rest, ok := strings.CutPrefix(base, ".env")
	switch {
	case !ok:
		return false
	case rest == "" || rest == "rc":
		return true
	case rest[0] != '.':
		return false
	}
	for _, harmless := range []string{".example", ".sample", ".template", ".dist", ".schema"} {
		if strings.HasSuffix(rest, harmless) {
			return false
		}
	}
	return true
}

var errNoGit = errors.New("git has no answer")

// choose lists what belongs to the project, without directories, not sorted.
// Git is asked first, because only it knows about tracked files that a pattern
// would ignore, and about the user's own exclude file.
func choose(ctx context.Context, root *os.Root, dir string, limits Limits) (names []string, chooser string, err error) {
	seen := map[string]bool{}
	keep := func(name string) error {
		if isLeftOut(name) || isEnv(name) || seen[name] {
			return nil
		}
		seen[name] = true
		names = append(names, name)
		if len(names) > limits.MaxFiles {
			return tooManyFiles(dir, limits)
		}
		return nil
	}
	err = askGit(ctx, root, dir, "", keep)
	if err == nil && (len(names) > 0 || !gitIgnoresAll(ctx, dir)) {
		return names, ChosenByGit, nil
	}
	if err != nil && !errors.Is(err, errNoGit) {
		return nil, "", err
	}
	names, seen = nil, map[string]bool{}
	files, prefix := filesAbove(dir)
	w := walker{ctx: ctx, root: root, prefix: prefix, keep: keep}
	err = w.walk(".", files)
	return names, ChosenByFiles, err
}

func tooManyFiles(dir string, limits Limits) error {
	return tooLarge("leave out what the tests do not need, for example by .gitignore, or pack a smaller directory",
		"%s holds more than %d files", dir, limits.MaxFiles)
}
