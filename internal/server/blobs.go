package server

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/blob"
)

// sandboxed is the policy of everything that came from tests and uploads:
// whatever a browser makes of it, it runs nothing, loads nothing and is of no
// origin.
const sandboxed = "sandbox; default-src 'none'"

// inlineTypes are what a browser may show in the page; all else is saved.
var inlineTypes = []string{"image/png", "image/jpeg", "image/webp", "video/webm"}

const (
	bodyPatience = time.Minute // an upload has so long to send bodyProgress bytes
	bodyProgress = 16 << 10
	unwantedBody = 8 << 20 // bytes of a refused upload that are read and dropped
)

// Blobs keeps builds, bundles and artifacts by their SHA-256: a folder
// (blob.Folder) or a bucket that several machines share (blob.Bucket), whose
// methods say what each of these does.
type Blobs interface {
	Stat(sum qgjob.Sum) (blob.Info, error)
	Append(sum qgjob.Sum, offset, total int64, r io.Reader) (received int64, done bool, err error)
	Put(r io.Reader) (sum qgjob.Sum, size int64, err error)
	Open(sum qgjob.Sum) (io.ReadSeekCloser, int64, error)
	Delete(sum qgjob.Sum) error
	Sweep(before time.Time) (removed int, freed int64, err error)
	Probe(ctx context.Context) error
}

// blobRoutes are the routes that move bytes. What a blob is of is told with
// PUT /v1/apps, in a job's bundle and with an attempt's artifacts.
func (s *Server) blobRoutes() []route {
	return []route{
		{Method: http.MethodPatch, Pattern: "/v1/blobs/{sha256}", Scope: scopeUpload, Owner: ownerFile, Handler: s.blobAppend, Stream: true, Limit: -1,
			ID: "blob-append", Summary: "Send the bytes of a file from Upload-Offset on, of Upload-Length in all", Answers: "application/json"},
		{Method: http.MethodGet, Pattern: "/v1/blobs/{sha256}", Scope: scopeFetch, Owner: ownerFile, Handler: s.blobBytes, Stream: true,
			ID: "blob-bytes", Summary: "Fetch a file by its SHA-256; Range works", Answers: "application/octet-stream"},
		{Method: http.MethodGet, Pattern: "/v1/artifacts/{lease_id}/{name...}", Scope: scopeRead, Owner: ownerArtifact, Handler: s.artifactBytes, Stream: true,
			ID: "artifact-bytes", Summary: "Fetch a file that an attempt left; Range works", Answers: "application/octet-stream"},
	}
}

// blobAppend takes the next bytes of an upload. A client that was cut off asks
// …/info, or reads the offset out of the conflict, and goes on from there.
func (s *Server) blobAppend(w http.ResponseWriter, r *http.Request) {
	sum, err := qgjob.ParseSum(r.PathValue("sha256"))
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
	offset, err := headerNumber(r, "Upload-Offset")
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
	total, err := headerNumber(r, "Upload-Length")
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
	if total > qgjob.MaxAppBuild {
		s.writeProblem(w, r, &qgjob.Error{Kind: qgjob.KindInvalid, Code: qgjob.CodeTooLarge, Field: "header.Upload-Length",
			Message: fmt.Sprintf("Upload-Length is %d bytes; allowed: %d", total, int64(qgjob.MaxAppBuild))})
		return
	}
	if offset <= total && r.ContentLength > total-offset {
		s.writeProblem(w, r, qgjob.Invalid("header.Upload-Length", fmt.Sprintf("%d bytes from %d on are more than the %d announced", r.ContentLength, offset, total)))
		return
	}
	body := &steadyBody{r: r.Body}
	received, done, err := s.appendFor(r.Context(), sum, offset, total, body)
	if done || qgjob.CodeOf(err) == qgjob.CodeOffset {
		// The body was not wanted. It is taken all the same, up to a client's
		// usual piece: a client that is still sending might miss the answer.
		_, _ = io.CopyN(io.Discard, body, unwantedBody)
	}
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
	answerJSON(w, qgjob.BlobInfo{SHA256: sum, Complete: done, Received: received})
}

func headerNumber(r *http.Request, name string) (int64, error) {
	text := r.Header.Get(name)
	if text == "" {
		return 0, qgjob.Invalid("header."+name, "header "+name+" is missing; it is a number of bytes")
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, qgjob.Invalid("header."+name, "header "+name+" must be a number of bytes")
	}
	return n, nil
}

// steadyBody reads an upload for as long as it makes progress. Each read has
// its deadline from bounded; this asks for bodyProgress bytes in bodyPatience,
// so that an upload may take hours and one that trickles may not.
type steadyBody struct {
	r     io.Reader
	mark  time.Time // when the bytes below began to count
	since int
}

// Read reads on, or gives up (unavailable) on a sender without progress.
func (b *steadyBody) Read(p []byte) (int, error) {
	if b.mark.IsZero() {
		b.mark = time.Now()
	}
	n, err := b.r.Read(p)
	b.since += n
	if b.since >= bodyProgress {
		b.mark, b.since = time.Now(), 0
	}
	if err == nil && time.Since(b.mark) > bodyPatience {
		return n, qgjob.Unavailable(nil, "the upload came too slowly: %d bytes in %s", b.since, bodyPatience)
	}
	return n, err
}

// patientWriter gives each piece of an answer its own deadline.
type patientWriter struct {
	http.ResponseWriter
	rc *http.ResponseController
}

// Write writes p in pieces.
func (w *patientWriter) Write(p []byte) (n int, err error) {
	for piece := range slices.Chunk(p, writePiece) {
		if err := w.rc.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
			return n, err
		}
		m, err := w.ResponseWriter.Write(piece)
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// blobBytes gives a blob.
func (s *Server) blobBytes(w http.ResponseWriter, r *http.Request) {
	sum, err := qgjob.ParseSum(r.PathValue("sha256"))
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
	if org := callerOf(r.Context()).org; org != "" {
		mine, err := s.Store.BlobOwned(r.Context(), org, sum)
		if err == nil && !mine {
			err = qgjob.NotFound("no blob %s", sum) // as for one that is not here
		}
		if err != nil {
			s.writeProblem(w, r, err)
			return
		}
	}
	s.serveBlob(w, r, sum, string(sum), "application/octet-stream")
}

// artifactBytes gives a file that an attempt left, under the name and the type
// that its agent gave it.
func (s *Server) artifactBytes(w http.ResponseWriter, r *http.Request) {
	id, err := qgjob.ParseLeaseID(r.PathValue("lease_id"))
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
	a, err := s.Store.Artifact(r.Context(), id, r.PathValue("name"))
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
	s.serveBlob(w, r, a.SHA256, path.Base(a.Name), a.ContentType)
}

// serveBlob answers with stored bytes. They were written by tests and by
// uploaders: a browser shows only the plain kinds of pictures, and never
// guesses. Whoever needs more than that saves the file.
func (s *Server) serveBlob(w http.ResponseWriter, r *http.Request, sum qgjob.Sum, name, contentType string) {
	file, _, err := s.Blobs.Open(sum)
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
	defer file.Close()
	kind, disposition := safeType(contentType), "attachment"
	if slices.Contains(inlineTypes, kind) {
		disposition = "inline"
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": safeName(name)}))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", sandboxed)
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("ETag", `"`+string(sum)+`"`)
	h.Set("Cache-Control", "private, no-cache") // an artifact's name may be given to other bytes: ask with the ETag
	http.ServeContent(&patientWriter{w, http.NewResponseController(w)}, r, "", time.Time{}, file)
}

// safeType is a content type without parameters; what cannot be read as one is
// a heap of bytes.
func safeType(contentType string) string {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.Contains(kind, "/") {
		return "application/octet-stream"
	}
	return kind
}

// safeName is a file name that no operating system takes for a path.
func safeName(name string) string {
	clean := strings.Map(func(c rune) rune {
		if c == '/' || c == '\\' || c == ':' || c == '"' || c == utf8.RuneError || !unicode.IsPrint(c) {
			return '_'
		}
		return c
	}, name)
	if strings.Trim(clean, ". ") == "" {
		return "file"
	}
	return clean
}
