-- One text for both engines. The dialect replaces two types: ROWKEY (the
-- engine's cheapest 64-bit key) and BYTES. Instants are milliseconds since
-- 1970 UTC made in Go, 0 for "not yet"; JSON is opaque TEXT.

-- +goose Up
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('run', 0), ('job', 0), ('group', 0), ('event', 0);

CREATE TABLE orgs (
    org_id TEXT PRIMARY KEY,
    weight DOUBLE PRECISION NOT NULL DEFAULT 1,
    quota  BIGINT NOT NULL DEFAULT 0,
    vt     DOUBLE PRECISION NOT NULL DEFAULT 0,
    vt_at  BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE apps (
    org_id         TEXT NOT NULL,
    app_version_id TEXT NOT NULL,
    sha256         TEXT NOT NULL,
    size           BIGINT NOT NULL,
    file_name      TEXT NOT NULL,
    uploaded_at    BIGINT NOT NULL,
    PRIMARY KEY (org_id, app_version_id)
);

CREATE TABLE builds (
    sha256    TEXT PRIMARY KEY,
    size      BIGINT NOT NULL,
    file_name TEXT NOT NULL
);

CREATE TABLE runs (
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
CREATE INDEX runs_by_org ON runs (org_id, id);

CREATE TABLE job_groups (
    id             ROWKEY PRIMARY KEY,
    org_id         TEXT NOT NULL,
    app_version_id TEXT NOT NULL,
    build_sha256   TEXT NOT NULL,
    target         TEXT NOT NULL,
    requires       TEXT NOT NULL,
    waiting        BIGINT NOT NULL DEFAULT 0,
    runs           BIGINT NOT NULL DEFAULT 0,
    work_ms        BIGINT NOT NULL DEFAULT 0,
    serving        BIGINT NOT NULL DEFAULT 0,
    head_priority  BIGINT NOT NULL DEFAULT 0,
    head_submitted BIGINT NOT NULL DEFAULT 0,
    rev            BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX job_groups_by_key ON job_groups (org_id, app_version_id, build_sha256, target, requires);

CREATE TABLE jobs (
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
-- The order of a group (SCHEDULING.md): only what waits is in it.
CREATE INDEX jobs_waiting ON jobs (group_id, priority DESC, run_id, rank, estimate_ms DESC, id)
    WHERE state = 'queued' AND ready_at = 0;
-- Whether another job of the same run waits in the group, without a walk.
CREATE INDEX jobs_waiting_by_run ON jobs (run_id, group_id) WHERE state = 'queued' AND ready_at = 0;
CREATE INDEX jobs_delayed ON jobs (ready_at) WHERE state = 'queued' AND ready_at > 0;
CREATE INDEX jobs_leased ON jobs (agent_id) WHERE state IN ('assigned', 'running', 'cancelling');
CREATE INDEX jobs_by_run ON jobs (run_id, id);
CREATE INDEX jobs_by_version ON jobs (app_version_id, org_id, id);

CREATE TABLE attempts (
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
CREATE INDEX attempts_by_job ON attempts (job_id, number);

CREATE TABLE agents (
    agent_id        TEXT PRIMARY KEY,
    target          TEXT NOT NULL,
    incarnation     BIGINT NOT NULL DEFAULT 0,
    online          BIGINT NOT NULL DEFAULT 0,
    draining        BIGINT NOT NULL DEFAULT 0,
    labels          TEXT NOT NULL DEFAULT '',
    runner          TEXT NOT NULL DEFAULT '',
    host            TEXT NOT NULL DEFAULT '',
    version         TEXT NOT NULL DEFAULT '',
    pinned          TEXT NOT NULL DEFAULT '',
    pin_taken       BIGINT NOT NULL DEFAULT 0,
    has_build       BIGINT NOT NULL DEFAULT 0,
    build_org       TEXT NOT NULL DEFAULT '',
    build_version   TEXT NOT NULL DEFAULT '',
    build_sha256    TEXT NOT NULL DEFAULT '',
    installs        BIGINT NOT NULL DEFAULT 0,
    avoided         BIGINT NOT NULL DEFAULT 0,
    registered_at   BIGINT NOT NULL,
    last_seen       BIGINT NOT NULL
);

CREATE TABLE idempotency (
    org_id     TEXT NOT NULL,
    key        TEXT NOT NULL,
    body_hash  TEXT NOT NULL,
    run_id     BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, key)
);

-- The outbox: written with the change it tells of, delivered at least once.
CREATE TABLE events (
    seq        ROWKEY PRIMARY KEY,
    org_id     TEXT NOT NULL,
    run_id     BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    body       TEXT NOT NULL
);
CREATE INDEX events_by_run ON events (run_id, seq);

CREATE TABLE log_chunks (
    lease_id TEXT NOT NULL,
    off      BIGINT NOT NULL,
    data     BYTES NOT NULL,
    PRIMARY KEY (lease_id, off)
);

CREATE TABLE artifacts (
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

-- +goose Down
DROP TABLE artifacts;
DROP TABLE log_chunks;
DROP TABLE events;
DROP TABLE idempotency;
DROP TABLE agents;
DROP TABLE attempts;
DROP TABLE jobs;
DROP TABLE job_groups;
DROP TABLE runs;
DROP TABLE builds;
DROP TABLE apps;
DROP TABLE orgs;
DROP TABLE counters;
