package store

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store/pgtest"
)

func openTest(t testing.TB, opts Options) *Store {
	t.Helper()
	where := ""
	if OnPostgres(t) {
		where = FreshPostgres(t)
	} else {
		where = t.TempDir()
	}
	s, err := Open(context.Background(), where, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// OnPostgres reports whether a test runs below one whose name ends in
// OnPostgres: it then uses that engine.
func OnPostgres(t testing.TB) bool {
	parent, _, _ := strings.Cut(t.Name(), "/")
	return strings.HasSuffix(parent, "OnPostgres")
}

// FreshPostgres makes a PostgreSQL database with the schema for one test. The
// first call must be outside a bubble.
func FreshPostgres(t testing.TB) (url string) {
	t.Helper()
	return pgtest.Shared(t).Copy(t, func(url string) error {
		s, err := Open(context.Background(), url, Options{Alone: true})
		if err != nil {
			return err
		}
		return s.Close()
	}, `DO $$ DECLARE name TEXT; BEGIN
		FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT IN ('counters', 'goose_db_version') LOOP
			EXECUTE 'DELETE FROM ' || name;
		END LOOP;
		DELETE FROM counters c WHERE c.name NOT IN ('run', 'job', 'group', 'event', 'flush', 'upgraded', 'pruned');
		UPDATE counters SET value = 0;
		DELETE FROM goose_db_version WHERE version_id = 99;
		IF EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle in transaction') THEN
			RAISE 'a transaction was left open';
		END IF;
	END $$`)
}

func oneJob(org string, priority int) qgjob.SubmitRequest {
	return qgjob.SubmitRequest{OrgID: qgjob.OrgID(org), Jobs: []qgjob.JobSpec{{AppVersionID: "v1", TestPath: "tests/a.spec.js", Target: "emulator", Priority: priority}}}
}

func TestLifeOfAJob(t *testing.T) {
	ctx := context.Background()
	s := openTest(t, Options{})
	for i := range 12 {
		if _, err := s.Submit(ctx, "", oneJob("acme", 1+i%3)); err != nil {
			t.Fatal(err)
		}
	}
	reg, err := s.Register(ctx, "a1", qgjob.RegisterRequest{Incarnation: 1, Target: "emulator", Runner: "exec"})
	if err != nil {
		t.Fatal(err)
	}
	if reg.Agent.Status != qgjob.AgentIdle {
		t.Fatalf("%+v", reg)
	}
	var order []qgjob.JobID
	claim := qgjob.ClaimRequest{Incarnation: 1, ClaimID: "claim-0001"}
	resp, err := s.Claim(ctx, "a1", claim)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; len(resp.Offers) > 0; n++ {
		o := resp.Offers[0]
		order = append(order, o.Job.JobID)
		if a, err := s.Start(ctx, o.LeaseID, qgjob.StartRequest{AgentID: "a1", Incarnation: 1}); err != nil || a != qgjob.LeaseOK {
			t.Fatal(a, err)
		}
		c, err := s.Complete(ctx, o.LeaseID, qgjob.CompleteRequest{AgentID: "a1", Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1", Install: qgjob.InstallAvoided,
			Next: &qgjob.ClaimRequest{Incarnation: 1, ClaimID: fmt.Sprintf("claim-1%03d", n)}})
		if err != nil {
			t.Fatal(err)
		}
		if c.Status != qgjob.Passed || c.Next == nil {
			t.Fatalf("%+v", c)
		}
		resp = *c.Next
	}
	if got, want := fmt.Sprint(order), "[job_3 job_6 job_9 job_12 job_2 job_5 job_8 job_11 job_1 job_4 job_7 job_10]"; got != want {
		t.Errorf("order\n got %s\nwant %s", got, want)
	}
	run, err := s.Run(ctx, 1)
	if err != nil || run.Conclusion != qgjob.ConclusionPassed || run.InstallsAvoided != 1 {
		t.Fatalf("%+v %v", run, err)
	}
	ev, err := s.Events(ctx, 1, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range ev {
		t.Logf("%+v", e)
	}
	groups, err := s.Groups(ctx, "")
	if err != nil || len(groups) != 0 {
		t.Fatalf("%+v %v", groups, err)
	}
}
