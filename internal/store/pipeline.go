package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/qualgent/qgjob/internal/lease"
)

// pipeline is a link to PostgreSQL. Statements that are sent together cost one
// round trip. Each of them still sees what those before it did.
type pipeline struct {
	conn *pgx.Conn
	met  lease.Primary
}

// leaveWithin bounds the farewell to a server that may be gone.
const leaveWithin = time.Second

func newPipeline(ctx context.Context, config *pgx.ConnConfig, ha bool) (link, error) {
	conn, err := pgx.ConnectConfig(ctx, config.Copy())
	if err != nil {
		return nil, err
	}
	p := &pipeline{conn: conn}
	if p.met, err = greet(ctx, conn, ha); err != nil {
		p.drop()
		return nil, err
	}
	return p, nil
}

func (p *pipeline) primary() lease.Primary { return p.met }

func (p *pipeline) run(ctx context.Context, list []statement) error {
	var err error
	if len(list) == 1 && len(list[0].args) == 0 && list[0].scan == nil {
		err = p.alone(ctx, &list[0])
	} else {
		err = p.together(ctx, list)
	}
	if err != nil && p.conn.IsClosed() {
		err = errors.Join(err, driver.ErrBadConn)
	}
	return err
}

func (p *pipeline) alone(ctx context.Context, st *statement) error {
	tag, err := p.conn.Exec(ctx, st.query)
	if err == nil {
		err = st.check(tag.RowsAffected())
	}
	return st.explain(err)
}

func (p *pipeline) together(ctx context.Context, list []statement) (err error) {
	batch := &pgx.Batch{}
	for i := range list {
		batch.Queue(list[i].query, list[i].args...)
	}
	results := p.conn.SendBatch(ctx, batch)
	defer func() {
		if e := results.Close(); err == nil {
			err = e
		}
	}()
	for i := range list {
		if err := list[i].read(results); err != nil {
			return list[i].explain(err)
		}
	}
	return nil
}

func (st *statement) read(results pgx.BatchResults) error {
	if st.scan == nil {
		tag, err := results.Exec()
		if err != nil {
			return err
		}
		return st.check(tag.RowsAffected())
	}
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := st.scan(flagRow{rows}); err != nil {
			return err
		}
	}
	rows.Close()
	return rows.Err()
}

func (p *pipeline) drop() { _ = p.close() }

func (p *pipeline) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
	defer cancel()
	return p.conn.Close(ctx)
}

// flagRow reads booleans out of the numbers that both engines keep them in, as
// database/sql does.
type flagRow struct{ pgx.Rows }

// Scan scans the columns of a row.
func (r flagRow) Scan(dest ...any) error {
	for i := range dest {
		if b, ok := dest[i].(*bool); ok {
			dest[i] = (*flagColumn)(b)
		}
	}
	return r.Rows.Scan(dest...)
}

// flagColumn is a boolean to be read from 0 or 1.
type flagColumn bool

// ScanInt64 takes a number. See pgtype.Int64Scanner.
func (f *flagColumn) ScanInt64(v pgtype.Int8) error {
	*f = flagColumn(v.Int64 != 0)
	return nil
}
