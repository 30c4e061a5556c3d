package script_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store"
	"github.com/qualgent/qgjob/internal/store/pgtest"
)

const (
	readyJobs   = 100_000
	readyGroups = 1000
	readyOrgs   = 100
	readyEnded  = 2000
)

// TestReadyWithABacklogSlow measures how long the real program takes from its
// start to a good /readyz with 100,000 waiting jobs, and what a job takes on
// disk. It prints times; it wants readiness and every job.
func TestReadyWithABacklogSlow(t *testing.T) {
	if os.Getenv("QGJOB_SLOW") == "" {
		t.Skip("a hundred thousand jobs: set QGJOB_SLOW=1")
	}
	pgtest.Shared(t)
	c, err := pgtest.Start(true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Stop() }()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			dir := t.TempDir()
			where, flags := dir, []string{"server", "--listen=127.0.0.1:0", "--data-dir=" + dir}
			size := func() int64 { return fileSize(t, filepath.Join(dir, "qgjob.db")) }
			if engine == "postgres" {
				where = c.URL("postgres")
				flags = append(flags, "--database="+where)
				size = func() int64 { return databaseSize(t, where) }
			}
			s, err := store.Open(t.Context(), where, store.Options{Alone: true})
			if err != nil {
				t.Fatal(err)
			}
			empty := size()
			endJobs(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			ended := size()
			if s, err = store.Open(t.Context(), where, store.Options{Alone: true}); err != nil {
				t.Fatal(err)
			}
			fillQueue(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %d bytes a waiting job, %d bytes an ended job with its run, attempt and events", engine, (size()-ended)/readyJobs, (ended-empty)/readyEnded)
			for range 3 {
				began := time.Now()
				p, err := start(dir, flags...)
				if err != nil {
					t.Fatal(err)
				}
				base, err := p.await(listening)
				if err != nil {
					t.Fatal(err)
				}
				listens := time.Since(began)
				readiness(t, base, http.StatusOK, "ready")
				t.Logf("%s: listens after %d ms, ready after %d ms with %d waiting jobs in %d groups", engine, listens.Milliseconds(), time.Since(began).Milliseconds(), readyJobs, readyGroups)
				p.kill() // not stopped: the next one starts as after a crash
			}
		})
	}
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func databaseSize(t *testing.T, url string) (n int64) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), `SELECT pg_database_size(current_database())`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// fillQueue submits the backlog, a run a group.
func fillQueue(t *testing.T, s *store.Store) {
	t.Helper()
	var callers sync.WaitGroup
	groups := make(chan int)
	for range 4 {
		callers.Go(func() {
			for g := range groups {
				req := qgjob.SubmitRequest{OrgID: qgjob.OrgID(fmt.Sprintf("org-%d", g%readyOrgs))}
				for i := range readyJobs / readyGroups {
					req.Jobs = append(req.Jobs, qgjob.JobSpec{AppVersionID: qgjob.AppVersionID(fmt.Sprintf("v%d", g)), TestPath: fmt.Sprintf("tests/checkout/%d.spec.js", i), Target: "emulator", Priority: 5})
				}
				if _, err := s.Submit(context.Background(), "", req); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for g := range readyGroups {
		groups <- g
	}
	close(groups)
	callers.Wait()
}

// endJobs runs jobs to their end, twenty a run, and moves them into history.
func endJobs(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	for range readyEnded / 20 {
		req := qgjob.SubmitRequest{OrgID: "acme"}
		for i := range 20 {
			req.Jobs = append(req.Jobs, qgjob.JobSpec{AppVersionID: "v1", TestPath: fmt.Sprintf("tests/checkout/%d.spec.js", i), Target: "emulator", Priority: 5})
		}
		if _, err := s.Submit(ctx, "", req); err != nil {
			t.Fatal(err)
		}
	}
	var agents sync.WaitGroup
	for n := range 8 {
		agents.Go(func() { takeAll(t, s, qgjob.AgentID(fmt.Sprintf("a%d", n))) })
	}
	agents.Wait()
	for more := true; more; {
		var err error
		if _, more, err = s.Archive(ctx, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
}

// takeAll is an agent that runs jobs until none is left.
func takeAll(t *testing.T, s *store.Store, id qgjob.AgentID) {
	t.Helper()
	ctx := t.Context()
	if _, err := s.Register(ctx, id, qgjob.RegisterRequest{Incarnation: 1, Target: "emulator", Runner: "exec"}); err != nil {
		t.Error(err)
		return
	}
	for n := 0; ; n++ {
		claim, err := s.Claim(ctx, id, qgjob.ClaimRequest{Incarnation: 1, ClaimID: fmt.Sprintf("claim-%08d", n)})
		if err != nil || len(claim.Offers) == 0 {
			if err != nil {
				t.Error(err)
			}
			return
		}
		lease := claim.Offers[0].LeaseID
		if _, err := s.Start(ctx, lease, qgjob.StartRequest{AgentID: id, Incarnation: 1}); err != nil {
			t.Error(err)
			return
		}
		if _, err := s.Complete(ctx, lease, qgjob.CompleteRequest{AgentID: id, Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1", TestMS: 4000,
			Tests: []qgjob.TestResult{{File: "tests/checkout.spec.js", Title: []string{"checkout", "works"}, Status: "passed", DurationMS: 4000}}}); err != nil {
			t.Error(err)
			return
		}
	}
}
