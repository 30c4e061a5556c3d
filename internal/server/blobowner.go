package server

import (
	"bufio"
	"bytes"
	"context"
	"io"

	"github.com/qualgent/qgjob"
)

// A file is stored once, whoever sends it; but to know its SHA-256 is not to
// have it. A token of an org gets, and uses, only files whose bytes that org
// has sent. When another org's file is the same, the bytes that are sent are
// compared with those that are here instead of stored again.

// mayUse reports whether a file is here for an org. Callers of all orgs, who
// see every file, give it to the org that they use it for.
func (s *Server) mayUse(ctx context.Context, org qgjob.OrgID, sum qgjob.Sum, here bool) (bool, error) {
	if !here {
		return false, nil
	}
	if callerOf(ctx).org != "" {
		return s.Store.BlobOwned(ctx, callerOf(ctx).org, sum)
	}
	if org == "" {
		return true, nil
	}
	return true, s.Store.OwnBlob(ctx, org, sum)
}

// known tells how much of a whole file the caller's org has sent.
func (s *Server) known(ctx context.Context, sum qgjob.Sum, size int64) (complete bool, received int64, err error) {
	org := callerOf(ctx).org
	if org == "" {
		return true, size, nil
	}
	if complete, err = s.Store.BlobOwned(ctx, org, sum); err != nil || complete {
		return complete, size, err
	}
	received, err = s.Store.BlobProven(ctx, org, sum)
	return false, received, err
}

// appendFor is Append for the caller's org.
func (s *Server) appendFor(ctx context.Context, sum qgjob.Sum, offset, total int64, body io.Reader) (received int64, done bool, err error) {
	org := callerOf(ctx).org
	if org == "" {
		return s.Blobs.Append(sum, offset, total, body)
	}
	info, err := s.Blobs.Stat(sum)
	if err != nil {
		return 0, false, err
	}
	if info.Complete {
		return s.prove(ctx, org, sum, info.Size, offset, total, body)
	}
	received, done, err = s.Blobs.Append(sum, offset, total, body)
	if err == nil && done {
		err = s.Store.OwnBlob(ctx, org, sum)
	}
	return received, done, err
}

// prove compares what an org sends of a file that is here with the file.
func (s *Server) prove(ctx context.Context, org qgjob.OrgID, sum qgjob.Sum, size, offset, total int64, body io.Reader) (received int64, done bool, err error) {
	mine, proven, err := s.known(ctx, sum, size)
	switch {
	case err != nil || mine:
		return size, mine, err
	case total != size:
		return 0, false, qgjob.Invalid("header.Upload-Length", "these are not the bytes of that SHA-256; check the file's size and sum")
	case offset != proven:
		e := qgjob.Conflict(qgjob.CodeOffset, "%d bytes of the file have arrived, not %d", proven, offset)
		e.Offset = proven
		return proven, false, e
	}
	file, _, err := s.Blobs.Open(sum)
	if err != nil {
		return proven, false, err
	}
	defer file.Close()
	if _, err := file.Seek(proven, io.SeekStart); err != nil {
		return proven, false, err
	}
	n, err := compare(file, body)
	if err != nil {
		return proven, false, err
	}
	proven += n
	return proven, proven == size, s.Store.ProveBlob(ctx, org, sum, proven, proven == size)
}

// compare reads body to its end and gives its length when the file goes on
// with the same bytes; else it is refused, in the words of a wrong sum.
func compare(file, body io.Reader) (n int64, err error) {
	here, piece := bufio.NewReaderSize(file, writePiece), make([]byte, writePiece)
	want := make([]byte, writePiece)
	for {
		got, err := body.Read(piece)
		if got > 0 {
			if _, e := io.ReadFull(here, want[:got]); e != nil || !bytes.Equal(piece[:got], want[:got]) {
				return n, qgjob.Invalid("sha256", "these are not the bytes of that SHA-256; check the file's size and sum")
			}
			n += int64(got)
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
