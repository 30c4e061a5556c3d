package proc

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// lookPath finds the program for name. A bare name is searched in the PATH of env; empty and relative entries of PATH
// are passed over, so a checkout under test can never shadow a tool of the machine. A name with a slash is relative
// to dir.
func lookPath(name, dir string, env []string) (string, error) {
	if isPath(name) {
		full := name
		if !filepath.IsAbs(full) {
			full = filepath.Join(dir, full)
		}
		found, err := exec.LookPath(full)
		if err != nil {
			return "", fmt.Errorf("start %s: %w: it must exist and be executable", name, cause(err))
		}
		return found, nil
	}
	list, ok := getenv(env, "PATH")
	if !ok || list == "" {
		return "", fmt.Errorf("start %s: the environment given has no PATH: set it, or give the program by its path", name)
	}
	for _, folder := range filepath.SplitList(list) {
		if !filepath.IsAbs(folder) {
			continue
		}
		if found, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("start %s: %w in PATH=%s: install it, or give it by its path", name, exec.ErrNotFound, list)
}

// cause takes the program's name off an exec.Error: the caller names it already.
func cause(err error) error {
	var e *exec.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

func isPath(name string) bool {
	if strings.ContainsRune(name, '/') || name == "." || name == ".." {
		return true
	}
	return runtime.GOOS == "windows" && strings.ContainsAny(name, `\:`)
}

func getenv(env []string, key string) (string, bool) {
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok && sameKey(k, key) {
			return v, true
		}
	}
	return "", false
}

// lastWins keeps the last value of each key, in the order of first appearance: callers append overrides to a base,
// and a C program would read the first value.
func lastWins(env []string) []string {
	at := make(map[string]int, len(env))
	out := make([]string, 0, len(env))
	for _, kv := range env {
		key, _, ok := strings.Cut(kv, "=")
		if !ok {
			out = append(out, kv)
			continue
		}
		if runtime.GOOS == "windows" {
			key = strings.ToUpper(key)
		}
		if i, before := at[key]; before {
			out[i] = kv
			continue
		}
		at[key] = len(out)
		out = append(out, kv)
	}
	return out
}

func sameKey(a, b string) bool {
	return a == b || runtime.GOOS == "windows" && strings.EqualFold(a, b)
}
