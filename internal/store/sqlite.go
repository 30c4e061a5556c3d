package store

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/qualgent/qgjob"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

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
	if err := migrate(ctx, db, path, goose.DialectSQLite3, sqliteTypes); err != nil {
		return errors.Join(opening(path, err), db.Close())
	}
	if err := begunUpgrade(ctx, db, false); err != nil {
		return errors.Join(opening(path, err), db.Close())
	}
	if !s.opts.copying {
		if err := refuseMoved(ctx, db, path); err != nil {
			return errors.Join(opening(path, err), db.Close())
		}
	}
	s.read, err = sql.Open("sqlite", dsn("query_only(1)"))
	if err != nil {
		return errors.Join(unavailable(err), db.Close())
	}
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)
	s.dialect, s.room = sqliteDialect{}, roomInFolder(filepath.Dir(path))
	s.writer = newWriter(func(ctx context.Context) (link, error) { return newSQLLink(ctx, db) }, s.dialect, s.opts)
	if err := s.writer.start(ctx); err != nil {
		return errors.Join(unavailable(err), s.read.Close(), db.Close())
	}
	s.close = func() error { return errors.Join(s.read.Close(), s.writer.close(), db.Close()) }
	return nil
}

// sqliteDialect is the dialect of SQLite, which one process owns.
type sqliteDialect struct{}

func (sqliteDialect) begin(bool) []statement {
	return []statement{{query: "BEGIN IMMEDIATE", want: anyRows}}
}
func (sqliteDialect) snapshot() *sql.TxOptions { return &sql.TxOptions{ReadOnly: true} }
func (sqliteDialect) place(int) string         { return "?" }

// among is not needed: SQLite looks each row of the values up in the table.
func (sqliteDialect) among(string, int, int) string { return "" }

func (sqliteDialect) clean([]any)       {}
func (sqliteDialect) lost(error) bool   { return false }
func (sqliteDialect) sharing() *sharing { return nil }

// bulkInsert uses plain parameters: SQLite looks a numbered one up by its
// name, which costs time by the square of their number.
func (sqliteDialect) bulkInsert(table, columns string, rows, width int) string {
	row := "(" + strings.TrimSuffix(strings.Repeat("?,", width), ",") + ")"
	return "INSERT INTO " + table + " (" + columns + ") VALUES " + strings.TrimSuffix(strings.Repeat(row+",", rows), ",")
}

// explainSQLite says what an error of SQLite means to people; no kind when it
// is none, or one without a next step.
func explainSQLite(err error) (kind qgjob.Kind, message, hint string) {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return "", "", ""
	}
	switch se.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return qgjob.KindUnavailable, fullDisk, "free space in the data directory; nothing accepted was lost"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return qgjob.KindUnavailable, "the database is busy", "try again"
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return qgjob.KindInternal, "the database is damaged", "stop the server and put a backup of the data directory in its place"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM:
		return qgjob.KindUnavailable, "the database cannot be written or read", "check the data directory's disk and permissions"
	}
	return "", "", ""
}
