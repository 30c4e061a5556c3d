package bundle

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// askGit calls keep for every file below dir/sub that git tracks or does not
// ignore. Nested repositories and submodules, of which git lists only the
// directory, are asked themselves. errNoGit means that git is not installed,
// that dir is in no checkout, or that git refuses to work here.
func askGit(ctx context.Context, root *os.Root, dir, sub string, keep func(string) error) error {
	cmd := git(ctx, filepath.Join(dir, filepath.FromSlash(sub)),
		"ls-files", "--cached", "--others", "--exclude-standard", "-z")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return errNoGit
	}
	var nested []string
	lines := bufio.NewScanner(out)
	lines.Split(splitNUL)
	var stop error
	for stop == nil && lines.Scan() {
		name := strings.TrimSuffix(lines.Text(), "/")
		if name == "" || name == "." || isLeftOut(name) {
			continue
		}
		if sub != "" {
			name = sub + "/" + name
		}
		info, err := root.Lstat(filepath.FromSlash(name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			// Tracked, but deleted in the working tree.
		case err != nil:
			stop = mapDisk("look at "+show(name), err)
		case info.IsDir():
			nested = append(nested, name)
		case info.Mode().IsRegular() || info.Mode()&fs.ModeSymlink != 0:
			stop = keep(name)
		}
	}
	if stop != nil {
		// The rest of the list is of no use; the kill makes Wait return.
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return stop
	}
	if err := errors.Join(lines.Err(), cmd.Wait()); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errNoGit
	}
	for _, name := range nested {
		// Without a repository of its own it is a submodule never fetched.
		if _, err := root.Lstat(filepath.FromSlash(name + "/.git")); err != nil {
			continue
		}
		if err := askGit(ctx, root, dir, name, keep); err != nil {
			return err
		}
	}
	return nil
}

// gitIgnoresAll says whether dir itself is ignored, say as a build's output.
// Who names it wants it packed all the same.
func gitIgnoresAll(ctx context.Context, dir string) bool {
	return git(ctx, filepath.Dir(dir), "check-ignore", "--quiet", "--", filepath.Base(dir)).Run() == nil
}

// git makes a command that looks at dir alone, also when this process runs
// inside a git hook, and that starts no program which a repository names.
func git(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "core.fsmonitor=false"}, args...)...)
	cmd.Dir = dir
	for _, pair := range os.Environ() {
		switch name, _, _ := strings.Cut(pair, "="); name {
		case "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_LITERAL_PATHSPECS":
		default:
			cmd.Env = append(cmd.Env, pair)
		}
	}
	cmd.Env = append(cmd.Env, "GIT_OPTIONAL_LOCKS=0")
	return cmd
}

func splitNUL(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return i + 1, data[:i], nil
	}
	return 0, nil, nil
}
