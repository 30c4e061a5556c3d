package ios

import (
	"archive/zip"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"howett.net/plist"
)

// Info is what an app says of itself.
type Info struct {
	BundleID  string
	Build     string // CFBundleVersion
	Version   string // CFBundleShortVersionString
	Simulator bool   // built for simulators, which phones do not take, nor the other way round
	Folder    string // NAME.app or Payload/NAME.app inside the archive
}

// IPA reports whether the archive is an .ipa.
func (i Info) IPA() bool { return strings.HasPrefix(i.Folder, "Payload/") }

const (
	infoName   = "Info.plist"
	maxInfo    = 1 << 20 // bytes
	maxEntries = 200_000
)

// Error is an app that cannot be used, with what to do.
type Error struct {
	Message string
	Hint    string
}

// Error is the cause and the fix on one line.
func (e *Error) Error() string { return e.Message + " (" + e.Hint + ")" }

// Open reads the archive in a file: an .ipa, or a zip of NAME.app. What is no
// app is an *Error.
func Open(file string) (Info, error) {
	f, err := os.Open(file)
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

// Read is Open for an archive of size bytes.
func Read(r io.ReaderAt, size int64) (Info, error) {
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return Info{}, &Error{"the build is no .ipa and no zip of an .app folder", "upload the .ipa, or ditto -c -k --keepParent NAME.app NAME.zip"}
	}
	if len(archive.File) > maxEntries {
		return Info{}, &Error{"the build has too many files", "look at what is packed into it"}
	}
	apk := false
	for _, f := range archive.File {
		apk = apk || f.Name == "AndroidManifest.xml"
		folder := strings.TrimSuffix(f.Name, "/"+infoName)
		if folder == f.Name || !appFolder(folder) {
			continue
		}
		text, err := readEntry(f)
		if err != nil {
			return Info{}, &Error{fmt.Sprintf("%s cannot be read: %v", f.Name, err), "build the app anew"}
		}
		info, err := ParseInfo(text)
		info.Folder = folder
		return info, err
	}
	if apk {
		return Info{}, &Error{"the build is an Android app", "upload an .ipa or a zipped .app, or submit for an Android target"}
	}
	return Info{}, &Error{"the build has no Info.plist of an app in it", "upload an .ipa (Payload/NAME.app), or a zip with NAME.app at its top"}
}

// appFolder is true of NAME.app and Payload/NAME.app: apps for watches and tests
// lie deeper.
func appFolder(folder string) bool {
	dir, name := path.Split(folder)
	return (dir == "" || dir == "Payload/") && strings.HasSuffix(name, ".app")
}

func readEntry(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, maxInfo+1))
	if err == nil && len(text) > maxInfo {
		err = fmt.Errorf("it is longer than %d bytes", maxInfo)
	}
	return text, err
}

// ParseInfo reads an Info.plist, XML or binary. One that names no app is an
// *Error.
func ParseInfo(text []byte) (info Info, err error) {
	var p struct {
		BundleID  string   `plist:"CFBundleIdentifier"`
		Build     string   `plist:"CFBundleVersion"`
		Version   string   `plist:"CFBundleShortVersionString"`
		Platforms []string `plist:"CFBundleSupportedPlatforms"`
	}
	if len(text) > maxInfo {
		err = fmt.Errorf("it is longer than %d bytes", maxInfo)
	} else {
		_, err = plist.Unmarshal(text, &p)
	}
	if err != nil {
		return info, &Error{fmt.Sprintf("the app's Info.plist cannot be read: %v", err), "build the app anew; plutil -lint says more"}
	}
	if !ValidBundleID(p.BundleID) {
		return info, &Error{fmt.Sprintf("the app's CFBundleIdentifier %q is no bundle identifier", p.BundleID), "set it in Xcode, such as com.example.app"}
	}
	return Info{BundleID: p.BundleID, Build: p.Build, Version: p.Version, Simulator: slices.Contains(p.Platforms, "iPhoneSimulator")}, nil
}
