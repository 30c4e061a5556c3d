// Package apk reads what an Android app says of itself: its manifest in the
// binary form that APK files hold (AOSP: frameworks/base/libs/androidfw,
// ResourceTypes.h). It bounds all that it reads; APKs come from strangers.
//
// It imports nothing of ours.
package apk

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Info is what the manifest and the file names of an APK say.
type Info struct {
	Package     string
	VersionCode int64
	VersionName string   // empty when it is a reference to a resource
	Activity    string   // the class that a launcher starts; empty when there is none
	MinSDK      int      // 0 when not stated
	ABIs        []string // processors with native code inside, sorted; none: runs on all
	Split       string   // name of the split; empty for a base APK
}

// Bounds on an APK.
const (
	maxManifest = 8 << 20 // bytes
	maxEntries  = 200_000
)

const manifestName = "AndroidManifest.xml"

// Error is an APK that cannot be used, with what to do.
type Error struct {
	Message string
	Hint    string
}

// Error is the cause and the fix on one line.
func (e *Error) Error() string { return e.Message + " (" + e.Hint + ")" }

// Open reads the APK in a file. What is no APK is an *Error.
func Open(path string) (Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Info{}, err
	}
	return Read(f, st.Size())
}

// Read reads an APK of size bytes. What is no APK is an *Error.
func Read(r io.ReaderAt, size int64) (Info, error) {
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return Info{}, &Error{"the build is no APK: it is no zip archive", "upload the .apk that the build made"}
	}
	if len(archive.File) > maxEntries {
		return Info{}, &Error{fmt.Sprintf("the build holds %d files; allowed: %d", len(archive.File), maxEntries), "upload one app"}
	}
	var manifest *zip.File
	var abis []string
	for _, f := range archive.File {
		if f.Name == manifestName && manifest == nil {
			manifest = f
		}
		if rest, ok := strings.CutPrefix(f.Name, "lib/"); ok {
			abi, name, ok := strings.Cut(rest, "/")
			if ok && strings.HasSuffix(name, ".so") && len(abi) < 32 && !slices.Contains(abis, abi) && len(abis) < 32 {
				abis = append(abis, abi)
			}
		}
	}
	if manifest == nil {
		return Info{}, &Error{"the build is no APK: " + whatElse(archive), "upload the .apk that the build made"}
	}
	text, err := readEntry(manifest)
	if err != nil {
		return Info{}, &Error{"the APK's manifest cannot be read: " + err.Error(), "build the APK anew"}
	}
	info, err := ParseManifest(text)
	if err != nil {
		return Info{}, &Error{"the APK's manifest cannot be read: " + err.Error(), "build the APK anew"}
	}
	slices.Sort(abis)
	info.ABIs = abis
	return info, nil
}

func readEntry(f *zip.File) ([]byte, error) {
	if f.UncompressedSize64 > maxManifest {
		return nil, fmt.Errorf("it has %d bytes; allowed: %d", f.UncompressedSize64, maxManifest)
	}
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err == nil && len(text) > maxManifest {
		err = errors.New("it is larger than it says")
	}
	return text, err
}

// whatElse guesses what somebody uploaded instead.
func whatElse(archive *zip.Reader) string {
	for _, f := range archive.File {
		switch {
		case f.Name == "BundleConfig.pb" || f.Name == "base/manifest/"+manifestName:
			return "it is an Android App Bundle, which devices do not take"
		case strings.HasPrefix(f.Name, "Payload/") && strings.Contains(f.Name, ".app/"):
			return "it is an iOS app"
		case f.Name == "toc.pb" || strings.HasSuffix(f.Name, ".apk"):
			return "it is an archive of several APKs"
		case f.Name == "index.html":
			return "it is a web app, for the target browser"
		}
	}
	return "the archive holds no " + manifestName
}
