package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
	"github.com/qualgent/qgjob/internal/schedule"
)

// errLostRace: a compare-and-set found another state than was read. With one
// writer it cannot happen; with several it is normal, and the operation is
// tried again.
var errLostRace = errors.New("lost a race for a row")

// tx is one transaction of the writer: its statements, what it has changed in
// the mirror and must still write, and what to tell after the commit.
type tx struct {
	ctx    context.Context
	w      *writer
	m      *mirror
	now    time.Time
	nowMS  int64
	begun  bool // it may have to be rolled back
	open   bool
	load   schedule.Load // before it began
	writes int
	seen   int64 // the number of the last flush before this one, where several servers write
	flush  int64 // this one's number; 0 where one server writes

	counters map[string]int64 // the last number given by each
	stamped  bool             // its number is written under the writer's name
	primary  lease.Primary    // that it runs on
	settles  bool             // it records that the present reign is settled
	note     Note

	known    known
	turn     turn // for other servers
	gathered gathered
	pending  []statement                   // to be sent with the next answer that is waited for
	groups   map[qgjob.GroupID]*groupDelta // changed, to be written at the end
	dirty    struct {
		agents map[qgjob.AgentID]bool // whether more than the routine changed
		orgs   map[qgjob.OrgID]bool

		counters map[string]bool
	}
	lastBuild struct { // what buildOf looked up last
		org     qgjob.OrgID
		version qgjob.AppVersionID
		sum     qgjob.Sum
	}
}

// groupDelta is how a transaction changed a group's aggregates.
type groupDelta struct{ waiting, runs, workMS, serving int64 }

// pendingMost bounds what waits to be sent, and with it the memory of a large
// submission.
const pendingMost = 1000

// write queues a statement that writes. It is sent with the next one whose
// answer is waited for, or at the end of the transaction.
func (t *tx) write(what, query string, args ...any) error {
	return t.queue(statement{query: query, args: args, want: anyRows, what: what})
}

// writeOne is write for a statement that must change exactly one row: else a
// race is lost, which breaks the transaction when it comes to light.
func (t *tx) writeOne(what, query string, args ...any) error {
	return t.queue(statement{query: query, args: args, want: 1, what: what})
}

func (t *tx) queue(st statement) error {
	t.writes++
	t.w.dialect.clean(st.args)
	t.pending = append(t.pending, st)
	if len(t.pending) < pendingMost {
		return nil
	}
	return t.sync()
}

// ask queues a statement that gives rows; scan is called once for each, when
// sync sends it.
func (t *tx) ask(query string, args []any, scan func(scanner) error) {
	t.pending = append(t.pending, statement{query: query, args: args, scan: scan})
}

// sync sends all that waits, in one go.
func (t *tx) sync() error {
	if err := t.gather(); err != nil {
		return err
	}
	list := t.pending
	if len(list) == 0 {
		return nil
	}
	t.pending = nil
	return t.w.line.link.run(t.ctx, list)
}

// exec writes at once and gives the number of rows changed.
func (t *tx) exec(query string, args ...any) (n int64, err error) {
	if err := t.queue(statement{query: query, args: args, want: anyRows, n: &n}); err != nil {
		return 0, err
	}
	return n, t.sync()
}

// queryRow reads one row; found is false when there is none.
func (t *tx) queryRow(query string, args []any, dest ...any) (found bool, err error) {
	return t.one(query, args, func(row scanner) error { return row.Scan(dest...) })
}

// one reads one row by scan; found is false when there is none.
func (t *tx) one(query string, args []any, scan func(scanner) error) (found bool, err error) {
	err = t.each(query, args, func(row scanner) error {
		if found {
			return nil
		}
		found = true
		return scan(row)
	})
	return found, err
}

// each reads rows; scan is called once for each. What waits to be written is
// written before, so that it is seen.
func (t *tx) each(query string, args []any, scan func(scanner) error) error {
	if err := t.gather(); err != nil {
		return err
	}
	t.ask(query, args, scan)
	return t.sync()
}

// eachRow reads rows to their end and closes them, whatever happens: rows left
// open would keep the writer's connection from being closed.
func eachRow(rows *sql.Rows, scan func(*sql.Rows) error) (err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// take reserves n numbers of a counter and gives the first. Numbers are never
// issued again, whatever becomes of what they name.
func (t *tx) take(counter string, n int) (int64, error) {
	last, found := t.counters[counter]
	if !found {
		return 0, fmt.Errorf("counter %s is missing", counter)
	}
	t.writes++
	t.counters[counter] = last + int64(n)
	if t.dirty.counters == nil {
		t.dirty.counters = map[string]bool{}
	}
	t.dirty.counters[counter] = true
	return last + 1, nil
}

// readCounters asks for the numbers that were given so far.
func (t *tx) readCounters() {
	t.counters = map[string]int64{}
	t.ask(`SELECT name, value FROM counters WHERE name NOT LIKE $1`, []any{markOf + "%"}, func(row scanner) error {
		var name string
		var value int64
		err := row.Scan(&name, &value)
		t.counters[name] = value
		return err
	})
}

// tell adds an event to the outbox; it is numbered and written by finish.
func (t *tx) tell(e qgjob.Event) {
	e.At = fromMS(t.nowMS)
	t.note.Events = append(t.note.Events, e)
}

func (t *tx) group(id qgjob.GroupID) *groupDelta {
	d := t.groups[id]
	if d == nil {
		d = &groupDelta{}
		t.groups[id] = d
	}
	return d
}

// finish writes what was gathered in memory: aggregates, agents, orgs, events.
func (t *tx) finish() error {
	for id, d := range t.groups {
		g, _ := t.m.state.Group(id)
		if err := t.writeOne("write "+id.String(), `UPDATE job_groups SET waiting = waiting + $1, runs = runs + $2, work_ms = work_ms + $3, serving = serving + $4,
			head_priority = $5, head_submitted = $6, rev = rev + 1, flush = $7 WHERE id = $8`,
			d.waiting, d.runs, d.workMS, d.serving, g.HeadPriority, int64(g.HeadSubmitted*1000+0.5), t.flush, int64(id)); err != nil {
			return err
		}
	}
	if err := t.writeRuns(); err != nil {
		return err
	}
	if err := t.writeAgents(); err != nil {
		return err
	}
	for id := range t.dirty.orgs {
		o := t.m.state.Org(id)
		if err := t.write("write org "+string(id), `INSERT INTO orgs (org_id, weight, quota, vt, vt_at, flush) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (org_id) DO UPDATE SET weight = excluded.weight, quota = excluded.quota, vt = excluded.vt, vt_at = excluded.vt_at, flush = excluded.flush`,
			string(id), o.Weight, o.Quota, o.Used.Seconds, int64(o.Used.At*1000), t.flush); err != nil {
			return err
		}
	}
	if err := t.writeTurn(); err != nil {
		return err
	}
	if err := t.writeEvents(); err != nil {
		return err
	}
	for name := range t.dirty.counters {
		if err := t.writeOne("write counter "+name, `UPDATE counters SET value = $1 WHERE name = $2`, t.counters[name], name); err != nil {
			return err
		}
	}
	return t.stamp()
}

// stamp numbers the flush, last of all: when the answer to its commit is lost,
// the number under the writer's name tells what became of it.
func (t *tx) stamp() error {
	if t.w.sharing == nil || t.writes == 0 {
		return t.gather()
	}
	if err := t.write("number the flush", t.w.sharing.stamp, t.flush, t.w.mark); err != nil {
		return err
	}
	t.stamped = true
	return t.gather()
}

func (t *tx) writeEvents() error {
	events := t.note.Events
	if len(events) == 0 {
		return nil
	}
	first, err := t.take("event", len(events))
	if err != nil {
		return err
	}
	rows := make([][]any, len(events))
	for i := range events {
		events[i].Seq = first + int64(i)
		body, err := json.Marshal(events[i])
		if err != nil {
			return err
		}
		rows[i] = []any{events[i].Seq, string(events[i].OrgID), int64(events[i].RunID), t.nowMS, string(body)}
	}
	return t.insert("events", "seq, org_id, run_id, created_at, body", rows)
}

// insert writes rows in statements of at most bulkRows, so that the cost of a
// statement is shared.
func (t *tx) insert(table, columns string, rows [][]any) error {
	return t.insertOr(table, columns, "", rows)
}

// insertOr is insert with what else is to be done with rows that are there
// already: the end of the statement's text.
func (t *tx) insertOr(table, columns, conflict string, rows [][]any) error {
	for len(rows) > 0 {
		n, width := bulkSize(len(rows)), len(rows[0])
		text := t.w.text(statementKey{table, columns, n}, func() string { return t.w.dialect.bulkInsert(table, columns, n, width) + conflict })
		if err := t.write("insert into "+table, text, oneAfterTheOther(rows[:n])...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

func oneAfterTheOther(rows [][]any) []any {
	args := make([]any, 0, len(rows)*len(rows[0]))
	for _, r := range rows {
		args = append(args, r...)
	}
	return args
}

// text gives the text of a statement of many rows, which is made once.
func (w *writer) text(key statementKey, make func() string) string {
	text, ok := w.texts[key]
	if !ok {
		text = make()
		w.texts[key] = text
	}
	return text
}

// statementKey names a statement that is made once: columns that are named
// with their types are of an update.
type statementKey struct {
	table, columns string
	rows           int
}

// bulkRows is the most rows of one insert statement.
const bulkRows = 64

// bulkSize is how many of n rows go into the next statement: few sizes keep
// the set of prepared statements small, and few statements the time of a flush.
func bulkSize(n int) int {
	if n = min(n, bulkRows); n > 8 {
		n -= n % 4
	}
	return n
}
