package cli

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzFilesOfOthers: the event that a CI system left, and the file about
// GitHub.
func FuzzFilesOfOthers(f *testing.F) {
	f.Add([]byte(`{"pull_request":{"number":7,"head":{"sha":"x"}}}`))
	f.Add([]byte("repositories:\n  acme: [acme/shop]\ntoken_file: t\n"))
	f.Add([]byte("repositories: 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		readEvent(path)
		if file, err := readGitHub(path); err == nil && (len(file.Repositories) == 0 || (file.TokenFile == "") == (file.App == nil)) {
			t.Errorf("%q is taken as %+v", text, file)
		}
	})
}
