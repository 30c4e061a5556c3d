package runner

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// shimSource is one program under three names; it looks at the name it was
// called by.
//
//go:embed appwright_shim.cjs
var shimSource []byte

var shims = []string{"npx", "pkill", "osascript"}

// stockEnv puts programs before the real ones in PATH that keep an unchanged
// AppWright from installing drivers and from starting and killing Appium.
func stockEnv(work string, env []string, p Phone) ([]string, error) {
	bin := filepath.Join(work, "bin")
	err := os.MkdirAll(bin, 0o700)
	for _, name := range shims {
		err = errors.Join(err, os.WriteFile(filepath.Join(bin, name), shimSource, 0o700)) //nolint:gosec // a program
	}
	if err != nil {
		return nil, fmt.Errorf("write the shims of AppWright's stock mode: %w", err)
	}
	path := bin
	for _, kv := range slices.Backward(env) {
		if before, ok := strings.CutPrefix(kv, "PATH="); ok {
			path += string(filepath.ListSeparator) + before
			break
		}
	}
	return append(slices.Clone(env), "PATH="+path, "QGJOB_SHIMS="+bin, "QGJOB_APP_PACKAGE="+p.Package), nil
}
