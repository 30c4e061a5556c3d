package bundle

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// raw is one entry of a handmade archive.
type raw struct {
	name string
	mode fs.FileMode
	text string
	edit func(*zip.FileHeader)
}

func archive(t fataler, entries ...raw) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, e := range entries {
		header := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		header.SetMode(e.mode)
		if e.edit != nil {
			e.edit(header)
		}
		entry, err := w.CreateHeader(header)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(e.name, "/") {
			continue
		}
		if _, err := io.WriteString(entry, e.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func file(name, text string) raw { return raw{name: name, mode: 0o644, text: text} }
func link(name, target string) raw {
	return raw{name: name, mode: fs.ModeSymlink | 0o777, text: target}
}

func unpack(t *testing.T, data []byte, dest string, limits Limits) (Manifest, error) {
	t.Helper()
	return Unpack(t.Context(), bytes.NewReader(data), int64(len(data)), dest, limits)
}

// small are the limits of the evil corpus.
var small = Limits{MaxFiles: 8, MaxFileBytes: 1000, MaxBytes: 1500}

// evil are archives that must be refused, each with what the error says.
func evil(t fataler) map[string]struct {
	data []byte
	says string
} {
	type refused = struct {
		data []byte
		says string
	}
	flags := func(bits uint16) func(*zip.FileHeader) { return func(h *zip.FileHeader) { h.Flags |= bits } }
	bomb := archive(t, file("bomb", strings.Repeat("\x00", 100_000)))
	crc := archive(t, raw{name: "a", mode: 0o644, text: "hello hello hello", edit: func(h *zip.FileHeader) { h.Method = zip.Store }})
	crc[bytes.Index(crc, []byte("hello"))] ^= 1
	method := archive(t, file("a", "x"))
	out := map[string]refused{
		"zip slip":              {archive(t, file("../evil", "x")), "leads out"},
		"zip slip inside":       {archive(t, file("a/../../evil", "x")), "leads out"},
		"dot dot alone":         {archive(t, file("..", "x")), "leads out"},
		"dot dot directory":     {archive(t, raw{name: "../", mode: fs.ModeDir | 0o755}), "leads out"},
		"absolute":              {archive(t, file("/etc/evil", "x")), "absolute"},
		"drive":                 {archive(t, file("C:/evil", "x")), "absolute"},
		"drive, no slash":       {archive(t, file("c:evil", "x")), "absolute"},
		"backslash":             {archive(t, file(`..\evil`, "x")), "backslash"},
		"unc":                   {archive(t, file(`\\host\share`, "x")), "backslash"},
		"nul":                   {archive(t, file("a\x00b", "x")), "control"},
		"escape sequence":       {archive(t, file("a\x1b[2Jb", "x")), "control"},
		"not utf-8":             {archive(t, file("a\xff", "x")), "UTF-8"},
		"empty name":            {archive(t, file("", "x")), "without a name"},
		"slash alone":           {archive(t, raw{name: "/", mode: fs.ModeDir | 0o755}), "without a name"},
		"double slash":          {archive(t, file("a//b", "x")), "not clean"},
		"dot inside":            {archive(t, file("a/./b", "x")), "not clean"},
		"long part":             {archive(t, file(strings.Repeat("n", 256), "x")), "longer"},
		"long name":             {archive(t, file(strings.Repeat("n/", 600)+"n", "x")), "longer"},
		"deep":                  {archive(t, file(strings.Repeat("n/", 64)+"n", "x")), "deeper"},
		"twice":                 {archive(t, file("a", "1"), file("a", "2")), "twice"},
		"twice by dot slash":    {archive(t, file("a", "1"), file("./a", "2")), "twice"},
		"case":                  {archive(t, file("a/B", "1"), file("a/b", "2")), "case"},
		"case of kelvin":        {archive(t, file("k", "1"), file("\u212a", "2")), "case"},
		"case of directory":     {archive(t, file("A/b", "1"), file("a/c", "2")), "case"},
		"file and directory":    {archive(t, file("a", "1"), file("a/b", "2")), "not a directory"},
		"directory and file":    {archive(t, file("a/b", "1"), file("a", "2")), "twice"},
		"below a link":          {archive(t, link("l", "."), file("l/x", "1")), "not a directory"},
		"link then file":        {archive(t, link("l", "x"), file("l", "1")), "twice"},
		"link outside":          {archive(t, link("l", "../x")), "outside"},
		"link outside, deep":    {archive(t, link("a/b/l", "../../../x")), "outside"},
		"link absolute":         {archive(t, link("l", "/etc/passwd")), "absolute"},
		"link down and up":      {archive(t, link("d", "."), link("l", "d/..")), "down and up"},
		"link to nothing later": {archive(t, link("l", "missing/../../x")), "down and up"},
		"link with backslash":   {archive(t, link("l", `..\x`)), "unsafe"},
		"link with nul":         {archive(t, link("l", "a\x00")), "unsafe"},
		"link empty":            {archive(t, link("l", "")), "0 bytes"},
		"link long":             {archive(t, link("l", strings.Repeat("a/", 495)+strings.Repeat("../", 3))), "goes down"},
		"device":                {archive(t, raw{name: "d", mode: fs.ModeDevice | fs.ModeCharDevice | 0o644}), "device"},
		"block device":          {archive(t, raw{name: "d", mode: fs.ModeDevice | 0o644}), "device"},
		"pipe":                  {archive(t, raw{name: "p", mode: fs.ModeNamedPipe | 0o644}), "device"},
		"socket":                {archive(t, raw{name: "s", mode: fs.ModeSocket | 0o644}), "device"},
		"link with a slash":     {archive(t, raw{name: "l/", mode: fs.ModeSymlink | 0o777}), "something else by mode"},
		"encrypted":             {archive(t, raw{name: "a", mode: 0o644, text: "x", edit: flags(1)}), "encrypted"},
		"bomb":                  {bomb, "more than the limit of 1000"},
		"bomb that lies":        {shrinkSize(bomb, 100_000, 900), "unpack"},
		"many small":            {archive(t, file("a", strings.Repeat("x", 999)), file("b", strings.Repeat("x", 999))), "1500"},
		"too many files":        {archive(t, numbered(9, "f%d")...), "more than 8"},
		"too many directories":  {archive(t, file("a/b/c/d/e/f/g/h/i/j", "x")), "more than 8"},
		"long list":             {archive(t, numbered(12_000, "f%d")...), "too long"},
		"wrong checksum":        {crc, "checksum"},
		"unknown method":        {bytes.ReplaceAll(method, []byte{8, 0, 8, 0}, []byte{8, 0, 99, 0}), "unpack"},
		"no zip":                {[]byte("PK, but not really"), "plain zip"},
		"empty":                 {nil, "plain zip"},
		"cut":                   {bomb[:len(bomb)-30], "plain zip"},
	}
	return out
}

func numbered(n int, format string) []raw {
	out := make([]raw, n)
	for i := range out {
		out[i] = file(fmt.Sprintf(format, i), "")
	}
	return out
}

// shrinkSize makes every header announce another unpacked size.
func shrinkSize(data []byte, from, to uint32) []byte {
	return bytes.ReplaceAll(data, binary.LittleEndian.AppendUint32(nil, from), binary.LittleEndian.AppendUint32(nil, to))
}

func TestUnpackRefusesEvil(t *testing.T) {
	for name, c := range evil(t) {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			_, err := unpack(t, c.data, filepath.Join(base, "room", "dest"), small)
			wantKind(t, err, qgjob.KindInvalid, c.says)
			if got := read(t, base); len(got) != 0 {
				t.Errorf("left behind: %q", got)
			}
			if left, _ := os.ReadDir(filepath.Join(base, "room")); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// Archives as others make them: directory entries, "./", no modes, DOS made.
func TestUnpackOrdinaryZips(t *testing.T) {
	dos := func(h *zip.FileHeader) { h.CreatorVersion, h.ExternalAttrs = 0, 0 }
	data := archive(t,
		raw{name: "./", mode: fs.ModeDir | 0o755}, raw{name: "app/", mode: fs.ModeDir | 0o755}, raw{name: "app/", mode: fs.ModeDir | 0o755},
		raw{name: "app/empty/", mode: fs.ModeDir}, file("./app/index.html", "<html>"), raw{name: "app/run", mode: fs.ModeSetuid | 0o4755, text: "#!"},
		raw{name: "dos.txt", text: "d", edit: dos}, raw{name: "dosdir/", edit: dos}, file("late/x", "1"),
		raw{name: "late/", mode: fs.ModeDir | 0o500}, link("app/Current", "../late"), file("a:b", "colon"),
		raw{name: "stored", mode: 0, text: "s", edit: func(h *zip.FileHeader) { h.Method = zip.Store }},
	)
	data = append([]byte("#!/bin/sh self-extracting stub\n"), data...)
	dest := filepath.Join(t.TempDir(), "new", "parent", "dest")
	// "a:b" is a name like any other here, but a drive on Windows.
	if _, err := unpack(t, data, dest, Limits{}); qgjob.KindOf(err) != qgjob.KindInvalid {
		t.Fatalf("a drive letter: %v", err)
	}
	data = bytes.ReplaceAll(data, []byte("a:b"), []byte("a_b"))
	manifest, err := unpack(t, data, dest, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := spec{"app/index.html": "<html>", "app/run*": "#!", "dos.txt": "d", "late/x": "1", "app/Current": "-> ../late", "a_b": "colon", "stored": "s"}
	if got := read(t, dest); !maps.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
	if manifest.Files != 7 || manifest.Bytes != 6+2+1+1+5+1 {
		t.Errorf("manifest %+v", manifest)
	}
	for path, mode := range map[string]fs.FileMode{
		"": fs.ModeDir | 0o700, "app/run": 0o700, "late": fs.ModeDir | 0o700, "app/empty": fs.ModeDir | 0o700, "dosdir": fs.ModeDir | 0o700,
		"stored": 0o600, "app/index.html": 0o600,
	} {
		if info, err := os.Lstat(filepath.Join(dest, path)); err != nil || info.Mode() != mode {
			t.Errorf("%q: mode %v, want %v (%v)", path, info.Mode(), mode, err)
		}
	}
}

func TestUnpackNeverTouchesWhatIsThere(t *testing.T) {
	data := archive(t, file("new", "n"))
	for name, tree := range map[string]spec{"full": {"dest/old": "o"}, "empty": {"dest/": ""}, "file": {"dest": "o"}, "link": {"dest": "-> nowhere"}} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			build(t, base, tree)
			before := read(t, base)
			_, err := unpack(t, data, filepath.Join(base, "dest"), Limits{})
			wantKind(t, err, qgjob.KindConflict, "there already")
			if got := read(t, base); !maps.Equal(got, before) {
				t.Errorf("changed to %q", got)
			}
		})
	}
}

// Of many that unpack the same bundle at once, one wins; the others are told,
// and the files are whole.
func TestUnpackRace(t *testing.T) {
	base := t.TempDir()
	data := archive(t, numbered(50, "dir/f%d")...)
	errs := make(chan error)
	for range 8 {
		go func() {
			_, err := Unpack(context.Background(), bytes.NewReader(data), int64(len(data)), filepath.Join(base, "dest"), Limits{})
			errs <- err
		}()
	}
	won := 0
	for range 8 {
		if err := <-errs; err == nil {
			won++
		} else {
			wantKind(t, err, qgjob.KindConflict)
		}
	}
	if won != 1 || len(read(t, base)) != 50 {
		t.Errorf("%d won, %d files", won, len(read(t, base)))
	}
}

// failing is a blob that cannot be read beyond its first bytes.
type failing struct {
	io.ReaderAt
	after int64
	err   error
}

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off < f.after {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(p, off)
}

func TestUnpackSourceFails(t *testing.T) {
	base := t.TempDir()
	data := archive(t, file("a", strings.Repeat("text", 100)))
	gone := errors.New("gone")
	_, err := Unpack(t.Context(), failing{bytes.NewReader(data), 10, gone}, int64(len(data)), filepath.Join(base, "d"), Limits{})
	wantKind(t, err, qgjob.KindUnavailable)
	if !errors.Is(err, gone) {
		t.Errorf("the cause is lost: %v", err)
	}
	if left, _ := os.ReadDir(base); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestUnpackCancelled(t *testing.T) {
	base := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	data := archive(t, file("a", "x"))
	_, err := Unpack(ctx, bytes.NewReader(data), int64(len(data)), filepath.Join(base, "d"), Limits{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(base); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSweep(t *testing.T) {
	base := t.TempDir()
	build(t, base, spec{tempPrefix + "OLD/half/file": "h", tempPrefix + "NEW/file": "n", "done/file": "d", tempPrefix + "notadir": "x"})
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for name, age := range map[string]time.Duration{tempPrefix + "OLD": 25, tempPrefix + "NEW": 23, "done": 500, tempPrefix + "notadir": 500} {
		if err := os.Chtimes(filepath.Join(base, name), now, now.Add(-age*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	removed, err := Sweep(base, now.Add(-24*time.Hour))
	if removed != 1 || err != nil {
		t.Errorf("Sweep = %d, %v", removed, err)
	}
	if got := read(t, base); len(got) != 3 || got[tempPrefix+"OLD/half/file"] != "" {
		t.Errorf("left %q", got)
	}
}

// Whatever the bytes: nothing outside dest, nothing left after a refusal,
// nothing but files, links that stay inside, and directories; and no more than
// the limits allow.
func FuzzUnpack(f *testing.F) {
	for _, c := range evil(f) {
		f.Add(c.data)
	}
	f.Add(archive(f, raw{name: "app/", mode: fs.ModeDir | 0o755}, file("app/a", "a"), link("app/l", "../app"), link("m", "app/l/a")))
	f.Fuzz(func(t *testing.T, data []byte) {
		base := t.TempDir()
		build(t, base, spec{"canary": "sings"})
		dest := filepath.Join(base, "dest")
		manifest, err := unpack(t, data, dest, small)
		if text, err := os.ReadFile(filepath.Join(base, "canary")); err != nil || string(text) != "sings" {
			t.Fatalf("the canary is %q, %v", text, err)
		}
		want := 2
		if err != nil {
			want = 1
			if kind := qgjob.KindOf(err); kind != qgjob.KindInvalid {
				t.Fatalf("kind %s: %v", kind, err)
			}
		}
		if entries, _ := os.ReadDir(base); len(entries) != want {
			t.Fatalf("%d names beside the canary: %v", len(entries)-1, entries)
		}
		if err != nil {
			return
		}
		inside, openErr := os.OpenRoot(dest)
		if openErr != nil {
			t.Fatal(openErr)
		}
		defer inside.Close()
		var files int
		var total int64
		for name, text := range read(t, dest) {
			files++
			if !strings.HasPrefix(text, "-> ") {
				total += int64(len(text))
				continue
			}
			// os.Root follows the link and refuses to leave; a loop or a
			// missing target are no way out.
			if _, err := inside.Stat(name); err != nil && strings.Contains(err.Error(), "escapes") {
				t.Fatalf("link %q leads out: %q", name, text)
			}
		}
		if files != manifest.Files || total != manifest.Bytes || files > small.MaxFiles || total > small.MaxBytes {
			t.Fatalf("%d files, %d bytes; manifest %+v", files, total, manifest)
		}
	})
}
