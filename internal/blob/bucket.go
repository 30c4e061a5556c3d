package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/qualgent/qgjob"
)

const (
	pieceSize      = 8 << 20 // bytes of an upload that are held in memory, and lost at most when it is cut
	streamPart     = 16 << 20
	bucketPatience = 30 * time.Second // for a call that moves little
	copyPatience   = time.Hour        // for one that moves a whole blob
)

// Bucket keeps blobs in a bucket of S3 or of a store that speaks its protocol,
// so that servers on several machines hold the same ones. Whole blobs lie under
// the same names as in a Folder; an upload under way is a row of pieces under
// partial/SUM/, which any server can go on with. It is safe for concurrent use,
// also by several processes.
type Bucket struct {
	s3     *minio.Client
	bucket string
	prefix string // empty, or with a slash at its end
	limits Limits

	busy // sums whose pieces this process is putting together
}

// IsBucket reports whether a place for blobs is named by a URL of S3.
func IsBucket(place string) bool { return strings.HasPrefix(place, "s3://") }

// OpenBucket opens s3://BUCKET/PREFIX?endpoint=URL&region=NAME; the endpoint is
// that of AWS when there is none. Credentials come from the environment
// (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or MINIO_…), from
// ~/.aws/credentials, or from the machine's role, and never from the URL. A
// malformed URL is invalid, a bucket that is not there or not to be reached is
// unavailable.
func OpenBucket(ctx context.Context, place string, limits Limits) (*Bucket, error) {
	if limits.MaxSize <= 0 {
		return nil, qgjob.Invalid("max_size", "the size limit of a blob bucket must be above zero")
	}
	at, err := parseBucket(place)
	if err != nil {
		return nil, err
	}
	s3, err := minio.New(at.host, &minio.Options{
		Secure: at.secure, Region: at.region,
		Creds: credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.EnvMinio{}, &credentials.FileAWSCredentials{}, &credentials.IAM{},
		}),
	})
	if err != nil {
		return nil, badBucket(fmt.Sprintf("endpoint %q cannot be used", at.host))
	}
	b := &Bucket{s3: s3, bucket: at.bucket, prefix: at.prefix, limits: limits}
	ctx, cancel := context.WithTimeout(ctx, bucketPatience)
	defer cancel()
	here, err := s3.BucketExists(ctx, at.bucket)
	switch {
	case err != nil:
		return nil, mapBucket("open bucket "+at.bucket, err)
	case !here:
		e := qgjob.Unavailable(nil, "bucket %s does not exist at %s", at.bucket, at.host)
		e.Hint = "create it, or check its name and region"
		return nil, e
	}
	return b, nil
}

// bucketPlace is what a bucket's URL says.
type bucketPlace struct {
	bucket, prefix, host, region string
	secure                       bool
}

func parseBucket(place string) (bucketPlace, error) {
	u, err := url.Parse(place)
	switch {
	case err != nil || u.Scheme != "s3" || u.Host == "":
		return bucketPlace{}, badBucket("it is not such a URL")
	case u.User != nil:
		return bucketPlace{}, badBucket("it must not hold credentials; give them in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	at := bucketPlace{bucket: u.Host, host: "s3.amazonaws.com", secure: true}
	if path := strings.Trim(u.Path, "/"); path != "" {
		at.prefix = path + "/"
	}
	for key, values := range u.Query() {
		switch value := values[0]; key {
		case "region":
			at.region = value
		case "endpoint":
			e, err := url.Parse(value)
			if err != nil || e.Host == "" || (e.Scheme != "http" && e.Scheme != "https") || e.User != nil || strings.Trim(e.Path, "/") != "" {
				return bucketPlace{}, badBucket("its endpoint must be like https://minio.example.com:9000")
			}
			at.host, at.secure = e.Host, e.Scheme == "https"
		default:
			return bucketPlace{}, badBucket(fmt.Sprintf("%.40q is not known there; allowed: endpoint, region", key))
		}
	}
	return at, nil
}

func badBucket(why string) error {
	e := qgjob.Invalid("blobs", "the bucket's URL cannot be used: "+why)
	e.Hint = "write s3://BUCKET/PREFIX, with ?endpoint=https://HOST:PORT for another store than AWS and &region=NAME where it needs one"
	return e
}

// Close lets go of nothing: connections end by themselves.
func (b *Bucket) Close() error { return nil }

// Stat is as Folder.Stat. An error of the store is unavailable.
func (b *Bucket) Stat(sum qgjob.Sum) (Info, error) {
	if err := valid(sum); err != nil {
		return Info{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), bucketPatience)
	defer cancel()
	size, ok, err := b.size(ctx, sum)
	if err != nil {
		return Info{}, err
	}
	if ok {
		return Info{Complete: true, Size: size, Received: size}, nil
	}
	row, err := b.pieces(ctx, sum)
	return Info{Received: row.length()}, err
}

// size is the length of a whole blob, and whether it is there.
func (b *Bucket) size(ctx context.Context, sum qgjob.Sum) (int64, bool, error) {
	info, err := b.s3.StatObject(ctx, b.bucket, b.prefix+whole(sum), minio.StatObjectOptions{})
	if missing(err) {
		return 0, false, nil
	}
	return info.Size, err == nil, mapBucket("look at blob "+string(sum), err)
}

// Open is as Folder.Open. The bytes come from the store as they are read.
func (b *Bucket) Open(sum qgjob.Sum) (io.ReadSeekCloser, int64, error) {
	if err := valid(sum); err != nil {
		return nil, 0, err
	}
	// The reader outlives this call; closing it ends its requests.
	object, err := b.s3.GetObject(context.Background(), b.bucket, b.prefix+whole(sum), minio.GetObjectOptions{})
	if err != nil {
		return nil, 0, mapBucket("open blob "+string(sum), err)
	}
	info, err := object.Stat()
	if err == nil && info.Size <= VerifyAtOpen {
		if err = check(object, sum); err == nil {
			_, err = object.Seek(0, io.SeekStart)
		}
	}
	switch {
	case missing(err):
		return nil, 0, errors.Join(qgjob.NotFound("no blob %s", sum), object.Close())
	case err != nil:
		return nil, 0, errors.Join(mapBucket("open blob "+string(sum), err), object.Close())
	}
	return object, info.Size, nil
}

// Delete is as Folder.Delete.
func (b *Bucket) Delete(sum qgjob.Sum) error {
	if err := valid(sum); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), bucketPatience)
	defer cancel()
	_, ok, err := b.size(ctx, sum)
	if err != nil {
		return err
	}
	if !ok {
		return qgjob.NotFound("no blob %s", sum)
	}
	return b.remove(ctx, b.prefix+whole(sum))
}

// Sweep removes what is left of uploads to which nothing was added since
// before. It goes on after an error and joins them.
func (b *Bucket) Sweep(before time.Time) (removed int, freed int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), copyPatience)
	defer cancel()
	young := map[string]bool{}
	var old []minio.ObjectInfo
	for o := range b.s3.ListObjectsIter(ctx, b.bucket, minio.ListObjectsOptions{Prefix: b.prefix + partialDir + "/", Recursive: true}) {
		switch {
		case o.Err != nil:
			return 0, 0, mapBucket("sweep partial uploads", o.Err)
		case o.LastModified.Before(before):
			old = append(old, o)
		default:
			young[b.uploadOf(o.Key)] = true
		}
	}
	var errs []error
	for _, o := range old {
		if young[b.uploadOf(o.Key)] {
			continue
		}
		if err := b.remove(ctx, o.Key); err != nil {
			errs = append(errs, err)
			continue
		}
		removed++
		freed += o.Size
	}
	return removed, freed, errors.Join(errs...)
}

// uploadOf is the part of a piece's name that all pieces of its upload share.
func (b *Bucket) uploadOf(key string) string {
	upload, _, _ := strings.Cut(strings.TrimPrefix(key, b.prefix+partialDir+"/"), "/")
	return upload
}

func (b *Bucket) remove(ctx context.Context, key string) error {
	return mapBucket("delete "+key, b.s3.RemoveObject(ctx, b.bucket, key, minio.RemoveObjectOptions{}))
}

func missing(err error) bool {
	var said minio.ErrorResponse
	return errors.As(err, &said) && said.Code == minio.NoSuchKey
}

// mapBucket gives an error of the store its kind. All are unavailable but
// those that are told already: somebody can mend the network, the credentials
// or the bucket, and the same call then works.
func mapBucket(doing string, err error) error {
	var known *qgjob.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	out := qgjob.Unavailable(err, "%s: the blob storage refused", doing)
	var said minio.ErrorResponse
	var network net.Error
	switch {
	case errors.As(err, &said) && (said.Code == minio.AccessDenied || said.StatusCode == 401 || said.StatusCode == 403):
		out.Hint = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may do in the bucket"
	case errors.As(err, &said) && said.Code == minio.NoSuchBucket:
		out.Hint = "the bucket does not exist: create it, or check its name and region"
	case errors.As(err, &network), errors.Is(err, context.DeadlineExceeded):
		out.Message = doing + ": the blob storage cannot be reached"
		out.Hint = "is the endpoint right, and does it answer? Nothing that was kept is lost"
	default:
		out.Hint = "the server's log has its answer; try again"
	}
	return out
}
