-- What was learnt: how long tests and installs take. One row a test, not one
-- a run: the newest observations weigh most (schedule.Estimate).

-- +goose Up
CREATE TABLE test_estimates (
    org_id    TEXT NOT NULL,
    test_path TEXT NOT NULL,
    target    TEXT NOT NULL,
    n         BIGINT NOT NULL,
    mean_s    DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (org_id, test_path, target)
);

CREATE TABLE install_estimates (
    org_id         TEXT NOT NULL,
    app_version_id TEXT NOT NULL,
    build_sha256   TEXT NOT NULL,
    target         TEXT NOT NULL,
    n              BIGINT NOT NULL,
    mean_s         DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (org_id, app_version_id, build_sha256, target)
);

-- The means over an org, which stand in for what was never seen of it.
CREATE TABLE org_averages (
    org_id TEXT NOT NULL,
    what   TEXT NOT NULL,
    n      BIGINT NOT NULL,
    sum_s  DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (org_id, what)
);

-- +goose Down
DROP TABLE org_averages;
DROP TABLE install_estimates;
DROP TABLE test_estimates;
