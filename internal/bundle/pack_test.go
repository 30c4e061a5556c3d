package bundle

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"pgregory.net/rapid"
)

func TestPackWithoutGit(t *testing.T) {
	withoutGit(t)
	dir := t.TempDir()
	build(t, dir, spec{
		".gitignore": "*.log\n!keep.log\n/secret\n", "a.spec.ts": "a", "run.sh*": "#!", "x.log": "x", "keep.log": "k",
		"sub/.gitignore": "!x.log\nb\n", "sub/x.log": "x", "sub/b": "b", "sub/c": "c", "secret/s": "s", "empty/": "",
		"node_modules/m": "m", "sub/node_modules": "-> ../run.sh", ".git/config": "c", ".qgjob/s": "s",
		"test-results/r": "r", "sub/playwright-report/r": "r", "link": "-> sub/c", "dirlink": "-> sub", "sub/up": "-> ../a.spec.ts",
		"dangling": "-> ./sub//later", "zero": "",
	})
	got, manifest := packed(t, dir, Options{})
	want := spec{
		".gitignore": "*.log\n!keep.log\n/secret\n", "a.spec.ts": "a", "run.sh*": "#!", "keep.log": "k",
		"sub/.gitignore": "!x.log\nb\n", "sub/x.log": "x", "sub/c": "c", "link": "-> sub/c", "dirlink": "-> sub",
		"sub/up": "-> ../a.spec.ts", "dangling": "-> sub/later", "zero": "",
	}
	if !maps.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
	if manifest.Chooser != ChosenByFiles || manifest.Files != len(want) || manifest.Bytes != 39 {
		t.Errorf("manifest %+v", manifest)
	}
}

func TestPackLeavesOutWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	build(t, dir, spec{"a": "a"})
	listener, err := net.Listen("unix", filepath.Join(dir, "sock"))
	if err != nil {
		t.Skip("no unix sockets here:", err)
	}
	defer listener.Close()
	if got, _ := packed(t, dir, Options{}); len(got) != 1 {
		t.Errorf("packed %v", got)
	}
}

func TestPackEnv(t *testing.T) {
	tree := spec{
		".gitignore": ".env\n.env.*\nignored/\n", ".env": "TOKEN=1", ".env.local": "T=2", ".envrc": "T=3", ".env.example": "T=",
		".environment": "e", "prod/.env.production": "T=4", "prod/a": "a", "ignored/.env": "T=5", "ignored/a": "a",
		"node_modules/m/.env": "T=6", "nested/.env.sample": "T=", "nested/x.env": "x",
	}
	secrets := []string{".env", ".env.local", ".envrc", "prod/.env.production"}
	for _, withGit := range []bool{true, false} {
		t.Run(fmt.Sprint("git ", withGit), func(t *testing.T) {
			dir := t.TempDir()
			build(t, dir, tree)
			if withGit {
				runGit(t, dir, "init", "-q")
			} else {
				withoutGit(t)
			}
			got, manifest := packed(t, dir, Options{})
			want := []string{".environment", ".gitignore", "nested/x.env", "prod/a"}
			if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
				t.Errorf("packed %q, want %q", names, want)
			}
			if !slices.Equal(manifest.EnvLeftOut, secrets) {
				t.Errorf("left out %q, want %q", manifest.EnvLeftOut, secrets)
			}
			got, manifest = packed(t, dir, Options{IncludeEnv: true})
			want = slices.Sorted(slices.Values(append(want, secrets...)))
			if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
				t.Errorf("packed with env %q, want %q", names, want)
			}
			if manifest.EnvLeftOut != nil || got[".env"] != "TOKEN=1" {
				t.Errorf("manifest %+v, .env %q", manifest, got[".env"])
			}
		})
	}
}

func TestPackRefuses(t *testing.T) {
	small := Limits{MaxFiles: 3, MaxFileBytes: 10, MaxBytes: 20}
	for _, c := range []struct {
		name string
		tree spec
		code string
		says []string
	}{
		{"nothing", spec{".git/x": "x"}, "", []string{"nothing to pack"}},
		{"link outside", spec{"a/out": "-> ../../etc"}, "", []string{`"a/out"`, "outside", "../../etc"}},
		{"absolute link", spec{"abs": "-> /etc/passwd"}, "", []string{`"abs"`, "absolute"}},
		{"link down and up", spec{"d": "-> .", "x": "-> d/.."}, "", []string{`"x"`, "down and up"}},
		{"backslash", spec{`a\b`: ""}, "", []string{"backslash"}},
		{"control character", spec{"a\nb": ""}, "", []string{`"a\nb"`, "control"}},
		{"not utf-8", spec{"a\xff": ""}, "", []string{`"a\xff"`, "UTF-8"}},
		{"case", spec{"README": "1", "readme": "2"}, "", []string{`"README"`, `"readme"`, "case"}},
		{"case of directories", spec{"Sub/a": "1", "sub/b": "2"}, "", []string{`"Sub"`, `"sub"`, "case"}},
		{"file too large", spec{"a": "12345678901"}, qgjob.CodeTooLarge, []string{`"a"`, "11", "10"}},
		{"all too large", spec{"a": "1234567890", "b": "1234567890", "c": "1"}, qgjob.CodeTooLarge, []string{"21", "20", "largest"}},
		{"too many", spec{"a": "", "b": "", "c": "", "d": ""}, qgjob.CodeTooLarge, []string{"more than 3 files"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			build(t, dir, c.tree)
			if entries, err := os.ReadDir(dir); err != nil || c.name == "case" && len(entries) < 2 {
				t.Skip("this file system knows no case")
			}
			var out bytes.Buffer
			_, err := Pack(t.Context(), dir, &out, Options{Limits: small})
			wantKind(t, err, qgjob.KindInvalid, c.says...)
			if qgjob.CodeOf(err) != c.code {
				t.Errorf("code %q, want %q", qgjob.CodeOf(err), c.code)
			}
			if out.Len() != 0 {
				t.Errorf("%d bytes were written all the same", out.Len())
			}
		})
	}
	for _, dir := range []string{filepath.Join(t.TempDir(), "missing"), os.Args[0]} {
		_, err := Pack(t.Context(), dir, io.Discard, Options{})
		wantKind(t, err, qgjob.KindInvalid, "name the directory")
	}
}

func TestPackAtTheLimits(t *testing.T) {
	dir := t.TempDir()
	build(t, dir, spec{"a": "1234567890", "b": "1234567890", "c": ""})
	if got, m := packed(t, dir, Options{Limits: Limits{MaxFiles: 3, MaxFileBytes: 10, MaxBytes: 20}}); len(got) != 3 || m.Bytes != 20 {
		t.Errorf("packed %v, %+v", got, m)
	}
}

// The same tree gives the same bytes, whatever its times, place and order.
func TestPackIsDeterministic(t *testing.T) {
	tree := spec{"b": "2", "a/x*": "1", "a.b": "3", "z": "-> a/x", "deep/er/f": strings.Repeat("text ", 5000)}
	var first []byte
	for round := range 3 {
		dir := t.TempDir()
		build(t, dir, tree)
		for name := range tree {
			name = strings.TrimSuffix(name, "*")
			when := time.Unix(int64(1e9+round*1e6), 0)
			if tree[name] == "-> a/x" {
				continue
			}
			if err := os.Chtimes(filepath.Join(dir, name), when, when); err != nil {
				t.Fatal(err)
			}
		}
		if round == 1 {
			if err := os.Chmod(filepath.Join(dir, "b"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if round == 2 {
			runGit(t, dir, "init", "-q")
			runGit(t, dir, "add", "b")
		}
		var out bytes.Buffer
		if _, err := Pack(t.Context(), dir, &out, Options{}); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = out.Bytes()
		} else if !bytes.Equal(first, out.Bytes()) {
			t.Errorf("round %d gave other bytes", round)
		}
	}
	archive, err := zip.NewReader(bytes.NewReader(first), int64(len(first)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range archive.File {
		names = append(names, file.Name)
	}
	if !slices.IsSorted(names) {
		t.Errorf("not sorted: %q", names)
	}
}

func TestPackChangedFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.log")
	for name, change := range map[string]func() error{
		"grew":   func() error { return os.WriteFile(path, []byte("123456"), 0o644) },
		"shrank": func() error { return os.WriteFile(path, []byte("1"), 0o644) },
		"gone":   func() error { return os.Remove(path) },
	} {
		t.Run(name, func(t *testing.T) {
			build(t, dir, spec{"a.log": "12345"})
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			it, err := look(root, "a.log")
			if err != nil {
				t.Fatal(err)
			}
			if err := change(); err != nil {
				t.Fatal(err)
			}
			err = it.write(t.Context(), root, zip.NewWriter(io.Discard))
			wantKind(t, err, qgjob.KindConflict, `"a.log"`, "pack again")
		})
	}
}

func TestPackCancelled(t *testing.T) {
	dir := t.TempDir()
	build(t, dir, spec{"a": "a"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Pack(ctx, dir, io.Discard, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// Property: what was packed comes out again, and packing that gives the same
// bytes.
func TestRoundTrip(t *testing.T) {
	withoutGit(t)
	base := t.TempDir()
	segment := rapid.SampledFrom([]string{"a", "b", "c.ts", "ü", "sp ace", "x-1", ".hidden", "日本"})
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		tree := spec{"always": "here"}
		dirs := map[string]bool{}
		for range rapid.IntRange(0, 12).Draw(rt, "files") {
			name := strings.Join(rapid.SliceOfN(segment, 1, 4).Draw(rt, "name"), "/")
			if dirs[name] || blocked(tree, name) {
				continue
			}
			for i := range name {
				if name[i] == '/' {
					dirs[name[:i]] = true
				}
			}
			if rapid.Bool().Draw(rt, "exec") {
				name += "*"
			}
			tree[name] = string(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(rt, "text"))
			if strings.HasPrefix(tree[name], "-> ") {
				tree[name] = ""
			}
		}
		dir, dest := filepath.Join(base, fmt.Sprint(round)), filepath.Join(base, fmt.Sprint(round, "out"))
		build(rt, dir, tree)
		var first, second bytes.Buffer
		in, err := Pack(t.Context(), dir, &first, Options{})
		if err != nil {
			rt.Fatal(err)
		}
		out, err := Unpack(t.Context(), bytes.NewReader(first.Bytes()), int64(first.Len()), dest, Limits{})
		if err != nil {
			rt.Fatal(err)
		}
		if got := read(rt, dest); !maps.Equal(got, tree) {
			rt.Fatalf("\n got %q\nwant %q", got, tree)
		}
		if in.Files != len(tree) || out.Files != in.Files || out.Bytes != in.Bytes {
			rt.Fatalf("packed %+v, unpacked %+v", in, out)
		}
		if _, err := Pack(t.Context(), dest, &second, Options{}); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
			rt.Fatalf("packing again gave other bytes (%v)", err)
		}
	})
}

// blocked says whether name, or something above it, is a file already.
func blocked(tree spec, name string) bool {
	for other := range tree {
		other = strings.TrimSuffix(other, "*")
		if other == name || strings.HasPrefix(name, other+"/") {
			return true
		}
	}
	return false
}
