package browserstack

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// LinksName is the artifact with what BrowserStack knows of a test's sessions.
const LinksName = "browserstack-sessions.json"

// maxClean bounds a file that is looked through for secrets, in bytes: a
// report or a log; larger ones are pictures and films.
const maxClean = 64 << 20

// WriteLinks leaves the sessions in a folder; none leaves nothing.
func WriteLinks(dir string, sessions []Session) error {
	if len(sessions) == 0 {
		return nil
	}
	text, err := json.MarshalIndent(map[string]any{"sessions": sessions}, "", "  ")
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	// The test may have put something there; a link must not lead away.
	if err := root.RemoveAll(LinksName); err != nil {
		return err
	}
	return root.WriteFile(LinksName, text, 0o600)
}

// CleanJSON gives v without the secrets in any text inside it. v must be what
// JSON carries whole.
func CleanJSON[T any](s Secrets, v T) (T, error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return v, err
	}
	clean := s.Clean(text.Bytes())
	if bytes.Equal(clean, text.Bytes()) {
		return v, nil
	}
	var out T
	err := json.Unmarshal(clean, &out)
	return out, err
}

// CleanFolder takes the secrets out of the files of a folder, where they stand
// as they are: not inside archives. Links are not followed.
func (s Secrets) CleanFolder(dir string) error {
	if len(s) == 0 {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		return s.cleanFile(root, filepath.FromSlash(name))
	})
}

func (s Secrets) cleanFile(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() || st.Size() > maxClean {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxClean))
	if err != nil {
		return err
	}
	clean := s.Clean(text)
	if bytes.Equal(clean, text) {
		return nil
	}
	return root.WriteFile(name, clean, 0o600)
}
