package store

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store/pgtest"
)

// backlog submits so many jobs, spread over orgs and their app versions; each
// org's versions are groups of their own.
func backlog(t testing.TB, s *Store, jobs, orgs, groups int) {
	t.Helper()
	per := jobs / groups
	var wg sync.WaitGroup
	next := make(chan int)
	for range 4 {
		wg.Go(func() {
			for g := range next {
				for left := per; left > 0; left -= 1000 {
					req := qgjob.SubmitRequest{OrgID: qgjob.OrgID(fmt.Sprintf("org-%d", g%orgs))}
					for i := range min(left, 1000) {
						req.Jobs = append(req.Jobs, qgjob.JobSpec{AppVersionID: qgjob.AppVersionID(fmt.Sprintf("v%d", g/orgs)), TestPath: fmt.Sprintf("tests/%d.spec.js", i%100), Target: "emulator", Priority: 1 + i%10})
					}
					if _, err := s.Submit(context.Background(), "", req); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for g := range groups {
		next <- g
	}
	close(next)
	wg.Wait()
}

// plansOf explains every statement of the claim path and of the sweeps, with
// parameters, on a backlog.
func plansOf(t *testing.T, s *Store) map[string]string {
	t.Helper()
	plans := map[string]string{}
	for what, q := range map[string]struct {
		query string
		args  []any
	}{
		"head":            {`SELECT ` + jobColumns + ` FROM jobs WHERE org_id = $1 AND group_id = $2 AND state = 'queued' AND ready_at = 0 AND (avoid_agent <> $3 OR avoid_until <= $4)` + groupOrder + `LIMIT 1`, []any{"org-1", 2, "a1", 5}},
		"other of run":    {`SELECT 1 FROM jobs WHERE org_id = $1 AND run_id = $2 AND group_id = $3 AND id <> $4 AND state = 'queued' AND ready_at = 0 LIMIT 1`, []any{"org-1", 2, 2, 5}},
		"lease":           {`SELECT id FROM jobs JOIN (SELECT job_id AS attempt_job FROM attempts WHERE lease_id = $1) a ON id = attempt_job`, []any{"aa"}},
		"jobs of agent":   {`SELECT id FROM jobs WHERE agent_id = $1 AND state IN ('assigned', 'running', 'cancelling') ORDER BY lease_no, id`, []any{"a1"}},
		"all leases":      {heldQuery, nil},
		"back-off":        {`SELECT COUNT(*) FROM jobs WHERE state = 'queued' AND ready_at > 0 AND ready_at <= $1`, []any{5}},
		"wake":            {`SELECT ` + jobColumns + ` FROM jobs WHERE state = 'queued' AND ready_at > 0 AND ready_at <= $1 ORDER BY ready_at LIMIT $2`, []any{5, 200}},
		"recount":         {`SELECT COUNT(*), COUNT(DISTINCT run_id), COALESCE(SUM(estimate_ms), 0) FROM jobs WHERE org_id = $1 AND group_id = $2 AND state = 'queued' AND ready_at = 0`, []any{"org-1", 2}},
		"recount leases":  {`SELECT COUNT(*) FROM jobs WHERE org_id = $1 AND group_id = $2 AND state IN ('assigned', 'running', 'cancelling')`, []any{"org-1", 2}},
		"depths":          {depthsQuery, nil},
		"open of run":     {`SELECT COUNT(*) FROM jobs WHERE org_id = $1 AND run_id = $2 AND state IN ('assigned', 'running', 'cancelling')`, []any{"org-1", 2}},
		"job":             {either(`SELECT ` + jobColumns + ` FROM @jobs WHERE id = $1`), []any{5}},
		"jobs of run":     {eitherPage(`SELECT `+jobColumns+` FROM @jobs WHERE id > $1 AND org_id = `+orgOfRun(2)+` AND run_id = $2`, ` ORDER BY id LIMIT $3`), []any{0, 2, 500}},
		"page of jobs":    {eitherPage(`SELECT `+jobColumns+` FROM @jobs WHERE id > $1`, ` ORDER BY id LIMIT $2`), []any{100, 500}},
		"events of run":   {eitherPage(`SELECT seq, body FROM @events WHERE org_id = `+orgOfRun(1)+` AND run_id = $1 AND seq > $2`, ` ORDER BY seq LIMIT $3`), []any{2, 0, 500}},
		"runs that ended": {`SELECT id, total FROM runs WHERE org_id = $1 AND finished_at > 0 AND finished_at <= $2 ORDER BY finished_at LIMIT $3`, []any{"org-1", 5, 64}},
	} {
		explain := `EXPLAIN QUERY PLAN `
		if s.sharing() {
			explain = `EXPLAIN `
		}
		rows, err := s.read.QueryContext(context.Background(), explain+q.query, q.args...)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if err := eachRow(rows, func(rows *sql.Rows) error {
			var detail string
			var skip [3]int
			dest := []any{&detail}
			if !s.sharing() {
				dest = []any{&skip[0], &skip[1], &skip[2], &detail}
			}
			err := rows.Scan(dest...)
			plans[what] += detail + "\n"
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	return plans
}

// walksJobs finds a plan that reads all of the jobs table: PostgreSQL's Seq
// Scan, SQLite's SCAN without an index that holds few of them.
func walksJobs(plan string) bool {
	for line := range strings.Lines(plan) {
		line = strings.TrimSpace(line)
		small := strings.Contains(line, "INDEX jobs_leased") || strings.Contains(line, "INDEX jobs_backing_off")
		if strings.Contains(line, "Seq Scan on jobs") || (strings.HasPrefix(line, "SCAN jobs") && !small) {
			return true
		}
	}
	return false
}

// TestABacklogIsNotWalked: with 20,000 waiting jobs no claim, sweep or read of
// one thing goes through them, with and without the engine's statistics.
func TestABacklogIsNotWalked(t *testing.T) {
	s := openTest(t, Options{Alone: true})
	backlog(t, s, 20_000, 20, 100)
	for _, analyzed := range []bool{false, true} {
		if analyzed {
			if err := s.update(context.Background(), func(t *tx) error { return t.write("analyze", `ANALYZE`) }); err != nil {
				t.Fatal(err)
			}
		}
		for what, plan := range plansOf(t, s) {
			if walksJobs(plan) {
				t.Errorf("%s (analyzed: %v) walks the jobs:\n%s", what, analyzed, plan)
			}
		}
	}
	if !walksJobs("SCAN jobs\n") || !walksJobs("  ->  Seq Scan on jobs  (cost=0.00..5)\n") || !walksJobs("SCAN jobs USING INDEX jobs_of_run\n") || walksJobs("SCAN jobs USING INDEX jobs_leased\n") {
		t.Error("the test does not know a walk when it sees one")
	}
}

// TestABacklogIsNotWalkedOnPostgres is the same there.
func TestABacklogIsNotWalkedOnPostgres(t *testing.T) { TestABacklogIsNotWalked(t) }

// BenchmarkBacklog is how much longer a claim takes with a million jobs over
// 100 orgs and 1,000 groups than with a thousand jobs over 10 groups: the ratio
// of the medians of claims that take turns. Nothing is synced to a disk, which
// would hide what the database itself does. QGJOB_BACKLOG is the number of
// jobs; ask for -benchtime 500x.
func BenchmarkBacklog(b *testing.B) {
	jobs, err := strconv.Atoi(os.Getenv("QGJOB_BACKLOG"))
	if err != nil {
		jobs = 1_000_000
	}
	for _, engine := range []string{"sqlite", "postgres"} {
		var stores [2]*Store
		b.Run(engine, func(run *testing.B) {
			if stores[0] == nil { // the first of two calls
				stores = [2]*Store{backlogStore(b, engine, 1000, 10, 10), backlogStore(b, engine, jobs, 100, 1000)}
			}
			b := run
			var took [2][]time.Duration
			b.ResetTimer()
			for n := range b.N {
				for i, s := range stores {
					took[i] = append(took[i], claimOnce(b, s, n))
				}
			}
			for i := range took {
				slices.Sort(took[i])
			}
			small, large := took[0][len(took[0])/2], took[1][len(took[1])/2]
			b.ReportMetric(float64(large)/float64(small), "x-small-backlog")
			b.ReportMetric(float64(large.Microseconds()), "µs-claim")
			b.ReportMetric(float64(took[1][len(took[1])*99/100].Microseconds()), "µs-claim-p99")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// backlogStore opens a store with a backlog, again after it was filled, and
// says how long that took.
func backlogStore(b *testing.B, engine string, jobs, orgs, groups int) *Store {
	b.Helper()
	where := ""
	if engine == "postgres" {
		where = pgtest.Shared(b).Database(b)
	} else {
		where = b.TempDir()
		if dir, err := os.MkdirTemp("/dev/shm", "qgjob-backlog-"); err == nil {
			b.Cleanup(func() { _ = os.RemoveAll(dir) })
			where = dir
		}
	}
	s := ok[*Store](b)(Open(context.Background(), where, Options{Alone: true}))
	began := time.Now()
	backlog(b, s, jobs, orgs, groups)
	filled := time.Since(began)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	began = time.Now()
	s = ok[*Store](b)(Open(context.Background(), where, Options{Alone: true}))
	b.Logf("%s: %d jobs submitted in %.1f s; opened again in %.3f s", engine, jobs, filled.Seconds(), time.Since(began).Seconds())
	b.Cleanup(func() { _ = s.Close() })
	for i := range 50 {
		registerOn(b, s, qgjob.AgentID(fmt.Sprintf("a%d", i)))
	}
	return s
}

// claimOnce times one claim; the job it gets is then done.
func claimOnce(b *testing.B, s *Store, n int) time.Duration {
	b.Helper()
	ctx := context.Background()
	id := qgjob.AgentID(fmt.Sprintf("a%d", n%50))
	began := time.Now()
	offers := claimOn(b, s, id, fmt.Sprintf("claim-%08d-%d", n, began.UnixNano()))
	took := time.Since(began)
	if len(offers) != 1 {
		b.Fatalf("%d offers", len(offers))
	}
	ok[qgjob.LeaseAnswer](b)(s.Start(ctx, offers[0].LeaseID, qgjob.StartRequest{AgentID: id, Incarnation: 1}))
	ok[qgjob.CompleteResponse](b)(s.Complete(ctx, offers[0].LeaseID, qgjob.CompleteRequest{AgentID: id, Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1", TestMS: 5000}))
	return took
}
