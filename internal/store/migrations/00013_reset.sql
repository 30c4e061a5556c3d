-- How much of the app's past a job's tests may see: clear, keep, reinstall.
-- Empty in rows from before: clear.

-- +goose Up
ALTER TABLE jobs ADD COLUMN reset TEXT NOT NULL DEFAULT '';
ALTER TABLE history_jobs ADD COLUMN reset TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE history_jobs DROP COLUMN reset;
ALTER TABLE jobs DROP COLUMN reset;
