package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/qualgent/qgjob"
)

// A database that was copied elsewhere says so in its table moves, and is not
// served any more. Its row is begun before the copy is committed and done
// after: whatever happens in between, at most one of the two is served.

const (
	moveTo    = "to"
	moveFrom  = "from"
	moveBegun = "begun"
	moveDone  = "done"
)

// move is a row of moves.
type move struct{ id, place, state string }

// movedTo gives where a database was moved, or is about to be; no id when it
// was not.
func movedTo(ctx context.Context, db execer) (m move, err error) {
	err = db.QueryRowContext(ctx, `SELECT copy_id, place, state FROM moves WHERE direction = $1`, moveTo).Scan(&m.id, &m.place, &m.state)
	if isNoRows(err) {
		return move{}, nil
	}
	if err != nil {
		return m, fmt.Errorf("read whether the database was moved: %w", err)
	}
	return m, nil
}

// refuseMoved refuses to serve a database that was moved (conflict).
func refuseMoved(ctx context.Context, db execer, name string) error {
	m, err := movedTo(ctx, db)
	switch {
	case err != nil || m.id == "":
		return err
	case m.state == moveDone:
		e := qgjob.Conflict("", "database %s was moved to %s and is not served any more", name, m.place)
		e.Hint = "start the server with --database and that address"
		return e
	}
	e := qgjob.Conflict("", "a copy of database %s to %s was begun and not finished", name, m.place)
	e.Hint = "run the same qgjob server copy again: it finishes what is there, or starts over"
	return e
}

// noteMove writes that this database is moved.
func (s *Store) noteMove(ctx context.Context, m move) error {
	return s.update(ctx, func(t *tx) error {
		return t.write("note the move", `INSERT INTO moves (copy_id, direction, place, state, created_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (copy_id) DO UPDATE SET state = excluded.state`, m.id, moveTo, m.place, m.state, t.nowMS)
	})
}

// forgetMove takes back that this database is about to be moved.
func (s *Store) forgetMove(ctx context.Context, m move) error {
	return s.update(ctx, func(t *tx) error {
		return t.write("forget the move", `DELETE FROM moves WHERE copy_id = $1`, m.id)
	})
}

// arrived reports whether a copy was committed to a database.
func arrived(ctx context.Context, db *sql.DB, id string) (bool, error) {
	var n int
	err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM moves WHERE copy_id = $1 AND direction = $2`, id, moveFrom).Scan(&n)
	return n > 0, err
}
