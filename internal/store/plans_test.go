package store

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

// planOf is the writer's plan of a statement, line by line.
func planOf(t *testing.T, s *Store, query string, args ...any) (plan []string) {
	t.Helper()
	if err := s.update(context.Background(), func(t *tx) error {
		plan = nil
		return t.each(`EXPLAIN `+query, args, func(row scanner) error {
			var line string
			err := row.Scan(&line)
			plan = append(plan, line)
			return err
		})
	}); err != nil {
		t.Fatal(err)
	}
	return plan
}

// TestTheFrontOfAQueueIsReadInItsOrderOnPostgres: a plan that was made when
// nothing waited must not read all that waits later, and sort it, for the
// first jobs. (Each flush of three servers did so: 15 ms for 13,000 jobs.)
func TestTheFrontOfAQueueIsReadInItsOrderOnPostgres(t *testing.T) {
	ctx := context.Background()
	s := replicas(t, 1, Options{Alone: true})[0]
	ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob("acme", 5)))
	if err := s.update(ctx, func(t *tx) error { return t.write("analyze", `ANALYZE jobs`) }); err != nil {
		t.Fatal(err)
	}
	req := oneJob("acme", 5)
	for len(req.Jobs) < 2000 {
		req.Jobs = append(req.Jobs, req.Jobs[0])
	}
	ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", req))
	plan := planOf(t, s, `SELECT `+jobColumns+waitingOf+`$3`, "acme", int64(1), 16)
	if text := strings.Join(plan, "\n"); strings.Contains(text, "Sort") || !strings.Contains(text, "jobs_next ") {
		t.Errorf("the writer's plan:\n%s", text)
	}
}

// TestRowsAreUpdatedByTheirKeysOnPostgres: a plan that was made while a table
// was small must not go through all of it later. (The results of 24 attempts
// took 9 ms to write when there were 40,000.)
func TestRowsAreUpdatedByTheirKeysOnPostgres(t *testing.T) {
	ctx := context.Background()
	s := replicas(t, 1, Options{Alone: true})[0]
	registerOn(t, s, "a1")
	ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob("acme", 5)))
	claimOn(t, s, "a1", "claim-1")
	for _, u := range []struct{ table, key, columns, index string }{
		{"attempts", endedKey, endedColumns, "attempts_pkey"}, {"jobs", savedKey, savedColumns, "jobs_pkey"},
	} {
		var args []any
		for range 24 {
			for _, c := range strings.Split(u.key+","+u.columns, ",") {
				if strings.HasSuffix(c, "TEXT") {
					args = append(args, "")
				} else {
					args = append(args, int64(0))
				}
			}
		}
		if err := s.update(ctx, func(t *tx) error { return t.write("analyze", `ANALYZE `+u.table) }); err != nil {
			t.Fatal(err)
		}
		plan := planOf(t, s, updateText(s.dialect, u.table, u.key, u.columns, 24), args...)
		scan := slices.IndexFunc(plan, func(line string) bool { return strings.Contains(line, "Index Scan using "+u.index+" ") })
		if scan < 0 || scan+1 == len(plan) || !strings.Contains(plan[scan+1], "Index Cond: ") {
			t.Errorf("the plan of an update of %s:\n%s", u.table, strings.Join(plan, "\n"))
		}
	}
}
