package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/qualgent/qgjob"
)

// keepPasses is how long a pass may be taken over: what lies outside of build
// and bundle (devices, servers that the app speaks to) changes with time.
const keepPasses = 7 * 24 * time.Hour

// passOf names all that a job's result depends on and qgjob knows of; empty
// when the build or the test's sources are not known by their bytes.
func passOf(build, bundle qgjob.Sum, version qgjob.AppVersionID, testPath string, target qgjob.Target, requires string, reset qgjob.Reset) string {
	if build == "" || bundle == "" {
		return ""
	}
	h := sha256.Sum256(fmt.Appendf(nil, "%q", []string{string(build), string(bundle), string(version), testPath, string(target), requires, string(reset)}))
	return hex.EncodeToString(h[:])
}

// passedBefore finds a job whose result may stand for a new one's; 0 for none.
func (t *tx) passedBefore(org string, build qgjob.Sum, spec qgjob.JobSpec) (from qgjob.JobID, err error) {
	what := passOf(build, spec.BundleSHA256, spec.AppVersionID, spec.TestPath, spec.Target, labelsJSON(spec.Requires), spec.Reset)
	if what == "" {
		return 0, nil
	}
	_, err = t.queryRow(`SELECT job_id FROM passes WHERE org_id = $1 AND what = $2 AND passed_at > $3`, []any{org, what, t.nowMS - keepPasses.Milliseconds()}, &from)
	if err != nil {
		return 0, fmt.Errorf("look for an earlier pass of %s: %w", spec.TestPath, err)
	}
	return from, nil
}

// keepPass remembers that a job passed, for those who take results over. One
// that passed at its second try proves nothing, and a failure takes away what
// was known before: nobody knows which of the two is the truth.
func (t *tx) keepPass(j *jobRow) error {
	what := passOf(j.build, j.bundle, j.version, j.testPath, j.target, j.requires, j.reset)
	switch {
	case what == "":
		return nil
	case j.TestAttempts > 0 || j.Flaky:
		return t.write("forget the pass before "+j.id.String(), `DELETE FROM passes WHERE org_id = $1 AND what = $2`, string(j.org), what)
	case j.State != qgjob.Passed:
		return nil
	}
	return t.write("keep the pass of "+j.id.String(), `INSERT INTO passes (org_id, what, job_id, passed_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (org_id, what) DO UPDATE SET job_id = excluded.job_id, passed_at = excluded.passed_at`, string(j.org), what, int64(j.id), t.nowMS)
}

// reuse makes a new job's row that of one which has passed, and tells of it.
func (t *tx) reuse(sub *submission, i int, row []any, from qgjob.JobID) []any {
	id := sub.first + qgjob.JobID(i)
	note := "taken over from " + from.String()
	row[len(row)-2] = string(qgjob.Passed) // its state; the last is its rank
	t.tell(qgjob.Event{Kind: qgjob.EventJobFinished, OrgID: sub.req.OrgID, RunID: sub.run, JobID: &id, TestPath: sub.req.Jobs[i].TestPath,
		Status: qgjob.Passed, Outcome: qgjob.OutcomePassed, Reason: qgjob.ReasonReused, Message: note})
	return append(row, string(qgjob.ReasonReused), note, int64(from), t.nowMS)
}

// ForgetPasses deletes passes that are too old to be taken over, of at most
// prunedAtOnce; more says that there are others.
func (s *Store) ForgetPasses(ctx context.Context) (n int, more bool, err error) {
	orgs, err := s.orgsOf(ctx, "passes")
	if err != nil {
		return 0, false, err
	}
	for _, org := range orgs {
		err := s.update(ctx, func(t *tx) error {
			gone, err := t.exec(`DELETE FROM passes WHERE org_id = $1 AND what IN
				(SELECT what FROM passes WHERE org_id = $2 AND passed_at <= $3 ORDER BY passed_at LIMIT $4)`,
				string(org), string(org), t.nowMS-keepPasses.Milliseconds(), prunedAtOnce)
			n = int(gone)
			return err
		})
		if err != nil || n > 0 {
			return n, n == prunedAtOnce, err
		}
	}
	return 0, false, nil
}

const prunedAtOnce = 500
