//go:build unix

package agent

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// FuzzSpool: whatever lies in the spool, it is offered whole or set aside,
// never half and never under another lease.
func FuzzSpool(f *testing.F) {
	id := strings.Repeat("a", 32)
	for _, text := range []string{"", "{}", `{"lease_id":"` + id + `"}`, `{"lease_id":"` + id + `","complete":{"outcome":"passed"}}`, `{"lease_id":"../x"}`, "\x00"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		s, err := openSpool(dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, id+".json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		kept, err := s.list(time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		aside, _ := os.ReadDir(filepath.Join(dir, "damaged"))
		if len(kept)+len(aside) != 1 {
			t.Errorf("%q: %d kept and %d set aside", text, len(kept), len(aside))
		}
		if len(kept) == 1 && string(kept[0].LeaseID) != id {
			t.Errorf("%q is offered under %q", text, kept[0].LeaseID)
		}
	})
}

// FuzzResume: after any answer of the server the stream goes on inside its
// file, or ends.
func FuzzResume(f *testing.F) {
	for _, n := range []int64{-1, 0, 5, 10, 11, 1 << 62} {
		f.Add(n, int64(5), int64(10))
	}
	f.Fuzz(func(t *testing.T, wanted, at, size int64) {
		if at < 0 || size < at {
			return
		}
		next, err := resumeAt(&qgjob.Error{Kind: qgjob.KindConflict, Code: qgjob.CodeOffset, Offset: wanted}, at, size)
		if err == nil && (next < 0 || next > size || next == at) {
			t.Errorf("goes on at %d of %d after %d", next, size, at)
		}
	})
}

// FuzzFolderFor: any legal agent name gives one harmless folder.
func FuzzFolderFor(f *testing.F) {
	for _, name := range []string{"a1", "..", "a/b", "-x", "=y", "ä"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if qgjob.CheckName("name", name) != nil {
			return
		}
		got := folderFor(qgjob.AgentID(name))
		if !filepath.IsLocal(got) || filepath.Base(got) != got || got == "." || len(got) > 64 {
			t.Errorf("%q lies in %q", name, got)
		}
	})
}

// FuzzTestFile: no test path reaches a file outside the project.
func FuzzTestFile(f *testing.F) {
	for _, path := range []string{"a.js", "../secret", "/etc/passwd", "link/secret", "a/../../secret", ".", "", "a.js/", "./a.js"} {
		f.Add(path)
	}
	dir := f.TempDir()
	project := filepath.Join(dir, "project")
	if err := os.Mkdir(project, 0o700); err != nil {
		f.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "secret"), filepath.Join(project, "a.js")} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			f.Fatal(err)
		}
	}
	if err := os.Symlink(dir, filepath.Join(project, "link")); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if err := checkTestFile(project, path); err == nil && path != "a.js" {
			t.Errorf("%q was found", path)
		}
	})
}

// FuzzOwnFiles: files that were damaged, or came with a project.
func FuzzOwnFiles(f *testing.F) {
	f.Add([]byte(`{"incarnation":7}`), []byte(`{"scripts":{"install":"x"}}`))
	f.Add([]byte(`{"incarnation":9223372036854775807}`), []byte(`{"scripts":[]}`))
	f.Add([]byte(`{"incarnation":-1}`), []byte(nil))
	f.Add([]byte(`{"keys":[{"servers":["https://a"],"token":"x"},{"servers":["https://b","https://a"],"next":"y"},{}]}`), []byte(nil))
	f.Fuzz(func(t *testing.T, text, manifest []byte) {
		path := filepath.Join(t.TempDir(), "incarnation")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		now := time.UnixMilli(1_800_000_000_000)
		if n, err := nextIncarnation(path, now); err == nil {
			if n < now.UnixMilli() {
				t.Errorf("%q: the next incarnation is %d", text, n)
			}
			if again, err := nextIncarnation(path, now); err != nil || again <= n {
				t.Errorf("%q: after %d comes %d: %v", text, n, again, err)
			}
		}
		needsProject(manifest, text)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := readRing(path); err == nil {
			if k, _ := r.widen([]string{"https://a", "https://b"}); k == nil || r.of([]string{"https://a", "https://b"}, false) != k {
				t.Errorf("%q: no place for a token", text)
			}
		}
		if openTrust(path, 3) == nil {
			t.Errorf("%q: no trust at all", text)
		}
	})
}
