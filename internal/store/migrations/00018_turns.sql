-- What each of the last flushes changed of what servers remember, so that the
-- next to flush need not read the jobs anew (turn.go). A row is used again
-- after 128 flushes. Servers of the version before write none and read none.

-- +goose Up
CREATE TABLE turns (
    slot   BIGINT PRIMARY KEY,
    number BIGINT NOT NULL,
    body   TEXT NOT NULL
);

-- +goose Down
DROP TABLE turns;
