package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/disk"
	"github.com/qualgent/qgjob/internal/bundle"
	"github.com/qualgent/qgjob/internal/client"
)

// cache keeps what the agents of a machine fetched and unpacked: everything in
// it is named by a hash, made once, and never changed. Locks on disk let
// several processes share it.
type cache struct {
	dir    string
	server *client.Client
}

const (
	lockPoll   = 100 * time.Millisecond
	fetchTries = 2 * time.Minute // without a byte from the server before a fetch is given up
)

func openCache(dir string, server *client.Client) (*cache, error) {
	for _, name := range []string{"blobs", "bundles", "modules", "locks"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return nil, err
		}
	}
	return &cache{dir: dir, server: server.With(client.Retry{Budget: fetchTries})}, nil
}

// lock waits for the only right to make one thing.
func (c *cache) lock(ctx context.Context, name string) (*disk.Lock, error) {
	for {
		l, err := disk.TryLock(filepath.Join(c.dir, "locks", name))
		if _, held := errors.AsType[*disk.HeldError](err); !held {
			return l, err
		}
		if err := pause(ctx, lockPoll); err != nil {
			return nil, err
		}
	}
}

// once makes kind/name if it is not there, and answers its path. make fills
// the path given to it, which must appear there whole or not at all.
func (c *cache) once(ctx context.Context, kind, name string, make func(path string) error) (string, error) {
	path := filepath.Join(c.dir, kind, name)
	if there(path) {
		return path, nil
	}
	l, err := c.lock(ctx, kind+"-"+name)
	if err != nil {
		return "", err
	}
	defer l.Unlock()
	if there(path) {
		return path, nil
	}
	return path, make(path)
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// blob fetches a file once and answers where it is. Its SHA-256 was checked.
func (c *cache) blob(ctx context.Context, sum qgjob.Sum, limit int64) (string, error) {
	if _, err := qgjob.ParseSum(string(sum)); err != nil {
		return "", err
	}
	return c.once(ctx, "blobs", string(sum), func(path string) error {
		part := path + ".part"
		err := c.download(ctx, sum, part, limit)
		if err == nil {
			err = os.Rename(part, path)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("fetch %.12s: %w", sum, err), removeFile(part))
		}
		return disk.SyncDir(filepath.Dir(path))
	})
}

func (c *cache) download(ctx context.Context, sum qgjob.Sum, part string, limit int64) error {
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = c.server.Download(ctx, sum, f, limit)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// bundle unpacks a test bundle once and answers its folder.
func (c *cache) bundle(ctx context.Context, sum qgjob.Sum) (string, error) {
	file, err := c.blob(ctx, sum, qgjob.MaxBundle)
	if err != nil {
		return "", err
	}
	return c.once(ctx, "bundles", string(sum), func(path string) error {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			return err
		}
		if _, err = bundle.Unpack(ctx, f, st.Size(), path, bundle.DefaultLimits); err != nil {
			return fmt.Errorf("unpack bundle %.12s: %w", sum, err)
		}
		return nil
	})
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
