package blob

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/qualgent/qgjob"
)

// putOptions: Content-MD5 lets the store refuse bytes that were damaged on
// their way; not every store can take signed chunks.
var putOptions = minio.PutObjectOptions{PartSize: streamPart, SendContentMd5: true, DisableContentSha256: true}

// piece is some bytes of an upload, kept as an object of its own.
type piece struct {
	key          string
	offset, size int64
}

// row is the pieces of an upload from its first byte on without a gap.
type row []piece

func (r row) length() int64 {
	if len(r) == 0 {
		return 0
	}
	last := r[len(r)-1]
	return last.offset + last.size
}

// pieceName says where in the upload a piece belongs. Two uploads of one blob
// never write the same object.
func pieceName(sum qgjob.Sum, offset, size int64) string {
	return fmt.Sprintf("%s/%s/%016d-%d-%s", partialDir, sum, offset, size, rand.Text())
}

// parsePiece reads the last part of a piece's name.
func parsePiece(key string) (piece, bool) {
	name := key[strings.LastIndexByte(key, '/')+1:]
	parts := strings.Split(name, "-")
	if len(parts) != 3 {
		return piece{}, false
	}
	offset, err1 := strconv.ParseInt(parts[0], 10, 64)
	size, err2 := strconv.ParseInt(parts[1], 10, 64)
	ok := err1 == nil && err2 == nil && offset >= 0 && size > 0
	return piece{key, offset, size}, ok
}

// lineUp chains pieces: at each offset the longest that begins there. Bytes
// that overlap are of the same blob, or the sum at the end will tell.
func lineUp(all []piece) row {
	slices.SortFunc(all, func(a, b piece) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(b.size, a.size), cmp.Compare(a.key, b.key))
	})
	var out row
	for _, p := range all {
		if p.offset == out.length() {
			out = append(out, p)
		}
	}
	return out
}

func (b *Bucket) pieces(ctx context.Context, sum qgjob.Sum) (row, error) {
	var all []piece
	for o := range b.s3.ListObjectsIter(ctx, b.bucket, minio.ListObjectsOptions{Prefix: b.prefix + partial(sum) + "/", Recursive: true}) {
		if o.Err != nil {
			return nil, mapBucket("look at upload of "+string(sum), o.Err)
		}
		if p, ok := parsePiece(o.Key); ok && p.size == o.Size {
			all = append(all, p)
		}
	}
	return lineUp(all), nil
}

// Append is as Folder.Append, for uploads that any server may go on with.
// Two at once of the same blob do each other no harm: each piece is an object
// of its own, and the sum of all is compared before the blob gets its name.
func (b *Bucket) Append(sum qgjob.Sum, offset, total int64, r io.Reader) (received int64, done bool, err error) {
	if err := valid(sum); err != nil {
		return 0, false, err
	}
	if err := b.limits.checkRange(offset, total); err != nil {
		return 0, false, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), copyPatience)
	defer cancel()
	if size, ok, err := b.size(ctx, sum); err != nil || ok {
		if ok && size != total {
			return size, false, wrongTotal(sum, size, total)
		}
		return size, ok, err
	}
	have, err := b.pieces(ctx, sum)
	if err != nil {
		return 0, false, err
	}
	if have.length() > total {
		if err := b.drop(ctx, sum); err != nil {
			return 0, false, err
		}
		have = nil
	}
	if received = have.length(); offset != received {
		return received, false, wrongOffset(sum, received, offset)
	}
	if received, err = b.grow(ctx, sum, received, total, r); err != nil || received < total {
		return received, false, err
	}
	return b.finish(ctx, sum, total)
}

// grow keeps the bytes of r as pieces and returns how many there are then.
func (b *Bucket) grow(ctx context.Context, sum qgjob.Sum, received, total int64, r io.Reader) (int64, error) {
	for received < total {
		buffer := make([]byte, min(pieceSize, total-received))
		n, err := io.ReadFull(r, buffer)
		last := received+int64(n) == total
		if last && hasMore(r) {
			return received, tooMany(sum, total)
		}
		if n > 0 {
			key := b.prefix + pieceName(sum, received, int64(n))
			if _, err := b.s3.PutObject(ctx, b.bucket, key, bytes.NewReader(buffer[:n]), int64(n), putOptions); err != nil {
				return received, mapBucket("write upload of "+string(sum), err)
			}
			received += int64(n)
		}
		switch {
		case last || err == nil:
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return received, nil
		default:
			return received, cut(err, sum, received, total)
		}
	}
	return received, nil
}

// finish puts the pieces together, compares the sum and gives the blob its
// name. When another process of the farm does the same, both write the same
// bytes under the same name.
func (b *Bucket) finish(ctx context.Context, sum qgjob.Sum, total int64) (int64, bool, error) {
	if !b.take(sum) {
		out := qgjob.Conflict(qgjob.CodeOffset, "the %d bytes of %s are being checked", total, sum)
		out.Offset, out.Hint = total, "ask again in a moment"
		return total, false, out
	}
	defer b.release(sum)
	have, err := b.pieces(ctx, sum)
	if err != nil {
		return 0, false, err
	}
	if have.length() != total { // another server was faster
		size, ok, err := b.size(ctx, sum)
		if err == nil && !ok {
			err = wrongOffset(sum, have.length(), total)
		}
		return size, ok, err
	}
	digest := sha256.New()
	joined := b.prefix + partialDir + "/" + putPrefix + rand.Text() + "/whole"
	from := io.TeeReader(&rowReader{ctx: ctx, b: b, rest: have}, digest)
	if _, err := b.s3.PutObject(ctx, b.bucket, joined, from, total, putOptions); err != nil {
		if size, ok, e := b.size(ctx, sum); ok && e == nil { // another server was faster, and has thrown the pieces away
			return size, true, nil
		}
		return total, false, mapBucket("put together upload of "+string(sum), err)
	}
	if got := sumFrom(digest); got != sum {
		return 0, false, errors.Join(wrongSum(sum, got, total), b.drop(ctx, sum), b.remove(ctx, joined))
	}
	if err := b.publish(ctx, joined, sum); err != nil {
		return total, false, err
	}
	// The blob is safe; what stays of the pieces is swept in a day.
	_ = b.drop(ctx, sum)
	return total, true, nil
}

// publish gives a whole object its final name.
func (b *Bucket) publish(ctx context.Context, key string, sum qgjob.Sum) error {
	_, err := b.s3.CopyObject(ctx, minio.CopyDestOptions{Bucket: b.bucket, Object: b.prefix + whole(sum)}, minio.CopySrcOptions{Bucket: b.bucket, Object: key})
	_ = b.remove(ctx, key) // what stays is swept in a day
	return mapBucket("name blob "+string(sum), err)
}

// drop throws all pieces of an upload away.
func (b *Bucket) drop(ctx context.Context, sum qgjob.Sum) error {
	for o := range b.s3.ListObjectsIter(ctx, b.bucket, minio.ListObjectsOptions{Prefix: b.prefix + partial(sum) + "/", Recursive: true}) {
		if o.Err != nil {
			return mapBucket("throw away upload of "+string(sum), o.Err)
		}
		if err := b.remove(ctx, o.Key); err != nil {
			return err
		}
	}
	return nil
}

// Put is as Folder.Put.
func (b *Bucket) Put(r io.Reader) (qgjob.Sum, int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), copyPatience)
	defer cancel()
	from := &putReader{r: io.LimitReader(r, b.limits.MaxSize+1), digest: sha256.New()}
	head := make([]byte, pieceSize)
	n, err := io.ReadFull(from, head)
	switch {
	case from.err != nil:
		return "", 0, from.stopped()
	case from.n > b.limits.MaxSize:
		return "", 0, b.limits.tooLarge("the bytes sent are")
	case err != nil: // that was all
		sum := sumFrom(from.digest)
		_, err := b.s3.PutObject(ctx, b.bucket, b.prefix+whole(sum), bytes.NewReader(head[:n]), int64(n), putOptions)
		return sum, int64(n), mapBucket("put blob", err)
	}
	key := b.prefix + partialDir + "/" + putPrefix + rand.Text() + "/whole"
	info, err := b.s3.PutObject(ctx, b.bucket, key, io.MultiReader(bytes.NewReader(head), from), -1, putOptions)
	switch {
	case from.err != nil:
		return "", 0, from.stopped()
	case err != nil:
		return "", 0, mapBucket("put blob", err)
	case info.Size > b.limits.MaxSize:
		return "", 0, errors.Join(b.limits.tooLarge("the bytes sent are"), b.remove(ctx, key))
	}
	sum := sumFrom(from.digest)
	return sum, info.Size, b.publish(ctx, key, sum)
}

// putReader hashes what a sender gives, and remembers that the sender failed,
// not the store.
type putReader struct {
	r      io.Reader
	digest hash.Hash
	n      int64
	err    error
}

// Read reads on.
func (p *putReader) Read(to []byte) (int, error) {
	n, err := p.r.Read(to)
	p.n += int64(n)
	_, _ = p.digest.Write(to[:n]) // a hash takes everything
	if err != nil && !errors.Is(err, io.EOF) {
		p.err = err
	}
	return n, err
}

func (p *putReader) stopped() error {
	return qgjob.Unavailable(p.err, "put blob: the sender stopped after %d bytes", p.n)
}

// rowReader reads one piece after the other.
type rowReader struct {
	ctx  context.Context
	b    *Bucket
	rest row
	open io.ReadCloser
}

// Read reads on.
func (r *rowReader) Read(p []byte) (int, error) {
	for {
		if r.open == nil {
			if len(r.rest) == 0 {
				return 0, io.EOF
			}
			object, err := r.b.s3.GetObject(r.ctx, r.b.bucket, r.rest[0].key, minio.GetObjectOptions{})
			if err != nil {
				return 0, err
			}
			r.open, r.rest = object, r.rest[1:]
		}
		n, err := r.open.Read(p)
		if !errors.Is(err, io.EOF) {
			return n, err
		}
		err, r.open = r.open.Close(), nil
		if n > 0 || err != nil {
			return n, err
		}
	}
}
