package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

const version = "v0.0.0-test.1"

func TestRefusals(t *testing.T) {
	for _, args := range [][]string{{}, {"-version="}, {"-version=v1 -X main.a=b"}, {"-version=../v1"}, {"-version=v1", "-platforms=plan9/amd64"}, {"-nonsense"}} {
		dist := filepath.Join(t.TempDir(), "dist")
		if err := run(t.Context(), append(args, "-dist="+dist), io.Discard); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

// TestList: the list names the program, the standard library and each module as it was linked, replacements included.
func TestList(t *testing.T) {
	info := &debug.BuildInfo{
		GoVersion: "go1.26.0", Path: "github.com/qualgent/qgjob/cmd/qgjob", Main: debug.Module{Path: "github.com/qualgent/qgjob"},
		Deps: []*debug.Module{
			{Path: "example.com/a", Version: "v1.0.0+incompatible", Sum: "h1:abc="},
			{Path: "example.com/b", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/fork", Version: "v1.0.1"}},
		},
		Settings: []debug.BuildSetting{{Key: "GOOS", Value: "linux"}, {Key: "-ldflags", Value: "secret"}},
	}
	text, err := json.Marshal(list(info, "v1.2.3", "00ff"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"bomFormat":"CycloneDX","specVersion":"1.5","version":1`, `"purl":"pkg:golang/github.com/qualgent/qgjob@v1.2.3","hashes":[{"alg":"SHA-256","content":"00ff"}]`,
		`pkg:golang/std@1.26.0`, `"purl":"pkg:golang/example.com/a@v1.0.0%2Bincompatible"`, `{"name":"go:sum","value":"h1:abc="}`, `pkg:golang/example.com/fork@v1.0.1`, `{"name":"go:GOOS","value":"linux"}`,
	} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
	if bytes.Contains(text, []byte("example.com/b@")) || bytes.Contains(text, []byte("secret")) {
		t.Errorf("%s", text)
	}
}

// copyTree copies the source files into a folder of their own.
func copyTree(t *testing.T) string {
	t.Helper()
	names, err := exec.Command("git", "-C", "../..", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name := range strings.SplitSeq(strings.Trim(string(names), "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			continue // deleted here, or a link to a folder
		}
		to := filepath.Join(dir, name)
		if err = os.MkdirAll(filepath.Dir(to), 0o755); err == nil {
			err = os.WriteFile(to, text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestReleaseSlow: one platform, twice, in two folders, is the same bytes; its checksums and its list hold. The two share a
// cache: a cold build of everything takes minutes.
func TestReleaseSlow(t *testing.T) {
	if os.Getenv("QGJOB_SLOW") == "" {
		t.Skip("builds the program twice: set QGJOB_SLOW=1")
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	first, second := filepath.Join(t.TempDir(), "dist"), filepath.Join(t.TempDir(), "dist")
	build := func(source, dist string) {
		t.Helper()
		if err := run(t.Context(), []string{"-source=" + source, "-dist=" + dist, "-version=" + version, "-commit=0123abc", "-platforms=" + platform}, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	build("../..", first)
	copied := copyTree(t)
	build(copied, second)
	one, err := os.ReadFile(filepath.Join(first, "checksums.txt"))
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.ReadFile(filepath.Join(second, "checksums.txt"))
	if err != nil || !bytes.Equal(one, two) || bytes.Count(one, []byte("\n")) != 2 {
		t.Fatalf("%v\n%s\n%s", err, one, two)
	}
	check := exec.Command("sha256sum", "--check", "--strict", "checksums.txt")
	check.Dir = first
	if said, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	r := release{version: version}
	program := filepath.Join(first, r.name(platform))
	if said, err := exec.Command(program, "version", "--json").Output(); err != nil || !strings.Contains(string(said), version) || !strings.Contains(string(said), "0123abc") {
		t.Errorf("%v %s", err, said)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte(here)) || bytes.Contains(text, []byte(copied)) {
		t.Error("a path of this machine is in the program")
	}
	var parts bom
	list, err := os.ReadFile(filepath.Join(first, r.name(platform)+".cdx.json"))
	if err == nil {
		err = json.Unmarshal(list, &parts)
	}
	if err != nil || len(parts.Components) < 20 || !bytes.Contains(list, []byte("pkg:golang/modernc.org/sqlite@")) {
		t.Errorf("%v: %d parts", err, len(parts.Components))
	}
}
