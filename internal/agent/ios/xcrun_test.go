//go:build unix

package ios

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExec runs a program that stands in for xcrun: its arguments arrive
// unsplit, its words on failure are told, and without it there is an advice.
func TestExec(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if _, err := Xcrun(); err == nil || !strings.Contains(err.Error(), "Mac with Xcode") {
		t.Errorf("without xcrun: %v", err)
	}
	script := "#!/bin/sh\nif [ \"$2\" = boot ]; then echo 'Unable to boot' >&2; exit 149; fi\nfor a; do echo \"<$a>\"; done\n"
	if err := os.WriteFile(filepath.Join(dir, "xcrun"), []byte(script), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	run, err := Xcrun()
	if err != nil {
		t.Fatal(err)
	}
	out, err := run(t.Context(), SimInstall("U", "/a b/$(x).app"))
	if want := "<simctl>\n<install>\n<U>\n</a b/$(x).app>\n"; err != nil || string(out) != want {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := run(t.Context(), simctl("boot", "U")); err == nil || !strings.Contains(err.Error(), "Unable to boot") {
		t.Errorf("a failure says %v", err)
	}
}

func TestBounded(t *testing.T) {
	b := &bounded{max: 3}
	for _, s := range []string{"ab", "cd", "ef"} {
		if n, err := b.Write([]byte(s)); n != 2 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if b.String() != "abc" || !b.over {
		t.Errorf("%q, %t", b.String(), b.over)
	}
}
