package store

import (
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"
)

// copyTold is how many rows a copy goes on between two reports.
const copyTold = 20_000

// table copies one table and reads it again over there.
func (c *copying) table(snapshot *sql.Tx, tx pgx.Tx, t copiedTable) error {
	step := CopyStep{Table: t.name}
	if err := snapshot.QueryRowContext(c.ctx, `SELECT COUNT(*) FROM `+t.name).Scan(&step.Total); err != nil { //nolint:gosec // a name out of the schema
		return err
	}
	rows, err := snapshot.QueryContext(c.ctx, t.query())
	if err != nil {
		return err
	}
	source := &copySource{c: c, rows: rows, table: t, step: step}
	_, err = tx.CopyFrom(c.ctx, pgx.Identifier{t.name}, t.columns, source)
	if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return err
	}
	var there tableSum
	read, err := tx.Query(c.ctx, t.query())
	if err != nil {
		return err
	}
	defer read.Close()
	for read.Next() {
		values, err := read.Values()
		if err != nil {
			return err
		}
		if err := there.add(values); err != nil {
			return err
		}
	}
	if err := read.Err(); err != nil {
		return err
	}
	if there != source.sum || there.rows != step.Total {
		return fmt.Errorf("%d rows were sent and %d of %d arrived, or other ones: the copy is given up", source.sum.rows, there.rows, step.Total)
	}
	c.done.Rows += there.rows
	switch t.name {
	case "runs", past + "runs":
		c.done.Runs += there.rows
	case "jobs", past + "jobs":
		c.done.Jobs += there.rows
	}
	c.told(CopyStep{Table: t.name, Done: there.rows, Total: step.Total, Verified: true})
	return nil
}

// copySource feeds a table's rows into the target; see pgx.CopyFromSource.
type copySource struct {
	c      *copying
	rows   *sql.Rows
	table  copiedTable
	step   CopyStep
	sum    tableSum
	values []any
	err    error
}

// Next reads the next row.
func (s *copySource) Next() bool {
	if s.err != nil || !s.rows.Next() {
		return false
	}
	s.values = make([]any, len(s.table.columns))
	dest := make([]any, len(s.values))
	for i := range s.values {
		dest[i] = &s.values[i]
	}
	if s.err = s.rows.Scan(dest...); s.err != nil {
		return false
	}
	for i, v := range s.values {
		switch v := v.(type) {
		case int64:
			if s.table.float[i] {
				s.values[i] = float64(v)
			}
		case string:
			postgresDialect{}.clean(s.values[i : i+1])
			if s.values[i] != v {
				s.c.done.Cleaned++
			}
		}
		if s.table.columns[i] == "flush" {
			s.values[i] = s.c.flush
		}
	}
	s.err = s.sum.add(s.values)
	if s.step.Done++; s.step.Done%copyTold == 0 {
		s.c.told(s.step)
	}
	return true
}

// Values gives the row that Next has read.
func (s *copySource) Values() ([]any, error) { return s.values, s.err }

// Err tells why there is no next row.
func (s *copySource) Err() error {
	if s.err != nil {
		return s.err
	}
	return s.rows.Err()
}

// tableSum is a checksum over a table's rows in any order: the engines do not
// sort texts alike.
type tableSum struct {
	rows int64
	sum  [4]uint64
}

// add adds a row: the SHA-256 of its values, each with its type and length.
func (s *tableSum) add(values []any) error {
	h := sha256.New()
	for _, v := range values {
		var kind byte
		var body []byte
		switch v := v.(type) {
		case nil:
			kind = 'n'
		case int64:
			kind, body = 'i', binary.BigEndian.AppendUint64(nil, uint64(v)) //nolint:gosec // the bits matter
		case float64:
			kind, body = 'f', binary.BigEndian.AppendUint64(nil, math.Float64bits(v))
		case string:
			kind, body = 's', []byte(v)
		case []byte:
			kind, body = 'b', v
		default:
			return fmt.Errorf("a value of type %T cannot be compared", v)
		}
		_, _ = h.Write(binary.BigEndian.AppendUint64([]byte{kind}, uint64(len(body))))
		_, _ = h.Write(body)
	}
	row := h.Sum(nil)
	s.rows++
	for i := range s.sum {
		s.sum[i] += binary.BigEndian.Uint64(row[8*i:])
	}
	return nil
}
