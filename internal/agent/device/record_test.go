package device

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/qualgent/qgjob"
)

// tree makes a folder with the files.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestTreesThatDifferHaveOtherDigests: also where bytes only moved between
// names and contents.
func TestTreesThatDifferHaveOtherDigests(t *testing.T) {
	trees := []map[string]string{
		{},
		{"a": ""},
		{"a": "b"},
		{"b": "a"},
		{"a": "", "b": ""},
		{"ab": ""},
		{"a/b": ""},
		{"a": "x", "b": "y"},
		{"a": "y", "b": "x"},
		{"a": "xy", "b": ""},
		{"a\nb": ""},
		{`a" 0`: ""},
	}
	seen := map[string]int{}
	for i, files := range trees {
		sum, err := treeDigest(t.Context(), tree(t, files))
		if err != nil {
			t.Fatal(err)
		}
		again, err := treeDigest(t.Context(), tree(t, files))
		if err != nil || again != sum {
			t.Errorf("tree %d has two digests, %v", i, err)
		}
		if j, ok := seen[sum]; ok {
			t.Errorf("trees %d and %d have one digest", i, j)
		}
		seen[sum] = i
	}
	if _, err := treeDigest(t.Context(), filepath.Join(t.TempDir(), "gone")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func TestRecordRoundTrip(t *testing.T) {
	dir := t.TempDir()
	want := record{Installed: qgjob.Installed{OrgID: "o", AppVersionID: "ä \"1\"", BuildSHA256: "00"}, FileName: "x.zip", Digest: "d"}
	if err := want.write(dir); err != nil {
		t.Fatal(err)
	}
	if got := readRecord(dir); got == nil || *got != want {
		t.Fatalf("read %+v", got)
	}
	for range 2 {
		if err := forget(dir, "never", "there"); err != nil {
			t.Fatal(err)
		}
	}
	if readRecord(dir) != nil {
		t.Error("a forgotten record is still there")
	}
}

// TestCrashBetweenForgettingAndInstalling: content without a record is not
// believed in.
func TestCrashBetweenForgettingAndInstalling(t *testing.T) {
	dir := t.TempDir()
	b := shop(t, "v1")
	ensure(t, newBrowser(t, dir), b, qgjob.InstallDone)
	if err := os.Remove(filepath.Join(dir, recordName)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, newFolder, "half"), 0o700); err != nil {
		t.Fatal(err)
	}
	again := newBrowser(t, dir)
	if again.Installed() != nil || again.Holds(t.Context(), b) {
		t.Error("it believes in what no record tells of")
	}
	ensure(t, again, b, qgjob.InstallDone)
}

// FuzzRecord: whatever lies on the disk, a record is whole or not there.
func FuzzRecord(f *testing.F) {
	for _, text := range []string{"", "{", "null", `{"installed":{"app_version_id":"v"}}`, `{"installed":{"app_version_id":7}}`, `[]`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, recordName), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if r := readRecord(dir); r != nil && r.Installed.AppVersionID == "" {
			t.Errorf("%q gives a record of nothing", text)
		}
		d := NewBrowser(dir, "", "")
		if d.Holds(t.Context(), Build{Installed: qgjob.Installed{AppVersionID: "v", BuildSHA256: "x"}, File: "x"}) {
			t.Errorf("%q makes an empty device hold a build", text)
		}
	})
}

// FuzzKeepName: a kept name is one harmless segment with its ending.
func FuzzKeepName(f *testing.F) {
	for _, name := range []string{"", "a.apk", "../x", "-rf", "a\x00b", "日本.ipa"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got := keepName(name)
		if got == "" || len(got) > 100 || !filepath.IsLocal(got) || filepath.Base(got) != got || got[0] == '-' || got[0] == '.' {
			t.Errorf("%q is kept as %q", name, got)
		}
		if again := keepName(got); again != got {
			t.Errorf("%q is kept as %q, and that as %q", name, got, again)
		}
	})
}
