package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/report"
)

// Bounds on what an attempt may leave.
const (
	maxArtifacts    = 200  // files of one attempt
	maxArtifactName = 512  // bytes
	maxWalked       = 5000 // directory entries looked at
)

// artifactFolders are the folders of an attempt whose files become artifacts.
// An artifact is named by its path from the attempt's folder.
var artifactFolders = []string{outputFolder, reportFolder}

// artifact is a file that will be uploaded, as the spool remembers it.
type artifact struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

var errEnough = errors.New("enough")

// collect lists the regular files that an attempt left. Links are not
// followed, wherever they lead. notes say what was left out and why.
func collect(dir string) (found []artifact, notes []string) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, []string{"artifacts: " + err.Error()}
	}
	defer root.Close()
	walked := 0
	for _, folder := range artifactFolders {
		err := fs.WalkDir(root.FS(), folder, func(name string, e fs.DirEntry, err error) error {
			if walked++; walked > maxWalked || len(found) == maxArtifacts {
				notes = append(notes, fmt.Sprintf("artifacts: more than %d files; the rest is left out", len(found)))
				return errEnough
			}
			if err != nil || e.IsDir() {
				return err
			}
			size, why := eligible(name, e)
			if why != "" {
				notes = append(notes, fmt.Sprintf("artifact %q is left out: %s", name, why))
				return nil
			}
			found = append(found, artifact{Name: name, Size: size})
			return nil
		})
		if errors.Is(err, errEnough) {
			break
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			notes = append(notes, "artifacts: "+err.Error())
		}
	}
	return found, notes
}

func eligible(name string, e fs.DirEntry) (size int64, why string) {
	info, err := e.Info()
	switch {
	case err != nil:
		return 0, err.Error()
	case info.Mode()&fs.ModeSymlink != 0:
		return 0, "it is a symbolic link"
	case !info.Mode().IsRegular():
		return 0, "it is no regular file"
	case info.Size() > qgjob.MaxArtifact:
		return 0, fmt.Sprintf("it has %d bytes; allowed: %d", info.Size(), int64(qgjob.MaxArtifact))
	case len(name) > maxArtifactName || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return 0, "its name is too long or not printable"
	}
	return info.Size(), ""
}

// upload sends one artifact and ties it to its attempt. Bytes that the server
// has already are not sent again.
func (s *slot) upload(ctx context.Context, dir string, lease qgjob.LeaseID, a artifact) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	f, size, err := openArtifact(root, a.Name)
	if err != nil {
		return err
	}
	defer f.Close()
	sum, kind, err := identify(ctx, f, size, a.Name)
	if err != nil {
		return err
	}
	if _, err := s.server.Upload(ctx, f, size, sum, nil); err != nil {
		return err
	}
	_, err = s.server.AddArtifact(ctx, lease, qgjob.ArtifactRequest{Name: a.Name, SHA256: sum, ContentType: kind})
	return err
}

// openArtifact opens a file that was a regular one when it was listed. It may
// have been replaced since: a pipe must not block, a link must not lead away.
func openArtifact(root *os.Root, name string) (*os.File, int64, error) {
	before, err := root.Lstat(name)
	if err != nil {
		return nil, 0, err
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err == nil && (!st.Mode().IsRegular() || !os.SameFile(before, st) || st.Size() > qgjob.MaxArtifact) {
		err = fmt.Errorf("%s is not the file that the test left", name)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, st.Size(), nil
}

func identify(ctx context.Context, f *os.File, size int64, name string) (qgjob.Sum, string, error) {
	h := sha256.New()
	head := make([]byte, 512)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", "", err
	}
	stop := context.AfterFunc(ctx, func() { _ = f.Close() }) // ends the read
	defer stop()
	got, err := io.Copy(h, io.NewSectionReader(f, 0, size))
	if err == nil && got != size {
		err = fmt.Errorf("%s changed while it was read", name)
	}
	kind := mime.TypeByExtension(path.Ext(name))
	if kind == "" {
		kind = http.DetectContentType(head[:n])
	}
	return qgjob.Sum(hex.EncodeToString(h.Sum(nil))), kind, err
}

// tie writes the names of artifacts into the tests that left them.
func tie(tests []qgjob.TestResult, left []report.Attachment, dir string, found []artifact) {
	known := map[string]bool{}
	for _, a := range found {
		known[a.Name] = true
	}
	for _, a := range left {
		rel, err := filepath.Rel(dir, filepath.FromSlash(a.Path))
		name := filepath.ToSlash(rel)
		if a.Path == "" || err != nil || !known[name] || a.Test < 0 || a.Test >= len(tests) {
			continue
		}
		tests[a.Test].Attachment = append(tests[a.Test].Attachment, name)
	}
}
