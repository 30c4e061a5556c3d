package store

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"

	"github.com/qualgent/qgjob"
)

// AppendLog adds bytes to an attempt's log at an offset. Bytes that are there
// already are skipped, so a repeated chunk is harmless; a gap is refused with
// code offset and the length to go on from. Beyond qgjob.MaxAttemptLog bytes
// are counted and not kept (Full).
func (s *Store) AppendLog(ctx context.Context, id qgjob.LeaseID, offset int64, data []byte) (resp qgjob.LogResponse, err error) {
	err = s.update(ctx, func(t *tx) error {
		var length, kept int64
		var side string // where the attempt is: it may be long over
		found, err := t.queryRow(either(`SELECT log_bytes, log_kept, '@' FROM @attempts WHERE lease_id = $1`), []any{string(id)}, &length, &kept, &side)
		if err != nil {
			return fmt.Errorf("read the log of lease %s: %w", id, err)
		}
		if !found {
			return NoLease(id)
		}
		if offset > length || offset < 0 {
			e := qgjob.Conflict(qgjob.CodeOffset, "the log of lease %s is %d bytes long, not %d", id, length, offset)
			e.Offset = length
			return e
		}
		resp = qgjob.LogResponse{Length: max(length, offset+int64(len(data))), Full: kept >= qgjob.MaxAttemptLog}
		if resp.Length == length {
			return nil
		}
		fresh := data[length-offset:]
		keep := fresh[:min(int64(len(fresh)), qgjob.MaxAttemptLog-kept)]
		if len(keep) > 0 {
			if err := t.write("append to the log of lease "+string(id), `INSERT INTO `+side+`log_chunks (lease_id, off, data) VALUES ($1, $2, $3)`, string(id), kept, bytes.Clone(keep)); err != nil {
				return err
			}
		}
		kept += int64(len(keep))
		resp.Full = kept >= qgjob.MaxAttemptLog
		t.note.Logs = append(t.note.Logs, id)
		return t.write("lengthen the log of lease "+string(id), `UPDATE `+side+`attempts SET log_bytes = $1, log_kept = $2 WHERE lease_id = $3`, resp.Length, kept, string(id))
	})
	return resp, err
}

// Log reads an attempt's log from an offset: at least one chunk when there is
// more, about limit bytes. The end of what is there gives no bytes.
func (s *Store) Log(ctx context.Context, id qgjob.LeaseID, offset int64, limit int) ([]byte, error) {
	rows, err := s.read.QueryContext(ctx, either(`SELECT off, data FROM @log_chunks WHERE lease_id = $1
		AND off >= COALESCE((SELECT MAX(b.off) FROM (SELECT MAX(off) AS off FROM log_chunks WHERE lease_id = $1 AND off <= $2
		UNION ALL SELECT MAX(off) FROM history_log_chunks WHERE lease_id = $1 AND off <= $2) b), 0)`)+` ORDER BY off LIMIT 64`, string(id), offset)
	if err != nil {
		return nil, unavailable(fmt.Errorf("read the log of lease %s: %w", id, err))
	}
	var out []byte
	err = eachRow(rows, func(rows *sql.Rows) error {
		var off int64
		var data []byte
		if err := rows.Scan(&off, &data); err != nil {
			return err
		}
		if skip := offset - off; skip > 0 {
			data = data[min(skip, int64(len(data))):]
		}
		if len(out) < limit {
			out = append(out, data...)
		}
		return nil
	})
	return out, unavailable(err)
}
