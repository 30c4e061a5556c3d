package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"

	"github.com/qualgent/qgjob"
)

// supersedeKey is the key under which a run stands in for older ones. That of
// a CI run's token counts within its repository only, whatever it names.
func (sub *submission) supersedeKey() string {
	if sub.req.SupersedeKey == "" || sub.retryOf != 0 {
		return ""
	}
	if sub.bound == "" {
		return sub.req.SupersedeKey
	}
	repository, _, _ := strings.Cut(sub.bound, "/")
	return repository + " " + sub.req.SupersedeKey
}

// standIn marks the older open runs that a new one stands in for, to be
// stopped. Legs of the same CI run are left alone, and so is a newer CI run
// when a leg of an older one comes late.
func (t *tx) standIn(sub *submission) error {
	key := sub.supersedeKey()
	if key == "" {
		return nil
	}
	var older []qgjob.RunID
	if err := t.each(`SELECT id, labels FROM runs WHERE org_id = $1 AND supersede_key = $2 AND finished_at = 0 AND superseded_by = 0 AND id < $3 ORDER BY id`,
		[]any{string(sub.req.OrgID), key, int64(sub.run)}, func(row scanner) error {
			var id qgjob.RunID
			var text string
			if err := row.Scan(&id, &text); err != nil {
				return err
			}
			labels, err := parseLabels(text)
			if standsInFor(sub.req.Labels[qgjob.LabelCIRun], labels[qgjob.LabelCIRun]) {
				older = append(older, id)
			}
			return err
		}); err != nil {
		return fmt.Errorf("find what %s supersedes: %w", sub.run, err)
	}
	for _, id := range older {
		if err := t.write("supersede "+id.String(), `UPDATE runs SET superseded_by = $1 WHERE id = $2`, int64(sub.run), int64(id)); err != nil {
			return err
		}
		if err := t.stopRun(id, qgjob.ReasonSuperseded, "superseded by "+sub.run.String()); err != nil {
			return err
		}
	}
	if len(older) == 0 {
		return nil
	}
	return t.write("note what "+sub.run.String()+" supersedes", `UPDATE runs SET supersedes = $1 WHERE id = $2`, int64(older[len(older)-1]), int64(sub.run))
}

// standsInFor reports whether a run of one CI run, submitted now, stands in
// for that of another, submitted before. CI systems count their runs up, so of
// two numbers the greater is the newer; of other names nothing is known but
// who came later.
func standsInFor(ci, before string) bool {
	if ci == "" || before == "" {
		return true
	}
	if ci == before {
		return false
	}
	a, errA := strconv.ParseUint(ci, 10, 64)
	b, errB := strconv.ParseUint(before, 10, 64)
	return errA != nil || errB != nil || a > b
}

// stopRun has what is left of a run cancelled. The first reason stays.
func (t *tx) stopRun(id qgjob.RunID, why qgjob.Reason, note string) error {
	if c := cmp.Or(t.known.tallies[id], t.m.kept.tallies[id]); c != nil && c.stop == "" {
		c.stop = why
	}
	t.turn.Runs = append(t.turn.Runs, tallied{Run: int64(id), Unread: true})
	return t.write("stop "+id.String(), `UPDATE runs SET stop = $1, stop_note = $2 WHERE id = $3 AND stop = ''`, string(why), note, int64(id))
}

// stopping is a run whose rest is to be cancelled.
type stopping struct {
	id   qgjob.RunID
	org  qgjob.OrgID
	why  qgjob.Reason
	note string
}

// StopRuns cancels jobs of runs that are to stop, cancelBatch of each at most,
// and gives how many. A server that dies meanwhile leaves the rest to the
// next: the run says what is to be done.
func (s *Store) StopRuns(ctx context.Context) (n int, err error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, org_id, stop, stop_note FROM runs WHERE finished_at = 0 AND stop <> '' ORDER BY id`)
	if err != nil {
		return 0, unavailable(fmt.Errorf("list the runs to stop: %w", err))
	}
	var runs []stopping
	if err := eachRow(rows, func(rows *sql.Rows) error {
		var r stopping
		err := rows.Scan(&r.id, &r.org, &r.why, &r.note)
		runs = append(runs, r)
		return err
	}); err != nil {
		return 0, unavailable(err)
	}
	for _, r := range runs {
		some, err := s.stopSome(ctx, r)
		if err != nil {
			return n, err
		}
		n += some
	}
	return n, nil
}

func (s *Store) stopSome(ctx context.Context, r stopping) (n int, err error) {
	var left int // most runs that stop wait for their agents only: that is no work for the writer
	if err := s.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM jobs WHERE org_id = $1 AND run_id = $2 AND state IN ('queued', 'assigned', 'running')`,
		string(r.org), int64(r.id)).Scan(&left); err != nil || left == 0 {
		return 0, unavailable(err)
	}
	err = s.update(ctx, func(t *tx) error {
		n = 0
		jobs, err := t.stillGoing(r)
		if err != nil {
			return err
		}
		for _, j := range jobs {
			if err := t.cancel(j, r.why, r.note); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

func (t *tx) stillGoing(r stopping) (jobs []*jobRow, err error) {
	err = t.each(`SELECT `+jobColumns+` FROM jobs WHERE org_id = $1 AND run_id = $2 AND state IN ('queued', 'assigned', 'running') ORDER BY id LIMIT $3`,
		[]any{string(r.org), int64(r.id), cancelBatch}, func(row scanner) error {
			j, err := scanJob(row)
			if err == nil {
				jobs = append(jobs, t.know(j))
			}
			return err
		})
	return jobs, err
}
