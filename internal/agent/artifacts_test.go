//go:build unix

package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/report"
)

// attemptDir makes an attempt's folder with the given files.
func attemptDir(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range artifactFolders {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func names(found []artifact) []string {
	var out []string
	for _, a := range found {
		out = append(out, a.Name)
	}
	slices.Sort(out)
	return out
}

func TestCollectTakesRegularFilesOnly(t *testing.T) {
	dir := attemptDir(t, "output/a/shot.png", "report/results.json", "log.txt", "output/bad\nname")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"output/out": secret, "output/dir": filepath.Dir(secret), "output/in": "a/shot.png", "output/dangling": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	mkfifo(t, filepath.Join(dir, "output/pipe"))
	big, err := os.Create(filepath.Join(dir, "output/big.webm"))
	if err != nil {
		t.Fatal(err)
	}
	defer big.Close()
	if err := big.Truncate(qgjob.MaxArtifact + 1); err != nil {
		t.Fatal(err)
	}
	found, notes := collect(dir)
	if got := names(found); !slices.Equal(got, []string{"output/a/shot.png", "report/results.json"}) {
		t.Errorf("collected %v", got)
	}
	if len(notes) != 7 {
		t.Errorf("%d notes: %s", len(notes), strings.Join(notes, "\n"))
	}
}

func TestCollectHasALimit(t *testing.T) {
	var files []string
	for i := range maxArtifacts + 20 {
		files = append(files, fmt.Sprintf("output/%03d.png", i))
	}
	found, notes := collect(attemptDir(t, files...))
	if len(found) != maxArtifacts || len(notes) != 1 {
		t.Errorf("%d artifacts, notes %v", len(found), notes)
	}
}

func TestCollectWithoutAFolder(t *testing.T) {
	if found, notes := collect(filepath.Join(t.TempDir(), "gone")); len(found) != 0 || len(notes) != 1 {
		t.Errorf("%v %v", found, notes)
	}
}

// TestOpenArtifactThatWasReplaced: between listing and upload a leftover
// process may have put something else in its place.
func TestOpenArtifactThatWasReplaced(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	replace := map[string]func(path string) error{
		"a link out": func(path string) error { return os.Symlink(secret, path) },
		"a link in":  func(path string) error { return os.Symlink("other", path) },
		"a folder":   func(path string) error { return os.Mkdir(path, 0o700) },
		"a pipe":     func(path string) error { mkfifo(t, path); return nil },
		"nothing":    func(string) error { return nil },
	}
	for name, put := range replace {
		t.Run(name, func(t *testing.T) {
			dir := attemptDir(t, "output/x", "output/other")
			path := filepath.Join(dir, "output/x")
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			if f, _, err := openArtifact(root, "output/x"); err == nil {
				f.Close()
				t.Error("it was opened")
			}
		})
	}
}

// TestLinksDoNotLeaveTheAttempt, through the whole agent.
func TestLinksDoNotLeaveTheAttempt(t *testing.T) {
	r := newRig(t)
	secret := filepath.Join(r.dir, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := r.submit(r.test(t, "a.js", "link key.txt "+secret, "link up ../../../..", "pipe hangs", "output real.txt fine"), nil)
	r.begin(t)
	want(t, r.result(t, l), qgjob.OutcomePassed, "")
	if len(l.artifacts) != 1 || l.artifacts["output/real.txt"].SHA256 == "" {
		t.Errorf("artifacts %v", l.artifacts)
	}
	for _, content := range r.blobs {
		if string(content) == "secret" {
			t.Error("a secret was uploaded")
		}
	}
	if !strings.Contains(string(l.log), `"output/key.txt" is left out: it is a symbolic link`) {
		t.Errorf("the log does not say what was left out: %s", l.log)
	}
}

// TestIdenticalArtifactIsNotSentTwice: uploads are by content.
func TestIdenticalArtifactIsNotSentTwice(t *testing.T) {
	r := newRig(t)
	a := r.submit(r.test(t, "a.js", "output x.txt same", "output y.txt same"), nil)
	b := r.submit(r.test(t, "b.js", "output x.txt same"), nil)
	r.begin(t)
	r.result(t, a)
	r.result(t, b)
	if n := r.count("PATCH "); n != 1 {
		t.Errorf("the same bytes were sent %d times", n)
	}
	if len(a.artifacts) != 2 || len(b.artifacts) != 1 {
		t.Errorf("artifacts %v %v", a.artifacts, b.artifacts)
	}
}

func TestTieNamesWhatWasCollected(t *testing.T) {
	tests := make([]qgjob.TestResult, 2)
	found := []artifact{{Name: "output/a/shot.png"}, {Name: "output/trace.zip"}}
	tie(tests, []report.Attachment{
		{Test: 0, Path: "/w/output/a/shot.png"}, {Test: 1, Path: "/w/output/trace.zip"}, {Test: 1, Path: "/w/output/a/../a/shot.png"},
		{Test: 1, Path: "/etc/passwd"}, {Test: 1, Path: "/w/output/not-collected"}, {Test: 7, Path: "/w/output/trace.zip"}, {Test: -1}, {Test: 0, Body: []byte("x")},
	}, "/w", found)
	if !slices.Equal(tests[0].Attachment, []string{"output/a/shot.png"}) || !slices.Equal(tests[1].Attachment, []string{"output/trace.zip", "output/a/shot.png"}) {
		t.Errorf("tied %v and %v", tests[0].Attachment, tests[1].Attachment)
	}
}
