package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

// postgresTypes fills in what the one migration text leaves to the engine.
var postgresTypes = strings.NewReplacer("ROWKEY", "BIGINT", "BYTES", "BYTEA")

const (
	postgresReaders = 8
	postgresOldest  = 130000 // server_version_num: pg_current_xact_id came with 13
	connectWithin   = 5 * time.Second
	flushLock       = 0x71676a6f62 // "qgjob": held by the one flush that is under way
	migrateLock     = flushLock + 1
)

// IsPostgres reports whether a database is named by a URL of PostgreSQL.
func IsPostgres(database string) bool {
	return strings.HasPrefix(database, "postgres://") || strings.HasPrefix(database, "postgresql://")
}

// RedactDatabase gives what may be shown of a database's URL: never its
// password, nor parameters that may hold one.
func RedactDatabase(database string) string {
	c, err := pgx.ParseConfig(database)
	if err != nil || !IsPostgres(database) {
		return "postgres://…"
	}
	hosts := []string{net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))}
	for _, f := range c.Fallbacks {
		if at := net.JoinHostPort(f.Host, strconv.Itoa(int(f.Port))); !slices.Contains(hosts, at) {
			hosts = append(hosts, at)
		}
	}
	return fmt.Sprintf("postgres://%s@%s/%s", c.User, strings.Join(hosts, ","), c.Database)
}

func parsePostgres(url string) (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(url)
	if err != nil { // its text may hold parts of the URL, and those the password
		e := qgjob.Invalid("database", "the database's URL cannot be read")
		e.Hint = "write postgres://USER:PASSWORD@HOST:5432/NAME, with %XX for special characters, or leave the password to PGPASSWORD or ~/.pgpass"
		return nil, e
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectWithin
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "qgjob"
	}
	c.RuntimeParams["idle_in_transaction_session_timeout"] = strconv.FormatInt(flushWithin.Milliseconds(), 10)
	// A machine that vanishes says nothing, and PostgreSQL would ask after two
	// hours: its locks are free, and its connections, after eleven seconds.
	c.RuntimeParams["tcp_keepalives_idle"] = "5"
	c.RuntimeParams["tcp_keepalives_interval"] = "2"
	c.RuntimeParams["tcp_keepalives_count"] = "3"
	return c, nil
}

// fleeting makes PostgreSQL undo what the writer of a server that hangs, or
// has vanished, began: every other server waits for that flush.
func fleeting(c *pgx.ConnConfig) {
	c.RuntimeParams["idle_in_transaction_session_timeout"] = strconv.FormatInt(thinkWithin.Milliseconds(), 10)
	c.RuntimeParams["tcp_user_timeout"] = strconv.FormatInt((2 * thinkWithin).Milliseconds(), 10)
}

func (s *Store) openPostgres(ctx context.Context, url string) error {
	c, err := parsePostgres(url)
	if err != nil {
		return err
	}
	name := RedactDatabase(url)
	c.ValidateConnect = s.onlyPrimary
	if s.opts.HA && c.RuntimeParams["synchronous_commit"] == "" {
		c.RuntimeParams["synchronous_commit"] = "on" // whatever the role has; see demandStandby
	}
	db := stdlib.OpenDB(*c)
	db.SetMaxIdleConns(1)
	if err := preparePostgres(ctx, db, s.opts.HA, name); err != nil {
		return errors.Join(s.unopened(name, err), db.Close())
	}
	reading := c.Copy()
	reading.RuntimeParams["default_transaction_read_only"] = "on"
	s.read = stdlib.OpenDB(*reading)
	s.read.SetMaxOpenConns(postgresReaders)
	s.read.SetMaxIdleConns(postgresReaders)
	s.dialect, s.beside, s.room = postgresDialect{}, db, roomInDatabase(db)
	if !s.opts.Alone {
		s.pulse = startPulse(c, s.hear, s.opts.Log)
	}
	writing := c.Copy()
	fleeting(writing)
	wait := thinkWithin // see tx.lock
	if s.opts.HA {
		wait = standbyWithin
	}
	writing.RuntimeParams["lock_timeout"] = strconv.FormatInt(wait.Milliseconds(), 10)
	// A plan made while a table is small reads it whole, or by any index and
	// sorts it, or puts it into a hash table, and is kept while it grows.
	writing.RuntimeParams["enable_seqscan"] = "off"
	writing.RuntimeParams["enable_sort"] = "off"
	writing.RuntimeParams["enable_hashjoin"] = "off"
	writing.RuntimeParams["enable_mergejoin"] = "off"
	writing.RuntimeParams["jit"] = "off" // what has no index seems dear enough to be compiled
	// Planning an update of 64 rows costs more than making it, and no value
	// changes what the plan should be.
	writing.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	var warned warning
	writing.OnNotice = warned.hear
	s.writer = newWriter(func(ctx context.Context) (link, error) { return newPipeline(ctx, writing, s.opts.HA) }, s.dialect, s.opts)
	s.writer.pulse, s.writer.reign, s.writer.warned = s.pulse, &s.reign, &warned
	if err := s.writer.start(ctx); err != nil {
		s.stopPulse()
		return errors.Join(s.unopened(name, err), s.read.Close(), db.Close())
	}
	s.close = func() error {
		s.stopPulse()
		return errors.Join(s.read.Close(), s.writer.close(), db.Close())
	}
	return nil
}

// hear passes on what other servers tell.
func (s *Store) hear(n Note) {
	defer func() {
		if r := recover(); r != nil {
			s.opts.Log.Error("listener of the store panicked", "panic", r)
		}
	}()
	s.opts.Notify(n)
}

func (s *Store) stopPulse() {
	if s.pulse != nil {
		s.pulse.close()
	}
}

// preparePostgres checks the server and migrates the database. Replicas that
// start together wait for the first.
func preparePostgres(ctx context.Context, db *sql.DB, ha bool, name string) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	var number int
	var version string
	if err := conn.QueryRowContext(ctx, `SELECT CAST(current_setting('server_version_num') AS INTEGER), current_setting('server_version')`).
		Scan(&number, &version); err != nil {
		return err
	}
	if number < postgresOldest {
		e := qgjob.Conflict("", "database %s is PostgreSQL %s", name, version)
		e.Hint = "qgjob needs PostgreSQL 13 or newer"
		return e
	}
	if err := conn.Raw(func(driver any) error {
		_, err := greet(ctx, driver.(*stdlib.Conn).Conn(), ha)
		return err
	}); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, int64(migrateLock)); err != nil {
		return err
	}
	defer func() {
		_, e := conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(migrateLock))
		err = errors.Join(err, e)
	}()
	if err := migrate(ctx, db, name, goose.DialectPostgres, postgresTypes); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, `DELETE FROM counters WHERE name LIKE $1 AND value < (SELECT value FROM counters WHERE name = 'flush') - $2`, markOf+"%", forgotten); err != nil {
		return err
	}
	return begunUpgrade(ctx, conn, true)
}

// postgresDialect is the dialect of PostgreSQL, which several replicas may
// share.
type postgresDialect struct{}

// begin takes the lock that makes flushes of all replicas follow one another;
// it ends with the transaction. What waits for it longer than lock_timeout
// (see openPostgres) gives up; after that the next ones wait a moment only,
// because callers are better refused at once than one by one.
func (postgresDialect) begin(heldUp bool) []statement {
	list := []statement{{query: `BEGIN`, want: anyRows}}
	if heldUp {
		list = append(list, statement{query: fmt.Sprintf(`SET LOCAL lock_timeout = %d`, heldUpWait.Milliseconds()), want: anyRows})
	}
	return append(list, statement{query: `SELECT pg_advisory_xact_lock($1)`, args: []any{int64(flushLock)}, want: anyRows})
}

func (postgresDialect) snapshot() *sql.TxOptions {
	return &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead}
}

func (postgresDialect) bulkInsert(table, columns string, rows, width int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO " + table + " (" + columns + ") VALUES ")
	for n := range rows * width {
		switch {
		case n == 0:
			b.WriteString("(")
		case n%width == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		b.WriteString("$" + strconv.Itoa(n+1))
	}
	return b.String() + ")"
}

func (postgresDialect) place(n int) string { return "$" + strconv.Itoa(n) }

// among keeps PostgreSQL from a plan that goes through all the table and
// compares each row with each value: it is cheapest while the table is small,
// and kept while it grows.
func (d postgresDialect) among(column string, n, width int) string {
	places := make([]string, n)
	for row := range n {
		places[row] = d.place(row*width + 1)
	}
	return " AND " + column + " IN (" + strings.Join(places, ", ") + ")"
}

// clean replaces what PostgreSQL refuses in a text: NUL and broken UTF-8, as
// they come in the output of tests.
func (postgresDialect) clean(args []any) {
	for i, a := range args {
		if text, ok := a.(string); ok {
			args[i] = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
		}
	}
}

func (postgresDialect) lost(err error) bool {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		return said.Severity == "FATAL" || said.Severity == "PANIC" || said.Code == "25006" // what is read-only now may have been a primary
	}
	var former *lease.FormerError
	return errors.As(err, &former) || unreachable(err) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sql.ErrConnDone)
}

// unreachable reports that the server was not to be reached, or went away, before
// something was sent or after.
func unreachable(err error) bool {
	var dial *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &dial) || errors.As(err, &network) || pgconn.SafeToRetry(err) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

func (postgresDialect) sharing() *sharing {
	return &sharing{
		stamp: `WITH numbered AS (UPDATE counters SET value = $1 WHERE name = 'flush' RETURNING value)
			INSERT INTO counters (name, value) SELECT CAST($2 AS TEXT), value FROM numbered
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
		outcome: `SELECT CASE WHEN EXISTS (SELECT 1 FROM counters WHERE name = $1 AND value = $2) THEN 'committed' ELSE 'aborted' END`,
	}
}

// explainPostgres says what an error of PostgreSQL means to people; no kind
// when it is none, or one without a next step.
// Codes: PostgreSQL manual, appendix A.
func explainPostgres(err error) (kind qgjob.Kind, message, hint string) {
	var said *pgconn.PgError
	var former *lease.FormerError
	switch {
	case errors.Is(err, errStandby):
		return qgjob.KindUnavailable, "the database is read-only: it is a standby", "let --database name the primary too, or promote the standby" + hintByItself
	case errors.Is(err, errNoStandby):
		return qgjob.KindUnavailable, standbySilent, hintSilent
	case errors.As(err, &former):
		return qgjob.KindUnavailable, "the database is a former primary", "stop that PostgreSQL server or make it a standby; if the database was set back on purpose, restart the qgjob servers"
	}
	if !errors.As(err, &said) {
		if unreachable(err) {
			return qgjob.KindUnavailable, databaseAway, "is PostgreSQL running, and is --database right? " + hintGoesOn
		}
		return "", "", ""
	}
	switch said.Code {
	case "53100":
		return qgjob.KindUnavailable, fullDisk, "free space on the PostgreSQL server; nothing accepted was lost"
	case "53300":
		return qgjob.KindUnavailable, "the database has no connection left", "raise max_connections: each qgjob server takes up to 12"
	case "25006":
		return qgjob.KindUnavailable, "the database is read-only", "let --database name the primary, not a standby"
	case "3D000":
		return qgjob.KindUnavailable, "the database does not exist", "create it: createdb, or CREATE DATABASE"
	case "42501":
		return qgjob.KindUnavailable, "the database user may not do that", "let the user own the database, or grant it what the message names"
	case "42P01", "42703":
		return qgjob.KindUnavailable, "the database lacks a part of its schema", "run qgjob server migrate"
	case "0A000", "40001", "40P01", "55P03":
		return qgjob.KindUnavailable, "the database is busy", "try again"
	case "22021", "22P05":
		return qgjob.KindInvalid, "a text holds characters that cannot be stored", "leave out NUL and what is not UTF-8"
	case "XX001", "XX002":
		return qgjob.KindInternal, "the database is damaged", "stop the server and restore PostgreSQL from a backup"
	}
	switch said.Code[:min(2, len(said.Code))] {
	case "28":
		return qgjob.KindUnavailable, "the database refused the login", "check user and password of --database (or PGPASSWORD, ~/.pgpass) and pg_hba.conf"
	case "08", "57":
		return qgjob.KindUnavailable, databaseLeft, hintGoesOn
	case "53", "58":
		return qgjob.KindUnavailable, "the database server has trouble of its own", "see PostgreSQL's log"
	}
	return "", "", ""
}
