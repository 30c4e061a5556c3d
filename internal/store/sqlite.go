package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/qualgent/qgjob"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

//go:embed migrations/*.sql
var migrations embed.FS

// sqliteTypes fills in what the one migration text leaves to the engine: an
// INTEGER PRIMARY KEY is SQLite's row id and needs no index of its own.
var sqliteTypes = strings.NewReplacer("ROWKEY", "INTEGER", "BYTES", "BLOB")

// readers is how many connections answer reads; SQLite in WAL mode lets them
// run beside the writer.
const readers = 4

func (s *Store) openSQLite(ctx context.Context, path string) error {
	dsn := func(pragmas ...string) string {
		q := url.Values{"_pragma": append([]string{"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "temp_store(MEMORY)"}, pragmas...)}
		return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
	}
	db, err := sql.Open("sqlite", dsn("cache_size(-65536)", "wal_autocheckpoint(4000)"))
	if err != nil {
		return unavailable(err)
	}
	db.SetMaxOpenConns(1)
	if err := migrate(ctx, db, path); err != nil {
		return errors.Join(unavailable(fmt.Errorf("open database %s: %w", path, err)), db.Close())
	}
	s.read, err = sql.Open("sqlite", dsn("query_only(1)"))
	if err != nil {
		return errors.Join(unavailable(err), db.Close())
	}
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)
	s.writer, err = startWriter(ctx, db, s.opts)
	if err != nil {
		return errors.Join(unavailable(err), s.read.Close(), db.Close())
	}
	s.close = func() error { return errors.Join(s.read.Close(), s.writer.close(), db.Close()) }
	return nil
}

func migrate(ctx context.Context, db *sql.DB, path string) error {
	files, err := typedMigrations(sqliteTypes)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		return err
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if have > want {
		e := qgjob.Conflict("", "database %s has schema version %d, this binary knows versions up to %d", path, have, want)
		e.Hint = "run a newer qgjob"
		return e
	}
	_, err = p.Up(ctx)
	return err
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
	var se *sqlite.Error
	if errors.As(err, &se) {
		switch se.Code() & 0xff {
		case sqlite3.SQLITE_FULL:
			return &qgjob.Error{Kind: qgjob.KindUnavailable, Message: "the disk of the database is full", Hint: "free space in the data directory; nothing accepted was lost", Err: err}
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			return &qgjob.Error{Kind: qgjob.KindUnavailable, Message: "the database is busy", Hint: "try again", Err: err}
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return &qgjob.Error{Kind: qgjob.KindInternal, Message: "the database is damaged", Hint: "stop the server and put a backup of the data directory in its place", Err: err}
		case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM:
			return &qgjob.Error{Kind: qgjob.KindUnavailable, Message: "the database cannot be written or read", Hint: "check the data directory's disk and permissions", Err: err}
		}
	}
	return &qgjob.Error{Kind: qgjob.KindInternal, Message: "the database failed", Hint: "see the server's log", Err: err}
}
