package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/qualgent/qgjob/internal/lease"
)

// pipeline is a link to PostgreSQL. Statements that are sent together cost one
// round trip. Each of them still sees what those before it did.
type pipeline struct {
	conn    *pgx.Conn
	met     lease.Primary
	counted map[countedKey]string // texts of statements that must change a number of rows
}

// countedKey is a statement with the number of rows that it must change.
type countedKey struct {
	query string
	want  int64
}

// otherCount is what counted makes PostgreSQL say.
const otherCount = "another number of rows"

// count makes a statement fail when it does not change as many rows as it
// must: what follows in the pipeline, the commit among it, is then not done.
func (p *pipeline) count(st *statement) string {
	if st.want == anyRows || st.scan != nil {
		return st.query
	}
	key := countedKey{st.query, st.want}
	text, ok := p.counted[key]
	if !ok {
		text = fmt.Sprintf(`WITH changed AS (%s RETURNING 1) SELECT CAST(CASE WHEN COUNT(*) = %d THEN '0' ELSE '%s' END AS BIGINT) FROM changed`, st.query, st.want, otherCount)
		p.counted[key] = text
	}
	return text
}

// leaveWithin bounds the farewell to a server that may be gone.
const leaveWithin = time.Second

func newPipeline(ctx context.Context, config *pgx.ConnConfig, ha bool) (link, error) {
	conn, err := pgx.ConnectConfig(ctx, config.Copy())
	if err != nil {
		return nil, err
	}
	p := &pipeline{conn: conn, counted: map[countedKey]string{}}
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
		batch.Queue(p.count(&list[i]), list[i].args...)
	}
	results := p.conn.SendBatch(ctx, batch)
	defer func() {
		if e := results.Close(); err == nil {
			err = e
		}
	}()
	for i := range list {
		if err := list[i].read(results); err != nil {
			var said *pgconn.PgError
			if errors.As(err, &said) && said.Severity == "ERROR" && list[i].query != commitStatement.query {
				err = &undoneError{err} // answers come in order: nothing behind it was done
			}
			return list[i].explain(err)
		}
	}
	return nil
}

func (st *statement) read(results pgx.BatchResults) error {
	if st.scan == nil {
		tag, err := results.Exec()
		var said *pgconn.PgError
		switch {
		case errors.As(err, &said) && strings.Contains(said.Message, otherCount):
			return fmt.Errorf("%w: %w", errLostRace, err)
		case err != nil:
			return err
		case st.want != anyRows:
			return nil // PostgreSQL has counted
		case st.n != nil:
			*st.n = tag.RowsAffected()
		case st.query == commitStatement.query && tag.String() != st.query:
			return fmt.Errorf("the transaction ended by %s", tag)
		}
		return nil
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
