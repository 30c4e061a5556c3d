-- Live tables stay small: a run that has ended for a while moves, whole, into
-- tables of the same shape. And org_id leads the indexes (decision 9).
--
-- A server of the version before may run beside this one for as long as
-- --history-after says: it reads by the old indexes, and knows no history. So
-- nothing is dropped here; see upgrade.go for what is, and when.

-- +goose Up
-- When a server that knows of history came to a database that others may have
-- open: -1 until it is known, 0 where no older one can be there.
INSERT INTO counters (name, value) SELECT 'upgraded', CASE WHEN EXISTS (SELECT 1 FROM runs) THEN -1 ELSE 0 END;
-- The flush that last deleted groups: who has not seen it reads them all anew.
INSERT INTO counters (name, value) VALUES ('pruned', 0);

CREATE INDEX runs_ended ON runs (org_id, finished_at) WHERE finished_at > 0;
-- The order of a group (SCHEDULING.md): only what waits is in it.
CREATE INDEX jobs_next ON jobs (org_id, group_id, priority DESC, run_id, rank, estimate_ms DESC, id)
    WHERE state = 'queued' AND ready_at = 0;
-- Whether another job of the same run waits in the group, without a walk.
CREATE INDEX jobs_next_of_run ON jobs (org_id, run_id, group_id) WHERE state = 'queued' AND ready_at = 0;
CREATE INDEX jobs_backing_off ON jobs (org_id, ready_at) WHERE state = 'queued' AND ready_at > 0;
CREATE INDEX jobs_of_run ON jobs (org_id, run_id, id);
CREATE INDEX jobs_of_version ON jobs (org_id, app_version_id, id);
CREATE INDEX attempts_of_job ON attempts (org_id, job_id, number);
CREATE INDEX events_of_run ON events (org_id, run_id, seq);
CREATE INDEX artifacts_of_job ON artifacts (org_id, job_id);
CREATE INDEX idempotency_by_age ON idempotency (org_id, created_at);

CREATE TABLE history_runs (
    id          ROWKEY PRIMARY KEY,
    org_id      TEXT NOT NULL,
    total       BIGINT NOT NULL,
    passed      BIGINT NOT NULL DEFAULT 0,
    failed      BIGINT NOT NULL DEFAULT 0,
    errored     BIGINT NOT NULL DEFAULT 0,
    cancelled   BIGINT NOT NULL DEFAULT 0,
    flaky       BIGINT NOT NULL DEFAULT 0,
    installs    BIGINT NOT NULL DEFAULT 0,
    avoided     BIGINT NOT NULL DEFAULT 0,
    install_ms  BIGINT NOT NULL DEFAULT 0,
    retry_of    BIGINT NOT NULL DEFAULT 0,
    labels      TEXT NOT NULL DEFAULT '',
    created_at  BIGINT NOT NULL,
    finished_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX history_runs_of_org ON history_runs (org_id, id);
CREATE INDEX history_runs_ended ON history_runs (org_id, finished_at);

CREATE TABLE history_jobs (
    id                ROWKEY PRIMARY KEY,
    org_id            TEXT NOT NULL,
    run_id            BIGINT NOT NULL,
    group_id          BIGINT NOT NULL,
    app_version_id    TEXT NOT NULL,
    build_sha256      TEXT NOT NULL,
    bundle_sha256     TEXT NOT NULL,
    test_path         TEXT NOT NULL,
    target            TEXT NOT NULL,
    requires          TEXT NOT NULL,
    priority          BIGINT NOT NULL,
    rank              BIGINT NOT NULL DEFAULT 0,
    estimate_ms       BIGINT NOT NULL,
    retries           BIGINT NOT NULL,
    timeout_ms        BIGINT NOT NULL,
    submitted_at      BIGINT NOT NULL,
    state             TEXT NOT NULL,
    ready_at          BIGINT NOT NULL DEFAULT 0,
    lease_id          TEXT NOT NULL DEFAULT '',
    lease_no          BIGINT NOT NULL DEFAULT 0,
    lease_ver         BIGINT NOT NULL DEFAULT 0,
    claim_id          TEXT NOT NULL DEFAULT '',
    agent_id          TEXT NOT NULL DEFAULT '',
    incarnation       BIGINT NOT NULL DEFAULT 0,
    started           BIGINT NOT NULL DEFAULT 0,
    starts            BIGINT NOT NULL DEFAULT 0,
    infra_fails       BIGINT NOT NULL DEFAULT 0,
    test_attempts     BIGINT NOT NULL DEFAULT 0,
    cancel_requested  BIGINT NOT NULL DEFAULT 0,
    done_lease        TEXT NOT NULL DEFAULT '',
    reason            TEXT NOT NULL DEFAULT '',
    message           TEXT NOT NULL DEFAULT '',
    flaky             BIGINT NOT NULL DEFAULT 0,
    avoid_agent       TEXT NOT NULL DEFAULT '',
    avoid_until       BIGINT NOT NULL DEFAULT 0,
    started_at        BIGINT NOT NULL DEFAULT 0,
    finished_at       BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX history_jobs_of_run ON history_jobs (org_id, run_id, id);
CREATE INDEX history_jobs_of_version ON history_jobs (org_id, app_version_id, id);

CREATE TABLE history_attempts (
    lease_id    TEXT PRIMARY KEY,
    org_id      TEXT NOT NULL,
    job_id      BIGINT NOT NULL,
    number      BIGINT NOT NULL,
    agent_id    TEXT NOT NULL,
    incarnation BIGINT NOT NULL,
    offered_at  BIGINT NOT NULL,
    started_at  BIGINT NOT NULL DEFAULT 0,
    ended_at    BIGINT NOT NULL DEFAULT 0,
    outcome     TEXT NOT NULL DEFAULT '',
    reason      TEXT NOT NULL DEFAULT '',
    message     TEXT NOT NULL DEFAULT '',
    exit_code   BIGINT,
    digest      TEXT NOT NULL DEFAULT '',
    refused     TEXT NOT NULL DEFAULT '',
    install     TEXT NOT NULL DEFAULT '',
    install_ms  BIGINT NOT NULL DEFAULT 0,
    test_ms     BIGINT NOT NULL DEFAULT 0,
    log_bytes   BIGINT NOT NULL DEFAULT 0,
    log_kept    BIGINT NOT NULL DEFAULT 0,
    tests       TEXT NOT NULL DEFAULT ''
);
CREATE INDEX history_attempts_of_job ON history_attempts (org_id, job_id, number);

CREATE TABLE history_events (
    seq        ROWKEY PRIMARY KEY,
    org_id     TEXT NOT NULL,
    run_id     BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    body       TEXT NOT NULL
);
CREATE INDEX history_events_of_run ON history_events (org_id, run_id, seq);

CREATE TABLE history_log_chunks (
    lease_id TEXT NOT NULL,
    off      BIGINT NOT NULL,
    data     BYTES NOT NULL,
    PRIMARY KEY (lease_id, off)
);

CREATE TABLE history_artifacts (
    lease_id     TEXT NOT NULL,
    name         TEXT NOT NULL,
    org_id       TEXT NOT NULL,
    job_id       BIGINT NOT NULL,
    sha256       TEXT NOT NULL,
    size         BIGINT NOT NULL,
    content_type TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (lease_id, name)
);
CREATE INDEX history_artifacts_of_job ON history_artifacts (org_id, job_id);

-- Where a database was copied to, or came from (qgjob server copy).
CREATE TABLE moves (
    copy_id    TEXT PRIMARY KEY,
    direction  TEXT NOT NULL,
    place      TEXT NOT NULL,
    state      TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- +goose Down
DROP TABLE moves;
DROP TABLE history_artifacts;
DROP TABLE history_log_chunks;
DROP TABLE history_events;
DROP TABLE history_attempts;
DROP TABLE history_jobs;
DROP TABLE history_runs;
DROP INDEX idempotency_by_age;
DROP INDEX artifacts_of_job;
DROP INDEX events_of_run;
DROP INDEX attempts_of_job;
DROP INDEX jobs_of_version;
DROP INDEX jobs_of_run;
DROP INDEX jobs_backing_off;
DROP INDEX jobs_next_of_run;
DROP INDEX jobs_next;
DROP INDEX runs_ended;
DELETE FROM counters WHERE name IN ('upgraded', 'pruned');
