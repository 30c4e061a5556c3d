package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/qualgent/qgjob"
)

// dialect is what the two engines do not have in common. Everything else is
// one SQL text.
type dialect interface {
	// begin opens a transaction that may write, and takes whatever keeps other
	// writers out of it; heldUp: it waits for that a moment only.
	begin(heldUp bool) []statement
	// snapshot are the options of a transaction whose reads all see one state.
	snapshot() *sql.TxOptions
	// bulkInsert is an insert statement of so many rows.
	bulkInsert(table, columns string, rows, width int) string
	// place is where the n-th argument goes.
	place(n int) string
	// among is a further condition of an update of n rows, for the planner: the
	// column is one of the first arguments of each row, of so many each.
	among(column string, n, width int) string
	// clean makes texts storable; most are already.
	clean(args []any)
	// lost reports that an error took the connection with it.
	lost(err error) bool
	// sharing is how several processes write one database; nil when one
	// process owns it.
	sharing() *sharing
}

// sharing is the SQL that several writers of one database need.
type sharing struct {
	// stamp sets the number of the last flush ($1), and writes it under the
	// writer's own name ($2) too. PostgreSQL's numbers of transactions do not
	// serve: after a crash they are given again.
	stamp string
	// outcome tells what became of the flush of a writer ($1) with a number
	// ($2): committed, aborted.
	outcome string
}

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings a database, called name in errors, to this binary's schema.
func migrate(ctx context.Context, db *sql.DB, name string, engine goose.Dialect, types *strings.Replacer) error {
	files, err := typedMigrations(types)
	if err != nil {
		return err
	}
	// Several people number migrations ahead; none builds on one that comes later.
	p, err := goose.NewProvider(engine, db, files, goose.WithAllowOutofOrder(true))
	if err != nil {
		return err
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if have > want {
		return besideNewer(ctx, db, name, have, want)
	}
	if _, err := p.Up(ctx); err != nil {
		return err
	}
	// A program of an earlier release cannot raise the mark back. Where it stands
	// already nothing is written: a commit would wait for a standby that is away.
	_, err = db.ExecContext(ctx, `INSERT INTO counters (name, value) SELECT 'oldest_schema', CAST($1 AS BIGINT)
		WHERE NOT EXISTS (SELECT 1 FROM counters WHERE name = 'oldest_schema' AND value >= $1)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE counters.value < excluded.value`, oldestBeside)
	return err
}

// oldestBeside is the schema version of the oldest program that may work on a
// database beside this one. Migrations after it only add. Raise it with the
// migration that takes something away, one release after nothing uses it.
const oldestBeside = 3

// besideNewer lets a program work on a database that a newer one has migrated,
// as happens while the servers of a farm are replaced one by one, when the
// newer one says that both get on.
func besideNewer(ctx context.Context, db *sql.DB, name string, have, want int64) error {
	oldest := have
	err := db.QueryRowContext(ctx, `SELECT value FROM counters WHERE name = 'oldest_schema'`).Scan(&oldest)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if oldest <= want {
		return nil
	}
	e := qgjob.Conflict("", "database %s has schema version %d, this binary knows versions up to %d", name, have, want)
	e.Hint = "run a newer qgjob"
	return e
}

// typedFS is the embedded migrations with an engine's types filled in.
type typedFS struct {
	fs.FS
	types *strings.Replacer
}

// typedFile is one migration of a typedFS, read whole.
type typedFile struct {
	fs.File
	text *strings.Reader
}

func typedMigrations(types *strings.Replacer) (fs.FS, error) {
	sub, err := fs.Sub(migrations, "migrations")
	return typedFS{FS: sub, types: types}, err
}

// Open opens a migration; directories are passed through.
func (t typedFS) Open(name string) (fs.File, error) {
	f, err := t.FS.Open(name)
	if err != nil || !strings.HasSuffix(name, ".sql") {
		return f, err
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &typedFile{File: f, text: strings.NewReader(t.types.Replace(string(text)))}, nil
}

// Read reads the typed text.
func (f *typedFile) Read(b []byte) (int, error) { return f.text.Read(b) }

// unavailable maps what an engine says to an error that tells the caller to
// try again; what it cannot explain stays internal, never not_found.
func unavailable(err error) error {
	var known *qgjob.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return qgjob.Unavailable(err, "the request ended before the database answered")
	}
	for _, explain := range []func(error) (qgjob.Kind, string, string){explainSQLite, explainPostgres} {
		if kind, message, hint := explain(err); kind != "" {
			return &qgjob.Error{Kind: kind, Message: message, Hint: hint, Err: err}
		}
	}
	return &qgjob.Error{Kind: qgjob.KindInternal, Message: "the database failed", Hint: "see the server's log", Err: err}
}

// opening says which database could not be opened.
func opening(name string, err error) error {
	return unavailable(fmt.Errorf("open database %s: %w", name, err))
}
