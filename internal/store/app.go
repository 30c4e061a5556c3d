package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/qualgent/qgjob"
)

// PutApp notes the build that an app version carries from now on. Jobs that
// were submitted before keep theirs.
func (s *Store) PutApp(ctx context.Context, a qgjob.App) (qgjob.App, error) {
	err := s.update(ctx, func(t *tx) error {
		a.UploadedAt = fromMS(t.nowMS)
		err := t.write("write the app version", `INSERT INTO apps (org_id, app_version_id, sha256, size, file_name, uploaded_at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (org_id, app_version_id) DO UPDATE SET sha256 = excluded.sha256, size = excluded.size, file_name = excluded.file_name, uploaded_at = excluded.uploaded_at`,
			string(a.OrgID), string(a.AppVersionID), string(a.SHA256), a.Size, a.FileName, t.nowMS)
		if err != nil {
			return err
		}
		return t.write("write the build", `INSERT INTO builds (sha256, size, file_name) VALUES ($1, $2, $3) ON CONFLICT (sha256) DO NOTHING`, string(a.SHA256), a.Size, a.FileName)
	})
	return a, err
}

// Apps lists an org's builds, or everybody's when org is empty.
func (s *Store) Apps(ctx context.Context, org qgjob.OrgID) ([]qgjob.App, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT org_id, app_version_id, sha256, size, file_name, uploaded_at FROM apps
		WHERE $1 = '' OR org_id = $2 ORDER BY org_id, app_version_id`, string(org), string(org))
	if err != nil {
		return nil, unavailable(fmt.Errorf("list apps: %w", err))
	}
	apps := []qgjob.App{}
	err = eachRow(rows, func(rows *sql.Rows) error {
		var a qgjob.App
		var at int64
		err := rows.Scan(&a.OrgID, &a.AppVersionID, &a.SHA256, &a.Size, &a.FileName, &at)
		a.UploadedAt = fromMS(at)
		apps = append(apps, a)
		return err
	})
	return apps, unavailable(err)
}

// app is the build of an offer; nil when the job has none. A job keeps the
// build it was submitted with, even when its version got another one since.
func (t *tx) app(org qgjob.OrgID, version qgjob.AppVersionID, build qgjob.Sum) (*qgjob.App, error) {
	if build == "" {
		return nil, nil
	}
	a := &qgjob.App{OrgID: org, AppVersionID: version, SHA256: build}
	if known, ok := t.m.builds[build]; ok {
		a.Size, a.FileName = known.Size, known.FileName
		return a, nil
	}
	found, err := t.queryRow(`SELECT size, file_name FROM builds WHERE sha256 = $1`, []any{string(build)}, &a.Size, &a.FileName)
	if found && err == nil {
		if len(t.m.builds) > learntLimit {
			clear(t.m.builds)
		}
		t.m.builds[build] = *a
	}
	return a, err
}

// AddArtifact ties a stored file to an attempt. The same name again replaces
// it, so that an agent may repeat itself.
func (s *Store) AddArtifact(ctx context.Context, a qgjob.Artifact) (qgjob.Artifact, error) {
	err := s.update(ctx, func(t *tx) error {
		var org string
		var job int64
		var side string
		found, err := t.queryRow(either(`SELECT org_id, job_id, '@' FROM @attempts WHERE lease_id = $1`), []any{string(a.LeaseID)}, &org, &job, &side)
		if err != nil {
			return err
		}
		if !found {
			return NoLease(a.LeaseID)
		}
		a.CreatedAt = fromMS(t.nowMS)
		return t.write("write artifact "+a.Name, `INSERT INTO `+side+`artifacts (lease_id, name, org_id, job_id, sha256, size, content_type, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (lease_id, name) DO UPDATE SET sha256 = excluded.sha256, size = excluded.size, content_type = excluded.content_type`,
			string(a.LeaseID), a.Name, org, job, string(a.SHA256), a.Size, a.ContentType, t.nowMS)
	})
	return a, err
}

// Artifacts lists the files that a job's attempts left.
func (s *Store) Artifacts(ctx context.Context, id qgjob.JobID) ([]qgjob.Artifact, error) {
	job, err := s.Job(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.artifacts(ctx, `WHERE org_id = $1 AND job_id = $2`, string(job.OrgID), int64(id))
}

// Artifact gives one file of an attempt.
func (s *Store) Artifact(ctx context.Context, id qgjob.LeaseID, name string) (qgjob.Artifact, error) {
	list, err := s.artifacts(ctx, `WHERE lease_id = $1 AND name = $2`, string(id), name)
	if err != nil {
		return qgjob.Artifact{}, err
	}
	if len(list) == 0 {
		return qgjob.Artifact{}, NoArtifact(id, name)
	}
	return list[0], nil
}

func (s *Store) artifacts(ctx context.Context, where string, args ...any) ([]qgjob.Artifact, error) {
	rows, err := s.read.QueryContext(ctx, either(`SELECT lease_id, name, sha256, size, content_type, created_at FROM @artifacts `+where)+` ORDER BY created_at, lease_id, name`, args...)
	if err != nil {
		return nil, unavailable(fmt.Errorf("list artifacts: %w", err))
	}
	list := []qgjob.Artifact{}
	err = eachRow(rows, func(rows *sql.Rows) error {
		var a qgjob.Artifact
		var at int64
		err := rows.Scan(&a.LeaseID, &a.Name, &a.SHA256, &a.Size, &a.ContentType, &at)
		a.CreatedAt = fromMS(at)
		list = append(list, a)
		return err
	})
	return list, unavailable(err)
}

// Org gives an org's standing; an org never set has weight 1 and no quota.
func (s *Store) Org(ctx context.Context, id qgjob.OrgID) (qgjob.Org, error) {
	o := qgjob.Org{OrgID: id, Weight: 1}
	err := s.read.QueryRowContext(ctx, `SELECT weight, quota FROM orgs WHERE org_id = $1`, string(id)).Scan(&o.Weight, &o.Quota)
	if isNoRows(err) {
		return o, nil
	}
	return o, unavailable(err)
}

// PutOrg sets an org's weight (0.01 to 100) and quota (0: none).
func (s *Store) PutOrg(ctx context.Context, o qgjob.Org) (qgjob.Org, error) {
	if err := qgjob.CheckName("org_id", string(o.OrgID)); err != nil {
		return o, err
	}
	if !(o.Weight >= 0.01 && o.Weight <= 100) {
		return o, qgjob.Invalid("weight", fmt.Sprintf("weight %v is out of range; allowed: 0.01 to 100", o.Weight))
	}
	if o.Quota < 0 || o.Quota > 1_000_000 {
		return o, qgjob.Invalid("quota", fmt.Sprintf("quota %d is out of range; allowed: 0 (none) to 1000000", o.Quota))
	}
	return o, s.update(ctx, func(t *tx) error {
		have := t.m.state.Org(o.OrgID)
		have.Weight, have.Quota = o.Weight, o.Quota
		t.m.state.SetOrg(have)
		t.dirtyOrg(o.OrgID)
		t.note.Work = true
		return nil
	})
}
