package store

import (
	"context"
	"fmt"

	"github.com/qualgent/qgjob"
)

// Owner is whose a thing is: what must be known to let somebody at it.
type Owner struct {
	Org   qgjob.OrgID
	Run   string        // the CI run that submitted it, repository_id/run_id/run_attempt; empty: none
	Agent qgjob.AgentID // of a lease: who holds, or held, it
}

// RunOwner gives whose a run is.
func (s *Store) RunOwner(ctx context.Context, id qgjob.RunID) (o Owner, err error) {
	err = s.read.QueryRowContext(ctx, either(`SELECT r.org_id, COALESCE(c.bound, '') FROM @runs r LEFT JOIN ci_runs c ON c.org_id = r.org_id AND c.run_id = r.id WHERE r.id = $1`), int64(id)).Scan(&o.Org, &o.Run)
	if isNoRows(err) {
		return o, NoRun(id)
	}
	return o, unavailable(err)
}

// JobOwner gives whose a job is.
func (s *Store) JobOwner(ctx context.Context, id qgjob.JobID) (o Owner, err error) {
	err = s.read.QueryRowContext(ctx, either(`SELECT j.org_id, COALESCE(c.bound, '') FROM @jobs j LEFT JOIN ci_runs c ON c.org_id = j.org_id AND c.run_id = j.run_id WHERE j.id = $1`), int64(id)).Scan(&o.Org, &o.Run)
	if isNoRows(err) {
		return o, NoJob(id)
	}
	return o, unavailable(err)
}

// LeaseOwner gives whose the attempt of a lease is, and which agent's.
func (s *Store) LeaseOwner(ctx context.Context, id qgjob.LeaseID) (o Owner, err error) {
	// A job's rows move one by one: its attempt may be history when it is not yet.
	err = s.read.QueryRowContext(ctx, either(`SELECT a.org_id, COALESCE((SELECT c.bound FROM ci_runs c WHERE c.org_id = a.org_id AND c.run_id =
		COALESCE((SELECT j.run_id FROM jobs j WHERE j.id = a.job_id), (SELECT j.run_id FROM history_jobs j WHERE j.id = a.job_id))), ''), a.agent_id
		FROM @attempts a WHERE a.lease_id = $1`), string(id)).Scan(&o.Org, &o.Run, &o.Agent)
	if isNoRows(err) {
		return o, NoLease(id)
	}
	return o, unavailable(err)
}

// AgentOwner gives whose jobs an agent takes; an empty org is everybody's.
func (s *Store) AgentOwner(ctx context.Context, id qgjob.AgentID) (o Owner, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT org_id FROM agents WHERE agent_id = $1`, string(id)).Scan(&o.Org)
	if isNoRows(err) {
		return o, NoAgent(id)
	}
	return o, unavailable(err)
}

// NoRun is what is answered for a run that does not exist, or that the asker
// must not know of: the two are never told apart.
func NoRun(id qgjob.RunID) error { return qgjob.NotFound("run %s does not exist", id) }

// NoJob is NoRun for jobs.
func NoJob(id qgjob.JobID) error { return qgjob.NotFound("job %s does not exist", id) }

// NoLease is NoRun for leases.
func NoLease(id qgjob.LeaseID) error { return qgjob.NotFound("lease %s does not exist", id) }

// NoAgent is NoRun for agents.
func NoAgent(id qgjob.AgentID) error { return qgjob.NotFound("agent %s does not exist", id) }

// NoArtifact is NoRun for files that attempts left.
func NoArtifact(id qgjob.LeaseID, name string) error {
	return qgjob.NotFound("lease %s has no artifact %q", id, name)
}

// NotRegistered is NoRun for agents that ask for themselves.
func NotRegistered(id qgjob.AgentID) error {
	e := qgjob.NotFound("agent %s is not registered", id)
	e.Code, e.Hint = qgjob.CodeAgentUnknown, "register first"
	return e
}

// BlobOwned reports whether an org may have a file's bytes: it has sent them,
// or was given them.
func (s *Store) BlobOwned(ctx context.Context, org qgjob.OrgID, sum qgjob.Sum) (bool, error) {
	_, owned, err := s.blobOrg(ctx, org, sum)
	return owned, err
}

// BlobProven gives how many bytes of a file, from its beginning, an org has
// shown to hold itself.
func (s *Store) BlobProven(ctx context.Context, org qgjob.OrgID, sum qgjob.Sum) (int64, error) {
	proven, _, err := s.blobOrg(ctx, org, sum)
	return proven, err
}

func (s *Store) blobOrg(ctx context.Context, org qgjob.OrgID, sum qgjob.Sum) (proven int64, owned bool, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT proven, owned FROM blob_orgs WHERE sha256 = $1 AND org_id = $2`, string(sum), string(org)).Scan(&proven, &owned)
	if isNoRows(err) {
		return 0, false, nil
	}
	return proven, owned, unavailable(err)
}

// OwnBlob notes that an org may have a file's bytes.
func (s *Store) OwnBlob(ctx context.Context, org qgjob.OrgID, sum qgjob.Sum) error {
	if have, err := s.BlobOwned(ctx, org, sum); err != nil || have {
		return err
	}
	return s.update(ctx, func(t *tx) error {
		_, err := t.exec(`INSERT INTO blob_orgs (sha256, org_id, owned) VALUES ($1, $2, 1) ON CONFLICT (org_id, sha256) DO UPDATE SET owned = 1`, string(sum), string(org))
		return err
	})
}

// ProveBlob notes that an org has shown to hold the first so many bytes of a
// file, and owns it once these are all.
func (s *Store) ProveBlob(ctx context.Context, org qgjob.OrgID, sum qgjob.Sum, proven int64, all bool) error {
	return s.update(ctx, func(t *tx) error {
		_, err := t.exec(`INSERT INTO blob_orgs (sha256, org_id, proven, owned) VALUES ($1, $2, $3, $4)
			ON CONFLICT (org_id, sha256) DO UPDATE SET proven = excluded.proven, owned = CASE WHEN blob_orgs.owned = 1 THEN 1 ELSE excluded.owned END`,
			string(sum), string(org), proven, flag(all))
		if err != nil {
			return fmt.Errorf("note whose blob %s is: %w", sum, err)
		}
		return nil
	})
}
