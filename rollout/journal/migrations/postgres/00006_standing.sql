-- +goose Up
-- How hosts stand to the state that campaigns left them in.
CREATE TABLE standing (
    host    TEXT NOT NULL PRIMARY KEY,
    open    BIGINT NOT NULL,            -- how many drifts have not ended
    body    BYTEA NOT NULL              -- JSON of a Standing
);
CREATE INDEX standing_open ON standing (host) WHERE open > 0;
