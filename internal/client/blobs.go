package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/qualgent/qgjob"
)

const (
	uploadChunk  = 4 << 20 // bytes of one PATCH: what a cut connection loses at most
	uploadIdle   = 2 * time.Minute
	downloadIdle = time.Minute
	maxStalls    = 5 // answers in a row that move an upload nowhere
)

// BlobInfo says how much of a file the server holds. A file that it has never
// seen is not an error: nothing of it is received.
func (c *Client) BlobInfo(ctx context.Context, sum qgjob.Sum) (qgjob.BlobInfo, error) {
	return ask[qgjob.BlobInfo](ctx, c, get("/v1/blobs/"+seg(sum)+"/info"))
}

// Upload sends size bytes of file, whose SHA-256 is sum, in chunks, and goes
// on where the server stands after a cut connection or an earlier upload that
// broke off. It returns how many bytes it sent: 0 when the server had them
// all. progress (nil: none) hears how many bytes the server holds.
func (c *Client) Upload(ctx context.Context, file io.ReaderAt, size int64, sum qgjob.Sum, progress func(received int64)) (sent int64, err error) {
	info, err := c.BlobInfo(ctx, sum)
	if err != nil {
		return 0, err
	}
	up := upload{client: c, file: file, size: size, sum: sum, tries: tries{client: c, retry: c.retry}}
	for !info.Complete {
		if progress != nil {
			progress(info.Received)
		}
		if info.Received < 0 || info.Received > size {
			return up.sent, up.lost(fmt.Sprintf("the server holds %d bytes of it, more than its %d", info.Received, size))
		}
		next, err := up.step(ctx, info)
		if err != nil {
			return up.sent, err
		}
		if !next.Complete && next.Received <= info.Received {
			if up.stalls++; up.stalls > maxStalls {
				return up.sent, up.lost(fmt.Sprintf("the server stays at %d of %d bytes", next.Received, size))
			}
		} else {
			up.stalls = 0
		}
		info = next
	}
	if progress != nil {
		progress(size)
	}
	return up.sent, nil
}

type upload struct {
	client *Client
	file   io.ReaderAt
	size   int64
	sum    qgjob.Sum
	sent   int64
	stalls int
	tries  tries
}

// step sends one chunk and returns where the server then stands.
func (u *upload) step(ctx context.Context, info qgjob.BlobInfo) (qgjob.BlobInfo, error) {
	chunk := make([]byte, min(uploadChunk, u.size-info.Received))
	if _, err := u.file.ReadAt(chunk, info.Received); err != nil && !errors.Is(err, io.EOF) {
		return info, fmt.Errorf("read what is to be uploaded: %w", err)
	}
	var next qgjob.BlobInfo
	f := u.tries.next().once(ctx, call{
		method: http.MethodPatch, path: "/v1/blobs/" + seg(u.sum), raw: chunk, idle: uploadIdle,
		header: map[string]string{
			"Upload-Offset": strconv.FormatInt(info.Received, 10),
			"Upload-Length": strconv.FormatInt(u.size, 10),
		},
	}, &next)
	if f == nil {
		u.tries.progress()
		u.sent += int64(len(chunk))
		return next, nil
	}
	if e, ok := errors.AsType[*qgjob.Error](f.err); ok && e.Code == qgjob.CodeOffset {
		return qgjob.BlobInfo{SHA256: u.sum, Received: e.Offset, Complete: false}, nil
	}
	if err := u.tries.again(ctx, f, true); err != nil {
		return info, err
	}
	return u.client.With(NoRetry).infoOr(ctx, u.sum, info), nil
}

// infoOr asks how far a blob is; when that cannot be told either, it is taken
// to be where it was.
func (c *Client) infoOr(ctx context.Context, sum qgjob.Sum, was qgjob.BlobInfo) qgjob.BlobInfo {
	if info, err := c.BlobInfo(ctx, sum); err == nil {
		return info
	}
	return was
}

func (u *upload) lost(why string) error {
	return &qgjob.Error{Kind: qgjob.KindInternal, Message: "upload of " + string(u.sum[:min(12, len(u.sum))]) + " cannot go on: " + why}
}

// Download writes a blob of at most limit bytes to w and checks its SHA-256.
// A cut connection is resumed where it broke. When the bytes are not those
// asked for, the error is KindInternal and what w got must be thrown away.
func (c *Client) Download(ctx context.Context, sum qgjob.Sum, w io.Writer, limit int64) (int64, error) {
	d := download{w: w, sum: sum, limit: limit, hash: sha256.New()}
	t := tries{client: c, retry: c.retry}
	for {
		was := d.n
		d.client = t.next()
		f := d.step(ctx)
		if f == nil {
			t.progress()
			break
		}
		if d.n > was {
			t.progress()
		}
		if err := t.again(ctx, f, true); err != nil {
			return d.n, err
		}
	}
	if got := hex.EncodeToString(d.hash.Sum(nil)); got != string(sum) {
		return d.n, &qgjob.Error{Kind: qgjob.KindInternal, Message: fmt.Sprintf("download of %.12s gave %d bytes with the SHA-256 %.12s", sum, d.n, got)}
	}
	return d.n, nil
}

type download struct {
	client *Client
	w      io.Writer
	sum    qgjob.Sum
	limit  int64
	hash   hash.Hash
	n      int64
}

// step reads on from byte n until the end or a failure.
func (d *download) step(ctx context.Context) *failure {
	what := get("/v1/blobs/" + seg(d.sum))
	what.idle = downloadIdle
	if d.n > 0 {
		what.header = map[string]string{"Range": fmt.Sprintf("bytes=%d-", d.n)}
	}
	res, f := d.client.open(ctx, what)
	if f != nil {
		return f
	}
	defer res.Body.Close()
	if d.n > 0 && res.StatusCode != http.StatusPartialContent {
		return &failure{err: &qgjob.Error{Kind: qgjob.KindInternal, Message: d.client.base + " cannot resume the download of " + string(d.sum)}}
	}
	out := &counted{w: io.MultiWriter(d.w, d.hash)}
	_, err := io.Copy(out, io.LimitReader(res.Body, d.limit+1-d.n))
	d.n += out.n
	switch {
	case out.err != nil:
		return &failure{err: fmt.Errorf("write a download: %w", out.err)}
	case d.n > d.limit:
		return &failure{err: &qgjob.Error{Kind: qgjob.KindInvalid, Code: qgjob.CodeTooLarge,
			Message: fmt.Sprintf("the file %.12s is longer than %d bytes", d.sum, d.limit)}}
	case err != nil:
		return d.client.cut(err)
	}
	return nil
}

// counted tells errors of its writer from those of the reader.
type counted struct {
	w   io.Writer
	n   int64
	err error
}

// Write counts what was written.
func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	if err != nil {
		c.err = err
	}
	return n, err
}
