-- Who may do what: tokens by their SHA-256, the orgs of agents and files, and
-- the id-tokens of CI that were used.

-- +goose Up
CREATE TABLE tokens (
    token_id   TEXT PRIMARY KEY,
    sum        TEXT NOT NULL,
    kind       TEXT NOT NULL,
    org_id     TEXT NOT NULL DEFAULT '',
    name       TEXT NOT NULL DEFAULT '',
    agent_id   TEXT NOT NULL DEFAULT '',
    bound      TEXT NOT NULL DEFAULT '',
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    idle_ms    BIGINT NOT NULL DEFAULT 0,
    last_used  BIGINT NOT NULL DEFAULT 0,
    revoked_at BIGINT NOT NULL DEFAULT 0,
    used_at    BIGINT NOT NULL DEFAULT 0,
    used_for   TEXT NOT NULL DEFAULT '',
    created_by TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX tokens_by_sum ON tokens (sum);
CREATE INDEX tokens_of_ci ON tokens (expires_at) WHERE kind = 'ci';

CREATE TABLE id_tokens (
    jti        TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
);

-- '' is all orgs.
ALTER TABLE agents ADD COLUMN org_id TEXT NOT NULL DEFAULT '';

-- The CI runs that submitted runs: repository_id/run_id/run_attempt. Needed
-- for as long as a CI run may go on.
CREATE TABLE ci_runs (
    org_id     TEXT NOT NULL,
    run_id     BIGINT NOT NULL,
    bound      TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, run_id)
);
CREATE INDEX ci_runs_by_bound ON ci_runs (org_id, bound, run_id);
CREATE INDEX ci_runs_by_age ON ci_runs (created_at);

-- Which orgs have sent a file's bytes. proven counts those that an org has
-- sent of a file that was there already.
CREATE TABLE blob_orgs (
    org_id TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    proven BIGINT NOT NULL DEFAULT 0,
    owned  BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (org_id, sha256)
);
INSERT INTO blob_orgs (sha256, org_id, owned) SELECT sha256, org_id, 1 FROM apps
    UNION SELECT build_sha256, org_id, 1 FROM jobs WHERE build_sha256 <> ''
    UNION SELECT bundle_sha256, org_id, 1 FROM jobs WHERE bundle_sha256 <> ''
    UNION SELECT sha256, org_id, 1 FROM artifacts
    UNION SELECT build_sha256, org_id, 1 FROM history_jobs WHERE build_sha256 <> ''
    UNION SELECT bundle_sha256, org_id, 1 FROM history_jobs WHERE bundle_sha256 <> ''
    UNION SELECT sha256, org_id, 1 FROM history_artifacts;

-- +goose Down
DROP TABLE blob_orgs;
DROP TABLE ci_runs;
ALTER TABLE agents DROP COLUMN org_id;
DROP TABLE id_tokens;
DROP TABLE tokens;
