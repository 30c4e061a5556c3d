// Package apktest makes small APKs for tests: zip archives with a binary
// manifest that package apk and the fake devices of package adbtest read. They
// are not signed; no real device takes them.
package apktest

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"unicode/utf16"
)

// App is what the APK says of itself.
type App struct {
	Package     string
	VersionCode uint32
	VersionName string
	Activity    string   // as the manifest names it; "" for an app without a launcher
	ABIs        []string // processors to hold native code for
	Content     string   // makes two builds of one version differ
	UTF16       bool     // strings as old tools write them
}

// APK is the archive.
func APK(a App) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	put := func(name string, content []byte) {
		f, err := w.Create(name)
		if err == nil {
			_, err = f.Write(content)
		}
		if err != nil {
			panic(err) // a buffer takes everything
		}
	}
	put("AndroidManifest.xml", Manifest(a))
	put("assets/content.txt", []byte(a.Content))
	for _, abi := range a.ABIs {
		put("lib/"+abi+"/libapp.so", []byte("no code"))
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// The attributes of manifests by their resource ids. Their names come first in
// the string pool, in this order.
var attributes = []struct {
	name string
	id   uint32
}{{"versionCode", 0x0101021b}, {"versionName", 0x0101021c}, {"name", 0x01010003}, {"minSdkVersion", 0x0101020c}}

const android = "http://schemas.android.com/apk/res/android"

type writer struct {
	pool  []string
	index map[string]uint32
	body  bytes.Buffer
}

func (w *writer) str(s string) uint32 {
	if i, ok := w.index[s]; ok {
		return i
	}
	i := uint32(len(w.pool)) //nolint:gosec // a few strings
	w.pool, w.index[s] = append(w.pool, s), i
	return i
}

func (w *writer) words(out *bytes.Buffer, v ...any) {
	for _, x := range v {
		if err := binary.Write(out, binary.LittleEndian, x); err != nil {
			panic(err) // numbers of fixed size into a buffer
		}
	}
}

type attr struct {
	ns, name string
	text     string
	number   uint32
	isNumber bool
}

func (w *writer) start(name string, attrs ...attr) {
	n := uint16(len(attrs)) //nolint:gosec // a few attributes
	w.words(&w.body, uint16(0x0102), uint16(16), uint32(16)+20+20*uint32(n), uint32(1), ^uint32(0))
	w.words(&w.body, ^uint32(0), w.str(name), uint16(20), uint16(20), n, uint16(0), uint16(0), uint16(0))
	for _, a := range attrs {
		ns := ^uint32(0)
		if a.ns != "" {
			ns = w.str(a.ns)
		}
		if a.isNumber {
			w.words(&w.body, ns, w.str(a.name), ^uint32(0), uint16(8), uint8(0), uint8(0x10), a.number)
			continue
		}
		w.words(&w.body, ns, w.str(a.name), w.str(a.text), uint16(8), uint8(0), uint8(0x03), w.str(a.text))
	}
}

func (w *writer) end(name string) {
	w.words(&w.body, uint16(0x0103), uint16(16), uint32(24), uint32(1), ^uint32(0), ^uint32(0), w.str(name))
}

// Manifest is the binary manifest alone.
func Manifest(a App) []byte {
	w := &writer{index: map[string]uint32{}}
	for _, at := range attributes {
		w.str(at.name)
	}
	w.start("manifest", attr{ns: android, name: "versionCode", number: a.VersionCode, isNumber: true},
		attr{ns: android, name: "versionName", text: a.VersionName}, attr{name: "package", text: a.Package})
	w.start("uses-sdk", attr{ns: android, name: "minSdkVersion", number: 21, isNumber: true})
	w.end("uses-sdk")
	w.start("application")
	w.start("activity", attr{ns: android, name: "name", text: ".Settings"})
	w.end("activity")
	if a.Activity != "" {
		w.start("activity", attr{ns: android, name: "name", text: a.Activity})
		w.start("intent-filter")
		w.start("action", attr{ns: android, name: "name", text: "android.intent.action.MAIN"})
		w.end("action")
		w.start("category", attr{ns: android, name: "name", text: "android.intent.category.LAUNCHER"})
		w.end("category")
		w.end("intent-filter")
		w.end("activity")
	}
	w.end("application")
	w.end("manifest")

	pool := w.strings(a.UTF16)
	var ids bytes.Buffer
	w.words(&ids, uint16(0x0180), uint16(8), uint32(8+4*len(attributes))) //nolint:gosec // a few attributes
	for _, at := range attributes {
		w.words(&ids, at.id)
	}
	var out bytes.Buffer
	w.words(&out, uint16(3), uint16(8), uint32(8+len(pool)+ids.Len()+w.body.Len())) //nolint:gosec // small
	out.Write(pool)
	out.Write(ids.Bytes())
	out.Write(w.body.Bytes())
	return out.Bytes()
}

// strings is the string pool.
func (w *writer) strings(wide bool) []byte {
	var offsets, data bytes.Buffer
	for _, s := range w.pool {
		w.words(&offsets, uint32(data.Len())) //nolint:gosec // small
		if wide {
			units := utf16.Encode([]rune(s))
			w.words(&data, uint16(len(units)), units, uint16(0)) //nolint:gosec // small
			continue
		}
		w.words(&data, uint8(len([]rune(s))), uint8(len(s))) //nolint:gosec // shorter than 128
		data.WriteString(s + "\x00")
	}
	for data.Len()%4 != 0 {
		data.WriteByte(0)
	}
	flags := uint32(1 << 8)
	if wide {
		flags = 0
	}
	var out bytes.Buffer
	start := uint32(28 + offsets.Len())                                                            //nolint:gosec // small
	w.words(&out, uint16(1), uint16(28), start+uint32(data.Len()), uint32(len(w.pool)), uint32(0)) //nolint:gosec // small
	w.words(&out, flags, start, uint32(0))
	out.Write(offsets.Bytes())
	out.Write(data.Bytes())
	return out.Bytes()
}
