-- Why an agent takes no jobs although it is online: a qgjob.Quarantine as JSON,
-- empty when it takes jobs.

-- +goose Up
ALTER TABLE agents ADD COLUMN quarantine TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE agents DROP COLUMN quarantine;
