package blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
)

// probeSize is a block: what a full disk has no room for.
const probeSize = 4096

// errProbe ends a probe's bytes, so that the folder keeps nothing of them.
var errProbe = errors.New("a probe that is not kept")

// Probe finds out whether blobs can be kept now: it writes a block and throws
// it away.
func (f *Folder) Probe(context.Context) error {
	_, _, err := f.Put(io.MultiReader(bytes.NewReader(make([]byte, probeSize)), probeEnd{}))
	if errors.Is(err, errProbe) {
		return nil
	}
	return err
}

type probeEnd struct{}

// Read gives no byte.
func (probeEnd) Read([]byte) (int, error) { return 0, errProbe }

// Probe is as Folder.Probe.
func (b *Bucket) Probe(ctx context.Context) error {
	key := b.prefix + partialDir + "/probe-" + rand.Text() + "/block"
	if _, err := b.s3.PutObject(ctx, b.bucket, key, bytes.NewReader(make([]byte, probeSize)), probeSize, putOptions); err != nil {
		return mapBucket("write a probe", err)
	}
	return b.remove(ctx, key)
}
