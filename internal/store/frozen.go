package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A server that is frozen (SIGSTOP, a paused machine) between two round trips
// of a flush is undone by PostgreSQL itself; see fleeting. One that is frozen
// in the middle of what it sends, or before it has read a long answer, is not:
// no timeout of PostgreSQL runs there, and the line is alive. Nor is anybody
// undone in time when the clock of PostgreSQL's machine was set back meanwhile:
// its timeouts are reckoned by that. They would keep the lock of flushes for as
// long as that lasts. So whoever waits for the lock looks who has it, and ends
// such a session.
//
// To end one that only seems frozen costs it a try, and nothing else: what it
// had begun is undone, and its writer does it again, or asks what became of
// the commit (settle).

// copyLock is held beside flushLock by a copy of a whole database, which has
// long statements and is never taken for a frozen server.
const copyLock = flushLock + 2

// suspect is a session that had the lock and waited for its server when it was
// last looked at.
type suspect struct {
	mark  string    // which session, and what it was last told to do; "": there is none
	since time.Time // by this server's clock, which the database's may be ahead of or behind
	limit time.Duration

	sending, reading time.Duration // limits: see newSuspect
	told             bool          // that the database does not let it be known or ended
}

// newSuspect sets how long the same thing must be seen. A living server sends
// the rest of a message within the time that it has between two round trips.
// An answer that is read slowly looks like one that is not read: that takes
// what a living server gives a whole flush, after which it hangs up itself.
func newSuspect() suspect { return suspect{sending: thinkWithin, reading: flushWithin} }

// askSuspect looks who has the lock while his server keeps him waiting, and
// ends him if he is who is named ($2): seen and ended in one statement, so
// that it hits nobody who has the same pid later.
//
// The state is 'active' throughout a pipeline; between round trips it is 'idle
// in transaction', where a timeout runs. state_change says when the last message
// that begins something (Parse, Bind, Execute) was taken, not since when he
// waits: the statement itself may have taken long. Therefore one look says
// nothing. Two looks with the same mark do: in between nothing was begun, and
// he waited for his server at both.
//
// Whoever waits for a lock, a disk or a standby has another wait_event. All is
// NULL in rows that this user may not see.
const askSuspect = `WITH held AS (
	SELECT a.pid, a.application_name, host(a.client_addr) AS address, a.state_change, a.wait_event,
		a.pid || ' ' || extract(epoch FROM a.backend_start) || ' ' || extract(epoch FROM a.state_change) || ' ' || a.wait_event AS mark
	FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
	WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND (CAST(l.classid AS BIGINT) << 32) + CAST(l.objid AS BIGINT) = $1
		AND (a.backend_start IS NULL OR a.wait_event IN ('ClientRead', 'ClientWrite'))
		AND NOT EXISTS (SELECT 1 FROM pg_locks c WHERE c.pid = l.pid AND c.locktype = 'advisory' AND c.objsubid = 1
			AND (CAST(c.classid AS BIGINT) << 32) + CAST(c.objid AS BIGINT) = $3))
	SELECT pid, COALESCE(mark, ''), COALESCE(wait_event, ''), COALESCE(application_name, ''), COALESCE(address, ''), COALESCE(CAST(state_change AS TEXT), ''),
		CASE WHEN mark = CAST($2 AS TEXT) THEN CAST(pg_terminate_backend(pid) AS INTEGER) ELSE 0 END FROM held`

// lock sends what a transaction begins with, and has the lock then. While it
// is not to be had it looks now and then who has it: the wait is cut into
// pieces of thinkWithin (see openPostgres), so that a frozen server is seen
// after one piece and ended after the second. All pieces together are as long
// as callers are made to wait before they are refused. After a wait that was
// in vain there is only a short one, and one look.
func (t *tx) lock() error {
	w, first := t.w, t.pending
	patient, began := !w.heldUp, time.Now()
	for {
		err := w.waited(t.ctx, t.sync())
		if !w.heldUp || errors.Is(err, errNoStandby) {
			return err
		}
		ended, e := w.look(t.ctx)
		if e != nil {
			return e
		}
		if !ended && (!patient || time.Since(began) >= flushWithin/2) {
			return err
		}
		t.pending = first // the lock was not had, so that nothing behind it was done
	}
}

// look finds out whether the lock is held by a session that waits for a frozen
// server, and ends it when it has been seen so for long enough. It must be
// asked outside of a transaction, which would see the same again and again.
func (w *writer) look(ctx context.Context) (ended bool, err error) {
	was := w.suspect
	due := ""
	if was.mark != "" && time.Since(was.since) >= was.limit {
		due = was.mark
	}
	var pid, hit int
	var mark, event, name, address, since string
	err = w.line.link.run(ctx, []statement{{query: askSuspect, args: []any{int64(flushLock), due, int64(copyLock)},
		scan: func(row scanner) error { return row.Scan(&pid, &mark, &event, &name, &address, &since, &hit) }}})
	var said *pgconn.PgError
	if errors.As(err, &said) && !w.dialect.lost(err) {
		w.tellOnce("error", err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	switch {
	case pid != 0 && mark == "":
		w.tellOnce("pid", pid)
		w.suspect.mark = ""
	case hit == 1:
		w.opts.Log.Warn("a server is frozen in the middle of a flush: its database session was ended", "pid", pid,
			"application_name", name, "client_addr", address, "since", since, "wait_event", event)
		w.suspect.mark = ""
	case mark != was.mark:
		w.suspect.mark, w.suspect.since = mark, time.Now()
		w.suspect.limit = map[string]time.Duration{"ClientRead": was.sending, "ClientWrite": was.reading}[event]
	}
	return hit == 1, nil
}

// tellOnce says that frozen servers will hold this one up.
func (w *writer) tellOnce(key string, value any) {
	if !w.suspect.told {
		w.suspect.told = true
		w.opts.Log.Warn("the database does not let this server end the session of a frozen one: let all servers use the same user", key, value)
	}
}
