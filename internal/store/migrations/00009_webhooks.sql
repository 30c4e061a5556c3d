-- Who is told of an org's events. A row is a place in the events, too: what is
-- told up to its cursor is told. kind is 'webhook', or 'github' for the row
-- that keeps the place of what is told to GitHub.

-- +goose Up
CREATE TABLE webhooks (
    org_id      TEXT NOT NULL,
    id          TEXT NOT NULL,
    kind        TEXT NOT NULL,
    url         TEXT NOT NULL,
    secret      TEXT NOT NULL,
    kinds       TEXT NOT NULL,
    told        BIGINT NOT NULL,
    tries       BIGINT NOT NULL DEFAULT 0,
    next_at     BIGINT NOT NULL DEFAULT 0,
    taken_until BIGINT NOT NULL DEFAULT 0,
    ver         BIGINT NOT NULL DEFAULT 0,
    problem     TEXT NOT NULL DEFAULT '',
    disabled    BIGINT NOT NULL DEFAULT 0,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (org_id, id)
);
CREATE INDEX events_of_org ON events (org_id, seq);
CREATE INDEX history_events_of_org ON history_events (org_id, seq);

-- +goose Down
DROP INDEX history_events_of_org;
DROP INDEX events_of_org;
DROP TABLE webhooks;
