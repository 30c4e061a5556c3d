// Package bundle is the room for packing a test project into one archive and
// unpacking it safely. The command line packs, agents unpack, and the browser
// device unpacks app builds that others have zipped. It imports only the root
// package.
//
// The format is zip, for both ways: app builds come as zip anyway, and one
// careful reader is better than two. The same tree gives the same bytes
// (sorted names, one fixed time, only the executable bit of the mode), so an
// unchanged project has an unchanged SHA-256 and is not sent again. A new Go
// release may compress differently; then it is sent once more.
package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"syscall"

	"github.com/qualgent/qgjob"
)

// Limits bound an archive on both ways. A field that is zero or less means the
// value of DefaultLimits.
type Limits struct {
	MaxFiles     int   // files and links together; as many directories again
	MaxFileBytes int64 // bytes of one file when unpacked
	MaxBytes     int64 // bytes of all files when unpacked
}

// DefaultLimits are wide enough for test projects and web apps.
var DefaultLimits = Limits{MaxFiles: 20_000, MaxFileBytes: 512 << 20, MaxBytes: 512 << 20}

func (l Limits) orDefault() Limits {
	if l.MaxFiles <= 0 {
		l.MaxFiles = DefaultLimits.MaxFiles
	}
	if l.MaxFileBytes <= 0 {
		l.MaxFileBytes = DefaultLimits.MaxFileBytes
	}
	if l.MaxBytes <= 0 {
		l.MaxBytes = DefaultLimits.MaxBytes
	}
	return l
}

// Manifest says what went into or came out of an archive.
type Manifest struct {
	Files int   // files and links
	Bytes int64 // bytes of the files, not compressed

	// EnvLeftOut are the .env files beside packed files that stayed at home,
	// slash-separated and sorted. Only Pack sets it.
	EnvLeftOut []string
	// Chooser is who told ignored files from wanted ones: ChosenByGit, or
	// ChosenByFiles. Only Pack sets it.
	Chooser string
}

// The values of Manifest.Chooser.
const (
	ChosenByGit   = "git"              // git itself: tracked files and those not ignored
	ChosenByFiles = ".gitignore files" // no git here: the .gitignore files alone
)

const (
	maxName    = 1024 // bytes of a name in an archive
	maxSegment = 255  // bytes between two slashes; what file systems allow
	maxDepth   = 64   // segments of a name
	maxLink    = 1024 // bytes of a link's target
)

func invalid(hint, format string, a ...any) error {
	return &qgjob.Error{Kind: qgjob.KindInvalid, Field: "bundle", Message: fmt.Sprintf(format, a...), Hint: hint}
}

func tooLarge(hint, format string, a ...any) error {
	return &qgjob.Error{
		Kind: qgjob.KindInvalid, Code: qgjob.CodeTooLarge, Field: "bundle",
		Message: fmt.Sprintf(format, a...), Hint: hint,
	}
}

// mapDisk gives an error of the file system its kind. A cancelled context
// stays what it is.
func mapDisk(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", doing, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EFBIG):
		out := qgjob.Unavailable(err, "%s: no room left on the disk", doing)
		out.Hint = "free space and try again"
		return out
	}
	return &qgjob.Error{Kind: qgjob.KindInternal, Message: doing, Err: err}
}

// show quotes a name that others chose, and keeps it short.
func show(name string) string {
	const most = 200
	if len(name) > most {
		return strconv.QuoteToGraphic(name[:most]) + "…"
	}
	return strconv.QuoteToGraphic(name)
}

// stoppable is a reader that ends with its context.
type stoppable struct {
	ctx context.Context
	r   io.Reader
}

func (s stoppable) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, s.ctx.Err()
	}
	return s.r.Read(p)
}
