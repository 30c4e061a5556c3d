package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/qualgent/qgjob"
)

// What is said when an engine finds no room, or is not there.
const (
	fullDisk     = "the disk of the database is full"
	databaseAway = "the database cannot be reached"
	databaseLeft = "the database went away"
)

// roomWanted is how much must fit on a disk, in bytes, that was full before it
// counts as one that is not.
const roomWanted = 1 << 20

func saysFull(err error) bool {
	var e *qgjob.Error
	return errors.As(err, &e) && e.Message == fullDisk
}

// heard notes that the disk is full, which may be the last that an engine says.
func (w *writer) heard(err error) {
	if err != nil && saysFull(unavailable(err)) {
		w.full.Store(true)
	}
}

// recall names the full disk to whoever hears that the database is away: one
// that finds no room for its log ends itself.
func (w *writer) recall(err error) error {
	var e *qgjob.Error
	if !w.full.Load() || !errors.As(err, &e) || e.Message != databaseLeft && e.Message != databaseAway {
		return err
	}
	return &qgjob.Error{Kind: e.Kind, Message: e.Message + ": its disk was full",
		Hint: "free space on the PostgreSQL server and start PostgreSQL if it has ended itself; nothing accepted was lost", Err: e.Err}
}

// hasRoom finds out, when the last that was heard of the disk is that it is
// full, whether it still is. A small write tells nothing: it may find its
// place in a page that is there already, where a submit does not.
func (s *Store) hasRoom(ctx context.Context) error {
	if !s.writer.full.Load() {
		return nil
	}
	if err := s.room(ctx); err != nil {
		return s.writer.recall(unavailable(fmt.Errorf("find room: %w", err)))
	}
	s.writer.full.Store(false)
	return nil
}

// roomInFolder writes a file and removes it.
func roomInFolder(dir string) func(context.Context) error {
	return func(context.Context) error {
		f, err := os.CreateTemp(dir, "room-")
		if err == nil {
			_, err = f.Write(make([]byte, roomWanted))
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
		if err != nil {
			return &qgjob.Error{Kind: qgjob.KindUnavailable, Message: fullDisk, Hint: "free space in the data directory; nothing accepted was lost", Err: err}
		}
		return nil
	}
}

// roomInDatabase fills a table that is never committed: its file is gone with
// the transaction. A user who may not make one proves nothing.
func roomInDatabase(db *sql.DB) func(context.Context) error {
	return func(ctx context.Context) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `SET LOCAL temp_tablespaces = ''`) // where the other tables are
		if err == nil {
			_, err = tx.ExecContext(ctx, fmt.Sprintf(`CREATE TEMPORARY TABLE qgjob_room AS SELECT repeat('x', 1024) AS filling FROM generate_series(1, %d)`, roomWanted/1024))
		}
		back := tx.Rollback()
		var said *pgconn.PgError
		if errors.As(err, &said) && said.Code == "42501" {
			return back
		}
		return errors.Join(err, back)
	}
}
