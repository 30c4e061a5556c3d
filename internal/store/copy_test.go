package store

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store/pgtest"
)

// aFarm is a data directory with something in every table: ended and moved
// runs, a job under way, one in its back-off, keys, builds, estimates, logs.
func aFarm(t *testing.T) (dir string, held qgjob.LeaseID) {
	t.Helper()
	ctx := context.Background()
	dir = t.TempDir()
	s := ok[*Store](t)(Open(ctx, dir, Options{}))
	defer func() { _ = s.Close() }()
	registerOn(t, s, "a1")
	registerOn(t, s, "a2")
	ok[qgjob.App](t)(s.PutApp(ctx, qgjob.App{OrgID: "acme", AppVersionID: "v1", SHA256: qgjob.Sum(strings.Repeat("a", 64)), Size: 5, FileName: "a.zip"}))
	ok[qgjob.Org](t)(s.PutOrg(ctx, qgjob.Org{OrgID: "acme", Weight: 0.1, Quota: 7}))
	for i := range 3 {
		ok[qgjob.SubmitResponse](t)(s.Submit(ctx, fmt.Sprintf("key-%d", i), oneJob("acme", 5)))
		o := claimOn(t, s, "a1", fmt.Sprintf("claim-%d", i))[0]
		ok[qgjob.LeaseAnswer](t)(s.Start(ctx, o.LeaseID, qgjob.StartRequest{AgentID: "a1", Incarnation: 1}))
		ok[qgjob.LogResponse](t)(s.AppendLog(ctx, o.LeaseID, 0, []byte("a log\x00\xff")))
		ok[qgjob.Artifact](t)(s.AddArtifact(ctx, qgjob.Artifact{LeaseID: o.LeaseID, Name: "trace.zip", SHA256: "aa", Size: 5}))
		ok[qgjob.CompleteResponse](t)(s.Complete(ctx, o.LeaseID, qgjob.CompleteRequest{AgentID: "a1", Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1",
			Message: "NUL \x00", TestMS: 1234, Install: qgjob.InstallDone, InstallMS: 10}))
		if i == 0 {
			for more := true; more; {
				_, more, _ = s.Archive(ctx, time.Now())
			}
		}
	}
	again := oneJob("globex", 5)
	again.Jobs[0].Retries = 2
	ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", again))
	failOn(t, s, "claim-f")
	ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "key-9", oneJob("acme", 9)))
	ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob("acme", 1)))
	held = claimOn(t, s, "a1", "claim-h")[0].LeaseID
	ok[qgjob.LeaseAnswer](t)(s.Start(ctx, held, qgjob.StartRequest{AgentID: "a1", Incarnation: 1}))
	return dir, held
}

// allOf is what readers see of a whole farm.
func allOf(t *testing.T, s *Store) string {
	t.Helper()
	ctx := context.Background()
	text := asJSON(t, ok[[]qgjob.Agent](t)(s.Agents(ctx)), ok[[]qgjob.Group](t)(s.Groups(ctx, "")), ok[[]qgjob.App](t)(s.Apps(ctx, "")), ok[qgjob.Org](t)(s.Org(ctx, "acme")))
	for _, r := range ok[[]qgjob.Run](t)(s.Runs(ctx, "", 0, 0)) {
		text += picture(t, s, r.RunID)
	}
	return strings.ReplaceAll(strings.ReplaceAll(text, `\u0000`, "\uFFFD"), `\ufffd`, "\uFFFD") // PostgreSQL keeps no NUL in texts
}

func noSteps(CopyStep) {}

// TestCopy moves a farm up: everybody sees what was there, leases go on, no
// number is given again, and the folder is not served any more.
func TestCopy(t *testing.T) {
	ctx := context.Background()
	dir, held := aFarm(t)
	url := pgtest.Shared(t).Database(t)
	was := ok[*Store](t)(Open(ctx, dir, Options{}))
	before := allOf(t, was)
	if _, err := Copy(ctx, dir, url, noSteps); qgjob.KindOf(err) != qgjob.KindConflict || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("copied while a server runs: %v", err)
	}
	_ = was.Close()
	tables := map[string]bool{}
	done := ok[Copied](t)(Copy(ctx, dir, url, func(s CopyStep) {
		tables[s.Table] = tables[s.Table] || s.Verified
	}))
	if done.Runs != 6 || done.Jobs != 6 || done.Cleaned == 0 || !tables["history_log_chunks"] || !tables["idempotency"] || tables["counters"] {
		t.Errorf("copied %+v, tables %v", done, tables)
	}
	s := ok[*Store](t)(Open(ctx, url, Options{}))
	defer func() { _ = s.Close() }()
	differ(t, "the copy", allOf(t, s), before)
	if err := s.Audit(ctx); err != nil {
		t.Error(err)
	}
	if r := ok[qgjob.RenewResponse](t)(s.Renew(ctx, "a1", qgjob.RenewRequest{Incarnation: 1, Leases: []qgjob.LeaseID{held}})); r.Leases[held] != qgjob.LeaseOK {
		t.Errorf("the lease: %+v", r)
	}
	ok[qgjob.CompleteResponse](t)(s.Complete(ctx, held, qgjob.CompleteRequest{AgentID: "a1", Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1"}))
	if again := ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "key-9", oneJob("acme", 9))); !again.Repeat || again.JobIDs[0] != 5 {
		t.Errorf("a key from before: %+v", again)
	}
	if fresh := ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob("acme", 9))); fresh.RunID != 7 || fresh.JobIDs[0] != 7 {
		t.Errorf("numbers: %+v", fresh)
	}
	_, err := Open(ctx, dir, Options{})
	wantError(t, err, qgjob.KindConflict, "was moved to postgres://", "--database")
	_, err = Copy(ctx, dir, url, noSteps)
	wantError(t, err, qgjob.KindConflict, "was moved")
	if strings.Contains(err.Error(), pgtest.Password) {
		t.Errorf("the password is shown: %v", err)
	}
}

// TestCopyIntoAServer: a server that has the empty target open sees all that
// came.
func TestCopyIntoAServer(t *testing.T) {
	ctx := context.Background()
	dir, held := aFarm(t)
	url := pgtest.Shared(t).Database(t)
	s := ok[*Store](t)(Open(ctx, url, Options{}))
	defer func() { _ = s.Close() }()
	ok[Copied](t)(Copy(ctx, dir, url, noSteps))
	if r := ok[qgjob.RenewResponse](t)(s.Renew(ctx, "a1", qgjob.RenewRequest{Incarnation: 1, Leases: []qgjob.LeaseID{held}})); r.Leases[held] != qgjob.LeaseOK {
		t.Errorf("the lease: %+v", r)
	}
	if err := s.Audit(ctx); err != nil {
		t.Error(err)
	}
}

// TestCopyIsRefused: into a database that holds something, and from a folder
// that holds nothing. The source is served as before.
func TestCopyIsRefused(t *testing.T) {
	ctx := context.Background()
	dir, _ := aFarm(t)
	url := pgtest.Shared(t).Database(t)
	s := ok[*Store](t)(Open(ctx, url, Options{Alone: true}))
	ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob("acme", 5)))
	_, err := Copy(ctx, dir, url, noSteps)
	wantError(t, err, qgjob.KindConflict, "not empty", "createdb")
	for _, table := range []string{"jobs", "runs", "job_groups", "events"} {
		if err := s.update(ctx, func(t *tx) error { return t.write("", `DELETE FROM `+table) }); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.Close()
	_, err = Copy(ctx, dir, url, noSteps)
	wantError(t, err, qgjob.KindConflict, "numbers")
	empty := t.TempDir()
	_, err = Copy(ctx, empty, url, noSteps)
	wantError(t, err, qgjob.KindNotFound, "no database", "--data-dir")
	if list := ok[[]os.DirEntry](t)(os.ReadDir(empty)); len(list) != 0 {
		t.Errorf("a folder without a database got %v", list)
	}
	again := ok[*Store](t)(Open(ctx, dir, Options{}))
	_ = again.Close()
}

// TestACopyThatFails leaves nothing over there and the source as it was; run
// again it succeeds.
func TestACopyThatFails(t *testing.T) {
	dir, _ := aFarm(t)
	url := pgtest.Shared(t).Database(t)
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Copy(ctx, dir, url, func(s CopyStep) {
		if s.Table == "jobs" {
			cancel()
		}
	})
	if err == nil {
		t.Fatal("a copy that was cut off succeeds")
	}
	s := ok[*Store](t)(Open(context.Background(), url, Options{Alone: true}))
	if n := rowsOf(t, s, "agents", "runs", "history_runs", "moves"); n != 0 {
		t.Errorf("%d rows of half a copy are there", n)
	}
	_ = s.Close()
	s = ok[*Store](t)(Open(context.Background(), dir, Options{})) // served as before
	_ = s.Close()
	ok[Copied](t)(Copy(context.Background(), dir, url, noSteps))
}

// TestACopyWithoutItsEnd: the copier died around its commit. The source is not
// served; running the copy again finishes it, or starts over.
func TestACopyWithoutItsEnd(t *testing.T) {
	ctx := context.Background()
	for _, committed := range []bool{true, false} {
		t.Run(fmt.Sprint("committed ", committed), func(t *testing.T) {
			dir, _ := aFarm(t)
			url := pgtest.Shared(t).Database(t)
			m := move{id: "0123", place: RedactDatabase(url), state: moveBegun}
			if committed {
				ok[Copied](t)(Copy(ctx, dir, url, noSteps))
			}
			s := ok[*Store](t)(Open(ctx, dir, Options{copying: true}))
			if committed {
				m.id = ok[move](t)(movedTo(ctx, s.read)).id
			}
			if err := s.noteMove(ctx, m); err != nil {
				t.Fatal(err)
			}
			_ = s.Close()
			_, err := Open(ctx, dir, Options{})
			wantError(t, err, qgjob.KindConflict, "not finished", "run the same")
			_, err = Copy(ctx, dir, pgtest.Shared(t).Database(t), noSteps)
			wantError(t, err, qgjob.KindConflict, "is about to be")
			if done := ok[Copied](t)(Copy(ctx, dir, url, noSteps)); done.Resumed != committed {
				t.Errorf("copied %+v", done)
			}
			_, err = Open(ctx, dir, Options{})
			wantError(t, err, qgjob.KindConflict, "was moved")
			s = ok[*Store](t)(Open(ctx, url, Options{Alone: true}))
			defer func() { _ = s.Close() }()
			if n := rowsOf(t, s, "jobs", "history_jobs"); n != 6 {
				t.Errorf("%d jobs", n)
			}
		})
	}
}

// TestEveryCounterIsCopiedOrNot wants a decision about each.
func TestEveryCounterIsCopiedOrNot(t *testing.T) {
	s := openTest(t, Options{})
	for _, name := range texts(t, s.read, `SELECT name FROM counters`) {
		if !slices.Contains(ownCounters, name) && !slices.Contains([]string{"run", "job", "group", "event"}, name) {
			t.Errorf("is counter %s copied, or a database's own?", name)
		}
	}
}

// TestACopyIsCompared: a row that is another one over there is found.
func TestACopyIsCompared(t *testing.T) {
	sum := func(rows ...[]any) (s tableSum) {
		for _, r := range rows {
			if err := s.add(r); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	one, two := []any{int64(1), "a", nil, 1.5, []byte{1}}, []any{int64(2), "b", nil, 2.5, []byte{}}
	if sum(one, two) != sum(two, one) {
		t.Error("the order matters")
	}
	for _, other := range [][]any{{int64(1), "a", nil, 1.5, []byte{2}}, {int64(1), "a", "", 1.5, []byte{1}}, {int64(1), "a", nil, 1.25, []byte{1}}, {1.0, "a", nil, 1.5, []byte{1}}, {int64(1), "", "a", 1.5, []byte{1}}} {
		if sum(one, two) == sum(other, two) {
			t.Errorf("%v counts as %v", other, one)
		}
	}
	if sum(one) == sum(one, one) || sum(one, one) == sum(two, two) {
		t.Error("how often a row comes does not matter")
	}
	if err := new(tableSum).add([]any{time.Time{}}); err == nil {
		t.Error("a value of an unknown type is let through")
	}
}
