package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/qualgent/qgjob/internal/lease"
)

// statement is one SQL statement on its way to the database.
type statement struct {
	query string
	args  []any
	scan  func(scanner) error // called for each row; nil: there are none to read
	want  int64               // rows that a write must change; anyRows: it does not matter
	what  string              // it does, for errors
	n     *int64              // takes the number of rows that it changed
}

const anyRows = -1

// scanner is a row to read: of one or of many.
type scanner interface{ Scan(...any) error }

// link is the writer's one connection.
type link interface {
	// run sends statements in order, all at once where the engine can, and
	// gives the error of the first that failed; those behind it are not done.
	// No scan may run statements of its own.
	run(ctx context.Context, list []statement) error
	// primary is what the connection leads to; zero when that is not known.
	primary() lease.Primary
	// drop gives a broken connection up, at once.
	drop()
	close() error
}

// check says what is wrong with a statement that changed n rows.
func (st *statement) check(n int64) error {
	if st.n != nil {
		*st.n = n
	}
	if st.want == anyRows || st.scan != nil || n == st.want {
		return nil
	}
	return fmt.Errorf("%d rows changed: %w", n, errLostRace)
}

// explain says which statement failed.
func (st *statement) explain(err error) error {
	if err == nil {
		return nil
	}
	if st.what != "" {
		return fmt.Errorf("%s: %w", st.what, err)
	}
	return fmt.Errorf("%.60q: %w", st.query, err)
}

// sqlLink is a link through database/sql: each statement is prepared once, and
// runs when it is its turn.
type sqlLink struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

func newSQLLink(ctx context.Context, db *sql.DB) (link, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &sqlLink{conn: conn, stmts: map[string]*sql.Stmt{}}, nil
}

func (l *sqlLink) run(ctx context.Context, list []statement) error {
	for i := range list {
		if err := l.do(ctx, &list[i]); err != nil {
			return list[i].explain(err)
		}
	}
	return nil
}

func (l *sqlLink) do(ctx context.Context, st *statement) error {
	prepared, err := l.prepare(ctx, st.query)
	if err != nil {
		return err
	}
	if st.scan != nil {
		rows, err := prepared.QueryContext(ctx, st.args...)
		if err != nil {
			return err
		}
		return eachRow(rows, func(rows *sql.Rows) error { return st.scan(rows) })
	}
	res, err := prepared.ExecContext(ctx, st.args...)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	return st.check(n)
}

func (l *sqlLink) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if st := l.stmts[query]; st != nil {
		return st, nil
	}
	st, err := l.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	l.stmts[query] = st
	return st, nil
}

// primary is nobody: a file is where it is.
func (l *sqlLink) primary() lease.Primary { return lease.Primary{} }

func (l *sqlLink) drop() { _ = l.close() }

func (l *sqlLink) close() error {
	var err error
	for _, st := range l.stmts {
		err = errors.Join(err, st.Close())
	}
	return errors.Join(err, l.conn.Close())
}
