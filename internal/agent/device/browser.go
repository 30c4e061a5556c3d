package device

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/bundle"
)

// Browser is a mobile-emulated Chromium. An app build is a zip of a web app;
// installing unpacks it and serves it on loopback, in place of the one before.
type Browser struct {
	dir      string
	chromium string
	fallback string
	held     *record
	site     *site // what is served; nil when nothing is
}

const (
	appFolder = "app"
	newFolder = "app.new"
)

// NewBrowser opens the device whose files lie in dir, which must exist.
// chromium is the browser's path, or empty for the test framework's own;
// baseURL is told to tests of app versions without an uploaded build.
func NewBrowser(dir, chromium, baseURL string) *Browser {
	return &Browser{dir: dir, chromium: chromium, fallback: baseURL, held: readRecord(dir)}
}

// Check says whether the browser is still where it was found.
func (b *Browser) Check(context.Context) error {
	if b.chromium == "" {
		return nil
	}
	_, err := FindChromium(b.chromium)
	return err
}

// Wants is true for uploaded builds: without one there is nothing to serve.
func (b *Browser) Wants(build Build) bool { return build.File != "" }

// Holds is true when what lies unpacked is still, byte for byte, what this
// build unpacked to. It serves it when nobody does, as after a restart.
func (b *Browser) Holds(ctx context.Context, build Build) bool {
	if b.held == nil || build.BuildSHA256 == "" || b.held.Installed.BuildSHA256 != build.BuildSHA256 {
		return false
	}
	sum, err := treeDigest(ctx, filepath.Join(b.dir, appFolder))
	if err != nil || sum != b.held.Digest {
		return false
	}
	if b.held.Installed != build.Installed {
		// The same content under another version's name: only the name is new.
		r := *b.held
		r.Installed = build.Installed
		if r.write(b.dir) != nil {
			return false
		}
		b.held = &r
	}
	return b.serve(ctx) == nil
}

// Install unpacks the build and serves it; the version before is gone first.
func (b *Browser) Install(ctx context.Context, build Build) error {
	err := b.Close()
	b.held = nil
	if err := errors.Join(err, forget(b.dir, appFolder, newFolder)); err != nil {
		return fmt.Errorf("remove the version before: %w", err)
	}
	if err := unpack(ctx, build.File, filepath.Join(b.dir, newFolder)); err != nil {
		return errors.Join(err, forget(b.dir, newFolder))
	}
	if err := os.Rename(filepath.Join(b.dir, newFolder), filepath.Join(b.dir, appFolder)); err != nil {
		return err
	}
	sum, err := treeDigest(ctx, filepath.Join(b.dir, appFolder))
	if err != nil {
		return err
	}
	r := record{Installed: build.Installed, FileName: keepName(build.FileName), Digest: sum}
	if err := r.write(b.dir); err != nil {
		return err
	}
	b.held = &r
	return b.serve(ctx)
}

// Installed tells what was unpacked last, also by an earlier process.
func (b *Browser) Installed() *qgjob.Installed {
	if b.held == nil {
		return nil
	}
	held := b.held.Installed
	return &held
}

// Env gives BASE_URL, where the app is served, and QGJOB_CHROMIUM.
func (b *Browser) Env(build Build) []string {
	var env []string
	switch {
	case build.File != "" && b.site != nil:
		env = append(env, "BASE_URL="+b.site.url)
	case build.File == "" && b.fallback != "":
		env = append(env, "BASE_URL="+b.fallback)
	}
	if b.chromium != "" {
		env = append(env, "QGJOB_CHROMIUM="+b.chromium)
	}
	return env
}

// Serves is the app's address while it is served.
func (b *Browser) Serves() []string {
	if b.site == nil {
		return nil
	}
	return []string{strings.TrimPrefix(b.site.url, "http://")}
}

// Reset does nothing: every test's browser context is new.
func (b *Browser) Reset(context.Context, qgjob.Reset) error { return nil }

// Still answers nil: nobody else puts anything there.
func (b *Browser) Still(context.Context, Build) error { return nil }

// Evidence leaves nothing: the test framework has its own.
func (b *Browser) Evidence(context.Context, string) error { return nil }

// Canary is Check.
func (b *Browser) Canary(ctx context.Context) error { return b.Check(ctx) }

// Close stops serving; what is unpacked stays.
func (b *Browser) Close() error {
	s := b.site
	b.site = nil
	if s == nil {
		return nil
	}
	return s.close()
}

func (b *Browser) serve(ctx context.Context) error {
	if b.site != nil {
		return nil
	}
	s, err := serveSite(ctx, filepath.Join(b.dir, appFolder))
	if err != nil {
		return err
	}
	b.site = s
	return nil
}

func unpack(ctx context.Context, file, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = bundle.Unpack(ctx, f, st.Size(), dir, bundle.DefaultLimits)
	return err
}

// treeDigest is a hash over names and contents of a folder. A link counts with
// where it points.
func treeDigest(ctx context.Context, dir string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	all := sha256.New()
	err = fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		sum, err := entryDigest(ctx, root, name, e)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(all, "%q %s\n", name, sum)
		return err
	})
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}

func entryDigest(ctx context.Context, root *os.Root, name string, e fs.DirEntry) (string, error) {
	if e.Type()&fs.ModeSymlink != 0 {
		to, err := root.Readlink(name)
		return fmt.Sprintf("-> %q", to), err
	}
	if !e.Type().IsRegular() {
		return "", fmt.Errorf("%s is no file", name)
	}
	f, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, ctxReader{ctx, f}); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
