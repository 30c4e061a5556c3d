package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
	"pgregory.net/rapid"
)

// TestTheOrderInSQLIsThatOfTheScheduler draws jobs with every part of the
// order, and wants the database to sort them as schedule.Job.Less does.
func TestTheOrderInSQLIsThatOfTheScheduler(t *testing.T) {
	s := openTest(t, Options{})
	ctx := context.Background()
	group := 0
	rapid.Check(t, func(rt *rapid.T) {
		group++
		var want []schedule.Job
		req := oneJob("acme", 1)
		req.Jobs[0].AppVersionID = qgjob.AppVersionID(fmt.Sprintf("v%d", group))
		for range rapid.IntRange(1, 4).Draw(rt, "runs") {
			req.Jobs = slices.Repeat(req.Jobs[:1], rapid.IntRange(1, 4).Draw(rt, "jobs"))
			resp, err := s.Submit(ctx, "", req)
			if err != nil {
				rt.Fatal(err)
			}
			for _, id := range resp.JobIDs {
				want = append(want, schedule.Job{Run: int64(resp.RunID), Seq: int64(id), Priority: rapid.IntRange(1, 3).Draw(rt, "priority"),
					Rank: rapid.IntRange(0, 2).Draw(rt, "rank"), Estimate: float64(rapid.IntRange(1, 3).Draw(rt, "estimate"))})
			}
		}
		var got []int64
		err := s.update(ctx, func(tx *tx) error {
			got = nil
			for _, j := range want {
				if _, err := tx.exec(`UPDATE jobs SET priority = $1, rank = $2, estimate_ms = $3 WHERE id = $4`, j.Priority, j.Rank, int64(j.Estimate*1000), j.Seq); err != nil {
					return err
				}
			}
			return tx.each(`SELECT id FROM jobs WHERE app_version_id = $1 AND state = 'queued' AND ready_at = 0`+groupOrder, []any{string(req.Jobs[0].AppVersionID)}, func(rows scanner) error {
				var id int64
				err := rows.Scan(&id)
				got = append(got, id)
				return err
			})
		})
		if err != nil {
			rt.Fatal(err)
		}
		slices.SortFunc(want, func(a, b schedule.Job) int {
			switch {
			case a.Less(b):
				return -1
			case b.Less(a):
				return 1
			}
			return cmp.Compare(a.Seq, b.Seq)
		})
		for i, j := range want {
			if got[i] != j.Seq {
				rt.Fatalf("place %d: job_%d; the scheduler says job_%d\n got %v\nwant %+v", i, got[i], j.Seq, got, want)
			}
		}
	})
}

// TestTheHeadIsFoundByItsIndex: looking for a group's head must not walk the
// group.
func TestTheHeadIsFoundByItsIndex(t *testing.T) {
	s := openTest(t, Options{})
	for what, query := range map[string]string{
		"jobs_next":        `SELECT priority, submitted_at FROM jobs WHERE org_id = 'a' AND group_id = 1 AND state = 'queued' AND ready_at = 0` + groupOrder + `LIMIT 1`,
		"jobs_leased":      `SELECT id FROM jobs WHERE agent_id = 'a1' AND state IN ('assigned', 'running', 'cancelling')`,
		"jobs_backing_off": `SELECT id FROM jobs WHERE org_id = 'a' AND state = 'queued' AND ready_at > 0 AND ready_at <= 5 ORDER BY ready_at LIMIT 200`,
		"jobs_of_run":      `SELECT id FROM jobs WHERE org_id = 'a' AND run_id = 1 AND id > 5 ORDER BY id`,
		"jobs_next_of_run": `SELECT 1 FROM jobs WHERE org_id = 'a' AND run_id = 1 AND group_id = 1 AND id <> 1 AND state = 'queued' AND ready_at = 0 LIMIT 1`,
	} {
		rows, err := s.read.Query(`EXPLAIN QUERY PLAN ` + query)
		if err != nil {
			t.Fatal(err)
		}
		plan := ""
		if err := eachRow(rows, func(rows *sql.Rows) error {
			var id, parent, unused int
			var detail string
			err := rows.Scan(&id, &parent, &unused, &detail)
			plan += detail + "; "
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(plan, "INDEX "+what+" ") || strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s: plan is %s", what, plan)
		}
	}
}
