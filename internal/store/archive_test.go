package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

// rowsOf counts the rows of tables.
func rowsOf(t testing.TB, s *Store, tables ...string) (n int) {
	t.Helper()
	for _, table := range tables {
		var have int
		if err := s.read.QueryRowContext(context.Background(), `SELECT COUNT(*) FROM `+table).Scan(&have); err != nil {
			t.Fatal(err)
		}
		n += have
	}
	return n
}

func asJSON(t testing.TB, values ...any) string {
	t.Helper()
	body, err := json.MarshalIndent(values, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// differ tells the first lines in which two texts differ.
func differ(t testing.TB, what, got, want string) {
	t.Helper()
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			t.Errorf("%s, line %d: %q; want %q", what, i, a[i], b[i])
			return
		}
	}
	if len(a) != len(b) {
		t.Errorf("%s: %d lines; want %d", what, len(a), len(b))
	}
}

// picture is all that readers see of a run.
func picture(t testing.TB, s *Store, id qgjob.RunID) string {
	t.Helper()
	ctx := context.Background()
	jobs := ok[[]qgjob.Job](t)(s.Jobs(ctx, qgjob.JobFilter{RunID: id}))
	text := asJSON(t, ok[qgjob.Run](t)(s.Run(ctx, id)), jobs, ok[[]qgjob.Event](t)(s.Events(ctx, id, 0, 0)))
	for _, j := range jobs {
		attempts := ok[[]qgjob.Attempt](t)(s.Attempts(ctx, j.JobID))
		text += asJSON(t, j.JobID, attempts)
		for _, a := range attempts {
			text += string(ok[[]byte](t)(s.Log(ctx, a.LeaseID, 0, 1<<20)))
			text += asJSON(t, ok[[]qgjob.Artifact](t)(s.Artifacts(ctx, j.JobID)))
		}
	}
	return text
}

var liveTables = []string{"runs", "jobs", "attempts", "events", "log_chunks", "artifacts"}

// TestARunMovesInBoundedSteps: a large run takes several steps, nobody sees a
// difference on the way, and nothing of it is left behind.
func TestARunMovesInBoundedSteps(t *testing.T) {
	ctx := context.Background()
	s := openTest(t, Options{Alone: true})
	registerOn(t, s, "a1")
	req := oneJob("acme", 5)
	for len(req.Jobs) < 3*stepJobs/2 {
		req.Jobs = append(req.Jobs, req.Jobs[0])
	}
	run := ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "key-1", req))
	o := claimOn(t, s, "a1", "claim-1")[0]
	ok[qgjob.LeaseAnswer](t)(s.Start(ctx, o.LeaseID, qgjob.StartRequest{AgentID: "a1", Incarnation: 1}))
	ok[qgjob.LogResponse](t)(s.AppendLog(ctx, o.LeaseID, 0, []byte("hello")))
	ok[qgjob.Artifact](t)(s.AddArtifact(ctx, qgjob.Artifact{LeaseID: o.LeaseID, Name: "trace.zip", SHA256: "aa", Size: 5, ContentType: "application/zip"}))
	ok[qgjob.CompleteResponse](t)(s.Complete(ctx, o.LeaseID, qgjob.CompleteRequest{AgentID: "a1", Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1"}))
	_, more, err := s.Archive(ctx, time.Now().Add(time.Hour))
	if more || err != nil {
		t.Fatalf("a run that goes on moves: %v", err)
	}
	ok[qgjob.Run](t)(s.CancelRun(ctx, run.RunID))
	if _, more, err := s.Archive(ctx, time.Now().Add(-time.Hour)); more || err != nil {
		t.Fatalf("a run that has just ended moves: %v", err)
	}
	seen := picture(t, s, run.RunID)
	steps, moved := 0, 0
	for more := true; more; steps++ {
		var n int
		if n, more, err = s.Archive(ctx, time.Now()); err != nil {
			t.Fatal(err)
		}
		moved += n
		if now := picture(t, s, run.RunID); now != seen {
			differ(t, fmt.Sprint("after step ", steps), now, seen)
		}
	}
	if moved != 1 || steps < 3 {
		t.Errorf("%d runs moved in %d steps", moved, steps)
	}
	if n := rowsOf(t, s, liveTables...); n != 0 {
		t.Errorf("%d rows are left in live tables", n)
	}
	again := ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "key-1", req))
	if !again.Repeat || fmt.Sprint(again.JobIDs) != fmt.Sprint(run.JobIDs) {
		t.Errorf("the same key gives %+v", again)
	}
	retry := ok[qgjob.SubmitResponse](t)(s.RetryRun(ctx, run.RunID, ""))
	if len(retry.JobIDs) != len(req.Jobs)-1 || retry.JobIDs[0] <= run.JobIDs[len(run.JobIDs)-1] {
		t.Errorf("the retry is %+v", retry)
	}
	if list := ok[[]qgjob.Job](t)(s.SeedGroup(ctx, "v1", "", "")); len(list) != len(run.JobIDs)+len(retry.JobIDs) || list[0].JobID != 1 {
		t.Errorf("the seed's group has %d jobs, first %s", len(list), list[0].JobID)
	}
	if _, err := s.CancelJob(ctx, 1); qgjob.CodeOf(err) != qgjob.CodeTerminal {
		t.Errorf("cancelling a job of history: %v", err)
	}
	if e := ok[qgjob.Explanation](t)(s.Explain(ctx, 1)); !strings.Contains(e.Summary, "has ended") {
		t.Errorf("explained: %+v", e)
	}
}

// TestARunMovesInBoundedStepsOnPostgres is the same there.
func TestARunMovesInBoundedStepsOnPostgres(t *testing.T) { TestARunMovesInBoundedSteps(t) }

// TestALargeLogMovesInPieces: on the way, the log is on both sides.
func TestALargeLogMovesInPieces(t *testing.T) {
	ctx := context.Background()
	s := openTest(t, Options{Alone: true})
	registerOn(t, s, "a1")
	run := ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob("acme", 5)))
	o := claimOn(t, s, "a1", "claim-1")[0]
	ok[qgjob.LeaseAnswer](t)(s.Start(ctx, o.LeaseID, qgjob.StartRequest{AgentID: "a1", Incarnation: 1}))
	var all []byte
	for i := range 12 {
		piece := bytes.Repeat([]byte{byte('a' + i)}, 1<<20)
		ok[qgjob.LogResponse](t)(s.AppendLog(ctx, o.LeaseID, int64(len(all)), piece))
		all = append(all, piece...)
	}
	ok[qgjob.CompleteResponse](t)(s.Complete(ctx, o.LeaseID, qgjob.CompleteRequest{AgentID: "a1", Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1"}))
	both := 0
	for more := true; more; {
		var err error
		if _, more, err = s.Archive(ctx, time.Now()); err != nil {
			t.Fatal(err)
		}
		if rowsOf(t, s, "log_chunks") > 0 && rowsOf(t, s, "history_log_chunks") > 0 {
			both++
		}
		for _, at := range []int{0, 1<<20 + 5, 5 << 20, 11<<20 + 7} {
			if got := ok[[]byte](t)(s.Log(ctx, o.LeaseID, int64(at), 2<<20)); !bytes.HasPrefix(all[at:], got) || len(got) == 0 {
				t.Fatalf("from byte %d on the log reads otherwise", at)
			}
		}
	}
	if both < 2 || rowsOf(t, s, liveTables...) != 0 || rowsOf(t, s, "history_log_chunks") != 12 {
		t.Errorf("the log was on both sides %d times; %d rows are left", both, rowsOf(t, s, liveTables...))
	}
	dropAll(t, s)
	if _, err := s.Run(ctx, run.RunID); qgjob.KindOf(err) != qgjob.KindNotFound {
		t.Errorf("a run that was deleted: %v", err)
	}
}

// TestALargeLogMovesInPiecesOnPostgres is the same there.
func TestALargeLogMovesInPiecesOnPostgres(t *testing.T) { TestALargeLogMovesInPieces(t) }

// dropAll deletes all history and wants nothing left of it.
func dropAll(t *testing.T, s *Store) {
	t.Helper()
	for more := true; more; {
		var err error
		if _, more, err = s.DropHistory(context.Background(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	for _, table := range liveTables {
		if n := rowsOf(t, s, past+table); n != 0 {
			t.Errorf("%d rows are left in %s%s", n, past, table)
		}
	}
}

// TestAnAgentThatWasAwayForHours brings its log, a file and its result when
// its job has long been moved: they are kept with its attempt.
func TestAnAgentThatWasAwayForHours(t *testing.T) {
	ctx := context.Background()
	s := openTest(t, Options{Alone: true})
	registerOn(t, s, "a1")
	registerOn(t, s, "a2")
	ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob("acme", 5)))
	away := claimOn(t, s, "a1", "claim-1")[0]
	ok[qgjob.LeaseAnswer](t)(s.Start(ctx, away.LeaseID, qgjob.StartRequest{AgentID: "a1", Incarnation: 1}))
	if expired := ok[bool](t)(s.Expire(ctx, lease.Held{JobID: 1, LeaseID: away.LeaseID, Ver: ok[[]HeldLease](t)(s.Held(ctx))[0].Ver, Started: true})); !expired {
		t.Fatal("not expired")
	}
	done := claimOn(t, s, "a2", "claim-2")[0]
	ok[qgjob.LeaseAnswer](t)(s.Start(ctx, done.LeaseID, qgjob.StartRequest{AgentID: "a2", Incarnation: 1}))
	result := qgjob.CompleteRequest{AgentID: "a2", Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-2"}
	ok[qgjob.CompleteResponse](t)(s.Complete(ctx, done.LeaseID, result))
	for more := true; more; {
		_, more, _ = s.Archive(ctx, time.Now())
	}
	if n := rowsOf(t, s, liveTables...); n != 0 {
		t.Fatalf("%d rows did not move", n)
	}
	ok[qgjob.LogResponse](t)(s.AppendLog(ctx, away.LeaseID, 0, []byte("late")))
	ok[qgjob.Artifact](t)(s.AddArtifact(ctx, qgjob.Artifact{LeaseID: away.LeaseID, Name: "late.txt", SHA256: "aa", Size: 4}))
	_, err := s.Complete(ctx, away.LeaseID, qgjob.CompleteRequest{AgentID: "a1", Incarnation: 1, Outcome: qgjob.OutcomeFailed, Digest: "digest-1"})
	if qgjob.CodeOf(err) != qgjob.CodeStaleLease {
		t.Errorf("a late result: %v", err)
	}
	if c := ok[qgjob.CompleteResponse](t)(s.Complete(ctx, done.LeaseID, result)); c.Status != qgjob.Passed {
		t.Errorf("the result again: %+v", c)
	}
	renewed := ok[qgjob.RenewResponse](t)(s.Renew(ctx, "a1", qgjob.RenewRequest{Incarnation: 1, Leases: []qgjob.LeaseID{away.LeaseID}}))
	if renewed.Leases[away.LeaseID] != qgjob.LeaseStale {
		t.Errorf("renewed: %+v", renewed)
	}
	first := ok[[]qgjob.Attempt](t)(s.Attempts(ctx, 1))[0]
	if !strings.Contains(first.Message, "a late result (failed)") || first.LogBytes != 4 || len(first.Artifacts) != 1 {
		t.Errorf("the first attempt: %+v", first)
	}
	if text := ok[[]byte](t)(s.Log(ctx, away.LeaseID, 0, 100)); string(text) != "late" {
		t.Errorf("its log: %q", text)
	}
	if n := rowsOf(t, s, liveTables...); n != 0 {
		t.Errorf("%d rows came back to life", n)
	}
}

// TestAnAgentThatWasAwayForHoursOnPostgres is the same there.
func TestAnAgentThatWasAwayForHoursOnPostgres(t *testing.T) { TestAnAgentThatWasAwayForHours(t) }

// TestOldKeysAreForgotten: a key that came before the instant starts a new
// run; a younger one still repeats.
func TestOldKeysAreForgotten(t *testing.T) {
	ctx := context.Background()
	s := openTest(t, Options{Alone: true})
	first := ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "key-1", oneJob("acme", 5)))
	if n, more, err := s.ForgetKeys(ctx, time.Now().Add(-time.Hour)); n != 0 || more || err != nil {
		t.Fatalf("%d forgotten: %v", n, err)
	}
	if again := ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "key-1", oneJob("acme", 5))); !again.Repeat || again.RunID != first.RunID {
		t.Errorf("a young key: %+v", again)
	}
	if n, more, err := s.ForgetKeys(ctx, time.Now()); n != 1 || !more || err != nil {
		t.Fatalf("%d forgotten: %v", n, err)
	}
	if again := ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "key-1", oneJob("acme", 5))); again.Repeat {
		t.Errorf("a forgotten key: %+v", again)
	}
}

// TestOldKeysAreForgottenOnPostgres is the same there.
func TestOldKeysAreForgottenOnPostgres(t *testing.T) { TestOldKeysAreForgotten(t) }
