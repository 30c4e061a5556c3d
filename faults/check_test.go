//go:build unix

package faults_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
	_ "modernc.org/sqlite"
)

// check looks at everything that the round promised: I1 to I6 and I8 to I12.
// I7, the order of a group at each claim, cannot be seen from outside; the
// store's conformance suite has it.
func (r *round) check() {
	c := r.f.client(patient)
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	if err := r.f.ran.read(); err != nil {
		r.t.Error(err)
		return
	}
	for _, text := range r.f.ran.faults {
		r.t.Error(text)
	}
	r.f.ran.faults = nil
	jobs, _, err := c.AllJobs(ctx, qgjob.JobFilter{OrgID: r.org}, 100_000)
	if err != nil {
		r.t.Errorf("list the jobs: %v", err)
		return
	}
	r.checkSubmits(ctx, c, jobs)
	r.mu.Lock()
	for _, j := range jobs {
		r.sawLocked(j)
	}
	r.mu.Unlock()
	broken := false
	for _, j := range jobs {
		attempts, err := c.Attempts(ctx, j.JobID)
		if err != nil {
			r.t.Errorf("attempts of %s: %v", j.JobID, err)
			return
		}
		r.checkJob(j, attempts)
		r.checkLog(ctx, c, j, attempts)
		broken = broken || j.AppVersionID == "cli" && j.Status == qgjob.Errored
	}
	if (r.cliExit == 3) != broken {
		r.t.Errorf("the command line left with %d; a job of its run is errored: %v", r.cliExit, broken)
	}
	r.checkRuns(ctx, c, jobs)
	r.checkDatabase(ctx)
	r.checkMoves()
	r.checkPrograms()
}

// checkSubmits is I1 and I11: what was acknowledged is there, nothing else
// is, and every key still names what it named.
func (r *round) checkSubmits(ctx context.Context, c *client.Client, jobs []qgjob.Job) {
	there := map[qgjob.JobID]qgjob.Job{}
	for _, j := range jobs {
		there[j.JobID] = j
	}
	known := cliJobs
	for key, resp := range r.runs {
		for i, id := range resp.JobIDs {
			j, ok := there[id]
			if !ok || j.TestPath != r.requests[key].Jobs[i].TestPath || j.RunID != resp.RunID {
				r.f.report.count(lost, 1)
				r.t.Errorf("I1: %s of %s was accepted as %s and is now %+v", id, key, r.requests[key].Jobs[i].TestPath, j)
			}
		}
		known += len(resp.JobIDs)
		again, err := c.Submit(ctx, r.requests[key], key)
		if err != nil || again.RunID != resp.RunID || !slices.Equal(again.JobIDs, resp.JobIDs) {
			r.t.Errorf("I11: the key of %s now gives %+v: %v", resp.RunID, again, err)
		}
		r.f.report.count(sameKey, 1)
	}
	if len(jobs) != known {
		r.t.Errorf("I1: %d jobs are there; %d were accepted", len(jobs), known)
	}
	for _, j := range jobs {
		if !j.Status.Terminal() {
			r.f.report.count(lost, 1)
			r.t.Errorf("I1: %s is %s", j.JobID, j.Status)
		}
	}
}

func expected(path string) qgjob.JobState {
	switch {
	case strings.HasPrefix(path, "tests/fail"):
		return qgjob.Failed
	case strings.HasPrefix(path, "tests/broken"):
		return qgjob.Errored
	}
	return qgjob.Passed
}

func (r *round) checkJob(j qgjob.Job, attempts []qgjob.Attempt) {
	tally := map[qgjob.Outcome]int{}
	started := 0
	for i, a := range attempts {
		tally[a.Outcome]++
		if a.StartedAt != nil {
			started++
		}
		if i > 0 && a.Number <= attempts[i-1].Number || a.EndedAt == nil {
			r.t.Errorf("I4: attempts of %s: %+v", j.JobID, attempts)
		}
	}
	r.f.report.count(lostAttempts, tally[qgjob.OutcomeLost])
	r.checkVerdict(j, attempts, tally)
	r.checkCancel(j, attempts)
	if j.Attempts != started && j.Attempts != started+tally[qgjob.OutcomeReleased] {
		r.t.Errorf("%s tells %d starts; its attempts %d", j.JobID, j.Attempts, started)
	}
	if tally[qgjob.OutcomeLost]+tally[qgjob.OutcomeErrored] > qgjob.MaxInfraFails || tally[qgjob.OutcomeFailed] > j.Retries+1 { // I8
		r.t.Errorf("I8: %s used %v of its budgets", j.JobID, tally)
	}
	r.checkExecutions(j, attempts, started-tally[qgjob.OutcomePassed])
}

// checkVerdict: the verdict is what the test said, and the newest lease said
// it (I2, I3, I6).
func (r *round) checkVerdict(j qgjob.Job, attempts []qgjob.Attempt, tally map[qgjob.Outcome]int) {
	broke := tally[qgjob.OutcomeLost] + tally[qgjob.OutcomeErrored]
	switch {
	case j.Status == qgjob.Cancelled:
		r.f.report.count(cancelled, 1)
		if !r.asked[j.JobID] {
			r.f.report.count(wrongVerdict, 1)
			r.t.Errorf("%s is cancelled, and nobody asked", j.JobID)
		}
		return
	case j.Status == qgjob.Errored && broke >= qgjob.MaxInfraFails:
		if expected(j.TestPath) != qgjob.Errored {
			r.f.report.count(poisoned, 1)
		}
		return
	case j.Status != expected(j.TestPath): // errored with fewer broken attempts is I6
		r.f.report.count(wrongVerdict, 1)
		r.t.Errorf("%s (%s) is %s (%s, %s); attempts %+v", j.JobID, j.TestPath, j.Status, j.Reason, j.Message, attempts)
		return
	}
	last := attempts[len(attempts)-1]
	if want := qgjob.Outcome(j.Status); last.Outcome != want || tally[qgjob.OutcomePassed] > 1 {
		r.f.report.count(staleTaken, 1)
		r.t.Errorf("I3: %s is %s; attempts %+v", j.JobID, j.Status, attempts)
	}
	ended := false
	for _, e := range r.f.ran.jobs[j.JobID] {
		ended = ended || e.attempt == last.Number && !e.end.IsZero() && e.agent == string(last.AgentID)
	}
	if !ended {
		r.f.report.count(wrongVerdict, 1)
		r.t.Errorf("%s is %s by attempt %d on %s, which never came to its end", j.JobID, j.Status, last.Number, last.AgentID)
	}
}

// checkCancel is I5: an acknowledged cancel holds, and nothing starts after it.
func (r *round) checkCancel(j qgjob.Job, attempts []qgjob.Attempt) {
	at, acknowledged := r.cancels[j.JobID]
	if !acknowledged {
		return
	}
	if j.Status != qgjob.Cancelled {
		r.f.report.count(wrongVerdict, 1)
		r.t.Errorf("I5: the cancel of %s was acknowledged, and it is %s", j.JobID, j.Status)
	}
	for _, a := range attempts {
		if a.StartedAt != nil && a.StartedAt.After(at) {
			r.t.Errorf("I5: %s was started at %v, after its cancel at %v", j.JobID, a.StartedAt, at)
		}
	}
}

// checkExecutions is I12: what really ran is what leases allowed. An attempt
// runs once; another one only after the first was lost, broken, given back or
// failed with a retry left.
func (r *round) checkExecutions(j qgjob.Job, attempts []qgjob.Attempt, reasons int) {
	begun := map[int]int{}
	list := r.f.ran.jobs[j.JobID]
	for _, e := range list {
		if begun[e.attempt]++; begun[e.attempt] > 1 {
			r.t.Errorf("I12: attempt %d of %s ran %d times", e.attempt, j.JobID, begun[e.attempt])
		}
		held := slices.ContainsFunc(attempts, func(a qgjob.Attempt) bool {
			return a.Number == e.attempt && string(a.AgentID) == e.agent && a.StartedAt != nil
		})
		if !held {
			r.t.Errorf("I12: attempt %d of %s ran on %s without leave: %+v", e.attempt, j.JobID, e.agent, attempts)
		}
	}
	if len(list) > 1 {
		if len(list)-1 > reasons {
			r.t.Errorf("I12: %s ran %d times with %d reasons to: %+v", j.JobID, len(list), reasons, attempts)
		}
		if expected(j.TestPath) == qgjob.Passed && j.Retries == 0 {
			r.f.report.count(duplicates, 1)
		}
	}
}

// checkLog is I9: the log of the attempt that counted is whole and in order.
func (r *round) checkLog(ctx context.Context, c *client.Client, j qgjob.Job, attempts []qgjob.Attempt) {
	if j.Status != qgjob.Passed && j.Status != qgjob.Failed {
		return
	}
	last := attempts[len(attempts)-1]
	var text bytes.Buffer
	_, n, err := c.Log(ctx, j.JobID, last.Number, 0, &text)
	if err != nil || n != last.LogBytes || !strings.Contains(text.String(), wholeLog(j.TestPath, last.Number)) {
		r.t.Errorf("I9: the log of %s attempt %d has %d bytes, %d by its attempt, error %v:\n%s", j.JobID, last.Number, n, last.LogBytes, err, text.String())
		return
	}
	r.f.report.count(wholeLogs, 1)
}

// checkRuns compares tallies with jobs, and what was streamed with what is so
// (I2, I10).
func (r *round) checkRuns(ctx context.Context, c *client.Client, jobs []qgjob.Job) {
	for _, resp := range r.runs {
		run, err := c.Run(ctx, resp.RunID)
		if err != nil {
			r.t.Error(err)
			continue
		}
		var t qgjob.Tally
		for _, j := range jobs {
			if j.RunID != resp.RunID {
				continue
			}
			t.Total++
			switch j.Status {
			case qgjob.Passed:
				t.Passed++
			case qgjob.Failed:
				t.Failed++
			case qgjob.Errored:
				t.Errored++
			case qgjob.Cancelled:
				t.Cancelled++
			}
			if j.Flaky {
				t.Flaky++
			}
			if r.finished[j.JobID] != 1 {
				r.f.report.count(endedTwice, max(0, r.finished[j.JobID]-1))
				r.t.Errorf("I10: job.finished of %s was streamed %d times", j.JobID, r.finished[j.JobID])
			}
		}
		if run.Tally != t || run.Conclusion != t.Conclude() || r.ended[resp.RunID] != 1 {
			r.t.Errorf("I2: %s tells %+v, %s; its jobs %+v; run.finished was streamed %d times", resp.RunID, run.Tally, run.Conclusion, t, r.ended[resp.RunID])
		}
	}
}

// open opens the farm's database for reading, past the servers.
func (f *farm) open() (*sql.DB, error) {
	if f.pg != nil {
		return sql.Open("pgx", f.pg.URL("postgres"))
	}
	return sql.Open("sqlite", "file:"+filepath.Join(f.dir, "data", "qgjob.db")+"?mode=ro")
}

// checkDatabase looks at what the API does not tell: results that were
// refused, and that verdicts name the lease of the newest attempt.
func (r *round) checkDatabase(ctx context.Context) {
	db, err := r.f.open()
	if err != nil {
		r.t.Error(err)
		return
	}
	defer db.Close()
	var refused, wrong, over int
	err = db.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM attempts WHERE org_id = $1 AND refused <> '' AND refused NOT LIKE '%intruder%'),
		(SELECT COUNT(*) FROM jobs j WHERE j.org_id = $2 AND j.done_lease <> '' AND j.done_lease <> (SELECT a.lease_id FROM attempts a WHERE a.job_id = j.id ORDER BY a.number DESC LIMIT 1)),
		(SELECT COUNT(*) FROM jobs WHERE org_id = $3 AND (infra_fails > $4 OR test_attempts > retries + 1))`,
		string(r.org), string(r.org), string(r.org), qgjob.MaxInfraFails).Scan(&refused, &wrong, &over)
	if err != nil {
		r.t.Errorf("read the database: %v", err)
		return
	}
	r.f.report.count(staleOffered, refused)
	r.f.report.count(staleRefused, refused)
	r.f.report.count(staleZombies, refused)
	if wrong > 0 {
		r.f.report.count(staleTaken, wrong)
		r.t.Errorf("I3: %d verdicts are not of the newest lease", wrong)
	}
	if over > 0 {
		r.t.Errorf("I8: %d jobs are over their budgets", over)
	}
}

// checkMoves measures how long the jobs of killed agents stood still.
func (r *round) checkMoves() {
	for {
		select {
		case k := <-r.f.kills:
			for _, d := range r.f.ran.elsewhere(k) {
				r.f.report.took(elsewhereIn, d)
			}
		default:
			return
		}
	}
}

// alarms are words that no program may have said, whatever was done to it.
var alarms = []string{"panic", "DATA RACE", "illegal move", "drifted", "fatal error"}

func (r *round) checkPrograms() {
	logs, err := filepath.Glob(filepath.Join(r.f.dir, "*.log"))
	if err != nil || len(logs) == 0 {
		r.t.Errorf("no logs: %v", err)
	}
	for _, name := range logs {
		text, err := os.ReadFile(name)
		if err != nil {
			r.t.Error(err)
			continue
		}
		for _, word := range alarms {
			if i := bytes.Index(text, []byte(word)); i >= 0 {
				r.t.Errorf("%s says %q: %s", filepath.Base(name), word, text[max(0, i-300):min(len(text), i+1500)])
			}
		}
		if r.f.pg != nil && strings.Contains(string(text), "not-a-secret") {
			r.t.Errorf("%s holds the database's password", filepath.Base(name))
		}
		// What was looked at need not be looked at again.
		if err := os.Truncate(name, 0); err != nil {
			r.t.Error(err)
		}
	}
	r.checkAgreement()
}

// checkAgreement: every server tells the same of the round's jobs.
func (r *round) checkAgreement() {
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	first := ""
	for _, s := range r.f.servers {
		jobs, _, err := s.ask(patient).AllJobs(ctx, qgjob.JobFilter{OrgID: r.org}, 100_000)
		if err != nil {
			r.t.Errorf("server %d: %v", s.n, err)
			continue
		}
		text := ""
		for _, j := range jobs {
			text += fmt.Sprintln(j.JobID, j.Status, j.Attempts, j.FinishedAt)
		}
		if first == "" {
			first = text
		}
		if text != first {
			r.t.Errorf("server %d tells another story than server 0", s.n)
		}
	}
}
