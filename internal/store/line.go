package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
)

const (
	pauseLeast = 100 * time.Millisecond // between two tries to connect
	pauseMost  = 5 * time.Second
)

// line is the writer's one connection with its prepared statements. A lost one
// is made anew, with growing pauses between failures; what is asked meanwhile
// is refused at once.
type line struct {
	db    *sql.DB
	conn  *sql.Conn // nil when there is none
	stmts map[string]*sql.Stmt
	pause time.Duration
	after time.Time // before it no new try is made
	away  error     // why the last one failed
}

func (l *line) connect(ctx context.Context) error {
	if l.conn != nil {
		return nil
	}
	if l.away != nil && time.Now().Before(l.after) {
		return l.away
	}
	conn, err := l.db.Conn(ctx)
	if err != nil {
		l.pause = min(max(2*l.pause, pauseLeast), pauseMost)
		l.after, l.away = time.Now().Add(l.pause), err
		return err
	}
	l.conn, l.stmts, l.pause, l.away = conn, map[string]*sql.Stmt{}, 0, nil
	return nil
}

func (l *line) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if st := l.stmts[query]; st != nil {
		return st, nil
	}
	st, err := l.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("prepare %.60q: %w", query, err)
	}
	l.stmts[query] = st
	return st, nil
}

// drop gives a broken connection up; it must not come back from the pool.
func (l *line) drop() {
	if l.conn == nil {
		return
	}
	_ = l.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = l.conn.Close() // is closed already
	l.conn, l.stmts = nil, nil
}

func (l *line) close() error {
	if l.conn == nil {
		return nil
	}
	var err error
	for _, st := range l.stmts {
		err = errors.Join(err, st.Close())
	}
	return errors.Join(err, l.conn.Close())
}
