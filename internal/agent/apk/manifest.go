package apk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Chunk types of binary XML (ResourceTypes.h).
const (
	chunkStrings   = 0x0001
	chunkXML       = 0x0003
	chunkStart     = 0x0102
	chunkEnd       = 0x0103
	chunkResources = 0x0180
)

// Resource ids of the attributes that are looked at (android.R.attr). Names
// are stripped by obfuscators, ids are not.
const (
	attrName             = 0x01010003
	attrEnabled          = 0x0101000e
	attrMinSDK           = 0x0101020c
	attrVersionCode      = 0x0101021b
	attrVersionName      = 0x0101021c
	attrVersionCodeMajor = 0x01010576
)

// Types of an attribute's value (Res_value).
const (
	valueString = 0x03
	valueDec    = 0x10
	valueHex    = 0x11
	valueBool   = 0x12
)

const (
	noString   = 0xffffffff
	utf8Flag   = 1 << 8
	maxStrings = 1 << 18
	maxDepth   = 64
	maxElems   = 1 << 17
)

var (
	errShort = errors.New("it ends too early")
	errNoXML = errors.New("it is no binary XML")
)

// attribute is one attribute with its value, as far as it is one that a
// manifest reader needs.
type attribute struct {
	id   uint32 // resource id; 0 for none
	name string
	kind byte
	data uint32
	text string // of a string
}

// ParseManifest reads a binary AndroidManifest.xml.
func ParseManifest(b []byte) (Info, error) {
	if len(b) < 8 || binary.LittleEndian.Uint16(b) != chunkXML {
		if strings.HasPrefix(strings.TrimSpace(string(b[:min(len(b), 64)])), "<") {
			return Info{}, errors.New("it is plain text, which no device takes")
		}
		return Info{}, errNoXML
	}
	m := &manifest{}
	if err := m.chunks(b[8:]); err != nil {
		return Info{}, err
	}
	if m.info.Package == "" {
		return Info{}, errors.New("it names no package")
	}
	return m.info, nil
}

// manifest is the state of reading.
type manifest struct {
	strings []string
	ids     []uint32
	path    []string // names of the open elements
	elems   int
	info    Info

	activity       string // of the open activity or alias; empty when it is disabled
	main, launcher bool   // of the open intent filter
}

func (m *manifest) chunks(b []byte) error {
	for len(b) > 0 {
		if len(b) < 8 {
			return errShort
		}
		kind, head, size := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])
		if size < 8 || uint64(size) > uint64(len(b)) || uint32(head) > size || head < 8 {
			return fmt.Errorf("a part of %d bytes where %d are left", size, len(b))
		}
		chunk := b[:size]
		b = b[size:]
		var err error
		switch kind {
		case chunkStrings:
			err = m.pool(chunk, int(head))
		case chunkResources:
			for r := chunk[head:]; len(r) >= 4 && len(m.ids) < maxStrings; r = r[4:] {
				m.ids = append(m.ids, binary.LittleEndian.Uint32(r))
			}
		case chunkStart:
			err = m.start(chunk[head:])
		case chunkEnd:
			m.end()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pool reads the string pool.
func (m *manifest) pool(b []byte, head int) error {
	if len(b) < 28 || head < 28 {
		return errShort
	}
	count, flags, begin := binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[16:]), binary.LittleEndian.Uint32(b[20:])
	if count > maxStrings || uint64(head)+4*uint64(count) > uint64(len(b)) || uint64(begin) > uint64(len(b)) {
		return errShort
	}
	// Offsets may repeat, so the text made of them is bounded, not only the pool.
	total := 0
	m.strings = make([]string, 0, count)
	for i := range int(count) {
		at := uint64(begin) + uint64(binary.LittleEndian.Uint32(b[head+4*i:]))
		if at >= uint64(len(b)) {
			return errShort
		}
		read := readUTF16
		if flags&utf8Flag != 0 {
			read = readUTF8
		}
		s, err := read(b[at:])
		if err != nil {
			return err
		}
		if total += len(s); total > 2*maxManifest {
			return errors.New("its strings are too long")
		}
		m.strings = append(m.strings, s)
	}
	return nil
}

// readUTF8 reads a string behind its two lengths, in characters and in bytes.
func readUTF8(b []byte) (string, error) {
	length := func() (int, bool) {
		if len(b) < 1 {
			return 0, false
		}
		n := int(b[0])
		b = b[1:]
		if n&0x80 != 0 {
			if len(b) < 1 {
				return 0, false
			}
			n = (n&0x7f)<<8 | int(b[0])
			b = b[1:]
		}
		return n, true
	}
	if _, ok := length(); !ok {
		return "", errShort
	}
	n, ok := length()
	if !ok || n > len(b) {
		return "", errShort
	}
	return strings.ToValidUTF8(string(b[:n]), string(utf8.RuneError)), nil
}

// readUTF16 reads a string behind its length in units.
func readUTF16(b []byte) (string, error) {
	if len(b) < 2 {
		return "", errShort
	}
	n := int(binary.LittleEndian.Uint16(b))
	b = b[2:]
	if n&0x8000 != 0 {
		if len(b) < 2 {
			return "", errShort
		}
		n = (n&0x7fff)<<16 | int(binary.LittleEndian.Uint16(b))
		b = b[2:]
	}
	if n > len(b)/2 {
		return "", errShort
	}
	units := make([]uint16, n)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units)), nil
}

func (m *manifest) str(i uint32) string {
	if i == noString || uint64(i) >= uint64(len(m.strings)) {
		return ""
	}
	return m.strings[i]
}

// start reads an element's beginning and takes what it says.
func (m *manifest) start(b []byte) error {
	if m.elems++; m.elems > maxElems || len(m.path) >= maxDepth {
		return errors.New("it has too many elements")
	}
	if len(b) < 20 {
		return errShort
	}
	name := m.str(binary.LittleEndian.Uint32(b[4:]))
	begin, size, count := int(binary.LittleEndian.Uint16(b[8:])), int(binary.LittleEndian.Uint16(b[10:])), int(binary.LittleEndian.Uint16(b[12:]))
	if size < 20 || begin+size*count > len(b) {
		return errShort
	}
	attrs := make([]attribute, count)
	for i := range attrs {
		attrs[i] = m.attribute(b[begin+i*size:])
	}
	m.path = append(m.path, name)
	m.element(strings.Join(m.path, "/"), attrs)
	return nil
}

func (m *manifest) attribute(b []byte) attribute {
	at := binary.LittleEndian.Uint32(b[4:])
	a := attribute{name: m.str(at), kind: b[15], data: binary.LittleEndian.Uint32(b[16:])}
	if uint64(at) < uint64(len(m.ids)) {
		a.id = m.ids[at]
	}
	if a.kind == valueString {
		a.text = m.str(a.data)
	}
	return a
}

func find(attrs []attribute, id uint32, name string) attribute {
	for _, a := range attrs {
		if a.id == id && (id != 0 || a.name == name) {
			return a
		}
	}
	return attribute{}
}

func (a attribute) number() int64 {
	if a.kind == valueDec || a.kind == valueHex {
		return int64(a.data)
	}
	return 0
}

func (m *manifest) element(path string, attrs []attribute) {
	switch path {
	case "manifest":
		if m.info.Package != "" {
			return
		}
		m.info.Package = find(attrs, 0, "package").text
		m.info.Split = find(attrs, 0, "split").text
		m.info.VersionCode = find(attrs, attrVersionCodeMajor, "").number()<<32 | find(attrs, attrVersionCode, "").number()
		m.info.VersionName = find(attrs, attrVersionName, "").text
	case "manifest/uses-sdk":
		m.info.MinSDK = int(find(attrs, attrMinSDK, "").number())
	case "manifest/application/activity", "manifest/application/activity-alias":
		m.activity = m.class(find(attrs, attrName, "").text)
		if off := find(attrs, attrEnabled, ""); off.kind == valueBool && off.data == 0 {
			m.activity = ""
		}
	case "manifest/application/activity/intent-filter", "manifest/application/activity-alias/intent-filter":
		m.main, m.launcher = false, false
	case "manifest/application/activity/intent-filter/action", "manifest/application/activity-alias/intent-filter/action":
		m.main = m.main || find(attrs, attrName, "").text == "android.intent.action.MAIN"
	case "manifest/application/activity/intent-filter/category", "manifest/application/activity-alias/intent-filter/category":
		m.launcher = m.launcher || find(attrs, attrName, "").text == "android.intent.category.LAUNCHER"
	}
}

// class makes a full class name of one that may be relative to the package.
func (m *manifest) class(name string) string {
	switch {
	case name == "":
		return ""
	case strings.HasPrefix(name, "."):
		return m.info.Package + name
	case !strings.Contains(name, "."):
		return m.info.Package + "." + name
	}
	return name
}

func (m *manifest) end() {
	if len(m.path) == 0 {
		return
	}
	switch m.path[len(m.path)-1] {
	case "intent-filter":
		if m.main && m.launcher && m.info.Activity == "" {
			m.info.Activity = m.activity
		}
		m.main, m.launcher = false, false
	case "activity", "activity-alias":
		m.activity = ""
	}
	m.path = m.path[:len(m.path)-1]
}
