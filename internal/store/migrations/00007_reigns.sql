-- Which primary the database has been on. A row is written when a server finds
-- another cluster or timeline than the last row names, and settled once some
-- server has watched it for a lease TTL (LEASES rule 9). SQLite has none.

-- +goose Up
CREATE TABLE reigns (
    number   ROWKEY PRIMARY KEY,
    system   TEXT NOT NULL,
    timeline BIGINT NOT NULL,
    settled  BIGINT NOT NULL,
    began_at BIGINT NOT NULL
);

-- +goose Down
DROP TABLE reigns;
