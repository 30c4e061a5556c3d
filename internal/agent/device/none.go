package device

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/qualgent/qgjob"
)

// None is the device of runners that bring their own: it keeps the app build
// of the newest job at hand as a file. An app version without an uploaded
// build counts as installed when the device switches to it, so that grouping
// can be seen there too.
type None struct {
	dir  string
	held *record
}

const noneFolder = "app"

// NewNone opens the device whose files lie in dir, which must exist.
func NewNone(dir string) *None { return &None{dir: dir, held: readRecord(dir)} }

// Check always answers nil: there is nothing that could be broken.
func (n *None) Check(context.Context) error { return nil }

// Wants is true for every build.
func (n *None) Wants(Build) bool { return true }

// Holds is true when the newest install was of this org, version and build,
// and its file still has the content it had.
func (n *None) Holds(ctx context.Context, b Build) bool {
	if n.held == nil || n.held.Installed != b.Installed {
		return false
	}
	if b.File == "" {
		return true
	}
	sum, err := fileDigest(ctx, n.path())
	return err == nil && sum == string(b.BuildSHA256) && n.held.FileName == keepName(b.FileName)
}

// Install keeps a copy of the build under its own file name, whose ending
// says what it is. The copy is the test's to spoil; the agent's cache is not.
func (n *None) Install(ctx context.Context, b Build) error {
	n.held = nil
	if err := forget(n.dir, noneFolder); err != nil {
		return err
	}
	r := record{Installed: b.Installed}
	if b.File != "" {
		r.FileName, r.Digest = keepName(b.FileName), string(b.BuildSHA256)
		if err := os.Mkdir(filepath.Join(n.dir, noneFolder), 0o700); err != nil {
			return err
		}
		if err := copyFile(ctx, b.File, filepath.Join(n.dir, noneFolder, r.FileName)); err != nil {
			return err
		}
	}
	if err := r.write(n.dir); err != nil {
		return err
	}
	n.held = &r
	return nil
}

// Installed tells the newest install, also one of an earlier process.
func (n *None) Installed() *qgjob.Installed {
	if n.held == nil {
		return nil
	}
	held := n.held.Installed
	return &held
}

// Env gives QGJOB_APP_PATH, the build's file; empty when there is none, so
// that programs may read it without asking whether it is set.
func (n *None) Env(b Build) []string {
	if b.File == "" || n.held == nil {
		return []string{"QGJOB_APP_PATH="}
	}
	return []string{"QGJOB_APP_PATH=" + n.path()}
}

// Serves is empty.
func (n *None) Serves() []string { return nil }

// Reset does nothing: what the runner drives is the runner's.
func (n *None) Reset(context.Context, qgjob.Reset) error { return nil }

// Still answers nil: nobody else puts anything there.
func (n *None) Still(context.Context, Build) error { return nil }

// Evidence leaves nothing: the test framework has its own.
func (n *None) Evidence(context.Context, string) error { return nil }

// Canary is Check.
func (n *None) Canary(ctx context.Context) error { return n.Check(ctx) }

// Close does nothing.
func (n *None) Close() error { return nil }

func (n *None) path() string { return filepath.Join(n.dir, noneFolder, n.held.FileName) }

// keepName makes a file name of what an uploader called the build: the ending
// matters to installers, the rest only to people.
func keepName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '_'
	}, name)
	if len(name) > 100 {
		name = name[len(name)-100:]
	}
	name = strings.TrimLeft(name, ".-")
	if name == "" {
		return "app"
	}
	return name
}

func copyFile(ctx context.Context, from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, ctxReader{ctx, src}); err != nil {
		return errors.Join(err, dst.Close())
	}
	return dst.Close()
}

func fileDigest(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, ctxReader{ctx, f}); err != nil {
		return "", fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// ctxReader ends with its context: builds may be gigabytes.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
