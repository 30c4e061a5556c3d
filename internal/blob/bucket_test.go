package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/qualgent/qgjob"
)

// bucketServer is an S3 server in this process; down makes it answer 503.
type bucketServer struct {
	url  string
	down atomic.Bool
}

func serveBucket(t *testing.T) *bucketServer {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "test-key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test-secret-never-shown")
	back := s3mem.New()
	if err := back.CreateBucket("farm"); err != nil {
		t.Fatal(err)
	}
	s := &bucketServer{}
	inner := gofakes3.New(back).Server()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.down.Load() {
			http.Error(w, "down", http.StatusForbidden)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	s.url = "s3://farm/some/prefix?region=us-east-1&endpoint=" + url.QueryEscape(web.URL)
	return s
}

func (s *bucketServer) open(t *testing.T) *Bucket {
	t.Helper()
	b, err := OpenBucket(context.Background(), s.url, Limits{MaxSize: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func noise(size int) []byte {
	data := make([]byte, size)
	rnd := rand.NewChaCha8([32]byte{byte(size)})
	_, _ = rnd.Read(data)
	return data
}

func bucketContent(t *testing.T, b *Bucket, sum qgjob.Sum) []byte {
	t.Helper()
	r, size, err := b.Open(sum)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil || int64(len(data)) != size {
		t.Fatalf("read %d bytes, %v; Open said %d", len(data), err, size)
	}
	return data
}

func TestBucketPutAndOpen(t *testing.T) {
	b := serveBucket(t).open(t)
	for _, size := range []int{0, 1, VerifyAtOpen + 1, pieceSize, 17 << 20} {
		data := noise(size)
		sum, n, err := b.Put(bytes.NewReader(data))
		if err != nil || n != int64(size) || sum != sumOf(data) {
			t.Fatalf("Put of %d bytes = %s, %d, %v", size, sum, n, err)
		}
		if got := bucketContent(t, b, sum); !bytes.Equal(got, data) {
			t.Errorf("%d bytes came back as others", size)
		}
		if info, err := b.Stat(sum); err != nil || info != (Info{true, int64(size), int64(size)}) {
			t.Errorf("Stat = %+v, %v", info, err)
		}
	}
}

func TestBucketPutOverTheLimit(t *testing.T) {
	s := serveBucket(t)
	for _, limit := range []int64{10, pieceSize + 10} {
		b, err := OpenBucket(context.Background(), s.url, Limits{MaxSize: limit})
		if err != nil {
			t.Fatal(err)
		}
		data := noise(int(limit) + 1)
		if _, _, err := b.Put(bytes.NewReader(data)); qgjob.CodeOf(err) != qgjob.CodeTooLarge {
			t.Errorf("%d bytes: %v", len(data), err)
		}
		if n, _, err := b.Sweep(time.Now().Add(time.Hour)); n != 0 || err != nil {
			t.Errorf("%d objects of it are left, %v", n, err)
		}
		if _, n, err := b.Put(bytes.NewReader(data[:limit])); n != limit || err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestBucketReadsFromTheMiddle(t *testing.T) {
	b := serveBucket(t).open(t)
	data := noise(3 << 20)
	sum, _, err := b.Put(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := b.Open(sum)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Seek(-5, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data[len(data)-5:]) {
		t.Errorf("the last five bytes are %v, %v", got, err)
	}
}

// Each piece goes to another server, as a load balancer would have it.
func TestBucketUploadThroughTwoServers(t *testing.T) {
	s := serveBucket(t)
	servers := []*Bucket{s.open(t), s.open(t)}
	data := noise(9<<20 + 123)
	sum, total := sumOf(data), int64(len(data))
	for step := 0; ; step++ {
		info, err := servers[step%2].Stat(sum)
		if err != nil {
			t.Fatal(err)
		}
		if info.Complete {
			break
		}
		end := min(info.Received+3<<20+int64(step), total)
		received, _, err := servers[(step+1)%2].Append(sum, info.Received, total, bytes.NewReader(data[info.Received:end]))
		if err != nil || received != end {
			t.Fatalf("step %d: received %d of %d: %v", step, received, end, err)
		}
	}
	if !bytes.Equal(bucketContent(t, servers[0], sum), data) {
		t.Error("other bytes came back")
	}
	if left, err := servers[0].pieces(context.Background(), sum); err != nil || len(left) != 0 {
		t.Errorf("pieces left: %v, %v", left, err)
	}
}

func TestBucketKeepsWhatArrivedBeforeACut(t *testing.T) {
	b := serveBucket(t).open(t)
	data := noise(pieceSize + 1000)
	sum, total := sumOf(data), int64(len(data))
	broken := io.MultiReader(bytes.NewReader(data[:pieceSize+10]), iotest.ErrReader(errors.New("connection reset")))
	received, done, err := b.Append(sum, 0, total, broken)
	if received != pieceSize+10 || done || qgjob.KindOf(err) != qgjob.KindUnavailable {
		t.Fatalf("Append = %d, %v, %v", received, done, err)
	}
	received, done, err = b.Append(sum, received, total, bytes.NewReader(data[received:]))
	if received != total || !done || err != nil {
		t.Fatalf("the rest = %d, %v, %v", received, done, err)
	}
	if !bytes.Equal(bucketContent(t, b, sum), data) {
		t.Error("other bytes came back")
	}
}

func TestBucketRefusesWrongBytes(t *testing.T) {
	b := serveBucket(t).open(t)
	sum := sumOf([]byte("what was promised"))
	_, done, err := b.Append(sum, 0, 9, strings.NewReader("other big"))
	wantKind(t, err, qgjob.KindInvalid, "SHA-256", string(sum))
	if info, e := b.Stat(sum); done || e != nil || info != (Info{}) {
		t.Errorf("after it: done %v, %+v, %v", done, info, e)
	}
	if _, _, err := b.Open(sum); qgjob.KindOf(err) != qgjob.KindNotFound {
		t.Errorf("Open: %v", err)
	}
}

func TestBucketRefusals(t *testing.T) {
	b := serveBucket(t).open(t)
	data := []byte("0123456789")
	sum := sumOf(data)
	if n, _, err := b.Append(sum, 0, 10, bytes.NewReader(data[:4])); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	for _, c := range []struct {
		name          string
		sum           qgjob.Sum
		offset, total int64
		body          string
		kind          qgjob.Kind
		code          string
	}{
		{"wrong offset", sum, 3, 10, "3456789", qgjob.KindConflict, qgjob.CodeOffset},
		{"too many bytes", sum, 4, 10, "4567890", qgjob.KindInvalid, ""},
		{"not a sum", "../../etc", 0, 1, "x", qgjob.KindInvalid, ""},
		{"over the limit", sum, 0, 65 << 20, "x", qgjob.KindInvalid, qgjob.CodeTooLarge},
		{"offset below zero", sum, -1, 10, "x", qgjob.KindInvalid, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, done, err := b.Append(c.sum, c.offset, c.total, strings.NewReader(c.body))
			if done || qgjob.KindOf(err) != c.kind || qgjob.CodeOf(err) != c.code {
				t.Errorf("done %v, code %q, %v", done, qgjob.CodeOf(err), err)
			}
		})
	}
	if n, done, err := b.Append(sum, 4, 10, bytes.NewReader(data[4:])); n != 10 || !done || err != nil {
		t.Fatalf("the upload could not go on: %d, %v, %v", n, done, err)
	}
	if _, _, err := b.Append(sum, 0, 11, strings.NewReader("x")); qgjob.KindOf(err) != qgjob.KindInvalid {
		t.Errorf("another length for a whole blob: %v", err)
	}
	if err := b.Delete(sum); err != nil {
		t.Error(err)
	}
	if err := b.Delete(sum); qgjob.KindOf(err) != qgjob.KindNotFound {
		t.Errorf("deleted twice: %v", err)
	}
}

func TestBucketUploadsAtOnce(t *testing.T) {
	s := serveBucket(t)
	data := noise(2 << 20)
	sum, total := sumOf(data), int64(len(data))
	var all sync.WaitGroup
	for range 4 {
		b := s.open(t)
		all.Go(func() {
			for range 200 {
				info, err := b.Stat(sum)
				if err != nil || info.Complete {
					return
				}
				end := min(info.Received+300<<10, total)
				_, _, err = b.Append(sum, info.Received, total, bytes.NewReader(data[info.Received:end]))
				if err != nil && qgjob.CodeOf(err) != qgjob.CodeOffset {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if !bytes.Equal(bucketContent(t, s.open(t), sum), data) {
		t.Error("other bytes came back")
	}
}

func TestBucketSweepLeavesWhatGrows(t *testing.T) {
	b := serveBucket(t).open(t)
	data := noise(1000)
	old, whole := sumOf(data), noise(10)
	if _, _, err := b.Append(old, 0, 2000, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	kept, _, err := b.Put(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	if n, _, err := b.Sweep(time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Fatalf("young pieces were swept: %d, %v", n, err)
	}
	n, freed, err := b.Sweep(time.Now().Add(time.Hour))
	if n != 1 || freed != 1000 || err != nil {
		t.Fatalf("Sweep = %d, %d, %v", n, freed, err)
	}
	if info, _ := b.Stat(old); info.Received != 0 {
		t.Errorf("%d bytes are left", info.Received)
	}
	if !bytes.Equal(bucketContent(t, b, kept), whole) {
		t.Error("a whole blob was swept")
	}
}

func TestBucketTroubleIsUnavailable(t *testing.T) {
	s := serveBucket(t)
	b := s.open(t)
	if err := b.Probe(context.Background()); err != nil {
		t.Errorf("a probe of a bucket that is there: %v", err)
	}
	if n, _, err := b.Sweep(time.Now().Add(time.Hour)); n != 0 || err != nil {
		t.Errorf("the probe left %d objects, %v", n, err)
	}
	s.down.Store(true)
	if err := b.Probe(context.Background()); qgjob.KindOf(err) != qgjob.KindUnavailable {
		t.Errorf("a probe of a bucket that is not: %v", err)
	}
	_, err := b.Stat(sumOf(nil))
	wantKind(t, err, qgjob.KindUnavailable, "blob storage")
	if strings.Contains(fmt.Sprintf("%v %+v", err, err), "test-secret-never-shown") {
		t.Error("the secret is in the error")
	}
	if _, _, err := b.Put(strings.NewReader("x")); qgjob.KindOf(err) != qgjob.KindUnavailable {
		t.Errorf("Put: %v", err)
	}
	s.down.Store(false)
	errSender := errors.New("sender gone")
	if _, _, err := b.Put(iotest.ErrReader(errSender)); !errors.Is(err, errSender) {
		t.Errorf("the sender's error is lost: %v", err)
	}
}

func TestOpenBucketRefusals(t *testing.T) {
	good := serveBucket(t).url
	for _, c := range []struct {
		place string
		kind  qgjob.Kind
		says  string
	}{
		{"s3://", qgjob.KindInvalid, "not such a URL"},
		{"s3://key:hush@farm", qgjob.KindInvalid, "credentials"},
		{"s3://farm?endpoint=farm", qgjob.KindInvalid, "endpoint"},
		{"s3://farm?endpoint=ftp://host", qgjob.KindInvalid, "endpoint"},
		{"s3://farm?endpoint=http://u:hush@host", qgjob.KindInvalid, "endpoint"},
		{"s3://farm?secret=hush", qgjob.KindInvalid, "secret"},
		{strings.Replace(good, "farm", "other", 1), qgjob.KindUnavailable, "other"},
		{"s3://farm?region=us-east-1&endpoint=http://127.0.0.1:1", qgjob.KindUnavailable, "cannot be reached"},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_, err := OpenBucket(ctx, c.place, Limits{MaxSize: 1})
		cancel()
		wantKind(t, err, c.kind, c.says)
		if strings.Contains(err.Error(), "hush") {
			t.Errorf("a secret is in the error: %v", err)
		}
	}
}

func TestLineUpPieces(t *testing.T) {
	p := func(offset, size int64, key string) piece { return piece{key, offset, size} }
	for _, c := range []struct {
		name string
		all  []piece
		want []string
	}{
		{"none", nil, nil},
		{"in order whatever their order", []piece{p(5, 5, "b"), p(0, 5, "a")}, []string{"a", "b"}},
		{"a gap ends it", []piece{p(0, 5, "a"), p(6, 5, "b")}, []string{"a"}},
		{"the longer of two", []piece{p(0, 3, "a"), p(0, 5, "b"), p(5, 1, "c")}, []string{"b", "c"}},
		{"nothing at the start", []piece{p(1, 3, "a")}, nil},
		{"overlapping ones are passed over", []piece{p(0, 5, "a"), p(3, 5, "b"), p(5, 2, "c")}, []string{"a", "c"}},
	} {
		var got []string
		for _, q := range lineUp(slices.Clone(c.all)) {
			got = append(got, q.key)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// FuzzBucket: what is taken has a bucket and a host; what is refused is not
// shown with a key in it.
func FuzzBucket(f *testing.F) {
	f.Add("s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=eu")
	f.Add("s3://key:secret@bucket")
	f.Fuzz(func(t *testing.T, place string) {
		at, err := parseBucket(place)
		if err == nil && (at.bucket == "" || at.host == "" || strings.HasPrefix(at.prefix, "/")) {
			t.Errorf("%q is %+v", place, at)
		}
	})
}

func FuzzParsePiece(f *testing.F) {
	f.Add("partial/ab/0000000000000000-5-X")
	f.Add("---")
	f.Fuzz(func(t *testing.T, key string) {
		if p, ok := parsePiece(key); ok && (p.offset < 0 || p.size <= 0) {
			t.Errorf("%q gave %+v", key, p)
		}
	})
}
