package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

// gathered are rows to be written in statements of many. They are written
// before the next read, which shall see them.
type gathered struct {
	jobs    []*savedJob
	byJob   map[qgjob.JobID]*savedJob
	offered [][]any               // new attempts
	ended   [][]any               // attempts that have ended
	byLease map[qgjob.LeaseID]int // in ended
}

// savedJob is a job to be written, and what its row must still say.
type savedJob struct {
	job   *jobRow
	guard lease.Job
}

// save has a job's row written; was is what the transaction read of it.
func (t *tx) save(j *jobRow, was lease.Job) {
	t.writes++
	if t.gathered.byJob[j.id] != nil {
		return // the row still says what the first change found
	}
	s := &savedJob{j, was}
	if t.gathered.byJob == nil {
		t.gathered.byJob = map[qgjob.JobID]*savedJob{}
	}
	t.gathered.byJob[j.id] = s
	t.turn.Jobs = append(t.turn.Jobs, int64(j.id))
	t.gathered.jobs = append(t.gathered.jobs, s)
}

// endAttempt writes how an attempt ended and, with a result, what it found.
func (t *tx) endAttempt(before lease.Job, e *lease.Ended, r *qgjob.CompleteRequest) error {
	if r == nil {
		r = &qgjob.CompleteRequest{}
	}
	tests := ""
	if len(r.Tests) > 0 {
		b, err := json.Marshal(r.Tests)
		if err != nil {
			return err
		}
		tests = string(b)
	}
	t.recall(e.LeaseID)
	if l := t.known.leases[e.LeaseID]; l != nil {
		l.attempt.Outcome, l.attempt.Digest = e.Outcome, r.Digest
	}
	t.writes++
	row := []any{string(e.LeaseID), ms(before.StartedAt), t.nowMS, string(e.Outcome), string(e.Reason), e.Message, r.ExitCode, r.Digest,
		string(r.Install), r.InstallMS, r.TestMS, tests}
	g := &t.gathered
	if at, twice := g.byLease[e.LeaseID]; twice {
		g.ended[at] = row
		return nil
	}
	if g.byLease == nil {
		g.byLease = map[qgjob.LeaseID]int{}
	}
	g.byLease[e.LeaseID] = len(g.ended)
	g.ended = append(g.ended, row)
	return nil
}

// Names of columns with their types. The keys are what a row must still say.
const (
	savedKey     = "id BIGINT, state TEXT, lease_id TEXT, lease_ver BIGINT"
	savedColumns = `state TEXT, ready_at BIGINT, lease_id TEXT, lease_no BIGINT, lease_ver BIGINT, claim_id TEXT, agent_id TEXT, incarnation BIGINT, started BIGINT,
		starts BIGINT, infra_fails BIGINT, test_attempts BIGINT, cancel_requested BIGINT, done_lease TEXT, reason TEXT, message TEXT, flaky BIGINT, avoid_agent TEXT,
		avoid_until BIGINT, started_at BIGINT, finished_at BIGINT`
	endedKey     = "lease_id TEXT"
	endedColumns = `started_at BIGINT, ended_at BIGINT, outcome TEXT, reason TEXT, message TEXT, exit_code BIGINT, digest TEXT, install TEXT, install_ms BIGINT, test_ms BIGINT, tests TEXT`
)

func (s *savedJob) row() []any {
	j := s.job
	return []any{int64(j.id), string(s.guard.State), string(s.guard.LeaseID), s.guard.LeaseVer,
		string(j.State), ms(j.ReadyAt), string(j.LeaseID), j.LeaseNo, j.LeaseVer, j.claimID, string(j.Agent), j.Incarnation,
		flag(j.Started), j.Starts, j.InfraFails, j.TestAttempts, flag(j.CancelRequested), string(j.DoneLease), string(j.Reason), j.Message, flag(j.Flaky),
		string(j.AvoidAgent), ms(j.AvoidUntil), ms(j.StartedAt), j.finished}
}

// gather queues the statements for what was gathered. They were counted when
// that was: an operation that reads has not written what others have.
func (t *tx) gather() error {
	counted := t.writes
	defer func() { t.writes = counted }()
	g := t.gathered
	t.gathered = gathered{}
	waiting := t.pending
	t.pending = nil
	if err := t.insert("attempts", "lease_id, org_id, job_id, number, agent_id, incarnation, offered_at", g.offered); err != nil {
		return err
	}
	t.pending = append(t.pending, waiting...)
	rows := make([][]any, len(g.jobs))
	for i, s := range g.jobs {
		rows[i] = s.row()
	}
	if err := t.updateRows("jobs", savedKey, savedColumns, rows); err != nil {
		return err
	}
	return t.updateRows("attempts", endedKey, endedColumns, g.ended)
}

// updateRows changes rows of a table, each found by its key; one that is not
// there breaks the transaction. Keys and columns are names with their types.
func (t *tx) updateRows(table, key, columns string, rows [][]any) error {
	for len(rows) > 0 {
		n := bulkSize(len(rows))
		text := t.w.text(statementKey{table, columns, n}, func() string { return updateText(t.w.dialect, table, key, columns, n) })
		if err := t.queue(statement{query: text, args: oneAfterTheOther(rows[:n]), want: int64(n), what: "update rows of " + table}); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// updateText is an update of n rows: keys first, then new values.
func updateText(d dialect, table, key, columns string, n int) string {
	keys, sets := strings.Split(key, ","), strings.Split(columns, ",")
	width := len(keys) + len(sets)
	types := make([]string, 0, width) // of the first row; the others follow it
	for _, c := range slices.Concat(keys, sets) {
		types = append(types, strings.Fields(c)[1])
	}
	var b strings.Builder
	b.WriteString("UPDATE " + table + " SET ")
	for i, c := range sets {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s = v.column%d", strings.Fields(c)[0], len(keys)+i+1)
	}
	b.WriteString(" FROM (VALUES ")
	for row := range n {
		if row > 0 {
			b.WriteString(", ")
		}
		b.WriteString("(")
		for i := range width {
			if i > 0 {
				b.WriteString(", ")
			}
			place := d.place(row*width + i + 1)
			if row == 0 {
				place = "CAST(" + place + " AS " + types[i] + ")"
			}
			b.WriteString(place)
		}
		b.WriteString(")")
	}
	b.WriteString(") v WHERE ")
	for i, c := range keys {
		if i > 0 {
			b.WriteString(" AND ")
		}
		fmt.Fprintf(&b, "%s.%s = v.column%d", table, strings.Fields(c)[0], i+1)
	}
	b.WriteString(d.among(table+"."+strings.Fields(key)[0], n, width))
	return b.String()
}
