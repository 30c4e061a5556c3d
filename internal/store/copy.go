package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/qualgent/qgjob"
)

// CopyStep is how far a copy is with one table.
type CopyStep struct {
	Table       string
	Done, Total int64 // rows
	Verified    bool  // all rows were read again and are what was sent
}

// Copied is what a copy brought over.
type Copied struct {
	Runs, Jobs int64
	Rows       int64 // of all tables
	Cleaned    int64 // texts with characters that PostgreSQL does not keep
	Resumed    bool  // an earlier copy had been committed; only its end was missing
}

// ownCounters are of the database that they are in; every other counter gives
// numbers that must never be given again, and is copied.
var ownCounters = []string{"flush", "pruned", "upgraded", "oldest_schema"}

// notCopied are the tables that are of the database itself.
var notCopied = []string{"goose_db_version", "moves", "counters", "reigns", "turns"}

// Copy brings all that a data directory's database holds into an empty
// PostgreSQL database: ids, counters, leases and idempotency keys as they are.
// It takes the directory's lock, so no server may be running on it (conflict);
// agents go on meanwhile, keep what they have to tell, and their leases count
// from when the new server first sees them. All is one transaction over there:
// half a copy is never seen. Afterwards the directory's database is not served
// any more. When it fails before that, nothing has changed; when nobody knows,
// running it again finishes it or starts over.
func Copy(ctx context.Context, dir, url string, told func(CopyStep)) (done Copied, err error) {
	if _, err := os.Stat(filepath.Join(dir, "qgjob.db")); err != nil {
		return done, &qgjob.Error{Kind: qgjob.KindNotFound, Message: "there is no database in " + dir, Hint: "name the --data-dir of the server that shall move", Err: err}
	}
	from, err := Open(ctx, dir, Options{Alone: true, copying: true})
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := Open(ctx, url, Options{Alone: true})
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	m, err := from.beginMove(ctx, RedactDatabase(url))
	if err != nil {
		return done, err
	}
	if m.state == moveBegun {
		if done.Resumed, err = arrived(ctx, to.read, m.id); err != nil {
			return done, unavailable(err)
		}
	}
	if !done.Resumed {
		c := &copying{ctx: ctx, from: from, told: told, move: m}
		if err := c.run(url); err != nil {
			return done, unavailable(errors.Join(err, from.endFailedMove(ctx, to, m)))
		}
		done = c.done
	}
	m.state = moveDone
	return done, unavailable(from.noteMove(ctx, m))
}

// beginMove finds the move that was begun before, or makes up a new one.
func (s *Store) beginMove(ctx context.Context, place string) (m move, err error) {
	m, err = movedTo(ctx, s.read)
	switch {
	case err != nil:
		return m, unavailable(err)
	case m.id == "":
		return move{id: string(newLeaseID()), place: place}, nil
	case m.state == moveDone || m.place != place:
		return m, qgjob.Conflict("", "this database was moved, or is about to be, to %s", m.place)
	}
	return m, nil
}

// endFailedMove takes back that a move was begun, when it is sure that nothing
// has arrived.
func (s *Store) endFailedMove(ctx context.Context, to *Store, m move) error {
	ctx = context.WithoutCancel(ctx)
	if there, err := arrived(ctx, to.read, m.id); err != nil || there {
		return err
	}
	return s.forgetMove(ctx, m)
}

// copying is a copy under way.
type copying struct {
	ctx   context.Context
	from  *Store
	to    *pgx.Conn
	told  func(CopyStep)
	move  move
	flush int64 // what everything copied was changed by
	done  Copied
}

// run copies all tables in one transaction.
func (c *copying) run(url string) (err error) {
	config, err := parsePostgres(url)
	if err != nil {
		return err
	}
	config.RuntimeParams["idle_in_transaction_session_timeout"] = "0" // a large table is read for longer
	if c.to, err = pgx.ConnectConfig(c.ctx, config); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.to.Close(context.WithoutCancel(c.ctx))) }()
	snapshot, err := c.from.read.BeginTx(c.ctx, c.from.dialect.snapshot())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, snapshot.Rollback()) }()
	tx, err := c.to.Begin(c.ctx)
	if err != nil {
		return err
	}
	defer func() {
		if e := tx.Rollback(context.WithoutCancel(c.ctx)); !errors.Is(e, pgx.ErrTxClosed) {
			err = errors.Join(err, e)
		}
	}()
	tables, err := c.prepare(tx)
	if err != nil {
		return err
	}
	for _, table := range tables {
		if err := c.table(snapshot, tx, table); err != nil {
			return fmt.Errorf("copy %s: %w", table.name, err)
		}
	}
	if err := c.counters(snapshot, tx); err != nil {
		return err
	}
	if _, err := tx.Exec(c.ctx, `INSERT INTO moves (copy_id, direction, place, state, created_at) VALUES ($1, $2, $3, $4, 0)`, c.move.id, moveFrom, "sqlite", moveDone); err != nil {
		return err
	}
	c.move.state = moveBegun // from here on the copy may exist
	if err := c.from.noteMove(c.ctx, c.move); err != nil {
		return err
	}
	return tx.Commit(c.ctx)
}

// prepare keeps servers out of the target until the end, wants it empty and
// gives the tables to fill.
func (c *copying) prepare(tx pgx.Tx) ([]copiedTable, error) {
	if _, err := tx.Exec(c.ctx, `SELECT pg_advisory_xact_lock($1), pg_advisory_xact_lock($2)`, int64(flushLock), int64(copyLock)); err != nil {
		return nil, err
	}
	if err := tx.QueryRow(c.ctx, `SELECT value + 1 FROM counters WHERE name = 'flush'`).Scan(&c.flush); err != nil {
		return nil, err
	}
	tables, err := tablesOf(c.ctx, tx)
	if err != nil {
		return nil, err
	}
	for _, table := range tables {
		var there bool
		if err := tx.QueryRow(c.ctx, `SELECT EXISTS (SELECT 1 FROM `+table.name+`)`).Scan(&there); err != nil {
			return nil, err
		}
		if there {
			e := qgjob.Conflict("", "the target database is not empty: table %s has rows", table.name)
			e.Hint = "make a new database for the copy (createdb), or empty this one"
			return nil, e
		}
	}
	var given int64
	if err := tx.QueryRow(c.ctx, `SELECT COALESCE(SUM(value), 0) FROM counters WHERE NOT name = ANY($1) AND name NOT LIKE $2`, ownCounters, markOf+"%").Scan(&given); err != nil {
		return nil, err
	}
	if given > 0 {
		return nil, qgjob.Conflict("", "the target database has given numbers to jobs already, though it has none now: make a new one")
	}
	return tables, nil
}

// counters carries the numbers over, so that none is given twice. A server
// that has the target open reads everything anew.
func (c *copying) counters(snapshot *sql.Tx, tx pgx.Tx) error {
	rows, err := snapshot.QueryContext(c.ctx, `SELECT name, value FROM counters`)
	if err != nil {
		return err
	}
	if err := eachRow(rows, func(rows *sql.Rows) error {
		var name string
		var value int64
		if err := rows.Scan(&name, &value); err != nil || slices.Contains(ownCounters, name) {
			return err
		}
		_, err := tx.Exec(c.ctx, `INSERT INTO counters (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
		return err
	}); err != nil {
		return fmt.Errorf("copy the counters: %w", err)
	}
	_, err = tx.Exec(c.ctx, `UPDATE counters SET value = $1 WHERE name IN ('flush', 'pruned')`, c.flush)
	return err
}

// copiedTable is a table of the target, which has the shape of the source's.
type copiedTable struct {
	name    string
	columns []string
	float   []bool // by column: it holds floating point numbers
}

func tablesOf(ctx context.Context, tx pgx.Tx) ([]copiedTable, error) {
	rows, err := tx.Query(ctx, `SELECT table_name, column_name, data_type = 'double precision' FROM information_schema.columns
		WHERE table_schema = current_schema() AND NOT table_name = ANY($1) ORDER BY table_name, ordinal_position`, notCopied)
	if err != nil {
		return nil, err
	}
	var list []copiedTable
	var table, column string
	var float bool
	_, err = pgx.ForEachRow(rows, []any{&table, &column, &float}, func() error {
		if len(list) == 0 || list[len(list)-1].name != table {
			list = append(list, copiedTable{name: table})
		}
		at := &list[len(list)-1]
		at.columns, at.float = append(at.columns, column), append(at.float, float)
		return nil
	})
	return list, err
}

func (t copiedTable) query() string {
	return `SELECT ` + strings.Join(t.columns, ", ") + ` FROM ` + t.name
}
