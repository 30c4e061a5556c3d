-- Several servers on one database. Each flush takes the next number, and what
-- it changed of the things that servers remember carries it: who is behind
-- reads what has a higher one. An engine with one server leaves it at 0.

-- +goose Up
INSERT INTO counters (name, value) VALUES ('flush', 0);
ALTER TABLE orgs ADD COLUMN flush BIGINT NOT NULL DEFAULT 0;
ALTER TABLE job_groups ADD COLUMN flush BIGINT NOT NULL DEFAULT 0;
ALTER TABLE agents ADD COLUMN flush BIGINT NOT NULL DEFAULT 0;
ALTER TABLE org_averages ADD COLUMN flush BIGINT NOT NULL DEFAULT 0;
CREATE INDEX org_averages_by_flush ON org_averages (flush) WHERE flush > 0;
CREATE INDEX orgs_by_flush ON orgs (flush) WHERE flush > 0;
CREATE INDEX job_groups_by_flush ON job_groups (flush) WHERE flush > 0;
CREATE INDEX agents_by_flush ON agents (flush) WHERE flush > 0;

-- +goose Down
DROP INDEX agents_by_flush;
DROP INDEX job_groups_by_flush;
DROP INDEX orgs_by_flush;
DROP INDEX org_averages_by_flush;
ALTER TABLE org_averages DROP COLUMN flush;
ALTER TABLE agents DROP COLUMN flush;
ALTER TABLE job_groups DROP COLUMN flush;
ALTER TABLE orgs DROP COLUMN flush;
DELETE FROM counters WHERE name = 'flush';
