package cli

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/bundle"
	"github.com/qualgent/qgjob/internal/client"
)

// uploadApp sends an app build, unless the server has those very bytes, and
// makes it the build of an app version.
func (a *app) uploadApp(ctx context.Context, c *client.Client, org qgjob.OrgID, version qgjob.AppVersionID, flag, file string) (qgjob.App, error) {
	f, err := openFile(flag, a.path(file), qgjob.MaxAppBuild)
	if err != nil {
		return qgjob.App{}, err
	}
	defer f.Close()
	if err := a.send(ctx, c, f, "app build "+filepath.Base(file)); err != nil {
		return qgjob.App{}, err
	}
	return c.PutApp(ctx, org, version, f.sum, filepath.Base(file))
}

// packed is a test project as it will be sent.
type packed struct {
	*hashed
	project project
}

// packBundle packs a test project into a file of its own, which close removes.
func (a *app) packBundle(ctx context.Context, dir string) (_ *packed, err error) {
	tmp, err := os.CreateTemp("", "qgjob-bundle-*.zip")
	if err != nil {
		return nil, fmt.Errorf("make room for the bundle: %w", err)
	}
	p := &packed{hashed: &hashed{File: tmp}}
	defer func() {
		if err != nil {
			p.remove()
		}
	}()
	hash := sha256.New()
	manifest, err := bundle.Pack(ctx, a.path(dir), io.MultiWriter(tmp, hash), bundle.Options{})
	if err != nil {
		return nil, err
	}
	p.sum = qgjob.Sum(hex.EncodeToString(hash.Sum(nil)))
	if p.size, err = tmp.Seek(0, io.SeekCurrent); err != nil {
		return nil, fmt.Errorf("measure the bundle: %w", err)
	}
	if p.size > qgjob.MaxBundle {
		return nil, usage("bundle", "%s packs to %s; allowed: %s", dir, size(p.size), size(qgjob.MaxBundle))
	}
	files, err := zip.NewReader(tmp, p.size)
	if err != nil {
		return nil, fmt.Errorf("read the bundle back: %w", err)
	}
	p.project = project{files: files, dir: dir, bundle: true}
	if len(manifest.EnvLeftOut) > 0 {
		a.note("bundle: %s left out (.env files hold secrets); the agent's own environment must give their values", count(len(manifest.EnvLeftOut), ".env file"))
	}
	return p, nil
}

func (p *packed) remove() {
	_ = p.Close()
	_ = os.Remove(p.Name())
}

// hashed is a file with its SHA-256.
type hashed struct {
	*os.File
	sum  qgjob.Sum
	size int64
}

func openFile(flag, path string, limit int64) (*hashed, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usage(flag, "%v", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = usage(flag, "%s is not a file", path)
	}
	if err == nil && info.Size() > limit {
		err = usage(flag, "%s is %s long; allowed: %s", path, size(info.Size()), size(limit))
	}
	if err == nil && info.Size() == 0 {
		err = usage(flag, "%s is empty", path)
	}
	hash := sha256.New()
	var n int64
	if err == nil {
		n, err = io.Copy(hash, f)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &hashed{File: f, sum: qgjob.Sum(hex.EncodeToString(hash.Sum(nil))), size: n}, nil
}

// send uploads a file and says what it cost.
func (a *app) send(ctx context.Context, c *client.Client, f *hashed, what string) error {
	sent, err := c.Upload(ctx, f.File, f.size, f.sum, nil)
	switch {
	case err != nil:
		return fmt.Errorf("upload %s: %w", what, err)
	case sent == 0:
		a.note("%s: the server has it already, nothing was sent", what)
	default:
		a.note("%s: %s sent", what, size(sent))
	}
	return nil
}

// path is a file of the command line, relative to the working directory.
func (a *app) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(a.dir, name)
}
