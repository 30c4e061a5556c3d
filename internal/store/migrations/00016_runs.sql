-- Runs that stand in for others, results that are taken over, and what is to
-- be stopped. stop is why the rest of a run shall not run; its jobs are
-- cancelled in steps, and the column says that there is more to do.

-- +goose Up
ALTER TABLE runs ADD COLUMN supersede_key TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN superseded_by BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN supersedes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN fail_fast BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN stop TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN stop_note TEXT NOT NULL DEFAULT '';
ALTER TABLE history_runs ADD COLUMN supersede_key TEXT NOT NULL DEFAULT '';
ALTER TABLE history_runs ADD COLUMN superseded_by BIGINT NOT NULL DEFAULT 0;
ALTER TABLE history_runs ADD COLUMN supersedes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE history_runs ADD COLUMN fail_fast BIGINT NOT NULL DEFAULT 0;
ALTER TABLE history_runs ADD COLUMN stop TEXT NOT NULL DEFAULT '';
ALTER TABLE history_runs ADD COLUMN stop_note TEXT NOT NULL DEFAULT '';
CREATE INDEX runs_to_supersede ON runs (org_id, supersede_key) WHERE finished_at = 0 AND supersede_key <> '';
CREATE INDEX runs_to_stop ON runs (org_id, id) WHERE finished_at = 0 AND stop <> '';
ALTER TABLE jobs ADD COLUMN reused_from BIGINT NOT NULL DEFAULT 0;
ALTER TABLE history_jobs ADD COLUMN reused_from BIGINT NOT NULL DEFAULT 0;
ALTER TABLE test_estimates ADD COLUMN last_failed BIGINT NOT NULL DEFAULT 0;

-- What passed of late, by a hash of all that its result depends on.
CREATE TABLE passes (
    org_id    TEXT NOT NULL,
    what      TEXT NOT NULL,
    job_id    BIGINT NOT NULL,
    passed_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, what)
);
CREATE INDEX passes_by_age ON passes (org_id, passed_at);

-- +goose Down
DROP TABLE passes;
ALTER TABLE test_estimates DROP COLUMN last_failed;
ALTER TABLE history_jobs DROP COLUMN reused_from;
ALTER TABLE jobs DROP COLUMN reused_from;
DROP INDEX runs_to_stop;
DROP INDEX runs_to_supersede;
ALTER TABLE history_runs DROP COLUMN stop_note;
ALTER TABLE history_runs DROP COLUMN stop;
ALTER TABLE history_runs DROP COLUMN fail_fast;
ALTER TABLE history_runs DROP COLUMN supersedes;
ALTER TABLE history_runs DROP COLUMN superseded_by;
ALTER TABLE history_runs DROP COLUMN supersede_key;
ALTER TABLE runs DROP COLUMN stop_note;
ALTER TABLE runs DROP COLUMN stop;
ALTER TABLE runs DROP COLUMN fail_fast;
ALTER TABLE runs DROP COLUMN supersedes;
ALTER TABLE runs DROP COLUMN superseded_by;
ALTER TABLE runs DROP COLUMN supersede_key;
