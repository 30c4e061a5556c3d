package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

// numberGap is left in all numbers when another primary has taken over: those
// that the former one gave out and lost must never name anything else.
const numberGap = 1_000_000

// errStandby refuses a server that is in recovery: its sessions outlive its
// promotion, so that a check at the connection would say nothing.
var errStandby = errors.New("the PostgreSQL server is a standby")

// errUnnamedStandby refuses, with --ha, a primary whose commits wait for nobody.
var errUnnamedStandby = errors.New("synchronous_standby_names is empty")

// askPrimary tells which primary a server is. The timeline of the control file
// lags behind a promotion by a checkpoint; that of the write position does not.
const askPrimary = `SELECT pg_is_in_recovery(), CAST(system_identifier AS TEXT),
	CASE WHEN pg_is_in_recovery() THEN '' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END FROM pg_control_system()`

// onlyPrimary is asked of every new connection, those that read included: it
// refuses standbys and former primaries, and the next host of the URL is
// tried.
func (s *Store) onlyPrimary(ctx context.Context, c *pgconn.PgConn) error {
	answer, err := c.Exec(ctx, askPrimary).ReadAll()
	if known := (&pgconn.PgError{}); errors.As(err, &known) && known.Severity == "ERROR" { // a service that hides its cluster
		return pgconn.ValidateConnectTargetSessionAttrsPrimary(ctx, c)
	}
	if err != nil {
		return err
	}
	row := answer[0].Rows[0]
	if string(row[0]) == "t" {
		return errStandby
	}
	met, err := primaryOf(string(row[1]), string(row[2]))
	if err != nil {
		return err
	}
	if r := s.reign.Load(); r != nil {
		return lease.Former(met, r.Primary)
	}
	return nil
}

func primaryOf(system, timeline string) (lease.Primary, error) {
	n, err := strconv.ParseInt(timeline, 16, 64)
	if err != nil {
		return lease.Primary{}, fmt.Errorf("the timeline %q: %w", timeline, err)
	}
	return lease.Primary{System: system, Timeline: n}, nil
}

// greet finds out what a new connection of the writer leads to. A service that
// does not tell gives the zero primary: its failovers are not noticed.
func greet(ctx context.Context, conn *pgx.Conn, ha bool) (lease.Primary, error) {
	var readOnly, standbys, level string
	if err := conn.QueryRow(ctx, `SELECT current_setting('transaction_read_only'), current_setting('synchronous_standby_names'), current_setting('synchronous_commit')`).
		Scan(&readOnly, &standbys, &level); err != nil {
		return lease.Primary{}, err
	}
	if readOnly == "on" {
		return lease.Primary{}, &pgconn.PgError{Severity: "ERROR", Code: "25006", Message: "transactions are read-only"}
	}
	if ha {
		if err := demandStandby(standbys, level); err != nil {
			return lease.Primary{}, err
		}
	}
	var recovers bool
	var system, timeline string
	err := conn.QueryRow(ctx, askPrimary).Scan(&recovers, &system, &timeline)
	if known := (&pgconn.PgError{}); errors.As(err, &known) && known.Severity == "ERROR" {
		if !ha {
			return lease.Primary{}, nil
		}
		e := qgjob.Unavailable(err, "the database does not tell on which timeline it is, and --ha needs to know")
		e.Hint = "let its user call pg_control_system, pg_walfile_name and pg_current_wal_lsn"
		return lease.Primary{}, e
	}
	if err != nil {
		return lease.Primary{}, err
	}
	return primaryOf(system, timeline)
}

// demandStandby is what --ha wants of every connection: a commit is answered
// only when a standby has it on its disk too.
func demandStandby(standbys, level string) error {
	e := &qgjob.Error{Kind: qgjob.KindUnavailable}
	switch {
	case standbys == "":
		e.Err = errUnnamedStandby
		e.Message = "the database has no synchronous standby, which --ha demands"
		e.Hint = "set synchronous_standby_names on the PostgreSQL primary, such as 'ANY 1 (*)', and reload it; or leave --ha out"
	case level != "on" && level != "remote_apply":
		e.Message = "the database's synchronous_commit is " + level + ", and --ha demands on"
		e.Hint = "take synchronous_commit out of the database's URL"
	default:
		return nil
	}
	return e
}

// meet makes sure that the transaction knows its primary, and records a new
// one. It comes first of all, under the lock.
func (t *tx) meet() error {
	w := t.w
	now := time.Now()
	lost := t.seen < w.last
	if t.primary == (lease.Primary{}) || (!w.line.fresh && !lost && !w.succession.Due(now)) {
		return nil
	}
	recorded, err := t.reign()
	if err != nil {
		return fmt.Errorf("read which primary the database was on: %w", err)
	}
	next, err := w.succession.Meet(t.primary, recorded, lost, now)
	if err != nil {
		return err
	}
	if lost {
		w.opts.Log.Error("the database has lost what was committed", "flush", w.last, "found", t.seen)
		w.last = t.seen
	}
	if w.succession.Due(now) {
		next.Settled, t.settles = true, true
	}
	if next == recorded {
		return nil
	}
	if recorded.Number > 0 && next.Number != recorded.Number {
		w.opts.Log.Warn("another primary has taken over: no claims and no starts for one lease TTL", "reign", next.Name(), "was", recorded.Name(), "ttl", w.opts.LeaseTTL)
		for _, counter := range []string{"run", "job", "group", "event"} {
			if _, err := t.take(counter, numberGap); err != nil {
				return err
			}
		}
	}
	return t.write("record the primary", `INSERT INTO reigns (number, system, timeline, settled, began_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (number) DO UPDATE SET settled = excluded.settled`,
		next.Number, next.Primary.System, next.Primary.Timeline, flag(next.Settled), t.nowMS)
}

// reign is the last one that the database records; zero when it has none.
func (t *tx) reign() (r lease.Reign, err error) {
	_, err = t.queryRow(`SELECT number, system, timeline, settled FROM reigns ORDER BY number DESC LIMIT 1`, nil,
		&r.Number, &r.Primary.System, &r.Primary.Timeline, &r.Settled)
	return r, err
}

// met notes, after the commit, that the database knows its primary.
func (t *tx) met() {
	w := t.w
	if t.settles {
		w.succession.Settle()
		w.opts.Log.Info("claims and starts go on after the failover", "reign", w.succession.Reign().Name())
	}
	if w.line.fresh && t.primary != (lease.Primary{}) {
		r := w.succession.Reign()
		w.reign.Store(&r)
	}
	w.line.fresh = false
	w.last = max(w.last, t.seen)
	if t.writes > 0 {
		w.last = max(w.last, t.flush)
	}
}

// frozen refuses what would give out work while a failover is young: who runs
// a test has one lease TTL to hear how its lease stands.
func (t *tx) frozen() error {
	left := t.w.succession.Frozen(time.Now())
	if left == 0 {
		return nil
	}
	return &qgjob.Error{Kind: qgjob.KindUnavailable, Code: qgjob.CodeFailover,
		Message:    "the database failed over: running leases get time to report before work is given out",
		Hint:       fmt.Sprintf("claims and starts go on in %d s", int((left+time.Second-1)/time.Second)),
		RetryAfter: min(left, t.w.opts.LeaseTTL/6)}
}

// Reign names the time of the primary that the store is on; it changes with
// every failover. Empty on SQLite, and where PostgreSQL does not tell.
func (s *Store) Reign() string {
	if r := s.reign.Load(); r != nil {
		return r.Name()
	}
	return ""
}
